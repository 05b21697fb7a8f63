/* An instance over restarts of its agent, as a standby, and with clocks that jump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/agent/instance_fixture.h"

/* Its agent ends and another begins. */
static void instance_reload(struct instance *instance)
{
    struct instance *loaded = save_and_load(instance);
    instance_finish(instance);
    *instance = *loaded;
    free(loaded);
}

/* For the first time, or when its delay has passed. */
static void bring_to_ready_again(struct instance *instance)
{
    if (instance->phase == INSTANCE_PHASE_NEW)
        want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
    assert_int_equal(instance_booted(instance), INSTANCE_WATCH);
    instance_became_ready(instance);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
}

static void an_adopted_ready_instance_stays_ready_in_the_same_boot(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    instance->restarts = 1;
    fake.now_ms += 5000;
    struct instance *loaded = save_and_load(instance);
    instance_adopted(loaded, IMAGE, 5040, false);
    assert_int_equal(instance_resume(loaded), INSTANCE_WATCH);
    assert_int_equal(instance_state(loaded), INSTANCE_READY);
    assert_int_equal(loaded->restarts, 1);
    assert_int_equal(loaded->boot_ms, 40);
    struct api_observed_instance observed;
    instance_observe(loaded, "tcg", &observed);
    assert_int_equal(observed.uptime_ms, 5040);
    assert_int_equal(observed.state_age_ms, 5000);
    instance_finish(loaded);
    free(loaded);
}

static void a_guest_that_went_with_the_node_is_restarted(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    instance->history.attempts = instance->assigned.restart.attempts;
    struct instance *loaded = save_and_load(instance);
    instance_resume(loaded);
    assert_int_equal(instance_state(loaded), INSTANCE_STARTING);
    assert_string_equal(loaded->cause, "node_restarted");
    /* It takes none of its attempts, so it is none of them. */
    assert_string_equal(loaded->message,
                        "its microVM was gone when the agent started; restart after 1s");
    assert_int_equal(loaded->restarts, 1);
    /* None of its own attempts was taken. */
    assert_int_equal(loaded->history.attempts, loaded->assigned.restart.attempts);
    fake.now_ms += 1000;
    /* Verified again before it boots in this process. */
    assert_int_equal(instance_tick(loaded), INSTANCE_PREPARE);
    instance_finish(loaded);
    free(loaded);
}

static void a_guest_of_another_image_is_replaced(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    struct instance *loaded = save_and_load(instance);
    instance_adopted(loaded, OTHER, 10, false);
    assert_int_equal(instance_resume(loaded), INSTANCE_UNWATCH | INSTANCE_KILL);
    assert_string_equal(loaded->cause, "adoption_mismatch");
    instance_finish(loaded);
    free(loaded);
}

static void an_unknown_guest_of_another_image_is_replaced_once_it_is_named(void **state)
{
    struct instance *instance = *state;
    instance_adopted(instance, OTHER, 10, false);
    assert_int_equal(instance_resume(instance), 0);
    assert_int_equal(want(instance, API_WANTED_RUN), INSTANCE_UNWATCH | INSTANCE_KILL);
    assert_string_equal(instance->cause, "adoption_mismatch");
    instance_ended(instance, HOST_END_STOP_KILLED, "");
    fake.now_ms += 1000;
    /* From its own image now, verified here. */
    assert_int_equal(instance_tick(instance), INSTANCE_PREPARE);
    assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
    instance_booted(instance);
    assert_int_equal(want(instance, API_WANTED_RUN), 0);
}

static void an_unknown_guest_that_is_named_has_its_boot_timeout(void **state)
{
    struct instance *instance = *state;
    instance_adopted(instance, IMAGE, 100000, false);
    instance_resume(instance);
    assert_int_equal(want(instance, API_WANTED_RUN), INSTANCE_UNWATCH | INSTANCE_WATCH);
    assert_int_equal(instance_next_deadline(instance), fake.now_ms + 20000);
}

static void a_guest_that_got_ready_while_no_agent_looked_is_not_late(void **state)
{
    struct instance *instance = *state;
    bring_to_running(instance);
    struct instance *loaded = save_and_load(instance);
    fake.now_ms += 60000;
    instance_adopted(loaded, IMAGE, 60000, false);
    assert_int_equal(instance_resume(loaded), INSTANCE_WATCH);
    assert_int_equal(instance_tick(loaded), 0);
    fake.now_ms += 20000;
    assert_int_equal(instance_tick(loaded), INSTANCE_UNWATCH | INSTANCE_KILL);
    assert_string_equal(loaded->cause, "boot_timeout");
    instance_finish(loaded);
    free(loaded);
}

static void a_stop_goes_on_after_a_restart_of_the_agent(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    want(instance, API_WANTED_STOP);
    struct instance *loaded = save_and_load(instance);
    instance_adopted(loaded, IMAGE, 10, false);
    assert_int_equal(instance_resume(loaded), INSTANCE_END);
    instance_ended(loaded, HOST_END_STOPPED, "");
    assert_int_equal(instance_state(loaded), INSTANCE_STOPPED);
    instance_finish(loaded);
    free(loaded);
}

static void a_restart_in_place_goes_on_after_a_restart_of_the_agent(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    assert_int_equal(instance_became_unhealthy(instance, "no answer"),
                     INSTANCE_UNWATCH | INSTANCE_KILL);
    struct instance *loaded = save_and_load(instance);
    instance_adopted(loaded, IMAGE, 10, false);
    assert_int_equal(instance_resume(loaded), INSTANCE_KILL);
    assert_int_equal(instance_ended(loaded, HOST_END_STOP_KILLED, ""), INSTANCE_UNWATCH);
    assert_int_equal(loaded->phase, INSTANCE_PHASE_WAITING);
    fake.now_ms += 1000;
    assert_int_equal(instance_tick(loaded), INSTANCE_PREPARE);
    instance_finish(loaded);
    free(loaded);
}

/* It crashes in a loop, and so does its agent: its delays go on to grow, and its attempts end. */
static void neither_delay_nor_attempts_begin_anew_with_the_agent(void **state)
{
    static const uint64_t delays[] = {1000, 2000};
    struct instance *instance = *state;
    for (size_t i = 0; i < 2; i++) {
        bring_to_ready_again(instance);
        instance_ended(instance, HOST_END_GUEST_EXIT, "");
        fake.now_ms += 400;
        fake.wall_ahead_ms += i == 0 ? 86400000 : -86400000;
        instance_reload(instance);
        assert_int_equal(instance_resume(instance), 0);
        assert_int_equal(instance_next_deadline(instance), fake.now_ms + delays[i] - 400);
        assert_int_equal(instance_tick(instance), 0);
        fake.now_ms += delays[i] - 400;
        assert_int_equal(instance_tick(instance), INSTANCE_PREPARE);
    }
    bring_to_ready_again(instance);
    instance_ended(instance, HOST_END_GUEST_EXIT, "");
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
}

static void a_quiet_time_without_an_agent_counts(void **state)
{
    struct instance *instance = *state;
    bring_to_ready_again(instance);
    instance->history = (struct restart_history){.attempts = 2, .last_ms = fake.now_ms};
    AUTO_FREE char *text = instance_save(instance);
    fake.now_ms += instance->assigned.restart.reset_after_ms;
    struct instance loaded;
    assert_int_equal(instance_load(text, &fake.clock, &loaded, NULL), 0);
    instance_adopted(&loaded, IMAGE, 5000, false);
    instance_resume(&loaded);
    instance_ended(&loaded, HOST_END_GUEST_EXIT, "");
    assert_int_equal(instance_state(&loaded), INSTANCE_STARTING);
    assert_int_equal(loaded.history.attempts, 1);
    instance_finish(&loaded);
}

/* How long the host was down nobody knows: no time is made up, and none is lost for good. */
static void a_reboot_of_the_host_forgets_no_attempt_too_early(void **state)
{
    struct instance *instance = *state;
    bring_to_ready_again(instance);
    instance->history = (struct restart_history){.attempts = 2, .last_ms = fake.now_ms - 1000};
    AUTO_FREE char *text = instance_save(instance);
    struct instance loaded;
    fake.now_ms = 30000;
    assert_int_equal(instance_load(text, &fake.clock, &loaded, NULL), 0);
    uint64_t reset_after = loaded.assigned.restart.reset_after_ms;
    struct restart_history history = loaded.history;
    assert_false(restart_policy_decide(&loaded.assigned.restart, &history, true, 500000).restart);
    assert_true(
        restart_policy_decide(&loaded.assigned.restart, &history, true, reset_after).restart);
    instance_finish(&loaded);
}

static void an_unknown_guest_is_left_alone_until_the_scheduler_says_stop(void **state)
{
    struct instance *instance = *state;
    instance_adopted(instance, IMAGE, 10, false);
    assert_int_equal(instance_resume(instance), 0);
    assert_int_equal(instance_state(instance), INSTANCE_RUNNING);
    assert_int_equal(want(instance, API_WANTED_STOP), INSTANCE_UNWATCH | INSTANCE_END);
}

/* --- standbys --- */

static void bring_to_standby(struct instance *instance)
{
    assert_int_equal(want(instance, API_WANTED_STANDBY), INSTANCE_PREPARE);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
    assert_int_equal(instance_booted(instance), INSTANCE_WATCH);
    assert_int_equal(instance_became_ready(instance), INSTANCE_UNWATCH | INSTANCE_PAUSE);
    assert_int_equal(instance_state(instance), INSTANCE_RUNNING);
    assert_int_equal(instance_paused(instance), 0);
    assert_int_equal(instance_state(instance), INSTANCE_STANDBY);
}

static void a_standby_is_paused_once_it_is_ready_and_nothing_hurries_it(void **state)
{
    struct instance *instance = *state;
    bring_to_standby(instance);
    assert_int_equal(instance_next_deadline(instance), UINT64_MAX);
    assert_int_equal(want(instance, API_WANTED_STANDBY), 0);
    assert_int_equal(instance_state(instance), INSTANCE_STANDBY);
}

static void a_standby_that_is_wanted_goes_on_and_is_checked(void **state)
{
    struct instance *instance = *state;
    bring_to_standby(instance);
    fake.now_ms += 3600000;
    assert_int_equal(want(instance, API_WANTED_RUN), INSTANCE_UNPAUSE | INSTANCE_WATCH);
    assert_int_equal(instance_state(instance), INSTANCE_RUNNING);
    assert_int_equal(instance_next_deadline(instance), fake.now_ms + 20000);
    fake.now_ms += 4;
    instance_became_ready(instance);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
    assert_int_equal(instance->restarts, 0);
    struct api_observed_instance observed;
    instance_observe(instance, "", &observed);
    assert_int_equal(observed.wake_ms, 4);
    /* Ready again is no wake. */
    instance_became_unready(instance, "");
    instance_became_ready(instance);
    instance_observe(instance, "", &observed);
    assert_int_equal(observed.wake_ms, 0);
}

/* It was ready before, and its time passes all the same: no turn of the loop may follow at once. */
static void a_standby_in_a_debugger_has_no_deadline_that_is_over(void **state)
{
    struct instance *instance = *state;
    bring_to_standby(instance);
    want(instance, API_WANTED_RUN);
    instance_debugged(instance, true);
    fake.now_ms += 20000;
    assert_int_equal(instance_tick(instance), 0);
    assert_true(instance_next_deadline(instance) > fake.now_ms);
}

static void one_that_is_wanted_while_it_is_being_paused_goes_on(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_STANDBY);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_ready(instance);
    instance_booted(instance);
    instance_became_ready(instance);
    assert_int_equal(want(instance, API_WANTED_RUN), 0);
    assert_int_equal(instance_paused(instance), INSTANCE_UNPAUSE | INSTANCE_WATCH);
    assert_int_equal(instance_state(instance), INSTANCE_RUNNING);
}

static void a_standby_is_ended_by_force(void **state)
{
    struct instance *instance = *state;
    bring_to_standby(instance);
    assert_int_equal(want(instance, API_WANTED_STOP), INSTANCE_UNWATCH | INSTANCE_KILL);
    instance_ended(instance, HOST_END_STOP_KILLED, "");
    assert_int_equal(instance_state(instance), INSTANCE_STOPPED);
}

static void a_standby_that_dies_is_booted_again(void **state)
{
    struct instance *instance = *state;
    bring_to_standby(instance);
    instance_ended(instance, HOST_END_KILLED, "");
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    assert_int_equal(instance->restarts, 1);
}

static void one_that_cannot_be_paused_is_booted_again(void **state)
{
    struct instance *instance = *state;
    bring_to_running(instance);
    want(instance, API_WANTED_STANDBY);
    instance_became_ready(instance);
    assert_int_equal(instance_pause_failed(instance, "no"), INSTANCE_UNWATCH | INSTANCE_KILL);
    assert_string_equal(instance->cause, "pause_failed");
}

static void a_restarted_agent_finds_its_standby_as_it_was(void **state)
{
    struct instance *instance = *state;
    bring_to_standby(instance);
    struct instance *loaded = save_and_load(instance);
    instance_adopted(loaded, IMAGE, 5000, true);
    assert_int_equal(instance_resume(loaded), 0);
    assert_int_equal(instance_state(loaded), INSTANCE_STANDBY);
    instance_finish(loaded);
    free(loaded);
}

static void a_standby_that_was_found_running_is_paused_again_once_it_is_ready(void **state)
{
    struct instance *instance = *state;
    bring_to_standby(instance);
    struct instance *loaded = save_and_load(instance);
    instance_adopted(loaded, IMAGE, 5000, false);
    assert_int_equal(instance_resume(loaded), INSTANCE_WATCH);
    assert_int_equal(instance_became_ready(loaded), INSTANCE_UNWATCH | INSTANCE_PAUSE);
    instance_finish(loaded);
    free(loaded);
}

static void a_guest_that_was_left_paused_goes_on(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    struct instance *loaded = save_and_load(instance);
    instance_adopted(loaded, IMAGE, 5000, true);
    assert_int_equal(instance_resume(loaded), INSTANCE_UNPAUSE | INSTANCE_WATCH);
    instance_finish(loaded);
    free(loaded);
}

static void a_standby_whose_record_is_lost_goes_on_once_it_is_named(void **state)
{
    struct instance *instance = *state;
    instance_adopted(instance, IMAGE, 5000, true);
    assert_int_equal(instance_resume(instance), 0);
    assert_int_equal(want(instance, API_WANTED_STANDBY),
                     INSTANCE_UNWATCH | INSTANCE_WATCH | INSTANCE_UNPAUSE);
}

static void the_wall_clock_decides_nothing_while_the_agent_runs(void **state)
{
    static const int64_t jumps[] = {86400000, -900000};
    struct instance *instance = *state;
    bring_to_running(instance);
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        fake.wall_ahead_ms = jumps[i];
        assert_int_equal(instance_tick(instance), 0);
        assert_int_equal(instance_next_deadline(instance), fake.now_ms + 20000);
    }
    instance_became_ready(instance);
    instance_ended(instance, HOST_END_GUEST_EXIT, "");
    fake.wall_ahead_ms = 0;
    assert_int_equal(instance_tick(instance), 0);
    fake.now_ms += 1000;
    assert_int_equal(instance_tick(instance), INSTANCE_PREPARE);
}

/* Over a restart of the agent only the wall clock goes on: what it says is never in the future.
 */
static void a_wall_clock_that_was_put_back_makes_nothing_negative(void **state)
{
    struct instance *instance = *state;
    struct api_observed_instance observed;
    bring_to_ready(instance);
    AUTO_FREE char *text = instance_save(instance);
    fake.wall_ahead_ms = -900000;
    struct instance loaded;
    struct error error = ERROR_INIT;
    assert_int_equal(instance_load(text, &fake.clock, &loaded, &error), 0);
    instance_adopted(&loaded, IMAGE, 5000, false);
    instance_observe(&loaded, "tcg", &observed);
    assert_int_equal(observed.state_age_ms, 0);
    assert_int_equal(observed.uptime_ms, 5000);
    instance_finish(&loaded);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_instance, free_instance)
    const struct CMUnitTest tests[] = {
        TEST(an_adopted_ready_instance_stays_ready_in_the_same_boot),
        TEST(a_guest_that_went_with_the_node_is_restarted),
        TEST(a_guest_of_another_image_is_replaced),
        TEST(an_unknown_guest_of_another_image_is_replaced_once_it_is_named),
        TEST(an_unknown_guest_that_is_named_has_its_boot_timeout),
        TEST(a_guest_that_got_ready_while_no_agent_looked_is_not_late),
        TEST(a_stop_goes_on_after_a_restart_of_the_agent),
        TEST(a_restart_in_place_goes_on_after_a_restart_of_the_agent),
        TEST(neither_delay_nor_attempts_begin_anew_with_the_agent),
        TEST(a_quiet_time_without_an_agent_counts),
        TEST(a_reboot_of_the_host_forgets_no_attempt_too_early),
        TEST(an_unknown_guest_is_left_alone_until_the_scheduler_says_stop),
        TEST(a_standby_is_paused_once_it_is_ready_and_nothing_hurries_it),
        TEST(a_standby_that_is_wanted_goes_on_and_is_checked),
        TEST(a_standby_in_a_debugger_has_no_deadline_that_is_over),
        TEST(one_that_is_wanted_while_it_is_being_paused_goes_on),
        TEST(a_standby_is_ended_by_force),
        TEST(a_standby_that_dies_is_booted_again),
        TEST(one_that_cannot_be_paused_is_booted_again),
        TEST(a_restarted_agent_finds_its_standby_as_it_was),
        TEST(a_standby_that_was_found_running_is_paused_again_once_it_is_ready),
        TEST(a_guest_that_was_left_paused_goes_on),
        TEST(a_standby_whose_record_is_lost_goes_on_once_it_is_named),
        TEST(the_wall_clock_decides_nothing_while_the_agent_runs),
        TEST(a_wall_clock_that_was_put_back_makes_nothing_negative),
    };
#undef TEST
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
