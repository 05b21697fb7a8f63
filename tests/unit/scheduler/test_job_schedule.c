/* Schedules of jobs, jumps of the clock, and a scheduler that begins anew in the middle of a run.
 */
#include "tests/unit/scheduler/job_fixture.h"

/* --- schedules --- */

static void a_schedule_runs_at_its_times(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"schedule\": \"*/10 * * * *\"", "d1");
    assert_int_equal(fixture->answer.run, 0);
    assert_int_equal(service(fixture)->run_count, 0);
    wake_at(fixture, 10 * MINUTE - 1);
    assert_int_equal(service(fixture)->run_count, 0);
    wake_at(fixture, 1);
    assert_int_equal(service(fixture)->run_count, 1);
    assert_true(run_of(fixture, 1)->scheduled_ms == MIDNIGHT + 10 * MINUTE);
    all_live(fixture);
    expect_running(fixture, "0");
    all_say(fixture, DONE(0));
    wake_at(fixture, 5 * MINUTE);
    assert_int_equal(service(fixture)->run_count, 1);
}

static void begin_second(struct fixture *fixture, const char *concurrency)
{
    char members[128];
    fixture->options.lease_ms = DAY;
    snprintf(members, sizeof members, ", \"schedule\": \"*/10 * * * *\", \"concurrency\": \"%s\"",
             concurrency);
    deploy_job(fixture, members, "d1");
    wake_at(fixture, 10 * MINUTE);
    all_live(fixture);
    expect_running(fixture, "0");
    wake_at(fixture, 10 * MINUTE);
}

static void forbid_leaves_a_run_out(void **state)
{
    struct fixture *fixture = *state;
    begin_second(fixture, "forbid");
    assert_int_equal(service(fixture)->run_count, 1);
    all_say(fixture, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
    /* What was left out is not made up for. */
    wake_at(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 1);
}

static void allow_runs_beside(void **state)
{
    struct fixture *fixture = *state;
    begin_second(fixture, "allow");
    assert_int_equal(service(fixture)->run_count, 2);
    expect_running(fixture, "0 0");
    all_say(fixture, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
    expect_phase(fixture, 2, RUN_SUCCEEDED);
}

static void replace_stops_the_one_that_runs_first(void **state)
{
    struct fixture *fixture = *state;
    begin_second(fixture, "replace");
    expect_phase(fixture, 1, RUN_STOPPED);
    assert_string_equal(run_of(fixture, 1)->reason, "replaced by run 2");
    expect_phase(fixture, 2, RUN_RUNNING);
    /* Not before the old one is gone. */
    expect_running(fixture, "");
    all_live(fixture);
    expect_running(fixture, "0");
    all_say(fixture, DONE(0));
    expect_phase(fixture, 2, RUN_SUCCEEDED);
}

static void the_clock_goes_back_and_nothing_runs_twice(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"schedule\": \"*/10 * * * *\"", "d1");
    wake_at(fixture, 10 * MINUTE);
    all_say(fixture, DONE(0));
    all_say(fixture, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
    fixture->wall_offset_ms -= 5 * MINUTE;
    for (int i = 0; i < 5; i++)
        wake_at(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 1);
    for (int i = 0; i < 10; i++)
        wake_at(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 2);
}

static void the_clock_goes_forward_and_one_run_makes_up_for_it(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"schedule\": \"*/10 * * * *\"", "d1");
    fixture->wall_offset_ms += 3 * DAY;
    wake_at(fixture, 30000);
    assert_int_equal(service(fixture)->run_count, 1);
    assert_true(run_of(fixture, 1)->scheduled_ms == MIDNIGHT + 10 * MINUTE);
    all_say(fixture, DONE(0));
    all_say(fixture, DONE(0));
    wake_at(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 1);
    /* And back again: from now on, not from then. */
    fixture->wall_offset_ms -= 3 * DAY;
    wake_at(fixture, 30000);
    for (int i = 0; i < 10; i++)
        wake_at(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 2);
}

/* --- a scheduler that begins anew --- */

struct loading {
    struct fixture *fixture;
    enum document_kind kind;
    bool done;
};

static void on_page(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    struct loading *loading = data;
    (void)revision;
    assert_null(error);
    assert_false(more);
    for (size_t i = 0; i < count; i++) {
        void *document = document_create(loading->kind);
        assert_int_equal(json_parse_record(document_record(loading->kind), documents[i].value,
                                           strlen(documents[i].value), JSON_LENIENT, document,
                                           NULL),
                         0);
        if (loading->kind == DOCUMENT_COUNTERS)
            changes_set_counters_at(loading->fixture->core.changes, documents[i].revision);
        model_apply(&loading->fixture->core.model, loading->kind, document, false,
                    loading->fixture->now_ms);
    }
    loading->done = true;
}

/* All that it knew is gone but what the store has. */
static void begin_anew(struct fixture *fixture)
{
    struct core *core = &fixture->core;
    controller_stop(core->controller);
    settle(fixture);
    controller_destroy(core->controller);
    publication_destroy(core->publication);
    changes_destroy(core->changes);
    model_finish(&core->model);
    model_init(&core->model);
    core->changes = changes_create(
        &(struct changes_options){core->store, &core->model, core->clock, on_applied, fixture});
    for (enum document_kind kind = DOCUMENT_COUNTERS; kind < DOCUMENT_EVENT; kind++) {
        struct loading loading = {.fixture = fixture, .kind = kind};
        store_list(core->store, document_prefix(kind), NULL, 1000, on_page, &loading);
        while (!loading.done)
            uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    core->revision_base += UINT64_C(1) << 32;
    changes_set_sequence(core->changes, core->revision_base);
    core->publication = publication_create(core);
    core->controller = controller_create(core);
    controller_wake(core->controller);
    settle(fixture);
}

static void a_run_goes_on_after_a_restart_of_the_scheduler(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture,
               ", \"completions\": 3, \"parallelism\": 1, \"retries\": 1, \"deadline\": \"1m\"",
               "d1");
    all_say(fixture, PANIC(0));
    expect_running(fixture, "1"); /* while the other one waits to be tried again */
    all_say(fixture, DONE(1));
    expect_running(fixture, "2");
    begin_anew(fixture);
    /* What succeeded is not done again, what failed counts, what runs is the one that ran. */
    expect_phase(fixture, 1, RUN_RUNNING);
    expect_running(fixture, "2");
    all_live(fixture);
    expect_running(fixture, "2");
    all_say(fixture, DONE(2));
    wake_at(fixture, 1000);
    expect_running(fixture, "0");
    begin_anew(fixture);
    all_say(fixture, PANIC(0));
    expect_phase(fixture, 1, RUN_FAILED);
    assert_int_equal(run_of(fixture, 1)->succeeded, 2);
    assert_int_equal(run_of(fixture, 1)->failed, 2);
}

static void a_deadline_holds_across_a_restart_of_the_scheduler(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"deadline\": \"1m\"", "d1");
    all_live(fixture);
    fixture->wall_offset_ms += 50000; /* it was away meanwhile */
    begin_anew(fixture);
    all_live(fixture);
    expect_phase(fixture, 1, RUN_RUNNING);
    wake_at(fixture, 9000);
    all_live(fixture);
    expect_phase(fixture, 1, RUN_RUNNING);
    wake_at(fixture, 1000);
    expect_phase(fixture, 1, RUN_FAILED);
}

static void of_many_missed_runs_one_is_made_up_for(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"schedule\": \"*/10 * * * *\"", "d1");
    fixture->wall_offset_ms += 55 * MINUTE;
    begin_anew(fixture);
    assert_int_equal(service(fixture)->run_count, 1);
    all_live(fixture);
    all_say(fixture, DONE(0));
    begin_anew(fixture);
    assert_int_equal(service(fixture)->run_count, 1);
    wake_at(fixture, 5 * MINUTE);
    assert_int_equal(service(fixture)->run_count, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_schedule_runs_at_its_times),
        TEST(forbid_leaves_a_run_out),
        TEST(allow_runs_beside),
        TEST(replace_stops_the_one_that_runs_first),
        TEST(the_clock_goes_back_and_nothing_runs_twice),
        TEST(the_clock_goes_forward_and_one_run_makes_up_for_it),
        TEST(a_run_goes_on_after_a_restart_of_the_scheduler),
        TEST(a_deadline_holds_across_a_restart_of_the_scheduler),
        TEST(of_many_missed_runs_one_is_made_up_for),
    };
    return cmocka_run_group_tests_name("job_schedule", tests, NULL, NULL);
}
