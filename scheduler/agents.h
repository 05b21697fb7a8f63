/* What agents tell: that they join, and how their instances do. Loop thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

/* POST /v1/nodes/{node}/join and /status; GET .../{assignment,endpoints,trust}. `data` is the
 * struct core. */
void agents_handle_join(struct http_request *request, void *data);
void agents_handle_status(struct http_request *request, void *data);
void agents_handle_assignment(struct http_request *request, void *data);
void agents_handle_endpoints(struct http_request *request, void *data);
void agents_handle_trust(struct http_request *request, void *data);
