/* The conversation with the scheduler: join, status posts, and the three long polls.
 *
 * Of several schedulers one is asked for everything, and the next one for everything after it
 * failed at anything: a status goes out every second and tells soonest that nobody is there any
 * more, which a long poll by itself would learn only after its long deadline.
 *
 * Owns the choice of scheduler, retries and back-off, the epoch and sequence of statuses, and what
 * may be applied: never another cluster's word, never an older (term, revision) than before. What
 * is applied, and how, is the owner's business. Loop thread only. */
#pragma once

#include <uv.h>

#include "agent/freshness.h"
#include "lib/addresses.h"
#include "lib/api/agent.h"
#include "lib/http_client.h"

struct scheduler_link;

enum scheduler_document {
    SCHEDULER_ASSIGNMENT,
    SCHEDULER_ENDPOINTS,
    SCHEDULER_TRUST,
    SCHEDULER_DOCUMENTS,
};

struct scheduler_link_options {
    uv_loop_t *loop;
    struct http_client *http;
    const struct addresses *schedulers; /* copied; at least one */
    const char *node;                   /* its name */
    /* What was applied before this start; `cluster` also alone, from the last join. */
    struct freshness applied[SCHEDULER_DOCUMENTS];
    /* Fill in everything but node, epoch and cluster; the link releases them. */
    void (*fill_join)(struct api_join *join, void *data);
    void (*fill_status)(struct api_status *status, void *data);
    void (*on_joined)(const struct api_join_answer *answer, void *data);
    /* Newer than before, or the same as a whole. */
    void (*on_assignment)(const struct api_assignment *assignment, void *data);
    void (*on_endpoints)(const struct api_endpoints *endpoints, void *data);
    void (*on_trust)(const struct api_trust *trust, void *data);
    void *data;
};

/* Begins to join at once. */
struct scheduler_link *scheduler_link_create(const struct scheduler_link_options *options);
void scheduler_link_destroy(struct scheduler_link *link);
/* After a join: the assignment and the endpoints may come now. Trust comes without. */
void scheduler_link_begin(struct scheduler_link *link);
/* Something that a status shows has changed: one goes out soon. */
void scheduler_link_changed(struct scheduler_link *link);
bool scheduler_link_is_joined(const struct scheduler_link *link);
