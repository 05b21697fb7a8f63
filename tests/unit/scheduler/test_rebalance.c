/* Instances move to better places when nodes join, one by one, where that was asked for. */
#include "tests/unit/scheduler/controller_fixture.h"

static void report_all(struct fixture *fixture)
{
    report(fixture, "a", INSTANCE_READY, 20000, 0);
    if (model_node(&fixture->core.model, "b") != NULL)
        report(fixture, "b", INSTANCE_READY, 20000, 0);
}

/* So many rounds of reports, a while after each other; the fewest ready and the most at once. */
static void live_on(struct fixture *fixture, int rounds, size_t *ret_fewest, size_t *ret_most)
{
    *ret_fewest = SIZE_MAX;
    *ret_most = 0;
    for (int i = 0; i < rounds; i++) {
        wake_at(fixture, 4000);
        report_all(fixture);
        size_t ready = servers(fixture, API_SERVER_READY);
        size_t running = running_on(fixture, "a") + running_on(fixture, "b");
        *ret_fewest = ready < *ret_fewest ? ready : *ret_fewest;
        *ret_most = running > *ret_most ? running : *ret_most;
    }
}

static void instances_move_to_a_node_that_joins_one_by_one_and_all_stay_ready(void **state)
{
    struct fixture *fixture = *state;
    size_t fewest, most;
    fixture->settings = ", \"placement\": {\"rebalance\": true}";
    join(fixture, "a");
    deploy(fixture, "A", 3);
    report_all(fixture);
    wake_at(fixture, 4000);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    join(fixture, "b");
    live_on(fixture, 16, &fewest, &most);
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_int_equal(fewest, 3);
    assert_true(most <= 4);
    /* Then it is as well as it can be: nothing moves any more. */
    uint64_t ids = fixture->core.model.counters.instances;
    live_on(fixture, 8, &fewest, &most);
    assert_int_equal(fixture->core.model.counters.instances, ids);
}

static void without_being_asked_nothing_moves(void **state)
{
    struct fixture *fixture = *state;
    size_t fewest, most;
    join(fixture, "a");
    deploy(fixture, "A", 3);
    report_all(fixture);
    wake_at(fixture, 4000);
    join(fixture, "b");
    live_on(fixture, 6, &fewest, &most);
    assert_int_equal(running_on(fixture, "b"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            instances_move_to_a_node_that_joins_one_by_one_and_all_stay_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_being_asked_nothing_moves, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
