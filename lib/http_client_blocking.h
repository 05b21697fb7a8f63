/* HTTP/1.1 calls that block their thread, for threads that may (the registry's, one a connection).
 * Requests and answers are those of http_client.h.
 *
 * Any thread, several at a time. Connections are kept for the next call, with the handle that made
 * them: as many as the client was created with, the ones beyond are closed. */
#pragma once

#include "lib/http_client.h"

struct http_blocking_client;

struct http_blocking_client *http_blocking_client_create(unsigned idle_connections);
/* When no call runs and every answer was released. NULL is fine. */
void http_blocking_client_destroy(struct http_blocking_client *client);

/* Runs the call to its end; `data` goes to the request's on_body, which runs on this thread. NULL
 * only when the request is malformed, with `error` set; an answer that did not come is one that
 * `failed`. http_response_header and http_response_check read it; it stays until it is released,
 * and its connection with it. */
const struct http_client_response *http_client_perform(struct http_blocking_client *client,
                                                       const struct http_client_request *request,
                                                       void *data, struct error *error);
/* NULL is fine. */
void http_client_release(struct http_blocking_client *client,
                         const struct http_client_response *response);
