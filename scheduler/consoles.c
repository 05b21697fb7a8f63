#include "scheduler/consoles.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/agent_calls.h"

/* The same path and query at the agent. */
static void pass(struct http_request *request, struct core *core, const char *what,
                 const char *stream_type)
{
    const char *id = http_request_parameter(request, "instance");
    const char *query = strchr(http_request_target(request), '?');
    AUTO_FREE char *path =
        xasprintf("/v1/instances/%.64s/%s%s", id, what, query != NULL ? query : "");
    agent_calls_pass_instance(request, core, path, stream_type);
}

void consoles_handle_read(struct http_request *request, void *data)
{
    pass(request, data, "console", "application/octet-stream");
}

void consoles_handle_write(struct http_request *request, void *data)
{
    pass(request, data, "console", NULL);
}

void consoles_handle_debug(struct http_request *request, void *data)
{
    pass(request, data, "debug", NULL);
}
