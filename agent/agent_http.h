/* The agent's own HTTP interface, called by the scheduler: console logs, numbers, health.
 *   GET /v1/instances/ID/logs?tail=N&since=T&follow=1 · /v1/instances/ID/console · /v1/volumes and
 * below · /v1/stats · /healthz · /metrics · /version Loop thread only; reads the instance table,
 * changes nothing. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "agent/figures.h"
#include "agent/instance_table.h"

struct agent_http;

struct agent_http_options {
    uv_loop_t *loop;
    const char *address;
    uint16_t port; /* 0: any free one */
    const char *console_folder;
    const char *node;
    const char *run_directory; /* of the host half */
    struct instance_table *instances;
    const struct figures *figures;
    const struct image_cache *images;
    struct host_client *host; /* for volumes and consoles */
    bool (*is_joined)(void *data);
    void *data;
};

int agent_http_create(const struct agent_http_options *options, struct agent_http **ret_server,
                      struct error *error);
uint16_t agent_http_port(const struct agent_http *server);
/* on_closed comes later, from the loop, when all is freed. */
void agent_http_destroy(struct agent_http *server, void (*on_closed)(void *data), void *data);
