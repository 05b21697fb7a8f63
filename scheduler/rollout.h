/* Where a rollout goes next: success, failure, the way back. Pure: values and a time in, a phase
 * and its reason out (promises 4 to 6 of docs/scheduler.md). What people ask for (pause, resume,
 * promote, abort) is decided in service_changes.c. */
#pragma once

#include "lib/api/agent.h"
#include "scheduler/reconcile.h"

/* Failed boots and restarts of one slot of the new revision that end a rollout. */
#define ROLLOUT_FAILURES_MAX 3

/* How long the rollout has been trying since an instance last became healthy. It stands still
 * while room, draining or silent nodes are all that is waited for, and while the rollout is paused
 * or waits for its promotion. Of time that a node has not reported since nothing is counted: that
 * its instances are not healthy is not known, and going back for it would be taking a broken wire
 * for a broken revision. Zeroed: a rollout that begins now, or begins to go back. */
struct rollout_clock {
    bool begun;
    bool running;
    uint64_t used_ms;
    uint64_t last_ms;
};

struct rollout_input {
    enum rollout_phase phase;
    uint32_t from; /* 0: a first deploy */
    uint32_t to;
    uint32_t replicas;
    uint32_t canary; /* how many are to be judged first; 0: none, or they were promoted */
    struct api_rollout_settings settings;
    struct reconcile_counts counts; /* against `to`, or `from` while rolling back */
    uint32_t slot_failures;         /* the worst slot's, of instances that this rollout made */
    uint32_t worst_slot;
    const char *last_failure; /* what the agent said about it; "" when nothing */
    bool became_healthy;      /* one did, since the last look */
    const char *no_capacity;  /* why nothing can be placed; NULL when all could */
    const char *silence;      /* which of its nodes are silent; NULL: none is */
    const char *revoked;      /* why the wanted revision may not run any more; NULL: it may */
    uint64_t now_ms;
};

struct rollout_decision {
    enum rollout_phase phase;
    bool promotes; /* the canaries are the first of the new instances from now on */
    char reason[REASON_MAX];
    uint64_t next_ms; /* look again then at the latest; UINT64_MAX: no need */
};

/* The revision whose instances a service is to have while `phase` is that of its last rollout. */
uint32_t rollout_target(enum rollout_phase phase, uint32_t from, uint32_t to);
/* How reconcile treats the service then; `canary` as in rollout_input. */
enum reconcile_mode rollout_mode(enum rollout_phase phase, uint32_t canary);
/* Moves the clock on and decides. */
void rollout_decide(const struct rollout_input *input, struct rollout_clock *clock,
                    struct rollout_decision *ret_decision);
