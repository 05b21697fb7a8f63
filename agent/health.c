#include "agent/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

struct health {
    struct health_options options;
    struct probe *readiness; /* NULL: running is ready */
    struct probe *liveness;  /* NULL: none, or not ready yet */
    struct api_probe liveness_check;
    bool has_liveness;
    uint32_t liveness_port;
    uint64_t begun_ms; /* the boot, by the loop's clock as far as that reaches back */
    char id[INSTANCE_ID_MAX];
    char address[ADDRESS_MAX];
    uv_timer_t no_check; /* tells "ready" from the loop where there is nothing to check */
};

/* What is left of a check's grace after the boot. */
static uint64_t grace_left(const struct health *health, const struct api_probe *check)
{
    uint64_t age = health->options.boot_age_ms + uv_now(health->options.loop) - health->begun_ms;
    return check->start_grace_ms > age ? check->start_grace_ms - age : 0;
}

static struct probe *start(struct health *health, const char *which, const struct api_probe *check,
                           uint32_t port, struct probe_options *options)
{
    char name[INSTANCE_ID_MAX + 16];
    uint64_t age = health->options.boot_age_ms, wall = health->options.now_wall_ms;
    snprintf(name, sizeof name, "%s/%s", health->id, which);
    options->loop = health->options.loop;
    options->http = health->options.http;
    options->host = health->options.host;
    options->name = name;
    options->address = health->address;
    options->port = port;
    options->check = check;
    options->grace_ms = grace_left(health, check);
    options->console_folder = health->options.console_folder;
    options->instance = health->id;
    /* What was ready in this boot has written its line, whatever the wall clock was set to since.
     */
    options->console_since_ms = wall > age && !health->options.has_been_ready ? wall - age : 0;
    options->data = health;
    return probe_create(options);
}

static void on_liveness(bool healthy, const char *message, void *data)
{
    struct health *health = data;
    if (!healthy)
        health->options.on_unhealthy(message, health->options.data);
}

static void start_liveness(struct health *health)
{
    struct probe_options options = {.starts_healthy = true, .on_change = on_liveness};
    if (health->has_liveness && health->liveness == NULL)
        health->liveness =
            start(health, "liveness", &health->liveness_check, health->liveness_port, &options);
}

static void on_readiness(bool ready, const char *message, void *data)
{
    struct health *health = data;
    if (ready)
        start_liveness(health);
    health->options.on_ready(ready, message, health->options.data);
}

static void on_no_check(uv_timer_t *timer)
{
    on_readiness(true, "running", timer->data);
}

/* False when the check names a port that the instance does not have. */
static bool find_port(const struct api_assigned_instance *assigned, const struct api_probe *check,
                      uint32_t *ret_port)
{
    const char *name = api_probe_port(check);
    const struct api_port *port =
        name != NULL ? api_port_find(assigned->ports, assigned->port_count, name) : NULL;
    *ret_port = port != NULL ? port->port : 0;
    return name == NULL || port != NULL;
}

static void start_readiness(struct health *health)
{
    const struct api_assigned_instance *assigned = health->options.assigned;
    struct probe_options options = {.starts_healthy = health->options.was_ready,
                                    .on_change = on_readiness};
    struct api_probe connect = {.has_tcp = true};
    const struct api_probe *check = &assigned->health.readiness;
    uint32_t port;
    api_probe_set_defaults(&connect);
    if (!assigned->health.has_readiness || !find_port(assigned, check, &port)) {
        if (assigned->port_count == 0) {
            uv_timer_start(&health->no_check, on_no_check, 0, 0);
            return;
        }
        check = &connect;
        port = assigned->ports[0].port;
    }
    /* What was written stays written. */
    if (!check->has_console || !health->options.was_ready)
        health->readiness = start(health, "readiness", check, port, &options);
}

static void prepare_liveness(struct health *health)
{
    const struct api_assigned_instance *assigned = health->options.assigned;
    const struct api_probe *check = &assigned->health.liveness;
    if (!assigned->health.has_liveness || !find_port(assigned, check, &health->liveness_port))
        return;
    json_record_copy(&api_probe_record, check, &health->liveness_check);
    health->has_liveness = true;
    if (health->options.was_ready || health->options.has_been_ready)
        start_liveness(health);
}

struct health *health_create(const struct health_options *options)
{
    struct health *health = xcalloc(1, sizeof *health);
    health->options = *options;
    const struct api_assigned_instance *assigned = options->assigned;
    memcpy(health->id, assigned->id, sizeof health->id);
    memcpy(health->address, assigned->address, sizeof health->address);
    health->begun_ms = uv_now(options->loop);
    uv_timer_init(options->loop, &health->no_check);
    health->no_check.data = health;
    start_readiness(health);
    prepare_liveness(health);
    health->options.assigned = NULL;
    return health;
}

const char *health_last_miss(const struct health *health)
{
    return health->readiness != NULL ? probe_last_miss(health->readiness) : "";
}

static void on_closed(uv_handle_t *handle)
{
    struct health *health = handle->data;
    json_record_release(&api_probe_record, &health->liveness_check);
    free(health);
}

void health_destroy(struct health *health)
{
    if (health == NULL)
        return;
    probe_destroy(health->readiness);
    probe_destroy(health->liveness);
    uv_close((uv_handle_t *)&health->no_check, on_closed);
}
