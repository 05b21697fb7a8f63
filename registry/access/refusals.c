#include "registry/access/refusals.h"

#include <stdlib.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "registry/rate_limit.h"

enum { LINES_PER_SECOND = 2, LINES_AT_ONCE = 50 };

struct refusals {
    atomic_ullong *counter;
    struct rate_limit *lines; /* of all clients together, under one address */
    atomic_ullong left_out;   /* since the last line */
};

struct refusals *refusals_create(atomic_ullong *counter)
{
    struct refusals *refusals = xcalloc(1, sizeof *refusals);
    refusals->counter = counter;
    refusals->lines = rate_limit_create(LINES_PER_SECOND, LINES_AT_ONCE);
    return refusals;
}

void refusals_destroy(struct refusals *refusals)
{
    if (refusals == NULL)
        return;
    rate_limit_destroy(refusals->lines);
    free(refusals);
}

void refusals_tell(struct refusals *refusals, const char *client, const char *name,
                   const char *reason)
{
    uint64_t wait_ms;
    if (refusals->counter != NULL)
        atomic_fetch_add_explicit(refusals->counter, 1, memory_order_relaxed);
    if (!rate_limit_take(refusals->lines, "", clock_monotonic_ms(clock_system()), &wait_ms)) {
        atomic_fetch_add(&refusals->left_out, 1);
        return;
    }
    unsigned long long left_out = atomic_exchange(&refusals->left_out, 0);
    if (left_out > 0)
        log_info("login refused", "client", client, "name", name, "reason", reason, "left_out",
                 LOG_NUMBER(left_out));
    else
        log_info("login refused", "client", client, "name", name, "reason", reason);
}
