/* The machine of one instance on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/instance.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define ID    "0001000000a7"
#define IMAGE "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OTHER "sha256:ca7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct fake_clock {
    struct clock clock; /* first */
    uint64_t now_ms;
    int64_t wall_ahead_ms; /* of the wall clock against the other */
};

static uint64_t read_fake(const struct clock *clock)
{
    return ((const struct fake_clock *)clock)->now_ms;
}

static uint64_t read_fake_wall(const struct clock *clock)
{
    const struct fake_clock *both = (const struct fake_clock *)clock;
    return both->now_ms + (uint64_t)both->wall_ahead_ms;
}

static struct fake_clock fake = {{read_fake, read_fake_wall}, 0, 0};

static struct api_assigned_instance assignment(enum api_wanted wanted)
{
    struct api_assigned_instance assigned = {
        .id = ID,
        .namespace_name = "default",
        .service = "hello",
        .wanted = wanted,
        .image_digest = IMAGE,
        .boot_timeout_ms = 20000,
        .restart = {.policy = API_RESTART_ALWAYS,
                    .attempts = 2,
                    .backoff_ms = 1000,
                    .max_backoff_ms = 8000,
                    .reset_after_ms = 600000},
        .stop = {.grace_ms = 5000},
    };
    return assigned;
}

static int make_instance(void **state)
{
    struct instance *instance = calloc(1, sizeof *instance);
    fake.now_ms = 1000000;
    fake.wall_ahead_ms = 0;
    instance_init(instance, ID, &fake.clock);
    *state = instance;
    return 0;
}

static int free_instance(void **state)
{
    instance_finish(*state);
    free(*state);
    return 0;
}

static unsigned want(struct instance *instance, enum api_wanted wanted)
{
    struct api_assigned_instance assigned = assignment(wanted);
    return instance_assign(instance, &assigned);
}

static void bring_to_running(struct instance *instance)
{
    assert_int_equal(want(instance, API_WANTED_RUN), INSTANCE_PREPARE);
    instance_image_moved(instance, INSTANCE_FETCHING, "", "");
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    assert_int_equal(instance_booted(instance), INSTANCE_WATCH);
    assert_int_equal(instance_state(instance), INSTANCE_RUNNING);
}

static void bring_to_ready(struct instance *instance)
{
    bring_to_running(instance);
    fake.now_ms += 40;
    assert_int_equal(instance_became_ready(instance), 0);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
}

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
    instance_debugged(instance, false);
    assert_int_equal(instance_became_unhealthy(instance, "no answer"),
                     INSTANCE_UNWATCH | INSTANCE_KILL);
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

static struct instance *save_and_load(struct instance *instance)
{
    AUTO_FREE char *text = instance_save(instance);
    struct instance *loaded = calloc(1, sizeof *loaded);
    struct error error = ERROR_INIT;
    if (instance_load(text, &fake.clock, loaded, &error) < 0)
        fail_msg("%s", error.message);
    return loaded;
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
    instance_became_ready(instance);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
    assert_int_equal(instance->restarts, 0);
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
        TEST(a_boot_that_never_gets_ready_is_killed_and_restarted),
        TEST(failing_liveness_restarts_and_fails_only_when_the_guest_is_gone),
        TEST(a_guest_in_a_debugger_is_not_taken_for_dead),
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
        TEST(an_adopted_ready_instance_stays_ready_in_the_same_boot),
        TEST(a_guest_that_went_with_the_node_is_restarted),
        TEST(a_guest_of_another_image_is_replaced),
        TEST(an_unknown_guest_of_another_image_is_replaced_once_it_is_named),
        TEST(an_unknown_guest_that_is_named_has_its_boot_timeout),
        TEST(a_guest_that_got_ready_while_no_agent_looked_is_not_late),
        TEST(a_stop_goes_on_after_a_restart_of_the_agent),
        TEST(an_unknown_guest_is_left_alone_until_the_scheduler_says_stop),
        TEST(a_standby_is_paused_once_it_is_ready_and_nothing_hurries_it),
        TEST(a_standby_that_is_wanted_goes_on_and_is_checked),
        TEST(one_that_is_wanted_while_it_is_being_paused_goes_on),
        TEST(a_standby_is_ended_by_force),
        TEST(a_standby_that_dies_is_booted_again),
        TEST(one_that_cannot_be_paused_is_booted_again),
        TEST(a_restarted_agent_finds_its_standby_as_it_was),
        TEST(a_standby_that_was_found_running_is_paused_again_once_it_is_ready),
        TEST(a_guest_that_was_left_paused_goes_on),

        TEST(the_wall_clock_decides_nothing_while_the_agent_runs),
        TEST(a_wall_clock_that_was_put_back_makes_nothing_negative),
    };
#undef TEST
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
