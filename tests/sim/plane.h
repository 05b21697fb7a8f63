/* The data plane of a simulated host, and what its agent knows of it: endpoints are applied after
 * a while, connections of draining servers are counted after another, and clients connect. */
#pragma once

#include "tests/sim/node.h"

/* The newest endpoints that the agent was given. */
void plane_apply(struct node *node, const struct api_endpoints *endpoints);
/* As agent/data_plane.c fills a status. */
void plane_observe(const struct node *node, struct api_status *status);
void plane_meet_agent(struct node *node);
void plane_lose_agent(struct node *node);
void plane_meet_power(struct node *node);
void plane_lose_power(struct node *node);
