/* Which /24 of the cluster's network each node has. Pure but for reading the model. */
#pragma once

#include "scheduler/changes.h"

/* "10.64.0.0/10", of 8 to 24 bits. */
int subnets_check_network(const char *network, struct error *error);
/* The number of a /24, which is its first 24 bits; 0: it is none. */
uint32_t subnets_number(const char *subnet);
/* The node's own, else the one it claims to have had when that is free, else the first free one.
 * What `change` (may be NULL) puts is not free either. */
int subnets_lease(const struct model *model, const struct change *change, const char *network,
                  const char *node, const char *claimed, char *ret_subnet, size_t size,
                  struct error *error);
