/* How a rollout reads, in each of its phases, and a job's run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/jobs.h"
#include "cli/rollout_text.h"

static void assert_reads(struct api_rollout_view view, const char *reason, const char *wanted)
{
    struct buffer AUTO_BUFFER text = {0};
    strcpy(view.reason, reason);
    rollout_text_describe(&view, &text);
    assert_string_equal(buffer_text(&text), wanted);
}

static void one_that_runs_tells_its_counts_once(void **state)
{
    (void)state;
    struct api_rollout_view view = {
        .phase = ROLLOUT_PROGRESSING, .wanted = 3, .healthy = 1, .old = 2, .age_ms = 4000};
    assert_reads(view, "1 of 3 healthy", "progressing, 1 of 3 healthy, 2 old");
    assert_reads(
        view, "1 of 3 healthy; node a is silent: 1 instance there is unknown",
        "progressing, 1 of 3 healthy, 2 old; node a is silent: 1 instance there is unknown");
    assert_reads(view, "no node has room", "progressing, 1 of 3 healthy, 2 old; no node has room");
    view.failures = 2;
    assert_reads(view, "1 of 3 healthy", "progressing, 1 of 3 healthy, 2 old, 2 failed starts");
    view = (struct api_rollout_view){
        .phase = ROLLOUT_PROGRESSING, .wanted = 3, .healthy = 3, .old = 1};
    assert_reads(view, "3 of 3 healthy, 1 old to end", "progressing, 3 of 3 healthy, 1 old");
}

static void one_that_waits_says_for_what(void **state)
{
    (void)state;
    struct api_rollout_view view = {
        .phase = ROLLOUT_PAUSED, .wanted = 3, .healthy = 1, .old = 2, .held = true};
    assert_reads(view, "1 of 3 healthy: waits for `resume` or `abort`",
                 "paused, 1 of 3 healthy, 2 old; waits for `resume` or `abort`");
    view = (struct api_rollout_view){.phase = ROLLOUT_AWAITING_PROMOTION,
                                     .wanted = 3,
                                     .healthy = 1,
                                     .canary = 1,
                                     .old = 3,
                                     .held = true};
    assert_reads(
        view, "1 of 1 canaries healthy: waits for `promote` or `abort`",
        "awaiting promotion, 1 of 1 canaries healthy, 3 old; waits for `promote` or `abort`");
}

/* The service may have been scaled since, and its instances come and gone. */
static void one_that_is_over_tells_what_was_then(void **state)
{
    (void)state;
    struct api_rollout_view view = {.phase = ROLLOUT_SUCCEEDED,
                                    .wanted = 5,
                                    .healthy = 0,
                                    .age_ms = 62000,
                                    .duration_ms = 2000};
    assert_reads(view, "2 of 2 healthy", "succeeded 60s ago: 2 of 2 healthy");
    view.phase = ROLLOUT_ROLLED_BACK;
    assert_reads(view, "slot 0 failed 3 times; back to revision 1",
                 "rolled back 60s ago: slot 0 failed 3 times; back to revision 1");
    assert_reads(view, "", "rolled back 60s ago");
}

static void a_run_tells_of_silent_nodes(void **state)
{
    (void)state;
    char text[128];
    struct api_run_view run = {.completions = 5, .succeeded = 1, .active = 3, .failed = 1};
    jobs_describe_run(&run, text, sizeof text);
    assert_string_equal(text, "1 of 5 succeeded, 3 running, 1 failed");
    run.unknown = 2;
    jobs_describe_run(&run, text, sizeof text);
    assert_string_equal(text, "1 of 5 succeeded, 1 running, 2 unknown on silent nodes, 1 failed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_runs_tells_its_counts_once),
        cmocka_unit_test(one_that_waits_says_for_what),
        cmocka_unit_test(one_that_is_over_tells_what_was_then),
        cmocka_unit_test(a_run_tells_of_silent_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
