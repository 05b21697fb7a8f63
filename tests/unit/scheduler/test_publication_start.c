/* What is told of the endpoints right after a start, when nodes have not reported yet. */
#include "tests/unit/scheduler/controller_fixture.h"

struct poller {
    struct publication_wait *wait;
    char *text; /* what it was told; NULL: nothing yet */
};

static void on_told(enum publication_news news, const char *text, void *data)
{
    struct poller *poller = data;
    assert_int_equal(news, PUBLICATION_DOCUMENT);
    assert_null(poller->text);
    poller->text = xstrdup(text);
    poller->wait = NULL;
}

/* The node's data plane asks, and has what another process told. */
static void ask(struct fixture *fixture, struct poller *poller)
{
    struct publication_poll poll = {
        .kind = PUBLICATION_ENDPOINTS,
        .has_after = true,
        .after = fixture->core.revision_base - 1,
        .term = store_identity(fixture->core.store)->term,
        .answer = on_told,
        .data = poller,
    };
    struct model_node *node = model_node(&fixture->core.model, "a");
    struct publication_wait *wait = publication_poll(fixture->core.publication, node, &poll);
    poller->wait = wait;
}

static void expect_servers(struct poller *poller, size_t count)
{
    struct api_endpoints endpoints = {0};
    assert_non_null(poller->text);
    assert_int_equal(json_parse_record(&api_endpoints_record, poller->text, strlen(poller->text),
                                       JSON_LENIENT, &endpoints, NULL),
                     0);
    assert_int_equal(endpoints.frontend_count, 1);
    assert_int_equal(endpoints.frontends[0].server_count, count);
    json_record_release(&api_endpoints_record, &endpoints);
    free(poller->text);
    poller->text = NULL;
}

/* Another process leads: it knows what is written, and of one instance that is `written`. */
static void begin_again(struct fixture *fixture, enum instance_state written)
{
    struct model *model = &fixture->core.model;
    for (size_t i = 0; i < model->nodes.count; i++) {
        struct model_node *node = model->nodes.items[i];
        node->reported = false;
        node->heard_ms = fixture->now_ms;
    }
    for (size_t i = 0; i < model->instances.count; i++) {
        struct model_instance *instance = model->instances.items[i];
        instance->reported = false;
        instance->in_endpoints = false;
    }
    ((struct model_instance *)model->instances.items[0])->observed.state = written;
    model->endpoints_dirty = true;
    publication_destroy(fixture->core.publication);
    fixture->core.publication = publication_create(&fixture->core);
}

static void begin(struct fixture *fixture)
{
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 5000, 0);
    wake_at(fixture, 5000);
    assert_int_equal(servers(fixture, API_SERVER_READY), 2);
}

static void where_all_that_run_were_ready_endpoints_are_told_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct poller poller = {0};
    begin(fixture);
    begin_again(fixture, INSTANCE_READY);
    ask(fixture, &poller);
    expect_servers(&poller, 2);
}

static void who_became_ready_just_before_is_not_left_out(void **state)
{
    struct fixture *fixture = *state;
    struct poller poller = {0};
    begin(fixture);
    begin_again(fixture, INSTANCE_STARTING);
    ask(fixture, &poller);
    assert_non_null(poller.wait);
    publication_update(fixture->core.publication);
    assert_null(poller.text);
    report(fixture, "a", INSTANCE_READY, 5000, 0);
    expect_servers(&poller, 2);
    /* From then on a readiness that goes is told. */
    ask(fixture, &poller);
    expect_servers(&poller, 2);
    report(fixture, "a", INSTANCE_STARTING, 0, 0);
    ask(fixture, &poller);
    expect_servers(&poller, 0);
}

static void a_node_that_stays_silent_is_not_waited_for(void **state)
{
    struct fixture *fixture = *state;
    struct poller poller = {0};
    begin(fixture);
    begin_again(fixture, INSTANCE_RUNNING);
    ask(fixture, &poller);
    wake_at(fixture, fixture->options.lease_ms - 1000);
    assert_non_null(poller.wait);
    wake_at(fixture, 2000);
    assert_null(poller.wait);
    expect_servers(&poller, 1);
}

/* Its agent joins, and ends before it has said a word. */
static void a_node_that_only_joins_is_not_waited_for_either(void **state)
{
    struct fixture *fixture = *state;
    struct poller poller = {0};
    begin(fixture);
    begin_again(fixture, INSTANCE_RUNNING);
    ask(fixture, &poller);
    for (uint64_t passed = 0; passed < fixture->options.lease_ms; passed += 1000) {
        assert_non_null(poller.wait);
        model_hear_node(&fixture->core.model, model_node(&fixture->core.model, "a"),
                        fixture->now_ms);
        wake_at(fixture, 1000);
        publication_update(fixture->core.publication);
    }
    assert_null(poller.wait);
    expect_servers(&poller, 1);
}

/* However new the endpoints are that the data planes have: what was not told excludes nobody. */
static void nothing_counts_as_excluded_while_endpoints_wait(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture);
    begin_again(fixture, INSTANCE_STARTING);
    const struct model *model = &fixture->core.model;
    confirmation_apply(model_node(model, "a"), fixture->core.revision_base << 1);
    publication_update(fixture->core.publication);
    for (size_t i = 0; i < model->instances.count; i++)
        assert_false(publication_is_excluded(fixture->core.publication, model->instances.items[i]));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(where_all_that_run_were_ready_endpoints_are_told_at_once),
        TEST(who_became_ready_just_before_is_not_left_out),
        TEST(a_node_that_stays_silent_is_not_waited_for),
        TEST(a_node_that_only_joins_is_not_waited_for_either),
        TEST(nothing_counts_as_excluded_while_endpoints_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
