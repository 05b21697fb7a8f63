/* What people decide about nodes: cordon, uncordon, drain. Each function makes one decision: it
 * checks it against the model and adds its writes and events to the change. Loop thread only. */
#pragma once

#include "lib/api/views.h"
#include "scheduler/core.h"

/* Guests of a removed node may run until somebody ends its agent. */
#define NODE_SUBNET_HOLD_MS 600000

/* `request` says why, and for a drain how long it may take. Asking for what is so already changes
 * nothing. ERROR_NOT_FOUND. */
int node_changes_set_eligibility(struct core *core, struct change *change, const char *node,
                                 enum node_eligibility eligibility,
                                 const struct api_node_request *request, struct error *error);
/* It is no node any more; what it ran is replaced elsewhere, and its subnet is given to nobody for
 * NODE_SUBNET_HOLD_MS. Unless `force`, ERROR_CONFLICT while it reports and is not drained. */
int node_changes_remove(struct core *core, struct change *change, const char *node, bool force,
                        struct error *error);
/* A silent node will not come back: it is lost at once, frozen or not. Not written yet when this
 * returns: the controller does that next. ERROR_NOT_FOUND; ERROR_CONFLICT while it reports. */
int node_changes_give_up(struct core *core, const char *node, struct error *error);
