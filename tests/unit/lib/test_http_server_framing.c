/* Requests that others may read in another way: where a body ends, and what is answered before it
 * has. */
#include "tests/unit/lib/http_harness.h"

static void answer_body(struct http_request *request, void *data)
{
    (void)data;
    size_t length;
    const char *body = http_request_body(request, &length);
    http_request_respond(request, 200, "text/plain", body, length);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/plain", .handler = answer_body},
    {.method = "POST", .pattern = "/echo", .handler = answer_body, .body_limit = 100},
};

static int open_all(void **state)
{
    const struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP, .routes = routes, .route_count = ARRAY_LENGTH(routes)};
    struct harness *harness = xcalloc(1, sizeof *harness);
    harness_open(harness, &options);
    *state = harness;
    return 0;
}

static int close_all(void **state)
{
    harness_close(*state);
    free(*state);
    return 0;
}

/* Whether such a request is refused, and nothing behind it taken for another one. */
static void expect_refused_framing(struct harness *harness, const char *headers)
{
    struct buffer answer = {0};
    AUTO_FREE char *text = xasprintf("POST /echo HTTP/1.1\r\n%s\r\n0\r\n\r\n"
                                     "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
                                     headers);
    harness_raw(harness, text, NULL, &answer);
    assert_non_null(strstr(buffer_text(&answer), " 400 "));
    assert_null(strstr(buffer_text(&answer), " 200 "));
    buffer_finish(&answer);
}

static void a_body_has_one_end(void **state)
{
    struct harness *harness = *state;
    expect_refused_framing(harness,
                           "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    expect_refused_framing(harness, "Host: x\r\nContent-Length: 5\r\nContent-Length: 3\r\n");
    expect_refused_framing(harness, "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n");
    expect_refused_framing(harness, "Host: x\r\nHost: y\r\nContent-Length: 5\r\n");
    expect_refused_framing(harness, "Host: x\r\nContent-Length : 5\r\n");
    expect_refused_framing(harness, "Host: x\r\nTransfer-Encoding\t: chunked\r\n");
    expect_refused_framing(harness, "Host: x\r\nTransfer-Encoding:\r\n chunked\r\n");
    expect_refused_framing(harness, "Host: x\r\nContent-Length:\r\n 5\r\n");
    expect_refused_framing(harness, "Host: x\r\nX: y\r\n Content-Length: 5\r\n");
    expect_refused_framing(harness, "Host: x\r\nX: y\rContent-Length: 5\r\n");
    /* Nothing is wrong with what it may look like. */
    struct buffer answer = {0};
    harness_raw(harness,
                "POST /echo HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nContent-Length:\t5\r\n"
                "Connection: close\r\n\r\nhello",
                NULL, &answer);
    assert_non_null(strstr(buffer_text(&answer), " 200 "));
    buffer_finish(&answer);
}

static void an_early_answer_is_whole(void **state)
{
    struct harness *harness = *state;
    struct buffer answer = {0};
    harness_raw(harness, "HEAD /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", NULL,
                &answer);
    const char *text = buffer_text(&answer), *end = strstr(text, "\r\n\r\n");
    assert_non_null(strstr(text, " 413 "));
    assert_non_null(end);
    assert_string_equal(end, "\r\n\r\n"); /* HEAD: no body */
    buffer_clear(&answer);
    harness_raw(harness,
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                NULL, &answer);
    const char *close = strstr(buffer_text(&answer), "Connection: close");
    assert_non_null(close);
    assert_null(strstr(close + 1, "Connection: close"));
    buffer_finish(&answer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_body_has_one_end),
        TEST(an_early_answer_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
