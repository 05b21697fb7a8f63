/* logs: what guests wrote on their consoles. Guests are hostile: control characters reach a file,
 * never a terminal. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/api/service_spec.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define TAIL_DEFAULT  100
#define PARTIAL_LIMIT 65536 /* bytes of a line that does not end */

struct printer {
    struct cli *cli;
    bool terminal;
    bool follow;
    struct buffer line;
    struct json_object *lines; /* -o json without --follow */
};

static void print_line(struct printer *printer, const char *line, size_t length)
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (!printer->terminal && !cli_wants_document(printer->cli)) {
        fwrite(line, 1, length, stdout);
        putchar('\n');
        return;
    }
    AUTO_FREE char *text = text_of_line(line, length);
    if (printer->lines != NULL) {
        json_object_array_add(printer->lines, json_object_new_string(text));
        return;
    }
    if (cli_wants_document(printer->cli)) {
        AUTO_JSON struct json_object *object = json_object_new_object();
        json_object_object_add(object, "line", json_object_new_string(text));
        AUTO_FREE char *document = json_text(object);
        puts(document);
        return;
    }
    puts(text);
}

static int on_bytes(const char *bytes, size_t length, void *data)
{
    struct printer *printer = data;
    size_t begin = 0;
    buffer_append(&printer->line, bytes, length);
    for (size_t i = printer->line.length - length; i < printer->line.length; i++) {
        if (printer->line.data[i] != '\n')
            continue;
        print_line(printer, printer->line.data + begin, i - begin);
        begin = i + 1;
    }
    buffer_consume(&printer->line, begin);
    if (printer->line.length > PARTIAL_LIMIT) {
        print_line(printer, printer->line.data, printer->line.length);
        buffer_clear(&printer->line);
    }
    fflush(stdout);
    return ferror(stdout) ? -1 : 0;
}

static int stream(struct printer *printer, const char *path, struct error *error)
{
    AUTO_FREE char *whole = xasprintf(
        "%s/logs?tail=%llu%s", path,
        (unsigned long long)invocation_number(printer->cli->invocation, "tail", TAIL_DEFAULT),
        printer->follow ? "&follow=1" : "");
    int result = session_stream(cli_session(printer->cli), whole, on_bytes, printer, error);
    if (result == 0 && printer->line.length > 0)
        print_line(printer, printer->line.data, printer->line.length);
    buffer_finish(&printer->line);
    return result;
}

/* A word of 12 hex digits is an instance, unless there is only a service of that name. */
static int stream_of(struct printer *printer, const char *name, struct error *error)
{
    struct cli *cli = printer->cli;
    AUTO_FREE char *instance = xasprintf("/v1/instances/%s", name);
    AUTO_FREE char *service = scheduler_service_path(cli->settings.namespace_name, name, "");
    const char *noun = cli->invocation->command->noun;
    if (strcmp(noun, "instance") == 0 || api_check_instance_id(name) == NULL) {
        struct error reason = ERROR_INIT;
        if (stream(printer, instance, &reason) == 0)
            return 0;
        if (strcmp(noun, "instance") == 0 || reason.code != ERROR_NOT_FOUND)
            return error_copy(error, &reason);
        int result = stream(printer, service, error);
        /* Who types twelve hex digits means an instance. */
        if (result < 0 && error != NULL && error->code == ERROR_NOT_FOUND)
            return error_copy(error, &reason);
        return result;
    }
    return stream(printer, service, error);
}

int logs_run(struct cli *cli, struct error *error)
{
    const char *name = cli_service_argument(cli, error);
    if (name == NULL)
        return -1;
    struct printer printer = {.cli = cli,
                              .terminal = isatty(STDOUT_FILENO),
                              .follow = invocation_has(cli->invocation, "follow")};
    if (printer.follow)
        session_catch_interrupt(cli_session(cli));
    if (cli_wants_document(cli) && !printer.follow)
        printer.lines = json_object_new_array();
    int result = stream_of(&printer, name, error);
    if (result < 0 || printer.lines == NULL) {
        cli->has_document = cli->has_document || (result == 0 && printer.follow);
        json_object_put(printer.lines);
        return result;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "lines", printer.lines);
    cli_print_document(cli, document);
    return 0;
}
