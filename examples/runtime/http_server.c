#include "http_server.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http_message.h"
#include "http_transport.h"
#include "memory.h"

/* A body we have no use for is passed over up to this size; a larger one ends the connection. */
#define BODY_LIMIT (64 * 1024)

/* Deadlines in ticks of about one second. */
#define IDLE_TICKS    75
#define REQUEST_TICKS 15
#define LINGER_TICKS  2

#define CHANGERS_LIMIT 4

static struct {
    struct http_connection *connections; /* HTTP_CONNECTION_LIMIT of them, from memory_take */
    shoal_http_handler *changers[CHANGERS_LIMIT]; /* those that take a POST */
    unsigned changer_count;
    bool draining;
    struct shoal_http_response response; /* the one in work */
    char text[HTTP_RESPONSE_LIMIT];
} server;

static void close_connection(struct http_connection *connection)
{
    /* Bytes left unread would reset the connection. */
    http_transport_consume(connection, connection->input_length);
    http_transport_close(connection);
}

/* Closes our side after what is queued. */
static void finish_connection(struct http_connection *connection)
{
    if (connection->peer_closed) {
        close_connection(connection);
        return;
    }
    http_transport_consume(connection, connection->input_length);
    connection->input_length = 0;
    connection->body_left = 0;
    connection->finishing = true;
    connection->ticks = 0;
    if (http_transport_shut_down(connection) != 0) {
        http_transport_abort(connection);
    }
}

static void consume_input(struct http_connection *connection, size_t size)
{
    connection->input_length -= size;
    memmove(connection->input, connection->input + size, connection->input_length);
    http_transport_consume(connection, size);
}

static bool takes_changes(const struct http_connection *connection)
{
    for (unsigned i = 0; i < server.changer_count; i++) {
        if (server.changers[i] == connection->handler) {
            return true;
        }
    }
    return false;
}

/* Sends server.response. Returns 0, or -1 when the connection is gone. */
static int send_response(struct http_connection *connection, const char *header_connection,
                         bool with_body)
{
    const struct shoal_http_response *response = &server.response;
    const char *allow = takes_changes(connection) ? "GET, HEAD, POST" : "GET, HEAD";
    size_t length =
        http_head_format(server.text, HTTP_HEAD_SIZE, response->status, response->content_type,
                         response->body_length, header_connection, allow);
    if (with_body) {
        memcpy(server.text + length, response->body, response->body_length);
        length += response->body_length;
    }
    if (http_transport_send(connection, server.text, length) != 0) {
        http_transport_abort(connection);
        return -1;
    }
    return 0;
}

static void reset_response(unsigned status)
{
    server.response.status = status;
    server.response.content_type = "text/plain";
    server.response.body_length = 0;
}

/* Answers a request that never reaches a handler, and ends the connection. */
static void refuse_request(struct http_connection *connection, unsigned status)
{
    shoal_http_answer(&server.response, status, "%s\n", http_status_name(status));
    if (send_response(connection, "close", true) == 0) {
        finish_connection(connection);
    }
}

static void fill_response(const struct http_connection *connection, const struct http_head *head)
{
    struct shoal_http_request request = {head->method, head->path, head->query};
    reset_response(200);
    if (strcmp(head->method, "GET") != 0 && strcmp(head->method, "HEAD") != 0 &&
        (strcmp(head->method, "POST") != 0 || !takes_changes(connection))) {
        shoal_http_answer(&server.response, 405, "%s\n", http_status_name(405));
        return;
    }
    connection->handler(&request, &server.response);
    if (server.response.body_length > SHOAL_HTTP_BODY_MAX) {
        shoal_log("http: the answer to %s is too long: %zu bytes", head->path,
                  server.response.body_length);
        reset_response(500);
    }
}

/* Serves the request whose head is complete in the input. */
static void serve_request(struct http_connection *connection, size_t head_length)
{
    struct http_head head;
    unsigned status = http_head_parse(&head, connection->input, head_length);
    if (status != 0 || head.body_length > BODY_LIMIT) {
        refuse_request(connection, status != 0 ? status : 413);
        return;
    }
    /* A peer that asks before sending a body may send it or not, once it has a final answer. */
    bool body_in_doubt = head.expects_continue && head.body_length > 0;
    bool keep_alive = head.keep_alive && !server.draining && !body_in_doubt;
    fill_response(connection, &head);
    const char *header = !keep_alive ? "close" : head.minor_zero ? "keep-alive" : NULL;
    if (send_response(connection, header, strcmp(head.method, "HEAD") != 0) != 0) {
        return;
    }
    if (!keep_alive) {
        finish_connection(connection);
        return;
    }
    connection->body_left = head.body_length;
    connection->ticks = 0;
    consume_input(connection, head_length);
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
static void serve_input(struct http_connection *connection)
{
    bool waiting = false;
    while (connection->transport != NULL && !connection->finishing) {
        skip_input(connection);
        size_t head_length = http_head_find_end(connection->input, connection->input_length);
        if (head_length == 0 && connection->input_length < HTTP_INPUT_SIZE) {
            break;
        }
        if (!http_transport_has_room(connection)) {
            waiting = true;
            break;
        }
        if (head_length > 0) {
            serve_request(connection, head_length);
        } else {
            refuse_request(connection, 431);
        }
    }
    if (connection->transport == NULL) {
        return;
    }
    if (connection->peer_closed && !waiting) {
        close_connection(connection);
        return;
    }
    http_transport_push(connection);
}

struct http_connection *http_server_accept(void *transport, shoal_http_handler *handler)
{
    for (unsigned i = 0; i < HTTP_CONNECTION_LIMIT; i++) {
        struct http_connection *connection = &server.connections[i];
        if (connection->transport == NULL) {
            memset(connection, 0, offsetof(struct http_connection, input));
            connection->transport = transport;
            connection->handler = handler;
            return connection;
        }
    }
    return NULL;
}

void http_server_receive(struct http_connection *connection, size_t size)
{
    if (connection->input_length == 0) {
        connection->ticks = 0; /* a new request begins */
    }
    connection->input_length += size;
    serve_input(connection);
}

void http_server_end_input(struct http_connection *connection)
{
    connection->peer_closed = true;
    if (connection->finishing) {
        close_connection(connection);
    } else {
        serve_input(connection);
    }
}

void http_server_resume(struct http_connection *connection)
{
    if (!connection->finishing && connection->input_length > 0) {
        serve_input(connection);
    }
}

void http_server_tick(struct http_connection *connection)
{
    connection->ticks++;
    if (connection->finishing) {
        if (connection->ticks >= LINGER_TICKS) {
            close_connection(connection);
        }
    } else if (connection->input_length > 0 && connection->ticks >= REQUEST_TICKS) {
        if (http_transport_has_room(connection)) {
            refuse_request(connection, 408);
        } else {
            http_transport_abort(connection);
        }
    } else if (connection->ticks >= IDLE_TICKS) {
        finish_connection(connection);
    }
}

int shoal_http_listen(uint16_t port, shoal_http_handler *handler)
{
    if (server.connections == NULL) {
        server.connections =
            memory_take(HTTP_CONNECTION_LIMIT * sizeof(*server.connections), "HTTP connections");
    }
    return http_transport_listen(port, handler);
}

int shoal_http_listen_for_changes(uint16_t port, shoal_http_handler *handler)
{
    if (server.changer_count == CHANGERS_LIMIT) {
        return -1;
    }
    server.changers[server.changer_count++] = handler;
    return shoal_http_listen(port, handler);
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
    http_transport_stop_listening();
    for (unsigned i = 0; server.connections != NULL && i < HTTP_CONNECTION_LIMIT; i++) {
        struct http_connection *connection = &server.connections[i];
        if (connection->transport != NULL && !connection->finishing &&
            (connection->input_length == 0 || connection->body_left > 0)) {
            finish_connection(connection);
        }
    }
}

bool http_server_is_drained(void)
{
    for (unsigned i = 0; server.connections != NULL && i < HTTP_CONNECTION_LIMIT; i++) {
        if (server.connections[i].transport != NULL && !server.connections[i].finishing) {
            return false;
        }
    }
    return true;
}
