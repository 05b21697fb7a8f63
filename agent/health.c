#include "agent/health.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#define FIRST_PORT_EVERY_MS   1000
#define FIRST_PORT_TIMEOUT_MS 500
#define FIRST_PORT_FALL       3

struct health {
    struct health_options options;
    struct probe *readiness; /* NULL: running is ready */
    struct probe *liveness;  /* NULL: none, or not ready yet */
    bool has_liveness;
    struct probe_options liveness_options;
    char *liveness_path;
    char address[ADDRESS_MAX];
    uv_timer_t no_check; /* tells "ready" from the loop where there is nothing to check */
};

static void on_liveness(bool healthy, const char *message, void *data)
{
    struct health *health = data;
    if (!healthy)
        health->options.on_unhealthy(message, health->options.data);
}

static void start_liveness(struct health *health)
{
    if (health->has_liveness && health->liveness == NULL)
        health->liveness = probe_create(&health->liveness_options);
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
static bool fill(struct health *health, const struct api_probe *check,
                 struct probe_options *ret_options)
{
    const struct api_assigned_instance *assigned = health->options.assigned;
    const char *name = check->has_http ? check->http.port : check->tcp.port;
    const struct api_port *port = api_port_find(assigned->ports, assigned->port_count, name);
    if (port == NULL)
        return false;
    *ret_options = (struct probe_options){
        .loop = health->options.loop,
        .http = health->options.http,
        .host = health->options.host,
        .address = health->address,
        .port = port->port,
        .path = check->has_http ? check->http.path : NULL,
        .every_ms = check->every_ms,
        .timeout_ms = check->timeout_ms,
        .rise = check->rise,
        .fall = check->fall,
        .data = health,
    };
    return true;
}

static void start_readiness(struct health *health)
{
    const struct api_assigned_instance *assigned = health->options.assigned;
    struct probe_options options;
    if (!assigned->health.has_readiness || !fill(health, &assigned->health.readiness, &options)) {
        if (assigned->port_count == 0) {
            uv_timer_start(&health->no_check, on_no_check, 0, 0);
            return;
        }
        options = (struct probe_options){
            .loop = health->options.loop,
            .http = health->options.http,
            .host = health->options.host,
            .address = health->address,
            .port = assigned->ports[0].port,
            .every_ms = FIRST_PORT_EVERY_MS,
            .timeout_ms = FIRST_PORT_TIMEOUT_MS,
            .rise = 1,
            .fall = FIRST_PORT_FALL,
            .data = health,
        };
    }
    options.starts_healthy = health->options.was_ready;
    options.on_change = on_readiness;
    health->readiness = probe_create(&options);
}

struct health *health_create(const struct health_options *options)
{
    struct health *health = xcalloc(1, sizeof *health);
    health->options = *options;
    const struct api_assigned_instance *assigned = options->assigned;
    memcpy(health->address, assigned->address, sizeof health->address);
    uv_timer_init(options->loop, &health->no_check);
    health->no_check.data = health;
    start_readiness(health);
    if (assigned->health.has_liveness &&
        fill(health, &assigned->health.liveness, &health->liveness_options)) {
        health->has_liveness = true;
        health->liveness_options.starts_healthy = true;
        health->liveness_options.on_change = on_liveness;
        health->liveness_path = xstrdup(health->liveness_options.path);
        health->liveness_options.path = health->liveness_path;
        if (options->was_ready)
            start_liveness(health);
    }
    health->options.assigned = NULL;
    return health;
}

static void on_closed(uv_handle_t *handle)
{
    struct health *health = handle->data;
    free(health->liveness_path);
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
