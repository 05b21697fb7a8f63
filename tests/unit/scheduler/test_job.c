/* Runs of jobs as decisions: what is started, tried again, stopped; how runs end; schedules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/job.h"

#define NOW    UINT64_C(1000000)
#define MINUTE UINT64_C(60000)
#define DAY    UINT64_C(86400000)

struct fixture {
    struct job_instance instances[16];
    struct job_input input;
    struct job_result result;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.input = {.completions = 5,
                                         .parallelism = 2,
                                         .retries = 3,
                                         .begun_ms = NOW,
                                         .backoff = {0, 1000, 4000},
                                         .last_failure = "guest_panic",
                                         .now_ms = NOW}};
    fixture.input.instances = fixture.instances;
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    job_result_release(&((struct fixture *)*state)->result);
    return 0;
}

static struct job_instance *add(struct fixture *fixture, uint32_t index, enum job_outcome outcome)
{
    struct job_instance *instance = &fixture->instances[fixture->input.instance_count++];
    *instance = (struct job_instance){
        .index = index, .outcome = outcome, .ended_ms = outcome != JOB_OUTCOME_NONE ? NOW : 0};
    return instance;
}

/* "start 0 1, stop 2" as decided. */
static void expect(struct fixture *fixture, const char *wanted)
{
    char text[256] = "";
    job_result_release(&fixture->result);
    job_decide(&fixture->input, &fixture->result);
    for (size_t i = 0; i < fixture->result.action_count; i++) {
        const struct job_action *action = &fixture->result.actions[i];
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%s %u", i > 0 ? ", " : "",
                 action->kind == JOB_START ? "start" : "stop", action->index);
    }
    assert_string_equal(text, wanted);
}

static void a_run_begins_with_as_many_as_may_run(void **state)
{
    struct fixture *fixture = *state;
    expect(fixture, "start 0, start 1");
    assert_int_equal(fixture->result.phase, RUN_RUNNING);
    fixture->input.parallelism = 100;
    expect(fixture, "start 0, start 1, start 2, start 3, start 4");
}

static void what_succeeded_makes_room_for_the_next(void **state)
{
    struct fixture *fixture = *state;
    add(fixture, 0, JOB_OUTCOME_SUCCEEDED);
    add(fixture, 1, JOB_OUTCOME_NONE);
    expect(fixture, "start 2");
    add(fixture, 2, JOB_OUTCOME_NONE);
    expect(fixture, "");
}

static void a_run_succeeds_when_every_completion_did(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t i = 0; i < 5; i++)
        add(fixture, i, JOB_OUTCOME_SUCCEEDED);
    expect(fixture, "");
    assert_int_equal(fixture->result.phase, RUN_SUCCEEDED);
    assert_string_equal(fixture->result.reason, "5 of 5 succeeded");
}

static void a_failure_is_tried_again_after_its_backoff(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.completions = 1;
    add(fixture, 0, JOB_OUTCOME_FAILED);
    expect(fixture, "");
    assert_int_equal(fixture->result.next_ms, NOW + 1000);
    fixture->input.now_ms = NOW + 1000;
    expect(fixture, "start 0");
    assert_int_equal(fixture->result.actions[0].attempt, 1);
    add(fixture, 0, JOB_OUTCOME_FAILED)->ended_ms = NOW + 1500;
    expect(fixture, "");
    assert_int_equal(fixture->result.next_ms, NOW + 3500);
}

static void another_completion_need_not_wait_for_a_backoff(void **state)
{
    struct fixture *fixture = *state;
    add(fixture, 0, JOB_OUTCOME_FAILED);
    add(fixture, 1, JOB_OUTCOME_NONE);
    expect(fixture, "start 2");
}

static void one_failure_more_than_retries_fails_the_run(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.now_ms = NOW + 60000;
    add(fixture, 0, JOB_OUTCOME_FAILED);
    add(fixture, 1, JOB_OUTCOME_FAILED);
    add(fixture, 0, JOB_OUTCOME_FAILED);
    add(fixture, 2, JOB_OUTCOME_NONE);
    expect(fixture, "start 0");
    add(fixture, 0, JOB_OUTCOME_FAILED);
    expect(fixture, "stop 2");
    assert_int_equal(fixture->result.phase, RUN_FAILED);
    assert_string_equal(fixture->result.reason,
                        "4 failed, 3 retries are allowed; the last: guest_panic");
}

static void without_retries_the_first_failure_is_the_last(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.retries = 0;
    add(fixture, 0, JOB_OUTCOME_FAILED);
    expect(fixture, "");
    assert_int_equal(fixture->result.phase, RUN_FAILED);
}

static void what_was_lost_is_started_again_and_not_counted(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.retries = 0;
    add(fixture, 0, JOB_OUTCOME_LOST);
    add(fixture, 0, JOB_OUTCOME_LOST);
    add(fixture, 1, JOB_OUTCOME_NONE);
    expect(fixture, "start 0");
    assert_int_equal(fixture->result.actions[0].attempt, 0);
    assert_int_equal(fixture->result.counts.lost, 2);
    assert_int_equal(fixture->result.counts.failed, 0);
}

static void a_deadline_ends_the_run(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.deadline_ms = 10000;
    add(fixture, 0, JOB_OUTCOME_SUCCEEDED);
    add(fixture, 1, JOB_OUTCOME_NONE);
    add(fixture, 2, JOB_OUTCOME_NONE);
    expect(fixture, "");
    assert_int_equal(fixture->result.next_ms, NOW + 10000);
    fixture->input.now_ms = NOW + 10000;
    expect(fixture, "stop 1, stop 2");
    assert_int_equal(fixture->result.phase, RUN_FAILED);
    assert_string_equal(fixture->result.reason, "deadline 10s passed with 1 of 5 succeeded");
}

static void what_has_succeeded_by_its_deadline_has_succeeded(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.completions = 1;
    fixture->input.deadline_ms = 10000;
    fixture->input.now_ms = NOW + 10000;
    add(fixture, 0, JOB_OUTCOME_SUCCEEDED);
    expect(fixture, "");
    assert_int_equal(fixture->result.phase, RUN_SUCCEEDED);
}

static void a_run_that_is_over_stops_what_is_left(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.phase = RUN_STOPPED;
    add(fixture, 0, JOB_OUTCOME_NONE);
    add(fixture, 1, JOB_OUTCOME_NONE)->stopping = true;
    expect(fixture, "stop 0");
    assert_int_equal(fixture->result.phase, RUN_STOPPED);
}

static void a_second_instance_of_what_is_done_is_stopped(void **state)
{
    struct fixture *fixture = *state;
    add(fixture, 0, JOB_OUTCOME_NONE);
    add(fixture, 0, JOB_OUTCOME_SUCCEEDED);
    add(fixture, 1, JOB_OUTCOME_NONE);
    expect(fixture, "stop 0");
}

static void a_revoked_revision_fails_the_run(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.revoked = "its key was removed";
    add(fixture, 0, JOB_OUTCOME_NONE);
    expect(fixture, "stop 0");
    assert_int_equal(fixture->result.phase, RUN_FAILED);
    assert_string_equal(fixture->result.reason, "its revision may not run: its key was removed");
}

static void a_run_waits_for_the_end_of_the_one_it_replaces(void **state)
{
    struct fixture *fixture = *state;
    fixture->input.waits = true;
    expect(fixture, "");
    fixture->input.waits = false;
    expect(fixture, "start 0, start 1");
}

static void an_end_is_judged_by_what_the_agent_says(void **state)
{
    (void)state;
    assert_int_equal(job_outcome_of(INSTANCE_READY, "", true, false), JOB_OUTCOME_NONE);
    assert_int_equal(job_outcome_of(INSTANCE_STOPPED, "completed", true, false),
                     JOB_OUTCOME_SUCCEEDED);
    assert_int_equal(job_outcome_of(INSTANCE_STOPPED, "completed", false, false),
                     JOB_OUTCOME_SUCCEEDED);
    assert_int_equal(job_outcome_of(INSTANCE_FAILED, "guest_panic", true, false),
                     JOB_OUTCOME_FAILED);
    assert_int_equal(job_outcome_of(INSTANCE_FAILED, "image_not_found", true, false),
                     JOB_OUTCOME_FAILED);
    assert_int_equal(job_outcome_of(INSTANCE_FAILED, "node_restarted", true, false),
                     JOB_OUTCOME_LOST);
    assert_int_equal(job_outcome_of(INSTANCE_STOPPED, "", false, false), JOB_OUTCOME_LOST);
    assert_int_equal(job_outcome_of(INSTANCE_RUNNING, "", true, true), JOB_OUTCOME_LOST);
}

static void runs_end_once(void **state)
{
    (void)state;
    assert_true(run_phase_may_move(RUN_RUNNING, RUN_SUCCEEDED));
    assert_true(run_phase_may_move(RUN_RUNNING, RUN_FAILED));
    assert_true(run_phase_may_move(RUN_RUNNING, RUN_STOPPED));
    for (enum run_phase from = RUN_SUCCEEDED; from <= RUN_STOPPED; from++) {
        assert_true(run_phase_is_over(from));
        for (enum run_phase to = RUN_RUNNING; to <= RUN_STOPPED; to++)
            assert_false(run_phase_may_move(from, to));
    }
}

/* --- schedules --- */

#define MIDNIGHT (20000 * DAY)

static enum job_due look(uint64_t last_ms, uint64_t now_ms, uint64_t *ret_at_ms)
{
    struct cron cron;
    assert_int_equal(cron_parse("*/10 * * * *", &cron, NULL), 0);
    return job_schedule_look(&cron, last_ms, now_ms, ret_at_ms);
}

static void a_run_is_due_at_its_time_and_not_before(void **state)
{
    (void)state;
    uint64_t at;
    assert_int_equal(look(MIDNIGHT, MIDNIGHT + 10 * MINUTE - 1, &at), JOB_NOT_DUE);
    assert_true(at == MIDNIGHT + 10 * MINUTE);
    assert_int_equal(look(MIDNIGHT, MIDNIGHT + 10 * MINUTE, &at), JOB_DUE);
    assert_true(at == MIDNIGHT + 10 * MINUTE);
    assert_int_equal(look(MIDNIGHT + 10 * MINUTE, MIDNIGHT + 10 * MINUTE, &at), JOB_NOT_DUE);
    assert_true(at == MIDNIGHT + 20 * MINUTE);
}

static void many_missed_times_are_one_run(void **state)
{
    (void)state;
    uint64_t at, now = MIDNIGHT + 5 * DAY + 3 * MINUTE;
    assert_int_equal(look(MIDNIGHT, now, &at), JOB_DUE);
    assert_true(at == MIDNIGHT + 10 * MINUTE);
    assert_int_equal(look(now, now, &at), JOB_NOT_DUE);
    assert_true(at == MIDNIGHT + 5 * DAY + 10 * MINUTE);
}

static void a_clock_that_goes_back_runs_nothing_twice(void **state)
{
    (void)state;
    uint64_t at, last = MIDNIGHT + 10 * MINUTE;
    assert_int_equal(look(last, last - 5 * MINUTE, &at), JOB_NOT_DUE);
    assert_true(at == MIDNIGHT + 20 * MINUTE);
    assert_int_equal(look(last, last - DAY, &at), JOB_NOT_DUE);
    assert_int_equal(look(last, last, &at), JOB_NOT_DUE);
}

static void a_clock_that_had_been_far_ahead_does_not_end_the_schedule(void **state)
{
    (void)state;
    uint64_t at;
    assert_int_equal(look(MIDNIGHT + 3650 * DAY, MIDNIGHT, &at), JOB_CLOCK_REPAIRED);
    assert_true(at == MIDNIGHT + 10 * MINUTE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_run_begins_with_as_many_as_may_run),
        TEST(what_succeeded_makes_room_for_the_next),
        TEST(a_run_succeeds_when_every_completion_did),
        TEST(a_failure_is_tried_again_after_its_backoff),
        TEST(another_completion_need_not_wait_for_a_backoff),
        TEST(one_failure_more_than_retries_fails_the_run),
        TEST(without_retries_the_first_failure_is_the_last),
        TEST(what_was_lost_is_started_again_and_not_counted),
        TEST(a_deadline_ends_the_run),
        TEST(what_has_succeeded_by_its_deadline_has_succeeded),
        TEST(a_run_that_is_over_stops_what_is_left),
        TEST(a_second_instance_of_what_is_done_is_stopped),
        TEST(a_revoked_revision_fails_the_run),
        TEST(a_run_waits_for_the_end_of_the_one_it_replaces),
        cmocka_unit_test(an_end_is_judged_by_what_the_agent_says),
        cmocka_unit_test(runs_end_once),
        cmocka_unit_test(a_run_is_due_at_its_time_and_not_before),
        cmocka_unit_test(many_missed_times_are_one_run),
        cmocka_unit_test(a_clock_that_goes_back_runs_nothing_twice),
        cmocka_unit_test(a_clock_that_had_been_far_ahead_does_not_end_the_schedule),
    };
    return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
