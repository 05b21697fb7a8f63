/* `shoal store`: copies of what the scheduler knows, and an empty store filled from one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/daemon.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/xalloc.h"

/* --- backup --- */

struct download {
    const char *path;
    int file;
    struct buffer last; /* the line that is coming in, cut where it is long */
    struct buffer line; /* the one before it */
    struct error error;
    bool failed;
};

#define END_MAX 64 /* the last line of a backup is short */

/* Keeps the last whole line, which says that all came. */
static void note_lines(struct download *download, const char *bytes, size_t length)
{
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t size = end != NULL ? (size_t)(end - bytes) : length;
        size_t room = END_MAX - download->last.length;
        buffer_append(&download->last, bytes, size < room ? size : room);
        if (end == NULL)
            return;
        buffer_clear(&download->line);
        buffer_append(&download->line, download->last.data, download->last.length);
        buffer_clear(&download->last);
        bytes += size + 1;
        length -= size + 1;
    }
}

static int on_bytes(const char *bytes, size_t length, void *data)
{
    struct download *download = data;
    note_lines(download, bytes, length);
    if (file_write_all(download->file, bytes, length, &download->error) == 0)
        return 0;
    download->failed = true;
    return -1;
}

struct backup_end {
    uint64_t documents;
};
static const struct json_field backup_end_fields[] = {
    JSON_FIELD(struct backup_end, documents, "documents", JSON_UINT, .flags = JSON_REQUIRED,
               .max = INT64_MAX),
    JSON_FIELD_END,
};
static const struct json_record backup_end_record = {sizeof(struct backup_end), backup_end_fields};

static int fetch(struct cli *cli, struct download *download, uint64_t *ret_documents,
                 struct error *error)
{
    struct backup_end end = {0};
    if (session_stream(cli_session(cli), "/v1/store/backup", NULL, on_bytes, download, error) < 0)
        return -1;
    if (download->failed)
        return error_copy(error, &download->error);
    if (json_parse_record(&backup_end_record, buffer_text(&download->line), download->line.length,
                          JSON_STRICT, &end, NULL) < 0)
        return error_set(error, ERROR_UNAVAILABLE, "the backup broke off: try again");
    if (fsync(download->file) < 0)
        return error_set_errno(error, errno, "write %s", download->path);
    *ret_documents = end.documents;
    return 0;
}

static void print_backup(struct cli *cli, const char *path, uint64_t documents)
{
    if (!cli_wants_document(cli)) {
        printf("%s: %llu documents\n", path, (unsigned long long)documents);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "file", json_object_new_string(path));
    json_object_object_add(document, "documents", json_object_new_int64((int64_t)documents));
    cli_print_document(cli, document);
}

int store_backup_run(struct cli *cli, struct error *error)
{
    const char *path = cli_argument(cli, 0);
    AUTO_FREE char *partial = xasprintf("%s.partial", path);
    /* It holds everything the cluster knows, secrets too. */
    AUTO_CLOSE int file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return error_set_errno(error, errno, "write %s", partial);
    struct download download = {.path = partial, .file = file};
    uint64_t documents = 0;
    int result = fetch(cli, &download, &documents, error);
    buffer_finish(&download.last);
    buffer_finish(&download.line);
    if (result == 0 && rename(partial, path) < 0)
        result = error_set_errno(error, errno, "rename %s to %s", partial, path);
    if (result < 0) {
        unlink(partial);
        return error_wrap(error, "back up to %s", path);
    }
    print_backup(cli, path, documents);
    return 0;
}

/* --- restore --- */

/* Its last line: the result, or why there is none. */
static char *last_line(const struct buffer *output)
{
    AUTO_FREE char *text = xstrdup(buffer_text(output));
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    const char *start = strrchr(text, '\n');
    return xstrdup(start != NULL ? start + 1 : text);
}

static int restore(const char *place, const char *path, struct json_object **ret_document,
                   struct error *error)
{
    static const char said[] = "shoal-scheduler: ";
    AUTO_FREE char *program = daemon_find_program("shoal-scheduler");
    AUTO_BUFFER struct buffer output = {0};
    int status = 0;
    if (program == NULL)
        return error_set(error, ERROR_NOT_FOUND,
                         "there is no shoal-scheduler here: run this where "
                         "the scheduler is installed");
    char *const arguments[] = {program,           (char *)"--restore", (char *)path,
                               (char *)"--store", (char *)place,       NULL};
    if (daemon_run_program(arguments, true, &output, &status, error) < 0)
        return -1;
    AUTO_FREE char *line = last_line(&output);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return json_parse(line, strlen(line), ret_document, error);
    bool told = strncmp(line, said, strlen(said)) == 0;
    return error_set(error, ERROR_INVALID, "%s", told ? line + strlen(said) : line);
}

/* --store, or the folder that `up` gives the scheduler. */
static char *choose_place(const struct cli *cli)
{
    const char *place = invocation_text(cli->invocation, "store");
    const char *state = invocation_text(cli->invocation, "state");
    if (place != NULL)
        return xstrdup(place);
    return xasprintf("sqlite:%s/scheduler", state != NULL ? state : CLUSTER_STATE_DEFAULT);
}

int store_restore_run(struct cli *cli, struct error *error)
{
    AUTO_FREE char *place = choose_place(cli);
    struct json_object *document = NULL;
    if (restore(place, cli_argument(cli, 0), &document, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, document);
        return 0;
    }
    printf("%s: %s documents of cluster %s; the scheduler may be started\n", place,
           json_object_get_string(json_object_object_get(document, "documents")),
           json_object_get_string(json_object_object_get(document, "cluster")));
    json_object_put(document);
    return 0;
}
