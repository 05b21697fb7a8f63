/* Cordon, uncordon and drain over the real controller. */
#include "scheduler/agents.h"
#include "scheduler/node_changes.h"
#include "tests/unit/scheduler/controller_fixture.h"

struct asked {
    struct fixture *fixture;
    const char *node;
    enum node_eligibility eligibility;
    struct api_node_request request;
    struct error error;
};

static int decide_eligibility(struct change *change, void *data, struct error *error)
{
    struct asked *asked = data;
    return node_changes_set_eligibility(&asked->fixture->core, change, asked->node,
                                        asked->eligibility, &asked->request, error);
}

static void ignore_join(const struct error *error, const struct api_join_answer *answer, void *data)
{
    (void)data;
    assert_null(error);
    assert_non_null(answer);
}

static void keep_error(const struct error *error, void *data)
{
    if (error != NULL)
        ((struct asked *)data)->error = *error;
}

static void set_eligibility(struct fixture *fixture, const char *node,
                            enum node_eligibility eligibility, uint64_t deadline_ms)
{
    struct asked asked = {.fixture = fixture,
                          .node = node,
                          .eligibility = eligibility,
                          .request = {"disk is failing", deadline_ms}};
    changes_decide(fixture->core.changes, decide_eligibility, keep_error, &asked);
    settle(fixture);
    assert_int_equal(asked.error.code, ERROR_NONE);
}

static enum node_eligibility eligibility(struct fixture *fixture, const char *name)
{
    return model_node(&fixture->core.model, name)->document->eligibility;
}

static void report_both(struct fixture *fixture, enum instance_state state)
{
    report(fixture, "a", state, 3000, 0);
    report(fixture, "b", state, 3000, 0);
}

static void nothing_is_placed_on_a_cordoned_node_and_what_runs_there_stays(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    set_eligibility(fixture, "a", NODE_CORDONED, 0);
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_non_null(strstr(service(fixture)->no_capacity, "1 node: cordoned (a)"));
    set_eligibility(fixture, "a", NODE_ELIGIBLE, 0);
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_null(service(fixture)->no_capacity);
}

static void an_agent_that_starts_anew_does_not_take_its_node_out_of_a_cordon(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    set_eligibility(fixture, "a", NODE_CORDONED, 0);
    struct api_join join = {.epoch = "0123456789abcdef", .memory = 512 * MIB, .vcpus = 2};
    strcpy(join.node, "a");
    strcpy(join.address, "127.0.0.1:7001");
    agents_join(&fixture->core, &join, ignore_join, NULL);
    settle(fixture);
    assert_int_equal(model_node(&fixture->core.model, "a")->document->memory, 512 * MIB);
    assert_int_equal(eligibility(fixture, "a"), NODE_CORDONED);
}

static void a_drained_node_loses_nothing_before_its_replacements_are_healthy(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join(fixture, "b");
    set_eligibility(fixture, "a", NODE_DRAINING, 0);
    /* max_surge 1, max_unavailable 0: one at a time. */
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_int_equal(running_on(fixture, "b"), 1);
    report(fixture, "b", INSTANCE_STARTING, 0, 0);
    assert_int_equal(running_on(fixture, "a"), 2);
    for (int i = 0; i < 8; i++) {
        report_both(fixture, INSTANCE_READY);
        assert_true(service(fixture)->counts.ready >= 2);
    }
    assert_int_equal(running_on(fixture, "a"), 0);
    assert_int_equal(running_on(fixture, "b"), 2);
    assert_int_equal(eligibility(fixture, "a"), NODE_CORDONED);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void a_drain_without_another_place_waits_and_stops_all_at_its_deadline(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    set_eligibility(fixture, "a", NODE_DRAINING, 60000);
    for (int i = 0; i < 6; i++) {
        fixture->now_ms += 9000;
        report(fixture, "a", INSTANCE_READY, 3000, 0);
    }
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_non_null(service(fixture)->no_capacity);
    fixture->now_ms += 6000;
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 0);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(eligibility(fixture, "a"), NODE_CORDONED);
    const struct model_instance *first = model_instance(&fixture->core.model, "000100000001");
    assert_true(model_instance_has_ended(first));
    assert_string_equal(first->document->cause, "drain_deadline");
}

static void a_drain_that_is_called_off_keeps_what_has_not_left(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join(fixture, "b");
    set_eligibility(fixture, "a", NODE_DRAINING, 0);
    set_eligibility(fixture, "a", NODE_ELIGIBLE, 0);
    for (int i = 0; i < 6; i++)
        report_both(fixture, INSTANCE_READY);
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_int_equal(running_on(fixture, "b"), 0);
}

static void a_node_that_nobody_knows_cannot_be_drained(void **state)
{
    struct fixture *fixture = *state;
    struct asked asked = {.fixture = fixture, .node = "nobody", .eligibility = NODE_DRAINING};
    changes_decide(fixture->core.changes, decide_eligibility, keep_error, &asked);
    assert_int_equal(asked.error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(asked.error.message, "nobody"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_placed_on_a_cordoned_node_and_what_runs_there_stays),
        TEST(an_agent_that_starts_anew_does_not_take_its_node_out_of_a_cordon),
        TEST(a_drained_node_loses_nothing_before_its_replacements_are_healthy),
        TEST(a_drain_without_another_place_waits_and_stops_all_at_its_deadline),
        TEST(a_drain_that_is_called_off_keeps_what_has_not_left),
        TEST(a_node_that_nobody_knows_cannot_be_drained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
