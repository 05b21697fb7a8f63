/* Clients that take too long, and addresses that have too many connections. */
#include "tests/unit/lib/http_harness.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#define WINDOW_MS  300
#define LARGE_SIZE ((uint64_t)64 << 20)

struct notes {
    atomic_uint finished, released;
    atomic_int status;
    atomic_ullong bytes_in, bytes_out;
    struct http_request *waiting;
};

static struct notes *notes_of(void *data)
{
    return ((struct harness *)data)->mine;
}

static void on_finished(const struct http_summary *summary, void *data)
{
    struct notes *notes = notes_of(data);
    notes->status = summary->status;
    notes->bytes_in = summary->bytes_in;
    notes->bytes_out = summary->bytes_out;
    notes->finished++;
}

static void answer(struct http_request *request, void *data)
{
    (void)data;
    http_request_respond(request, 200, "text/plain", "hello", 5);
}

static int take_body(struct http_request *request, const void *bytes, size_t length, void *data)
{
    (void)request;
    (void)bytes;
    (void)length;
    (void)data;
    return 0;
}

static void work_long(struct http_request *request, void *data)
{
    usleep(3 * WINDOW_MS * 1000);
    answer(request, data);
}

/* Longer than a connection may be idle. */
static int take_body_long(struct http_request *request, const void *bytes, size_t length,
                          void *data)
{
    if (length > 0)
        usleep(2500 * 1000);
    return take_body(request, bytes, length, data);
}

static void work_very_long(struct http_request *request, void *data)
{
    usleep(2500 * 1000);
    answer(request, data);
}

static ssize_t read_very_slowly(void *data, uint64_t offset, void *ret_bytes, size_t size)
{
    (void)data;
    (void)size;
    usleep(1300 * 1000);
    memcpy(ret_bytes, &"hello"[offset], 1);
    return 1;
}

static void answer_later(struct http_request *request, void *data)
{
    notes_of(data)->waiting = request;
}

static void stream_later(struct http_request *request, void *data)
{
    notes_of(data)->waiting = request;
    http_request_stream_begin(request, "text/plain");
}

/* Once the client has had all of the rest, the last byte takes its time. */
static ssize_t read_slowly(void *data, uint64_t offset, void *ret_bytes, size_t size)
{
    (void)data;
    if (offset == 4)
        usleep(3 * WINDOW_MS * 1000);
    size_t count = offset < 4 ? 4 - (size_t)offset : 1;
    memcpy(ret_bytes, &"slow!"[offset], count < size ? count : size);
    return (ssize_t)(count < size ? count : size);
}

static ssize_t read_zeros(void *data, uint64_t offset, void *ret_bytes, size_t size)
{
    (void)data;
    (void)offset;
    memset(ret_bytes, 0, size);
    return (ssize_t)size;
}

static void count_release(void *data)
{
    ((struct notes *)data)->released++;
}

static void serve_slowly(struct http_request *request, void *data)
{
    const struct http_body_reader reader = {
        .read = read_slowly, .release = count_release, .data = notes_of(data)};
    http_request_respond_reader(request, 200, "text/plain", 5, &reader);
}

static void serve_very_slowly(struct http_request *request, void *data)
{
    const struct http_body_reader reader = {
        .read = read_very_slowly, .release = count_release, .data = notes_of(data)};
    http_request_respond_reader(request, 200, "text/plain", 3, &reader);
}

static void serve_large(struct http_request *request, void *data)
{
    const struct http_body_reader reader = {
        .read = read_zeros, .release = count_release, .data = notes_of(data)};
    http_request_respond_reader(request, 200, "text/plain", LARGE_SIZE, &reader);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/", .handler = answer},
    {.method = "PUT", .pattern = "/", .handler = answer, .on_body = take_body},
    {.method = "GET", .pattern = "/work", .handler = work_long},
    {.method = "GET", .pattern = "/long", .handler = work_very_long},
    {.method = "PUT", .pattern = "/long", .handler = work_very_long, .on_body = take_body_long},
    {.method = "GET", .pattern = "/drip", .handler = serve_very_slowly},
    {.method = "GET", .pattern = "/later", .handler = answer_later},
    {.method = "GET", .pattern = "/stream", .handler = stream_later},
    {.method = "GET", .pattern = "/slowly", .handler = serve_slowly},
    {.method = "GET", .pattern = "/large", .handler = serve_large},
};

static void open_server(struct harness *harness, struct notes *notes, enum http_server_mode mode,
                        unsigned window_ms, uint64_t bytes)
{
    const struct http_server_options options = {.mode = mode,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes),
                                                .on_finished = on_finished,
                                                .slow_window_ms = window_ms,
                                                .slow_bytes = bytes};
    memset(notes, 0, sizeof *notes);
    harness_open(harness, &options);
    harness->mine = notes;
}

static void send_text(int descriptor, const char *text)
{
    assert_int_equal(send(descriptor, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* One byte after the other until the server has enough. */
static bool dribble_until_cut(struct harness *harness, int descriptor, char byte)
{
    for (int i = 0; i < 2000; i++) {
        harness_idle(harness, 10);
        if (send(descriptor, &byte, 1, MSG_NOSIGNAL) < 0)
            return true;
    }
    return false;
}

static void wait_finished(struct harness *harness, const struct notes *notes)
{
    for (int i = 0; i < 2000 && notes->finished == 0; i++)
        harness_idle(harness, 10);
    assert_int_equal(notes->finished, 1);
}

static const enum http_server_mode both_modes[] = {HTTP_SERVER_LOOP, HTTP_SERVER_THREADS};

static void a_head_has_one_window(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(both_modes); i++) {
        struct harness harness;
        struct notes notes;
        struct buffer text AUTO_BUFFER = {0};
        open_server(&harness, &notes, both_modes[i], WINDOW_MS, 1);
        AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness.server));
        send_text(descriptor, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ");
        assert_true(harness_read(&harness, descriptor, " 408 ", &text));
        AUTO_CLOSE int second = harness_connect(http_server_port(harness.server));
        assert_true(dribble_until_cut(&harness, second, 'G'));
        harness_close(&harness);
    }
}

static void a_body_that_stalls_is_given_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(both_modes); i++) {
        struct harness harness;
        struct notes notes;
        struct buffer text AUTO_BUFFER = {0};
        open_server(&harness, &notes, both_modes[i], WINDOW_MS, 1);
        AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness.server));
        send_text(descriptor, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
        assert_true(harness_read(&harness, descriptor, " 408 ", &text));
        wait_finished(&harness, &notes);
        assert_int_equal(notes.status, 408);
        assert_int_equal(notes.bytes_in, 5);
        harness_close(&harness);
    }
}

static void a_body_slower_than_the_rate_is_given_up(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    open_server(&harness, &notes, HTTP_SERVER_THREADS, WINDOW_MS, 1000);
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness.server));
    send_text(descriptor, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    assert_true(dribble_until_cut(&harness, descriptor, 'x'));
    wait_finished(&harness, &notes);
    assert_int_equal(notes.status, 408);
    harness_close(&harness);
}

static void a_body_that_keeps_coming_is_taken(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct buffer text AUTO_BUFFER = {0};
    open_server(&harness, &notes, HTTP_SERVER_THREADS, 2000, 10);
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness.server));
    send_text(descriptor, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n");
    for (int i = 0; i < 50; i++) { /* over more than two windows */
        send_text(descriptor, "0123456789");
        harness_idle(&harness, 90);
    }
    assert_true(harness_read(&harness, descriptor, "hello", &text));
    harness_close(&harness);
}

static void who_does_not_read_is_cut_off(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    char bytes[4096];
    open_server(&harness, &notes, HTTP_SERVER_THREADS, WINDOW_MS, 1);
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness.server));
    send_text(descriptor, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_finished(&harness, &notes);
    assert_int_equal(notes.released, 1);
    assert_int_equal(notes.bytes_out, 0);
    ssize_t count;
    uint64_t received = 0;
    while ((count = recv(descriptor, bytes, sizeof bytes, 0)) > 0)
        received += (uint64_t)count;
    assert_int_equal(count, -1); /* not an end that might be taken for the end of the answer */
    assert_int_equal(errno, ECONNRESET);
    assert_true(received < LARGE_SIZE);
    harness_close(&harness);
}

static void a_connection_may_be_idle(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(both_modes); i++) {
        struct harness harness;
        struct notes notes;
        open_server(&harness, &notes, both_modes[i], WINDOW_MS, 1);
        AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness.server));
        for (int j = 0; j < 2; j++) {
            struct buffer text AUTO_BUFFER = {0};
            harness_idle(&harness, 3 * WINDOW_MS);
            send_text(descriptor, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_true(harness_read(&harness, descriptor, "hello", &text));
        }
        harness_close(&harness);
    }
}

static void work_on_this_side_is_not_the_clients_fault(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0};
    open_server(&harness, &notes, HTTP_SERVER_THREADS, WINDOW_MS, 1);
    harness_fetch(&harness, (struct http_client_request){0}, "/work", &result);
    assert_int_equal(result.status, 200);
    harness_fetch(&harness, (struct http_client_request){0}, "/slowly", &result);
    assert_string_equal(buffer_text(&result.body), "slow!");
    result_clear(&result);
    harness_close(&harness);
}

/* How long a connection may be idle is counted by libmicrohttpd. */
static void work_may_take_longer_than_idling(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes = {0};
    struct result result = {0};
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes),
                                                .idle_timeout_s = 1};
    harness_open(&harness, &options);
    harness.mine = &notes;
    harness_fetch(&harness, (struct http_client_request){0}, "/long", &result);
    assert_int_equal(result.status, 200);
    harness_fetch(&harness,
                  (struct http_client_request){.method = "PUT", .body = "x", .body_length = 1},
                  "/long", &result);
    assert_int_equal(result.status, 200);
    harness_fetch(&harness, (struct http_client_request){0}, "/drip", &result);
    assert_int_equal(result.status, 200);
    assert_string_equal(buffer_text(&result.body), "hel");
    result_clear(&result);
    harness_close(&harness);
}

static void nor_is_waiting_for_an_answer(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0}, stream = {0};
    open_server(&harness, &notes, HTTP_SERVER_LOOP, WINDOW_MS, 1);
    AUTO_FREE char *later = harness_url(&harness, "/later");
    AUTO_FREE char *streamed = harness_url(&harness, "/stream");
    struct http_client_request request = {.url = later};
    http_client_start(harness.client, &request, keep_result, &result, NULL);
    harness_idle(&harness, 3 * WINDOW_MS);
    assert_non_null(notes.waiting);
    answer(notes.waiting, &harness);
    assert_true(harness_wait(&harness, &result.done));
    assert_int_equal(result.status, 200);

    notes.waiting = NULL;
    request.url = streamed;
    http_client_start(harness.client, &request, keep_result, &stream, NULL);
    for (int i = 0; i < 2; i++) {
        harness_idle(&harness, 3 * WINDOW_MS);
        assert_non_null(notes.waiting);
        assert_int_equal(http_request_stream_write(notes.waiting, "line\n", 5), 0);
    }
    http_request_stream_end(notes.waiting);
    assert_true(harness_wait(&harness, &stream.done));
    assert_string_equal(buffer_text(&stream.body), "line\nline\n");
    result_clear(&result);
    result_clear(&stream);
    harness_close(&harness);
}

/* --- connections of one address --- */

static void an_address_has_so_many_connections(void **state)
{
    (void)state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t i = 0; i < ARRAY_LENGTH(both_modes); i++) {
        const struct http_server_options options = {.mode = both_modes[i],
                                                    .routes = routes,
                                                    .route_count = ARRAY_LENGTH(routes),
                                                    .max_connections_per_address = 2};
        struct harness harness;
        struct buffer text AUTO_BUFFER = {0};
        harness_open(&harness, &options);
        uint16_t port = http_server_port(harness.server);
        AUTO_CLOSE int first = harness_connect(port);
        AUTO_CLOSE int second = harness_connect(port);
        harness_idle(&harness, 20);
        AUTO_CLOSE int third = harness_connect(port);
        send_text(third, request);
        assert_true(harness_read(&harness, third, NULL, &text)); /* to its end: it is closed */
        assert_non_null(strstr(buffer_text(&text), " 503 "));
        assert_non_null(strstr(buffer_text(&text), "Retry-After: 1"));
        assert_non_null(strstr(buffer_text(&text), "too many connections"));
        buffer_clear(&text);
        send_text(first, request); /* those that were there first are served on */
        assert_true(harness_read(&harness, first, "hello", &text));
        close(TAKE_DESCRIPTOR(second));
        bool served = false;
        for (int j = 0; j < 200 && !served; j++) {
            AUTO_CLOSE int next = harness_connect(port);
            buffer_clear(&text);
            send_text(next, request);
            harness_idle(&harness, 10);
            assert_true(harness_read(&harness, next, "HTTP/1.1", &text));
            served = strstr(buffer_text(&text), " 200 ") != NULL;
        }
        assert_true(served);
        harness_close(&harness);
    }
}

static void a_flood_from_one_address_is_closed_at_once(void **state)
{
    (void)state;
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes),
                                                .max_connections_per_address = 1};
    struct harness harness;
    int descriptors[40];
    harness_open(&harness, &options);
    for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++)
        descriptors[i] = harness_connect(http_server_port(harness.server));
    struct buffer text AUTO_BUFFER = {0};
    /* The last one is not even asked what it wants. */
    assert_true(harness_read(&harness, descriptors[ARRAY_LENGTH(descriptors) - 1], NULL, &text));
    assert_int_equal(text.length, 0);
    send_text(descriptors[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(harness_read(&harness, descriptors[0], "hello", &text));
    for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++)
        close(descriptors[i]);
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_one_window),
        cmocka_unit_test(a_body_that_stalls_is_given_up),
        cmocka_unit_test(a_body_slower_than_the_rate_is_given_up),
        cmocka_unit_test(a_body_that_keeps_coming_is_taken),
        cmocka_unit_test(who_does_not_read_is_cut_off),
        cmocka_unit_test(a_connection_may_be_idle),
        cmocka_unit_test(work_on_this_side_is_not_the_clients_fault),
        cmocka_unit_test(work_may_take_longer_than_idling),
        cmocka_unit_test(nor_is_waiting_for_an_answer),
        cmocka_unit_test(an_address_has_so_many_connections),
        cmocka_unit_test(a_flood_from_one_address_is_closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
