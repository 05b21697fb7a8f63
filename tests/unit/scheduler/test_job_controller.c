/* Jobs over a real store on a clock of the test's own: runs, retries, deadlines, lost nodes,
 * schedules, jumps of the clock, and a scheduler that begins anew in the middle of a run. */
#include "lib/api/service_spec.h"
#include "scheduler/job_changes.h"
#include "tests/unit/scheduler/controller_fixture.h"

#define MINUTE UINT64_C(60000)
#define DAY    UINT64_C(86400000)
/* The wall clock when a test begins: a midnight. */
#define MIDNIGHT (20000 * DAY)

static uint64_t wall_ms;

static uint64_t jumping_wall(const struct clock *clock)
{
    (void)clock;
    return wall_ms;
}

static int begin(void **state)
{
    if (set_up(state) < 0)
        return -1;
    struct fixture *fixture = *state;
    fixture->clock.wall_ms = jumping_wall;
    wall_ms = MIDNIGHT;
    join(fixture, "a");
    join(fixture, "b");
    return 0;
}

/* Both clocks go on. */
static void pass_time(struct fixture *fixture, uint64_t later_ms)
{
    wall_ms += later_ms;
    wake_at(fixture, later_ms);
}

static void deploy_job(struct fixture *fixture, const char *members, const char *digest)
{
    char text[512];
    struct error error = ERROR_INIT;
    AUTO_JSON struct json_object *object = NULL;
    snprintf(text, sizeof text,
             "{\"service\": \"s\", \"image\": \"i\", \"type\": \"job\","
             " \"reschedule\": {\"backoff\": \"1s\", \"max_backoff\": \"8s\"}%s}",
             members);
    document_free(DOCUMENT_REVISION, fixture->revision);
    api_service_spec_release(&fixture->spec);
    assert_int_equal(json_parse(text, strlen(text), &object, NULL), 0);
    if (api_service_spec_decode(object, &fixture->spec, &error) < 0)
        fail_msg("%s", error.message);
    struct document_revision *revision = document_create(DOCUMENT_REVISION);
    strcpy(revision->namespace_name, "default");
    strcpy(revision->service, "s");
    text_copy(revision->template_digest, sizeof revision->template_digest, digest);
    revision->template.resources = (struct api_resources){32 * MIB, 1};
    revision->platforms = xcalloc(1, sizeof *revision->platforms);
    revision->platform_count = 1;
    strcpy(revision->platforms[0].arch, "amd64");
    fixture->revision = revision;
    fixture->answer = (struct api_change_answer){0};
    changes_decide(fixture->core.changes, decide_deploy, NULL, fixture);
    settle(fixture);
}

/* --- what agents say --- */

struct word {
    uint32_t index;
    enum instance_state state;
    const char *cause;
};
#define DONE(index)  ((struct word){index, INSTANCE_STOPPED, "completed"})
#define PANIC(index) ((struct word){index, INSTANCE_FAILED, "guest_panic"})

/* A status of the node: what runs is ready, what is to stop has, but for one index. */
static void say(struct fixture *fixture, const char *name, struct word word)
{
    struct model_node *node = model_node(&fixture->core.model, name);
    struct api_status status = {.sequence = ++fixture->sequence,
                                .term = 1,
                                .assignment_revision = node->assignment_revision,
                                .endpoints_revision = UINT64_MAX};
    status.instances = xcalloc(node->instances.count + 1, sizeof *status.instances);
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        struct api_observed_instance *seen = &status.instances[status.instance_count];
        if (model_instance_has_ended(instance))
            continue;
        text_copy(seen->id, sizeof seen->id, instance->name);
        seen->state = instance->document->wish == WISH_STOP ? INSTANCE_STOPPED : INSTANCE_READY;
        if (instance->document->slot == word.index && word.cause != NULL) {
            seen->state = word.state;
            text_copy(seen->cause, sizeof seen->cause, word.cause);
        }
        status.instance_count++;
    }
    observation_take(&fixture->core, node, &status);
    json_record_release(&api_status_record, &status);
    settle(fixture);
}

/* Both nodes. */
static void all_say(struct fixture *fixture, struct word word)
{
    say(fixture, "a", word);
    say(fixture, "b", word);
}

static void all_live(struct fixture *fixture)
{
    all_say(fixture, (struct word){0});
}

/* --- what is seen --- */

static struct document_run *run_of(struct fixture *fixture, uint32_t number)
{
    struct document_run *run = model_run(service(fixture), number);
    assert_non_null(run);
    return run;
}

static void expect_phase(struct fixture *fixture, uint32_t number, enum run_phase phase)
{
    const struct document_run *run = run_of(fixture, number);
    if (run->phase != phase)
        fail_msg("run %u is %s: %s", number, run_phase_names[run->phase],
                 document_text(run->reason));
}

/* The indexes that run, ascending: "0 1". */
static void expect_running(struct fixture *fixture, const char *wanted)
{
    char text[128] = "";
    for (uint32_t index = 0; index < 10; index++) {
        for (size_t i = 0; i < service(fixture)->instances.count; i++) {
            const struct model_instance *instance = service(fixture)->instances.items[i];
            size_t length = strlen(text);
            if (instance->document->slot == index && instance->document->wish == WISH_RUN &&
                !model_instance_has_ended(instance))
                snprintf(text + length, sizeof text - length, "%s%u", length > 0 ? " " : "", index);
        }
    }
    assert_string_equal(text, wanted);
}

static int decide_run(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    fixture->answer = (struct api_change_answer){0};
    return job_changes_run(&fixture->core, change, "default", "s", &fixture->answer, error);
}

static int decide_stop(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return job_changes_stop(&fixture->core, change, "default", "s", 0, &fixture->answer, error);
}

static void on_refused(const struct error *error, void *data)
{
    ((struct fixture *)data)->answer.replicas = error != NULL ? 77 : 0;
}

static bool is_refused(struct fixture *fixture, change_decide *decide)
{
    changes_decide(fixture->core.changes, decide, on_refused, fixture);
    settle(fixture);
    return fixture->answer.replicas == 77;
}

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
    pass_time(fixture, 999);
    expect_running(fixture, "");
    pass_time(fixture, 1);
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
        pass_time(fixture, 4999);
    }
    expect_phase(fixture, 1, RUN_RUNNING);
    all_live(fixture);
    pass_time(fixture, 4);
    expect_phase(fixture, 1, RUN_FAILED);
    assert_non_null(strstr(run_of(fixture, 1)->reason, "deadline 20s passed"));
    expect_running(fixture, "");
}

static void a_jump_of_the_clock_is_no_deadline(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"deadline\": \"20s\"", "d1");
    all_live(fixture);
    wall_ms += 3 * DAY;
    wake_at(fixture, 1000);
    expect_phase(fixture, 1, RUN_RUNNING);
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
        pass_time(fixture, 3000);
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
    pass_time(fixture, 1000);
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

/* --- schedules --- */

static void a_schedule_runs_at_its_times(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"schedule\": \"*/10 * * * *\"", "d1");
    assert_int_equal(fixture->answer.run, 0);
    assert_int_equal(service(fixture)->run_count, 0);
    pass_time(fixture, 10 * MINUTE - 1);
    assert_int_equal(service(fixture)->run_count, 0);
    pass_time(fixture, 1);
    assert_int_equal(service(fixture)->run_count, 1);
    assert_true(run_of(fixture, 1)->scheduled_ms == MIDNIGHT + 10 * MINUTE);
    all_live(fixture);
    expect_running(fixture, "0");
    all_say(fixture, DONE(0));
    pass_time(fixture, 5 * MINUTE);
    assert_int_equal(service(fixture)->run_count, 1);
}

static void begin_second(struct fixture *fixture, const char *concurrency)
{
    char members[128];
    fixture->options.lease_ms = DAY;
    snprintf(members, sizeof members, ", \"schedule\": \"*/10 * * * *\", \"concurrency\": \"%s\"",
             concurrency);
    deploy_job(fixture, members, "d1");
    pass_time(fixture, 10 * MINUTE);
    all_live(fixture);
    expect_running(fixture, "0");
    pass_time(fixture, 10 * MINUTE);
}

static void forbid_leaves_a_run_out(void **state)
{
    struct fixture *fixture = *state;
    begin_second(fixture, "forbid");
    assert_int_equal(service(fixture)->run_count, 1);
    all_say(fixture, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
    /* What was left out is not made up for. */
    pass_time(fixture, MINUTE);
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
    pass_time(fixture, 10 * MINUTE);
    all_say(fixture, DONE(0));
    all_say(fixture, DONE(0));
    expect_phase(fixture, 1, RUN_SUCCEEDED);
    wall_ms -= 5 * MINUTE;
    for (int i = 0; i < 5; i++)
        pass_time(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 1);
    for (int i = 0; i < 10; i++)
        pass_time(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 2);
}

static void the_clock_goes_forward_and_one_run_makes_up_for_it(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"schedule\": \"*/10 * * * *\"", "d1");
    wall_ms += 3 * DAY;
    wake_at(fixture, 30000);
    assert_int_equal(service(fixture)->run_count, 1);
    assert_true(run_of(fixture, 1)->scheduled_ms == MIDNIGHT + 10 * MINUTE);
    all_say(fixture, DONE(0));
    all_say(fixture, DONE(0));
    pass_time(fixture, MINUTE);
    assert_int_equal(service(fixture)->run_count, 1);
    /* And back again: from now on, not from then. */
    wall_ms -= 3 * DAY;
    wake_at(fixture, 30000);
    for (int i = 0; i < 10; i++)
        pass_time(fixture, MINUTE);
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
    pass_time(fixture, 1000);
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
    wall_ms += 50000; /* it was away meanwhile */
    begin_anew(fixture);
    all_live(fixture);
    expect_phase(fixture, 1, RUN_RUNNING);
    pass_time(fixture, 9000);
    all_live(fixture);
    expect_phase(fixture, 1, RUN_RUNNING);
    pass_time(fixture, 1000);
    expect_phase(fixture, 1, RUN_FAILED);
}

static void of_many_missed_runs_one_is_made_up_for(void **state)
{
    struct fixture *fixture = *state;
    deploy_job(fixture, ", \"schedule\": \"*/10 * * * *\"", "d1");
    wall_ms += 55 * MINUTE;
    begin_anew(fixture);
    assert_int_equal(service(fixture)->run_count, 1);
    all_live(fixture);
    all_say(fixture, DONE(0));
    begin_anew(fixture);
    assert_int_equal(service(fixture)->run_count, 1);
    pass_time(fixture, 5 * MINUTE);
    assert_int_equal(service(fixture)->run_count, 2);
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
    pass_time(fixture, 20000);
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
        TEST(a_schedule_runs_at_its_times),
        TEST(forbid_leaves_a_run_out),
        TEST(allow_runs_beside),
        TEST(replace_stops_the_one_that_runs_first),
        TEST(the_clock_goes_back_and_nothing_runs_twice),
        TEST(the_clock_goes_forward_and_one_run_makes_up_for_it),
        TEST(a_run_goes_on_after_a_restart_of_the_scheduler),
        TEST(a_deadline_holds_across_a_restart_of_the_scheduler),
        TEST(of_many_missed_runs_one_is_made_up_for),
        TEST(old_runs_are_forgotten),
    };
    return cmocka_run_group_tests_name("job_controller", tests, NULL, NULL);
}
