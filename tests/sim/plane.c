#include "tests/sim/plane.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "tests/sim/watch.h"

#define COUNT_MS 100

struct connection {
    LIST_ENTRY(connection) link;
    struct node *node;
    char id[INSTANCE_ID_MAX];
    struct world_event *end;
};

/* --- clients --- */

static void close_connection(void *data)
{
    struct connection *connection = data;
    connection->end = NULL;
    LIST_REMOVE(connection, link);
    free(connection);
}

static void open_connection(struct node *node, const char *id)
{
    struct world *world = node->world;
    struct connection *connection = xcalloc(1, sizeof *connection);
    connection->node = node;
    text_copy(connection->id, sizeof connection->id, id);
    LIST_INSERT_HEAD(&node->connections, connection, link);
    uint64_t most = draw_chance(&world->draw, 100) ? 15000 : 1000;
    connection->end = world_after(world, draw_between(&world->draw, 20, most), close_connection,
                                  NULL, connection);
}

static void on_traffic(void *data)
{
    struct node *node = data;
    struct draw *draw = &node->world->draw;
    for (size_t i = 0; i < node->active.frontend_count; i++) {
        const struct api_frontend *frontend = &node->active.frontends[i];
        if (frontend->server_count == 0)
            continue;
        const struct api_server *server =
            &frontend->servers[draw_below(draw, frontend->server_count)];
        if (server->state == API_SERVER_READY)
            open_connection(node, server->id);
    }
    node->traffic = world_after(node->world, draw_between(draw, 100, 900), on_traffic, NULL, node);
}

static const struct api_server *find_server(const struct node *node, const char *id)
{
    for (size_t i = 0; i < node->active.frontend_count; i++) {
        const struct api_frontend *frontend = &node->active.frontends[i];
        for (size_t j = 0; j < frontend->server_count; j++) {
            if (strcmp(frontend->servers[j].id, id) == 0)
                return &frontend->servers[j];
        }
    }
    return NULL;
}

bool node_sends_to(const struct node *node, const char *id)
{
    const struct api_server *server = find_server(node, id);
    return server != NULL && server->state == API_SERVER_READY;
}

bool node_drains(const struct node *node, const char *id)
{
    const struct api_server *server = find_server(node, id);
    return server != NULL && server->state == API_SERVER_DRAIN;
}

size_t node_open_connections(const struct node *node, const char *id)
{
    size_t count = 0;
    const struct connection *connection;
    LIST_FOREACH(connection, &node->connections, link)
    {
        count += strcmp(connection->id, id) == 0;
    }
    return count;
}

/* --- what the agent counts --- */

static void on_count(void *data)
{
    struct node *node = data;
    bool changed = false;
    for (size_t i = 0; i < node->drain_count; i++) {
        struct plane_drain *drain = &node->drains[i];
        uint32_t connections = (uint32_t)node_open_connections(node, drain->id);
        changed = changed || !drain->known || drain->connections != connections;
        drain->known = true;
        drain->connections = connections;
    }
    node->count_wait = world_after(node->world, COUNT_MS, on_count, NULL, node);
    if (changed)
        node_changed(node);
}

static void set_drains(struct node *node)
{
    struct json_strings ids;
    endpoints_draining(&node->active, &ids);
    free(node->drains);
    node->drains = xcalloc(ids.count + 1, sizeof *node->drains);
    node->drain_count = ids.count;
    for (size_t i = 0; i < ids.count; i++)
        text_copy(node->drains[i].id, sizeof node->drains[i].id, ids.items[i]);
    json_strings_release(&ids);
    world_cancel(&node->count_wait);
    if (node->drain_count > 0)
        node->count_wait = world_after(node->world, draw_between(&node->world->draw, 1, 120),
                                       on_count, NULL, node);
}

/* --- endpoints --- */

static void apply_later(struct node *node);

static void on_applied(void *data)
{
    struct node *node = data;
    node->apply_wait = NULL;
    json_record_release(&api_endpoints_record, &node->active);
    json_record_copy(&api_endpoints_record, &node->wanted, &node->active);
    node->confirmed_term = node->wanted.term;
    node->confirmed_revision = node->wanted.revision;
    set_drains(node);
    node_changed(node);
}

static void apply_later(struct node *node)
{
    struct draw *draw = &node->world->draw;
    if (node->apply_wait == NULL)
        node->apply_wait =
            world_after(node->world, draw_between(draw, 1, draw_chance(draw, 50) ? 3000 : 60),
                        on_applied, NULL, node);
}

void plane_apply(struct node *node, const struct api_endpoints *endpoints)
{
    endpoints_merge(&node->wanted, endpoints);
    watch_endpoints(node->world, &node->wanted);
    apply_later(node);
}

void plane_observe(const struct node *node, struct api_status *status)
{
    if (node->confirmed_term == node->wanted.term)
        status->endpoints_revision = node->confirmed_revision;
    status->draining = xcalloc(node->drain_count + 1, sizeof *status->draining);
    for (size_t i = 0; i < node->drain_count; i++) {
        if (!node->drains[i].known)
            continue;
        struct api_draining *shown = &status->draining[status->draining_count++];
        text_copy(shown->id, sizeof shown->id, node->drains[i].id);
        shown->connections = node->drains[i].connections;
    }
}

/* --- its life --- */

void plane_meet_agent(struct node *node)
{
    node->confirmed_term = 0;
    node->confirmed_revision = 0;
    if (node->wanted.cluster[0] != '\0')
        apply_later(node);
}

void plane_lose_agent(struct node *node)
{
    world_cancel(&node->apply_wait);
    world_cancel(&node->count_wait);
    free(node->drains);
    node->drains = NULL;
    node->drain_count = 0;
}

void plane_meet_power(struct node *node)
{
    node->traffic =
        world_after(node->world, draw_below(&node->world->draw, 500), on_traffic, NULL, node);
}

void plane_lose_power(struct node *node)
{
    world_cancel(&node->traffic);
    while (!LIST_EMPTY(&node->connections)) {
        struct connection *connection = LIST_FIRST(&node->connections);
        world_cancel(&connection->end);
        close_connection(connection);
    }
    json_record_release(&api_endpoints_record, &node->active);
    node->active = (struct api_endpoints){0};
}
