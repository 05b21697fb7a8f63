#include "http_server.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <lwip/tcp.h>
#include <shoal/runtime.h>

#include "http_message.h"
#include "memory.h"

#define LISTENER_LIMIT MEMP_NUM_TCP_PCB_LISTEN
/* Below lwIP's number, so that there is always one left to answer a SYN with. */
#define CONNECTION_LIMIT 200
/* The receive window: what a peer may send fits, always. It bounds a request's head, too. */
#define INPUT_SIZE     TCP_WND
#define HEAD_SIZE      512
#define RESPONSE_LIMIT (HEAD_SIZE + SHOAL_HTTP_BODY_MAX)
/* A body we have no use for is passed over up to this size; a larger one ends the connection. */
#define BODY_LIMIT (64 * 1024)

/* Deadlines in ticks of about one second (lwIP polls in half seconds). */
#define POLL_INTERVAL 2
#define IDLE_TICKS    75
#define REQUEST_TICKS 15
#define LINGER_TICKS  2

struct http_listener {
    struct tcp_pcb *pcb;
    shoal_http_handler *handler;
};

/*
 * A connection is free (pcb NULL), open, or finishing:
 *
 *     free -> open -> finishing -> free
 *
 * Finishing: our last byte is queued and our side closed; what still comes is thrown away until
 * the peer closes too. Closing at once would reset the connection if the peer is still sending,
 * and the reset could overtake the answer.
 */
struct http_connection {
    struct tcp_pcb *pcb;
    const struct http_listener *listener;
    uint64_t body_left; /* bytes of a request's body still to pass over */
    size_t input_length;
    unsigned ticks; /* since the last progress */
    bool finishing;
    bool peer_closed;
    char input[INPUT_SIZE];
};

static struct {
    struct http_listener listeners[LISTENER_LIMIT];
    unsigned listener_count;
    struct http_connection *connections; /* CONNECTION_LIMIT of them, from memory_take */
    bool draining;
    struct shoal_http_response response; /* the one in work */
    char text[RESPONSE_LIMIT];
} server;

_Static_assert(TCP_SND_BUF >= 2 * RESPONSE_LIMIT, "an answer fits the send buffer");

/* Takes the connection away from lwIP's callbacks; the slot is free after it. */
static struct tcp_pcb *release_connection(struct http_connection *connection)
{
    struct tcp_pcb *pcb = connection->pcb;
    connection->pcb = NULL;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    return pcb;
}

/* Both give what lwIP's callback has to return. */
static err_t abort_connection(struct http_connection *connection)
{
    tcp_abort(release_connection(connection));
    return ERR_ABRT;
}

static err_t close_connection(struct http_connection *connection)
{
    /* Bytes left unread would make lwIP reset the connection. */
    tcp_recved(connection->pcb, (u16_t)connection->input_length);
    struct tcp_pcb *pcb = release_connection(connection);
    if (tcp_close(pcb) != ERR_OK) {
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    return ERR_OK;
}

/* Closes our side after what is queued. */
static err_t finish_connection(struct http_connection *connection)
{
    if (connection->peer_closed) {
        return close_connection(connection);
    }
    tcp_recved(connection->pcb, (u16_t)connection->input_length);
    connection->input_length = 0;
    connection->body_left = 0;
    connection->finishing = true;
    connection->ticks = 0;
    return tcp_shutdown(connection->pcb, 0, 1) == ERR_OK ? ERR_OK : abort_connection(connection);
}

static void consume_input(struct http_connection *connection, size_t size)
{
    connection->input_length -= size;
    memmove(connection->input, connection->input + size, connection->input_length);
    tcp_recved(connection->pcb, (u16_t)size);
}

static bool can_send_response(const struct http_connection *connection)
{
    return tcp_sndbuf(connection->pcb) >= RESPONSE_LIMIT &&
           tcp_sndqueuelen(connection->pcb) + RESPONSE_LIMIT / TCP_MSS + 2 < TCP_SND_QUEUELEN;
}

/* Sends server.response. */
static err_t send_response(struct http_connection *connection, const char *header_connection,
                           bool with_body)
{
    const struct shoal_http_response *response = &server.response;
    size_t length =
        http_head_format(server.text, HEAD_SIZE, response->status, response->content_type,
                         response->body_length, header_connection);
    if (with_body) {
        memcpy(server.text + length, response->body, response->body_length);
        length += response->body_length;
    }
    if (tcp_write(connection->pcb, server.text, (u16_t)length, TCP_WRITE_FLAG_COPY) != ERR_OK) {
        return abort_connection(connection);
    }
    return ERR_OK;
}

static void reset_response(unsigned status)
{
    server.response.status = status;
    server.response.content_type = "text/plain";
    server.response.body_length = 0;
}

/* Answers a request that never reaches a handler, and ends the connection. */
static err_t refuse_request(struct http_connection *connection, unsigned status)
{
    shoal_http_answer(&server.response, status, "%s\n", http_status_name(status));
    err_t result = send_response(connection, "close", true);
    return result == ERR_OK ? finish_connection(connection) : result;
}

static void fill_response(const struct http_connection *connection, const struct http_head *head)
{
    struct shoal_http_request request = {head->method, head->path, head->query};
    reset_response(200);
    if (strcmp(head->method, "GET") != 0 && strcmp(head->method, "HEAD") != 0) {
        shoal_http_answer(&server.response, 405, "%s\n", http_status_name(405));
        return;
    }
    connection->listener->handler(&request, &server.response);
    if (server.response.body_length > SHOAL_HTTP_BODY_MAX) {
        shoal_log("http: the answer to %s is too long: %zu bytes", head->path,
                  server.response.body_length);
        reset_response(500);
    }
}

/* Serves the request whose head is complete in the input. */
static err_t serve_request(struct http_connection *connection, size_t head_length)
{
    struct http_head head;
    unsigned status = http_head_parse(&head, connection->input, head_length);
    if (status != 0) {
        return refuse_request(connection, status);
    }
    if (head.body_length > BODY_LIMIT) {
        return refuse_request(connection, 413);
    }
    /* A peer that asks before sending a body may send it or not, once it has a final answer. */
    bool body_in_doubt = head.expects_continue && head.body_length > 0;
    bool keep_alive = head.keep_alive && !server.draining && !body_in_doubt;
    fill_response(connection, &head);
    const char *header = !keep_alive ? "close" : head.minor_zero ? "keep-alive" : NULL;
    err_t result = send_response(connection, header, strcmp(head.method, "HEAD") != 0);
    if (result != ERR_OK) {
        return result;
    }
    if (!keep_alive) {
        return finish_connection(connection);
    }
    connection->body_left = head.body_length;
    connection->ticks = 0;
    consume_input(connection, head_length);
    return ERR_OK;
}

/* Bytes that belong to no request: a body, and empty lines before a request. */
static void skip_input(struct http_connection *connection)
{
    size_t size = connection->input_length;
    if (connection->body_left < size) {
        size = (size_t)connection->body_left;
    }
    connection->body_left -= size;
    if (connection->body_left == 0) {
        while (size + 1 < connection->input_length && connection->input[size] == '\r' &&
               connection->input[size + 1] == '\n') {
            size += 2;
        }
    }
    if (size > 0) {
        consume_input(connection, size);
    }
}

/* Serves what is complete in the input, as far as the answers find room. */
static err_t serve_input(struct http_connection *connection)
{
    err_t result = ERR_OK;
    bool waiting = false;
    while (result == ERR_OK && connection->pcb != NULL && !connection->finishing) {
        skip_input(connection);
        size_t head_length = http_head_find_end(connection->input, connection->input_length);
        if (head_length == 0 && connection->input_length < INPUT_SIZE) {
            break;
        }
        if (!can_send_response(connection)) {
            waiting = true;
            break;
        }
        result = head_length > 0 ? serve_request(connection, head_length)
                                 : refuse_request(connection, 431);
    }
    if (result != ERR_OK || connection->pcb == NULL) {
        return result;
    }
    if (connection->peer_closed && !waiting) {
        return close_connection(connection);
    }
    (void)tcp_output(connection->pcb);
    return ERR_OK;
}

static err_t on_receive(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error)
{
    struct http_connection *connection = argument;
    (void)error;
    if (data == NULL) {
        connection->peer_closed = true;
        return connection->finishing ? close_connection(connection) : serve_input(connection);
    }
    u16_t length = data->tot_len;
    if (connection->finishing) {
        tcp_recved(pcb, length);
        pbuf_free(data);
        return ERR_OK;
    }
    if (length > INPUT_SIZE - connection->input_length) {
        pbuf_free(data);
        return abort_connection(connection); /* beyond the window: lwIP does not let it through */
    }
    if (connection->input_length == 0) {
        connection->ticks = 0; /* a new request begins */
    }
    (void)pbuf_copy_partial(data, connection->input + connection->input_length, length, 0);
    connection->input_length += length;
    pbuf_free(data);
    return serve_input(connection);
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t length)
{
    struct http_connection *connection = argument;
    (void)pcb;
    (void)length;
    if (connection->finishing || connection->input_length == 0) {
        return ERR_OK;
    }
    return serve_input(connection);
}

static void on_error(void *argument, err_t error)
{
    struct http_connection *connection = argument;
    (void)error;
    if (connection != NULL) {
        connection->pcb = NULL; /* lwIP has freed it already */
    }
}

static err_t on_tick(void *argument, struct tcp_pcb *pcb)
{
    struct http_connection *connection = argument;
    (void)pcb;
    connection->ticks++;
    if (connection->finishing) {
        return connection->ticks >= LINGER_TICKS ? close_connection(connection) : ERR_OK;
    }
    if (connection->input_length > 0 && connection->ticks >= REQUEST_TICKS) {
        return can_send_response(connection) ? refuse_request(connection, 408)
                                             : abort_connection(connection);
    }
    if (connection->ticks >= IDLE_TICKS) {
        return finish_connection(connection);
    }
    return ERR_OK;
}

static err_t on_accept(void *argument, struct tcp_pcb *pcb, err_t error)
{
    if (error != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    for (unsigned i = 0; i < CONNECTION_LIMIT; i++) {
        struct http_connection *connection = &server.connections[i];
        if (connection->pcb != NULL) {
            continue;
        }
        memset(connection, 0, offsetof(struct http_connection, input));
        connection->pcb = pcb;
        connection->listener = argument;
        tcp_arg(pcb, connection);
        tcp_recv(pcb, on_receive);
        tcp_sent(pcb, on_sent);
        tcp_err(pcb, on_error);
        tcp_poll(pcb, on_tick, POLL_INTERVAL);
        tcp_nagle_disable(pcb);
        return ERR_OK;
    }
    return ERR_MEM; /* lwIP resets the connection: the peer may try another instance */
}

int shoal_http_listen(uint16_t port, shoal_http_handler *handler)
{
    if (server.listener_count == LISTENER_LIMIT) {
        return -1;
    }
    if (server.connections == NULL) {
        server.connections =
            memory_take(CONNECTION_LIMIT * sizeof(*server.connections), "HTTP connections");
    }
    struct tcp_pcb *pcb = tcp_new();
    if (pcb == NULL || tcp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK) {
        if (pcb != NULL) {
            tcp_abort(pcb);
        }
        return -1;
    }
    struct tcp_pcb *listening = tcp_listen(pcb);
    if (listening == NULL) {
        tcp_abort(pcb);
        return -1;
    }
    struct http_listener *listener = &server.listeners[server.listener_count++];
    *listener = (struct http_listener){listening, handler};
    tcp_arg(listening, listener);
    tcp_accept(listening, on_accept);
    return 0;
}

void shoal_http_answer(struct shoal_http_response *response, unsigned status, const char *format,
                       ...)
{
    va_list list;
    va_start(list, format);
    int length = vsnprintf(response->body, sizeof(response->body), format, list);
    va_end(list);
    response->status = status;
    response->content_type = "text/plain";
    response->body_length =
        (size_t)length < sizeof(response->body) ? (size_t)length : sizeof(response->body) - 1;
}

void http_server_drain(void)
{
    server.draining = true;
    for (unsigned i = 0; i < server.listener_count; i++) {
        (void)tcp_close(server.listeners[i].pcb);
    }
    server.listener_count = 0;
    for (unsigned i = 0; server.connections != NULL && i < CONNECTION_LIMIT; i++) {
        struct http_connection *connection = &server.connections[i];
        if (connection->pcb != NULL && !connection->finishing &&
            (connection->input_length == 0 || connection->body_left > 0)) {
            (void)finish_connection(connection);
        }
    }
}

bool http_server_is_drained(void)
{
    for (unsigned i = 0; server.connections != NULL && i < CONNECTION_LIMIT; i++) {
        if (server.connections[i].pcb != NULL && !server.connections[i].finishing) {
            return false;
        }
    }
    return true;
}
