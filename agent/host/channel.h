/* The host half's end of the socketpair: messages in, checked; messages out, queued so that the
 * loop never waits for the other half. Loop thread. */
#pragma once

#include <uv.h>

#include "agent/host_protocol.h"

struct channel;

struct channel_listener {
    /* A request of the other half that passed host_message_check. */
    void (*received)(void *context, const struct host_message *message);
    /* The other half is gone, or speaks nonsense; called once. */
    void (*gone)(void *context);
    void *context;
};

/* Takes `descriptor` over. Nothing is received before channel_start. */
struct channel *channel_create(uv_loop_t *loop, int descriptor,
                               const struct channel_listener *listener);
void channel_start(struct channel *channel);
/* `descriptor` (or -1) is taken over and closed once it is sent. */
void channel_send(struct channel *channel, const struct host_message *message, int descriptor);
/* The answer to the request of that sequence; `error` NULL: it worked. */
void channel_answer(struct channel *channel, uint64_t sequence, const struct error *error);
/* Copies a text for people into a message's field, without control characters. */
void channel_copy_text(char *ret_text, size_t size, const char *text);
void channel_destroy(struct channel *channel);
