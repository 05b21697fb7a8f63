/* The promises about jobs (docs/scheduling.md). */
#include <stdio.h>
#include <string.h>

#include "tests/sim/watch.h"

static bool is_of_run(const struct model_instance *instance, const struct document_instance *like)
{
    return instance->document->rollout == like->rollout && strcmp(instance->name, like->id) != 0;
}

/* As the model has it, which may be behind what is being written: then there are only more that
 * are over. */
static void check_start(struct world *world, const struct model_service *service,
                        const struct document_instance *started)
{
    const struct document_run *run = model_run(service, started->rollout);
    if (run == NULL || run_phase_is_over(run->phase)) {
        world_fail(world, "%s of %s starts for run %u, which is not under way", started->id,
                   service->name, started->rollout);
        return;
    }
    if (started->slot >= run->completions)
        world_fail(world, "%s of %s starts for completion %u of %u", started->id, service->name,
                   started->slot, run->completions);
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *other = service->instances.items[i];
        if (is_of_run(other, started) && other->document->slot == started->slot &&
            other->document->outcome == JOB_OUTCOME_SUCCEEDED)
            world_fail(world, "%s of %s starts for completion %u, which %s has done", started->id,
                       service->name, started->slot, other->name);
    }
}

/* Those of its run that are wanted and not known to be over. */
static void check_parallelism(struct world *world, const struct model_service *service,
                              const struct document_instance *started)
{
    uint32_t active = 0;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *other = service->instances.items[i];
        const struct document_instance *document = other->document;
        if (!is_of_run(other, started) || document->outcome != JOB_OUTCOME_NONE ||
            document->wish != WISH_RUN || model_instance_is_lost(other) ||
            instance_state_is_over(other->observed.state))
            continue;
        active++;
        if (document->slot == started->slot)
            world_fail(world, "%s and %s of %s both do completion %u", started->id, other->name,
                       service->name, started->slot);
    }
    if (active >= service->document->spec.job.parallelism)
        world_fail(world, "%s of %s starts while %u of its run do: %u may", started->id,
                   service->name, active, service->document->spec.job.parallelism);
}

void watch_job_instance(struct world *world, const struct core *core,
                        const struct model_service *service, const struct document_instance *last,
                        const struct document_instance *document)
{
    (void)core;
    if (last == NULL) {
        check_start(world, service, document);
        check_parallelism(world, service, document);
        return;
    }
    if (document->wish < last->wish)
        world_fail(world, "%s is wanted again after it was to end", document->id);
    if (last->outcome != JOB_OUTCOME_NONE && document->outcome != last->outcome)
        world_fail(world, "%s had %s and is said to have %s", document->id,
                   job_outcome_names[last->outcome], job_outcome_names[document->outcome]);
    if (document->wish != last->wish && document->outcome == JOB_OUTCOME_NONE &&
        document->why == NULL)
        world_fail(world, "%s of %s is ended and nobody says why", document->id, service->name);
    if (document->ended_ms != 0 && document->outcome == JOB_OUTCOME_NONE)
        world_fail(world, "%s of %s has ended, and nobody says how", document->id, service->name);
}

static void check_run(struct world *world, const struct model_service *service,
                      const struct document_run *run)
{
    const struct document_run *before = service != NULL ? model_run(service, run->number) : NULL;
    bool over = run_phase_is_over(run->phase);
    world_trace(world, "decides: run %u of %s %s: %u of %u, %u failed, %u lost", run->number,
                run->service, run_phase_names[run->phase], run->succeeded, run->completions,
                run->failed, run->lost);
    if (before != NULL && before->phase != run->phase &&
        !run_phase_may_move(before->phase, run->phase))
        world_fail(world, "run %u of %s was %s and is %s", run->number, run->service,
                   run_phase_names[before->phase], run_phase_names[run->phase]);
    if (run->phase == RUN_SUCCEEDED && run->succeeded != run->completions)
        world_fail(world, "run %u of %s succeeded with %u of %u", run->number, run->service,
                   run->succeeded, run->completions);
    if (over != (run->ended_ms != 0) || (over && run->reason == NULL))
        world_fail(world, "run %u of %s is over and does not say when or why", run->number,
                   run->service);
}

void watch_run(struct world *world, const struct core *core, const char *text)
{
    struct document_run *run = document_create(DOCUMENT_RUN);
    struct error error = ERROR_INIT;
    if (json_parse_record(document_record(DOCUMENT_RUN), text, strlen(text), JSON_LENIENT, run,
                          &error) < 0)
        world_fail(world, "a run is written and cannot be read: %s", error.message);
    else
        check_run(world, model_service(&core->model, run->namespace_name, run->service), run);
    document_free(DOCUMENT_RUN, run);
}

bool watch_job_rests(const struct model_service *service, char *ret_why, size_t size)
{
    /* One with a schedule goes on for ever. */
    if (service->document->spec.job.schedule[0] != '\0')
        return true;
    for (size_t i = 0; i < service->run_count; i++) {
        const struct document_run *run = service->runs[i];
        if (!run_phase_is_over(run->phase) && service->no_capacity == NULL) {
            snprintf(ret_why, size, "run %u of %s is not over", run->number, service->name);
            return false;
        }
    }
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (!model_instance_has_ended(instance) && service->no_capacity == NULL) {
            snprintf(ret_why, size, "%s of %s does not end", instance->name, service->name);
            return false;
        }
    }
    return true;
}
