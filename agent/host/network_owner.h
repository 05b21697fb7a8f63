/* Whose a node's namespace is: two agents on one machine that were given the same node name must
 * not take each other's guests for orphans. The state folder's path stands as the alias of the
 * namespace's loopback link, so it goes when the namespace goes. */
#pragma once

#include "lib/error.h"

/* Claims the namespace for the agent with this state folder; ERROR_CONFLICT when another agent,
 * whose folder still exists, has it. */
int network_owner_claim(int namespace, const char *node, const char *state_directory,
                        struct error *error);
