#include "tests/bench/load_connection.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/xalloc.h"

uint64_t load_now_us(void)
{
    return uv_hrtime() / 1000;
}

void load_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("scheduler_load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    static char bytes[1 << 18]; /* one thread, and used up before the next call */
    (void)handle;
    (void)suggested;
    *ret_buffer = uv_buf_init(bytes, sizeof bytes);
}

/* Takes the answer out of `in` when all of it is there. */
static void take_answer(struct connection *connection)
{
    struct buffer *in = &connection->in;
    const char *text = buffer_text(in);
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        return;
    size_t head = (size_t)(end - text) + 4, length = 0;
    const char *field = strcasestr(text, "\r\nContent-Length:");
    if (field != NULL && field < end)
        length = strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
    if (in->length < head + length)
        return;
    struct buffer answer = *in;
    *in = (struct buffer){0};
    int status = atoi(answer.data + strlen("HTTP/1.1 "));
    answer.data[head + length] = '\0';
    connection->is_busy = false;
    connection->on_answer(connection, status, answer.data + head, length);
    buffer_finish(&answer);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    if (length < 0 && !connection->is_busy) { /* it was idle for long */
        uv_read_stop(stream);
        connection->is_over = true;
        return;
    }
    if (length < 0 && connection->may_end)
        return;
    if (length < 0)
        load_fail("the scheduler closed a connection: %s", uv_strerror((int)length));
    buffer_append(&connection->in, buffer->base, (size_t)length);
    take_answer(connection);
}

static void on_written(uv_write_t *write, int status)
{
    free(write->data);
    free(write);
    if (status < 0)
        load_fail("send: %s", uv_strerror(status));
}

/* Nearly always at once. Else with memory of its own: an answer may come, and the next request be
 * made, before libuv says that this one was written. */
static void flush_out(struct connection *connection)
{
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    uv_buf_t bytes = uv_buf_init(connection->out.data, (unsigned)connection->out.length);
    int written = uv_try_write(stream, &bytes, 1);
    if (written < 0 && written != UV_EAGAIN)
        load_fail("send: %s", uv_strerror(written));
    size_t done = written > 0 ? (size_t)written : 0;
    if (done == connection->out.length)
        return;
    uv_write_t *write = xcalloc(1, sizeof *write);
    size_t rest = connection->out.length - done;
    write->data = xmemdup(connection->out.data + done, rest);
    bytes = uv_buf_init(write->data, (unsigned)rest);
    uv_write(write, stream, &bytes, 1, on_written);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct connection *connection = request->data;
    if (status < 0)
        load_fail("connect: %s", uv_strerror(status));
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
    flush_out(connection);
}

void connection_ask(struct connection *connection, connection_answer *answer, const char *method,
                    const char *path, const char *body)
{
    if (connection->is_over)
        load_fail("a connection was closed while it was idle");
    buffer_clear(&connection->out);
    buffer_printf(&connection->out,
                  "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %zu\r\n\r\n%s", method,
                  path, strlen(body), body);
    connection->on_answer = answer;
    connection->is_busy = true;
    connection->sent_us = load_now_us();
    if (connection->is_open) {
        flush_out(connection);
        return;
    }
    connection->is_open = true;
    uv_tcp_init(connection->target->loop, &connection->tcp);
    connection->tcp.data = connection->connect.data = connection;
    uv_tcp_connect(&connection->connect, &connection->tcp,
                   (const struct sockaddr *)&connection->target->address, on_connected);
}
