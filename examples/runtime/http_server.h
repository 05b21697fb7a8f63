/*
 * The HTTP/1.1 server behind shoal_http_listen: connections, their input and deadlines, and the end
 * of all of them. Knows neither the network below (http_transport.h) nor a service. One thread
 * calls all of it.
 */
#ifndef RUNTIME_HTTP_SERVER_H
#define RUNTIME_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shoal/runtime.h>

#define HTTP_CONNECTION_LIMIT 200
/* What a peer may send before it is answered; it bounds a request's head, too. */
#define HTTP_INPUT_SIZE (8 * 1024)
#define HTTP_HEAD_SIZE  512
/* The largest answer. */
#define HTTP_RESPONSE_LIMIT (HTTP_HEAD_SIZE + SHOAL_HTTP_BODY_MAX)

/*
 * A connection is free (transport NULL), open, or finishing:
 *
 *     free -> open -> finishing -> free
 *
 * Finishing: our last byte is queued and our side closed; what still comes is thrown away until
 * the peer closes too. Closing at once would reset the connection if the peer is still sending,
 * and the reset could overtake the answer.
 */
struct http_connection {
    void *transport; /* the transport's own */
    shoal_http_handler *handler;
    uint64_t body_left; /* bytes of a request's body still to pass over */
    size_t input_length;
    unsigned ticks; /* since the last progress */
    bool finishing;
    bool peer_closed;
    char input[HTTP_INPUT_SIZE];
};

/* ---- What the transport calls. Each may close or abort the connection. ---- */

/* A connection for a new peer; NULL when there is no room for one. */
struct http_connection *http_server_accept(void *transport, shoal_http_handler *handler);

/* `size` bytes more stand in the input behind the input's length; at most the room that is left.
 * What a finishing connection receives the transport throws away itself. */
void http_server_receive(struct http_connection *connection, size_t size);

/* The peer sends nothing more. */
void http_server_end_input(struct http_connection *connection);

/* There is room for an answer again. */
void http_server_resume(struct http_connection *connection);

/* About one second has passed. */
void http_server_tick(struct http_connection *connection);

/* ---- What the runtime calls ---- */

/* Stops accepting, closes idle connections, and lets the others finish their open request. */
void http_server_drain(void);

/* True when no connection has an open request or an answer on its way. */
bool http_server_is_drained(void);

#endif
