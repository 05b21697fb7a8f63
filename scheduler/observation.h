/* What a node's status means for the model: states, restarts, ends, orphans, open connections; and
 * the events and records that follow. Loop thread only. */
#pragma once

#include "scheduler/core.h"

/* Of each list in a status; a node's subnet has far fewer addresses. */
#define STATUS_ENTRIES_MAX 4096

/* Whether what the status leaves out is what is known of the node. */
bool observation_knows_base(const struct model_node *node, const struct api_status *status);
/* What a node's volumes and snapshots take, and of it the snapshots, by its own word, in bytes.
 * Nobody is woken: who waits for room looks again by itself. */
void observation_take_volumes(struct model_node *node, uint64_t used, uint64_t snapshots);
/* Takes the lists it keeps out of `status`, whose base is known. */
void observation_take(struct core *core, struct model_node *node, struct api_status *status);
