/* How fast the instances of lost nodes are replaced, and which next: those of the highest priority
 * first, then in the order in which they were lost; so many a second in the whole cluster, so that
 * the nodes that are left are not overrun.
 *
 * Owns the queue. Knows ids and times only: whether an instance is still to be replaced when its
 * turn comes is the caller's to know. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/api/service_spec.h"

/* However few nodes there are. */
#define RESCHEDULING_LEAST_RATE 10

struct rescheduling_entry {
    uint32_t priority;
    uint64_t order;
    char id[INSTANCE_ID_MAX];
};

struct rescheduling {
    struct rescheduling_entry *entries; /* a heap: the next one first */
    size_t count;
    size_t capacity;
    uint64_t added;  /* so many ever were */
    uint64_t credit; /* thousandths of an instance that may go at once */
    uint64_t credited_ms;
};

void rescheduling_finish(struct rescheduling *rescheduling);
/* Instances a second: `configured`, or for 0 one for each node that is ready. */
uint32_t rescheduling_rate(uint32_t configured, uint32_t ready_nodes);
void rescheduling_add(struct rescheduling *rescheduling, const char *id, uint32_t priority);
/* The next one in line, lent until the queue changes; NULL when it is empty. */
const char *rescheduling_next(const struct rescheduling *rescheduling);
/* Takes the next one out of the line without counting it. */
void rescheduling_drop(struct rescheduling *rescheduling);
/* Whether one more may go now; then it is counted. Otherwise `*ret_next_ms` is when one may. */
bool rescheduling_may_go(struct rescheduling *rescheduling, uint32_t rate, uint64_t now_ms,
                         uint64_t *ret_next_ms);
