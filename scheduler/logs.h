/* What guests wrote: streamed through from the agents. Loop thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

/* `?tail=N&follow=1`; `data` is the struct core. */
void logs_handle_instance(struct http_request *request, void *data);
/* All instances of a service, each line with the id in front. */
void logs_handle_service(struct http_request *request, void *data);
