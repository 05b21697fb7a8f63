#include "scheduler/rescheduling.h"

#include <stdlib.h>

#include "lib/text.h"
#include "lib/xalloc.h"

#define ONE                                                                                        \
    1000u /* an instance, in units of the credit: a rate of 1/s earns 1 each millisecond           \
           */

void rescheduling_finish(struct rescheduling *rescheduling)
{
    free(rescheduling->entries);
    *rescheduling = (struct rescheduling){0};
}

uint32_t rescheduling_rate(uint32_t configured, uint32_t ready_nodes)
{
    if (configured > 0)
        return configured;
    return ready_nodes > RESCHEDULING_LEAST_RATE ? ready_nodes : RESCHEDULING_LEAST_RATE;
}

/* --- the line --- */

static bool goes_before(const struct rescheduling_entry *left,
                        const struct rescheduling_entry *right)
{
    if (left->priority != right->priority)
        return left->priority > right->priority;
    return left->order < right->order;
}

static void swap(struct rescheduling_entry *left, struct rescheduling_entry *right)
{
    struct rescheduling_entry kept = *left;
    *left = *right;
    *right = kept;
}

void rescheduling_add(struct rescheduling *rescheduling, const char *id, uint32_t priority)
{
    if (rescheduling->count == rescheduling->capacity) {
        rescheduling->capacity = rescheduling->capacity > 0 ? 2 * rescheduling->capacity : 16;
        rescheduling->entries = xreallocarray(rescheduling->entries, rescheduling->capacity,
                                              sizeof *rescheduling->entries);
    }
    struct rescheduling_entry *entries = rescheduling->entries;
    size_t at = rescheduling->count++;
    entries[at] = (struct rescheduling_entry){.priority = priority, .order = rescheduling->added++};
    text_copy(entries[at].id, sizeof entries[at].id, id);
    for (; at > 0 && goes_before(&entries[at], &entries[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&entries[at], &entries[(at - 1) / 2]);
}

const char *rescheduling_next(const struct rescheduling *rescheduling)
{
    return rescheduling->count > 0 ? rescheduling->entries[0].id : NULL;
}

void rescheduling_drop(struct rescheduling *rescheduling)
{
    struct rescheduling_entry *entries = rescheduling->entries;
    size_t at = 0, count = --rescheduling->count;
    entries[0] = entries[count];
    for (size_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && goes_before(&entries[child + 1], &entries[child]))
            child++;
        if (!goes_before(&entries[child], &entries[at]))
            break;
        swap(&entries[child], &entries[at]);
        at = child;
    }
}

/* --- the rate --- */

bool rescheduling_may_go(struct rescheduling *rescheduling, uint32_t rate, uint64_t now_ms,
                         uint64_t *ret_next_ms)
{
    uint64_t most = (uint64_t)rate * ONE; /* what a second earns may go at once */
    uint64_t passed = now_ms - rescheduling->credited_ms;
    rescheduling->credited_ms = now_ms;
    rescheduling->credit = passed >= 1000 ? most : rescheduling->credit + passed * rate;
    if (rescheduling->credit > most)
        rescheduling->credit = most;
    if (rescheduling->credit >= ONE) {
        rescheduling->credit -= ONE;
        return true;
    }
    *ret_next_ms = now_ms + (ONE - rescheduling->credit + rate - 1) / rate;
    return false;
}
