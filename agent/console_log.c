#include "agent/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/api/log_line.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define CHUNK     65536
#define READ_MAX  ((size_t)256 << 10)
#define FILES_MAX 100

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* File `number` of a log, 0 the newest; the caller frees. */
static char *file_path(const char *path, unsigned number)
{
    return number == 0 ? xstrdup(path) : xasprintf("%s.%u", path, number);
}

/* Appends from the descriptor's position to the end, at most `limit` bytes. */
static void read_on(int descriptor, size_t limit, struct buffer *text)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    while (limit > 0) {
        ssize_t got = read(descriptor, chunk, limit < CHUNK ? limit : CHUNK);
        if (got <= 0)
            return;
        buffer_append(text, chunk, (size_t)got);
        limit -= (size_t)got;
    }
}

static void shorten(struct buffer *text, size_t length)
{
    if (length < text->length)
        text->data[length] = '\0';
    text->length = length;
}

static bool is_same_file(int descriptor, const struct stat *other)
{
    struct stat own;
    return descriptor >= 0 && fstat(descriptor, &own) == 0 && own.st_ino == other->st_ino &&
           own.st_dev == other->st_dev;
}

bool console_log_is_kept(const char *folder, const char *id)
{
    AUTO_FREE char *path = xasprintf("%s/%s.ended", folder, id);
    return access(path, R_OK) == 0;
}

/* --- the past --- */

/* The files from the newest back, as many as may hold what is asked for. */
struct past {
    int descriptors[FILES_MAX];
    off_t sizes[FILES_MAX];
    size_t count;
    uint64_t bytes;
};

static void close_past(struct past *past)
{
    for (size_t i = 0; i < past->count; i++)
        close(past->descriptors[i]);
}

static void open_past(struct past *past, const char *path, const struct console_log_query *query)
{
    for (unsigned number = 0; number < FILES_MAX && past->bytes < query->limit; number++) {
        struct stat status;
        AUTO_FREE char *name = file_path(path, number);
        AUTO_CLOSE int file = open_file(name);
        if (file < 0 || fstat(file, &status) < 0 || !S_ISREG(status.st_mode))
            return;
        /* It was turned over meanwhile, and is the one before. */
        if (past->count > 0 && is_same_file(past->descriptors[past->count - 1], &status))
            continue;
        if (status.st_mtim.tv_sec < (time_t)(query->since_ms / 1000) && past->count > 0)
            return;
        past->descriptors[past->count] = TAKE_DESCRIPTOR(file);
        past->sizes[past->count++] = status.st_size;
        past->bytes += (uint64_t)status.st_size;
    }
}

/* The newest bytes of them, from the oldest file on. The newest file is read to its end. */
static void read_past(const struct past *past, size_t limit, struct buffer *text)
{
    uint64_t skipped = past->bytes > limit ? past->bytes - limit : 0;
    bool is_cut = skipped > 0;
    for (size_t i = past->count; i-- > 0;) {
        uint64_t size = (uint64_t)past->sizes[i];
        uint64_t from = skipped < size ? skipped : size;
        skipped -= from;
        if (from < size || i == 0) {
            lseek(past->descriptors[i], (off_t)from, SEEK_SET);
            read_on(past->descriptors[i], CONSOLE_PAST_MAX, text);
        }
    }
    const char *end = is_cut ? memchr(buffer_text(text), '\n', text->length) : NULL;
    if (is_cut)
        buffer_consume(text, end != NULL ? (size_t)(end - text->data) + 1 : text->length);
}

/* Takes what is no line of ours, or is older, and all but the last ones, off. */
static void select_lines(struct buffer *text, const struct console_log_query *query)
{
    size_t kept = 0, at = 0;
    struct api_log_line line;
    while (at < text->length) {
        char *start = text->data + at;
        char *end = memchr(start, '\n', text->length - at);
        size_t length = end != NULL ? (size_t)(end - start) + 1 : text->length - at;
        if (end != NULL && api_log_line_parse(start, length - 1, false, &line) &&
            line.time_ms >= query->since_ms) {
            memmove(text->data + kept, start, length);
            kept += length;
        }
        at += length;
    }
    shorten(text, kept);
    uint64_t lines = query->tail;
    size_t start = kept;
    while (start > 0 && lines > 0) {
        const char *end = memrchr(text->data, '\n', start - 1);
        start = end != NULL ? (size_t)(end - text->data) + 1 : 0;
        lines--;
    }
    buffer_consume(text, start);
}

/* Of the newest file a line may not be there to its end. */
static void keep_part(struct console_log *log, struct buffer *text)
{
    const char *end = text->length > 0 ? memrchr(text->data, '\n', text->length) : NULL;
    size_t whole = end != NULL ? (size_t)(end - text->data) + 1 : 0;
    buffer_append(&log->part, buffer_text(text) + whole, text->length - whole);
    shorten(text, whole);
}

int console_log_open(struct console_log *ret_log, const char *folder, const char *id,
                     const struct console_log_query *query, struct buffer *text,
                     struct error *error)
{
    struct console_log log = {.path = xasprintf("%s/%s.log", folder, id), .descriptor = -1};
    AUTO_FREE char *ended = xasprintf("%s/%s.ended", folder, id);
    AUTO_BUFFER struct buffer lines = {0};
    struct past past = {0};
    AUTO_CLOSE int newest = open_file(log.path);
    if (newest < 0 && errno != ENOENT) {
        error_set_errno(error, errno, "console log %s", log.path);
        free(log.path);
        return -1;
    }
    open_past(&past, newest >= 0 ? log.path : ended, query);
    read_past(&past, query->limit, &lines);
    keep_part(&log, &lines);
    select_lines(&lines, query);
    buffer_append(text, buffer_text(&lines), lines.length);
    if (past.count > 0)
        log.descriptor = TAKE_DESCRIPTOR(past.descriptors[0]);
    if (past.count > 0)
        past.descriptors[0] = past.descriptors[--past.count];
    close_past(&past);
    *ret_log = log;
    return 0;
}

/* --- what comes --- */

static void read_lines(struct console_log *log, struct buffer *text)
{
    AUTO_BUFFER struct buffer lines = {0};
    buffer_append(&lines, buffer_text(&log->part), log->part.length);
    buffer_clear(&log->part);
    read_on(log->descriptor, READ_MAX, &lines);
    keep_part(log, &lines);
    buffer_append(text, buffer_text(&lines), lines.length);
}

/* The number of the file that is read, FILES_MAX when it is gone. */
static unsigned find_own(const struct console_log *log, unsigned *ret_oldest)
{
    struct stat status;
    *ret_oldest = FILES_MAX;
    for (unsigned number = 0; number < FILES_MAX; number++) {
        AUTO_FREE char *path = file_path(log->path, number);
        if (stat(path, &status) < 0) {
            if (number > 0)
                break;
            continue; /* while it is turned over there is no newest one for a moment */
        }
        if (is_same_file(log->descriptor, &status))
            return number;
        *ret_oldest = number;
    }
    return FILES_MAX;
}

/* The next newer file; false when there is none, or not yet. */
static bool move_on(struct console_log *log, struct buffer *text)
{
    unsigned oldest, own = find_own(log, &oldest);
    if (own == 0 || (own == FILES_MAX && oldest == FILES_MAX))
        return false;
    AUTO_FREE char *path = file_path(log->path, own == FILES_MAX ? oldest : own - 1);
    AUTO_CLOSE int next = open_file(path);
    struct stat status;
    if (next < 0 || fstat(next, &status) < 0 || is_same_file(log->descriptor, &status))
        return false;
    if (log->descriptor >= 0) {
        read_lines(log, text); /* what came between the last read and the turn-over */
        close(log->descriptor);
    }
    buffer_clear(&log->part);
    log->descriptor = TAKE_DESCRIPTOR(next);
    return true;
}

void console_log_read(struct console_log *log, struct buffer *text)
{
    do {
        size_t before = text->length;
        if (log->descriptor >= 0)
            read_lines(log, text);
        if (text->length - before >= READ_MAX / 2)
            return; /* there may be more */
    } while (text->length < READ_MAX && move_on(log, text));
}

void console_log_close(struct console_log *log)
{
    if (log->descriptor >= 0)
        close(log->descriptor);
    buffer_finish(&log->part);
    free(log->path);
    *log = (struct console_log){.descriptor = -1};
}
