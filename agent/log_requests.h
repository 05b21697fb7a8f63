/* GET /v1/instances/ID/logs?tail=N&since=T&limit=BYTES&follow=1&after=POSITION: the log of a
 * guest's console, in the lines of lib/api/log_line.h; lines that `limit` left out are said to be.
 * With `follow` an empty line ends the past, what comes is sent for as long as the instance is
 * known, and positions (lib/api/log_position.h) say where the reader is. Who names one in `after`
 * is sent what came since and nothing else of the past. A reader who falls behind by more than the
 * log's files hold misses lines, and is told so. Loop thread; reads the instance table. */
#pragma once

#include <uv.h>

#include "agent/instance_table.h"
#include "lib/http_server.h"

struct log_source {
    uv_loop_t *loop;
    const char *folder;
    const char *node;
    const struct instance_table *instances;
};

/* `source`'s members outlive the request, the struct need not. */
void log_requests_handle(struct http_request *request, const struct log_source *source);
