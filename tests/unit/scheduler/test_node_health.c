/* When nodes are suspected, lost, and when too many are silent at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/node_health.h"
#include "scheduler/rescheduling.h"

static const struct node_health_settings settings = {10000, 30000, 0};

static enum node_state judge(enum node_state state, uint64_t heard_ms, uint64_t suspect_ms,
                             uint64_t now_ms, uint64_t *ret_next_ms)
{
    struct node_health_input node = {state, heard_ms, suspect_ms, false};
    return node_health_judge(&settings, &node, false, now_ms, ret_next_ms);
}

static void a_node_is_ready_until_its_lease_ends_and_the_next_look_is_then(void **state)
{
    (void)state;
    uint64_t next;
    assert_int_equal(judge(NODE_READY, 5000, 0, 14999, &next), NODE_READY);
    assert_int_equal(next, 15000);
    assert_int_equal(judge(NODE_READY, 5000, 0, 15000, &next), NODE_SUSPECT);
}

static void a_suspect_is_lost_after_its_time(void **state)
{
    (void)state;
    uint64_t next;
    assert_int_equal(judge(NODE_SUSPECT, 0, 10000, 39999, &next), NODE_SUSPECT);
    assert_int_equal(next, 40000);
    assert_int_equal(judge(NODE_SUSPECT, 0, 10000, 40000, &next), NODE_LOST);
    assert_int_equal(judge(NODE_LOST, 0, 10000, 99999, &next), NODE_LOST);
    assert_true(next == UINT64_MAX);
}

static void a_frozen_suspect_stays_one_unless_somebody_gave_it_up(void **state)
{
    (void)state;
    uint64_t next;
    struct node_health_input node = {NODE_SUSPECT, 0, 10000, false};
    assert_int_equal(node_health_judge(&settings, &node, true, 999999, &next), NODE_SUSPECT);
    assert_true(next == UINT64_MAX);
    node.given_up = true;
    assert_int_equal(node_health_judge(&settings, &node, true, 10001, &next), NODE_LOST);
}

static void every_move_it_makes_is_in_the_table(void **state)
{
    (void)state;
    for (int from = NODE_READY; from <= NODE_LOST; from++) {
        for (uint64_t now = 0; now < 100000; now += 1000) {
            uint64_t next;
            enum node_state to = judge((enum node_state)from, 0, 10000, now, &next);
            assert_true(to == (enum node_state)from ||
                        node_state_may_move((enum node_state)from, to));
        }
    }
    assert_false(node_state_may_move(NODE_READY, NODE_LOST));
    assert_true(node_state_may_move(NODE_LOST, NODE_READY));
}

static bool is_split(uint32_t ready, uint32_t suspect, uint32_t percent)
{
    struct node_health_settings other = {10000, 30000, percent};
    struct node_health_counts counts = {ready, suspect};
    return node_health_is_split(&other, &counts);
}

static void one_of_two_is_replaced_and_most_of_a_cluster_are_not(void **state)
{
    (void)state;
    assert_false(is_split(1, 0, 0));
    assert_true(is_split(0, 1, 0)); /* the only one: there is no other place anyway */
    assert_false(is_split(1, 1, 0));
    assert_false(is_split(2, 1, 0));
    assert_true(is_split(1, 2, 0));
    assert_false(is_split(500, 500, 0));
    assert_true(is_split(499, 501, 0));
    assert_false(is_split(0, 0, 0));
}

static void the_share_can_be_set_and_the_freeze_switched_off(void **state)
{
    (void)state;
    assert_true(is_split(7, 3, 20));
    assert_false(is_split(8, 2, 20));
    assert_false(is_split(0, 9, 100));
    assert_false(is_split(UINT32_MAX, UINT32_MAX, 50));
}

/* --- the line of those that are replaced --- */

static void the_highest_priority_goes_first_then_who_came_first(void **state)
{
    (void)state;
    struct rescheduling line = {0};
    static const char *const order[] = {"000100000003", "000100000001", "000100000004",
                                        "000100000002"};
    rescheduling_add(&line, "000100000001", 50);
    rescheduling_add(&line, "000100000002", 10);
    rescheduling_add(&line, "000100000003", 90);
    rescheduling_add(&line, "000100000004", 50);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(rescheduling_next(&line), order[i]);
        rescheduling_drop(&line);
    }
    assert_null(rescheduling_next(&line));
    rescheduling_finish(&line);
}

static void a_long_line_comes_out_in_order(void **state)
{
    (void)state;
    struct rescheduling line = {0};
    uint32_t last = UINT32_MAX, seed = 7;
    for (unsigned i = 0; i < 1000; i++) {
        char id[INSTANCE_ID_MAX];
        seed = seed * 1103515245 + 12345;
        uint32_t priority = seed >> 16 & 0x7f;
        snprintf(id, sizeof id, "%012u", priority);
        rescheduling_add(&line, id, priority);
    }
    for (unsigned i = 0; i < 1000; i++) {
        unsigned priority;
        assert_int_equal(sscanf(rescheduling_next(&line), "%u", &priority), 1);
        assert_true(priority <= last);
        last = priority;
        rescheduling_drop(&line);
    }
    rescheduling_finish(&line);
}

static void so_many_go_in_a_second_and_no_more_after_a_pause(void **state)
{
    (void)state;
    struct rescheduling line = {0};
    uint64_t now = 500000, next = 0, went = 0;
    while (rescheduling_may_go(&line, 10, now, &next))
        went++;
    assert_int_equal(went, 10);
    assert_int_equal(next, now + 100);
    assert_false(rescheduling_may_go(&line, 10, now + 99, &next));
    assert_int_equal(next, now + 100);
    assert_true(rescheduling_may_go(&line, 10, now + 100, &next));
    assert_false(rescheduling_may_go(&line, 10, now + 100, &next));
    went = 0;
    while (rescheduling_may_go(&line, 10, now + 3600000, &next))
        went++;
    assert_int_equal(went, 10);
}

static void the_rate_grows_with_the_nodes_unless_it_is_set(void **state)
{
    (void)state;
    assert_int_equal(rescheduling_rate(0, 1), 10);
    assert_int_equal(rescheduling_rate(0, 10000), 10000);
    assert_int_equal(rescheduling_rate(3, 10000), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_ready_until_its_lease_ends_and_the_next_look_is_then),
        cmocka_unit_test(a_suspect_is_lost_after_its_time),
        cmocka_unit_test(a_frozen_suspect_stays_one_unless_somebody_gave_it_up),
        cmocka_unit_test(every_move_it_makes_is_in_the_table),
        cmocka_unit_test(one_of_two_is_replaced_and_most_of_a_cluster_are_not),
        cmocka_unit_test(the_share_can_be_set_and_the_freeze_switched_off),
        cmocka_unit_test(the_highest_priority_goes_first_then_who_came_first),
        cmocka_unit_test(a_long_line_comes_out_in_order),
        cmocka_unit_test(so_many_go_in_a_second_and_no_more_after_a_pause),
        cmocka_unit_test(the_rate_grows_with_the_nodes_unless_it_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
