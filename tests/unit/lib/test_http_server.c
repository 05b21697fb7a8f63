#include "lib/http_server_internal.h"
#include "tests/unit/lib/http_harness.h"

struct waiting {
    struct http_request *request;
    uint64_t streamed;
    int refuse_after;
};

static struct waiting *waiting_of(void *data)
{
    return ((struct harness *)data)->mine;
}

static void answer_parameters(struct http_request *request, void *data)
{
    (void)data;
    const char *name = http_request_parameter(request, "name");
    const char *rest = http_request_parameter(request, "rest");
    const char *query = http_request_query(request, "q");
    AUTO_FREE char *text = xasprintf(
        "%s name=%s rest=%s q=%s path=%s", http_request_method(request), name ? name : "-",
        rest ? rest : "-", query ? query : "-", http_request_path(request));
    http_request_respond(request, 200, "text/plain", text, strlen(text));
}

static void answer_body(struct http_request *request, void *data)
{
    (void)data;
    size_t length;
    const char *body = http_request_body(request, &length);
    http_request_respond(request, 200, "text/plain", body, length);
}

static void answer_later(struct http_request *request, void *data)
{
    waiting_of(data)->request = request;
}

static int count_bytes(struct http_request *request, const void *bytes, size_t length, void *data)
{
    (void)bytes;
    struct waiting *waiting = waiting_of(data);
    waiting->streamed += length;
    if (waiting->refuse_after > 0 && waiting->streamed >= (uint64_t)waiting->refuse_after) {
        http_request_respond(request, 507, "text/plain", "full", 4);
        return -1;
    }
    return 0;
}

static void answer_count(struct http_request *request, void *data)
{
    AUTO_FREE char *text = xasprintf("%llu", (unsigned long long)waiting_of(data)->streamed);
    http_request_respond(request, 200, "text/plain", text, strlen(text));
}

static void answer_json(struct http_request *request, void *data)
{
    (void)data;
    struct json_object *object = json_object_new_object();
    json_object_object_add(object, "fine", json_object_new_boolean(1));
    http_request_add_header(request, "X-Bad", "a\r\nX-Injected: yes");
    http_request_respond_json(request, 201, object);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/plain", .handler = answer_parameters},
    {.method = "GET", .pattern = "/things/{name}", .handler = answer_parameters},
    {.method = "PUT", .pattern = "/things/{name}", .handler = answer_parameters},
    {.method = "GET", .pattern = "/v2/", .handler = answer_parameters},
    {.method = "GET", .pattern = "/v2/{rest...}/blobs/{name}", .handler = answer_parameters},
    {.method = "POST", .pattern = "/echo", .handler = answer_body, .body_limit = 100000},
    {.method = "PATCH", .pattern = "/sink", .handler = answer_count, .on_body = count_bytes},
    {.method = "PATCH",
     .pattern = "/small-sink",
     .handler = answer_count,
     .on_body = count_bytes,
     .body_limit = 1000},
    {.method = "GET", .pattern = "/later", .handler = answer_later},
    {.method = "GET", .pattern = "/json", .handler = answer_json},
};

static const struct http_server_options loop_options = {
    .mode = HTTP_SERVER_LOOP,
    .routes = routes,
    .route_count = ARRAY_LENGTH(routes),
    .protocol = 3,
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

static void expect(struct harness *harness, const char *method, const char *path, int status,
                   const char *body)
{
    struct result result = {0};
    harness_fetch(harness, (struct http_client_request){.method = method}, path, &result);
    if (result.failed || result.status != status ||
        (body != NULL && strcmp(buffer_text(&result.body), body) != 0))
        fail_msg("%s %s: %d %s \"%s\"", method, path, result.status, result.message,
                 buffer_text(&result.body));
    result_clear(&result);
}

static void patterns_match_segments(void **state)
{
    struct harness *harness = *state;
    expect(harness, "GET", "/plain?q=1", 200, "GET name=- rest=- q=1 path=/plain");
    expect(harness, "GET", "/things/a%20b", 200, "GET name=a b rest=- q=- path=/things/a b");
    expect(harness, "GET", "/things/a+b?q=a+b%2Bc&q=2", 200,
           "GET name=a+b rest=- q=a b+c path=/things/a+b");
    expect(harness, "GET", "/v2/a/b/c/blobs/x", 200,
           "GET name=x rest=a/b/c q=- path=/v2/a/b/c/blobs/x");
    expect(harness, "GET", "/v2/a/blobs/blobs/x", 200,
           "GET name=x rest=a/blobs q=- path=/v2/a/blobs/blobs/x");
    expect(harness, "GET", "/v2/", 200, "GET name=- rest=- q=- path=/v2/");
    expect(harness, "GET", "/v2", 404, NULL);
    expect(harness, "GET", "/v2/blobs/x", 404, NULL);
    expect(harness, "GET", "/v2//blobs/x", 404, NULL);
    expect(harness, "GET", "/things/", 404, NULL);
    expect(harness, "GET", "/things/a/b", 404, NULL);
    expect(harness, "GET", "/", 404, NULL);
}

static void bad_escapes_are_refused(void **state)
{
    struct harness *harness = *state;
    expect(harness, "GET", "/things/a%2Fb", 400, NULL);
    expect(harness, "GET", "/things/a%00b", 400, NULL);
    expect(harness, "GET", "/things/a%zz", 400, NULL);
    expect(harness, "GET", "/things/a%4", 400, NULL);
    expect(harness, "GET", "/things/a?q=%", 400, NULL);
    expect(harness, "GET", "/things/a?q=%2F", 200, "GET name=a rest=- q=/ path=/things/a");
}

static void other_methods_are_405_with_allow(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    harness_fetch(harness, (struct http_client_request){.method = "DELETE"}, "/things/a", &result);
    assert_int_equal(result.status, 405);
    assert_string_equal(result.allow, "GET, HEAD, PUT");
    result_clear(&result);
}

static void head_has_the_length_of_get(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    harness_fetch(harness, (struct http_client_request){.method = "HEAD"}, "/json", &result);
    assert_int_equal(result.status, 201);
    assert_string_equal(result.length, "13");
    assert_string_equal(result.type, "application/json");
    assert_int_equal(result.body.length, 0);
    result_clear(&result);
}

static void a_header_cannot_write_another(void **state)
{
    struct buffer answer = {0};
    harness_raw(*state, "GET /json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL,
                &answer);
    assert_non_null(strstr(buffer_text(&answer), "201"));
    assert_null(strstr(buffer_text(&answer), "X-Injected"));
    buffer_finish(&answer);
}

static void errors_have_the_projects_form(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    harness_fetch(harness, (struct http_client_request){0}, "/nothing", &result);
    assert_int_equal(result.status, 404);
    assert_string_equal(result.type, "application/json");
    struct json_object *object = json_tokener_parse(buffer_text(&result.body));
    struct error error = ERROR_INIT;
    assert_true(error_from_json(object, &error));
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    json_object_put(object);
    result_clear(&result);
}

static void this_protocol_and_the_one_before_are_served_another_is_426(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    for (char number = '1'; number <= '4'; number++) {
        char header[] = "Shoal-Protocol: N";
        const char *headers[] = {header, NULL};
        header[sizeof header - 2] = number;
        harness_fetch(harness, (struct http_client_request){.headers = headers}, "/plain", &result);
        assert_int_equal(result.status, number == '2' || number == '3' ? 200 : 426);
    }
    assert_non_null(strstr(buffer_text(&result.body), "protocol 4"));
    assert_non_null(strstr(buffer_text(&result.body), "protocol 2 and 3"));
    result_clear(&result);
}

static void a_web_page_may_read_and_change_nothing(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    const char *page[] = {"Origin: http://example.com", "Content-Type: text/plain", NULL};
    struct http_client_request change = {
        .method = "POST", .headers = page, .body = "x", .body_length = 1};
    harness_fetch(harness, change, "/echo", &result);
    assert_int_equal(result.status, 403);
    assert_non_null(strstr(buffer_text(&result.body), "web pages"));
    change.headers = NULL;
    harness_fetch(harness, change, "/echo", &result);
    assert_int_equal(result.status, 200);
    harness_fetch(harness, (struct http_client_request){.headers = page}, "/plain", &result);
    assert_int_equal(result.status, 200);
    result_clear(&result);
}

static void bodies_up_to_the_limit_arrive(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    AUTO_FREE char *body = xcalloc(1, 100001);
    memset(body, 'x', 100000);
    harness_fetch(
        harness,
        (struct http_client_request){.method = "POST", .body = body, .body_length = 100000},
        "/echo", &result);
    assert_int_equal(result.status, 200);
    assert_int_equal(result.body.length, 100000);
    assert_memory_equal(result.body.data, body, 100000);
    harness_fetch(
        harness,
        (struct http_client_request){.method = "POST", .body = body, .body_length = 100001},
        "/echo", &result);
    assert_int_equal(result.status, 413);
    harness_fetch(harness,
                  (struct http_client_request){.method = "PUT", .body = "x", .body_length = 1},
                  "/things/a", &result);
    assert_int_equal(result.status, 413); /* a route without a body takes none */
    result_clear(&result);
}

static void a_declared_length_is_refused_before_the_body(void **state)
{
    struct buffer answer = {0};
    harness_raw(*state, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
                NULL, &answer);
    assert_non_null(strstr(buffer_text(&answer), "HTTP/1.1 413 "));
    buffer_clear(&answer);
    harness_raw(*state,
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n"
                "Expect: 100-continue\r\n\r\n",
                NULL, &answer);
    assert_non_null(strstr(buffer_text(&answer), "HTTP/1.1 413 "));
    assert_null(strstr(buffer_text(&answer), "100 Continue"));
    buffer_finish(&answer);
}

static void chunked_bytes_are_counted(void **state)
{
    struct harness *harness = *state;
    struct buffer text = {0}, answer = {0};
    buffer_append_text(
        &text, "PATCH /small-sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; i++)
        buffer_printf(&text, "64\r\n%0100d\r\n", i);
    /* No last chunk: the answer must not wait for it. */
    harness_raw(harness, buffer_text(&text), NULL, &answer);
    assert_non_null(strstr(buffer_text(&answer), "HTTP/1.1 413 "));
    assert_true(waiting_of(harness)->streamed <= 1000);
    buffer_finish(&text);
    buffer_finish(&answer);
}

static void chunked_bodies_arrive(void **state)
{
    struct buffer answer = {0};
    harness_raw(*state,
                "PATCH /sink HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n",
                NULL, &answer);
    assert_non_null(strstr(buffer_text(&answer), "HTTP/1.1 200 "));
    assert_non_null(strstr(buffer_text(&answer), "\r\n\r\n8"));
    buffer_finish(&answer);
}

static void a_stream_handler_may_refuse_in_the_middle(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    size_t length = (size_t)8 << 20;
    AUTO_FREE char *body = xcalloc(1, length);
    waiting_of(harness)->refuse_after = 100000;
    harness_fetch(
        harness,
        (struct http_client_request){.method = "PATCH", .body = body, .body_length = length},
        "/sink", &result);
    assert_int_equal(result.status, 507);
    assert_string_equal(buffer_text(&result.body), "full");
    assert_true(waiting_of(harness)->streamed < length / 2);
    result_clear(&result);
}

static void broken_requests_do_no_harm(void **state)
{
    struct harness *harness = *state;
    struct buffer answer = {0}, huge = {0};
    harness_raw(harness, "NONSENSE\r\n\r\n", NULL, &answer);
    buffer_clear(&answer);
    harness_raw(harness, "GET /plain HTTP/1.1\r\nHost x no colon\r\n\r\n", NULL, &answer);
    buffer_clear(&answer);
    harness_raw(harness, "GET relative HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL,
                &answer);
    assert_non_null(strstr(buffer_text(&answer), " 400 "));
    buffer_clear(&answer);
    harness_raw(harness, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", NULL,
                &answer);
    assert_null(strstr(buffer_text(&answer), " 200 "));
    buffer_clear(&answer);
    buffer_append_text(&huge, "GET /plain HTTP/1.1\r\nHost: x\r\nX-Long: ");
    for (int i = 0; i < 6000; i++)
        buffer_append_text(&huge, "0123456789");
    buffer_append_text(&huge, "\r\n\r\n");
    harness_raw(harness, buffer_text(&huge), " 431 ", &answer);
    expect(harness, "GET", "/plain", 200, NULL);
    buffer_finish(&huge);
    buffer_finish(&answer);
}

static void an_absolute_target_is_its_path(void **state)
{
    struct harness *harness = *state;
    struct buffer answer = {0};
    harness_raw(
        harness,
        "GET http://a.example:80/plain?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL,
        &answer);
    assert_non_null(strstr(buffer_text(&answer), "q=1 path=/plain"));
    buffer_clear(&answer);
    harness_raw(harness, "GET HTTPS://a?q=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL,
                &answer);
    assert_non_null(strstr(buffer_text(&answer), " 400 "));
    buffer_clear(&answer);
    harness_raw(harness, "GET http://a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL,
                &answer);
    assert_non_null(strstr(buffer_text(&answer), " 404 "));
    buffer_finish(&answer);
}

/* libmicrohttpd closes the connection then and does not report the request as completed. */
static void a_head_that_does_not_fit_leaves_nothing(void **state)
{
    struct harness *harness = *state;
    struct buffer request = {0};
    buffer_append_text(&request, "GET /plain?");
    for (int i = 0; i < 2000; i++)
        buffer_append_text(&request, "a=b&");
    buffer_append_text(&request, " HTTP/1.1\r\nHost: x\r\n\r\n");
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness->server));
    assert_int_equal(send(descriptor, buffer_text(&request), request.length, MSG_NOSIGNAL),
                     request.length);
    harness_idle(harness, 20);
    expect(harness, "GET", "/plain", 200, NULL);
    harness_idle(harness, 20);
    assert_int_equal(atomic_load(&harness->server->active), 0);
    buffer_finish(&request);
}

static void a_taken_port_is_named(void **state)
{
    struct harness *harness = *state;
    struct http_server_options options = loop_options;
    options.loop = &harness->loop;
    options.address = "127.0.0.1";
    options.port = http_server_port(harness->server);
    struct http_server *second = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(http_server_create(&options, &second, &error), -1);
    assert_null(second);
    AUTO_FREE char *wanted = xasprintf("127.0.0.1:%u is taken", options.port);
    assert_non_null(strstr(error.message, wanted));
    options.address = "localhost";
    assert_int_equal(http_server_create(&options, &second, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
}

static void threads_serve_the_same_routes(void **state)
{
    (void)state;
    struct harness harness;
    struct http_server_options options = loop_options;
    options.mode = HTTP_SERVER_THREADS;
    harness_open(&harness, &options);
    struct waiting waiting = {0};
    struct result result = {0};
    harness.mine = &waiting;
    expect(&harness, "GET", "/things/a", 200, "GET name=a rest=- q=- path=/things/a");
    expect(&harness, "GET", "/nothing", 404, NULL);
    size_t length = (size_t)3 << 20;
    AUTO_FREE char *body = xcalloc(1, length);
    harness_fetch(
        &harness,
        (struct http_client_request){.method = "PATCH", .body = body, .body_length = length},
        "/sink", &result);
    assert_string_equal(buffer_text(&result.body), "3145728");
    waiting.streamed = 0;
    waiting.refuse_after = 1;
    harness_fetch(
        &harness,
        (struct http_client_request){.method = "PATCH", .body = body, .body_length = length},
        "/sink", &result);
    assert_int_equal(result.status, 507);
    /* A handler that forgets to answer is an internal error, not a hanging client. */
    harness_fetch(&harness, (struct http_client_request){0}, "/later", &result);
    assert_int_equal(result.status, 500);
    result_clear(&result);
    harness_close(&harness);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(patterns_match_segments),
        TEST(bad_escapes_are_refused),
        TEST(other_methods_are_405_with_allow),
        TEST(head_has_the_length_of_get),
        TEST(a_header_cannot_write_another),
        TEST(errors_have_the_projects_form),
        TEST(this_protocol_and_the_one_before_are_served_another_is_426),
        TEST(a_web_page_may_read_and_change_nothing),
        TEST(bodies_up_to_the_limit_arrive),
        TEST(a_declared_length_is_refused_before_the_body),
        TEST(chunked_bytes_are_counted),
        TEST(chunked_bodies_arrive),
        TEST(a_stream_handler_may_refuse_in_the_middle),
        TEST(an_absolute_target_is_its_path),
        TEST(broken_requests_do_no_harm),
        TEST(a_head_that_does_not_fit_leaves_nothing),
        TEST(a_taken_port_is_named),
        cmocka_unit_test(threads_serve_the_same_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
