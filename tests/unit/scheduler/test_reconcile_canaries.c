/* Canaries, and rollouts that are paused: both keep two revisions side by side. */
#include "tests/unit/scheduler/reconcile_fixture.h"

static void canaries_stand_beside_the_others(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(ready_good, 0), at(ready_good, 1), at(ready_good, 2)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_CANARY, 3, three, 3);
    in.canary = 2; /* more than max_surge */
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 2);
    for (uint32_t slot = 0; slot < 2; slot++) {
        assert_int_equal(result.actions[slot].kind, RECONCILE_CREATE);
        assert_int_equal(result.actions[slot].slot, slot);
        assert_false(result.actions[slot].of_good);
    }
}

static void healthy_canaries_end_nobody_until_they_are_promoted(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(ready_good, 0), at(ready_good, 1), at(ready_good, 2),
                                        at(healthy_new, 0)};
    AUTO_RESULT judged = {0}, promoted = {0};
    struct reconcile_input in = input(RECONCILE_CANARY, 3, four, 4);
    in.canary = 1;
    reconcile_decide(&in, &judged);
    assert_int_equal(judged.action_count, 0);
    assert_int_equal(judged.counts.healthy, 1);
    assert_int_equal(judged.counts.all_ready_since_ms, NOW - 3000);

    in.mode = RECONCILE_ROLLOUT;
    in.canary = 0;
    reconcile_decide(&in, &promoted);
    assert_int_equal(promoted.action_count, 1);
    assert_int_equal(promoted.actions[0].kind, RECONCILE_DRAIN);
    assert_int_equal(promoted.actions[0].instance, 0);
}

static void beside_canaries_each_slot_gets_the_revision_that_worked(void **state)
{
    (void)state;
    /* Slot 1 was replaced by a rollout that this one supersedes, slot 2 is new, slot 0 failed. */
    struct reconcile_instance three[] = {at(failed_good, 0), at(ready_old, 1), at(healthy_new, 1)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_CANARY, 3, three, 3);
    in.canary = 1;
    in.max_surge = 3;
    reconcile_decide(&in, &result);
    assert_int_equal(count_of(&result, RECONCILE_CREATE), 4);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(result.actions[i].slot, i);
        assert_true(result.actions[i].of_good);
    }
    assert_int_equal(result.actions[0].instance, 0);
    assert_false(result.actions[3].of_good);
    /* Without a floor to keep, what is neither goes, and so does a canary in the wrong slot. */
    AUTO_RESULT loose = {0};
    in.max_unavailable = 3;
    reconcile_decide(&in, &loose);
    assert_int_equal(count_of(&loose, RECONCILE_DRAIN), 2);
}

static void a_canary_stands_for_nobody(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(ready_good, 0), at(ready_old, 1), at(healthy_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_CANARY, 2, three, 3);
    in.canary = 1;
    in.max_surge = 0;
    reconcile_decide(&in, &result);
    assert_int_equal(count_of(&result, RECONCILE_DRAIN), 0);
}

/* Canaries take none of max_surge: who waits for `promote` waits for long. */
static void beside_canaries_a_node_that_drains_is_left_all_the_same(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(ready_good, 0), at(ready_good, 1), at(ready_good, 2),
                                        at(healthy_new, 0)};
    struct reconcile_input in = input(RECONCILE_CANARY, 3, four, 4);
    in.canary = 1;
    four[1].leaving = true;
    for (int i = 0; i < 2; i++) {
        AUTO_RESULT result = {0};
        in.mode = i == 0 ? RECONCILE_CANARY : RECONCILE_PAUSED;
        reconcile_decide(&in, &result);
        assert_int_equal(result.action_count, 1);
        assert_int_equal(result.actions[0].kind, RECONCILE_CREATE);
        assert_int_equal(result.actions[0].slot, 1);
        assert_true(result.actions[0].of_good);
    }
}

static void a_paused_rollout_starts_and_ends_nothing(void **state)
{
    (void)state;
    struct reconcile_instance four[] = {at(ready_good, 0), at(ready_good, 1), at(ready_good, 2),
                                        at(healthy_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_PAUSED, 3, four, 4);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 0);
    /* What is drained already is stopped. */
    AUTO_RESULT drained = {0};
    four[1].wish = WISH_DRAIN;
    four[1].drained = true;
    reconcile_decide(&in, &drained);
    assert_int_equal(count_of(&drained, RECONCILE_STOP), 1);
    assert_int_equal(count_of(&drained, RECONCILE_DRAIN), 0);
}

static void a_paused_rollout_replaces_what_fails_by_its_like(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(healthy_new, 0), at(failed_new, 1), at(failed_good, 2)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_PAUSED, 3, three, 3);
    reconcile_decide(&in, &result);
    assert_int_equal(result.action_count, 2);
    assert_int_equal(result.actions[0].instance, 1);
    assert_false(result.actions[0].of_good);
    assert_int_equal(result.actions[1].instance, 2);
    assert_true(result.actions[1].of_good);
}

static void a_paused_rollout_is_scaled_with_the_revision_that_worked(void **state)
{
    (void)state;
    struct reconcile_instance two[] = {at(healthy_new, 0), at(ready_good, 1)};
    AUTO_RESULT more = {0}, less = {0};
    struct reconcile_input in = input(RECONCILE_PAUSED, 3, two, 2);
    reconcile_decide(&in, &more);
    assert_int_equal(more.action_count, 1);
    assert_int_equal(more.actions[0].slot, 2);
    assert_true(more.actions[0].of_good);
    in.replicas = 1;
    reconcile_decide(&in, &less);
    assert_int_equal(less.action_count, 1);
    assert_int_equal(less.actions[0].kind, RECONCILE_DRAIN);
    assert_int_equal(less.actions[0].instance, 1);
}

static void paused_canaries_and_those_beside_them_are_both_kept(void **state)
{
    (void)state;
    struct reconcile_instance three[] = {at(failed_good, 0), at(ready_good, 1), at(failed_new, 0)};
    AUTO_RESULT result = {0};
    struct reconcile_input in = input(RECONCILE_PAUSED, 2, three, 3);
    in.canary = 1;
    reconcile_decide(&in, &result);
    assert_int_equal(count_of(&result, RECONCILE_CREATE), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canaries_stand_beside_the_others),
        cmocka_unit_test(healthy_canaries_end_nobody_until_they_are_promoted),
        cmocka_unit_test(beside_canaries_each_slot_gets_the_revision_that_worked),
        cmocka_unit_test(a_canary_stands_for_nobody),
        cmocka_unit_test(beside_canaries_a_node_that_drains_is_left_all_the_same),
        cmocka_unit_test(a_paused_rollout_starts_and_ends_nothing),
        cmocka_unit_test(a_paused_rollout_replaces_what_fails_by_its_like),
        cmocka_unit_test(a_paused_rollout_is_scaled_with_the_revision_that_worked),
        cmocka_unit_test(paused_canaries_and_those_beside_them_are_both_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
