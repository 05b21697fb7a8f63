/* Logs by way of the scheduler: asked of agents that do what the test says. */
#include "scheduler/logs.h"

#include "scheduler/log_stream.h"
#include "tests/unit/scheduler/agents_fixture.h"

#define ONE              "0001000000a1"
#define OTHER            "0001000000a2"
#define LOG_TYPE         "text/plain"
#define AT(second, rest) "2026-11-26T02:00:0" #second ".000Z " rest "\n"

static struct {
    const char *answers[4]; /* to one question after the other; NULL: it is not answered */
    char asked[4][256];     /* what they were */
    size_t count;
    bool stays; /* the answer does not end */
    struct agents_fixture *fixture;
} agent;

static const char *text_of(const char *instance)
{
    return strcmp(instance, OTHER) == 0 ? AT(2, "L two") AT(4, "L four")
                                        : AT(1, "L one") AT(3, "L three") AT(5, "M five");
}

static void note_left(struct http_request *request, void *data)
{
    (void)request;
    (void)data;
}

/* What it has, at once. */
static void answer_whole(struct http_request *request, void *data)
{
    (void)data;
    const char *text = text_of(http_request_parameter(request, "instance"));
    http_request_respond(request, 200, LOG_TYPE, text, strlen(text));
}

static void answer_next(struct http_request *request, void *data)
{
    (void)data;
    assert_true(agent.count < 4);
    snprintf(agent.asked[agent.count], sizeof agent.asked[0], "%s", http_request_target(request));
    const char *text = agent.answers[agent.count++];
    bool is_last = agent.count == 4 || agent.answers[agent.count] == NULL;
    http_request_on_abandoned(request, note_left, NULL);
    http_request_stream_begin(request, LOG_TYPE);
    http_request_stream_write(request, text, strlen(text));
    if (is_last) /* and that was all that the instance wrote */
        model_instance(&agent.fixture->core.model, ONE)->document->ended_ms = 1;
    if (!agent.stays || is_last)
        http_request_stream_end(request);
}

static const struct http_route whole_routes[] = {
    {.method = "GET", .pattern = "/v1/instances/{instance}/logs", .handler = answer_whole}};
static const struct http_route next_routes[] = {{.method = "GET",
                                                 .pattern = "/v1/instances/{instance}/logs",
                                                 .handler = answer_next,
                                                 .deadline_ms = 60000}};
static const struct http_route front_routes[] = {
    {.method = "GET",
     .pattern = "/v1/instances/{instance}/logs",
     .handler = logs_handle_instance,
     .body_limit = 16384,
     .deadline_ms = 60000},
    {.method = "GET",
     .pattern = "/v1/namespaces/{namespace}/services/{service}/logs",
     .handler = logs_handle_service,
     .body_limit = 16384,
     .deadline_ms = 60000}};

#define SERVICE_LOGS "/v1/namespaces/default/services/hello/logs"

static void add_instance(struct agents_fixture *fixture, const char *id, const char *node)
{
    struct document_instance *document = document_create(DOCUMENT_INSTANCE);
    struct model *model = &fixture->core.model;
    snprintf(document->id, sizeof document->id, "%s", id);
    snprintf(document->namespace_name, sizeof document->namespace_name, "default");
    snprintf(document->service, sizeof document->service, "hello");
    snprintf(document->node, sizeof document->node, "%s", node);
    snprintf(document->address, sizeof document->address, "10.64.0.%c", id[11]);
    document->service_uid = 1;
    model_apply(model, DOCUMENT_INSTANCE, document, false, core_now(&fixture->core));
}

static void add_service(struct agents_fixture *fixture)
{
    struct document_service *document = document_create(DOCUMENT_SERVICE);
    snprintf(document->namespace_name, sizeof document->namespace_name, "default");
    snprintf(document->service, sizeof document->service, "hello");
    document->uid = 1;
    model_apply(&fixture->core.model, DOCUMENT_SERVICE, document, false, core_now(&fixture->core));
}

static uint16_t open_agents(struct agents_fixture *fixture, const struct http_route *routes)
{
    memset(&agent, 0, sizeof agent);
    agent.fixture = fixture;
    agents_open(fixture, routes, 1, front_routes, 2);
    add_service(fixture);
    return http_server_port(fixture->harness.server);
}

static void fetch(struct agents_fixture *fixture, const char *path, struct result *result)
{
    AUTO_FREE char *url =
        xasprintf("http://127.0.0.1:%u%s", http_server_port(fixture->front), path);
    harness_fetch(&fixture->harness, (struct http_client_request){.url = url}, NULL, result);
}

static void assert_has(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("no \"%s\" in \"%s\"", wanted, text);
}

static void the_newest_lines_of_all_instances_are_told(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, whole_routes);
    agents_add_node(&fixture, "a", port);
    agents_add_node(&fixture, "b", port);
    add_instance(&fixture, ONE, "a");
    add_instance(&fixture, OTHER, "b");
    fetch(&fixture, SERVICE_LOGS "?tail=3", &result);
    assert_string_equal(buffer_text(&result.body),
                        AT(3, ONE " L three") AT(4, OTHER " L four") AT(5, ONE " M five") "\n");
    fetch(&fixture, SERVICE_LOGS "?tail=0", &result);
    assert_string_equal(buffer_text(&result.body), "\n");
    result_clear(&result);
    agents_close(&fixture);
}

static void what_cannot_be_read_is_told_beside_the_rest(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, whole_routes);
    agents_add_node(&fixture, "a", port);
    struct model_node *silent = agents_add_node(&fixture, "b", port);
    agents_add_node(&fixture, "c", agents_dead_port());
    add_instance(&fixture, ONE, "a");
    add_instance(&fixture, OTHER, "b");
    add_instance(&fixture, "0001000000a3", "c");
    agents_silence(&fixture, silent, 62500);
    fetch(&fixture, SERVICE_LOGS "?tail=1", &result);
    assert_int_equal(result.status, 200);
    assert_has(buffer_text(&result.body), ONE " M five");
    assert_null(strstr(buffer_text(&result.body), "three"));
    assert_has(buffer_text(&result.body), OTHER " F node b: its agent was last heard 1m2s ago");
    assert_has(buffer_text(&result.body), "0001000000a3 F node c: its agent does not answer");
    result_clear(&result);
    agents_close(&fixture);
}

static void refuse(struct http_request *request, void *data)
{
    struct error error;
    (void)data;
    error_set(&error, ERROR_NOT_FOUND, "no instance of that id");
    http_request_respond_error(request, &error);
}

static const struct http_route refusing_routes[] = {
    {.method = "GET", .pattern = "/v1/instances/{instance}/logs", .handler = refuse}};

/* One that begins has written nothing yet; of one that is over it is gone. */
static void what_an_agent_does_not_know_is_no_failure(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, refusing_routes);
    agents_add_node(&fixture, "a", port);
    add_instance(&fixture, ONE, "a");
    fetch(&fixture, SERVICE_LOGS, &result);
    assert_int_equal(result.status, 200);
    assert_string_equal(buffer_text(&result.body), "\n");
    model_instance(&fixture.core.model, ONE)->document->ended_ms = 1;
    fetch(&fixture, SERVICE_LOGS, &result);
    assert_int_equal(result.status, 200);
    assert_has(buffer_text(&result.body), ONE " M what it wrote is not kept any more\n");
    result_clear(&result);
    agents_close(&fixture);
}

/* Two lines of one millisecond came, then the agent ended; it goes on behind them. */
static void an_agent_that_broke_off_is_asked_for_the_rest(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, next_routes);
    agents_add_node(&fixture, "a", port);
    add_instance(&fixture, ONE, "a");
    agent.answers[0] = AT(1, "R 7-8-9-0") AT(1, "L a") AT(1, "L b");
    agent.answers[1] = "\n" AT(1, "L c") AT(1, "R 7-8-ff-0");
    fetch(&fixture, "/v1/instances/" ONE "/logs?follow=1&tail=7", &result);
    assert_int_equal(agent.count, 2);
    assert_has(agent.asked[0], "tail=7");
    assert_has(agent.asked[1], "after=7-8-9-2");
    assert_has(buffer_text(&result.body),
               AT(1, ONE " R 7-8-9-0") AT(1, ONE " L a") AT(1, ONE " L b") AT(1, ONE " L c")
                   AT(1, ONE " R 7-8-ff-0"));
    /* It is over, which is the last that is said of it, and so is all. */
    assert_has(buffer_text(&result.body), "Z " ONE " R \n\n");
    result_clear(&result);
    agents_close(&fixture);
}

static void with_no_line_of_the_past_nothing_is_doubled_either(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, next_routes);
    agents_add_node(&fixture, "a", port);
    add_instance(&fixture, ONE, "a");
    agent.answers[0] = AT(1, "R 7-8-9-0") "\n";
    agent.answers[1] = "\n" AT(2, "L new");
    fetch(&fixture, "/v1/instances/" ONE "/logs?follow=1&tail=0", &result);
    assert_has(agent.asked[1], "after=7-8-9-0");
    assert_has(buffer_text(&result.body), ONE " L new");
    result_clear(&result);
    agents_close(&fixture);
}

/* A reader comes back: what it named goes on, what it did not know is new. */
static void a_reader_that_broke_off_goes_on(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, next_routes);
    agents_add_node(&fixture, "a", port);
    add_instance(&fixture, ONE, "a");
    agent.answers[0] = "\n" AT(2, "L more");
    fetch(&fixture, SERVICE_LOGS "?follow=1&tail=1&after=" ONE ":7-8-9-5,0001000000ff:1-2-3-4",
          &result);
    assert_int_equal(agent.count, 1);
    assert_has(agent.asked[0], "after=7-8-9-5");
    assert_has(buffer_text(&result.body), ONE " L more");
    assert_has(buffer_text(&result.body), "0001000000ff M it is forgotten");
    assert_has(buffer_text(&result.body), "0001000000ff R \n");
    fetch(&fixture, SERVICE_LOGS "?follow=1&after=" ONE ":7-8-9", &result);
    assert_int_equal(result.status, 400);
    fetch(&fixture, SERVICE_LOGS "?follow=1&after=,", &result);
    assert_int_equal(result.status, 400);
    result_clear(&result);
    agents_close(&fixture);
}

/* As many as are read at once. */
static void the_places_of_many_come_as_a_body(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    AUTO_BUFFER struct buffer places = {0};
    uint16_t port = open_agents(&fixture, next_routes);
    agents_add_node(&fixture, "a", port);
    add_instance(&fixture, ONE, "a");
    agent.answers[0] = "\n" AT(2, "L more");
    buffer_append_text(&places, ONE ":7-8-9-5");
    for (unsigned i = 1; i < 200; i++)
        buffer_printf(&places, ",0002%08x:1a2b3c4d5e-19ac0a3f1b2-1a2b3c-1234", i);
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u" SERVICE_LOGS "?follow=1&after=",
                                    http_server_port(fixture.front));
    struct http_client_request request = {
        .url = url, .body = places.data, .body_length = places.length};
    harness_fetch(&fixture.harness, request, NULL, &result);
    assert_int_equal(result.status, 200);
    assert_has(agent.asked[0], "after=7-8-9-5");
    assert_has(buffer_text(&result.body), ONE " L more");
    assert_has(buffer_text(&result.body), "0002000000c7 M it is forgotten");
    result_clear(&result);
    agents_close(&fixture);
}

struct silence {
    uv_timer_t timer;
    struct model_node *node;
    bool is_removed; /* it is not waited for */
    int turns;
};

/* Its instance is over by that. */
static void remove_node(struct model_node *node)
{
    struct model *model = &agent.fixture->core.model;
    struct document_node *document = document_create(DOCUMENT_NODE);
    snprintf(document->name, sizeof document->name, "%s", node->name);
    model_instance(model, ONE)->document->ended_ms = 1;
    model_apply(model, DOCUMENT_NODE, document, true, core_now(&agent.fixture->core));
}

/* The node vanishes without a word, and is back later. */
static void on_turn(uv_timer_t *timer)
{
    struct silence *silence = timer->data;
    if (agent.count == 0 && !silence->node->silent)
        return;
    if (++silence->turns == 2 && !silence->node->silent)
        agents_silence(agent.fixture, silence->node, 61000);
    if (silence->turns != 16)
        return;
    uv_timer_stop(timer);
    if (silence->is_removed)
        remove_node(silence->node);
    else
        model_hear_node(&agent.fixture->core.model, silence->node, core_now(&agent.fixture->core));
}

static void begin_silence(struct agents_fixture *fixture, struct silence *silence)
{
    uv_timer_init(fixture->core.loop, &silence->timer);
    silence->timer.data = silence;
    uv_timer_start(&silence->timer, on_turn, 100, 100);
}

static void a_node_that_vanishes_while_it_is_read_is_told_and_asked_again(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, next_routes);
    struct silence silence = {.node = agents_add_node(&fixture, "a", port)};
    add_instance(&fixture, ONE, "a");
    agent.stays = true;
    agent.answers[0] = AT(1, "R 7-8-9-0") AT(1, "L a") "\n";
    agent.answers[1] = "\n" AT(2, "L b");
    begin_silence(&fixture, &silence);
    fetch(&fixture, "/v1/instances/" ONE "/logs?follow=1", &result);
    uv_close((uv_handle_t *)&silence.timer, NULL);
    assert_has(agent.asked[1], "after=7-8-9-1");
    const char *failure = strstr(buffer_text(&result.body), ONE " F node a: its agent was last");
    assert_non_null(failure);
    assert_has(failure, ONE " L b");
    result_clear(&result);
    agents_close(&fixture);
}

static void who_goes_on_waits_for_a_silent_node(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, next_routes);
    struct silence silence = {.node = agents_add_node(&fixture, "a", port)};
    add_instance(&fixture, ONE, "a");
    agent.answers[0] = "\n" AT(2, "L b");
    agents_silence(&fixture, silence.node, 61000);
    begin_silence(&fixture, &silence);
    fetch(&fixture, "/v1/instances/" ONE "/logs?follow=1&after=" ONE ":7-8-9-5", &result);
    uv_close((uv_handle_t *)&silence.timer, NULL);
    assert_int_equal(result.status, 200);
    assert_has(agent.asked[0], "after=7-8-9-5");
    const char *failure = strstr(buffer_text(&result.body), ONE " F node a: its agent was last");
    assert_non_null(failure);
    assert_has(failure, ONE " L b");
    result_clear(&result);
    agents_close(&fixture);
}

static void a_node_that_is_removed_is_waited_for_no_longer(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct result result = {0};
    uint16_t port = open_agents(&fixture, next_routes);
    struct silence silence = {.node = agents_add_node(&fixture, "a", port), .is_removed = true};
    add_instance(&fixture, ONE, "a");
    agent.stays = true;
    agent.answers[0] = AT(1, "R 7-8-9-0") AT(1, "L a") "\n";
    agent.answers[1] = "\n"; /* is not asked for */
    begin_silence(&fixture, &silence);
    fetch(&fixture, "/v1/instances/" ONE "/logs?follow=1", &result);
    uv_close((uv_handle_t *)&silence.timer, NULL);
    assert_int_equal(agent.count, 1);
    assert_has(buffer_text(&result.body), ONE " F node a: its agent was last");
    assert_has(buffer_text(&result.body), ONE " F node a was removed\n");
    assert_has(buffer_text(&result.body), "Z " ONE " R \n\n");
    result_clear(&result);
    agents_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_lines_of_all_instances_are_told),
        cmocka_unit_test(what_cannot_be_read_is_told_beside_the_rest),
        cmocka_unit_test(what_an_agent_does_not_know_is_no_failure),
        cmocka_unit_test(an_agent_that_broke_off_is_asked_for_the_rest),
        cmocka_unit_test(with_no_line_of_the_past_nothing_is_doubled_either),
        cmocka_unit_test(a_reader_that_broke_off_goes_on),
        cmocka_unit_test(the_places_of_many_come_as_a_body),
        cmocka_unit_test(who_goes_on_waits_for_a_silent_node),
        cmocka_unit_test(a_node_that_is_removed_is_waited_for_no_longer),
        cmocka_unit_test(a_node_that_vanishes_while_it_is_read_is_told_and_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
