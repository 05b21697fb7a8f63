#include "agent/host/console_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/xalloc.h"

struct console_reader {
    uv_poll_t poll; /* first: the close callback frees by it */
    struct console_reader_owner owner;
    int descriptor;
    uint64_t missed; /* bytes it was too slow for, and was not told of yet */
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct console_reader *reader = (struct console_reader *)poll;
    char bytes[CONSOLE_INPUT_MAX];
    ssize_t got = status < 0 ? 0 : recv(reader->descriptor, bytes, sizeof bytes, 0);
    if (got > 0)
        reader->owner.input(reader->owner.context, bytes, (size_t)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        reader->owner.gone(reader->owner.context, reader);
}

int console_reader_create(uv_loop_t *loop, const struct console_reader_owner *owner, int *ret_peer,
                          struct console_reader **ret_reader, struct error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return error_set_errno(error, errno, "a socket for the console's reader");
    struct console_reader *reader = xcalloc(1, sizeof *reader);
    reader->owner = *owner;
    reader->descriptor = ends[0];
    uv_poll_init(loop, &reader->poll, ends[0]);
    uv_poll_start(&reader->poll, UV_READABLE, on_readable);
    *ret_peer = ends[1];
    *ret_reader = reader;
    return 0;
}

static size_t send_now(struct console_reader *reader, const char *bytes, size_t length)
{
    ssize_t sent = send(reader->descriptor, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? (size_t)sent : 0;
}

void console_reader_write(struct console_reader *reader, const char *bytes, size_t length)
{
    char note[80];
    if (reader->missed > 0) {
        int size = snprintf(note, sizeof note, "\r\n[%" PRIu64 " bytes are left out here]\r\n",
                            reader->missed);
        if (send_now(reader, note, (size_t)size) < (size_t)size) {
            reader->missed += length;
            return;
        }
        reader->missed = 0;
    }
    reader->missed += length - send_now(reader, bytes, length);
}

void console_reader_listen(struct console_reader *reader, bool listens)
{
    if (listens)
        uv_poll_start(&reader->poll, UV_READABLE, on_readable);
    else
        uv_poll_stop(&reader->poll);
}

static void on_closed(uv_handle_t *handle)
{
    struct console_reader *reader = (struct console_reader *)handle;
    close(reader->descriptor);
    free(reader);
}

void console_reader_close(struct console_reader *reader)
{
    uv_close((uv_handle_t *)&reader->poll, on_closed);
}
