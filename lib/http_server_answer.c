#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/http_server_internal.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define STREAM_QUEUE_MAX  ((size_t)1 << 20)
#define STREAM_BLOCK_SIZE (32 << 10)
#define READER_BLOCK_SIZE (256 << 10)

void http_answer_finish(struct http_answer *answer)
{
    text_pairs_finish(&answer->headers);
    free(answer->bytes);
    if (answer->kind == ANSWER_FILE && answer->descriptor >= 0)
        close(answer->descriptor);
    if (answer->reader.release != NULL)
        answer->reader.release(answer->reader.data);
    buffer_finish(&answer->queue);
}

/* --- what a handler says --- */

void http_request_add_header(struct http_request *request, const char *name, const char *value)
{
    /* A line break would let a value write headers of its own. */
    if (strpbrk(name, "\r\n") == NULL && strpbrk(value, "\r\n") == NULL)
        text_pairs_add(&request->answer.headers, name, value);
}

/* Whether the request still takes an answer; the first one stands. */
static bool begin_answer(struct http_request *request, enum answer_kind kind, int status,
                         const char *content_type)
{
    if (request->answer.kind != ANSWER_NONE)
        return false;
    request->answer.kind = kind;
    request->answer.status = status;
    request->answer.descriptor = -1;
    if (content_type != NULL)
        http_request_add_header(request, "Content-Type", content_type);
    if (request->server != NULL && request->server->on_answer != NULL)
        request->server->on_answer(request, request->server->data);
    return true;
}

static void answered(struct http_request *request)
{
    http_request_resume(request);
    http_request_release(request);
}

void http_request_respond(struct http_request *request, int status, const char *content_type,
                          const void *body, size_t length)
{
    if (begin_answer(request, ANSWER_BYTES, status, content_type) && length > 0) {
        request->answer.bytes = xmemdup(body, length);
        request->answer.length = length;
    }
    answered(request);
}

void http_request_respond_shared(struct http_request *request, int status, const char *content_type,
                                 const void *bytes, size_t length, void (*release)(void *data),
                                 void *data)
{
    if (begin_answer(request, ANSWER_SHARED, status, content_type)) {
        request->answer.shared_bytes = bytes;
        request->answer.length = length;
        request->answer.reader = (struct http_body_reader){.release = release, .data = data};
    } else {
        release(data);
    }
    answered(request);
}

void http_request_respond_reader(struct http_request *request, int status, const char *content_type,
                                 uint64_t length, const struct http_body_reader *reader)
{
    if (begin_answer(request, ANSWER_READER, status, content_type)) {
        request->answer.reader = *reader;
        request->answer.length = length;
    } else {
        reader->release(reader->data);
    }
    answered(request);
}

void http_request_respond_json(struct http_request *request, int status, struct json_object *object)
{
    AUTO_FREE char *text = json_text(object);
    json_object_put(object);
    http_request_respond(request, status, "application/json", text, strlen(text));
}

void http_request_respond_error(struct http_request *request, const struct error *error)
{
    if (request->server != NULL && request->server->respond_error != NULL)
        request->server->respond_error(request, error);
    else
        http_request_respond_json(request, error_http_status(error->code), error_to_json(error));
}

void http_request_respond_file(struct http_request *request, int status, const char *content_type,
                               int descriptor, uint64_t offset, uint64_t length)
{
    if (begin_answer(request, ANSWER_FILE, status, content_type)) {
        request->answer.descriptor = descriptor;
        request->answer.offset = offset;
        request->answer.length = length;
    } else {
        close(descriptor);
    }
    answered(request);
}

void http_request_stream_begin(struct http_request *request, const char *content_type)
{
    if (begin_answer(request, ANSWER_STREAM, 200, content_type))
        http_request_resume(request);
}

int http_request_stream_write(struct http_request *request, const void *bytes, size_t length)
{
    struct http_answer *answer = &request->answer;
    if (request->server == NULL || request->gone || answer->kind != ANSWER_STREAM ||
        length > STREAM_QUEUE_MAX - (answer->queue.length - answer->queue_sent))
        return -1;
    if (answer->queue_sent > 0) {
        buffer_consume(&answer->queue, answer->queue_sent);
        answer->queue_sent = 0;
    }
    buffer_append(&answer->queue, bytes, length);
    http_request_resume(request);
    return 0;
}

void http_request_stream_end(struct http_request *request)
{
    request->answer.ended = true;
    answered(request);
}

/* --- what libmicrohttpd gets --- */

/* Called when the connection can take more of a stream. */
static ssize_t read_stream(void *data, uint64_t position, char *ret_bytes, size_t size)
{
    (void)position;
    struct http_request *request = data;
    struct http_answer *answer = &request->answer;
    size_t waiting = answer->queue.length - answer->queue_sent;
    if (request->gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (waiting > 0) {
        http_connection_enter(request->client, HTTP_PHASE_SENDING);
        size_t taken = waiting < size ? waiting : size;
        memcpy(ret_bytes, answer->queue.data + answer->queue_sent, taken);
        answer->queue_sent += taken;
        request->streamed += taken;
        if (answer->queue_sent == answer->queue.length) {
            buffer_clear(&answer->queue);
            answer->queue_sent = 0;
        }
        return (ssize_t)taken;
    }
    if (answer->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    http_connection_enter(request->client, HTTP_PHASE_WORKING);
    http_request_suspend(request, 0);
    return 0;
}

struct reader {
    struct http_body_reader body;
    struct http_request *request; /* lives while anything is read */
};

/* libmicrohttpd counts from the last byte that moved, and would cut a connection that had to wait
 * for this side. Its clock begins anew when a timeout is set where there was none. */
static void begin_idling_anew(struct http_request *request)
{
    MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
    MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                              request->server->idle_timeout_s);
}

static ssize_t read_reader(void *data, uint64_t position, char *ret_bytes, size_t size)
{
    const struct reader *reader = data;
    struct http_connection *client = reader->request->client;
    if (!http_connection_enter(client, HTTP_PHASE_WORKING))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    ssize_t got = reader->body.read(reader->body.data, position, ret_bytes, size);
    begin_idling_anew(reader->request);
    http_connection_enter(client, HTTP_PHASE_SENDING);
    return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_reader(void *data)
{
    struct reader *reader = data;
    reader->body.release(reader->body.data);
    free(reader);
}

/* From here on the response releases what it was given, not the answer. */
static struct MHD_Response *create_from_reader(struct http_request *request)
{
    struct http_answer *answer = &request->answer;
    struct reader *reader = xcalloc(1, sizeof *reader);
    *reader = (struct reader){.body = answer->reader, .request = request};
    answer->reader.release = NULL;
    struct MHD_Response *response = MHD_create_response_from_callback(
        answer->length, READER_BLOCK_SIZE, read_reader, reader, free_reader);
    if (response == NULL)
        free_reader(reader);
    return response;
}

static struct MHD_Response *create_from_shared(struct http_answer *answer)
{
    /* It only reads them: its parameter is no const for older users' sake. */
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        answer->length, (void *)(uintptr_t)answer->shared_bytes, answer->reader.release,
        answer->reader.data);
    if (response != NULL)
        answer->reader.release = NULL;
    return response;
}

static struct MHD_Response *create_response(struct http_request *request)
{
    struct http_answer *answer = &request->answer;
    if (answer->kind == ANSWER_STREAM)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_SIZE, read_stream,
                                                 request, NULL);
    if (answer->kind == ANSWER_SHARED && answer->length > 0)
        return create_from_shared(answer);
    if (answer->kind == ANSWER_READER && answer->length > 0)
        return create_from_reader(request);
    if (answer->kind == ANSWER_FILE && answer->length > 0)
        return MHD_create_response_from_fd_at_offset64(
            answer->length, TAKE_DESCRIPTOR(answer->descriptor), answer->offset);
    if (answer->length == 0 || answer->bytes == NULL)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    return MHD_create_response_from_buffer(answer->length, TAKE_POINTER(answer->bytes),
                                           MHD_RESPMEM_MUST_FREE);
}

/* While it is set, only full segments leave: libmicrohttpd sends a file's head and bytes by two
 * calls, and the client would be woken for the head alone. TCP_CORK of tcp(7). */
static void set_cork(struct http_request *request, int on)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL)
        setsockopt(info->connect_fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    request->corked = on != 0;
}

void http_answer_sent(struct http_request *request)
{
    if (request->corked)
        set_cork(request, 0);
}

enum MHD_Result http_answer_queue(struct http_request *request)
{
    if (request->answer.kind == ANSWER_FILE)
        set_cork(request, 1);
    struct MHD_Response *response = create_response(request);
    if (response == NULL)
        return MHD_NO;
    const struct text_pairs *headers = &request->answer.headers;
    for (size_t i = 0; i < headers->count; i++)
        MHD_add_response_header(response, headers->items[i].name, headers->items[i].value);
    if (atomic_load(&request->server->stopping) || request->client->is_refused)
        MHD_add_response_header(response, "Connection", "close");
    request->queued = true;
    enum MHD_Result result =
        MHD_queue_response(request->connection, (unsigned)request->answer.status, response);
    MHD_destroy_response(response);
    return result;
}

/* As much as the socket takes now: a client that does not even read that much is not owed more. */
static void send_now(int descriptor, const struct buffer *text)
{
    for (size_t sent = 0; sent < text->length;) {
        ssize_t count =
            send(descriptor, text->data + sent, text->length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return;
        sent += (size_t)count;
    }
}

void http_answer_send_at_once(struct http_request *request)
{
    const struct http_answer *answer = &request->answer;
    struct buffer text = {0};
    buffer_printf(&text, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
                  answer->status, MHD_get_reason_phrase_for((unsigned)answer->status),
                  (size_t)answer->length);
    for (size_t i = 0; i < answer->headers.count; i++) {
        const struct text_pair *header = &answer->headers.items[i];
        if (strcasecmp(header->name, "Connection") != 0) /* it is said already */
            buffer_printf(&text, "%s: %s\r\n", header->name, header->value);
    }
    buffer_append_text(&text, "\r\n");
    if (answer->length > 0 && strcmp(request->method, "HEAD") != 0)
        buffer_append(&text, answer->kind == ANSWER_SHARED ? answer->shared_bytes : answer->bytes,
                      answer->length);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL && request->server->speaks_tls)
        http_tls_send(request->connection, text.data, text.length);
    else if (info != NULL)
        send_now(info->connect_fd, &text);
    if (info != NULL)
        shutdown(info->connect_fd, SHUT_WR);
    buffer_finish(&text);
    request->sent_at_once = true;
}
