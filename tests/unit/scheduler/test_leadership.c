/* A scheduler whose store takes the lease away from it. */
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
#include "lib/oci_client.h"
#include "lib/xalloc.h"
#include "scheduler/forward.h"
#include "scheduler/leadership.h"
#include "scheduler/store_interface.h"
#include "scheduler/store_sqlite.h"
#include "tests/unit/lib/http_harness.h"

struct fixture {
    struct core core;
    struct scheduler_options options;
    uv_loop_t loop;
    uv_timer_t ticks;
    char directory[64];
    const struct store_implementation *sqlite;
    struct store_implementation implementation; /* the same, which knows who asked for the lease */
    store_lead_callback *on_lead;
    void *on_lead_data;
    unsigned lost;
    bool gives_no_lease; /* the store: somebody else has it */
    bool is_slow;        /* the store: what is listed behind the first page does not come */
    unsigned lists;
    struct http_server *registry;
    bool is_asked, is_let_go, is_answered; /* the registry, and by it */
};

static struct fixture *fixture_of(const struct store *store)
{
    return (void *)((char *)(uintptr_t)store->implementation -
                    offsetof(struct fixture, implementation));
}

static void list_slowly(struct store *store, const char *prefix, const char *after, size_t limit,
                        store_list_callback *callback, void *data)
{
    struct fixture *fixture = fixture_of(store);
    if (!fixture->is_slow || fixture->lists++ == 0)
        fixture->sqlite->list(store, prefix, after, limit, callback, data);
}

static void keep_lead(struct store *store, const char *document, store_lead_callback *callback,
                      void *data)
{
    struct fixture *fixture = fixture_of(store);
    fixture->on_lead = callback;
    fixture->on_lead_data = data;
    if (!fixture->gives_no_lease)
        fixture->sqlite->lead(store, document, callback, data);
}

static void take_lease_away(struct fixture *fixture)
{
    store_tell_leading(fixture->core.store, false, fixture->on_lead, fixture->on_lead_data);
}

static void on_lost(void *data)
{
    ((struct fixture *)data)->lost++;
}

static void ignore(void *data)
{
    (void)data;
}

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

static void run_until_it_leads(struct fixture *fixture)
{
    uint64_t end = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);
    while (leadership_phase(fixture->core.leadership) != LEADERSHIP_LEADING && uv_hrtime() < end)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(leadership_phase(fixture->core.leadership), LEADERSHIP_LEADING);
}

static void on_let_go(struct http_request *request, void *data)
{
    (void)request;
    ((struct fixture *)data)->is_let_go = true;
}

static void keep_waiting(struct http_request *request, void *data)
{
    http_request_on_abandoned(request, on_let_go, data);
    ((struct fixture *)data)->is_asked = true;
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
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u", http_server_port(fixture->registry));
    struct oci_client_options client = {.http = fixture->core.http, .url = url, .attempts = 1};
    fixture->core.registry = oci_client_create(&client);
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    struct core *core = &fixture->core;
    strcpy(fixture->directory, "/tmp/shoal-leadership.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    uv_loop_init(&fixture->loop);
    uv_timer_init(&fixture->loop, &fixture->ticks);
    uv_timer_start(&fixture->ticks, on_tick, 10, 10);
    fixture->options.lease_ms = 10000;
    fixture->options.network = "10.64.0.0/10";
    core->options = &fixture->options;
    core->loop = &fixture->loop;
    core->clock = clock_system();
    core->wakeups = wakeup_source_loop(&fixture->loop);
    core->http = http_client_create(&fixture->loop);
    model_init(&core->model);
    struct store_sqlite_options store = {fixture->directory, false};
    assert_int_equal(store_sqlite_open(&fixture->loop, &store, &core->store, NULL), 0);
    fixture->sqlite = core->store->implementation;
    fixture->implementation = *fixture->sqlite;
    fixture->implementation.lead = keep_lead;
    fixture->implementation.list = list_slowly;
    core->store->implementation = &fixture->implementation;
    open_registry(fixture);
    struct leadership_options options = {
        .on_lost = on_lost, .on_leader = ignore, .on_seen = ignore, .data = fixture};
    core->leadership = leadership_create(core, &options);
    leadership_campaign(core->leadership, "http://127.0.0.1:1");
    run_until_it_leads(fixture);
    *state = fixture;
    return 0;
}

static void end(void *data)
{
    struct fixture *fixture = data;
    struct core *core = &fixture->core;
    oci_client_destroy(core->registry);
    core->registry = NULL;
    leadership_close(core->leadership);
    http_client_destroy(core->http);
    http_server_destroy(fixture->registry, NULL, NULL);
    store_destroy(core->store);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    uv_close((uv_handle_t *)&fixture->ticks, NULL);
    leadership_stop(fixture->core.leadership);
    changes_when_idle(fixture->core.changes, end, fixture);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    leadership_destroy(fixture->core.leadership);
    model_finish(&fixture->core.model);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

static void who_leads_again_has_counted_another_start(void **state)
{
    struct fixture *fixture = *state;
    uint64_t base = fixture->core.revision_base;
    assert_int_equal(base, UINT64_C(1) << 32);
    take_lease_away(fixture);
    assert_int_equal(fixture->lost, 1);
    assert_int_not_equal(leadership_phase(fixture->core.leadership), LEADERSHIP_LEADING);
    assert_null(fixture->core.controller);
    assert_null(fixture->core.publication);
    run_until_it_leads(fixture);
    assert_int_equal(fixture->core.revision_base, UINT64_C(2) << 32);
    assert_int_equal(fixture->core.model.counters.starts, 2);
}

static void note_answer(const struct oci_result *result, void *data)
{
    (void)result;
    ((struct fixture *)data)->is_answered = true;
}

static void who_steps_down_hears_nothing_of_the_registry_any_more(void **state)
{
    struct fixture *fixture = *state;
    oci_client_get_manifest(fixture->core.registry, "hello", "1.0", note_answer, fixture);
    run_until(fixture, &fixture->is_asked);
    take_lease_away(fixture);
    run_until(fixture, &fixture->is_let_go);
    run_until_it_leads(fixture);
    assert_false(fixture->is_answered);
    /* It is asked again as before. */
    fixture->is_asked = false;
    oci_client_get_manifest(fixture->core.registry, "hello", "1.0", note_answer, fixture);
    run_until(fixture, &fixture->is_asked);
}

static void keep_version(const struct http_client_response *response, void *data)
{
    ((struct fixture *)data)->is_answered = true;
    assert_int_equal(response->status, 200);
    assert_non_null(strstr(response->body, "\"phase\":\"loading\""));
}

static void who_reads_the_store_tells_so_itself(void **state)
{
    struct fixture *fixture = *state;
    size_t count;
    AUTO_FREE struct http_route *routes = forward_routes(&count);
    struct http_server_options options = {.mode = HTTP_SERVER_LOOP,
                                          .loop = &fixture->loop,
                                          .address = "127.0.0.1",
                                          .routes = routes,
                                          .route_count = count,
                                          .data = &fixture->core};
    struct http_server *server;
    assert_int_equal(http_server_create(&options, &server, NULL), 0);
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u/version", http_server_port(server));
    fixture->is_slow = true;
    take_lease_away(fixture);
    while (leadership_can_read(fixture->core.leadership))
        uv_run(&fixture->loop, UV_RUN_ONCE);
    struct http_client_request request = {.url = url};
    assert_non_null(http_client_start(fixture->core.http, &request, keep_version, fixture, NULL));
    run_until(fixture, &fixture->is_answered);
    http_server_destroy(server, NULL, NULL);
}

/* ---- who does not lead asks who does ---- */

#define LOG_SIZE ((size_t)4 << 20)

static void send_log(struct http_request *request, void *data)
{
    (void)data;
    AUTO_FREE char *text = xmalloc(LOG_SIZE);
    memset(text, 'x', LOG_SIZE);
    http_request_respond(request, 200, "text/plain", text, LOG_SIZE);
}

static struct http_server *open_server(struct fixture *fixture, const struct http_route *routes,
                                       size_t count)
{
    struct http_server *server;
    struct http_server_options options = {.mode = HTTP_SERVER_LOOP,
                                          .loop = &fixture->loop,
                                          .address = "127.0.0.1",
                                          .routes = routes,
                                          .route_count = count,
                                          .data = &fixture->core};
    assert_int_equal(http_server_create(&options, &server, NULL), 0);
    return server;
}

static void run_for(struct fixture *fixture, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * UINT64_C(1000000);
    while (uv_hrtime() < end)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

/* More than is queued for a reader, who looks at it only later. */
static void a_slow_reader_is_sent_all_of_a_log_of_the_leader(void **state)
{
    struct fixture *fixture = *state;
    static const struct http_route log_route[] = {
        {.method = "GET", .pattern = "/{rest...}", .handler = send_log}};
    static const char question[] =
        "GET /v1/instances/0001000000a1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    size_t count, received = 0;
    AUTO_FREE struct http_route *routes = forward_routes(&count);
    struct http_server *leader = open_server(fixture, log_route, 1);
    struct http_server *server = open_server(fixture, routes, count);
    fixture->gives_no_lease = true;
    take_lease_away(fixture);
    AUTO_FREE char *document =
        xasprintf("{\"address\": \"http://127.0.0.1:%u\"}", http_server_port(leader));
    store_tell_leader(fixture->core.store, document);
    AUTO_CLOSE int reader = harness_connect(http_server_port(server));
    assert_int_equal(send(reader, question, strlen(question), 0), strlen(question));
    run_for(fixture, 300);
    for (uint64_t end = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000); uv_hrtime() < end;) {
        static char bytes[65536];
        ssize_t got = recv(reader, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got == 0)
            break;
        received += got > 0 ? (size_t)got : 0;
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
    assert_true(received > LOG_SIZE);
    http_server_destroy(server, NULL, NULL);
    http_server_destroy(leader, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_leads_again_has_counted_another_start, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_steps_down_hears_nothing_of_the_registry_any_more,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_reads_the_store_tells_so_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_reader_is_sent_all_of_a_log_of_the_leader, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
