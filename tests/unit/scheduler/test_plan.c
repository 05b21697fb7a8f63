/* What a deploy would do, asked of the real decisions; and that asking changes nothing. */
#include "scheduler/plan.h"

#include "tests/unit/scheduler/controller_fixture.h"

/* What deploying the fixture's spec with so many replicas and that template would do. */
static struct api_plan plan_of(struct fixture *fixture, const char *digest, uint32_t replicas)
{
    struct api_plan plan = {0};
    struct service_apply apply = {&fixture->spec, fixture->revision};
    fixture->spec.has_replicas = true;
    fixture->spec.replicas = replicas;
    text_copy(fixture->revision->template_digest, sizeof fixture->revision->template_digest,
              digest);
    assert_int_equal(plan_make(&fixture->core, &apply, &plan, NULL), 0);
    return plan;
}

static size_t count_of(const struct api_plan *plan, enum api_plan_action action, const char *node)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->instance_count; i++)
        count += plan->instances[i].action == action &&
                 (node == NULL || strcmp(plan->instances[i].node, node) == 0);
    return count;
}

static void release(struct api_plan *plan)
{
    json_record_release(&api_plan_record, plan);
}

static void a_rollout_is_told_slot_by_slot_and_nothing_of_it_happens(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    join(fixture, "b");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    report(fixture, "b", INSTANCE_READY, 3000, 0);
    struct api_plan plan = plan_of(fixture, "B", 4);
    assert_true(plan.changed && plan.rolls && !plan.is_new);
    assert_int_equal(plan.revision, 2);
    assert_int_equal(plan.replicas_before, 2);
    assert_int_equal(plan.replicas, 4);
    assert_int_equal(count_of(&plan, API_PLAN_REPLACE, NULL), 2);
    assert_int_equal(count_of(&plan, API_PLAN_CREATE, NULL), 2);
    assert_int_equal(count_of(&plan, API_PLAN_REPLACE, "a") + count_of(&plan, API_PLAN_CREATE, "a"),
                     2);
    assert_int_equal(plan.kept, 0);
    assert_int_equal(plan.waiting, 0);
    release(&plan);
    settle(fixture);
    assert_int_equal(service(fixture)->document->replicas, 2);
    assert_int_equal(service(fixture)->revision_count, 1);
    assert_int_equal(running_on(fixture, "a") + running_on(fixture, "b"), 2);
}

static void scaling_down_tells_what_stops_and_the_same_again_nothing(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 3);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    struct api_plan plan = plan_of(fixture, "A", 1);
    assert_true(plan.changed && !plan.rolls);
    assert_int_equal(count_of(&plan, API_PLAN_STOP, NULL), 2);
    assert_int_equal(plan.kept, 1);
    release(&plan);
    plan = plan_of(fixture, "A", 3);
    assert_false(plan.changed);
    assert_int_equal(plan.instance_count, 0);
    assert_int_equal(plan.change_count, 0);
    assert_int_equal(plan.kept, 3);
    release(&plan);
}

static void what_finds_no_node_is_told_with_what_is_in_the_way(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    fixture->spec.placement.distinct_nodes = true;
    struct api_plan plan = plan_of(fixture, "A", 3);
    assert_int_equal(plan.waiting, 2);
    assert_int_equal(plan.kept, 1);
    assert_int_equal(plan.obstacles.count, 1);
    assert_string_equal(plan.obstacles.items[0].reason, "distinct_nodes");
    assert_string_equal(plan.obstacles.items[0].names.items[0], "a");
    assert_non_null(plan.no_capacity);
    assert_int_equal(plan.change_count, 1);
    assert_string_equal(plan.changes[0].path, "/placement/distinct_nodes");
    assert_string_equal(plan.changes[0].after, "true");
    release(&plan);
}

/* The old one's room is what the new one gets, where there is room for the surge. Without that
 * nothing could go: of four that are to be ready all the time none is too many. */
static void a_rollout_in_a_full_cluster_is_played_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 3);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    struct api_plan plan = plan_of(fixture, "B", 3);
    assert_int_equal(count_of(&plan, API_PLAN_REPLACE, "a"), 3); /* 4 vcpus, one for the surge */
    release(&plan);
    plan = plan_of(fixture, "B", 4);
    assert_int_equal(count_of(&plan, API_PLAN_REPLACE, "a"), 1);
    assert_int_equal(plan.waiting, 3);
    assert_string_equal(plan.obstacles.items[0].reason, "vcpus");
    release(&plan);
}

/* Whatever max_surge says: a slot's volumes are in one instance at a time. */
static void with_volumes_a_rollout_is_played_stop_first(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"volumes\": [{\"name\": \"data\", \"size\": \"64Mi\"}],"
                        " \"rollout\": {\"max_surge\": 0}";
    join(fixture, "a");
    attach_volumes(fixture, "a");
    deploy(fixture, "A", 4);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 4);
    struct api_plan plan = plan_of(fixture, "B", 4);
    assert_int_equal(count_of(&plan, API_PLAN_REPLACE, "a"), 4); /* all of its vcpus */
    assert_int_equal(plan.waiting, 0);
    release(&plan);
}

/* `shoal status` gets the same, of the real thing. */
static void a_service_that_waits_knows_why_node_by_node(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    join(fixture, "b");
    deploy(fixture, "A", 20);
    const struct model_service *waiting = service(fixture);
    assert_non_null(waiting->no_capacity);
    assert_int_equal(waiting->obstacles.count, 1);
    assert_string_equal(waiting->obstacles.items[0].reason, "vcpus");
    assert_int_equal(waiting->obstacles.items[0].nodes, 2);
    assert_string_equal(waiting->obstacles.items[0].message, "vcpus: at most 0 free of 1 asked");
    deploy(fixture, "A", 8);
    controller_wake(fixture->core.controller);
    settle(fixture);
    assert_null(waiting->no_capacity);
    assert_int_equal(waiting->obstacles.count, 0);
}

/* Many services may wait, and each asks every node. */
static void in_a_large_fleet_room_is_looked_for_less_often(void **state)
{
    (void)state;
    struct model model = {.nodes = {.count = 10}};
    assert_int_equal(capacity_retry_ms(&model), 2005);
    model.nodes.count = 10000;
    assert_int_equal(capacity_retry_ms(&model), 7000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_large_fleet_room_is_looked_for_less_often),
        cmocka_unit_test_setup_teardown(a_rollout_is_told_slot_by_slot_and_nothing_of_it_happens,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(scaling_down_tells_what_stops_and_the_same_again_nothing,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_finds_no_node_is_told_with_what_is_in_the_way, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_rollout_in_a_full_cluster_is_played_to_its_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(with_volumes_a_rollout_is_played_stop_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_service_that_waits_knows_why_node_by_node, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
