/* What the tests of jobs share: two nodes that say of each instance what they are told to, and a
 * wall clock that may jump. */
#pragma once

#include "lib/api/service_spec.h"
#include "scheduler/job_changes.h"
#include "tests/unit/scheduler/controller_fixture.h"

#define MINUTE UINT64_C(60000)
#define DAY    UINT64_C(86400000)
/* The wall clock when a test begins: a midnight. */
#define MIDNIGHT (20000 * DAY)

static inline int begin(void **state)
{
    if (set_up(state) < 0)
        return -1;
    struct fixture *fixture = *state;
    fixture->wall_offset_ms = MIDNIGHT - fixture->now_ms;
    join(fixture, "a");
    join(fixture, "b");
    return 0;
}

static inline void deploy_job(struct fixture *fixture, const char *members, const char *digest)
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
static inline void say(struct fixture *fixture, const char *name, struct word word)
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
static inline void all_say(struct fixture *fixture, struct word word)
{
    say(fixture, "a", word);
    say(fixture, "b", word);
}

static inline void all_live(struct fixture *fixture)
{
    all_say(fixture, (struct word){0});
}

/* --- what is seen --- */

static inline struct document_run *run_of(struct fixture *fixture, uint32_t number)
{
    struct document_run *run = model_run(service(fixture), number);
    assert_non_null(run);
    return run;
}

static inline void expect_phase(struct fixture *fixture, uint32_t number, enum run_phase phase)
{
    const struct document_run *run = run_of(fixture, number);
    if (run->phase != phase)
        fail_msg("run %u is %s: %s", number, run_phase_names[run->phase],
                 document_text(run->reason));
}

/* The indexes that run, ascending: "0 1". */
static inline void expect_running(struct fixture *fixture, const char *wanted)
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

static inline int decide_run(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    fixture->answer = (struct api_change_answer){0};
    return job_changes_run(&fixture->core, change, "default", "s", &fixture->answer, error);
}

static inline int decide_stop(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return job_changes_stop(&fixture->core, change, "default", "s", 0, &fixture->answer, error);
}

static inline void on_refused(const struct error *error, void *data)
{
    ((struct fixture *)data)->answer.replicas = error != NULL ? 77 : 0;
}

static inline bool is_refused(struct fixture *fixture, change_decide *decide)
{
    changes_decide(fixture->core.changes, decide, on_refused, fixture);
    settle(fixture);
    return fixture->answer.replicas == 77;
}
