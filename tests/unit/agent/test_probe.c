/* Checks through sockets that somebody else opens, against real listeners on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/health.h"
#include "lib/http_server.h"
#include "lib/log.h"

/* Generous: for a loaded machine. */
#define DEADLINE_MS 10000
#define INSTANCE    "0001000000a7"

struct fixture {
    uv_loop_t loop;
    uv_poll_t peer; /* the host half's end: gives sockets */
    int peer_descriptor;
    int sockets_given;
    bool refuses_sockets;
    struct host_client *host;
    struct http_client *http;
    struct http_server *server;
    int status; /* what the server answers */
    int requests;
    int under_way;   /* that are not answered */
    char who[16];    /* what the last one said of itself */
    char folder[64]; /* of consoles */
    struct probe *probe;
    struct health *health;
    int rises, falls;
    char message[REASON_MAX];
};

static void on_peer(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct fixture *fixture = poll->data;
    struct host_message message;
    int none;
    if (host_message_receive(fixture->peer_descriptor, &message, &none, NULL) != 1)
        return;
    struct host_message answer = {.type = HOST_ANSWER, .sequence = message.sequence};
    int descriptor = -1;
    if (fixture->refuses_sockets)
        answer.answer.code = ERROR_UNAVAILABLE;
    else
        descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    host_message_send(fixture->peer_descriptor, &answer, descriptor, NULL);
    if (descriptor >= 0)
        close(descriptor);
    fixture->sockets_given++;
}

static void ignore_instance(const struct host_instance *instance, void *data)
{
    (void)instance;
    (void)data;
}

static void ignore_frontend(const struct host_frontend *frontend, void *data)
{
    (void)frontend;
    (void)data;
}

static void ignore_lost(void *data)
{
    (void)data;
}

static void answer_status(struct http_request *request, void *data)
{
    struct fixture *fixture = data;
    const char *who = http_request_header(request, "X-Who");
    fixture->requests++;
    assert_int_equal(fixture->under_way, 0);
    snprintf(fixture->who, sizeof fixture->who, "%s", who != NULL ? who : "");
    http_request_respond(request, fixture->status, "text/plain", "all is fine", 11);
}

static void forget(struct http_request *request, void *data)
{
    (void)request;
    (void)data;
}

static void keep_waiting(struct http_request *request, void *data)
{
    struct fixture *fixture = data;
    http_request_on_abandoned(request, forget, NULL);
    fixture->requests++;
    fixture->under_way++;
}

static void start_server(struct fixture *fixture)
{
    static const struct http_route routes[] = {
        {.method = "GET", .pattern = "/healthz", .handler = answer_status},
        {.method = "GET", .pattern = "/slow", .handler = keep_waiting}};
    struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP,
        .loop = &fixture->loop,
        .address = "127.0.0.1",
        .routes = routes,
        .route_count = 2,
        .data = fixture,
    };
    struct error error = ERROR_INIT;
    if (http_server_create(&options, &fixture->server, &error) < 0)
        fail_msg("%s", error.message);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    uv_loop_init(&fixture->loop);
    fixture->status = 200;
    strcpy(fixture->folder, "/tmp/shoal-probe-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->peer_descriptor = pair[1];
    uv_poll_init(&fixture->loop, &fixture->peer, pair[1]);
    fixture->peer.data = fixture;
    uv_poll_start(&fixture->peer, UV_READABLE, on_peer);
    struct host_client_options options = {
        .loop = &fixture->loop,
        .channel = pair[0],
        .on_instance = ignore_instance,
        .on_frontend = ignore_frontend,
        .on_lost = ignore_lost,
    };
    fixture->http = http_client_create(&fixture->loop);
    *state = fixture;
    return host_client_create(&options, &fixture->host, NULL);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char path[200];
    snprintf(path, sizeof path, "%s/" INSTANCE ".log", fixture->folder);
    unlink(path);
    rmdir(fixture->folder);
    probe_destroy(fixture->probe);
    health_destroy(fixture->health);
    if (fixture->server != NULL)
        http_server_destroy(fixture->server, NULL, NULL);
    http_client_destroy(fixture->http);
    host_client_destroy(fixture->host);
    uv_close((uv_handle_t *)&fixture->peer, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture->loop);
    close(fixture->peer_descriptor);
    free(fixture);
    return status;
}

static void on_change(bool healthy, const char *message, void *data)
{
    struct fixture *fixture = data;
    if (healthy)
        fixture->rises++;
    else
        fixture->falls++;
    strncpy(fixture->message, message, sizeof fixture->message - 1);
}

static void on_ready(bool ready, const char *message, void *data)
{
    on_change(ready, message, data);
}

static void on_unhealthy(const char *message, void *data)
{
    on_change(false, message, data);
}

static void start_check(struct fixture *fixture, uint32_t port, const struct api_probe *check)
{
    struct probe_options options = {
        .loop = &fixture->loop,
        .http = fixture->http,
        .host = fixture->host,
        .name = "0001000000a7/readiness",
        .address = "127.0.0.1",
        .port = port,
        .check = check,
        .grace_ms = check->start_grace_ms,
        .console_folder = fixture->folder,
        .instance = INSTANCE,
        .on_change = on_change,
        .data = fixture,
    };
    fixture->probe = probe_create(&options);
}

static struct api_probe make_check(const char *path)
{
    struct api_probe check = {.every_ms = 20, .timeout_ms = 500, .rise = 1, .fall = 2};
    check.has_http = path != NULL;
    check.has_tcp = path == NULL;
    if (path != NULL)
        strcpy(check.http.path, path);
    return check;
}

static void start_probe(struct fixture *fixture, uint32_t port, const char *path)
{
    struct api_probe check = make_check(path);
    start_check(fixture, port, &check);
}

/* Runs the loop until `*counter` is `wanted`. */
static void run_until(struct fixture *fixture, const int *counter, int wanted)
{
    uint64_t deadline = uv_hrtime() / 1000000 + DEADLINE_MS;
    while (*counter < wanted && uv_hrtime() / 1000000 < deadline)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_true(*counter >= wanted);
}

static uint32_t closed_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(descriptor, (struct sockaddr *)&address, &length), 0);
    close(descriptor);
    return ntohs(address.sin_port);
}

static void a_status_of_200_passes(void **state)
{
    struct fixture *fixture = *state;
    start_server(fixture);
    start_probe(fixture, http_server_port(fixture->server), "/healthz");
    run_until(fixture, &fixture->rises, 1);
    assert_true(fixture->sockets_given >= 1);
}

static void a_status_of_500_fails_and_is_named(void **state)
{
    struct fixture *fixture = *state;
    start_server(fixture);
    start_probe(fixture, http_server_port(fixture->server), "/healthz");
    run_until(fixture, &fixture->rises, 1);
    fixture->status = 500;
    run_until(fixture, &fixture->falls, 1);
    assert_non_null(strstr(fixture->message, "status 500"));
    fixture->status = 302;
    run_until(fixture, &fixture->rises, 2);
}

static void it_asks_again_and_again_while_nobody_listens(void **state)
{
    struct fixture *fixture = *state;
    start_probe(fixture, closed_port(), "/healthz");
    run_until(fixture, &fixture->sockets_given, 5);
    assert_int_equal(fixture->rises, 0);
}

static void a_connect_is_enough_for_tcp(void **state)
{
    struct fixture *fixture = *state;
    start_server(fixture);
    start_probe(fixture, http_server_port(fixture->server), NULL);
    run_until(fixture, &fixture->rises, 1);
    assert_int_equal(fixture->requests, 0);
}

static void a_refused_connect_fails(void **state)
{
    struct fixture *fixture = *state;
    start_probe(fixture, closed_port(), NULL);
    run_until(fixture, &fixture->sockets_given, 5);
    assert_int_equal(fixture->rises, 0);
}

static void no_socket_says_nothing_about_the_guest(void **state)
{
    struct fixture *fixture = *state;
    start_server(fixture);
    start_probe(fixture, http_server_port(fixture->server), NULL);
    run_until(fixture, &fixture->rises, 1);
    fixture->refuses_sockets = true;
    run_until(fixture, &fixture->sockets_given, fixture->sockets_given + 5);
    assert_int_equal(fixture->falls, 0);
}

static void a_destroyed_probe_is_silent(void **state)
{
    struct fixture *fixture = *state;
    start_server(fixture);
    start_probe(fixture, http_server_port(fixture->server), "/healthz");
    run_until(fixture, &fixture->sockets_given, 1);
    probe_destroy(fixture->probe);
    fixture->probe = NULL;
    for (int i = 0; i < 20; i++)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->rises, 0);
}

static void other_statuses_pass_where_they_are_named(void **state)
{
    struct fixture *fixture = *state;
    struct api_probe check = make_check("/healthz");
    strcpy(check.http.status, "200,503");
    start_server(fixture);
    fixture->status = 503;
    start_check(fixture, http_server_port(fixture->server), &check);
    run_until(fixture, &fixture->rises, 1);
    fixture->status = 204;
    run_until(fixture, &fixture->falls, 1);
    assert_non_null(strstr(fixture->message, "status 204"));
}

static void the_body_has_to_have_the_text(void **state)
{
    struct fixture *fixture = *state;
    struct api_probe check = make_check("/healthz");
    char wanted[] = "is fine", other[] = "is bad";
    check.http.body = wanted;
    start_server(fixture);
    start_check(fixture, http_server_port(fixture->server), &check);
    run_until(fixture, &fixture->rises, 1);
    probe_destroy(fixture->probe);
    check.http.body = other;
    start_check(fixture, http_server_port(fixture->server), &check);
    run_until(fixture, &fixture->requests, fixture->requests + 4);
    assert_int_equal(fixture->rises, 1);
}

static void headers_are_sent(void **state)
{
    struct fixture *fixture = *state;
    struct api_probe check = make_check("/healthz");
    json_map_set(&check.http.headers, "X-Who", "a check");
    start_server(fixture);
    start_check(fixture, http_server_port(fixture->server), &check);
    json_map_release(&check.http.headers);
    run_until(fixture, &fixture->rises, 1);
    assert_string_equal(fixture->who, "a check");
}

static void failures_within_the_grace_do_not_count(void **state)
{
    struct fixture *fixture = *state;
    struct api_probe check = make_check("/healthz");
    check.start_grace_ms = 3600 * 1000;
    start_server(fixture);
    start_check(fixture, http_server_port(fixture->server), &check);
    run_until(fixture, &fixture->rises, 1);
    fixture->status = 500;
    run_until(fixture, &fixture->requests, fixture->requests + 6);
    assert_int_equal(fixture->falls, 0);
}

static void write_console(const struct fixture *fixture, const char *line)
{
    char path[200];
    snprintf(path, sizeof path, "%s/" INSTANCE ".log", fixture->folder);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fprintf(file, "2026-11-26T02:14:50.123Z %s\n", line);
    fclose(file);
}

static void a_line_of_the_console_passes_once_and_for_all(void **state)
{
    struct fixture *fixture = *state;
    char pattern[] = "listening on *:80";
    struct api_probe check = {.every_ms = 20,
                              .timeout_ms = 500,
                              .rise = 1,
                              .fall = 1,
                              .has_console = true,
                              .console.pattern = pattern};
    start_check(fixture, 0, &check);
    for (int i = 0; i < 5; i++)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    write_console(fixture, "M listening on the agent's behalf:80");
    write_console(fixture, "L listens");
    for (int i = 0; i < 5; i++)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(fixture->rises, 0);
    write_console(fixture, "L now listening on 10.0.0.2:80 as asked");
    run_until(fixture, &fixture->rises, 1);
    assert_int_equal(fixture->sockets_given, 0);
}

static void no_check_begins_before_the_last_is_over(void **state)
{
    struct fixture *fixture = *state;
    struct api_probe check = make_check("/slow");
    check.timeout_ms = 60000;
    start_server(fixture);
    start_check(fixture, http_server_port(fixture->server), &check);
    run_until(fixture, &fixture->requests, 1);
    for (uint64_t end = uv_hrtime() + 200 * 1000 * 1000; uv_hrtime() < end;)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->requests, 1);
}

/* It was ready in this boot, is not now, and is watched anew: by an agent that started since, or
 * because its checks changed. */
static void liveness_counts_again_though_it_is_not_ready(void **state)
{
    struct fixture *fixture = *state;
    struct api_port port = {.name = "http", .port = closed_port()};
    struct api_probe check = make_check("/healthz");
    strcpy(check.http.port, "http");
    struct api_assigned_instance assigned = {
        .id = INSTANCE,
        .address = "127.0.0.1",
        .ports = &port,
        .port_count = 1,
        .health = {
            .has_readiness = true, .readiness = check, .has_liveness = true, .liveness = check}};
    struct health_options options = {
        .loop = &fixture->loop,
        .http = fixture->http,
        .host = fixture->host,
        .assigned = &assigned,
        .has_been_ready = true,
        .console_folder = fixture->folder,
        .on_ready = on_ready,
        .on_unhealthy = on_unhealthy,
        .data = fixture,
    };
    fixture->health = health_create(&options);
    run_until(fixture, &fixture->falls, 1);
    assert_int_equal(fixture->rises, 0);
}

/* As a standby that is resumed. */
static void what_was_written_counts_though_the_clock_was_set_since(void **state)
{
    struct fixture *fixture = *state;
    char pattern[] = "listening";
    struct api_assigned_instance assigned = {.id = INSTANCE,
                                             .health = {.has_readiness = true,
                                                        .readiness = {.every_ms = 20,
                                                                      .timeout_ms = 500,
                                                                      .rise = 1,
                                                                      .fall = 1,
                                                                      .has_console = true,
                                                                      .console.pattern = pattern}}};
    struct health_options options = {
        .loop = &fixture->loop,
        .http = fixture->http,
        .host = fixture->host,
        .assigned = &assigned,
        .has_been_ready = true,
        .boot_age_ms = 1000,
        .now_wall_ms = UINT64_C(4102444800000), /* 2100 */
        .console_folder = fixture->folder,
        .on_ready = on_ready,
        .on_unhealthy = on_unhealthy,
        .data = fixture,
    };
    write_console(fixture, "L now listening");
    fixture->health = health_create(&options);
    /* Without waiting: nothing is left to wait for once it has risen. */
    for (uint64_t end = uv_hrtime() + (uint64_t)DEADLINE_MS * 1000000; uv_hrtime() < end;) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        if (fixture->rises > 0)
            break;
    }
    assert_int_equal(fixture->rises, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_status_of_200_passes),
        TEST(a_status_of_500_fails_and_is_named),
        TEST(it_asks_again_and_again_while_nobody_listens),
        TEST(a_connect_is_enough_for_tcp),
        TEST(a_refused_connect_fails),
        TEST(no_socket_says_nothing_about_the_guest),
        TEST(a_destroyed_probe_is_silent),
        TEST(other_statuses_pass_where_they_are_named),
        TEST(the_body_has_to_have_the_text),
        TEST(headers_are_sent),
        TEST(failures_within_the_grace_do_not_count),
        TEST(a_line_of_the_console_passes_once_and_for_all),
        TEST(no_check_begins_before_the_last_is_over),
        TEST(liveness_counts_again_though_it_is_not_ready),
        TEST(what_was_written_counts_though_the_clock_was_set_since),
    };
#undef TEST
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
