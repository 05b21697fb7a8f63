/* The checks of one running instance: readiness, and once it has been ready, liveness. Without a
 * readiness check a TCP connect to the first port; without a port a running guest counts as ready.
 * Loop thread only. */
#pragma once

#include "agent/probe.h"

struct health;

struct health_options {
    uv_loop_t *loop;
    struct http_client *http;
    struct host_client *host;
    const struct api_assigned_instance *assigned; /* read during health_create only */
    bool was_ready;                               /* and is, until a check says otherwise */
    bool has_been_ready;  /* in this boot: its liveness counts, ready or not */
    uint64_t boot_age_ms; /* how long ago its boot began */
    uint64_t now_wall_ms;
    const char *console_folder; /* of the host half's logs; stays the caller's */
    /* The health may be destroyed in each of them. */
    void (*on_ready)(bool ready, const char *message, void *data);
    void (*on_unhealthy)(const char *message, void *data);
    void *data;
};

/* on_ready may come at once only from the loop, never before this returns. */
struct health *health_create(const struct health_options *options);
/* What the readiness check saw last where it did not pass; "": nothing. Valid until the next one.
 */
const char *health_last_miss(const struct health *health);
void health_destroy(struct health *health);
