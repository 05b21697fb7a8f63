/* The deciding half's end of the channel to the host half: requests matched with their answers,
 * events handed on. Never blocks: packets wait in a bounded queue while the peer does not read.
 *
 * Loop thread only. Knows nothing of what the messages are for. */
#pragma once

#include <uv.h>

#include "agent/host_protocol.h"

struct host_client;

/* `descriptor` is the callee's to close (-1: none came). A request that could not be sent or was
 * lost with the host half gets code ERROR_UNAVAILABLE. */
typedef void host_answer_callback(const struct host_answer *answer, int descriptor, void *data);

struct host_client_options {
    uv_loop_t *loop;
    int channel; /* taken over */
    void (*on_instance)(const struct host_instance *instance, void *data);
    void (*on_frontend)(const struct host_frontend *frontend, void *data);
    /* NULL: not wanted */
    void (*on_usage)(const struct host_usage *usage, void *data);
    void (*on_images)(const struct host_images *images, void *data);
    void (*on_boot_steps)(const struct host_boot_steps *steps, void *data);
    void (*on_node)(const struct host_node *node, void *data);
    /* The host half is gone; requests that wait are answered afterwards, unless the client is
     * destroyed here. */
    void (*on_lost)(void *data);
    /* It has become silent, or speaks again: what host_client_silence says has changed. */
    void (*on_silence)(void *data);
    void *data;
};

int host_client_create(const struct host_client_options *options, struct host_client **ret_client,
                       struct error *error);
/* Callbacks that wait do not come any more; what they hold is released. Frees itself once libuv has
 * closed its handles. */
void host_client_destroy(struct host_client *client);

/* Sends `message` (type and body; the sequence is set here). The callback, which may be NULL, comes
 * once, later. Returns the sequence, for host_client_forget. */
uint64_t host_client_request(struct host_client *client, const struct host_message *message,
                             host_answer_callback *callback, void *data);
/* The same for `data` that nobody but the callback lets go: where that does not come, because the
 * client is destroyed, `release` does. */
uint64_t host_client_request_held(struct host_client *client, const struct host_message *message,
                                  host_answer_callback *callback, void *data,
                                  void (*release)(void *data));
/* The answer will be dropped instead of given to the callback. 0 is fine. */
void host_client_forget(struct host_client *client, uint64_t sequence);
/* How long the host half has said nothing, in ms; 0: it speaks (host_silence.h). */
uint64_t host_client_silence(const struct host_client *client);
/* 0, or -1 with ERROR_UNAVAILABLE, which says of `node` for how long it has been silent: whatever
 * needs the host half would only wait. */
int host_client_check(const struct host_client *client, const char *node, struct error *error);
/* 0, or -1 with the answer's message. */
int host_answer_check(const struct host_answer *answer, struct error *error);
