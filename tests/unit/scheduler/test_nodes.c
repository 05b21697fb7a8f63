/* Nodes that fall silent, are lost, and come back, over the real controller. */
#include "scheduler/node_changes.h"
#include "tests/unit/scheduler/controller_fixture.h"

static enum node_state state_of(struct fixture *fixture, const char *name)
{
    return model_node_state(model_node(&fixture->core.model, name));
}

/* Lets time pass in steps in which every node of `names` reports. */
static void pass_time(struct fixture *fixture, uint64_t ms, const char *names)
{
    for (uint64_t step; ms > 0; ms -= step) {
        step = ms < 9000 ? ms : 9000;
        fixture->now_ms += step;
        for (const char *at = names; *at != '\0'; at++)
            report(fixture, (char[]){*at, '\0'}, INSTANCE_READY, 3000, 0);
        if (*names == '\0')
            wake_at(fixture, 0);
    }
}

/* All but `names` become suspect, then lost unless they are too many. */
static void lose_others(struct fixture *fixture, const char *names)
{
    pass_time(fixture, 10000, names);
    pass_time(fixture, 30000, names);
}

/* `count` instances, one a node from "a" on, all healthy. */
static void begin(struct fixture *fixture, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        join(fixture, (char[]){(char)('a' + i), '\0'});
    deploy(fixture, "A", count);
    for (uint32_t i = 0; i < count; i++)
        report(fixture, (char[]){(char)('a' + i), '\0'}, INSTANCE_READY, 3000, 0);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void a_node_is_suspect_then_lost_then_ready_again(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 2);
    pass_time(fixture, 9999, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_READY);
    pass_time(fixture, 1, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_SUSPECT);
    pass_time(fixture, 29999, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_SUSPECT);
    assert_int_equal(running_on(fixture, "b"), 1);
    pass_time(fixture, 1, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_LOST);
    assert_true(model_node(&fixture->core.model, "a")->document->lost);
    assert_int_equal(running_on(fixture, "b"), 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(state_of(fixture, "a"), NODE_READY);
    assert_false(model_node(&fixture->core.model, "a")->document->lost);
}

static void a_wall_clock_that_jumps_makes_nobody_silent(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 2);
    fixture->wall_offset_ms = 86400000;
    wake_at(fixture, 1000);
    assert_int_equal(state_of(fixture, "a"), NODE_READY);
    fixture->wall_offset_ms = 0;
    wake_at(fixture, 1000);
    assert_int_equal(state_of(fixture, "a"), NODE_READY);
    assert_int_equal(state_of(fixture, "b"), NODE_READY);
}

static void one_that_is_back_before_it_was_replaced_keeps_what_it_runs(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 2);
    pass_time(fixture, 30000, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_SUSPECT);
    pass_time(fixture, 1000, "ab");
    pass_time(fixture, 60000, "ab");
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(running_on(fixture, "b"), 1);
}

static void one_that_is_back_drains_what_was_replaced_before_it_stops(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 2);
    lose_others(fixture, "b");
    const struct model_instance *old = model_instance(&fixture->core.model, "000100000001");
    assert_int_equal(old->document->wish, WISH_DRAIN);
    report(fixture, "b", INSTANCE_READY, 3000, 0);
    /* While its node is lost no other one sends it anything, and no time is counted. */
    assert_int_equal(servers(fixture, API_SERVER_READY), 2);
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 0);
    pass_time(fixture, 60000, "b");
    assert_int_equal(old->document->wish, WISH_DRAIN);
    fixture->lags = true;
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(old->document->wish, WISH_DRAIN);
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 1);
    assert_int_equal(servers(fixture, API_SERVER_READY), 2);
    fixture->lags = false;
    report(fixture, "b", INSTANCE_READY, 3000, 0);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(old->document->wish, WISH_STOP);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_true(model_instance_has_ended(old));
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 0);
}

static void a_split_freezes_rescheduling_and_thaws_when_nodes_are_back(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 5);
    pass_time(fixture, 10000, "ab");
    assert_true(fixture->core.model.frozen);
    pass_time(fixture, 600000, "ab");
    assert_int_equal(state_of(fixture, "c"), NODE_SUSPECT);
    assert_int_equal(running_on(fixture, "a") + running_on(fixture, "b"), 2);
    /* Two of five are a loss, but they have their time anew. */
    pass_time(fixture, 1000, "abc");
    assert_false(fixture->core.model.frozen);
    pass_time(fixture, 28000, "abc");
    assert_int_equal(state_of(fixture, "d"), NODE_SUSPECT);
    pass_time(fixture, 2000, "abc");
    assert_int_equal(state_of(fixture, "d"), NODE_LOST);
    assert_int_equal(running_on(fixture, "a") + running_on(fixture, "b") + running_on(fixture, "c"),
                     5);
}

static void a_freeze_can_be_ended_by_giving_the_silent_ones_up(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 3);
    pass_time(fixture, 60000, "a");
    assert_int_equal(state_of(fixture, "b"), NODE_SUSPECT);
    assert_int_equal(node_changes_give_up(&fixture->core, "a", NULL), -1);
    assert_int_equal(node_changes_give_up(&fixture->core, "c", NULL), 0);
    settle(fixture);
    assert_int_equal(state_of(fixture, "c"), NODE_LOST);
    /* One of two is left: it has its time anew. */
    assert_int_equal(state_of(fixture, "b"), NODE_SUSPECT);
    assert_int_equal(node_changes_give_up(&fixture->core, "b", NULL), 0);
    settle(fixture);
    assert_int_equal(state_of(fixture, "b"), NODE_LOST);
    assert_int_equal(state_of(fixture, "c"), NODE_LOST);
    assert_false(fixture->core.model.frozen);
    assert_int_equal(running_on(fixture, "a"), 3);
}

static void cordoned_nodes_count_for_no_split(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 3);
    struct document_node *node =
        document_copy(DOCUMENT_NODE, model_node(&fixture->core.model, "c")->document);
    node->eligibility = NODE_CORDONED;
    model_apply(&fixture->core.model, DOCUMENT_NODE, node, false, fixture->now_ms);
    lose_others(fixture, "a");
    assert_int_equal(state_of(fixture, "b"), NODE_LOST);
    assert_int_equal(state_of(fixture, "c"), NODE_LOST);
}

static void lost_instances_are_replaced_at_the_rate_that_is_set(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.reschedule_rate = 2;
    join(fixture, "a");
    deploy(fixture, "A", 4);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join(fixture, "b");
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    lose_others(fixture, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_LOST);
    assert_int_equal(running_on(fixture, "b"), 2);
    wake_at(fixture, 499);
    assert_int_equal(running_on(fixture, "b"), 2);
    wake_at(fixture, 1);
    assert_int_equal(running_on(fixture, "b"), 3);
    /* It is back: what was not replaced stays. */
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    wake_at(fixture, 5000);
    assert_int_equal(running_on(fixture, "b"), 3);
    assert_int_equal(running_on(fixture, "a"), 1);
}

static void a_freeze_stops_the_line_too(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.reschedule_rate = 1;
    join(fixture, "a");
    deploy(fixture, "A", 4);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    for (const char *at = "bcd"; *at != '\0'; at++)
        join(fixture, (char[]){*at, '\0'});
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    lose_others(fixture, "bcd");
    size_t replaced = 4 - running_on(fixture, "a");
    assert_true(replaced < 4);
    pass_time(fixture, 10000, "b");
    assert_true(fixture->core.model.frozen);
    replaced = 4 - running_on(fixture, "a");
    for (int i = 0; i < 5; i++)
        pass_time(fixture, 2000, "b");
    assert_int_equal(4 - running_on(fixture, "a"), replaced);
    pass_time(fixture, 1, "cd");
    assert_false(fixture->core.model.frozen);
    for (int i = 0; i < 5; i++)
        pass_time(fixture, 2000, "bcd");
    assert_int_equal(running_on(fixture, "a"), 0);
}

/* It is lost, and in line, when the freeze comes: what somebody says of it counts all the same. */
static void one_that_is_lost_already_can_be_given_up_in_a_freeze(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.reschedule_rate = 1;
    join(fixture, "a");
    deploy(fixture, "A", 4);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    for (const char *at = "bcd"; *at != '\0'; at++)
        join(fixture, (char[]){*at, '\0'});
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    lose_others(fixture, "bcd");
    fixture->now_ms += 9000;
    report(fixture, "b", INSTANCE_READY, 3000, 0);
    wake_at(fixture, 1000);
    assert_true(fixture->core.model.frozen);
    assert_int_equal(state_of(fixture, "a"), NODE_LOST);
    assert_true(running_on(fixture, "a") > 0);
    assert_int_equal(node_changes_give_up(&fixture->core, "a", NULL), 0);
    settle(fixture);
    for (int i = 0; i < 4; i++)
        pass_time(fixture, 2000, "b");
    assert_true(fixture->core.model.frozen);
    assert_int_equal(running_on(fixture, "a"), 0);
}

/* That an instance did not get ready says nothing while nobody can say that it did. */
static void a_rollout_does_not_go_back_because_a_node_is_silent(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"rollout\": {\"progress_deadline\": \"5s\"}";
    begin(fixture, 1);
    deploy(fixture, "B", 1);
    report(fixture, "a", INSTANCE_STARTING, 0, 0);
    pass_time(fixture, 9999, "");
    assert_int_equal(state_of(fixture, "a"), NODE_READY);
    assert_int_equal(phase(fixture), ROLLOUT_PROGRESSING);
    pass_time(fixture, 1, "");
    assert_string_equal(service(fixture)->progress,
                        "0 of 1 healthy; node a is silent: 2 instances there are unknown");
    pass_time(fixture, 600000, "");
    assert_int_equal(phase(fixture), ROLLOUT_PROGRESSING);
    report(fixture, "a", INSTANCE_STARTING, 0, 0);
    assert_string_equal(service(fixture)->progress, "0 of 1 healthy");
    fixture->now_ms += 4000;
    report(fixture, "a", INSTANCE_STARTING, 0, 0);
    wake_at(fixture, 0);
    assert_int_equal(phase(fixture), ROLLOUT_PROGRESSING);
    fixture->now_ms += 1000;
    report(fixture, "a", INSTANCE_STARTING, 0, 0);
    wake_at(fixture, 0);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLING_BACK);
}

/* Else each start told of them anew, and they made the next loss look like a split. */
static void what_was_lost_before_a_start_is_lost_when_its_new_lease_ends(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture, 2);
    struct document_node *node =
        document_copy(DOCUMENT_NODE, model_node(&fixture->core.model, "a")->document);
    node->lost = true;
    model_apply(&fixture->core.model, DOCUMENT_NODE, node, false, fixture->now_ms);
    pass_time(fixture, 9999, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_READY);
    pass_time(fixture, 1, "b");
    assert_int_equal(state_of(fixture, "a"), NODE_LOST);
    assert_false(fixture->core.model.frozen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_node_is_suspect_then_lost_then_ready_again),
        TEST(a_wall_clock_that_jumps_makes_nobody_silent),
        TEST(one_that_is_back_before_it_was_replaced_keeps_what_it_runs),
        TEST(one_that_is_back_drains_what_was_replaced_before_it_stops),
        TEST(a_split_freezes_rescheduling_and_thaws_when_nodes_are_back),
        TEST(a_freeze_can_be_ended_by_giving_the_silent_ones_up),
        TEST(cordoned_nodes_count_for_no_split),
        TEST(lost_instances_are_replaced_at_the_rate_that_is_set),
        TEST(a_freeze_stops_the_line_too),
        TEST(one_that_is_lost_already_can_be_given_up_in_a_freeze),
        TEST(a_rollout_does_not_go_back_because_a_node_is_silent),
        TEST(what_was_lost_before_a_start_is_lost_when_its_new_lease_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
