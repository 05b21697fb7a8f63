/* Whose room a pending instance takes: the choice, and what comes of it over a real store. */
#include "scheduler/preemption.h"

#include "tests/unit/scheduler/controller_fixture.h"

/* --- the choice --- */

static const struct api_machine machine = {"amd64", "tcg", NULL, {NULL, 0}};
static const struct placement_platform platform = {"amd64", "shoal"};

static struct placement_node full_node(void)
{
    return (struct placement_node){.name = "a",
                                   .ready = true,
                                   .machines = &machine,
                                   .machine_count = 1,
                                   .memory = 100 * MIB,
                                   .memory_used = 100 * MIB,
                                   .vcpus = 100};
}

static bool choose(struct preemption_candidate *candidates, size_t count, uint64_t memory,
                   struct preemption_cost *ret_cost)
{
    struct placement_node node = full_node();
    struct placement_request request = {
        .memory = memory, .vcpus = 1, .platforms = &platform, .platform_count = 1};
    struct preemption_candidate *list[8];
    for (size_t i = 0; i < count; i++)
        list[i] = &candidates[i];
    return preemption_choose(&node, &request, list, count, ret_cost);
}

static void the_lowest_go_first_and_no_more_than_needed(void **state)
{
    (void)state;
    struct preemption_cost cost;
    struct preemption_candidate candidates[] = {{.priority = 30, .memory = 50 * MIB},
                                                {.priority = 10, .memory = 10 * MIB},
                                                {.priority = 10, .memory = 20 * MIB},
                                                {.priority = 20, .memory = 20 * MIB}};
    assert_true(choose(candidates, 4, 20 * MIB, &cost));
    assert_int_equal(cost.count, 1);
    assert_int_equal(cost.priority, 10);
    assert_true(candidates[2].is_chosen);
    /* 30 come of the lowest two; the one of 10 is not needed any more once a larger one goes. */
    assert_true(choose(candidates, 4, 30 * MIB, &cost));
    assert_int_equal(cost.count, 2);
    assert_int_equal(cost.priority, 10);
    assert_true(choose(candidates, 4, 40 * MIB, &cost));
    assert_int_equal(cost.priority, 20);
    assert_int_equal(cost.count, 2);
    assert_false(candidates[1].is_chosen);
    assert_false(choose(candidates, 4, 101 * MIB, &cost));
}

static void what_leaves_anyhow_is_waited_for_first(void **state)
{
    (void)state;
    struct preemption_cost cost;
    struct preemption_candidate candidates[] = {{.priority = 10, .memory = 30 * MIB},
                                                {.memory = 30 * MIB, .is_leaving = true}};
    assert_true(choose(candidates, 2, 30 * MIB, &cost));
    assert_int_equal(cost.count, 0);
    assert_true(choose(candidates, 2, 60 * MIB, &cost));
    assert_int_equal(cost.count, 1);
}

/* --- over a store: node a has four processors --- */

static void deploy_as(struct fixture *fixture, const char *name, uint32_t priority,
                      uint32_t replicas)
{
    deploy_prepare(fixture, name, "A", replicas);
    fixture->spec.priority = priority;
    fixture->spec.ports[0].publish = 0;
    changes_decide(fixture->core.changes, decide_deploy, NULL, fixture);
    settle(fixture);
}

static struct model_service *named(struct fixture *fixture, const char *name)
{
    return model_service(&fixture->core.model, "default", name);
}

static size_t wishes(const struct model_service *service, enum instance_wish wish)
{
    size_t count = 0;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        count += instance->document->wish == wish && !model_instance_has_ended(instance);
    }
    return count;
}

static void the_higher_one_takes_the_room_of_one_lower_and_gets_it(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy_as(fixture, "low", 20, 4);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    deploy_as(fixture, "high", 80, 1);
    assert_non_null(named(fixture, "high")->no_capacity);
    assert_int_equal(wishes(named(fixture, "low"), WISH_RUN), 3);
    assert_non_null(named(fixture, "high")->kept.node);
    /* The victim's own replacement does not get the room that it left. */
    for (int i = 0; i < 3; i++)
        report(fixture, "a", INSTANCE_READY, 3000, 0);
    wake_at(fixture, 2000);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_null(named(fixture, "high")->no_capacity);
    assert_int_equal(wishes(named(fixture, "high"), WISH_RUN), 1);
    assert_int_equal(wishes(named(fixture, "low"), WISH_RUN), 3);
    assert_non_null(named(fixture, "low")->no_capacity);
    assert_null(named(fixture, "high")->kept.node);
}

static int decide_to_scale_low(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_scale(&fixture->core, change, "default", "low", 3, &fixture->answer,
                                 error);
}

/* Both are looked at in one pass: what is scaled down is not ended as if the victim still served.
 */
static void a_victim_is_counted_on_no_more(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy_as(fixture, "low", 20, 4);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    deploy_prepare(fixture, "high", "A", 1);
    fixture->spec.priority = 80;
    fixture->spec.ports[0].publish = 0;
    changes_decide(fixture->core.changes, decide_deploy, NULL, fixture);
    changes_decide(fixture->core.changes, decide_to_scale_low, NULL, fixture);
    settle(fixture);
    assert_int_equal(wishes(named(fixture, "low"), WISH_RUN), 3);
}

static int decide_standbys(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct document_node *node =
        change_edit(change, DOCUMENT_NODE, ((const struct model_node *)data)->document);
    json_strings_add(&node->features, API_FEATURE_STANDBY);
    return 0;
}

/* The one is resumed and told to make room in one pass. */
static void a_standby_that_makes_room_is_not_resumed(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    changes_decide(fixture->core.changes, decide_standbys, NULL,
                   model_node(&fixture->core.model, "a"));
    settle(fixture);
    fixture->settings = ", \"standby\": 4";
    deploy_as(fixture, "low", 20, 0);
    assert_int_equal(wishes(named(fixture, "low"), WISH_RUN), 4);
    report(fixture, "a", INSTANCE_STANDBY, 3000, 0);
    fixture->settings = NULL;
    deploy_prepare(fixture, "high", "A", 1);
    fixture->spec.priority = 80;
    fixture->spec.ports[0].publish = 0;
    changes_decide(fixture->core.changes, decide_to_scale_low, NULL, fixture);
    changes_decide(fixture->core.changes, decide_deploy, NULL, fixture);
    settle(fixture);
    const struct sorted *instances = &named(fixture, "low")->instances;
    size_t resumed = 0;
    for (size_t i = 0; i < instances->count; i++) {
        const struct document_instance *document =
            ((const struct model_instance *)instances->items[i])->document;
        resumed += !document->standby;
        assert_true(document->standby || document->wish == WISH_RUN);
    }
    assert_int_equal(wishes(named(fixture, "low"), WISH_RUN), 3);
    assert_int_equal(resumed, 3);
}

static void nobody_makes_room_for_the_same_priority_or_a_lower_one(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy_as(fixture, "low", 20, 4);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    deploy_as(fixture, "other", 20, 1);
    deploy_as(fixture, "lower", 10, 1);
    assert_int_equal(wishes(named(fixture, "low"), WISH_RUN), 4);
    assert_non_null(named(fixture, "other")->no_capacity);
    assert_non_null(named(fixture, "lower")->no_capacity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_go_first_and_no_more_than_needed),
        cmocka_unit_test(what_leaves_anyhow_is_waited_for_first),
        cmocka_unit_test_setup_teardown(the_higher_one_takes_the_room_of_one_lower_and_gets_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_victim_is_counted_on_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_standby_that_makes_room_is_not_resumed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nobody_makes_room_for_the_same_priority_or_a_lower_one,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
