/* What guests wrote: the handlers. Lines are those of lib/api/log_line.h, with the instance. Loop
 * thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

/* `?tail=N&since=T&follow=1`; `data` is the struct core. */
void logs_handle_instance(struct http_request *request, void *data);
/* All instances of a service in the order of time; with `follow` also those that come later. */
void logs_handle_service(struct http_request *request, void *data);
