/*
 * What the HTTP server needs from the network below it: lwIP's callbacks in a kernel of its own
 * (http_lwip.c), sockets in a process (../posix/http_sockets.c). Calls of the server only.
 */
#ifndef RUNTIME_HTTP_TRANSPORT_H
#define RUNTIME_HTTP_TRANSPORT_H

#include "http_server.h"

/* Accepts connections on a port from now on. Returns 0, -1 when the port is taken or no room for
 * another listener is left. */
int http_transport_listen(uint16_t port, shoal_http_handler *handler);
void http_transport_stop_listening(void);

/* True when an answer of HTTP_RESPONSE_LIMIT bytes can be queued. */
bool http_transport_has_room(const struct http_connection *connection);

/* Queues bytes for the peer, for which there is room. Returns 0, or -1 when the network cannot: the
 * connection is to be aborted then. */
int http_transport_send(struct http_connection *connection, const char *data, size_t size);

/* Sends what is queued without waiting for more. */
void http_transport_push(struct http_connection *connection);

/* So many bytes of the input are done with: the peer may send as many more. */
void http_transport_consume(struct http_connection *connection, size_t size);

/* Closes our side behind what is queued; receiving goes on. 0, or -1 as above. */
int http_transport_shut_down(struct http_connection *connection);

/* Both free the connection. Closing still sends what is queued. */
void http_transport_close(struct http_connection *connection);
void http_transport_abort(struct http_connection *connection);

#endif
