/* The conversation with a scheduler, against a server on loopback that says what the test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/scheduler_link.h"
#include "lib/http_server.h"
#include "lib/log.h"

#define DEADLINE_MS 10000
#define JOINED(cluster, term)                                                                      \
    "{\"cluster\":\"" cluster "\",\"term\":" term ",\"subnet\":\"10.64.0.0/24\","                  \
    "\"heartbeat_ms\":50,\"lease_ms\":1000,\"takes_changes\":true}"
#define ASSIGNMENT(cluster, term, revision, full)                                                  \
    "{\"cluster\":\"" cluster "\",\"term\":" term ",\"revision\":" revision ",\"full\":" full      \
    ",\"registry\":\"http://127.0.0.1:1\",\"instances\":[]}"

struct fixture {
    uv_loop_t loop;
    struct http_client *http;
    struct http_server *server;
    struct http_server *standby; /* another one that knows of no leader */
    struct scheduler_link *link;
    char url[64];
    char others[128]; /* addresses that are asked before it, with a comma behind */
    /* What the server says. */
    const char *join;
    const char *assignment; /* to a poll for what is newer than `held`; NULL: 204 */
    uint64_t held;
    int assignment_status; /* 0: 200 or 204 */
    int status_status;     /* of a posted status; 0: 200 */
    bool wants_whole;      /* answers that the base is not known */
    bool is_denied;        /* a join is */
    bool is_leaderless;    /* the standby says that nobody leads; else it hangs */
    /* What was seen. */
    int asked_standby;
    int joins, polls, whole_polls, statuses, whole_statuses, assignments, joined;
    struct api_status status;
    uint64_t last_sequence;
    bool is_sequence_wrong;
    uint64_t applied_revision;
};

/* --- the server --- */

static void respond(struct http_request *request, int status, const char *text)
{
    http_request_respond(request, status, "application/json", text, strlen(text));
}

static void handle_join(struct http_request *request, void *data)
{
    struct fixture *fixture = data;
    fixture->joins++;
    if (fixture->is_denied)
        respond(request, 403, "{\"error\": {\"code\": \"denied\", \"message\": \"removed\"}}");
    else
        respond(request, 200, fixture->join);
}

static void handle_status(struct http_request *request, void *data)
{
    struct fixture *fixture = data;
    size_t length;
    const char *body = http_request_body(request, &length);
    json_record_release(&api_status_record, &fixture->status);
    fixture->status = (struct api_status){0};
    assert_int_equal(
        json_parse_record(&api_status_record, body, length, JSON_STRICT, &fixture->status, NULL),
        0);
    fixture->is_sequence_wrong |= fixture->status.sequence <= fixture->last_sequence;
    fixture->last_sequence = fixture->status.sequence;
    fixture->statuses++;
    fixture->whole_statuses += fixture->status.base == 0;
    respond(request, fixture->status_status != 0 ? fixture->status_status : 200,
            fixture->wants_whole ? "{\"whole\": true}" : "{}");
}

static void handle_assignment(struct http_request *request, void *data)
{
    struct fixture *fixture = data;
    const char *after = http_request_query(request, "after");
    fixture->polls++;
    fixture->whole_polls += after == NULL;
    if (fixture->assignment_status != 0 && after != NULL)
        respond(request, fixture->assignment_status, "{}");
    else if (fixture->assignment == NULL ||
             (after != NULL && strtoull(after, NULL, 10) >= fixture->held))
        respond(request, 204, "");
    else
        respond(request, 200, fixture->assignment);
}

static void forget(struct http_request *request, void *data)
{
    (void)request;
    (void)data;
}

static void handle_nothing(struct http_request *request, void *data)
{
    const struct fixture *fixture = data;
    /* One that fails here would be left for another one. */
    if (fixture->others[0] == '\0')
        respond(request, 503, "{}");
    else
        http_request_on_abandoned(request, forget, NULL);
}

/* --- the owner --- */

static void fill_join(struct api_join *join, void *data)
{
    (void)data;
    strcpy(join->address, "127.0.0.1:1");
}

static void fill_status(struct api_status *status, void *data)
{
    (void)data;
    status->trust_revision = 5;
    status->endpoints_revision = 7;
}

static void on_joined(const struct api_join_answer *answer, void *data)
{
    struct fixture *fixture = data;
    (void)answer;
    fixture->joined++;
    scheduler_link_begin(fixture->link);
}

static void on_assignment(const struct api_assignment *assignment, void *data)
{
    struct fixture *fixture = data;
    fixture->assignments++;
    fixture->applied_revision = assignment->revision;
}

static void on_endpoints(const struct api_endpoints *endpoints, void *data)
{
    (void)endpoints;
    (void)data;
}

static void on_trust(const struct api_trust *trust, void *data)
{
    (void)trust;
    (void)data;
}

static int set_up(void **state)
{
    static const struct http_route routes[] = {
        {.method = "POST",
         .pattern = "/v1/nodes/n1/join",
         .handler = handle_join,
         .body_limit = 65536},
        {.method = "POST",
         .pattern = "/v1/nodes/n1/status",
         .handler = handle_status,
         .body_limit = 65536},
        {.method = "GET", .pattern = "/v1/nodes/n1/assignment", .handler = handle_assignment},
        {.method = "GET", .pattern = "/v1/nodes/n1/{other}", .handler = handle_nothing},
    };
    struct fixture *fixture = calloc(1, sizeof *fixture);
    uv_loop_init(&fixture->loop);
    struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP,
        .loop = &fixture->loop,
        .address = "127.0.0.1",
        .routes = routes,
        .route_count = 4,
        .data = fixture,
        .protocol = SHOAL_PROTOCOL,
    };
    fixture->http = http_client_create(&fixture->loop);
    fixture->join = JOINED("c1", "3");
    *state = fixture;
    if (http_server_create(&options, &fixture->server, NULL) < 0)
        return -1;
    snprintf(fixture->url, sizeof fixture->url, "http://127.0.0.1:%u",
             http_server_port(fixture->server));
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    scheduler_link_destroy(fixture->link);
    http_client_destroy(fixture->http);
    http_server_destroy(fixture->server, NULL, NULL);
    http_server_destroy(fixture->standby, NULL, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture->loop);
    json_record_release(&api_status_record, &fixture->status);
    free(fixture);
    return status;
}

static void start(struct fixture *fixture, const struct freshness *applied)
{
    struct addresses schedulers;
    char list[sizeof fixture->others + sizeof fixture->url];
    snprintf(list, sizeof list, "%s%s", fixture->others, fixture->url);
    assert_int_equal(addresses_parse(list, "test", &schedulers, NULL), 0);
    struct scheduler_link_options options = {
        .loop = &fixture->loop,
        .http = fixture->http,
        .schedulers = &schedulers,
        .node = "n1",
        .fill_join = fill_join,
        .fill_status = fill_status,
        .on_joined = on_joined,
        .on_assignment = on_assignment,
        .on_endpoints = on_endpoints,
        .on_trust = on_trust,
        .data = fixture,
    };
    for (int i = 0; applied != NULL && i < SCHEDULER_DOCUMENTS; i++)
        options.applied[i] = *applied;
    fixture->link = scheduler_link_create(&options);
}

/* Runs the loop until `*counter` is `wanted`. */
static void run_until(struct fixture *fixture, const int *counter, int wanted)
{
    uint64_t deadline = uv_hrtime() / 1000000 + DEADLINE_MS;
    while (*counter < wanted && uv_hrtime() / 1000000 < deadline)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_true(*counter >= wanted);
}

/* --- what it does --- */

static void it_joins_and_sends_statuses_in_ascending_order(void **state)
{
    struct fixture *fixture = *state;
    start(fixture, NULL);
    run_until(fixture, &fixture->statuses, 4);
    assert_int_equal(fixture->joins, 1);
    assert_false(fixture->is_sequence_wrong);
    assert_string_equal(fixture->status.cluster, "c1");
    assert_string_equal(fixture->status.node, "n1");
    assert_int_equal(fixture->status.trust_revision, 5);
    assert_int_equal(strlen(fixture->status.epoch), 16);
}

static void what_the_scheduler_knows_is_not_said_again_until_it_asks(void **state)
{
    struct fixture *fixture = *state;
    start(fixture, NULL);
    run_until(fixture, &fixture->statuses, 4);
    assert_int_equal(fixture->whole_statuses, 1);
    assert_int_equal(fixture->status.base, fixture->status.sequence - 1);
    fixture->wants_whole = true;
    run_until(fixture, &fixture->statuses, fixture->statuses + 1);
    fixture->wants_whole = false;
    run_until(fixture, &fixture->whole_statuses, 2);
    run_until(fixture, &fixture->statuses, fixture->statuses + 2);
    assert_int_equal(fixture->whole_statuses, 2);
}

static void the_agent_of_a_node_that_was_removed_asks_once(void **state)
{
    struct fixture *fixture = *state;
    fixture->is_denied = true;
    start(fixture, NULL);
    run_until(fixture, &fixture->joins, 1);
    uint64_t until = uv_hrtime() / 1000000 + 500;
    while (uv_hrtime() / 1000000 < until) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(fixture->joins, 1);
    assert_false(scheduler_link_is_joined(fixture->link));
}

static void an_older_scheduler_is_told_everything(void **state)
{
    struct fixture *fixture = *state;
    fixture->join = "{\"cluster\":\"c1\",\"term\":3,\"subnet\":\"10.64.0.0/24\","
                    "\"heartbeat_ms\":50,\"lease_ms\":1000}";
    start(fixture, NULL);
    run_until(fixture, &fixture->statuses, 3);
    assert_int_equal(fixture->whole_statuses, fixture->statuses);
}

static void an_assignment_is_handed_on_and_its_revision_reported(void **state)
{
    struct fixture *fixture = *state;
    fixture->assignment = ASSIGNMENT("c1", "3", "9", "true");
    fixture->held = 9;
    start(fixture, NULL);
    run_until(fixture, &fixture->assignments, 1);
    assert_int_equal(fixture->applied_revision, 9);
    run_until(fixture, &fixture->statuses, fixture->statuses + 2);
    assert_int_equal(fixture->status.assignment_revision, 9);
    assert_int_equal(fixture->status.term, 3);
}

static void endpoints_of_an_earlier_term_are_not_confirmed_in_a_new_one(void **state)
{
    struct fixture *fixture = *state;
    fixture->join = JOINED("c1", "4");
    start(fixture, &(struct freshness){"c1", 3, 9});
    run_until(fixture, &fixture->statuses, 2);
    assert_int_equal(fixture->status.term, 3);
    assert_int_equal(fixture->status.endpoints_revision, 7);
    fixture->assignment = ASSIGNMENT("c1", "4", "2", "true");
    fixture->held = 2;
    run_until(fixture, &fixture->assignments, 1);
    run_until(fixture, &fixture->statuses, fixture->statuses + 2);
    assert_int_equal(fixture->status.term, 4);
    assert_int_equal(fixture->status.endpoints_revision, 0);
}

static void after_a_start_the_whole_is_asked_for_and_the_same_again_taken(void **state)
{
    struct fixture *fixture = *state;
    fixture->assignment = ASSIGNMENT("c1", "3", "9", "true");
    fixture->held = 9;
    start(fixture, &(struct freshness){"c1", 3, 9});
    run_until(fixture, &fixture->assignments, 1);
    assert_int_equal(fixture->whole_polls, 1);
}

static void an_older_assignment_is_not_handed_on(void **state)
{
    struct fixture *fixture = *state;
    fixture->assignment = ASSIGNMENT("c1", "3", "8", "true");
    fixture->held = 8;
    start(fixture, &(struct freshness){"c1", 3, 9});
    run_until(fixture, &fixture->polls, 3);
    assert_int_equal(fixture->assignments, 0);
    /* Once there is a newer one it is taken. */
    fixture->assignment = ASSIGNMENT("c1", "3", "10", "true");
    run_until(fixture, &fixture->assignments, 1);
}

static void another_clusters_assignment_is_not_handed_on(void **state)
{
    struct fixture *fixture = *state;
    fixture->assignment = ASSIGNMENT("c2", "7", "70", "true");
    start(fixture, NULL);
    run_until(fixture, &fixture->polls, 3);
    assert_int_equal(fixture->assignments, 0);
}

static void another_cluster_is_not_joined(void **state)
{
    struct fixture *fixture = *state;
    fixture->join = JOINED("c2", "3");
    start(fixture, &(struct freshness){"c1", 3, 9});
    run_until(fixture, &fixture->joins, 2);
    assert_int_equal(fixture->joined, 0);
    assert_int_equal(fixture->statuses, 0);
}

static void an_older_term_is_not_joined(void **state)
{
    struct fixture *fixture = *state;
    fixture->join = JOINED("c1", "2");
    start(fixture, &(struct freshness){"c1", 3, 9});
    run_until(fixture, &fixture->joins, 2);
    assert_int_equal(fixture->joined, 0);
}

static void compacted_means_the_whole(void **state)
{
    struct fixture *fixture = *state;
    fixture->assignment = ASSIGNMENT("c1", "3", "9", "true");
    fixture->held = 9;
    fixture->assignment_status = 410;
    start(fixture, NULL);
    run_until(fixture, &fixture->whole_polls, 3);
    assert_true(fixture->assignments >= 2);
}

static void a_delta_of_a_new_term_means_the_whole(void **state)
{
    struct fixture *fixture = *state;
    fixture->join = JOINED("c1", "4");
    fixture->assignment = ASSIGNMENT("c1", "4", "2", "false");
    fixture->held = 2;
    start(fixture, &(struct freshness){"c1", 3, 9});
    run_until(fixture, &fixture->whole_polls, 2);
    assert_int_equal(fixture->assignments, 0);
}

static void a_scheduler_that_forgot_the_node_is_joined_again(void **state)
{
    struct fixture *fixture = *state;
    start(fixture, NULL);
    run_until(fixture, &fixture->statuses, 1);
    fixture->status_status = 412;
    run_until(fixture, &fixture->joins, 2);
    fixture->status_status = 0;
    run_until(fixture, &fixture->joined, 2);
    assert_false(fixture->is_sequence_wrong);
}

/* --- several schedulers --- */

static void handle_standby(struct http_request *request, void *data)
{
    struct fixture *fixture = data;
    fixture->asked_standby++;
    if (fixture->is_leaderless)
        respond(request, 503, "{\"error\":{\"code\":\"no_leader\",\"message\":\"none\"}}");
    else
        http_request_on_abandoned(request, forget, NULL);
}

static void add_standby(struct fixture *fixture)
{
    static const struct http_route routes[] = {
        {.method = "GET", .pattern = "/{any...}", .handler = handle_standby},
        {.method = "POST", .pattern = "/{any...}", .handler = handle_standby, .body_limit = 65536},
    };
    struct http_server_options options = {.mode = HTTP_SERVER_LOOP,
                                          .loop = &fixture->loop,
                                          .address = "127.0.0.1",
                                          .routes = routes,
                                          .route_count = 2,
                                          .data = fixture};
    assert_int_equal(http_server_create(&options, &fixture->standby, NULL), 0);
    snprintf(fixture->others, sizeof fixture->others, "http://127.0.0.1:%u,",
             http_server_port(fixture->standby));
    fixture->assignment = ASSIGNMENT("c1", "3", "9", "true");
    fixture->held = 9;
}

static void where_nobody_leads_the_next_one_is_asked(void **state)
{
    struct fixture *fixture = *state;
    fixture->is_leaderless = true;
    add_standby(fixture);
    start(fixture, NULL);
    run_until(fixture, &fixture->assignments, 1);
    run_until(fixture, &fixture->statuses, 1);
    assert_true(fixture->asked_standby >= 1);
}

static void who_cannot_be_reached_is_passed_over(void **state)
{
    struct fixture *fixture = *state;
    fixture->assignment = ASSIGNMENT("c1", "3", "9", "true");
    fixture->held = 9;
    strcpy(fixture->others, "http://127.0.0.1:1,http://127.0.0.1:2,");
    start(fixture, NULL);
    run_until(fixture, &fixture->assignments, 1);
    run_until(fixture, &fixture->statuses, 2);
}

static void a_call_without_an_answer_moves_everything(void **state)
{
    struct fixture *fixture = *state;
    add_standby(fixture);
    start(fixture, NULL);
    run_until(fixture, &fixture->assignments, 1);
    assert_true(fixture->asked_standby >= 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_joins_and_sends_statuses_in_ascending_order),
        TEST(what_the_scheduler_knows_is_not_said_again_until_it_asks),
        TEST(the_agent_of_a_node_that_was_removed_asks_once),
        TEST(an_older_scheduler_is_told_everything),
        TEST(an_assignment_is_handed_on_and_its_revision_reported),
        TEST(endpoints_of_an_earlier_term_are_not_confirmed_in_a_new_one),
        TEST(after_a_start_the_whole_is_asked_for_and_the_same_again_taken),
        TEST(an_older_assignment_is_not_handed_on),
        TEST(another_clusters_assignment_is_not_handed_on),
        TEST(another_cluster_is_not_joined),
        TEST(an_older_term_is_not_joined),
        TEST(compacted_means_the_whole),
        TEST(a_delta_of_a_new_term_means_the_whole),
        TEST(a_scheduler_that_forgot_the_node_is_joined_again),
        TEST(where_nobody_leads_the_next_one_is_asked),
        TEST(who_cannot_be_reached_is_passed_over),
        TEST(a_call_without_an_answer_moves_everything),
    };
#undef TEST
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
