/* The parts of the scheduler that its modules share, and the options it was started with.
 * Owned by scheduler.c. Loop thread only. */
#pragma once

#include <sys/queue.h>
#include <uv.h>

#include "lib/addresses.h"
#include "lib/clock.h"
#include "lib/http_client.h"
#include "lib/oci_client.h"
#include "scheduler/changes.h"
#include "scheduler/model.h"
#include "scheduler/store.h"
#include "scheduler/wakeup.h"

#define HEARTBEAT_MS 1000
/* Statuses with nothing new, of all nodes, in a millisecond: a larger fleet sends them less often,
 * as far as the lease allows. */
#define HEARTBEATS_A_MS 1

struct scheduler_options {
    const char *address;
    uint16_t port;
    /* "http://10.0.0.1:7000", where the other schedulers reach this one; "": as above */
    char advertise[ADDRESS_TEXT_MAX];
    const char *state;         /* folder */
    const char *store;         /* "sqlite:FOLDER", "etcd:URL,URL"; NULL: SQLite in `state` */
    const char *registry;      /* "http://127.0.0.1:5000" */
    const char *registry_auth; /* file of logins for it; NULL: none */
    const char *network;       /* "10.64.0.0/10": nodes get a /24 of it each */
    uint64_t lease_ms;
    uint64_t replace_after_ms;
    uint32_t freeze_percent;  /* see node_health.h; 0: the default */
    uint32_t reschedule_rate; /* instances a second; 0: by the number of nodes */
    uint64_t events_kept;     /* so many at most, */
    uint64_t events_kept_ms;  /* and none older than this */
    bool restored;            /* the state came back from a backup */
};

struct core {
    const struct scheduler_options *options;
    uv_loop_t *loop;
    const struct clock *clock;
    struct wakeup_source wakeups; /* what decides waits by these, never by the loop itself */
    struct store *store;
    struct model model;
    struct changes *changes;
    struct http_client *http;
    struct oci_client *registry;
    struct leadership *leadership;
    struct publication *publication; /* NULL unless this scheduler leads */
    struct controller *controller;   /* likewise */
    struct event_log *events;
    LIST_HEAD(, deployment) deployments; /* under way */
    LIST_HEAD(, revocation) revocations;
    LIST_HEAD(, verdict_inquiry) inquiries;
    LIST_HEAD(, forwarded) forwarded;         /* to the leader */
    LIST_HEAD(, forwarded) forwarded_answers; /* of it, that are held back for a moment */
    /* Revisions of the agents' documents begin with the number of this start, so that they ascend
     * within a term without being written. */
    uint64_t revision_base;
};

/* How often a node is to send a status when nothing changes. */
static inline uint64_t core_heartbeat_ms(const struct core *core)
{
    uint64_t wanted = core->model.nodes.count / HEARTBEATS_A_MS;
    uint64_t most = core->options->lease_ms / 3;
    if (wanted > most)
        wanted = most;
    return wanted > HEARTBEAT_MS ? wanted : HEARTBEAT_MS;
}

static inline uint64_t core_now(const struct core *core)
{
    return clock_monotonic_ms(core->clock);
}

static inline uint64_t core_wall(const struct core *core)
{
    return clock_wall_ms(core->clock);
}
