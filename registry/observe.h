/* What is kept of each request that ended: metrics and, where it is wanted, a line in the access
 * log. */
#pragma once

#include "lib/http_server.h"

/* http_server_options.on_finished; `data` is the struct registry. */
void observe_request(const struct http_summary *summary, void *data);
