#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/lib/http_harness.h"

static void answer_hello(struct http_request *request, void *data)
{
    (void)data;
    http_request_add_header(request, "X-Greeting", "ahoy");
    http_request_respond(request, 200, "text/plain", "hello", 5);
}

static void answer_echo(struct http_request *request, void *data)
{
    (void)data;
    size_t length;
    const char *body = http_request_body(request, &length);
    const char *type = http_request_header(request, "Content-Type");
    http_request_respond(request, 200, type != NULL ? type : "none/none", body, length);
}

static void answer_large(struct http_request *request, void *data)
{
    (void)data;
    AUTO_FREE char *bytes = xcalloc(1, (size_t)5 << 20);
    http_request_respond(request, 200, "text/plain", bytes, (size_t)5 << 20);
}

static void answer_never(struct http_request *request, void *data)
{
    (void)data;
    ((struct harness *)data)->mine = request;
}

static void answer_error(struct http_request *request, void *data)
{
    (void)data;
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_SIGNATURE, "no trusted key signed it");
    http_request_respond_error(request, &error);
}

static void answer_oci_error(struct http_request *request, void *data)
{
    (void)data;
    const char body[] = "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\",\"message\":\"no such blob\"}]}";
    http_request_respond(request, 404, "application/json", body, strlen(body));
}

static void answer_redirect(struct http_request *request, void *data)
{
    (void)data;
    http_request_add_header(request, "Location", "/hello");
    http_request_respond(request, 307, NULL, NULL, 0);
}

static void answer_gibberish(struct http_request *request, void *data)
{
    (void)data;
    http_request_respond(request, 502, "text/html", "<html>", 6);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/hello", .handler = answer_hello},
    {.method = "POST", .pattern = "/echo", .handler = answer_echo, .body_limit = 10 << 20},
    {.method = "PUT", .pattern = "/echo", .handler = answer_echo, .body_limit = 10 << 20},
    {.method = "GET", .pattern = "/large", .handler = answer_large},
    {.method = "GET", .pattern = "/never", .handler = answer_never},
    {.method = "GET", .pattern = "/error", .handler = answer_error},
    {.method = "GET", .pattern = "/oci-error", .handler = answer_oci_error},
    {.method = "GET", .pattern = "/redirect", .handler = answer_redirect},
    {.method = "GET", .pattern = "/gibberish", .handler = answer_gibberish},
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
    struct harness *harness = *state;
    struct http_request *unanswered = harness->mine;
    harness_close(harness);
    if (unanswered != NULL)
        http_request_respond(unanswered, 200, NULL, NULL, 0);
    free(harness);
    return 0;
}

static void an_answer_has_status_headers_and_body(void **state)
{
    struct result result = {0};
    harness_fetch(*state, (struct http_client_request){0}, "/hello", &result);
    assert_false(result.failed);
    assert_int_equal(result.status, 200);
    assert_string_equal(result.type, "text/plain");
    assert_string_equal(result.allow, "(none)");
    assert_string_equal(buffer_text(&result.body), "hello");
    result_clear(&result);
}

static void bodies_are_sent_from_memory_and_files(void **state)
{
    struct result result = {0};
    const char *headers[] = {"Content-Type: application/x-test", NULL};
    harness_fetch(*state,
                  (struct http_client_request){
                      .method = "POST", .body = "a\0b", .body_length = 3, .headers = headers},
                  "/echo", &result);
    assert_int_equal(result.body.length, 3);
    assert_memory_equal(result.body.data, "a\0b", 3);
    assert_string_equal(result.type, "application/x-test");
    harness_fetch(*state, (struct http_client_request){.method = "POST"}, "/echo", &result);
    assert_int_equal(result.status, 200);
    assert_int_equal(result.body.length, 0);
    assert_string_equal(result.type, "none/none"); /* not curl's form type */

    char path[] = "/tmp/shoal-client-XXXXXX";
    AUTO_CLOSE int descriptor = mkstemp(path);
    unlink(path);
    AUTO_FREE char *bytes = xmalloc(500000);
    for (int i = 0; i < 500000; i++)
        bytes[i] = (char)(i * 7);
    assert_int_equal(write(descriptor, bytes, 500000), 500000);
    harness_fetch(*state,
                  (struct http_client_request){.method = "PUT",
                                               .has_body_file = true,
                                               .body_descriptor = descriptor,
                                               .body_offset = 1000,
                                               .body_file_length = 400000},
                  "/echo", &result);
    assert_int_equal(result.status, 200);
    assert_int_equal(result.body.length, 400000);
    assert_memory_equal(result.body.data, bytes + 1000, 400000);
    result_clear(&result);
}

static void a_file_that_ends_early_fails_the_call(void **state)
{
    struct result result = {0};
    char path[] = "/tmp/shoal-client-XXXXXX";
    AUTO_CLOSE int descriptor = mkstemp(path);
    unlink(path);
    assert_int_equal(write(descriptor, "short", 5), 5);
    harness_fetch(*state,
                  (struct http_client_request){.method = "PUT",
                                               .has_body_file = true,
                                               .body_descriptor = descriptor,
                                               .body_file_length = 1000},
                  "/echo", &result);
    assert_true(result.failed);
    assert_int_equal(result.code, ERROR_IO);
    result_clear(&result);
}

static void a_refused_connection_is_unavailable(void **state)
{
    struct result result = {0};
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    getsockname(descriptor, (struct sockaddr *)&address, &length); /* bound, not listening */
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u/x?secret=1", ntohs(address.sin_port));
    harness_fetch(*state, (struct http_client_request){.url = url}, NULL, &result);
    close(descriptor);
    assert_true(result.failed);
    assert_int_equal(result.status, 0);
    assert_int_equal(result.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(result.message, "GET http://127.0.0.1:"));
    assert_null(strstr(result.message, "secret"));
    result_clear(&result);
}

static void a_deadline_ends_a_call(void **state)
{
    struct result result = {0};
    harness_fetch(*state, (struct http_client_request){.timeout_ms = 50}, "/never", &result);
    assert_true(result.failed);
    assert_int_equal(result.code, ERROR_TIMEOUT);
    result_clear(&result);
}

static void a_silent_peer_is_given_up_when_stalled(void **state)
{
    struct result result = {0};
    harness_fetch(*state,
                  (struct http_client_request){.timeout_ms = HTTP_NO_TIMEOUT, .stall_timeout_s = 1},
                  "/never", &result);
    assert_true(result.failed);
    assert_int_equal(result.code, ERROR_TIMEOUT);
    result_clear(&result);
}

static void an_answer_over_the_limit_is_too_large(void **state)
{
    struct result result = {0};
    harness_fetch(*state, (struct http_client_request){0}, "/large", &result);
    assert_true(result.failed); /* 5 MiB over the default of 4 */
    assert_int_equal(result.code, ERROR_TOO_LARGE);
    harness_fetch(*state, (struct http_client_request){.response_limit = (size_t)5 << 20}, "/large",
                  &result);
    assert_int_equal(result.body.length, 5 << 20);
    result_clear(&result);
}

struct reading {
    struct result result;
    struct harness *harness;
    struct http_call *call;
    size_t bytes;
    size_t stop_after;
    bool cancels;
    bool stopped;
};

static int on_bytes(const void *bytes, size_t length, void *data)
{
    (void)bytes;
    struct reading *reading = data;
    reading->bytes += length;
    if (reading->stop_after == 0 || reading->bytes < reading->stop_after)
        return 0;
    reading->stopped = true;
    if (!reading->cancels)
        return -1;
    http_client_cancel(reading->call);
    return 0;
}

static void on_read(const struct http_client_response *response, void *data)
{
    keep_result(response, &((struct reading *)data)->result);
}

static void start_reading(struct harness *harness, struct reading *reading, const char *path)
{
    AUTO_FREE char *url = harness_url(harness, path);
    struct http_client_request request = {.url = url, .on_body = on_bytes};
    reading->harness = harness;
    reading->call = http_client_start(harness->client, &request, on_read, reading, NULL);
}

static void a_reader_gets_the_body_of_a_success_only(void **state)
{
    struct reading reading = {0};
    start_reading(*state, &reading, "/large");
    assert_true(harness_wait(*state, &reading.result.done));
    assert_int_equal(reading.bytes, 5 << 20);
    assert_int_equal(reading.result.body.length, 0);
    result_clear(&reading.result);
    reading = (struct reading){0};
    start_reading(*state, &reading, "/oci-error");
    assert_true(harness_wait(*state, &reading.result.done));
    assert_int_equal(reading.bytes, 0);
    assert_true(reading.result.body.length > 0);
    result_clear(&reading.result);
}

static void a_reader_may_stop_or_cancel(void **state)
{
    struct reading reading = {.stop_after = 100000};
    start_reading(*state, &reading, "/large");
    assert_true(harness_wait(*state, &reading.result.done));
    assert_true(reading.result.failed);
    assert_int_equal(reading.result.code, ERROR_IO);
    result_clear(&reading.result);
    reading = (struct reading){.stop_after = 100000, .cancels = true};
    start_reading(*state, &reading, "/large");
    assert_true(harness_wait(*state, &reading.stopped));
    harness_idle(*state, 50);
    assert_false(reading.result.done); /* cancelled: no callback */
}

/* One that takes a piece only now and then. */
struct slow {
    uv_timer_t timer; /* first */
    struct http_call *call;
    size_t taken, asked;
    bool is_ready, done, failed;
};

static void on_slow_timer(uv_timer_t *timer)
{
    struct slow *slow = (struct slow *)timer;
    slow->is_ready = true;
    http_call_continue(slow->call);
}

static int take_slowly(const void *bytes, size_t length, void *data)
{
    struct slow *slow = data;
    (void)bytes;
    slow->asked++;
    if (!slow->is_ready) {
        uv_timer_start(&slow->timer, on_slow_timer, 1, 0);
        return HTTP_BODY_LATER;
    }
    slow->is_ready = slow->asked % 3 != 0;
    slow->taken += length;
    return 0;
}

static void on_slow_end(const struct http_client_response *response, void *data)
{
    struct slow *slow = data;
    slow->failed = response->failed;
    slow->done = true;
}

static void a_slow_reader_gets_all_of_it(void **state)
{
    struct harness *harness = *state;
    struct slow slow = {0};
    AUTO_FREE char *url = harness_url(harness, "/large");
    struct http_client_request request = {.url = url, .on_body = take_slowly};
    uv_timer_init(&harness->loop, &slow.timer);
    slow.call = http_client_start(harness->client, &request, on_slow_end, &slow, NULL);
    assert_true(harness_wait(harness, &slow.done));
    uv_close((uv_handle_t *)&slow.timer, NULL);
    uv_run(&harness->loop, UV_RUN_NOWAIT);
    assert_false(slow.failed);
    assert_int_equal(slow.taken, (size_t)5 << 20);
    assert_true(slow.asked > 20);
}

static void redirects_are_followed_only_when_asked(void **state)
{
    struct result result = {0};
    harness_fetch(*state, (struct http_client_request){0}, "/redirect", &result);
    assert_int_equal(result.status, 307);
    harness_fetch(*state, (struct http_client_request){.follow_redirects = true}, "/redirect",
                  &result);
    assert_int_equal(result.status, 200);
    assert_string_equal(buffer_text(&result.body), "hello");
    result_clear(&result);
}

static void the_environments_proxy_is_ignored(void **state)
{
    struct result result = {0};
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    harness_fetch(*state, (struct http_client_request){0}, "/hello", &result);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_int_equal(result.status, 200);
    result_clear(&result);
}

/* The peer sees the given socket's own address, and another connection than the shared one. */
static void a_given_socket_is_used_and_closed(void **state)
{
    struct harness *harness = *state;
    struct result result = {0};
    AUTO_FREE char *url = harness_url(harness, "/hello");
    harness_fetch(harness, (struct http_client_request){0}, "/hello", &result);
    result_clear(&result);
    int given = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t length = sizeof own;
    inet_pton(AF_INET, "127.0.0.9", &own.sin_addr);
    assert_int_equal(bind(given, (struct sockaddr *)&own, sizeof own), 0);
    AUTO_CLOSE int witness = dup(given);
    struct http_client_request request = {
        .url = url, .has_socket = true, .socket_descriptor = given};
    http_client_start(harness->client, &request, keep_result, &result, NULL);
    assert_true(harness_wait(harness, &result.done));
    assert_int_equal(result.status, 200);
    assert_int_equal(fcntl(given, F_GETFD), -1);
    /* Through its copy: it is the one that was connected to the server. */
    struct sockaddr_in peer = {0};
    assert_int_equal(getsockname(witness, (struct sockaddr *)&peer, &length), 0);
    assert_int_equal(ntohl(peer.sin_addr.s_addr), 0x7f000009);
    assert_int_equal(getpeername(witness, (struct sockaddr *)&peer, &length), 0);
    assert_int_equal(ntohs(peer.sin_port), http_server_port(harness->server));
    result_clear(&result);
}

static void a_connected_socket_is_refused_and_closed(void **state)
{
    struct harness *harness = *state;
    AUTO_FREE char *url = harness_url(harness, "/hello");
    int given = harness_connect(http_server_port(harness->server));
    struct http_client_request request = {
        .url = url, .has_socket = true, .socket_descriptor = given};
    struct error error = ERROR_INIT;
    assert_null(http_client_start(harness->client, &request, keep_result, NULL, &error));
    assert_int_equal(error.code, ERROR_INVALID);
    assert_int_equal(fcntl(given, F_GETFD), -1);
}

static void malformed_requests_are_refused_at_start(void **state)
{
    struct harness *harness = *state;
    const char *injected[] = {"X: a\r\nY: b", NULL};
    const struct http_client_request wrong[] = {
        {.url = "not a url"},
        {.url = "ftp://127.0.0.1/x"},
        {.url = "file:///etc/passwd"},
        {.url = NULL},
        {.url = "http://127.0.0.1/", .method = "GET /x"},
        {.url = "http://127.0.0.1/", .headers = injected},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct error error = ERROR_INIT;
        assert_null(http_client_start(harness->client, &wrong[i], keep_result, NULL, &error));
        assert_int_equal(error.code, ERROR_INVALID);
    }
}

static void destroy_in_callback(const struct http_client_response *response, void *data)
{
    struct reading *reading = data;
    keep_result(response, &reading->result);
    http_client_destroy(reading->harness->client);
    reading->harness->client = NULL;
}

static void a_callback_may_destroy_the_client(void **state)
{
    struct harness *harness = *state;
    struct reading reading = {.harness = harness};
    struct result other = {0};
    AUTO_FREE char *never = harness_url(harness, "/never");
    AUTO_FREE char *hello = harness_url(harness, "/hello");
    struct http_client_request request = {.url = never};
    http_client_start(harness->client, &request, keep_result, &other, NULL);
    request.url = hello;
    http_client_start(harness->client, &request, destroy_in_callback, &reading, NULL);
    assert_true(harness_wait(harness, &reading.result.done));
    harness_idle(harness, 50);
    assert_false(other.done);
    result_clear(&reading.result);
}

static void check_response(const struct http_client_response *response, void *data)
{
    struct result *result = data;
    struct error error = ERROR_INIT;
    result->status = http_response_check(response, &error);
    result->code = error.code;
    snprintf(result->message, sizeof result->message, "%s", error.message);
    result->done = true;
}

static void expect_checked(struct harness *harness, const char *path, enum error_code code,
                           const char *message)
{
    struct result result = {0};
    AUTO_FREE char *url = harness_url(harness, path);
    struct http_client_request request = {.url = url};
    http_client_start(harness->client, &request, check_response, &result, NULL);
    assert_true(harness_wait(harness, &result.done));
    assert_int_equal(result.status, code == ERROR_NONE ? 0 : -1);
    assert_int_equal(result.code, code);
    assert_string_equal(result.message, message);
}

static void errors_are_read_from_answers(void **state)
{
    expect_checked(*state, "/hello", ERROR_NONE, "");
    expect_checked(*state, "/error", ERROR_SIGNATURE, "no trusted key signed it");
    expect_checked(*state, "/oci-error", ERROR_NOT_FOUND, "BLOB_UNKNOWN: no such blob");
    expect_checked(*state, "/gibberish", ERROR_UNAVAILABLE, "HTTP status 502");
}

static void segments_are_percent_encoded(void **state)
{
    (void)state;
    AUTO_FREE char *encoded = http_encode_segment("a/b?c=d e+\xc3\xa9~-._Z9");
    assert_string_equal(encoded, "a%2Fb%3Fc%3Dd%20e%2B%C3%A9~-._Z9");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_has_status_headers_and_body),
        TEST(bodies_are_sent_from_memory_and_files),
        TEST(a_file_that_ends_early_fails_the_call),
        TEST(a_refused_connection_is_unavailable),
        TEST(a_deadline_ends_a_call),
        TEST(a_silent_peer_is_given_up_when_stalled),
        TEST(an_answer_over_the_limit_is_too_large),
        TEST(a_reader_gets_the_body_of_a_success_only),
        TEST(a_reader_may_stop_or_cancel),
        TEST(a_slow_reader_gets_all_of_it),
        TEST(redirects_are_followed_only_when_asked),
        TEST(the_environments_proxy_is_ignored),
        TEST(a_given_socket_is_used_and_closed),
        TEST(a_connected_socket_is_refused_and_closed),
        TEST(malformed_requests_are_refused_at_start),
        TEST(a_callback_may_destroy_the_client),
        TEST(errors_are_read_from_answers),
        cmocka_unit_test(segments_are_percent_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
