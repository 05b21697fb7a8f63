#include "scheduler/job_changes.h"

#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "lib/text.h"

static const char *event_of_phase(enum run_phase phase)
{
    switch (phase) {
    case RUN_SUCCEEDED:
        return "run_succeeded";
    case RUN_FAILED:
        return "run_failed";
    case RUN_STOPPED:
        return "run_stopped";
    case RUN_RUNNING:
        break;
    }
    return "run_started";
}

void job_end_run(struct core *core, struct change *change, const struct document_run *run,
                 enum run_phase phase, const char *reason)
{
    if (!run_phase_may_move(run->phase, phase)) {
        log_error("a run may not move so: it stays", "job", run->service, "from",
                  run_phase_names[run->phase], "to", run_phase_names[phase], "cause", reason);
        return;
    }
    struct document_run *copy = change_edit(change, DOCUMENT_RUN, run);
    copy->phase = phase;
    copy->ended_ms = core_wall(core);
    document_set_text(&copy->reason, reason);
    log_info("run moves", "job", run->service, "run", LOG_NUMBER(run->number), "from",
             run_phase_names[run->phase], "to", run_phase_names[phase], "cause", reason);
    changes_event(core->changes, change, "run", run->namespace_name, run->service, NULL,
                  event_of_phase(phase), NULL, "run %u: %.480s", run->number, reason);
}

static size_t count_running(const struct model_service *service, uint32_t *ret_last)
{
    size_t count = 0;
    for (size_t i = 0; service != NULL && i < service->run_count; i++) {
        if (run_phase_is_over(service->runs[i]->phase))
            continue;
        *ret_last = service->runs[i]->number;
        count++;
    }
    return count;
}

static int make_way(struct core *core, struct change *change, const struct model_service *service,
                    const struct document_service *document, struct error *error)
{
    uint32_t last = 0;
    size_t running = count_running(service, &last);
    char reason[64];
    if (running == 0)
        return 0;
    switch (document->spec.job.concurrency) {
    case API_CONCURRENCY_FORBID:
        return error_set(error, ERROR_CONFLICT,
                         "run %u of job %s runs, and `concurrency: forbid` allows one at a time: "
                         "wait for its end, or end it (`shoal job stop %s`)",
                         last, document->service, document->service);
    case API_CONCURRENCY_ALLOW:
        if (running >= JOB_RUNS_MAX)
            return error_set(error, ERROR_CONFLICT,
                             "%zu runs of job %s run, more at a time are not begun", running,
                             document->service);
        return 0;
    case API_CONCURRENCY_REPLACE:
        break;
    }
    snprintf(reason, sizeof reason, "replaced by run %u", document->runs + 1);
    for (size_t i = 0; i < service->run_count; i++) {
        if (!run_phase_is_over(service->runs[i]->phase))
            job_end_run(core, change, service->runs[i], RUN_STOPPED, reason);
    }
    return 0;
}

int job_begin_run(struct core *core, struct change *change, const struct model_service *service,
                  struct document_service *document, uint32_t revision, const char *kind,
                  uint64_t scheduled_ms, uint32_t *ret_run, struct error *error)
{
    if (make_way(core, change, service, document, error) < 0)
        return -1;
    struct document_run *run = document_create(DOCUMENT_RUN);
    run->number = ++document->runs;
    text_copy(run->namespace_name, sizeof run->namespace_name, document->namespace_name);
    text_copy(run->service, sizeof run->service, document->service);
    text_copy(run->kind, sizeof run->kind, kind);
    run->revision = revision;
    run->completions = document->spec.job.completions;
    run->scheduled_ms = scheduled_ms;
    run->started_ms = core_wall(core);
    change_put(change, DOCUMENT_RUN, run);
    changes_event(core->changes, change, "run", run->namespace_name, run->service, NULL,
                  "run_started", NULL, "run %u of revision %u (%s): %u completions", run->number,
                  revision, kind, run->completions);
    *ret_run = run->number;
    return 0;
}

/* --- what people ask for --- */

static const struct model_service *find_job(const struct core *core, const char *namespace_name,
                                            const char *name, struct error *error)
{
    const struct model_service *service = model_service(&core->model, namespace_name, name);
    if (service == NULL || service->document == NULL)
        error_set(error, ERROR_NOT_FOUND, "there is no job %s in namespace %s", name,
                  namespace_name);
    else if (!model_is_job(service))
        error_set(error, ERROR_CONFLICT, "%s is a service, not a job: it runs by itself", name);
    else if (service->document->deleting)
        error_set(error, ERROR_CONFLICT, "job %s is being removed", name);
    else
        return service;
    return NULL;
}

int job_changes_run(struct core *core, struct change *change, const char *namespace_name,
                    const char *name, struct api_change_answer *ret_answer, struct error *error)
{
    const struct model_service *service = find_job(core, namespace_name, name, error);
    if (service == NULL)
        return -1;
    uint32_t number = model_target(service);
    const struct document_revision *revision = model_revision(service, number);
    if (revision == NULL)
        return error_set(error, ERROR_CONFLICT, "job %s has no revision to run", name);
    if (revision->revoked[0] != '\0')
        return error_set(error, ERROR_POLICY,
                         "revision %u may not run: %s\nSign its image with a trusted key (`shoal "
                         "image sign`) and deploy it again.",
                         number, revision->revoked);
    struct document_service *document = change_edit(change, DOCUMENT_SERVICE, service->document);
    uint32_t run;
    if (job_begin_run(core, change, service, document, number, "manual", 0, &run, error) < 0)
        return -1;
    ret_answer->type = API_TYPE_JOB;
    ret_answer->changed = true;
    ret_answer->revision = number;
    ret_answer->run = run;
    snprintf(ret_answer->message, sizeof ret_answer->message, "run %u of revision %u", run, number);
    return 0;
}

int job_changes_stop(struct core *core, struct change *change, const char *namespace_name,
                     const char *name, uint32_t run, struct api_change_answer *ret_answer,
                     struct error *error)
{
    const struct model_service *service = find_job(core, namespace_name, name, error);
    size_t stopped = 0;
    if (service == NULL)
        return -1;
    if (run != 0 && model_run(service, run) == NULL)
        return error_set(error, ERROR_NOT_FOUND, "job %s has no run %u (`shoal job history %s`)",
                         name, run, name);
    for (size_t i = 0; i < service->run_count; i++) {
        const struct document_run *each = service->runs[i];
        if (run_phase_is_over(each->phase) || (run != 0 && each->number != run))
            continue;
        job_end_run(core, change, each, RUN_STOPPED, "somebody stopped it");
        ret_answer->run = each->number;
        stopped++;
    }
    ret_answer->type = API_TYPE_JOB;
    ret_answer->changed = stopped > 0;
    ret_answer->revision = model_target(service);
    if (stopped == 1)
        snprintf(ret_answer->message, sizeof ret_answer->message, "run %u is stopped",
                 ret_answer->run);
    else
        snprintf(ret_answer->message, sizeof ret_answer->message, "%zu runs are stopped", stopped);
    return 0;
}
