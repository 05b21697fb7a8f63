#include "tests/unit/scheduler/reconcile_fixture.h"

static void a_new_service_fills_every_slot(void **state)
{
    (void)state;
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 3, NULL, 0);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 3);
    for (uint32_t slot = 0; slot < 3; slot++) {
        assert_int_equal(result.actions[slot].kind, RECONCILE_CREATE);
        assert_int_equal(result.actions[slot].slot, slot);
        assert_int_equal(result.actions[slot].instance, RECONCILE_NONE);
    }
}

static void a_rollout_starts_a_new_one_before_an_old_one_ends(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(ready_old, 0), at(ready_old, 1), at(ready_old, 2)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, three, 3);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 1);
    assert_int_equal(result.actions[0].kind, RECONCILE_CREATE);
}

static void an_old_one_leaves_once_its_successor_is_healthy_not_before(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(ready_old, 0), at(ready_old, 1), at(ready_old, 2),
                                        at(young_new, 0)};
    AUTO_RESULT early = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, four, 4);
    reconcile_decide(&in, &early);
    assert_int_equal(early.action_count, 0);
    assert_int_equal(early.next_ms, NOW + 1);

    AUTO_RESULT late = {0};
    four[3] = at(healthy_new, 0);
    reconcile_decide(&in, &late);
    assert_int_equal(late.action_count, 1);
    assert_int_equal(late.actions[0].kind, RECONCILE_DRAIN);
    assert_int_equal(late.actions[0].instance, 0);
}

static void draining_ones_count_until_they_have_stopped(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(ready_old, 0), at(ready_old, 1), at(ready_old, 2),
                                        at(healthy_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, four, 4);
    four[0].wish = WISH_DRAIN;
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 0);
    assert_int_equal(result.counts.old, 3);
}

static void a_drained_one_is_stopped(void **state)
{
    (void)state;
    struct reconcile_instance two[] = {at(ready_old, 0), at(healthy_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 1, two, 2);
    two[0].wish = WISH_DRAIN;
    two[0].drained = true;
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 1);
    assert_int_equal(result.actions[0].kind, RECONCILE_STOP);
}

static void without_surge_an_old_one_leaves_first(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(ready_old, 0), at(ready_old, 1), at(ready_old, 2)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, three, 3);
    in.max_surge = 0;
    in.max_unavailable = 1;
    reconcile_decide(&in, &result);
    assert_int_equal(count_of(&result, RECONCILE_DRAIN), 1);
    assert_int_equal(count_of(&result, RECONCILE_CREATE), 0);
}

static void going_back_keeps_the_healthy_old_ones(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(healthy_new, 0), at(healthy_new, 1), at(healthy_new, 2),
                                        at(broken_old, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, four, 4);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 1);
    assert_int_equal(result.actions[0].kind, RECONCILE_DRAIN);
    assert_int_equal(result.actions[0].instance, 3);
}

static void broken_old_ones_make_room_for_new_ones(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(broken_old, 0), at(broken_old, 1), at(broken_old, 2),
                                        at(booting_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, four, 4);
    reconcile_decide(&in, &result);
    assert_int_equal(count_of(&result, RECONCILE_DRAIN), 2);
}

static void scaling_down_empties_the_last_slots(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(healthy_new, 0), at(healthy_new, 1),
                                         at(healthy_new, 2)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 1, three, 3);
    reconcile_decide(&in, &result);
    assert_int_equal(count_of(&result, RECONCILE_DRAIN), 2);
    assert_int_equal(result.actions[0].slot, 1);
}

static void scaling_down_keeps_a_ready_one_beyond_while_one_below_is_not(void **state)
{
    (void)state;
    struct reconcile_instance two[] = {at(booting_new, 0), at(healthy_new, 1)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 1, two, 2);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 0);
}

static void a_failed_one_is_replaced_after_its_backoff(void **state)
{
    (void)state;
    struct reconcile_instance failed = {
        .matches = true, .state = INSTANCE_FAILED, .attempt = 1, .failed_ms = NOW - 9999};
    AUTO_RESULT early = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 1, &failed, 1);
    reconcile_decide(&in, &early);
    assert_int_equal(early.action_count, 0);
    assert_int_equal(early.next_ms, NOW + 1);
    assert_true(early.counts.trying);

    AUTO_RESULT due = {0};
    in.now_ms++;
    reconcile_decide(&in, &due);
    assert_int_equal(due.action_count, 1);
    assert_int_equal(due.actions[0].kind, RECONCILE_CREATE);
    assert_int_equal(due.actions[0].instance, 0);
    assert_int_equal(due.actions[0].attempt, 2);
}

static void after_its_attempts_it_is_given_up(void **state)
{
    (void)state;
    struct reconcile_instance failed = {.matches = true, .state = INSTANCE_FAILED, .attempt = 2};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 1, &failed, 1);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 1);
    assert_int_equal(result.actions[0].kind, RECONCILE_GIVE_UP);

    AUTO_RESULT again = {0};
    failed.given_up = true;
    reconcile_decide(&in, &again);
    assert_int_equal(again.action_count, 0);
}

static void a_guest_that_may_end_is_not_started_again(void **state)
{
    (void)state;
    struct reconcile_instance ended = {.matches = true, .state = INSTANCE_STOPPED};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 1, &ended, 1);
    in.restart = API_RESTART_ON_FAILURE;
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 0);
}

static void a_silent_one_is_replaced_only_once_it_is_lost(void **state)
{
    (void)state;
    struct reconcile_instance away = {
        .matches = true, .state = INSTANCE_READY, .silent = true, .attempt = 1};
    AUTO_RESULT waiting = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 1, &away, 1);
    reconcile_decide(&in, &waiting);
    assert_int_equal(waiting.action_count, 0);
    assert_int_equal(waiting.counts.ready, 0);
    /* Nobody knows how it does: that is no trouble of the rollout's. */
    assert_false(waiting.counts.trying);

    AUTO_RESULT lost = {0};
    away.lost = true;
    reconcile_decide(&in, &lost);
    assert_int_equal(lost.action_count, 1);
    assert_int_equal(lost.actions[0].kind, RECONCILE_CREATE);
    assert_int_equal(lost.actions[0].attempt, 1);
    assert_false(lost.counts.trying);
}

static void what_is_known_of_those_that_try_is_as_old_as_their_nodes_reports(void **state)
{
    (void)state;
    struct reconcile_instance two[] = {
        {.matches = true, .state = INSTANCE_STARTING, .told_ms = NOW - 700},
        {.slot = 1, .matches = true, .state = INSTANCE_STARTING, .told_ms = NOW - 300}};
    AUTO_RESULT booting = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 2, two, 2);
    reconcile_decide(&in, &booting);
    assert_true(booting.counts.told_ms == NOW - 300);
    assert_int_equal(booting.counts.unknown, 0);

    AUTO_RESULT silent = {0};
    two[1].silent = true;
    reconcile_decide(&in, &silent);
    assert_true(silent.counts.trying);
    assert_int_equal(silent.counts.unknown, 1);

    /* When the next try begins is up to nobody but us. */
    AUTO_RESULT failed = {0};
    two[0].state = INSTANCE_FAILED;
    two[0].failed_ms = NOW;
    reconcile_decide(&in, &failed);
    assert_true(failed.counts.told_ms == NOW);

    /* One that is well is not waited for. */
    AUTO_RESULT healthy = {0};
    for (size_t i = 0; i < 2; i++)
        two[i] = (struct reconcile_instance){
            .slot = (uint32_t)i, .matches = true, .state = INSTANCE_READY, .told_ms = NOW - 300};
    reconcile_decide(&in, &healthy);
    assert_true(healthy.counts.told_ms == 0);
}

/* Else a node with what never gets ready could not be drained. */
static void one_that_leaves_and_is_not_ready_goes_once_its_slot_has_another(void **state)
{
    (void)state;
    struct reconcile_instance two[] = {at(booting_new, 0), at(booting_new, 0)};
    AUTO_RESULT alone = {0}, replaced = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 1, two, 1);
    two[0].leaving = true;
    reconcile_decide(&in, &alone);
    assert_int_equal(alone.action_count, 1);
    assert_int_equal(alone.actions[0].kind, RECONCILE_CREATE);
    in.instance_count = 2;
    reconcile_decide(&in, &replaced);
    assert_int_equal(replaced.action_count, 1);
    assert_int_equal(replaced.actions[0].kind, RECONCILE_DRAIN);
    assert_int_equal(replaced.actions[0].instance, 0);
}

static void a_failed_rollout_holds_what_is_there(void **state)
{
    (void)state;
    struct reconcile_instance mixed[] = {
        at(healthy_new, 0),
        {.slot = 1, .matches = true, .state = INSTANCE_FAILED},
        at(booting_new, 2),
    };
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_HOLD, 3, mixed, 3);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 0);
    in.replicas = 4;
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 1);
    assert_int_equal(result.actions[0].kind, RECONCILE_CREATE);
    assert_int_equal(result.actions[0].slot, 3);
}

static void removing_a_service_ends_everything(void **state)
{
    (void)state;
    struct reconcile_instance mixed[] = {
        at(healthy_new, 0),
        {.slot = 1, .matches = true, .state = INSTANCE_FAILED},
        at(booting_new, 2),
    };
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_STEADY, 0, mixed, 3);
    reconcile_decide(&in, &result);
    assert_int_equal(count_of(&result, RECONCILE_STOP), 1);
    assert_int_equal(count_of(&result, RECONCILE_DRAIN), 2);
}

static void of_two_that_match_in_one_slot_the_better_one_is_kept(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(young_new, 0), at(healthy_new, 0), at(healthy_new, 1)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 2, three, 3);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 1);
    assert_int_equal(result.actions[0].kind, RECONCILE_DRAIN);
    assert_int_equal(result.actions[0].instance, 0);
    assert_int_equal(result.counts.updated, 2);
    assert_int_equal(result.counts.old, 1);
}

static void two_healthy_ones_in_one_slot_do_not_stand_for_an_empty_one(void **state)
{
    (void)state;
    struct reconcile_instance two[] = {at(healthy_new, 0), at(healthy_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 2, two, 2);
    reconcile_decide(&in, &result);
    assert_int_equal(result.counts.healthy, 1);
    assert_int_equal(result.action_count, 1);
    assert_int_equal(result.actions[0].kind, RECONCILE_CREATE);
    assert_int_equal(result.actions[0].slot, 1);
}

static void an_unready_one_that_never_worked_gives_its_room_to_who_finds_none(void **state)
{
    (void)state;
    struct reconcile_instance one = broken_old;
    AUTO_RESULT with_room = {0}, without = {0}, worked = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 1, &one, 1);
    reconcile_decide(&in, &with_room);
    assert_int_equal(count_of(&with_room, RECONCILE_DRAIN), 0);
    in.no_room = true;
    reconcile_decide(&in, &without);
    assert_int_equal(count_of(&without, RECONCILE_DRAIN), 1);
    /* One of the revision that worked last may come back, and the new one may not fit anyway. */
    one.replaceable = true;
    reconcile_decide(&in, &worked);
    assert_int_equal(count_of(&worked, RECONCILE_DRAIN), 0);
}

static void no_more_unready_ones_go_than_are_waited_for(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(broken_old, 0), at(broken_old, 1), at(broken_old, 2),
                                        at(booting_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, four, 4);
    four[1].wish = WISH_STOP;
    four[2].wish = WISH_STOP;
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 0);
}

static void with_volumes_a_slot_is_empty_before_it_is_filled(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(ready_good, 0), at(ready_good, 1), at(ready_good, 2)};
    AUTO_RESULT first = {0}, draining = {0}, empty = {0};
    struct reconcile_input in = input(RECONCILE_ROLLOUT, 3, three, 3);
    in.stop_first = true;
    in.max_surge = 5;
    in.max_unavailable = 3;
    reconcile_decide(&in, &first);
    assert_int_equal(first.action_count, 1);
    assert_int_equal(first.actions[0].kind, RECONCILE_DRAIN);
    /* Nothing starts elsewhere, nor there before it has stopped. */
    three[0].wish = WISH_STOP;
    reconcile_decide(&in, &draining);
    assert_int_equal(draining.action_count, 0);
    three[0].state = INSTANCE_STOPPED;
    reconcile_decide(&in, &empty);
    assert_int_equal(empty.action_count, 1);
    assert_int_equal(empty.actions[0].kind, RECONCILE_CREATE);
    assert_int_equal(empty.actions[0].slot, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_service_fills_every_slot),
        cmocka_unit_test(a_rollout_starts_a_new_one_before_an_old_one_ends),
        cmocka_unit_test(an_old_one_leaves_once_its_successor_is_healthy_not_before),
        cmocka_unit_test(draining_ones_count_until_they_have_stopped),
        cmocka_unit_test(a_drained_one_is_stopped),
        cmocka_unit_test(without_surge_an_old_one_leaves_first),
        cmocka_unit_test(going_back_keeps_the_healthy_old_ones),
        cmocka_unit_test(broken_old_ones_make_room_for_new_ones),
        cmocka_unit_test(scaling_down_empties_the_last_slots),
        cmocka_unit_test(scaling_down_keeps_a_ready_one_beyond_while_one_below_is_not),
        cmocka_unit_test(a_failed_one_is_replaced_after_its_backoff),
        cmocka_unit_test(after_its_attempts_it_is_given_up),
        cmocka_unit_test(a_guest_that_may_end_is_not_started_again),
        cmocka_unit_test(a_silent_one_is_replaced_only_once_it_is_lost),
        cmocka_unit_test(what_is_known_of_those_that_try_is_as_old_as_their_nodes_reports),
        cmocka_unit_test(one_that_leaves_and_is_not_ready_goes_once_its_slot_has_another),
        cmocka_unit_test(a_failed_rollout_holds_what_is_there),
        cmocka_unit_test(removing_a_service_ends_everything),
        cmocka_unit_test(of_two_that_match_in_one_slot_the_better_one_is_kept),
        cmocka_unit_test(two_healthy_ones_in_one_slot_do_not_stand_for_an_empty_one),
        cmocka_unit_test(an_unready_one_that_never_worked_gives_its_room_to_who_finds_none),
        cmocka_unit_test(no_more_unready_ones_go_than_are_waited_for),
        cmocka_unit_test(with_volumes_a_slot_is_empty_before_it_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
