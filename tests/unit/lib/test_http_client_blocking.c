/* Calls that block their thread, against a server with threads. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/http_client_blocking.h"
#include "tests/unit/lib/http_harness.h"

#define THREADS 8
#define ROUNDS  20

struct fixture {
    struct http_server *server;
    struct http_blocking_client *client;
    char base[64];
};

static void answer_echo(struct http_request *request, void *data)
{
    (void)data;
    size_t length;
    const char *body = http_request_body(request, &length);
    http_request_respond(request, 200, "text/plain", body, length);
}

static void answer_large(struct http_request *request, void *data)
{
    (void)data;
    AUTO_FREE char *bytes = xcalloc(1, (size_t)5 << 20);
    http_request_respond(request, 200, "text/plain", bytes, (size_t)5 << 20);
}

static void answer_missing(struct http_request *request, void *data)
{
    (void)data;
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_NOT_FOUND, "nothing is here");
    http_request_respond_error(request, &error);
}

static void answer_late(struct http_request *request, void *data)
{
    (void)data;
    nanosleep(&(struct timespec){.tv_sec = 3}, NULL);
    http_request_respond(request, 200, NULL, NULL, 0);
}

/* Whom a server with basic authentication would see. */
static void answer_authorization(struct http_request *request, void *data)
{
    (void)data;
    const char *header = http_request_header(request, "Authorization");
    http_request_respond(request, 200, NULL, header, header != NULL ? strlen(header) : 0);
}

static const struct http_route routes[] = {
    {.method = "PUT", .pattern = "/echo", .handler = answer_echo, .body_limit = 10 << 20},
    {.method = "GET", .pattern = "/large", .handler = answer_large},
    {.method = "GET", .pattern = "/missing", .handler = answer_missing},
    {.method = "GET", .pattern = "/late", .handler = answer_late},
    {.method = "GET", .pattern = "/authorization", .handler = answer_authorization},
};

static int open_all(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    struct error error = ERROR_INIT;
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .address = "127.0.0.1",
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes)};
    if (http_server_create(&options, &fixture->server, &error) < 0)
        fail_msg("%s", error.message);
    snprintf(fixture->base, sizeof fixture->base, "http://127.0.0.1:%u",
             http_server_port(fixture->server));
    fixture->client = http_blocking_client_create(4);
    *state = fixture;
    return 0;
}

static int close_all(void **state)
{
    struct fixture *fixture = *state;
    http_blocking_client_destroy(fixture->client);
    http_server_destroy(fixture->server, NULL, NULL);
    free(fixture);
    return 0;
}

static const struct http_client_response *perform(struct fixture *fixture, const char *path,
                                                  struct http_client_request request, void *data)
{
    AUTO_FREE char *url = xasprintf("%s%s", fixture->base, path);
    struct error error = ERROR_INIT;
    request.url = url;
    const struct http_client_response *response =
        http_client_perform(fixture->client, &request, data, &error);
    if (response == NULL)
        fail_msg("%s", error.message);
    return response;
}

static void *call_again_and_again(void *data)
{
    struct fixture *fixture = data;
    size_t *wrong = xcalloc(1, sizeof *wrong);
    for (unsigned round = 0; round < ROUNDS; round++) {
        AUTO_FREE char *body = xasprintf("%p of round %u", (void *)wrong, round);
        const struct http_client_response *response =
            perform(fixture, "/echo",
                    (struct http_client_request){
                        .method = "PUT", .body = body, .body_length = strlen(body)},
                    NULL);
        if (response->status != 200 || strcmp(response->body, body) != 0)
            ++*wrong;
        http_client_release(fixture->client, response);
    }
    return wrong;
}

static void many_threads_call_at_once_and_each_gets_its_own_answer(void **state)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_again_and_again, *state), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_int_equal(*(size_t *)wrong, 0);
        free(wrong);
    }
}

static void an_answer_has_status_headers_and_body_until_it_is_released(void **state)
{
    struct fixture *fixture = *state;
    struct error error = ERROR_INIT;
    const struct http_client_response *response =
        perform(fixture, "/missing", (struct http_client_request){0}, NULL);
    assert_false(response->failed);
    assert_int_equal(response->status, 404);
    assert_string_equal(http_response_header(response, "content-type"), "application/json");
    assert_int_equal(http_response_check(response, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_string_equal(error.message, "nothing is here");
    http_client_release(fixture->client, response);
}

static void a_part_of_a_file_is_sent(void **state)
{
    struct fixture *fixture = *state;
    AUTO_CLOSE int descriptor = memfd_create("body", MFD_CLOEXEC);
    assert_int_equal(write(descriptor, "0123456789", 10), 10);
    const struct http_client_response *response =
        perform(fixture, "/echo",
                (struct http_client_request){.method = "PUT",
                                             .has_body_file = true,
                                             .body_descriptor = descriptor,
                                             .body_offset = 3,
                                             .body_file_length = 4},
                NULL);
    assert_string_equal(response->body, "3456");
    http_client_release(fixture->client, response);
}

static int count_bytes(const void *bytes, size_t length, void *data)
{
    (void)bytes;
    *(size_t *)data += length;
    return 0;
}

static int refuse_bytes(const void *bytes, size_t length, void *data)
{
    (void)bytes;
    (void)length;
    (void)data;
    return -1;
}

static void a_body_is_kept_up_to_a_limit_or_streamed(void **state)
{
    struct fixture *fixture = *state;
    size_t count = 0;
    const struct http_client_response *response =
        perform(fixture, "/large", (struct http_client_request){0}, NULL);
    assert_true(response->failed);
    assert_int_equal(response->error.code, ERROR_TOO_LARGE);
    http_client_release(fixture->client, response);
    response =
        perform(fixture, "/large", (struct http_client_request){.on_body = count_bytes}, &count);
    assert_int_equal(response->status, 200);
    assert_int_equal(count, (size_t)5 << 20);
    http_client_release(fixture->client, response);
    response =
        perform(fixture, "/large", (struct http_client_request){.on_body = refuse_bytes}, NULL);
    assert_true(response->failed);
    assert_int_equal(response->error.code, ERROR_IO);
    http_client_release(fixture->client, response);
}

static void silence_ends_by_a_timeout(void **state)
{
    struct fixture *fixture = *state;
    const struct http_client_response *response =
        perform(fixture, "/late", (struct http_client_request){.timeout_ms = 200}, NULL);
    assert_true(response->failed);
    assert_int_equal(response->error.code, ERROR_TIMEOUT);
    http_client_release(fixture->client, response);
    response = perform(
        fixture, "/late",
        (struct http_client_request){.timeout_ms = HTTP_NO_TIMEOUT, .stall_timeout_s = 1}, NULL);
    assert_true(response->failed);
    assert_int_equal(response->error.code, ERROR_TIMEOUT);
    http_client_release(fixture->client, response);
}

static void nobody_there_is_a_failure_and_nonsense_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error error = ERROR_INIT;
    struct http_client_request request = {.url = "http://127.0.0.1:1/"};
    const struct http_client_response *response =
        http_client_perform(fixture->client, &request, NULL, &error);
    assert_true(response->failed);
    assert_int_equal(response->error.code, ERROR_UNAVAILABLE);
    http_client_release(fixture->client, response);
    request.url = "file:///etc/passwd";
    assert_null(http_client_perform(fixture->client, &request, NULL, &error));
    assert_int_equal(error.code, ERROR_INVALID);
}

static void a_name_and_password_go_with_their_call_only(void **state)
{
    struct fixture *fixture = *state;
    const struct http_client_response *response =
        perform(fixture, "/authorization",
                (struct http_client_request){.user = "ann", .password = "secret"}, NULL);
    assert_string_equal(response->body, "Basic YW5uOnNlY3JldA==");
    http_client_release(fixture->client, response);
    /* By the same handle. */
    response = perform(fixture, "/authorization", (struct http_client_request){0}, NULL);
    assert_string_equal(response->body, "");
    http_client_release(fixture->client, response);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_has_status_headers_and_body_until_it_is_released),
        cmocka_unit_test(many_threads_call_at_once_and_each_gets_its_own_answer),
        cmocka_unit_test(a_part_of_a_file_is_sent),
        cmocka_unit_test(a_body_is_kept_up_to_a_limit_or_streamed),
        cmocka_unit_test(silence_ends_by_a_timeout),
        cmocka_unit_test(nobody_there_is_a_failure_and_nonsense_is_refused),
        cmocka_unit_test(a_name_and_password_go_with_their_call_only),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
