/* One long poll that never ends: asks for what is newer than a revision, hands each answer on,
 * asks again; backs off while nobody answers. Whom it asks is the owner's choice. Loop thread only.
 */
#pragma once

#include <uv.h>

#include "lib/http_client.h"

struct long_poll;

enum long_poll_verdict {
    LONG_POLL_TAKEN,   /* ask for what is newer than `revision` */
    LONG_POLL_WHOLE,   /* ask for the whole */
    LONG_POLL_REFUSED, /* not taken: ask again, after a pause */
};

struct long_poll_options {
    uv_loop_t *loop;
    struct http_client *http;
    const char *url; /* without the query; copied */
    /* Nobody answered, or only that nothing can be answered now. The poll goes on after a pause. */
    void (*on_failed)(void *data);
    /* A 200's body. Sets ret_revision when it was taken. */
    enum long_poll_verdict (*on_answer)(const char *body, size_t length, uint64_t *ret_revision,
                                        void *data);
    /* The scheduler does not know this node (any more). The poll goes on after a pause. */
    void (*on_unknown)(const struct error *error, void *data);
    void *data;
};

struct long_poll *long_poll_create(const struct long_poll_options *options);
void long_poll_destroy(struct long_poll *poll);
/* Starts, or asks for the whole again at once. */
void long_poll_restart(struct long_poll *poll);
/* Ends a pause between two tries: somebody answers again. */
void long_poll_hurry(struct long_poll *poll);
/* Asks there from now on, for what is newer than before; what is under way is not waited for. */
void long_poll_move(struct long_poll *poll, const char *url);
