#include "scheduler/views_jobs.h"

#include <stdio.h>

#include "lib/text.h"

static void count_active(const struct model_service *service, struct api_run_view *view)
{
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        bool is_active = instance->document->rollout == view->number &&
                         !model_instance_has_ended(instance) &&
                         instance->document->outcome == JOB_OUTCOME_NONE &&
                         !instance_state_is_over(instance->observed.state);
        view->active += is_active;
        view->unknown += is_active && (instance->node == NULL || instance->node->silent);
    }
}

static void fill_run(const struct core *core, const struct model_service *service,
                     const struct document_run *run, struct api_run_view *ret_view)
{
    uint64_t wall = core_wall(core);
    bool runs = !run_phase_is_over(run->phase);
    *ret_view = (struct api_run_view){.number = run->number,
                                      .revision = run->revision,
                                      .phase = run->phase,
                                      .completions = run->completions,
                                      .succeeded = run->succeeded,
                                      .failed = run->failed,
                                      .lost = run->lost,
                                      .scheduled_ms = run->scheduled_ms,
                                      .no_capacity = runs && service->no_capacity != NULL};
    count_active(service, ret_view);
    text_copy(ret_view->kind, sizeof ret_view->kind, run->kind);
    const char *reason = ret_view->no_capacity ? service->no_capacity : document_text(run->reason);
    snprintf(ret_view->reason, sizeof ret_view->reason, "%.*s", REASON_MAX - 1, reason);
    ret_view->age_ms = wall > run->started_ms ? wall - run->started_ms : 0;
    if (!runs && run->ended_ms > run->started_ms)
        ret_view->duration_ms = run->ended_ms - run->started_ms;
}

static uint64_t next_run(const struct core *core, const struct document_service *document)
{
    struct cron cron;
    uint64_t at_ms, wall = core_wall(core);
    if (document->spec.job.schedule[0] == '\0' || document->deleting ||
        cron_parse(document->spec.job.schedule, &cron, NULL) < 0)
        return 0;
    job_schedule_look(&cron, document->scheduled_ms, wall, &at_ms);
    return at_ms != UINT64_MAX ? at_ms : 0;
}

void views_fill_job(const struct core *core, const struct model_service *service,
                    struct api_service_view *view)
{
    const struct document_service *document = service->document;
    if (!model_is_job(service))
        return;
    view->type = API_TYPE_JOB;
    text_copy(view->schedule, sizeof view->schedule, document->spec.job.schedule);
    view->next_run_ms = next_run(core, document);
    if (service->run_count == 0)
        return;
    view->has_run = true;
    fill_run(core, service, service->runs[service->run_count - 1], &view->run);
}

struct json_object *views_runs(const struct core *core, const struct model_service *service)
{
    struct json_object *list = json_object_new_array(), *object = json_object_new_object();
    for (size_t i = 0; i < service->run_count; i++) {
        struct api_run_view view;
        fill_run(core, service, service->runs[i], &view);
        json_object_array_add(list, json_encode(&api_run_view_record, &view));
    }
    json_object_object_add(object, "runs", list);
    return object;
}
