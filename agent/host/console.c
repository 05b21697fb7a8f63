#include "agent/host/console.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define CONSOLE_CHUNK 16384
#define ENDED_SUFFIX  ".ended"

struct console {
    uv_poll_t poll;
    int descriptor;
    int log;
    size_t size; /* of the log file */
    char *path;
    gid_t reader;
    bool closed;
    const char *watched; /* NULL: nothing */
    void (*found)(void *context);
    void *context;
    char tail[CONSOLE_WATCH_MAX]; /* the bytes before the next, fewer than are watched for */
    size_t tail_length;
};

int console_connect(const char *socket_path, int *ret_descriptor, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof address.sun_path)
        return error_set(error, ERROR_INVALID, "console socket path %s is too long", socket_path);
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    AUTO_CLOSE int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0 ||
        connect(descriptor, (const struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(error, errno, "connect to the console %s", socket_path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

static void open_log(struct console *console)
{
    console->log =
        open(console->path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
    struct stat status;
    if (console->log < 0 || fstat(console->log, &status) < 0) {
        log_warn("a console log cannot be opened", "path", console->path, "error", strerror(errno));
        return;
    }
    if (fchown(console->log, 0, console->reader) < 0)
        log_warn("a console log cannot be given to its reader", "path", console->path);
    console->size = (size_t)status.st_size;
}

static void rotate(struct console *console)
{
    AUTO_FREE char *older = xasprintf("%s.1", console->path);
    close(console->log);
    if (rename(console->path, older) < 0)
        unlink(console->path);
    open_log(console);
}

static void append(struct console *console, const char *bytes, size_t length)
{
    if (console->log >= 0 && console->size + length > CONSOLE_LOG_LIMIT)
        rotate(console);
    if (console->log >= 0 && file_write_all(console->log, bytes, length, NULL) == 0)
        console->size += length;
}

/* The text may come in pieces: what could be its beginning is kept. */
static void look_for_watched(struct console *console, const char *bytes, size_t length)
{
    size_t wanted = strlen(console->watched);
    char seen[CONSOLE_WATCH_MAX + CONSOLE_CHUNK];
    memcpy(seen, console->tail, console->tail_length);
    memcpy(seen + console->tail_length, bytes, length);
    size_t total = console->tail_length + length;
    bool is_there = memmem(seen, total, console->watched, wanted) != NULL;
    console->tail_length = total < wanted - 1 ? total : wanted - 1;
    memcpy(console->tail, seen + total - console->tail_length, console->tail_length);
    if (is_there)
        console->found(console->context);
}

void console_watch(struct console *console, const char *text, void (*found)(void *context),
                   void *context)
{
    if (text[0] == '\0' || strlen(text) > CONSOLE_WATCH_MAX)
        return;
    console->watched = text;
    console->found = found;
    console->context = context;
}

/* One chunk; false when there is nothing now or nothing any more. */
static bool read_chunk(struct console *console)
{
    char chunk[CONSOLE_CHUNK];
    ssize_t got = read(console->descriptor, chunk, sizeof chunk);
    if (got > 0) {
        append(console, chunk, (size_t)got);
        if (console->watched != NULL)
            look_for_watched(console, chunk, (size_t)got);
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    console->closed = true;
    uv_poll_stop(&console->poll);
    return false;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    read_chunk(poll->data);
}

struct console *console_create(uv_loop_t *loop, int descriptor, const char *folder, const char *id,
                               gid_t reader)
{
    struct console *console = xcalloc(1, sizeof *console);
    console->descriptor = descriptor;
    console->reader = reader;
    console->path = xasprintf("%s/%s.log", folder, id);
    open_log(console);
    uv_poll_init(loop, &console->poll, descriptor);
    console->poll.data = console;
    uv_poll_start(&console->poll, UV_READABLE, on_readable);
    return console;
}

int console_send(struct console *console, char byte, struct error *error)
{
    if (console->closed)
        return error_set(error, ERROR_UNAVAILABLE, "the guest's console is closed");
    if (send(console->descriptor, &byte, 1, MSG_NOSIGNAL) != 1)
        return error_set(error, ERROR_UNAVAILABLE, "the guest's console takes nothing: %s",
                         strerror(errno));
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct console *console = handle->data;
    close(console->descriptor);
    if (console->log >= 0)
        close(console->log);
    free(console->path);
    free(console);
}

void console_destroy(struct console *console)
{
    if (console == NULL)
        return;
    for (int i = 0; i < 64 && !console->closed && read_chunk(console); i++)
        ;
    uv_close((uv_handle_t *)&console->poll, on_closed);
}

/* --- what was written by those that are forgotten --- */

static bool is_ended_log(const char *name)
{
    size_t length = strlen(name), suffix = strlen(ENDED_SUFFIX);
    return length > suffix && strcmp(name + length - suffix, ENDED_SUFFIX) == 0;
}

/* The one that was written longest ago, and how many there are. */
static size_t count_ended(DIR *folder, char ret_oldest[NAME_MAX + 1])
{
    struct timespec oldest = {0};
    struct dirent *entry;
    size_t count = 0;
    rewinddir(folder);
    while ((entry = readdir(folder)) != NULL) {
        struct stat status;
        if (!is_ended_log(entry->d_name) ||
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        bool is_older =
            status.st_mtim.tv_sec < oldest.tv_sec ||
            (status.st_mtim.tv_sec == oldest.tv_sec && status.st_mtim.tv_nsec < oldest.tv_nsec);
        if (count++ == 0 || is_older) {
            oldest = status.st_mtim;
            snprintf(ret_oldest, NAME_MAX + 1, "%s", entry->d_name);
        }
    }
    return count;
}

void console_retire_logs(const char *folder, const char *id)
{
    AUTO_FREE char *path = xasprintf("%s/%s.log", folder, id);
    AUTO_FREE char *older = xasprintf("%s.1", path);
    AUTO_FREE char *ended = xasprintf("%s/%s" ENDED_SUFFIX, folder, id);
    char oldest[NAME_MAX + 1];
    unlink(older);
    if (rename(path, ended) < 0)
        unlink(path);
    DIR *all = opendir(folder);
    while (all != NULL && count_ended(all, oldest) > CONSOLE_ENDED_KEPT &&
           unlinkat(dirfd(all), oldest, 0) == 0)
        ;
    if (all != NULL)
        closedir(all);
}
