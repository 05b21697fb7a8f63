/* What long work on the whole store shares: how far it is, and whether it is to end. Any thread. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"

struct task_progress {
    atomic_ullong done;
    atomic_bool stops;     /* the registry is ending: nothing begins any more */
    atomic_bool cancelled; /* what is under way is to end */
};

/* -1 when the work is to end: ERROR_UNAVAILABLE. `progress` may be NULL. */
int task_check(const struct task_progress *progress, struct error *error);
void task_advance(struct task_progress *progress, uint64_t amount);
