/* Whether a document from the scheduler may be applied: never another cluster's, never an older
 * (term, revision) than one applied before. Pure. */
#pragma once

#include "lib/api/protocol.h"
#include "lib/error.h"

#include <stdint.h>

/* What was applied last. A zeroed struct: nothing yet, everything is newer. */
struct freshness {
    char cluster[CLUSTER_ID_MAX];
    uint64_t term;
    uint64_t revision;
};

/* 1: newer; 0: the very one applied already; -1: refused, ERROR_STALE or ERROR_CONFLICT (another
 * cluster). `what` names the document in the message. */
int freshness_judge(const struct freshness *applied, const struct freshness *offered,
                    const char *what, struct error *error);
