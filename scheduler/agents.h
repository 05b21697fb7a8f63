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

/* --- the same without HTTP --- */

/* `answer` NULL: refused, `error` says why. */
typedef void agents_joined(const struct error *error, const struct api_join_answer *answer,
                           void *data);
/* Takes what `join` holds; `joined` is called once, at once or when it is written. */
void agents_join(struct core *core, struct api_join *join, agents_joined *joined, void *data);
/* Takes the lists it keeps out of `status`. ERROR_CONFLICT: of another cluster; ERROR_STALE: older
 * than one that came before, or the node has to join again; ERROR_NOT_FOUND: it never did. */
int agents_take_status(struct core *core, struct api_status *status,
                       struct api_status_answer *ret_answer, struct error *error);
