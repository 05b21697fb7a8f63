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

#include "agent/host/console_lines.h"
#include "agent/host/console_reader.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define CONSOLE_CHUNK 16384
/* Read in TICK_MS at most: a guest that writes more has to wait. */
#define CONSOLE_TICK_BYTES ((size_t)512 << 10)
#define CONSOLE_TICK_MS    100
#define ENDED_SUFFIX       ".ended"
/* Touched for as long as consoles are read. */
#define READ_FILE ".read"
#define READ_MS   2000

struct consoles {
    uv_loop_t *loop;
    char *folder;
    struct console_file_options options;
    char *read_path;
    uint64_t read_until_ms; /* by the agent before this one; 0: unknown */
    uv_timer_t timer;
};

struct console {
    struct consoles *consoles;
    uv_poll_t poll;
    uv_timer_t timer; /* runs while something waits to be written, or the guest has to */
    unsigned handles;
    int descriptor;
    struct console_file file;
    struct console_lines lines;
    struct console_reader *readers[CONSOLE_READERS_MAX]; /* NULL: a free place */
    char input[CONSOLE_INPUT_MAX]; /* that the guest has not taken yet; no more is read before */
    size_t input_length;
    size_t read_in_tick;
    bool is_paused;
    bool closed;
    const char *watched; /* NULL: nothing */
    void (*found)(void *context);
    void *context;
    char tail[CONSOLE_WATCH_MAX]; /* the bytes before the next, fewer than are watched for */
    size_t tail_length;
};

/* --- what they share --- */

static uint64_t changed_ms(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return 0;
    return (uint64_t)status.st_mtim.tv_sec * 1000 + (uint64_t)status.st_mtim.tv_nsec / 1000000;
}

static void touch(uv_timer_t *timer)
{
    const struct consoles *consoles = timer->data;
    AUTO_CLOSE int file =
        open(consoles->read_path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (file >= 0)
        futimens(file, NULL);
}

struct consoles *consoles_create(uv_loop_t *loop, const struct console_file_options *options)
{
    struct consoles *consoles = xcalloc(1, sizeof *consoles);
    *consoles = (struct consoles){.loop = loop,
                                  .folder = xstrdup(options->folder),
                                  .options = *options,
                                  .read_path = xasprintf("%s/" READ_FILE, options->folder)};
    consoles->options.folder = consoles->folder;
    consoles->read_until_ms = changed_ms(consoles->read_path);
    uv_timer_init(loop, &consoles->timer);
    consoles->timer.data = consoles;
    uv_timer_start(&consoles->timer, touch, 0, READ_MS);
    return consoles;
}

static void on_consoles_closed(uv_handle_t *handle)
{
    struct consoles *consoles = handle->data;
    free(consoles->folder);
    free(consoles->read_path);
    free(consoles);
}

void consoles_destroy(struct consoles *consoles)
{
    if (consoles == NULL)
        return;
    touch(&consoles->timer);
    uv_close((uv_handle_t *)&consoles->timer, on_consoles_closed);
}

static void write_lines(void *context, const char *lines, size_t length)
{
    console_file_append(context, lines, length);
}

void consoles_mark(struct consoles *consoles, const char *id, const char *what, const char *detail)
{
    struct console_file file;
    struct console_lines lines;
    console_file_init(&file, &consoles->options, id);
    console_lines_init(&lines, consoles->options.clock, write_lines, &file);
    console_lines_mark(&lines, "%s: %s", what, detail);
    console_lines_finish(&lines);
    console_file_finish(&file);
}

/* --- one --- */

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

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct console *console)
{
    int events =
        (console->is_paused ? 0 : UV_READABLE) | (console->input_length > 0 ? UV_WRITABLE : 0);
    if (console->closed || events == 0)
        uv_poll_stop(&console->poll);
    else
        uv_poll_start(&console->poll, events, on_ready);
}

/* --- who is attached --- */

static void write_to_readers(struct console *console, const char *bytes, size_t length)
{
    for (size_t i = 0; i < CONSOLE_READERS_MAX; i++) {
        if (console->readers[i] != NULL)
            console_reader_write(console->readers[i], bytes, length);
    }
}

static void listen_to_readers(struct console *console, bool listens)
{
    for (size_t i = 0; i < CONSOLE_READERS_MAX; i++) {
        if (console->readers[i] != NULL)
            console_reader_listen(console->readers[i], listens);
    }
}

/* As much as the guest takes now. */
static void pass_input(struct console *console)
{
    ssize_t sent = send(console->descriptor, console->input, console->input_length,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        sent = (ssize_t)console->input_length; /* nobody is there to take it */
    if (sent > 0) {
        console->input_length -= (size_t)sent;
        memmove(console->input, console->input + sent, console->input_length);
    }
    listen_to_readers(console, console->input_length == 0);
    watch(console);
}

static void on_input(void *context, const char *bytes, size_t length)
{
    struct console *console = context;
    if (length > sizeof console->input - console->input_length)
        length = sizeof console->input - console->input_length;
    memcpy(console->input + console->input_length, bytes, length);
    console->input_length += length;
    pass_input(console);
}

static void on_reader_gone(void *context, struct console_reader *reader)
{
    struct console *console = context;
    for (size_t i = 0; i < CONSOLE_READERS_MAX; i++) {
        if (console->readers[i] == reader)
            console->readers[i] = NULL;
    }
    console_reader_close(reader);
}

int console_attach(struct console *console, int *ret_peer, struct error *error)
{
    struct console_reader_owner owner = {
        .input = on_input, .gone = on_reader_gone, .context = console};
    size_t place = 0;
    while (place < CONSOLE_READERS_MAX && console->readers[place] != NULL)
        place++;
    if (place == CONSOLE_READERS_MAX)
        return error_set(error, ERROR_NO_CAPACITY,
                         "%d are attached to this console already, no more are let in",
                         CONSOLE_READERS_MAX);
    return console_reader_create(console->consoles->loop, &owner, ret_peer,
                                 &console->readers[place], error);
}

/* --- what the guest writes --- */

/* One chunk; false when there is nothing now or nothing any more. */
static bool read_chunk(struct console *console)
{
    char chunk[CONSOLE_CHUNK];
    ssize_t got = read(console->descriptor, chunk, sizeof chunk);
    if (got > 0) {
        console->read_in_tick += (size_t)got;
        console_lines_feed(&console->lines, chunk, (size_t)got);
        write_to_readers(console, chunk, (size_t)got);
        if (console->watched != NULL)
            look_for_watched(console, chunk, (size_t)got);
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    console->closed = true;
    watch(console);
    return false;
}

static void on_tick(uv_timer_t *timer)
{
    struct console *console = timer->data;
    bool waits = console_lines_tick(&console->lines) || console->read_in_tick > 0;
    console->read_in_tick = 0;
    console->is_paused = false;
    watch(console);
    if (!waits)
        uv_timer_stop(timer);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct console *console = poll->data;
    if (status == 0 && (events & UV_WRITABLE) && console->input_length > 0)
        pass_input(console);
    if (status == 0 && !(events & UV_READABLE))
        return;
    read_chunk(console);
    if (!uv_is_active((const uv_handle_t *)&console->timer))
        uv_timer_start(&console->timer, on_tick, CONSOLE_TICK_MS, CONSOLE_TICK_MS);
    if (console->read_in_tick >= CONSOLE_TICK_BYTES && !console->closed) {
        console->is_paused = true;
        watch(console);
    }
}

/* As far as is known: the guest may have written nothing meanwhile. */
static void mark_gap(struct console *console)
{
    const struct consoles *consoles = console->consoles;
    char from[API_LOG_TIME_MAX] = "its last line", until[API_LOG_TIME_MAX];
    uint64_t last = changed_ms(console->file.path);
    if (consoles->read_until_ms > last)
        last = consoles->read_until_ms;
    if (last > 0)
        api_log_time_write(last, from);
    api_log_time_write(clock_wall_ms(consoles->options.clock), until);
    console_lines_mark(&console->lines,
                       "no agent read this console from %s to %s: what it wrote then is missing",
                       from, until);
}

struct console *console_create(struct consoles *consoles, int descriptor, const char *id,
                               bool is_adopted)
{
    struct console *console = xcalloc(1, sizeof *console);
    console->consoles = consoles;
    console->descriptor = descriptor;
    console_file_init(&console->file, &consoles->options, id);
    console_lines_init(&console->lines, consoles->options.clock, write_lines, &console->file);
    if (is_adopted)
        mark_gap(console);
    else
        console_lines_mark(&console->lines, "started");
    uv_poll_init(consoles->loop, &console->poll, descriptor);
    uv_timer_init(consoles->loop, &console->timer);
    console->poll.data = console->timer.data = console;
    console->handles = 2;
    watch(console);
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
    if (--console->handles > 0)
        return;
    close(console->descriptor);
    free(console);
}

void console_destroy(struct console *console)
{
    if (console == NULL)
        return;
    for (int i = 0; i < 64 && !console->closed && read_chunk(console); i++)
        ;
    for (size_t i = 0; i < CONSOLE_READERS_MAX; i++) {
        if (console->readers[i] != NULL)
            console_reader_close(console->readers[i]);
    }
    console_lines_finish(&console->lines);
    console_file_finish(&console->file);
    uv_close((uv_handle_t *)&console->poll, on_closed);
    uv_close((uv_handle_t *)&console->timer, on_closed);
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

/* The first two of its files; without a newer one, an older one's .1 is of an earlier life. */
static void keep_ended(const char *path, const char *ended)
{
    AUTO_FREE char *older = xasprintf("%s.1", path);
    AUTO_FREE char *ended_older = xasprintf("%s.1", ended);
    unlink(ended_older);
    if (rename(path, ended) < 0) {
        unlink(path);
        unlink(older);
        return;
    }
    if (rename(older, ended_older) < 0)
        unlink(older);
    for (int number = 2; number < CONSOLE_LOG_FILES_MAX; number++) {
        AUTO_FREE char *oldest = xasprintf("%s.%d", path, number);
        if (unlink(oldest) < 0)
            return;
    }
}

void console_retire_logs(const char *folder, const char *id)
{
    AUTO_FREE char *path = xasprintf("%s/%s.log", folder, id);
    AUTO_FREE char *ended = xasprintf("%s/%s" ENDED_SUFFIX, folder, id);
    char oldest[NAME_MAX + 1];
    keep_ended(path, ended);
    DIR *all = opendir(folder);
    while (all != NULL && count_ended(all, oldest) > CONSOLE_ENDED_KEPT &&
           unlinkat(dirfd(all), oldest, 0) == 0) {
        AUTO_FREE char *with = xasprintf("%s.1", oldest);
        unlinkat(dirfd(all), with, 0);
    }
    if (all != NULL)
        closedir(all);
}
