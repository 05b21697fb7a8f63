/* Calls of etcd's JSON gateway: several endpoints that are tried in turn, one attempt a call.
 *
 * Owns the HTTP client it makes. Loop thread only. Who calls decides what is tried again: after an
 * attempt that did not get through the next one goes to the next endpoint. */
#pragma once

#include <uv.h>

#include "lib/http_client.h"
#include "scheduler/etcd_messages.h"

struct etcd_client;
struct etcd_call;

/* `error` ERROR_UNAVAILABLE or ERROR_TIMEOUT: whether it was done is not known, unless the answer
 * says that it was not sent; any other: it was not. The answer, never NULL, lives during the call.
 */
typedef void etcd_callback(const struct error *error, const struct etcd_answer *answer, void *data);

/* `endpoints` as "http://10.0.0.1:2379,http://10.0.0.2:2379". ERROR_INVALID where one is no URL. */
int etcd_client_create(uv_loop_t *loop, const char *endpoints, struct etcd_client **ret_client,
                       struct error *error);
/* Cancels every call; frees itself when libuv has closed what it has. NULL is fine. */
void etcd_client_destroy(struct etcd_client *client);
/* All of them, for messages. */
const char *etcd_client_endpoints(const struct etcd_client *client);

/* `path` like "kv/range"; takes `body`. Calls back once, from the loop. */
struct etcd_call *etcd_call_start(struct etcd_client *client, const char *path, char *body,
                                  unsigned timeout_ms, etcd_callback *callback, void *data);
/* No callback then; NULL is fine. */
void etcd_call_cancel(struct etcd_call *call);
/* Waits on this thread, for what is done before the loop runs. Takes `body`. */
int etcd_call_blocking(struct etcd_client *client, const char *path, char *body,
                       unsigned timeout_ms, struct etcd_answer *ret_answer, struct error *error);

/* A watch: bytes of lines as they come to `on_body`, and `on_end` once when the stream is over (not
 * after a cancel). NULL never. */
struct http_call *etcd_watch_start(struct etcd_client *client, char *body,
                                   int (*on_body)(const void *bytes, size_t length, void *data),
                                   http_client_callback *on_end, void *data);
/* A watch has nothing to say, or is stuck: the next call goes to the next endpoint. */
void etcd_client_move_on(struct etcd_client *client);
