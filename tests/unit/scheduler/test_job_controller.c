/* Jobs over a real store on a clock of the test's own: runs, retries, deadlines, lost nodes, what
 * people ask for. */
#include "scheduler/views_jobs.h"
#include "tests/unit/scheduler/job_fixture.h"

/* --- runs --- */

static void five_completions_run_two_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"completions\": 5, \"parallelism\": 2", "d1");
    assert_int_equal(fixture->answer.run, 1);
    expect_running(fixture, "0 1");
    all_live(fixture);
    all_say(fixture, DONE(0));
    expect_running(fixture, "1 2");
    assert_int_equal(run_of(fixture, 1)->succeeded, 1);
    all_say(fixture, DONE(2));
    all_say(fixture, DONE(1));
    expect_running(fixture, "3 4");
    all_say(fixture, DONE(3));
    expect_phase(fixture, 1, RUN_RUNNING);
    all_say(fixture, DONE(4));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
    expect_running(fixture, "");
    assert_int_equal(run_of(fixture, 1)->succeeded, 5);
    assert_int_equal(run_of(fixture, 1)->failed, 0);
}

static void what_has_ended_gives_its_room_back(void **state)
{
    struct fixture *fixture = *state;
    uint64_t memory;
    uint32_t vcpus, count, all = 0;
    deploy_job(fixture, "", "d1");
    all_say(fixture, DONE(0));
    for (const char *name = "a"; name != NULL; name = *name == 'a' ? "b" : NULL) {
        capacity_used(model_node(&fixture->core.model, name), &memory, &vcpus, &count);
        all += count;
    }
    assert_int_equal(all, 0);
}

static void a_failure_is_tried_again_by_a_new_instance_after_its_backoff(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    all_say(fixture, PANIC(0));
    expect_running(fixture, "");
    assert_int_equal(run_of(fixture, 1)->failed, 1);
    wake_at(fixture, 999);
    expect_running(fixture, "");
    wake_at(fixture, 1);
    expect_running(fixture, "0");
    assert_int_equal(service(fixture)->instances.count, 2);
    all_say(fixture, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
}

static void used_up_retries_fail_the_run_and_stop_the_rest(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"completions\": 3, \"parallelism\": 3, \"retries\": 1", "d1");
    all_live(fixture);
    all_say(fixture, PANIC(0));
    expect_phase(fixture, 1, RUN_RUNNING);
    all_say(fixture, PANIC(1));
    expect_phase(fixture, 1, RUN_FAILED);
    assert_non_null(strstr(run_of(fixture, 1)->reason, "guest_panic"));
    expect_running(fixture, "");
    all_live(fixture);
    assert_int_equal(run_of(fixture, 1)->failed, 2);
    for (size_t i = 0; i < service(fixture)->instances.count; i++)
        assert_true(model_instance_has_ended(service(fixture)->instances.items[i]));
}

static void a_deadline_fails_the_run(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"deadline\": \"20s\"", "d1");
    for (int i = 0; i < 4; i++) {
        all_live(fixture);
        wake_at(fixture, 4999);
    }
    expect_phase(fixture, 1, RUN_RUNNING);
    all_live(fixture);
    wake_at(fixture, 4);
    expect_phase(fixture, 1, RUN_FAILED);
    assert_non_null(strstr(run_of(fixture, 1)->reason, "deadline 20s passed"));
    expect_running(fixture, "");
}

static void a_jump_of_the_clock_is_no_deadline(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"deadline\": \"20s\"", "d1");
    all_live(fixture);
    fixture->wall_offset_ms += 3 * DAY;
    wake_at(fixture, 1000);
    expect_phase(fixture, 1, RUN_RUNNING);
}

static void a_run_tells_of_what_is_on_silent_nodes(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    all_live(fixture);
    const struct model_instance *first = service(fixture)->instances.items[0];
    const char *other = first->document->node[0] == 'a' ? "b" : "a";
    for (int i = 0; i < 4; i++) {
        wake_at(fixture, 3000);
        say(fixture, other, (struct word){0});
    }
    AUTO_JSON struct json_object *runs = views_runs(&fixture->core, service(fixture));
    AUTO_FREE char *text = json_text(runs);
    assert_non_null(strstr(text, "\"active\":1,\"unknown\":1,"));
}

static void what_a_lost_node_ran_is_started_elsewhere_and_no_failure(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"retries\": 0", "d1");
    all_live(fixture);
    const struct model_instance *first = service(fixture)->instances.items[0];
    const char *gone = first->document->node, *other = gone[0] == 'a' ? "b" : "a";
    char name[NAME_MAX_TEXT];
    text_copy(name, sizeof name, gone);
    for (int i = 0; i < 20; i++) {
        wake_at(fixture, 3000);
        say(fixture, other, (struct word){0});
    }
    assert_int_equal(first->document->outcome, JOB_OUTCOME_LOST);
    assert_false(model_instance_has_ended(first));
    expect_running(fixture, "0");
    assert_int_equal(running_on(fixture, other), 1);
    assert_int_equal(run_of(fixture, 1)->lost, 1);
    assert_int_equal(run_of(fixture, 1)->failed, 0);
    say(fixture, other, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
    /* It comes back, and is rid of what was replaced. */
    say(fixture, name, (struct word){0});
    assert_true(model_instance_has_ended(first));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
}

static void a_reboot_of_the_node_is_no_failure(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"retries\": 0", "d1");
    const struct model_instance *first = service(fixture)->instances.items[0];
    say(fixture, first->node->name, (struct word){0, INSTANCE_FAILED, "node_restarted"});
    expect_phase(fixture, 1, RUN_RUNNING);
    expect_running(fixture, "0");
    assert_int_equal(run_of(fixture, 1)->lost, 1);
}

static int decide_displace(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    const struct model_instance *first = service(fixture)->instances.items[0];
    struct document_instance *copy = change_edit(change, DOCUMENT_INSTANCE, first->document);
    (void)error;
    copy->wish = WISH_DRAIN;
    document_set_text(&copy->why, "something more important needs its room");
    document_set_text(&copy->cause, "preempted");
    return 0;
}

static void what_has_to_make_room_is_started_again_and_no_failure(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"retries\": 0", "d1");
    all_live(fixture);
    changes_decide(fixture->core.changes, decide_displace, NULL, fixture);
    settle(fixture);
    const struct model_instance *first = service(fixture)->instances.items[0];
    assert_int_equal(first->document->wish, WISH_STOP);
    assert_string_equal(first->document->cause, "preempted");
    expect_running(fixture, "");
    all_live(fixture);
    assert_int_equal(first->document->outcome, JOB_OUTCOME_LOST);
    expect_running(fixture, "0");
    all_say(fixture, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
}

static void without_room_a_run_waits(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"completions\": 9, \"parallelism\": 9", "d1");
    expect_running(fixture, "0 1 2 3 4 5 6 7");
    assert_non_null(service(fixture)->no_capacity);
    all_live(fixture);
    all_say(fixture, DONE(3));
    expect_running(fixture, "0 1 2 4 5 6 7 8");
    assert_null(service(fixture)->no_capacity);
}

/* --- deploy, run, stop --- */

static void the_same_spec_again_runs_nothing(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    all_say(fixture, DONE(0));
    deploy_job(fixture, "", "d1");
    assert_false(fixture->answer.changed);
    assert_int_equal(fixture->answer.run, 0);
    deploy_job(fixture, ", \"retries\": 9", "d1");
    assert_true(fixture->answer.changed);
    assert_int_equal(service(fixture)->run_count, 1);
}

static void a_new_template_runs_and_a_run_keeps_its_revision(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    deploy_job(fixture, "", "d2");
    /* The first one still runs, and forbids another one. */
    assert_int_equal(fixture->answer.run, 0);
    assert_int_equal(fixture->answer.revision, 2);
    assert_non_null(strstr(fixture->answer.message, "next run"));
    all_say(fixture, PANIC(0));
    wake_at(fixture, 1000);
    const struct sorted *instances = &service(fixture)->instances;
    const struct model_instance *last = instances->items[instances->count - 1];
    assert_int_equal(last->document->revision, 1);
    all_say(fixture, DONE(0));
    deploy_job(fixture, "", "d3");
    assert_int_equal(fixture->answer.run, 2);
    assert_int_equal(run_of(fixture, 2)->revision, 3);
}

static int decide_rollback(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    fixture->answer = (struct api_change_answer){0};
    return service_changes_rollback(&fixture->core, change, "default", "s", 0, &fixture->answer,
                                    error);
}

static int decide_scale(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_scale(&fixture->core, change, "default", "s", 3, &fixture->answer,
                                 error);
}

static int decide_restart(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_restart(&fixture->core, change, "default", "s", &fixture->answer, error);
}

static void a_rollback_chooses_what_the_next_run_takes(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    all_say(fixture, DONE(0));
    deploy_job(fixture, "", "d2");
    all_say(fixture, DONE(0));
    assert_false(is_refused(fixture, decide_rollback));
    assert_int_equal(service(fixture)->run_count, 2);
    assert_false(is_refused(fixture, decide_run));
    assert_int_equal(run_of(fixture, 3)->revision, 1);
}

static void what_only_services_have_is_refused_to_a_job(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    assert_true(is_refused(fixture, decide_scale));
    assert_true(is_refused(fixture, decide_restart));
    expect_running(fixture, "0");
}

static void a_run_is_begun_and_stopped_by_hand(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    assert_true(is_refused(fixture, decide_run));
    assert_false(is_refused(fixture, decide_stop));
    expect_phase(fixture, 1, RUN_STOPPED);
    all_live(fixture);
    assert_false(is_refused(fixture, decide_run));
    assert_int_equal(fixture->answer.run, 2);
    expect_running(fixture, "0");
    all_say(fixture, DONE(0));
    expect_phase(fixture, 2, RUN_SUCCEEDED);
    expect_phase(fixture, 1, RUN_STOPPED);
}

static void a_job_does_not_become_a_service(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, "", "d1");
    uint64_t uid = service(fixture)->document->uid;
    deploy(fixture, "d1", 1);
    assert_int_equal(service(fixture)->document->spec.type, API_TYPE_JOB);
    assert_true(service(fixture)->document->uid == uid);
    assert_int_equal(service(fixture)->revision_count, 1);
}

static int decide_remove(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_remove(&fixture->core, change, "default", "s", &fixture->answer, error);
}

static void a_removed_job_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"completions\": 2", "d1");
    all_say(fixture, DONE(0));
    changes_decide(fixture->core.changes, decide_remove, NULL, fixture);
    settle(fixture);
    expect_running(fixture, "");
    all_live(fixture);
    assert_null(service(fixture));
    assert_int_equal(fixture->core.model.instances.count, 0);
}

static void old_runs_are_forgotten(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"history\": 2", "d1");
    for (uint32_t number = 1; number <= 4; number++) {
        all_live(fixture);
        all_say(fixture, DONE(0));
        expect_phase(fixture, number, RUN_SUCCEEDED);
        assert_false(is_refused(fixture, decide_run));
    }
    wake_at(fixture, 20000);
    assert_int_equal(service(fixture)->run_count, 3);
    assert_null(model_run(service(fixture), 2));
    expect_phase(fixture, 5, RUN_RUNNING);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(five_completions_run_two_at_a_time),
        TEST(what_has_ended_gives_its_room_back),
        TEST(a_failure_is_tried_again_by_a_new_instance_after_its_backoff),
        TEST(used_up_retries_fail_the_run_and_stop_the_rest),
        TEST(a_deadline_fails_the_run),
        TEST(a_jump_of_the_clock_is_no_deadline),
        TEST(a_run_tells_of_what_is_on_silent_nodes),
        TEST(what_a_lost_node_ran_is_started_elsewhere_and_no_failure),
        TEST(a_reboot_of_the_node_is_no_failure),
        TEST(what_has_to_make_room_is_started_again_and_no_failure),
        TEST(without_room_a_run_waits),
        TEST(a_rollback_chooses_what_the_next_run_takes),
        TEST(what_only_services_have_is_refused_to_a_job),
        TEST(the_same_spec_again_runs_nothing),
        TEST(a_new_template_runs_and_a_run_keeps_its_revision),
        TEST(a_run_is_begun_and_stopped_by_hand),
        TEST(a_job_does_not_become_a_service),
        TEST(a_removed_job_leaves_nothing),
        TEST(old_runs_are_forgotten),
    };
    return cmocka_run_group_tests_name("job_controller", tests, NULL, NULL);
}
