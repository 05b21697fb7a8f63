#include "scheduler/store_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define FORMAT         1
#define LINE_MAX_BYTES (STORE_DOCUMENT_MAX + 4 * STORE_KEY_MAX)

/* --- writing --- */

struct store_copy {
    char *path;
    char *partial;
    FILE *file;
    uint64_t documents;
};

int store_copy_create(const char *path, struct store_copy **ret_copy, struct error *error)
{
    struct store_copy *copy = xcalloc(1, sizeof *copy);
    copy->path = xstrdup(path);
    copy->partial = xasprintf("%s.partial", path);
    /* It holds all that the store does. */
    int file = open(copy->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    copy->file = file >= 0 ? fdopen(file, "w") : NULL;
    if (copy->file == NULL) {
        error_set_errno(error, errno, "write %s", copy->partial);
        store_copy_abandon(copy);
        return -1;
    }
    *ret_copy = copy;
    return 0;
}

static int check_written(struct store_copy *copy, struct error *error)
{
    if (!ferror(copy->file))
        return 0;
    return error_set_errno(error, errno, "write %s", copy->partial);
}

int store_copy_begin(struct store_copy *copy, const struct store_identity *identity,
                     uint64_t revision, struct error *error)
{
    fprintf(copy->file,
            "{\"format\":%d,\"cluster\":\"%s\",\"term\":%" PRIu64 ",\"revision\":%" PRIu64 "}\n",
            FORMAT, identity->cluster, identity->term, revision);
    return check_written(copy, error);
}

int store_copy_add(struct store_copy *copy, const char *key, const char *document,
                   struct error *error)
{
    AUTO_JSON struct json_object *name = json_object_new_string(key);
    fprintf(copy->file, "{\"key\":%s,\"document\":%s}\n", json_object_to_json_string(name),
            document);
    copy->documents++;
    return check_written(copy, error);
}

int store_copy_finish(struct store_copy *copy, struct error *error)
{
    fprintf(copy->file, "{\"documents\":%" PRIu64 "}\n", copy->documents);
    int result = 0;
    if (fflush(copy->file) != 0 || fsync(fileno(copy->file)) < 0)
        result = error_set_errno(error, errno, "write %s", copy->partial);
    else if (rename(copy->partial, copy->path) < 0)
        result = error_set_errno(error, errno, "rename %s to %s", copy->partial, copy->path);
    if (result == 0) {
        AUTO_FREE char *path = xstrdup(copy->path);
        result = file_sync_directory(dirname(path), error);
    }
    store_copy_abandon(copy);
    return result;
}

void store_copy_abandon(struct store_copy *copy)
{
    if (copy == NULL)
        return;
    if (copy->file != NULL)
        fclose(copy->file);
    unlink(copy->partial); /* gone already where it was finished */
    free(copy->partial);
    free(copy->path);
    free(copy);
}

/* --- reading --- */

struct line {
    char key[STORE_KEY_MAX];
    struct json_object *document;
    bool ends;
    uint64_t documents;
};

static const struct json_field header_fields[] = {
    JSON_FIELD(struct store_copy_header, format, "format", JSON_UINT, .flags = JSON_REQUIRED,
               .max = UINT32_MAX),
    JSON_FIELD(struct store_copy_header, identity.cluster, "cluster", JSON_STRING,
               .flags = JSON_REQUIRED, .check = store_cluster_check),
    JSON_FIELD(struct store_copy_header, identity.term, "term", JSON_UINT, .flags = JSON_REQUIRED,
               .max = UINT32_MAX),
    JSON_FIELD(struct store_copy_header, revision, "revision", JSON_UINT, .max = INT64_MAX),
    JSON_FIELD_END,
};
static const struct json_record header_record = {sizeof(struct store_copy_header), header_fields};

static const struct json_field line_fields[] = {
    JSON_FIELD(struct line, key, "key", JSON_STRING),
    JSON_FIELD(struct line, document, "document", JSON_ANY),
    JSON_FIELD(struct line, documents, "documents", JSON_UINT, .max = INT64_MAX,
               .present_offset = offsetof(struct line, ends)),
    JSON_FIELD_END,
};
static const struct json_record line_record = {sizeof(struct line), line_fields};

struct store_copy_reader {
    char *path;
    FILE *file;
    char *text; /* of the line */
    size_t size;
    uint64_t number; /* of the line */
    struct line line;
    char *document;
    uint64_t documents;
};

static int broken(const struct store_copy_reader *reader, struct error *error)
{
    if (error != NULL)
        error->code = ERROR_INVALID;
    return error_wrap(error, "%s, line %" PRIu64 ": this is no whole copy of a store", reader->path,
                      reader->number);
}

static int read_line(struct store_copy_reader *reader, size_t *ret_length, struct error *error)
{
    ssize_t length = getline(&reader->text, &reader->size, reader->file);
    reader->number++;
    if (length < 0 && ferror(reader->file))
        return error_set_errno(error, errno, "read %s", reader->path);
    if (length < 0 || reader->text[length - 1] != '\n' || (size_t)length > LINE_MAX_BYTES) {
        error_set(error, ERROR_INVALID, length < 0 ? "it ends too early" : "a line that is none");
        return broken(reader, error);
    }
    *ret_length = (size_t)length;
    return 0;
}

static int read_header(struct store_copy_reader *reader, struct store_copy_header *ret_header,
                       struct error *error)
{
    size_t length;
    struct store_copy_header header = {0};
    if (read_line(reader, &length, error) < 0)
        return -1;
    if (json_parse_record(&header_record, reader->text, length, JSON_LENIENT, &header, error) < 0)
        return broken(reader, error);
    if (header.format > FORMAT)
        return error_set(error, ERROR_PROTOCOL,
                         "%s has format %u, and this version knows formats up to %d: use a newer "
                         "version",
                         reader->path, header.format, FORMAT);
    *ret_header = header;
    return 0;
}

int store_copy_open(const char *path, struct store_copy_reader **ret_reader,
                    struct store_copy_header *ret_header, struct error *error)
{
    struct store_copy_reader *reader = xcalloc(1, sizeof *reader);
    reader->path = xstrdup(path);
    reader->file = fopen(path, "re");
    int result = reader->file == NULL ? error_set_errno(error, errno, "read %s", path)
                                      : read_header(reader, ret_header, error);
    if (result < 0) {
        store_copy_close(reader);
        return -1;
    }
    *ret_reader = reader;
    return 0;
}

int store_copy_next(struct store_copy_reader *reader, const char **ret_key,
                    const char **ret_document, struct error *error)
{
    size_t length;
    json_record_release(&line_record, &reader->line);
    free(reader->document);
    reader->document = NULL;
    if (read_line(reader, &length, error) < 0)
        return -1;
    if (json_parse_record(&line_record, reader->text, length, JSON_LENIENT, &reader->line, error) <
        0)
        return broken(reader, error);
    if (reader->line.ends && reader->line.documents == reader->documents)
        return 0;
    if (reader->line.ends || reader->line.key[0] == '\0' || reader->line.document == NULL) {
        error_set(error, ERROR_INVALID, "neither a document nor the right end");
        return broken(reader, error);
    }
    reader->documents++;
    reader->document = json_text(reader->line.document);
    *ret_key = reader->line.key;
    *ret_document = reader->document;
    return 1;
}

void store_copy_close(struct store_copy_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->file != NULL)
        fclose(reader->file);
    json_record_release(&line_record, &reader->line);
    free(reader->document);
    free(reader->text);
    free(reader->path);
    free(reader);
}
