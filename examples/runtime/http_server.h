/*
 * The HTTP/1.1 server behind shoal_http_listen: connections, their buffers and deadlines, and the
 * end of all of them. Runs on lwIP's callbacks; knows no service.
 */
#ifndef RUNTIME_HTTP_SERVER_H
#define RUNTIME_HTTP_SERVER_H

#include <stdbool.h>

/* Stops accepting, closes idle connections, and lets the others finish their open request. */
void http_server_drain(void);

/* True when no connection has an open request or an answer on its way. */
bool http_server_is_drained(void);

#endif
