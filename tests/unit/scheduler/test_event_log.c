/* Who follows the events while pages of them are on their way. */
#include "tests/unit/scheduler/controller_fixture.h"

#include "lib/http_client.h"
#include "lib/http_server.h"
#include "scheduler/event_log.h"

#define PATIENCE_MS 20000

struct following {
    struct fixture *fixture;
    void (*meanwhile)(struct fixture *fixture); /* while the first page is on its way */
    struct buffer received;
    bool is_over;
};

static int keep_bytes(const void *bytes, size_t length, void *data)
{
    buffer_append(&((struct following *)data)->received, bytes, length);
    return 0;
}

static void on_over(const struct http_client_response *response, void *data)
{
    (void)response;
    ((struct following *)data)->is_over = true;
}

static void handle(struct http_request *request, void *data)
{
    struct following *following = data;
    event_log_handle(request, &following->fixture->core);
    following->meanwhile(following->fixture);
}

static void ignore(const struct error *error, uint64_t revision, void *data)
{
    (void)revision;
    (void)data;
    assert_null(error);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Follows the events behind `after` until `wanted` came, or the end when NULL. */
static bool follow(struct following *following, uint64_t after, const char *wanted)
{
    struct core *core = &following->fixture->core;
    struct http_route route = {.method = "GET", .pattern = "/events", .handler = handle};
    struct http_server_options options = {.mode = HTTP_SERVER_LOOP,
                                          .loop = core->loop,
                                          .address = "127.0.0.1",
                                          .routes = &route,
                                          .route_count = 1,
                                          .data = following};
    struct http_server *server;
    core->events = event_log_create(core);
    assert_int_equal(http_server_create(&options, &server, NULL), 0);
    struct http_client *client = http_client_create(core->loop);
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u/events?follow=1&after=%llu",
                                    http_server_port(server), (unsigned long long)after);
    struct http_client_request request = {
        .url = url, .timeout_ms = HTTP_NO_TIMEOUT, .on_body = keep_bytes};
    assert_non_null(http_client_start(client, &request, on_over, following, NULL));
    uv_timer_t ticks;
    uv_timer_init(core->loop, &ticks);
    uv_timer_start(&ticks, on_tick, 10, 10);
    bool came = false;
    for (uint64_t end = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);
         !came && uv_hrtime() < end;) {
        uv_run(core->loop, UV_RUN_ONCE);
        came = wanted != NULL ? strstr(buffer_text(&following->received), wanted) != NULL
                              : following->is_over;
    }
    uv_close((uv_handle_t *)&ticks, NULL);
    http_client_destroy(client);
    http_server_destroy(server, NULL, NULL);
    settle(following->fixture);
    event_log_destroy(core->events);
    return came;
}

/* As a watch tells a standby of what another scheduler wrote. */
static void event_of_another_scheduler(struct fixture *fixture)
{
    struct api_event event = {.sequence = 7, .what = "leads", .kind = "cluster"};
    AUTO_FREE char *text = json_record_text(&api_event_record, &event);
    struct store_write write = {"events/0000000000000007", text};
    struct store_transaction transaction = {.writes = &write, .write_count = 1};
    store_commit(fixture->core.store, &transaction, ignore, NULL);
    event_log_publish(&event, fixture->core.events);
}

static void what_is_published_while_an_empty_page_comes_is_not_missed(void **state)
{
    struct following following = {.fixture = *state, .meanwhile = event_of_another_scheduler};
    assert_true(follow(&following, 0, "\"sequence\":7"));
    buffer_finish(&following.received);
}

static void events_are_compacted(struct fixture *fixture)
{
    fixture->core.model.counters.events_compacted = 9;
}

static void who_would_miss_what_is_dropped_is_sent_away(void **state)
{
    struct fixture *fixture = *state;
    struct following following = {.fixture = fixture, .meanwhile = events_are_compacted};
    fixture->core.model.counters.starts = 1;
    assert_true(follow(&following, 5, NULL));
    assert_int_equal(following.received.length, 0);
    buffer_finish(&following.received);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_published_while_an_empty_page_comes_is_not_missed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_would_miss_what_is_dropped_is_sent_away, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
