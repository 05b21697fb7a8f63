/* What guests wrote: the handlers. Lines are those of lib/api/log_line.h, with the instance. Loop
 * thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

/* `?tail=N&since=T&follow=1`; `data` is the struct core. Who follows and broke off goes on with
 * `after=INSTANCE:POSITION,...` (lib/api/log_position.h): of each instance that was read the
 * position that came last; others are new, and read from their beginning. The list may be the
 * request's body instead. */
void logs_handle_instance(struct http_request *request, void *data);
/* All instances of a service in the order of time, `tail` lines of them together; with `follow`
 * also those that come later. */
void logs_handle_service(struct http_request *request, void *data);
