/* PUT of a service: its spec is checked, its image resolved, fetched and verified for every
 * architecture, and what comes of it decided. Loop thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

/* At the end, when the registry's client is gone: forgets those that waited for it. */
void deployment_cancel_all(struct core *core);
/* `data` is the struct core. `?dry_run=1` answers what would change and changes nothing. */
void deployment_handle(struct http_request *request, void *data);
