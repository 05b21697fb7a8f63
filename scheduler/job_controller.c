/* One job: its schedule, its runs and their instances; job.h decides, this writes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/controller.h"
#include "scheduler/job_changes.h"
#include "scheduler/preemption.h"

/* Writes that one action may take: an instance, a run, the service, the counters, two events. */
#define ROOM_OF_ACTION 6
/* A clock may jump: schedules are looked at so often at least. */
#define SCHEDULE_LOOK_MS 30000

/* A look at one job. */
struct job_look {
    struct controller_pass *pass;
    struct model_service *service;
    const struct document_service *document;
    struct job_instance *values;              /* as service->instances */
    const struct document_instance **planned; /* started by this look */
    size_t planned_count;
    bool no_room;
};

/* One run of it. */
struct run_look {
    struct job_look *look;
    struct document_run *run;
    const struct document_revision *revision; /* NULL: not kept any more */
    struct job_instance *values;
    struct model_instance **owners;
    size_t count;
    struct capacity_search *search; /* NULL: nothing was to be placed yet */
};

static void wake_by(struct job_look *look, uint64_t at_ms)
{
    if (at_ms > look->pass->now_ms && at_ms < look->service->next_ms)
        look->service->next_ms = at_ms;
}

static void tell_instance(struct job_look *look, const struct model_instance *owner,
                          const char *what, const char *cause, const char *text)
{
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name, what, cause,
                  "%.500s", text);
}

/* --- ends --- */

/* Whether the run that it is of goes on. */
static bool is_needed(const struct job_look *look, const struct model_instance *instance)
{
    const struct document_run *run = model_run(look->service, instance->document->rollout);
    return run != NULL && !run_phase_is_over(run->phase) && !look->document->deleting;
}

/* What its node says last becomes part of its record, together with that it has ended. One whose
 * node is lost is given up; it ends for good when the node comes back and says so. */
static void take_outcome(struct job_look *look, struct model_instance *owner,
                         enum job_outcome outcome)
{
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    instance->wish = WISH_STOP;
    if (instance->outcome == JOB_OUTCOME_NONE)
        instance->outcome = outcome;
    if (model_instance_is_gone(owner)) {
        instance->ended_ms = look->pass->wall_ms;
        return;
    }
    document_set_text(&instance->why, "its node is lost");
    tell_instance(look, owner, "lost", NULL, "its node is lost: it is started again elsewhere");
}

static enum job_outcome outcome_of(const struct job_look *look, const struct model_instance *owner)
{
    const struct document_instance *document = owner->document;
    if (document->outcome != JOB_OUTCOME_NONE)
        return document->outcome;
    enum job_outcome outcome =
        job_outcome_of(owner->observed.state, document_text(owner->observed.cause),
                       document->wish == WISH_RUN, model_instance_is_lost(owner));
    return outcome == JOB_OUTCOME_LOST && !is_needed(look, owner) ? JOB_OUTCOME_STOPPED : outcome;
}

/* The instances as values, and those that have ended as writes; false when there is no room. */
static bool collect(struct job_look *look)
{
    const struct sorted *instances = &look->service->instances;
    look->values = xcalloc(instances->count + 1, sizeof *look->values);
    for (size_t i = 0; i < instances->count; i++) {
        struct model_instance *owner = instances->items[i];
        const struct document_instance *document = owner->document;
        enum job_outcome outcome = outcome_of(look, owner);
        look->values[i] = (struct job_instance){.index = document->slot,
                                                .outcome = outcome,
                                                .stopping = document->wish != WISH_RUN,
                                                .ended_ms = owner->over_since_ms};
        bool over = instance_state_is_over(owner->observed.state);
        bool news = document->outcome != outcome || over;
        if (model_instance_has_ended(owner) || outcome == JOB_OUTCOME_NONE || !news)
            continue;
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            return false;
        take_outcome(look, owner, outcome);
    }
    return true;
}

/* --- actions --- */

static void stop(struct job_look *look, struct model_instance *owner, const char *why,
                 const char *cause)
{
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    instance->wish = WISH_STOP;
    document_set_text(&instance->why, why);
    document_set_text(&instance->cause, cause);
    tell_instance(look, owner, "stopping", cause[0] != '\0' ? cause : NULL, why);
}

static void note_no_room(struct job_look *look, const struct capacity_search *search,
                         const struct error *error)
{
    struct model_service *service = look->service;
    look->no_room = true;
    wake_by(look, look->pass->now_ms + capacity_retry_ms(&look->pass->core->model));
    if (service->no_capacity == NULL)
        changes_event(look->pass->core->changes, look->pass->change, "service",
                      look->document->namespace_name, look->document->service, NULL, "no_capacity",
                      "no_capacity", "%.500s", error->message);
    capacity_search_note(search, service, error);
}

/* Where the next instance of the run goes. */
static struct capacity_search *search_for(struct run_look *run)
{
    const struct job_look *look = run->look;
    if (run->search != NULL)
        return run->search;
    run->search = capacity_search_begin(&look->pass->capacity, look->service, run->revision, 0);
    for (size_t i = 0; i < look->planned_count; i++)
        capacity_search_count(run->search, look->planned[i]);
    return run->search;
}

static void start(struct run_look *run, const struct job_action *action)
{
    struct job_look *look = run->look;
    struct controller_pass *pass = look->pass;
    struct error error = ERROR_INIT;
    struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
    if (capacity_search_place(search_for(run), instance, &error) < 0) {
        note_no_room(look, run->search, &error);
        preemption_make_room(pass, look->service, run->search);
        document_free(DOCUMENT_INSTANCE, instance);
        return;
    }
    instance->slot = action->index;
    instance->revision = run->revision->number;
    instance->rollout = run->run->number;
    instance->attempt = action->attempt;
    controller_put_instance(pass, look->document, instance);
    look->planned[look->planned_count++] = instance;
    changes_event(pass->core->changes, pass->change, "instance", instance->namespace_name,
                  instance->service, instance->id, "scheduled", NULL,
                  "run %u, completion %u, attempt %u, revision %u on node %s, address %s",
                  run->run->number, instance->slot, instance->attempt + 1, instance->revision,
                  instance->node, instance->address);
}

static bool carry_out(struct run_look *run, const struct job_result *result)
{
    struct job_look *look = run->look;
    bool revoked = run->revision != NULL && run->revision->revoked[0] != '\0';
    for (size_t i = 0; i < result->action_count; i++) {
        const struct job_action *action = &result->actions[i];
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            return false;
        if (action->kind == JOB_STOP)
            stop(look, run->owners[action->instance],
                 revoked ? run->revision->revoked : "its run is over",
                 revoked ? "trust_revoked" : "");
        else if (!look->no_room)
            start(run, action);
    }
    return true;
}

/* --- one run --- */

static void collect_run(struct run_look *run)
{
    const struct sorted *instances = &run->look->service->instances;
    run->values = xcalloc(instances->count + 1, sizeof *run->values);
    run->owners = xcalloc(instances->count + 1, sizeof *run->owners);
    for (size_t i = 0; i < instances->count; i++) {
        struct model_instance *owner = instances->items[i];
        if (owner->document->rollout != run->run->number)
            continue;
        run->values[run->count] = run->look->values[i];
        run->owners[run->count++] = owner;
    }
}

static void describe_failure(const struct run_look *run, char *ret_text, size_t size)
{
    for (size_t i = run->count; i-- > 0;) {
        const struct document_observed *observed = &run->owners[i]->observed;
        if (run->values[i].outcome != JOB_OUTCOME_FAILED)
            continue;
        snprintf(ret_text, size, "completion %u: %s%s%.300s", run->values[i].index,
                 observed->cause != NULL ? observed->cause : "failed",
                 observed->message != NULL ? ": " : "", document_text(observed->message));
        return;
    }
    ret_text[0] = '\0';
}

/* How long it has run is counted by this process's clock, which does not jump; what it ran before
 * this process began, by the wall's. */
static uint64_t begun(struct job_look *look, struct document_run *run)
{
    const struct controller_pass *pass = look->pass;
    if (run->begun_ms == 0) {
        uint64_t age = pass->wall_ms > run->started_ms ? pass->wall_ms - run->started_ms : 0;
        run->begun_ms = pass->now_ms > age ? pass->now_ms - age : 1;
    }
    return run->begun_ms;
}

/* Something of another run that is over has yet to end. */
static bool waits_for_others(const struct job_look *look, const struct document_run *run)
{
    if (look->document->spec.job.concurrency != API_CONCURRENCY_REPLACE)
        return false;
    for (size_t i = 0; i < look->service->instances.count; i++) {
        const struct model_instance *instance = look->service->instances.items[i];
        if (instance->document->rollout < run->number && !model_instance_has_ended(instance) &&
            !instance_state_is_over(instance->observed.state) && !model_instance_is_lost(instance))
            return true;
    }
    return false;
}

static void save_counts(struct run_look *run, const struct job_counts *counts)
{
    const struct document_run *before = run->run;
    if (before->succeeded == counts->succeeded && before->failed == counts->failed &&
        before->lost == counts->lost)
        return;
    struct document_run *copy = change_edit(run->look->pass->change, DOCUMENT_RUN, before);
    copy->succeeded = counts->succeeded;
    copy->failed = counts->failed;
    copy->lost = counts->lost;
}

static bool decide_run(struct run_look *run)
{
    struct job_look *look = run->look;
    const struct api_service_spec *spec = &look->document->spec;
    char failure[REASON_MAX];
    describe_failure(run, failure, sizeof failure);
    const char *revoked = run->revision == NULL               ? "it is not kept any more"
                          : run->revision->revoked[0] != '\0' ? run->revision->revoked
                                                              : NULL;
    struct job_input input = {.phase = run->run->phase,
                              .completions = run->run->completions,
                              .parallelism = spec->job.parallelism,
                              .retries = spec->job.retries,
                              .begun_ms = begun(look, run->run),
                              .deadline_ms = spec->job.deadline_ms,
                              .backoff = spec->reschedule,
                              .instances = run->values,
                              .instance_count = run->count,
                              .last_failure = failure,
                              .revoked = revoked,
                              .waits = waits_for_others(look, run->run),
                              .now_ms = look->pass->now_ms};
    struct job_result result;
    job_decide(&input, &result);
    wake_by(look, result.next_ms);
    change_may_split(look->pass->change);
    bool complete = change_has_room(look->pass->change, ROOM_OF_ACTION);
    if (complete) {
        save_counts(run, &result.counts);
        if (result.phase != run->run->phase)
            job_end_run(look->pass->core, look->pass->change, run->run, result.phase,
                        result.reason);
        complete = carry_out(run, &result);
    }
    job_result_release(&result);
    return complete;
}

static bool look_at_run(struct job_look *look, struct document_run *run)
{
    struct run_look run_look = {
        .look = look, .run = run, .revision = model_revision(look->service, run->revision)};
    collect_run(&run_look);
    bool complete = decide_run(&run_look);
    capacity_search_end(run_look.search);
    free(run_look.values);
    free(run_look.owners);
    return complete;
}

/* What still runs of runs that are over; and what was asked to drain, since nobody sends it
 * anything. */
static bool stop_needless(struct job_look *look)
{
    for (size_t i = 0; i < look->service->instances.count; i++) {
        struct model_instance *owner = look->service->instances.items[i];
        const struct document_instance *document = owner->document;
        bool needed = document->wish == WISH_RUN && is_needed(look, owner);
        if (document->wish == WISH_STOP || look->values[i].outcome != JOB_OUTCOME_NONE || needed)
            continue;
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            return false;
        if (document->wish == WISH_DRAIN)
            stop(look, owner, document_text(document->why), document_text(document->cause));
        else
            stop(look, owner,
                 look->document->deleting ? "the job is being removed" : "its run is over", "");
    }
    return true;
}

static bool look_at_runs(struct job_look *look)
{
    size_t room = 0;
    for (size_t i = 0; i < look->service->run_count; i++)
        room += look->service->runs[i]->completions;
    look->planned = xcalloc(room + 1, sizeof *look->planned);
    for (size_t i = 0; i < look->service->run_count; i++) {
        struct document_run *run = look->service->runs[i];
        if (!run_phase_is_over(run->phase) && !look_at_run(look, run))
            return false;
    }
    if (!look->no_room && look->service->no_capacity != NULL) {
        capacity_clear_note(look->service);
    }
    return true;
}

/* --- the schedule --- */

static void run_on_schedule(struct job_look *look, struct document_service *document,
                            uint64_t at_ms)
{
    struct controller_pass *pass = look->pass;
    struct error error = ERROR_INIT;
    uint32_t run;
    if (job_begin_run(pass->core, pass->change, look->service, document,
                      model_target(look->service), "schedule", at_ms, &run, &error) == 0)
        return;
    changes_event(pass->core->changes, pass->change, "run", document->namespace_name,
                  document->service, NULL, "run_skipped", "concurrency", "%.500s", error.message);
}

/* True when something was due: what to do then is decided after that is written. */
static bool look_at_schedule(struct job_look *look)
{
    struct controller_pass *pass = look->pass;
    const struct document_service *document = look->document;
    struct cron cron;
    uint64_t at_ms;
    if (document->spec.job.schedule[0] == '\0' ||
        cron_parse(document->spec.job.schedule, &cron, NULL) < 0)
        return false;
    enum job_due due = job_schedule_look(&cron, document->scheduled_ms, pass->wall_ms, &at_ms);
    change_may_split(pass->change);
    if (due == JOB_NOT_DUE) {
        uint64_t wait = at_ms - pass->wall_ms;
        wake_by(look, pass->now_ms + (wait < SCHEDULE_LOOK_MS ? wait : SCHEDULE_LOOK_MS));
        return false;
    }
    struct document_service *copy = change_edit(pass->change, DOCUMENT_SERVICE, document);
    copy->scheduled_ms = pass->wall_ms;
    if (due == JOB_DUE)
        run_on_schedule(look, copy, at_ms);
    else
        changes_event(pass->core->changes, pass->change, "service", document->namespace_name,
                      document->service, NULL, "schedule_repaired", "clock",
                      "the clock was set back by more than a day: the schedule goes on from now");
    return true;
}

/* --- the end of the job itself --- */

/* What it leaves behind goes first, it goes last: a crash in between goes on. */
static bool remove_job(struct job_look *look)
{
    struct model_service *service = look->service;
    struct change *change = look->pass->change;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (!model_instance_has_ended(instance) && !model_instance_is_lost(instance))
            return true; /* still ending */
    }
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        change_remove(change, DOCUMENT_INSTANCE, instance->document);
        change_remove(change, DOCUMENT_OBSERVED, &instance->observed);
    }
    for (size_t i = 0; i < service->run_count + service->rollout_count + service->revision_count;
         i++) {
        size_t rollout = i - service->run_count, revision = rollout - service->rollout_count;
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        if (i < service->run_count)
            change_remove(change, DOCUMENT_RUN, service->runs[i]);
        else if (rollout < service->rollout_count)
            change_remove(change, DOCUMENT_ROLLOUT, service->rollouts[rollout]);
        else
            change_remove(change, DOCUMENT_REVISION, service->revisions[revision]);
    }
    change_may_split(change);
    change_remove(change, DOCUMENT_SERVICE, look->document);
    changes_event(look->pass->core->changes, change, "service", look->document->namespace_name,
                  look->document->service, NULL, "removed", NULL, "nothing of it runs any more");
    return true;
}

bool controller_look_at_job(struct controller_pass *pass, struct model_service *service)
{
    struct job_look look = {.pass = pass, .service = service, .document = service->document};
    bool complete = collect(&look) && stop_needless(&look);
    if (complete && look.document->deleting)
        complete = remove_job(&look);
    else if (complete && !look_at_schedule(&look))
        complete = look_at_runs(&look);
    free(look.values);
    free(look.planned);
    return complete;
}
