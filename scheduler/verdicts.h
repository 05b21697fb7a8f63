/* POST /v1/verdicts: what the rules of now say about an image in the registry, architecture by
 * architecture, with what was found about it. Nothing is changed. Loop thread only. */
#pragma once

#include "lib/http_server.h"

/* Takes an api_verdict_request, answers an api_verdict. Expects the struct core. */
void verdicts_handle(struct http_request *request, void *data);

struct core;
/* Drops those under way without a callback, for an end: after the registry's client is gone. */
void verdicts_cancel_all(struct core *core);
