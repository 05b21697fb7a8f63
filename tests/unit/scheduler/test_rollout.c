#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "scheduler/rollout.h"

static struct rollout_input progressing(uint64_t now_ms)
{
    return (struct rollout_input){
        .phase = ROLLOUT_PROGRESSING,
        .from = 1,
        .to = 2,
        .replicas = 3,
        .settings = {.max_surge = 1,
                     .min_healthy_time_ms = 3000,
                     .progress_deadline_ms = 20000,
                     .auto_rollback = true},
        .counts = {.healthy = 1, .updated = 2, .old = 2, .trying = true},
        .last_failure = "",
        .now_ms = now_ms,
    };
}

static enum rollout_phase decide(const struct rollout_input *input, struct rollout_clock *clock)
{
    struct rollout_decision decision;
    rollout_decide(input, clock, &decision);
    return decision.phase;
}

static void succeeds_when_all_are_healthy_and_the_old_ones_are_gone(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(1000);
    input.counts = (struct reconcile_counts){.healthy = 3, .updated = 3, .old = 1};
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input.counts.old = 0;
    assert_int_equal(decide(&input, &clock), ROLLOUT_SUCCEEDED);
}

static void rolls_back_at_the_third_failure_of_a_slot(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_decision decision;
    struct rollout_input input = progressing(1000);
    input.slot_failures = 2;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input.slot_failures = 3;
    input.last_failure = "the guest ended by itself";
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_ROLLING_BACK);
    assert_non_null(strstr(decision.reason, "the guest ended by itself"));
    assert_non_null(strstr(decision.reason, "back to revision 1"));
}

static void a_revision_that_was_revoked_is_given_up_at_once(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_decision decision;
    struct rollout_input input = progressing(1000);
    input.revoked = "key ci was removed";
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_ROLLING_BACK);
    assert_non_null(strstr(decision.reason, "key ci was removed; back to revision 1"));
    input.phase = ROLLOUT_ROLLING_BACK;
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_FAILED);
    assert_non_null(strstr(decision.reason, "revision 1 did not come back: key ci was removed"));
}

static void the_deadline_runs_from_the_last_that_became_healthy(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(0);
    decide(&input, &clock);
    input.now_ms = 19999;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input.became_healthy = true;
    decide(&input, &clock);
    input.became_healthy = false;
    input.now_ms = 39998;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input.now_ms = 39999;
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLING_BACK);
}

static void the_deadline_stands_still_while_room_is_the_only_obstacle(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_decision decision;
    struct rollout_input input = progressing(0);
    decide(&input, &clock);
    input.now_ms = 10000;
    input.counts.trying = false;
    input.no_capacity = "no node has room";
    rollout_decide(&input, &clock, &decision);
    assert_string_equal(decision.reason, "no node has room");
    assert_true(decision.next_ms == UINT64_MAX);
    input.now_ms = 1000000;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input.counts.trying = true;
    input.no_capacity = NULL;
    rollout_decide(&input, &clock, &decision);
    assert_true(decision.next_ms == 1010000);
    input.now_ms = 1010000;
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLING_BACK);
}

static void the_deadline_counts_only_time_that_nodes_have_told_of(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_decision decision;
    struct rollout_input input = progressing(1000);
    input.counts.told_ms = 1000;
    decide(&input, &clock);
    input.now_ms = 21000;
    input.counts.told_ms = 20900;
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_PROGRESSING);
    /* Not again and again before there can be news. */
    assert_true(decision.next_ms == 22000);
    input.now_ms = 21500;
    input.counts.told_ms = 21400;
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLING_BACK);
}

static void the_deadline_goes_on_where_it_was_when_a_silent_node_is_back(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_decision decision;
    struct rollout_input input = progressing(1000);
    input.counts.told_ms = 1000;
    decide(&input, &clock);
    input.now_ms = 16000;
    input.counts.told_ms = 6000;
    input.counts.trying = false;
    input.silence = "node a is silent: 2 instances there are unknown";
    rollout_decide(&input, &clock, &decision);
    assert_string_equal(decision.reason,
                        "1 of 3 healthy; node a is silent: 2 instances there are unknown");
    assert_true(decision.next_ms == UINT64_MAX);
    input.now_ms = input.counts.told_ms = 1000000;
    input.counts.trying = true;
    rollout_decide(&input, &clock, &decision);
    assert_true(decision.next_ms == 1015000);
    input.now_ms = input.counts.told_ms = 1015000;
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_ROLLING_BACK);
    assert_non_null(strstr(decision.reason, "within 20s (1 of 3 are); node a is silent"));
}

static void a_first_deploy_fails_and_has_nothing_to_return_to(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(1000);
    input.from = 0;
    input.slot_failures = 3;
    assert_int_equal(decide(&input, &clock), ROLLOUT_FAILED);
}

static void without_auto_rollback_it_fails(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(1000);
    input.settings.auto_rollback = false;
    input.slot_failures = 3;
    assert_int_equal(decide(&input, &clock), ROLLOUT_FAILED);
}

static void a_restart_that_fails_stops_there(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(1000);
    struct rollout_decision decision;
    input.from = input.to;
    input.slot_failures = 3;
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_FAILED);
    /* So does a rollback to what worked last, out of a rollout: its reason fits both. */
    assert_non_null(strstr(decision.reason, "nothing else to return to"));
}

static void going_back_ends_when_the_old_revision_is_whole_again(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(1000);
    input.phase = ROLLOUT_ROLLING_BACK;
    input.slot_failures = 5;
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLING_BACK);
    input.counts = (struct reconcile_counts){.healthy = 3, .updated = 3};
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLED_BACK);
}

static void going_back_can_fail_too(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(0);
    input.phase = ROLLOUT_ROLLING_BACK;
    decide(&input, &clock);
    input.now_ms = 20000;
    assert_int_equal(decide(&input, &clock), ROLLOUT_FAILED);
}

static void no_replicas_are_enough_when_none_are_wanted(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(0);
    input.replicas = 0;
    input.counts = (struct reconcile_counts){0};
    assert_int_equal(decide(&input, &clock), ROLLOUT_SUCCEEDED);
}

static void a_paused_rollout_stands_still_until_it_is_resumed(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(0);
    decide(&input, &clock);
    input.now_ms = 10000;
    input.phase = ROLLOUT_PAUSED;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PAUSED);
    input.now_ms = 500000;
    input.slot_failures = 3;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PAUSED);
    input.slot_failures = 0;
    input.phase = ROLLOUT_PROGRESSING;
    decide(&input, &clock);
    input.now_ms = 509999;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input.now_ms = 510000;
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLING_BACK);
}

static void one_that_is_complete_stays_paused(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = progressing(0);
    input.phase = ROLLOUT_PAUSED;
    input.counts = (struct reconcile_counts){.healthy = 3, .updated = 3};
    assert_int_equal(decide(&input, &clock), ROLLOUT_PAUSED);
    input.counts.old = 1;
    input.revoked = "key ci was removed";
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLING_BACK);
}

static struct rollout_input judging(uint32_t healthy)
{
    struct rollout_input input = progressing(10000);
    input.canary = 2;
    input.counts = (struct reconcile_counts){
        .healthy = healthy, .updated = 2, .old = 3, .all_ready_since_ms = 5000};
    return input;
}

static void healthy_canaries_wait_for_somebody(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = judging(1);
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input = judging(2);
    assert_int_equal(decide(&input, &clock), ROLLOUT_AWAITING_PROMOTION);
    input.phase = ROLLOUT_AWAITING_PROMOTION;
    input.now_ms = 100000000;
    assert_int_equal(decide(&input, &clock), ROLLOUT_AWAITING_PROMOTION);
}

static void canaries_that_stayed_ready_are_promoted_by_themselves(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_decision decision;
    struct rollout_input input = judging(2);
    input.phase = ROLLOUT_AWAITING_PROMOTION;
    input.settings.auto_promote = true;
    input.settings.canary_time_ms = 60000;
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_AWAITING_PROMOTION);
    assert_int_equal(decision.next_ms, 65000);
    input.now_ms = 65000;
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_PROGRESSING);
    assert_true(decision.promotes);
}

static void a_canary_that_is_not_healthy_any_more_is_tried_again_then_goes_back(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_input input = judging(1);
    input.phase = ROLLOUT_AWAITING_PROMOTION;
    assert_int_equal(decide(&input, &clock), ROLLOUT_PROGRESSING);
    input.slot_failures = 3;
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLING_BACK);
    /* None is waited for on the way back. */
    input.phase = ROLLOUT_ROLLING_BACK;
    input.counts = (struct reconcile_counts){.healthy = 3, .updated = 3};
    assert_int_equal(decide(&input, &clock), ROLLOUT_ROLLED_BACK);
}

static void canaries_that_nobody_wants_any_more_are_not_waited_for(void **state)
{
    (void)state;
    struct rollout_clock clock = {0};
    struct rollout_decision decision;
    struct rollout_input input = judging(2);
    input.phase = ROLLOUT_AWAITING_PROMOTION;
    input.canary = 0;
    rollout_decide(&input, &clock, &decision);
    assert_int_equal(decision.phase, ROLLOUT_PROGRESSING);
    assert_true(decision.promotes);
}

static void each_phase_has_its_way_of_being_kept(void **state)
{
    (void)state;
    assert_int_equal(rollout_mode(ROLLOUT_PROGRESSING, 0), RECONCILE_ROLLOUT);
    assert_int_equal(rollout_mode(ROLLOUT_PROGRESSING, 2), RECONCILE_CANARY);
    assert_int_equal(rollout_mode(ROLLOUT_AWAITING_PROMOTION, 2), RECONCILE_CANARY);
    assert_int_equal(rollout_mode(ROLLOUT_PAUSED, 2), RECONCILE_PAUSED);
    assert_int_equal(rollout_mode(ROLLOUT_ROLLING_BACK, 2), RECONCILE_ROLLOUT);
    assert_int_equal(rollout_mode(ROLLOUT_FAILED, 2), RECONCILE_HOLD);
    assert_int_equal(rollout_mode(ROLLOUT_SUCCEEDED, 2), RECONCILE_STEADY);
    assert_int_equal(rollout_target(ROLLOUT_PAUSED, 1, 2), 2);
    assert_int_equal(rollout_target(ROLLOUT_AWAITING_PROMOTION, 1, 2), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(succeeds_when_all_are_healthy_and_the_old_ones_are_gone),
        cmocka_unit_test(rolls_back_at_the_third_failure_of_a_slot),
        cmocka_unit_test(a_revision_that_was_revoked_is_given_up_at_once),
        cmocka_unit_test(the_deadline_runs_from_the_last_that_became_healthy),
        cmocka_unit_test(the_deadline_stands_still_while_room_is_the_only_obstacle),
        cmocka_unit_test(the_deadline_counts_only_time_that_nodes_have_told_of),
        cmocka_unit_test(the_deadline_goes_on_where_it_was_when_a_silent_node_is_back),
        cmocka_unit_test(a_first_deploy_fails_and_has_nothing_to_return_to),
        cmocka_unit_test(without_auto_rollback_it_fails),
        cmocka_unit_test(a_restart_that_fails_stops_there),
        cmocka_unit_test(going_back_ends_when_the_old_revision_is_whole_again),
        cmocka_unit_test(going_back_can_fail_too),
        cmocka_unit_test(no_replicas_are_enough_when_none_are_wanted),
        cmocka_unit_test(a_paused_rollout_stands_still_until_it_is_resumed),
        cmocka_unit_test(one_that_is_complete_stays_paused),
        cmocka_unit_test(healthy_canaries_wait_for_somebody),
        cmocka_unit_test(canaries_that_stayed_ready_are_promoted_by_themselves),
        cmocka_unit_test(a_canary_that_is_not_healthy_any_more_is_tried_again_then_goes_back),
        cmocka_unit_test(canaries_that_nobody_wants_any_more_are_not_waited_for),
        cmocka_unit_test(each_phase_has_its_way_of_being_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
