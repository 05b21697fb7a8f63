/* Many requests at once, each with an end of its own. */
#include "tests/unit/lib/http_harness.h"

struct crowd {
    struct http_request *requests[200];
    size_t count;
    int abandoned;
    struct result results[200];
};

static void crowd_abandoned(struct http_request *request, void *data)
{
    struct crowd *crowd = data;
    for (size_t i = 0; i < crowd->count; i++) {
        if (crowd->requests[i] == request)
            crowd->requests[i] = NULL;
    }
    crowd->abandoned++;
}

static void join_crowd(struct http_request *request, void *data)
{
    struct crowd *crowd = ((struct harness *)data)->mine;
    crowd->requests[crowd->count++] = request;
    http_request_on_abandoned(request, crowd_abandoned, crowd);
}

static void two_hundred_wait_and_end_each_in_its_way(void **state)
{
    (void)state;
    static const struct http_route crowd_routes[] = {
        {.method = "GET", .pattern = "/crowd", .handler = join_crowd}};
    const struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP, .routes = crowd_routes, .route_count = 1};
    struct harness harness;
    struct crowd *crowd = xcalloc(1, sizeof *crowd);
    struct http_call *calls[200];
    harness_open(&harness, &options);
    harness.mine = crowd;
    AUTO_FREE char *url = harness_url(&harness, "/crowd");
    for (int i = 0; i < 200; i++) {
        struct http_client_request request = {.url = url};
        calls[i] =
            http_client_start(harness.client, &request, keep_result, &crowd->results[i], NULL);
    }
    for (int i = 0; i < 2000 && crowd->count < 200; i++)
        harness_idle(&harness, 5);
    assert_int_equal(crowd->count, 200);
    for (int i = 0; i < 200; i += 2) /* half of the clients leave */
        http_client_cancel(calls[i]);
    for (int i = 0; i < 2000 && crowd->abandoned < 100; i++)
        harness_idle(&harness, 5);
    assert_int_equal(crowd->abandoned, 100);
    int answered = 0;
    for (int i = 0; i < 200 && answered < 50; i++) { /* half of the rest is answered */
        if (crowd->requests[i] == NULL)
            continue;
        http_request_respond(crowd->requests[i], 200, "text/plain", "x", 1);
        crowd->requests[i] = NULL;
        answered++;
    }
    harness_idle(&harness, 50);
    http_server_destroy(harness.server, harness_note_closed, &harness); /* the others get 503 */
    assert_int_equal(crowd->abandoned, 150);
    assert_true(harness_wait(&harness, &harness.server_closed));
    harness.server = NULL;
    harness_idle(&harness, 50);
    int statuses[2] = {0, 0};
    for (int i = 0; i < 200; i++) {
        statuses[0] += crowd->results[i].status == 200;
        statuses[1] += crowd->results[i].status == 503;
        result_clear(&crowd->results[i]);
    }
    assert_int_equal(statuses[0], 50);
    assert_int_equal(statuses[1], 50);
    harness_close(&harness);
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_hundred_wait_and_end_each_in_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
