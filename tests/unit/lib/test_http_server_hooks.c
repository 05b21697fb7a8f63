/* What a server's owner sees of each request, and answers that are not copied. */
#include "tests/unit/lib/http_harness.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/file.h"

#define READ_SIZE 1000000

/* Handlers run on threads of their own: what they note is read after the request has ended. */
struct notes {
    atomic_uint finished, released, handled, body_calls;
    struct http_summary last;
    char path[128], peer[64], user[64], values[128];
    int tag;
    atomic_bool refuses;
    uint64_t fails_at;
};

static struct notes *notes_of(void *data)
{
    return ((struct harness *)data)->mine;
}

static int admit(struct http_request *request, void *data)
{
    struct notes *notes = notes_of(data);
    http_request_set_user(request, "alice");
    if (!notes->refuses)
        return 0;
    http_request_respond(request, 401, "text/plain", "who?", 4);
    return -1;
}

static void on_finished(const struct http_summary *summary, void *data)
{
    struct notes *notes = notes_of(data);
    notes->last = *summary;
    snprintf(notes->path, sizeof notes->path, "%s %s", summary->method, summary->path);
    snprintf(notes->peer, sizeof notes->peer, "%s", summary->peer);
    snprintf(notes->user, sizeof notes->user, "%s", summary->user != NULL ? summary->user : "-");
    notes->finished++;
}

static bool add_value(const char *value, void *data)
{
    char *values = data;
    strcat(strcat(values, value), ";");
    return strcmp(value, "stop") != 0;
}

static void serve_plain(struct http_request *request, void *data)
{
    struct notes *notes = notes_of(data);
    notes->handled++;
    notes->tag = http_request_tag(request);
    notes->values[0] = '\0';
    http_request_query_each(request, "tag", add_value, notes->values);
    http_request_respond(request, 200, "text/plain", "hello", 5);
}

static int take_body(struct http_request *request, const void *bytes, size_t length, void *data)
{
    (void)request;
    (void)bytes;
    (void)length;
    notes_of(data)->body_calls++;
    return 0;
}

static void count_release(void *data)
{
    ((struct notes *)data)->released++;
}

static void serve_shared(struct http_request *request, void *data)
{
    static const char text[] = "the same bytes for everyone";
    http_request_respond_shared(request, 200, "text/plain", text, sizeof text - 1, count_release,
                                notes_of(data));
}

static ssize_t read_pattern(void *data, uint64_t offset, void *ret_bytes, size_t size)
{
    struct notes *notes = data;
    size_t left = READ_SIZE - (size_t)offset;
    if (notes->fails_at > 0 && offset >= notes->fails_at)
        return -1;
    size_t count = size < 7001 ? size : 7001;
    count = count < left ? count : left;
    for (size_t i = 0; i < count; i++)
        ((char *)ret_bytes)[i] = (char)('a' + (offset + i) % 26);
    return (ssize_t)count;
}

static void serve_reader(struct http_request *request, void *data)
{
    const struct http_body_reader reader = {
        .read = read_pattern, .release = count_release, .data = notes_of(data)};
    http_request_respond_reader(request, 200, "application/octet-stream", READ_SIZE, &reader);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/plain/{name...}", .handler = serve_plain, .tag = 42},
    {.method = "PUT",
     .pattern = "/body",
     .handler = serve_plain,
     .on_body = take_body,
     .body_limit = 1 << 20},
    {.method = "GET", .pattern = "/shared", .handler = serve_shared},
    {.method = "GET", .pattern = "/reader", .handler = serve_reader},
};

static void open_server(struct harness *harness, struct notes *notes)
{
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes),
                                                .admit = admit,
                                                .on_finished = on_finished};
    memset(notes, 0, sizeof *notes);
    harness_open(harness, &options);
    harness->mine = notes;
}

static void wait_count(struct harness *harness, atomic_uint *counter, unsigned wanted)
{
    for (int i = 0; i < 2000 && *counter < wanted; i++)
        harness_idle(harness, 5);
    assert_int_equal(*counter, wanted);
}

static void each_request_is_reported(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0};
    open_server(&harness, &notes);
    harness_fetch(&harness, (struct http_client_request){0}, "/plain/a%2Eb/c?tag=1&x=2&tag=3",
                  &result);
    wait_count(&harness, &notes.finished, 1);
    assert_int_equal(notes.last.status, 200);
    assert_int_equal(notes.last.bytes_out, 5);
    assert_string_equal(notes.path, "GET /plain/a.b/c");
    assert_string_equal(notes.peer, "127.0.0.1");
    assert_string_equal(notes.user, "alice");
    assert_string_equal(notes.values, "1;3;");
    assert_int_equal(notes.tag, 42);
    assert_string_equal(notes.last.route->pattern, "/plain/{name...}");

    harness_fetch(&harness, (struct http_client_request){0}, "/nowhere", &result);
    wait_count(&harness, &notes.finished, 2);
    assert_int_equal(notes.last.status, 404);
    assert_null(notes.last.route);
    assert_string_equal(notes.user, "-"); /* nobody is asked who they are for nothing */

    struct http_client_request put = {.method = "PUT", .body = "12345678", .body_length = 8};
    harness_fetch(&harness, put, "/body", &result);
    wait_count(&harness, &notes.finished, 3);
    assert_int_equal(notes.last.bytes_in, 8);
    result_clear(&result);
    harness_close(&harness);
}

static void all_values_of_a_long_query_are_seen(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0};
    open_server(&harness, &notes);
    AUTO_FREE char *path = xasprintf("/plain/a?long=%0600d", 0);
    char expected[128] = "";
    for (int i = 0; i < 20; i++) {
        AUTO_FREE char *before = path;
        path = xasprintf("%s&tag=%d", before, i);
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%d;", i);
    }
    harness_fetch(&harness, (struct http_client_request){0}, path, &result);
    assert_int_equal(result.status, 200);
    assert_string_equal(notes.values, expected);
    result_clear(&result);
    harness_close(&harness);
}

static void who_is_not_admitted_is_not_heard(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0};
    open_server(&harness, &notes);
    notes.refuses = true;
    struct http_client_request put = {.method = "PUT", .body = "12345678", .body_length = 8};
    harness_fetch(&harness, put, "/body", &result);
    assert_int_equal(result.status, 401);
    assert_string_equal(buffer_text(&result.body), "who?");
    assert_int_equal(notes.body_calls, 0);
    assert_int_equal(notes.handled, 0);
    notes.refuses = false;
    harness_fetch(&harness, put, "/body", &result);
    assert_int_equal(result.status, 200);
    assert_true(notes.body_calls >= 2);
    result_clear(&result);
    harness_close(&harness);
}

static void shared_bytes_are_released_once(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0};
    open_server(&harness, &notes);
    harness_fetch(&harness, (struct http_client_request){0}, "/shared", &result);
    assert_string_equal(buffer_text(&result.body), "the same bytes for everyone");
    wait_count(&harness, &notes.released, 1);
    harness_fetch(&harness, (struct http_client_request){.method = "HEAD"}, "/shared", &result);
    assert_string_equal(result.length, "27");
    assert_int_equal(result.body.length, 0);
    wait_count(&harness, &notes.released, 2);
    result_clear(&result);
    harness_close(&harness);
    assert_int_equal(notes.released, 2);
}

static void a_reader_gives_a_body_of_known_length(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0};
    open_server(&harness, &notes);
    harness_fetch(&harness, (struct http_client_request){0}, "/reader", &result);
    assert_int_equal(result.status, 200);
    assert_int_equal(result.body.length, READ_SIZE);
    for (size_t i = 0; i < READ_SIZE; i++)
        assert_int_equal(result.body.data[i], 'a' + i % 26);
    wait_count(&harness, &notes.released, 1);
    assert_int_equal(notes.last.bytes_out, READ_SIZE);
    harness_fetch(&harness, (struct http_client_request){.method = "HEAD"}, "/reader", &result);
    assert_string_equal(result.length, "1000000");
    wait_count(&harness, &notes.released, 2);
    result_clear(&result);
    harness_close(&harness);
}

static void a_reader_that_fails_cuts_the_connection(void **state)
{
    (void)state;
    struct harness harness;
    struct notes notes;
    struct result result = {0};
    open_server(&harness, &notes);
    notes.fails_at = 300000;
    harness_fetch(&harness, (struct http_client_request){0}, "/reader", &result);
    assert_true(result.failed);
    wait_count(&harness, &notes.released, 1);
    wait_count(&harness, &notes.finished, 1);
    assert_int_equal(notes.last.bytes_out, 0);
    result_clear(&result);
    harness_close(&harness);
}

/* --- a UNIX socket --- */

static int connect_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0)
        return descriptor;
    close(descriptor);
    return -1;
}

static void a_unix_socket_is_its_owners_alone(void **state)
{
    (void)state;
    char folder[] = "/tmp/shoal-unix.XXXXXX";
    struct harness harness = {0};
    struct notes notes = {0};
    struct http_server *second = NULL;
    struct error error = ERROR_INIT;
    struct stat status;
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *path = xasprintf("%s/socket", folder);
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .listen_unix = path,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes),
                                                .on_finished = on_finished,
                                                .data = &harness};
    harness.mine = &notes;
    /* One that is left from before is replaced. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    AUTO_CLOSE int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(http_server_create(&options, &harness.server, &error), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(http_server_create(&options, &second, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);

    static const char text[] = "GET /shared HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    char answer[1024] = "";
    size_t used = 0;
    AUTO_CLOSE int descriptor = connect_path(path);
    assert_true(descriptor >= 0);
    assert_int_equal(send(descriptor, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    for (ssize_t got; (got = recv(descriptor, answer + used, sizeof answer - 1 - used, 0)) > 0;)
        used += (size_t)got;
    assert_non_null(strstr(answer, "the same bytes"));
    http_server_destroy(harness.server, NULL, NULL);
    assert_string_equal(notes.peer, "");
    assert_int_equal(stat(path, &status), -1);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

static void a_path_that_no_socket_can_have_is_refused(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    struct http_server *server = NULL;
    char path[200];
    snprintf(path, sizeof path, "/tmp/%0150d", 1);
    struct http_server_options options = {
        .mode = HTTP_SERVER_THREADS, .listen_unix = path, .routes = routes, .route_count = 1};
    assert_int_equal(http_server_create(&options, &server, &error), -1);
    assert_non_null(strstr(error.message, "shorter folder"));
    options.listen_unix = "/dev/null";
    assert_int_equal(http_server_create(&options, &server, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
}

/* --- requests that are not answered any more --- */

static void note_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct notes *)data)->released++;
}

static void wait_for_ever(struct http_request *request, void *data)
{
    struct notes *notes = notes_of(data);
    notes->handled++;
    http_request_on_abandoned(request, note_abandoned, notes);
}

static void add_mark(struct http_request *request, void *data)
{
    (void)data;
    http_request_add_header(request, "Allow", "marked");
}

static const struct error *why_not(const struct http_request *request, void *data)
{
    return strcmp(http_request_path(request), "/away") == 0 ? data : NULL;
}

static void waiting_requests_are_answered_in_their_handlers_place(void **state)
{
    (void)state;
    static const struct http_route waiting_routes[] = {
        {.method = "GET", .pattern = "/{which}", .handler = wait_for_ever}};
    struct http_server_options options = {.mode = HTTP_SERVER_LOOP,
                                          .routes = waiting_routes,
                                          .route_count = 1,
                                          .on_answer = add_mark};
    struct harness harness;
    struct notes notes = {0};
    struct result away = {0}, staying = {0};
    struct error error = ERROR_INIT;
    harness_open(&harness, &options);
    harness.mine = &notes;
    AUTO_FREE char *first = harness_url(&harness, "/away");
    AUTO_FREE char *second = harness_url(&harness, "/staying");
    struct http_client_request request = {.url = first};
    assert_non_null(http_client_start(harness.client, &request, keep_result, &away, NULL));
    request.url = second;
    assert_non_null(http_client_start(harness.client, &request, keep_result, &staying, NULL));
    for (int i = 0; i < 1000 && notes.handled < 2; i++)
        harness_idle(&harness, 5);
    error_set(&error, ERROR_NO_LEADER, "it leads no more");
    http_server_abandon(harness.server, why_not, &error);
    assert_true(harness_wait(&harness, &away.done));
    assert_int_equal(away.status, 503);
    assert_non_null(strstr(buffer_text(&away.body), "no_leader"));
    assert_string_equal(away.allow, "marked");
    assert_int_equal(notes.released, 1);
    assert_false(staying.done);
    result_clear(&away);
    result_clear(&staying);
    harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_requests_are_answered_in_their_handlers_place),
        cmocka_unit_test(each_request_is_reported),
        cmocka_unit_test(all_values_of_a_long_query_are_seen),
        cmocka_unit_test(who_is_not_admitted_is_not_heard),
        cmocka_unit_test(shared_bytes_are_released_once),
        cmocka_unit_test(a_reader_gives_a_body_of_known_length),
        cmocka_unit_test(a_reader_that_fails_cuts_the_connection),
        cmocka_unit_test(a_unix_socket_is_its_owners_alone),
        cmocka_unit_test(a_path_that_no_socket_can_have_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
