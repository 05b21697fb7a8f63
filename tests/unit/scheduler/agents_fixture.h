/* A scheduler that only asks agents, and agents that answer what a test says: for what is read
 * from nodes. The time is an hour more than the system's, so that something can be old. */
#pragma once

#include "tests/unit/lib/http_harness.h"

#include "scheduler/agent_calls.h"

struct agents_fixture {
    struct harness harness; /* its server is the agents' */
    struct http_server *front;
    bool front_closed;
    struct clock clock;
    struct core core;
};

static inline uint64_t later_now(const struct clock *clock)
{
    (void)clock;
    return clock_monotonic_ms(clock_system()) + 3600000;
}

static inline uint64_t later_wall(const struct clock *clock)
{
    (void)clock;
    return clock_wall_ms(clock_system()) + 3600000;
}

/* Every agent answers by `routes`; the scheduler by `front_routes` (may be NULL), which get the
 * core. */
static inline void agents_open(struct agents_fixture *fixture, const struct http_route *routes,
                               size_t count, const struct http_route *front_routes,
                               size_t front_count)
{
    struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP, .routes = routes, .route_count = count};
    struct error error = ERROR_INIT;
    memset(fixture, 0, sizeof *fixture);
    harness_open(&fixture->harness, &options);
    fixture->harness.mine = fixture;
    fixture->clock = (struct clock){.monotonic_ms = later_now, .wall_ms = later_wall};
    fixture->core = (struct core){
        .loop = &fixture->harness.loop, .clock = &fixture->clock, .http = fixture->harness.client};
    model_init(&fixture->core.model);
    if (front_routes == NULL)
        return;
    options.loop = fixture->core.loop;
    options.address = "127.0.0.1";
    options.routes = front_routes;
    options.route_count = front_count;
    options.data = &fixture->core;
    options.connection_memory = (size_t)8 << 10; /* as the scheduler's own */
    if (http_server_create(&options, &fixture->front, &error) < 0)
        fail_msg("%s", error.message);
}

static inline void agents_note_closed(void *data)
{
    *(bool *)data = true;
}

static inline void agents_close(struct agents_fixture *fixture)
{
    if (fixture->front != NULL) {
        http_server_destroy(fixture->front, agents_note_closed, &fixture->front_closed);
        assert_true(harness_wait(&fixture->harness, &fixture->front_closed));
    }
    harness_close(&fixture->harness);
    model_finish(&fixture->core.model);
}

/* A node whose agent is the fixture's, or nobody when `port` is not the server's. */
static inline struct model_node *agents_add_node(struct agents_fixture *fixture, const char *name,
                                                 uint16_t port)
{
    struct document_node *document = document_create(DOCUMENT_NODE);
    struct model *model = &fixture->core.model;
    snprintf(document->name, sizeof document->name, "%s", name);
    snprintf(document->address, sizeof document->address, "127.0.0.1:%u", port);
    snprintf(document->subnet, sizeof document->subnet, "10.64.%zu.0/24", model->nodes.count);
    model_apply(model, DOCUMENT_NODE, document, false, core_now(&fixture->core));
    return model_node(model, name);
}

/* Its last status is so old. */
static inline void agents_silence(struct agents_fixture *fixture, struct model_node *node,
                                  uint64_t age_ms)
{
    uint64_t now = core_now(&fixture->core);
    model_move_node(&fixture->core.model, node, NODE_SUSPECT, now);
    node->heard_ms = now - age_ms;
}

/* A port that nobody listens on. */
static inline uint16_t agents_dead_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    AUTO_CLOSE int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(descriptor, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}
