/* The machine of one instance on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/agent/instance_fixture.h"

static void a_good_boot_is_measured_to_its_first_pass(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    assert_int_equal(instance->boot_ms, 40);
    assert_int_equal(instance->restarts, 0);
    assert_int_equal(instance_next_deadline(instance), UINT64_MAX);
}

static void the_same_assignment_again_changes_nothing(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    assert_int_equal(want(instance, API_WANTED_RUN), 0);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
}

static void a_changed_check_applies_in_place(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    struct api_assigned_instance assigned = assignment(API_WANTED_RUN);
    assigned.health.has_readiness = true;
    assigned.health.readiness.has_tcp = true;
    assert_int_equal(instance_assign(instance, &assigned), INSTANCE_UNWATCH | INSTANCE_WATCH);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
}

static void a_rejected_image_fails_with_its_cause(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    assert_int_equal(instance_image_failed(instance, "signature_rejected", "no key"), 0);
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
    assert_string_equal(instance->cause, "signature_rejected");
    assert_true(instance_is_over(instance));
}

static void an_unreachable_registry_is_shown_while_it_is_tried_again(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_FETCHING, "registry_unreachable", "refused");
    assert_int_equal(instance_state(instance), INSTANCE_FETCHING);
    assert_string_equal(instance->cause, "registry_unreachable");
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_ready(instance);
    assert_string_equal(instance->cause, "");
}

static void a_download_that_worked_at_last_boots_like_any_other(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_moved(instance, INSTANCE_FETCHING, "registry_unreachable", "refused");
    assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    instance_booted(instance);
    instance_became_ready(instance);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
}

static void a_guest_that_exits_is_restarted_after_its_delay(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    assert_int_equal(instance_ended(instance, HOST_END_GUEST_EXIT, ""), INSTANCE_UNWATCH);
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    assert_int_equal(instance->restarts, 1);
    assert_string_equal(instance->cause, "guest_exit");
    fake.now_ms += 999;
    assert_int_equal(instance_tick(instance), 0);
    fake.now_ms += 1;
    assert_int_equal(instance_next_deadline(instance), fake.now_ms);
    assert_int_equal(instance_tick(instance), INSTANCE_PREPARE);
    assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
    assert_string_equal(instance->cause, "guest_exit");
    assert_int_equal(instance->boot_ms, 0);
}

/* Brings one to run that is not restarted in place, as a job's. */
static void run_once(struct instance *instance, enum api_restart_policy policy)
{
    struct api_assigned_instance assigned = assignment(API_WANTED_RUN);
    assigned.restart.policy = policy;
    bring_to_ready(instance);
    instance_assign(instance, &assigned);
}

static void a_guest_that_is_to_run_once_and_exits_has_completed(void **state)
{
    struct instance *instance = *state;
    run_once(instance, API_RESTART_NEVER);
    assert_int_equal(instance_ended(instance, HOST_END_GUEST_EXIT, ""), INSTANCE_UNWATCH);
    assert_int_equal(instance_state(instance), INSTANCE_STOPPED);
    assert_string_equal(instance->cause, "completed");
    assert_true(instance_is_over(instance));
    assert_int_equal(instance->restarts, 0);
}

static void one_that_is_restarted_on_failure_completes_too(void **state)
{
    struct instance *instance = *state;
    run_once(instance, API_RESTART_ON_FAILURE);
    instance_ended(instance, HOST_END_GUEST_EXIT, "");
    assert_int_equal(instance_state(instance), INSTANCE_STOPPED);
    assert_string_equal(instance->cause, "completed");
}

static void a_guest_that_is_to_run_once_and_panics_has_failed(void **state)
{
    struct instance *instance = *state;
    run_once(instance, API_RESTART_NEVER);
    assert_int_equal(instance_ended(instance, HOST_END_GUEST_PANIC, ""), INSTANCE_UNWATCH);
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
    assert_string_equal(instance->cause, "guest_panic");
}

static void a_guest_that_is_to_run_once_and_is_killed_has_failed(void **state)
{
    struct instance *instance = *state;
    run_once(instance, API_RESTART_NEVER);
    instance_ended(instance, HOST_END_KILLED, "killed by signal 9");
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
    assert_string_equal(instance->cause, "hypervisor_killed");
}

static void before_a_restart_in_place_the_image_is_judged_again(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    instance_ended(instance, HOST_END_GUEST_EXIT, "");
    fake.now_ms += 1000;
    assert_int_equal(instance_tick(instance), INSTANCE_PREPARE);
    assert_int_equal(instance_tick(instance), 0);
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    assert_int_equal(instance_image_failed(instance, "policy_refused", "policy p: too old"), 0);
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
    assert_string_equal(instance->cause, "policy_refused");
}

static void a_stop_says_why_when_the_scheduler_does(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    struct api_assigned_instance assigned = assignment(API_WANTED_STOP);
    strcpy(assigned.stop_cause, "trust_revoked");
    instance_assign(instance, &assigned);
    assert_int_equal(instance_state(instance), INSTANCE_STOPPING);
    assert_string_equal(instance->cause, "trust_revoked");
}

static void after_the_allowed_attempts_it_fails(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    for (int i = 0; i < 2; i++) {
        instance_ended(instance, HOST_END_GUEST_PANIC, "");
        fake.now_ms += 8000;
        assert_int_equal(instance_tick(instance), INSTANCE_PREPARE);
        assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
        instance_booted(instance);
    }
    instance_ended(instance, HOST_END_GUEST_PANIC, "");
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
    assert_string_equal(instance->cause, "guest_panic");
    assert_int_equal(instance->restarts, 2);
}

static void a_boot_that_never_gets_ready_says_what_its_check_saw(void **state)
{
    struct instance *instance = *state;
    bring_to_running(instance);
    fake.now_ms += 20000;
    instance_saw_miss(instance, "GET http://10.0.0.2:8080/: status 503");
    assert_int_equal(instance_tick(instance), INSTANCE_UNWATCH | INSTANCE_KILL);
    assert_non_null(strstr(instance->message, "not ready within boot_timeout 20s: "
                                              "GET http://10.0.0.2:8080/: status 503; restart 1"));
}

static void a_boot_that_never_gets_ready_is_killed_and_restarted(void **state)
{
    struct instance *instance = *state;
    bring_to_running(instance);
    fake.now_ms += 19999;
    assert_int_equal(instance_tick(instance), 0);
    fake.now_ms += 1;
    assert_int_equal(instance_tick(instance), INSTANCE_UNWATCH | INSTANCE_KILL);
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    assert_string_equal(instance->cause, "boot_timeout");
    fake.now_ms += 5000;
    assert_int_equal(instance_ended(instance, HOST_END_STOP_KILLED, ""),
                     INSTANCE_UNWATCH | INSTANCE_PREPARE);
}

static void failing_liveness_restarts_and_fails_only_when_the_guest_is_gone(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    instance->history.attempts = 2;
    instance->history.last_ms = fake.now_ms;
    assert_int_equal(instance_became_unhealthy(instance, "no answer"),
                     INSTANCE_UNWATCH | INSTANCE_KILL);
    assert_int_equal(instance_state(instance), INSTANCE_STOPPING);
    assert_false(instance_is_over(instance));
    instance_ended(instance, HOST_END_STOP_KILLED, "");
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
    assert_string_equal(instance->cause, "unhealthy");
    assert_true(instance_is_over(instance));
}

static void what_the_node_waits_for_is_told_until_it_moves(void **state)
{
    struct instance *instance = *state;
    struct api_observed_instance observed;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_ready(instance);
    instance_hangs(instance, "the hypervisor has not answered");
    instance_observe(instance, "tcg", &observed);
    assert_int_equal(observed.state, INSTANCE_STARTING);
    assert_string_equal(observed.cause, "hypervisor_silent");
    assert_string_equal(observed.message, "the hypervisor has not answered");
    instance_booted(instance);
    instance_observe(instance, "tcg", &observed);
    assert_string_equal(observed.cause, "");
    /* Nothing is waited for while it runs. */
    instance_hangs(instance, "the hypervisor has not answered");
    instance_observe(instance, "tcg", &observed);
    assert_string_equal(observed.cause, "");
    /* But while it is paused for a copy. */
    instance_frozen(instance, true);
    instance_hangs(instance, "the hypervisor has not answered");
    instance_observe(instance, "tcg", &observed);
    assert_string_equal(observed.cause, "hypervisor_silent");
    instance_frozen(instance, false);
    instance_observe(instance, "tcg", &observed);
    assert_string_equal(observed.cause, "");
    instance_became_unhealthy(instance, "no answer");
    instance_hangs(instance, "the hypervisor has not answered");
    instance_observe(instance, "tcg", &observed);
    assert_non_null(strstr(observed.message, "has not answered; before: no answer"));
    instance_ended(instance, HOST_END_STOP_KILLED, "");
    assert_string_equal(instance->cause, "unhealthy");
}

/* It is the last line of that boot in the guest's log. */
static void why_it_is_ended_is_said_to_who_ends_it(void **state)
{
    struct instance *instance = *state;
    char reason[HOST_REASON_MAX];
    bring_to_running(instance);
    instance_explain_end(instance, reason, sizeof reason);
    assert_string_equal(reason, "");
    fake.now_ms += 20000;
    instance_saw_miss(instance, "GET /healthz: 500\n");
    instance_tick(instance);
    instance_explain_end(instance, reason, sizeof reason);
    assert_non_null(strstr(reason, "boot_timeout: not ready within boot_timeout 20s: GET /healthz: "
                                   "500?; restart 1 of 2"));
    struct api_assigned_instance assigned = assignment(API_WANTED_STOP);
    strcpy(assigned.stop_cause, "scaled");
    instance_assign(instance, &assigned);
    instance_explain_end(instance, reason, sizeof reason);
    assert_string_equal(reason, "scaled");
}

static void a_guest_in_a_debugger_is_not_taken_for_dead(void **state)
{
    struct instance *instance = *state;
    struct api_observed_instance observed;
    bring_to_ready(instance);
    instance_debugged(instance, true);
    assert_int_equal(instance_became_unhealthy(instance, "no answer"), 0);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
    instance_observe(instance, "tcg", &observed);
    assert_non_null(strstr(observed.message, "gdb stub is on"));
    instance_became_unready(instance, "status 503");
    instance_observe(instance, "tcg", &observed);
    assert_non_null(strstr(observed.message, "its liveness is not judged; before: status 503"));
    instance_debugged(instance, false);
    assert_int_equal(instance_became_unhealthy(instance, "no answer"),
                     INSTANCE_UNWATCH | INSTANCE_KILL);
}

static void a_guest_whose_volume_is_copied_is_not_taken_for_dead(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    instance_frozen(instance, true);
    instance_frozen(instance, true);
    instance_frozen(instance, false);
    assert_int_equal(instance_became_unhealthy(instance, "no answer"), 0);
    instance_frozen(instance, false);
    assert_int_equal(instance_became_unhealthy(instance, "no answer"),
                     INSTANCE_UNWATCH | INSTANCE_KILL);
}

static void a_guest_whose_volume_is_copied_while_it_boots_has_its_time_anew(void **state)
{
    struct instance *instance = *state;
    bring_to_running(instance);
    instance_frozen(instance, true);
    fake.now_ms += 30000;
    assert_int_equal(instance_tick(instance), 0);
    assert_true(instance_next_deadline(instance) > fake.now_ms);
    instance_frozen(instance, false);
    assert_int_equal(instance_next_deadline(instance), fake.now_ms + 20000);
}

static void lost_readiness_is_running_again_and_no_restart(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    assert_int_equal(instance_became_unready(instance, "status 503"), 0);
    assert_int_equal(instance_state(instance), INSTANCE_RUNNING);
    assert_int_equal(instance->restarts, 0);
    fake.now_ms += 100000;
    assert_int_equal(instance_tick(instance), 0);
    instance_became_ready(instance);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
    assert_string_equal(instance->cause, "");
    assert_int_equal(instance->boot_ms, 40);
}

static void a_stop_asks_the_guest_and_ends_when_it_is_gone(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    assert_int_equal(want(instance, API_WANTED_STOP), INSTANCE_UNWATCH | INSTANCE_END);
    assert_int_equal(instance_state(instance), INSTANCE_STOPPING);
    assert_int_equal(want(instance, API_WANTED_STOP), 0);
    instance_ended(instance, HOST_END_STOPPED, "");
    assert_int_equal(instance_state(instance), INSTANCE_STOPPED);
    assert_true(instance_is_over(instance));
}

static void how_it_stopped_is_told(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    instance->stop_method = HOST_STOP_CONSOLE;
    want(instance, API_WANTED_STOP);
    instance_ended(instance, HOST_END_STOP_KILLED, "");
    assert_string_equal(instance->cause, "stop_killed");
    instance_finish(instance);
    instance_init(instance, ID, &fake.clock);
    bring_to_ready(instance);
    want(instance, API_WANTED_STOP);
    /* It listens to nothing: nothing was asked of it. */
    instance_ended(instance, HOST_END_STOP_KILLED, "");
    assert_string_equal(instance->cause, "stopped");
}

static void every_end_has_its_cause(void **state)
{
    static const struct {
        enum host_end_cause end;
        const char *cause;
    } ends[] = {
        {HOST_END_GUEST_EXIT, "guest_exit"},
        {HOST_END_GUEST_PANIC, "guest_panic"},
        {HOST_END_GUEST_RESET, "guest_reset"},
        {HOST_END_KILLED, "hypervisor_killed"},
        {HOST_END_OOM, "oom"},
        {HOST_END_HUNG, "hung"},
    };
    struct instance *instance = *state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        instance_finish(instance);
        instance_init(instance, ID, &fake.clock);
        bring_to_ready(instance);
        instance_ended(instance, ends[i].end, "");
        assert_string_equal(instance->cause, ends[i].cause);
        assert_memory_equal(instance->message, instance_cause_meaning(ends[i].cause),
                            strlen(instance_cause_meaning(ends[i].cause)));
        assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    }
}

static void one_that_waited_for_its_turn_to_boot_is_not_late(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_ready(instance);
    fake.now_ms += 60000;
    assert_int_equal(instance_tick(instance), 0);
    instance_booted(instance);
    assert_int_equal(instance_tick(instance), 0);
    assert_int_equal(instance_next_deadline(instance), fake.now_ms + 20000);
}

static void a_guest_that_does_not_end_is_asked_for_again(void **state)
{
    struct instance *instance = *state;
    bring_to_ready(instance);
    want(instance, API_WANTED_STOP);
    fake.now_ms = instance_next_deadline(instance);
    assert_int_equal(instance_tick(instance), INSTANCE_KILL);
}

static void a_stop_before_the_boot_abandons_it(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_FETCHING, "", "");
    assert_int_equal(want(instance, API_WANTED_STOP), INSTANCE_ABANDON | INSTANCE_UNWATCH);
    assert_int_equal(instance_state(instance), INSTANCE_STOPPED);
}

static void a_stop_during_the_boot_kills_what_was_booted(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_ready(instance);
    assert_int_equal(want(instance, API_WANTED_STOP), INSTANCE_UNWATCH);
    assert_int_equal(instance_state(instance), INSTANCE_STOPPING);
    assert_int_equal(instance_booted(instance), INSTANCE_UNWATCH | INSTANCE_KILL);
    instance_ended(instance, HOST_END_STOP_KILLED, "");
    assert_int_equal(instance_state(instance), INSTANCE_STOPPED);
}

static void a_failed_boot_counts_as_a_restart(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_ready(instance);
    instance_boot_failed(instance, "no memory");
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    assert_int_equal(instance->restarts, 1);
    assert_non_null(strstr(instance->message, "no memory"));
}

static void a_refused_boot_is_not_tried_again(void **state)
{
    struct instance *instance = *state;
    want(instance, API_WANTED_RUN);
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    instance_image_ready(instance);
    assert_int_equal(instance_boot_refused(instance, "the disk names a backing file"), 0);
    assert_int_equal(instance_state(instance), INSTANCE_FAILED);
    assert_int_equal(instance->restarts, 0);
    assert_string_equal(instance->cause, "image_invalid");
    assert_string_equal(instance->message, "the disk names a backing file");
    assert_true(instance_next_deadline(instance) == UINT64_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_instance, free_instance)
    const struct CMUnitTest tests[] = {
        TEST(a_good_boot_is_measured_to_its_first_pass),
        TEST(the_same_assignment_again_changes_nothing),
        TEST(a_changed_check_applies_in_place),
        TEST(a_rejected_image_fails_with_its_cause),
        TEST(a_guest_that_is_to_run_once_and_exits_has_completed),
        TEST(one_that_is_restarted_on_failure_completes_too),
        TEST(a_guest_that_is_to_run_once_and_panics_has_failed),
        TEST(a_guest_that_is_to_run_once_and_is_killed_has_failed),
        TEST(before_a_restart_in_place_the_image_is_judged_again),
        TEST(a_stop_says_why_when_the_scheduler_does),
        TEST(an_unreachable_registry_is_shown_while_it_is_tried_again),
        TEST(a_download_that_worked_at_last_boots_like_any_other),
        TEST(a_guest_that_exits_is_restarted_after_its_delay),
        TEST(after_the_allowed_attempts_it_fails),
        TEST(a_boot_that_never_gets_ready_says_what_its_check_saw),
        TEST(a_boot_that_never_gets_ready_is_killed_and_restarted),
        TEST(failing_liveness_restarts_and_fails_only_when_the_guest_is_gone),
        TEST(what_the_node_waits_for_is_told_until_it_moves),
        TEST(why_it_is_ended_is_said_to_who_ends_it),
        TEST(a_guest_in_a_debugger_is_not_taken_for_dead),
        TEST(a_guest_whose_volume_is_copied_is_not_taken_for_dead),
        TEST(a_guest_whose_volume_is_copied_while_it_boots_has_its_time_anew),
        TEST(lost_readiness_is_running_again_and_no_restart),
        TEST(a_stop_asks_the_guest_and_ends_when_it_is_gone),
        TEST(how_it_stopped_is_told),
        TEST(every_end_has_its_cause),
        TEST(one_that_waited_for_its_turn_to_boot_is_not_late),
        TEST(a_guest_that_does_not_end_is_asked_for_again),
        TEST(a_stop_before_the_boot_abandons_it),
        TEST(a_stop_during_the_boot_kills_what_was_booted),
        TEST(a_failed_boot_counts_as_a_restart),
        TEST(a_refused_boot_is_not_tried_again),

    };
#undef TEST
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
