/* Published ports that a node could not open. */
#pragma once

#include "cli/cli.h"
#include "lib/api/views.h"

/* Why `node` has not bound `publish`, owned by `node`; NULL when nothing is wrong. */
const char *ports_unbound(const struct api_node_view *node, uint32_t publish);
/* Tells on standard error which published ports of a service do not answer, and where. */
void ports_warn(struct cli *cli, const char *namespace_name, const char *service);
