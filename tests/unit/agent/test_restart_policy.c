/* When an ended instance is started again in place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/restart_policy.h"

static const struct api_restart always = {
    .policy = API_RESTART_ALWAYS,
    .attempts = 4,
    .backoff_ms = 1000,
    .max_backoff_ms = 3000,
    .reset_after_ms = 60000,
};

static void the_delay_doubles_up_to_its_limit(void **state)
{
    (void)state;
    static const uint64_t delays[] = {1000, 2000, 3000, 3000};
    struct restart_history history = {0};
    for (unsigned i = 0; i < 4; i++) {
        struct restart_decision decision = restart_policy_decide(&always, &history, true, 5000 + i);
        assert_true(decision.restart);
        assert_int_equal(decision.delay_ms, delays[i]);
    }
}

static void it_ends_after_the_allowed_attempts(void **state)
{
    (void)state;
    struct restart_history history = {0};
    for (unsigned i = 0; i < always.attempts; i++)
        assert_true(restart_policy_decide(&always, &history, true, 100000 + i).restart);
    assert_false(restart_policy_decide(&always, &history, true, 100010).restart);
    assert_int_equal(history.attempts, always.attempts);
}

static void a_quiet_period_starts_the_count_anew(void **state)
{
    (void)state;
    struct restart_history history = {.attempts = 4, .last_ms = 100000};
    assert_false(restart_policy_decide(&always, &history, true, 159999).restart);
    struct restart_decision decision = restart_policy_decide(&always, &history, true, 160000);
    assert_true(decision.restart);
    assert_int_equal(decision.delay_ms, 1000);
    assert_int_equal(history.attempts, 1);
}

static void on_failure_leaves_a_guest_that_ended_by_itself(void **state)
{
    (void)state;
    struct api_restart policy = always;
    policy.policy = API_RESTART_ON_FAILURE;
    struct restart_history history = {0};
    assert_false(restart_policy_decide(&policy, &history, false, 1).restart);
    assert_true(restart_policy_decide(&policy, &history, true, 1).restart);
}

static void always_restarts_a_guest_that_ended_by_itself(void **state)
{
    (void)state;
    struct restart_history history = {0};
    assert_true(restart_policy_decide(&always, &history, false, 1).restart);
}

static void never_is_never(void **state)
{
    (void)state;
    struct api_restart policy = always;
    policy.policy = API_RESTART_NEVER;
    struct restart_history history = {0};
    assert_false(restart_policy_decide(&policy, &history, true, 1).restart);
    assert_int_equal(history.attempts, 0);
}

static void a_huge_limit_does_not_overflow(void **state)
{
    (void)state;
    struct api_restart policy = always;
    policy.attempts = 1000;
    policy.max_backoff_ms = 31536000000ull;
    struct restart_history history = {.attempts = 999, .last_ms = 1};
    assert_int_equal(restart_policy_decide(&policy, &history, true, 2).delay_ms, 31536000000ull);
}

/* A guest that always ends at once: what happens in the end, and how soon. */
static void a_crash_loop_is_bounded_whatever_the_policy_says(void **state)
{
    static const struct {
        uint32_t attempts;
        uint64_t backoff_ms, max_backoff_ms, reset_after_ms;
        uint32_t restarts; /* that follow */
        uint64_t took_ms;  /* until it is given up */
    } rows[] = {
        {5, 1000, 60000, 600000, 5, 1000 + 2000 + 4000 + 8000 + 16000},
        {5, 1000, 3000, 600000, 5, 1000 + 2000 + 3000 + 3000 + 3000},
        {0, 1000, 60000, 600000, 0, 0},
        {3, 0, 0, 1000, 3, 0},
        {1000, 10, 10, 86400000, 1000, 10000},
        /* The first delay is as long as what counts as quiet: it goes on for ever, but slowly. */
        {2, 1000, 1000, 1000, 100, 100000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct api_restart policy = {API_RESTART_ALWAYS, rows[i].attempts, rows[i].backoff_ms,
                                     rows[i].max_backoff_ms, rows[i].reset_after_ms};
        struct restart_history history = {0};
        uint64_t begun = 100000000, now = begun;
        uint32_t restarts = 0;
        struct restart_decision decision;
        while (restarts < rows[i].restarts + 1 &&
               (decision = restart_policy_decide(&policy, &history, true, now)).restart) {
            if (++restarts > rows[i].restarts)
                break;
            now += decision.delay_ms;
        }
        bool goes_on = rows[i].restarts == 100;
        assert_int_equal(restarts, rows[i].restarts + (goes_on ? 1 : 0));
        assert_int_equal(now - begun, rows[i].took_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_delay_doubles_up_to_its_limit),
        cmocka_unit_test(it_ends_after_the_allowed_attempts),
        cmocka_unit_test(a_quiet_period_starts_the_count_anew),
        cmocka_unit_test(on_failure_leaves_a_guest_that_ended_by_itself),
        cmocka_unit_test(always_restarts_a_guest_that_ended_by_itself),
        cmocka_unit_test(never_is_never),
        cmocka_unit_test(a_crash_loop_is_bounded_whatever_the_policy_says),
        cmocka_unit_test(a_huge_limit_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
