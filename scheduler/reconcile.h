/* What to do about one service: which instances to start, drain, stop. Pure: values and a time in,
 * actions out; docs/scheduler.md states the promises that it keeps.
 *
 * The bounds (promise 1): no action takes the ready count below replicas - max_unavailable, and
 * none starts an instance while those not yet stopped (draining included, unknown excluded) are
 * replicas + max_surge or more; while canaries are judged their number comes on top. They
 * hold after every single action of a list, in its order.
 *
 * One look costs O(instances + replicas). */
#pragma once

#include "lib/api/agent.h"

/* What the scheduler wants of an instance, in this order and never back. */
enum instance_wish {
    WISH_RUN,
    WISH_DRAIN, /* out of the load balancers, still running */
    WISH_STOP,
};
extern const char *const instance_wish_names[];

enum reconcile_mode {
    RECONCILE_STEADY,  /* keep `replicas` instances that match */
    RECONCILE_ROLLOUT, /* replace those that do not match by ones that do */
    /* A rollout failed and there was nothing to return to: everything stays to be looked at; only
     * empty slots are filled and slots beyond `replicas` emptied. */
    RECONCILE_HOLD,
    /* `canary` instances that match stand beside `replicas` of the revision that worked last. */
    RECONCILE_CANARY,
    /* Nothing starts or ends, but: what failed is replaced by one of its own revision, empty slots
     * are filled with the revision that worked last, slots beyond `replicas` are emptied, and what
     * is drained already is stopped. */
    RECONCILE_PAUSED,
};

struct reconcile_instance {
    uint32_t slot;
    bool matches; /* of the wanted revision, and not to be restarted */
    enum instance_wish wish;
    enum instance_state state; /* as last reported */
    bool silent;               /* its node is: counts as unknown */
    bool lost;                 /* ... and so long that it is to be replaced */
    uint64_t told_ms;          /* when its node last reported: how it does is known until then */
    uint64_t ready_since_ms;   /* while ready and not silent */
    uint64_t failed_ms;        /* since when it is over */
    uint32_t attempt;          /* how many it replaces one after the other */
    bool given_up;
    /* Of the revision that worked last: replaced in RECONCILE_HOLD when it failed, kept beside
     * canaries, and not given up for its room when it is unready. */
    bool replaceable;
    bool drained; /* WISH_DRAIN: no data plane sends it anything any more */
    bool leaving; /* its node drains: it does not match, and is replaced elsewhere first */
};

struct reconcile_input {
    enum reconcile_mode mode;
    uint32_t replicas;
    uint32_t canary; /* at most replicas; 0: none, or they were promoted */
    uint32_t max_surge;
    uint32_t max_unavailable;
    /* A slot's volumes are in one instance at a time: none starts where another one may still run.
     * Counts as max_surge 0 and max_unavailable 1. */
    bool stop_first;
    uint64_t min_healthy_time_ms;
    struct api_reschedule reschedule;
    enum api_restart_policy restart;
    const struct reconcile_instance *instances; /* none that has ended; in order of their ids */
    size_t instance_count;
    bool no_room; /* something found no place the last time */
    uint64_t now_ms;
};

enum reconcile_kind {
    /* In `slot`; `instance` is what it replaces, or RECONCILE_NONE. Of the wanted revision, or with
     * `of_good` of the one that worked last (of the wanted one where there is none yet). */
    RECONCILE_CREATE,
    RECONCILE_DRAIN,   /* leave the load balancers */
    RECONCILE_STOP,    /* drained, or not worth draining */
    RECONCILE_GIVE_UP, /* failed too often: stays failed, somebody has to look */
};
#define RECONCILE_NONE SIZE_MAX

struct reconcile_action {
    enum reconcile_kind kind;
    uint32_t slot;
    uint32_t attempt;
    size_t instance;
    bool of_good;
};

struct reconcile_counts {
    uint32_t ready;              /* any revision, not draining */
    uint32_t updated;            /* match and are not over */
    uint32_t healthy;            /* match and are healthy (promise 2) */
    uint32_t old;                /* do not match and are not over, unknown excluded */
    uint32_t not_stopped;        /* draining included, unknown excluded */
    uint64_t all_ready_since_ms; /* since when the youngest of the healthy ones has been ready */
    /* Something that matches is booting, being checked or waiting to be tried again: the progress
     * deadline runs. Without it only room, draining or silent nodes are waited for. */
    bool trying;
    /* Until when that is known of the one told of last; 0: nothing is awaited of a node. */
    uint64_t told_ms;
    uint32_t unknown; /* are to run, and are on silent nodes */
};

struct reconcile_result {
    struct reconcile_action *actions;
    size_t action_count;
    struct reconcile_counts counts; /* before the actions */
    uint64_t next_ms;               /* look again then at the latest; UINT64_MAX: no need */
};

bool reconcile_is_ready(const struct reconcile_instance *instance);
bool reconcile_is_healthy(const struct reconcile_instance *instance, uint64_t min_healthy_time_ms,
                          uint64_t now_ms);
/* min(backoff * 2^attempt, max_backoff). */
uint64_t reconcile_backoff(const struct api_reschedule *reschedule, uint32_t attempt);
void reconcile_decide(const struct reconcile_input *input, struct reconcile_result *ret_result);
void reconcile_result_release(struct reconcile_result *result);
