/* POST /v1/instances/ID/debug?boot=B&stop=1: switches the gdb stub of a guest on, or off. The
 * stub's socket can be reached on this machine only, so whoever asks says by B which one they are
 * on: what /proc/sys/kernel/random/boot_id reads there. Answers {"node", "socket", "repository",
 * "image_digest", "architecture"}. Loop thread only. */
#pragma once

#include "agent/host_client.h"
#include "agent/instance_table.h"
#include "lib/http_server.h"

struct debug_target {
    struct host_client *host;
    struct instance_table *instances;
    const char *node;
    const char *run_directory;
};

/* `target`'s members outlive the request, the struct need not. `{id}` is the instance. */
void debug_requests_handle(struct http_request *request, const struct debug_target *target);
