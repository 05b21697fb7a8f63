/* From single probes to a verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

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

static void moments_come_every_so_often_whatever_made_one_late(void **state)
{
    (void)state;
    uint64_t now = 123456, first = now + health_state_spread(now, 1000, "0001000000a7/readiness");
    for (unsigned late = 0; late < 500; late++) {
        uint64_t next =
            first + late + health_state_spread(first + late, 1000, "0001000000a7/readiness");
        assert_int_equal(next, first + 1000);
    }
    /* One that took longer than half its time leaves one out. */
    assert_int_equal(first + 501 + health_state_spread(first + 501, 1000, "0001000000a7/readiness"),
                     first + 2000);
}

static void checks_of_many_instances_do_not_march_in_step(void **state)
{
    unsigned count[20] = {0};
    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        char name[40];
        snprintf(name, sizeof name, "0001%08x/readiness", i);
        uint64_t delay = health_state_spread(5000, 1000, name);
        assert_true(delay >= 500 && delay < 1500);
        count[delay % 1000 / 50]++;
    }
    /* 200 in each twentieth of a second would be even. */
    for (unsigned i = 0; i < 20; i++)
        assert_true(count[i] > 130 && count[i] < 270);
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
        cmocka_unit_test(moments_come_every_so_often_whatever_made_one_late),
        cmocka_unit_test(checks_of_many_instances_do_not_march_in_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
