/* A whole scheduler on a loop of the test's. */
#include "scheduler/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/http_server.h"
#include "lib/xalloc.h"

#define PATIENCE_MS 20000

struct fixture {
    uv_loop_t loop;
    uv_timer_t ticks;
    char directory[64];
    struct http_client *client;
    struct http_server *registry; /* answers nobody */
    char *registry_url;
    struct scheduler *scheduler;
    bool is_registry_asked;
    bool is_answered;
    int status;
    char *answer;
};

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void run_until(struct fixture *fixture, const bool *done)
{
    uint64_t end = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);
    while (!*done && uv_hrtime() < end)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_true(*done);
}

static void ignore(struct http_request *request, void *data)
{
    (void)request;
    (void)data;
}

static void keep_waiting(struct http_request *request, void *data)
{
    http_request_on_abandoned(request, ignore, data);
    ((struct fixture *)data)->is_registry_asked = true;
}

static void open_registry(struct fixture *fixture)
{
    static const struct http_route routes[] = {
        {.method = "GET", .pattern = "/{rest...}", .handler = keep_waiting}};
    struct http_server_options options = {.mode = HTTP_SERVER_LOOP,
                                          .loop = &fixture->loop,
                                          .address = "127.0.0.1",
                                          .routes = routes,
                                          .route_count = 1,
                                          .data = fixture};
    assert_int_equal(http_server_create(&options, &fixture->registry, NULL), 0);
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    strcpy(fixture->directory, "/tmp/shoal-scheduler.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    uv_loop_init(&fixture->loop);
    uv_timer_init(&fixture->loop, &fixture->ticks);
    uv_timer_start(&fixture->ticks, on_tick, 10, 10);
    fixture->client = http_client_create(&fixture->loop);
    open_registry(fixture);
    fixture->registry_url = xasprintf("http://127.0.0.1:%u", http_server_port(fixture->registry));
    struct scheduler_options options = {.address = "127.0.0.1",
                                        .state = fixture->directory,
                                        .registry = fixture->registry_url,
                                        .network = "10.64.0.0/10",
                                        .lease_ms = 10000,
                                        .replace_after_ms = 30000,
                                        .events_kept = 1000,
                                        .events_kept_ms = 1000000};
    struct error error = ERROR_INIT;
    if (scheduler_create(&fixture->loop, &options, &fixture->scheduler, &error) < 0)
        fail_msg("%s", error.message);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    http_client_destroy(fixture->client);
    http_server_destroy(fixture->registry, NULL, NULL);
    scheduler_stop(fixture->scheduler);
    uv_close((uv_handle_t *)&fixture->ticks, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    scheduler_destroy(fixture->scheduler);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    file_remove_tree(fixture->directory, NULL);
    free(fixture->registry_url);
    free(fixture->answer);
    free(fixture);
    return 0;
}

static void keep_answer(const struct http_client_response *response, void *data)
{
    struct fixture *fixture = data;
    fixture->is_answered = true;
    fixture->status = response->status;
    fixture->answer = xstrdup(response->body);
}

static void a_change_under_way_when_it_ends_is_not_called_undone(void **state)
{
    struct fixture *fixture = *state;
    static const char body[] = "{\"service\": \"s\", \"image\": \"hello:1.0\"}";
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u/v1/namespaces/default/services/s",
                                    scheduler_port(fixture->scheduler));
    struct http_client_request request = {
        .method = "PUT", .url = url, .body = body, .body_length = strlen(body)};
    assert_non_null(http_client_start(fixture->client, &request, keep_answer, fixture, NULL));
    run_until(fixture, &fixture->is_registry_asked);
    scheduler_stop(fixture->scheduler);
    run_until(fixture, &fixture->is_answered);
    assert_int_equal(fixture->status, 503);
    assert_non_null(strstr(fixture->answer, "outcome_unknown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_under_way_when_it_ends_is_not_called_undone,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
