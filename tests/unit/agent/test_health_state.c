/* From single probes to a verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/health_state.h"

static void it_rises_after_that_many_passes_in_a_row(void **state)
{
    (void)state;
    struct health_state health;
    health_state_init(&health, false);
    assert_int_equal(health_state_record(&health, true, 2, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, false, 2, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, true, 2, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, true, 2, 3), HEALTH_ROSE);
    assert_true(health.healthy);
}

static void it_falls_after_that_many_failures_in_a_row(void **state)
{
    (void)state;
    struct health_state health;
    health_state_init(&health, true);
    assert_int_equal(health_state_record(&health, false, 1, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, false, 1, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, true, 1, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, false, 1, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, false, 1, 3), HEALTH_SAME);
    assert_int_equal(health_state_record(&health, false, 1, 3), HEALTH_FELL);
    assert_false(health.healthy);
}

static void zero_counts_as_one(void **state)
{
    (void)state;
    struct health_state health;
    health_state_init(&health, false);
    assert_int_equal(health_state_record(&health, true, 0, 0), HEALTH_ROSE);
    assert_int_equal(health_state_record(&health, false, 0, 0), HEALTH_FELL);
}

static void a_verdict_is_told_once(void **state)
{
    (void)state;
    struct health_state health;
    health_state_init(&health, false);
    assert_int_equal(health_state_record(&health, true, 1, 1), HEALTH_ROSE);
    assert_int_equal(health_state_record(&health, true, 1, 1), HEALTH_SAME);
}

static void until_the_first_pass_the_wait_doubles_up_to_every(void **state)
{
    (void)state;
    static const uint64_t waits[] = {5, 10, 20, 40, 80, 100, 100};
    struct health_state health;
    health_state_init(&health, false);
    for (unsigned i = 0; i < 7; i++) {
        health_state_record(&health, false, 1, 1);
        assert_int_equal(health_state_next_delay(&health, 100), waits[i]);
    }
}

static void after_a_pass_it_waits_every(void **state)
{
    (void)state;
    struct health_state health;
    health_state_init(&health, false);
    health_state_record(&health, true, 3, 3);
    assert_int_equal(health_state_next_delay(&health, 1000), 1000);
    health_state_record(&health, false, 3, 3);
    assert_int_equal(health_state_next_delay(&health, 1000), 1000);
}

static void an_adopted_check_does_not_hurry(void **state)
{
    (void)state;
    struct health_state health;
    health_state_init(&health, true);
    health_state_record(&health, false, 1, 3);
    assert_int_equal(health_state_next_delay(&health, 1000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rises_after_that_many_passes_in_a_row),
        cmocka_unit_test(it_falls_after_that_many_failures_in_a_row),
        cmocka_unit_test(zero_counts_as_one),
        cmocka_unit_test(a_verdict_is_told_once),
        cmocka_unit_test(until_the_first_pass_the_wait_doubles_up_to_every),
        cmocka_unit_test(after_a_pass_it_waits_every),
        cmocka_unit_test(an_adopted_check_does_not_hurry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
