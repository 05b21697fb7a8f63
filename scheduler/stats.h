/* What nodes and instances use. Their agents know: they are asked when somebody looks, a bounded
 * number of them at a time, and nothing of it is kept. Loop thread. */
#pragma once

#include "lib/http_server.h"

/* Handlers; data is the struct core. */
/* GET /v1/stats?of=instances|services|node: of every node. */
void stats_handle_all(struct http_request *request, void *data);
/* GET /v1/namespaces/NS/services/NAME/stats?of=...: of the nodes that have instances of it. */
void stats_handle_service(struct http_request *request, void *data);
/* GET /v1/instances/ID/stats: of the agent that has it. */
void stats_handle_instance(struct http_request *request, void *data);
/* GET /v1/nodes/NAME/stats?of=... */
void stats_handle_node(struct http_request *request, void *data);
