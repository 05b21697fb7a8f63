#include "agent/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define CHUNK 65536

static int open_log(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
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

static void read_tail(int descriptor, size_t limit, struct buffer *text)
{
    struct stat status;
    if (fstat(descriptor, &status) == 0 && status.st_size > (off_t)limit)
        lseek(descriptor, status.st_size - (off_t)limit, SEEK_SET);
    read_on(descriptor, limit, text);
}

/* Where the last `lines` lines begin; an unfinished one at the end counts. */
static size_t tail_start(const struct buffer *text, uint64_t lines)
{
    size_t at = text->length;
    if (lines == 0)
        return at;
    if (at > 0 && text->data[at - 1] == '\n')
        at--;
    while (at > 0) {
        if (text->data[at - 1] == '\n' && --lines == 0)
            return at;
        at--;
    }
    return 0;
}

bool console_log_is_kept(const char *folder, const char *id)
{
    AUTO_FREE char *path = xasprintf("%s/%s.ended", folder, id);
    return access(path, R_OK) == 0;
}

int console_log_open(struct console_log *ret_log, const char *folder, const char *id,
                     uint64_t lines, struct buffer *text, struct error *error)
{
    struct console_log log = {.path = xasprintf("%s/%s.log", folder, id)};
    AUTO_FREE char *older_path = xasprintf("%s.1", log.path);
    AUTO_CLOSE int older = open_log(older_path);
    AUTO_BUFFER struct buffer past = {0};
    log.descriptor = open_log(log.path);
    if (log.descriptor < 0 && errno == ENOENT) {
        AUTO_FREE char *ended = xasprintf("%s/%s.ended", folder, id);
        log.descriptor = open_log(ended);
    }
    if (log.descriptor < 0 && errno != ENOENT) {
        error_set_errno(error, errno, "console log %s", log.path);
        free(log.path);
        return -1;
    }
    if (older >= 0)
        read_tail(older, CONSOLE_TAIL_MAX / 2, &past);
    if (log.descriptor >= 0)
        read_tail(log.descriptor, CONSOLE_TAIL_MAX / 2, &past);
    size_t start = tail_start(&past, lines);
    buffer_append(text, buffer_text(&past) + start, past.length - start);
    *ret_log = log;
    return 0;
}

void console_log_read(struct console_log *log, struct buffer *text)
{
    if (log->descriptor >= 0)
        read_on(log->descriptor, CONSOLE_TAIL_MAX, text);
    struct stat named, opened;
    if (stat(log->path, &named) < 0)
        return;
    if (log->descriptor >= 0 && fstat(log->descriptor, &opened) == 0 &&
        opened.st_ino == named.st_ino && opened.st_dev == named.st_dev)
        return;
    int descriptor = open_log(log->path);
    if (descriptor < 0)
        return;
    if (log->descriptor >= 0) {
        /* What came between the last read and the turn-over. */
        read_on(log->descriptor, CONSOLE_TAIL_MAX, text);
        close(log->descriptor);
    }
    log->descriptor = descriptor;
    read_on(descriptor, CONSOLE_TAIL_MAX, text);
}

void console_log_close(struct console_log *log)
{
    if (log->descriptor >= 0)
        close(log->descriptor);
    free(log->path);
    *log = (struct console_log){.descriptor = -1};
}
