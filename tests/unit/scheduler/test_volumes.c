/* The instances of a slot with volumes go to the node that has them, and to no other. */
#include "tests/unit/scheduler/controller_fixture.h"

static void join_with_volumes(struct fixture *fixture, const char *name)
{
    join(fixture, name);
    attach_volumes(fixture, name);
}

static const char volumes[] = ", \"volumes\": [{\"name\": \"data\", \"size\": \"64Mi\"}]";

static void a_node_whose_agent_attaches_none_takes_none(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    assert_int_equal(running_on(fixture, "a"), 0);
    assert_string_equal(service(fixture)->obstacles.items[0].reason, "no_volumes");
}

static void a_slot_stays_on_the_node_that_has_its_volumes(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_string_equal(model_volume_node(service(fixture), 0), "a");
    assert_null(model_volume_node(service(fixture), 1));
    join_with_volumes(fixture, "b");
    deploy(fixture, "B", 2);
    for (int i = 0; i < 6; i++) {
        report(fixture, "a", INSTANCE_READY, 3000, 0);
        report(fixture, "b", INSTANCE_READY, 3000, 0);
        wake_at(fixture, 1000);
    }
    /* Slot 0 stopped first and began again where it was; slot 1 is free to go elsewhere. */
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_string_equal(model_volume_node(service(fixture), 1), "b");
}

static void while_the_node_is_away_the_slot_waits_and_says_for_what(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    fixture->options.freeze_percent = 100;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join_with_volumes(fixture, "b");
    for (int i = 0; i < 12; i++) {
        wake_at(fixture, 5000);
        report(fixture, "b", INSTANCE_READY, 3000, 0);
    }
    assert_true(model_node(&fixture->core.model, "a")->lost);
    assert_int_equal(running_on(fixture, "b"), 0);
    assert_non_null(service(fixture)->no_capacity);
    assert_non_null(strstr(service(fixture)->no_capacity, "the slot's volumes are on node a (b)"));
    assert_non_null(strstr(service(fixture)->no_capacity, "silent: no report of it (a)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_whose_agent_attaches_none_takes_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slot_stays_on_the_node_that_has_its_volumes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(while_the_node_is_away_the_slot_waits_and_says_for_what,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
