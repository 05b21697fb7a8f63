/* Answers that come later and streams, and what becomes of them when somebody leaves. */
#include "tests/unit/lib/http_harness.h"

struct waiting {
    struct http_request *request;
    int abandoned;
};

static struct waiting *waiting_of(void *data)
{
    return ((struct harness *)data)->mine;
}

static void answer_later(struct http_request *request, void *data)
{
    waiting_of(data)->request = request;
}

static void note_abandoned(struct http_request *request, void *data)
{
    struct waiting *waiting = data;
    assert_ptr_equal(request, waiting->request);
    waiting->abandoned++;
    waiting->request = NULL;
}

static void answer_later_watched(struct http_request *request, void *data)
{
    waiting_of(data)->request = request;
    http_request_on_abandoned(request, note_abandoned, waiting_of(data));
}

static void answer_stream(struct http_request *request, void *data)
{
    waiting_of(data)->request = request;
    http_request_on_abandoned(request, note_abandoned, waiting_of(data));
    http_request_stream_begin(request, "application/x-ndjson");
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/later", .handler = answer_later},
    {.method = "GET", .pattern = "/later-watched", .handler = answer_later_watched},
    {.method = "GET", .pattern = "/late", .handler = answer_later_watched, .deadline_ms = 50},
    {.method = "GET", .pattern = "/stream", .handler = answer_stream},
};

static const struct http_server_options loop_options = {
    .mode = HTTP_SERVER_LOOP,
    .routes = routes,
    .route_count = ARRAY_LENGTH(routes),
};

static int open_all(void **state)
{
    *state = harness_create(&loop_options, sizeof(struct waiting));
    return 0;
}

static int close_all(void **state)
{
    harness_destroy(*state);
    return 0;
}

static void a_handler_may_answer_later(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    struct result result = {0};
    AUTO_FREE char *url = harness_url(harness, "/later-watched");
    struct http_client_request request = {.url = url};
    http_client_start(harness->client, &request, keep_result, &result, NULL);
    harness_idle(harness, 50);
    assert_non_null(waiting->request);
    assert_false(result.done);
    http_request_respond(waiting->request, 200, "text/plain", "late", 4);
    assert_true(harness_wait(harness, &result.done));
    assert_int_equal(result.status, 200);
    assert_string_equal(buffer_text(&result.body), "late");
    assert_int_equal(waiting->abandoned, 0);
    result_clear(&result);
}

static void a_deadline_answers_504_and_tells_the_handler(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    struct result result = {0};
    harness_fetch(harness, (struct http_client_request){0}, "/late", &result);
    assert_int_equal(result.status, 504);
    assert_int_equal(waiting->abandoned, 1);
    result_clear(&result);
}

static void a_vanished_client_is_noticed(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    AUTO_FREE char *url = harness_url(harness, "/later-watched");
    struct http_client_request request = {.url = url};
    struct result result = {0};
    struct http_call *call =
        http_client_start(harness->client, &request, keep_result, &result, NULL);
    harness_idle(harness, 50);
    assert_non_null(waiting->request);
    http_client_cancel(call);
    for (int i = 0; i < 1000 && waiting->abandoned == 0; i++)
        harness_idle(harness, 10);
    assert_int_equal(waiting->abandoned, 1);
    assert_false(result.done); /* cancelled: its callback never runs */
}

static void answering_a_vanished_client_is_harmless(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    int descriptor = harness_connect(http_server_port(harness->server));
    const char text[] = "GET /later HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(send(descriptor, text, strlen(text), 0), strlen(text));
    harness_idle(harness, 50);
    assert_non_null(waiting->request);
    close(descriptor);
    harness_idle(harness, 50);
    http_request_respond(waiting->request, 200, "text/plain", "x", 1);
}

static void streams_flow_piece_by_piece(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    struct buffer answer = {0};
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness->server));
    const char text[] = "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_int_equal(send(descriptor, text, strlen(text), 0), strlen(text));
    assert_true(harness_read(harness, descriptor, "\r\n\r\n", &answer)); /* headers at once */
    assert_int_equal(http_request_stream_write(waiting->request, "one\n", 4), 0);
    assert_true(harness_read(harness, descriptor, "one\n", &answer));
    assert_int_equal(http_request_stream_write(waiting->request, "two\n", 4), 0);
    assert_true(harness_read(harness, descriptor, "two\n", &answer));
    http_request_stream_end(waiting->request);
    assert_true(harness_read(harness, descriptor, NULL, &answer));
    assert_int_equal(waiting->abandoned, 0);
    buffer_finish(&answer);
}

static void a_slow_reader_fills_its_queue(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness->server));
    const char text[] = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(send(descriptor, text, strlen(text), 0), strlen(text));
    harness_idle(harness, 50);
    AUTO_FREE char *piece = xcalloc(1, 65536);
    int written = 0;
    while (written < 10000 && http_request_stream_write(waiting->request, piece, 65536) == 0) {
        written++;
        uv_run(&harness->loop, UV_RUN_NOWAIT);
    }
    assert_true(written >= 16 && written < 10000);
    http_request_stream_end(waiting->request);
}

static void a_stream_whose_reader_left_is_abandoned(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    int descriptor = harness_connect(http_server_port(harness->server));
    const char text[] = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(send(descriptor, text, strlen(text), 0), strlen(text));
    harness_idle(harness, 50);
    close(descriptor);
    for (int i = 0; i < 1000 && waiting->abandoned == 0; i++)
        harness_idle(harness, 10);
    assert_int_equal(waiting->abandoned, 1);
}

static void stopping_answers_503_to_who_waits(void **state)
{
    struct harness *harness = *state;
    struct waiting *waiting = harness->mine;
    struct result result = {0};
    AUTO_FREE char *url = harness_url(harness, "/later-watched");
    struct http_client_request request = {.url = url};
    http_client_start(harness->client, &request, keep_result, &result, NULL);
    harness_idle(harness, 50);
    http_server_destroy(harness->server, harness_note_closed, harness);
    assert_int_equal(waiting->abandoned, 1); /* before destroy returns */
    assert_true(harness_wait(harness, &result.done));
    assert_int_equal(result.status, 503);
    assert_true(harness_wait(harness, &harness->server_closed));
    harness->server = NULL;
    result_clear(&result);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
    const struct CMUnitTest tests[] = {
        TEST(a_handler_may_answer_later),
        TEST(a_deadline_answers_504_and_tells_the_handler),
        TEST(a_vanished_client_is_noticed),
        TEST(answering_a_vanished_client_is_harmless),
        TEST(streams_flow_piece_by_piece),
        TEST(a_slow_reader_fills_its_queue),
        TEST(a_stream_whose_reader_left_is_abandoned),
        TEST(stopping_answers_503_to_who_waits),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
