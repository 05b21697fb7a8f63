#include "scheduler/service_changes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "scheduler/job_changes.h"
#include "scheduler/service_subject.h"
#include "scheduler/volume_rules.h"

int subject_begin(struct core *core, struct change *change, const char *namespace_name,
                  const char *name, struct api_change_answer *answer, struct subject *ret_subject,
                  struct error *error)
{
    struct model_service *service = model_find_service(&core->model, namespace_name, name, error);
    if (service == NULL)
        return -1;
    if (service->document->deleting)
        return error_set(error, ERROR_CONFLICT, "service %s is being removed", name);
    *ret_subject = (struct subject){core, change, service, NULL, answer, model_is_job(service)};
    return 0;
}

/* The copy is only made, and so written, when there is something to change. */
static struct document_service *edit(struct subject *subject)
{
    if (subject->document == NULL)
        subject->document =
            change_edit(subject->change, DOCUMENT_SERVICE, subject->service->document);
    return subject->document;
}

void subject_answer(struct subject *subject, bool changed, uint32_t revision, uint32_t rollout)
{
    const struct document_service *document =
        subject->document != NULL ? subject->document : subject->service->document;
    subject->answer->changed = changed;
    subject->answer->type = document->spec.type;
    subject->answer->revision = revision;
    subject->answer->rollout = rollout;
    subject->answer->replicas = document->replicas;
}

void subject_say(struct subject *subject, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(subject->answer->message, sizeof subject->answer->message, format, arguments);
    va_end(arguments);
}

void subject_tell(struct subject *subject, const char *kind, const char *what)
{
    const struct document_service *document =
        subject->document != NULL ? subject->document : subject->service->document;
    changes_event(subject->core->changes, subject->change, kind, document->namespace_name,
                  document->service, NULL, what, NULL, "%s", subject->answer->message);
}

/* --- rollouts --- */

static void supersede(struct subject *subject, uint32_t by)
{
    const struct document_rollout *last =
        subject->service != NULL ? model_rollout(subject->service) : NULL;
    if (last == NULL || rollout_phase_is_over(last->phase))
        return;
    struct document_rollout *old = change_edit(subject->change, DOCUMENT_ROLLOUT, last);
    old->phase = ROLLOUT_SUPERSEDED;
    old->ended_ms = core_wall(subject->core);
    if (by != 0)
        snprintf(old->reason, sizeof old->reason, "superseded by rollout %u", by);
    else
        snprintf(old->reason, sizeof old->reason, "the service is being removed");
    log_info("rollout moves", "service", subject->service->name, "from",
             rollout_phase_names[last->phase], "to", rollout_phase_names[old->phase], "cause",
             old->reason);
}

static uint32_t begin_rollout(struct subject *subject, uint32_t from, uint32_t to, const char *kind)
{
    struct document_service *document = edit(subject);
    struct document_rollout *rollout = document_create(DOCUMENT_ROLLOUT);
    rollout->number = ++document->rollouts;
    text_copy(rollout->namespace_name, sizeof rollout->namespace_name, document->namespace_name);
    text_copy(rollout->service, sizeof rollout->service, document->service);
    text_copy(rollout->kind, sizeof rollout->kind, kind);
    rollout->from = from;
    rollout->to = to;
    rollout->promoted = document->spec.rollout.canary == 0;
    rollout->started_ms = core_wall(subject->core);
    supersede(subject, rollout->number);
    if (subject->is_job) {
        /* Nothing is replaced: the next run takes the revision. */
        rollout->phase = ROLLOUT_SUCCEEDED;
        rollout->ended_ms = rollout->started_ms;
        snprintf(rollout->reason, sizeof rollout->reason, "runs take it from now on");
        document->good = to;
    }
    change_put(subject->change, DOCUMENT_ROLLOUT, rollout);
    return document->rollouts;
}

/* --- apply --- */

static const struct api_port *published_as(const struct api_service_spec *spec, uint32_t publish)
{
    for (size_t i = 0; i < spec->port_count; i++) {
        if (spec->ports[i].publish == publish)
            return &spec->ports[i];
    }
    return NULL;
}

static int check_published(const struct core *core, const struct api_service_spec *spec,
                           size_t index, struct error *error)
{
    const struct sorted *services = &core->model.services;
    uint32_t publish = spec->ports[index].publish;
    for (size_t i = 0; i < services->count && publish != 0; i++) {
        const struct document_service *other =
            ((const struct model_service *)services->items[i])->document;
        if (other == NULL || published_as(&other->spec, publish) == NULL ||
            (strcmp(other->namespace_name, spec->namespace_name) == 0 &&
             strcmp(other->service, spec->service) == 0))
            continue;
        error_set(error, ERROR_CONFLICT,
                  "port %u is published by service %s in namespace %s already: choose another one",
                  publish, other->service, other->namespace_name);
        if (error != NULL)
            snprintf(error->pointer, sizeof error->pointer, "/ports/%zu/publish", index);
        return -1;
    }
    return 0;
}

int service_changes_check(const struct core *core, const struct api_service_spec *spec,
                          struct error *error)
{
    const struct model_service *service =
        model_service(&core->model, spec->namespace_name, spec->service);
    if (service != NULL && service->document != NULL && service->document->deleting)
        return error_set(error, ERROR_CONFLICT,
                         "service %s is being removed: deploy it again when it is gone",
                         spec->service);
    if (service != NULL && service->document != NULL && service->document->spec.type != spec->type)
        return error_set_at(error, ERROR_CONFLICT, "/type",
                            "%s is a %s already, and stays one: remove it first (`shoal rm %s`), "
                            "or choose another name",
                            spec->service, api_service_type_names[service->document->spec.type],
                            spec->service);
    for (size_t i = 0; i < spec->port_count; i++) {
        if (check_published(core, spec, i, error) < 0)
            return -1;
    }
    return volume_rules_check_sizes(service, spec, error);
}

static void create_service(struct subject *subject, const struct api_service_spec *spec)
{
    struct core *core = subject->core;
    struct document_counters *counters =
        change_edit(subject->change, DOCUMENT_COUNTERS, &core->model.counters);
    struct document_service *document = document_create(DOCUMENT_SERVICE);
    document->uid = ++counters->services;
    text_copy(document->namespace_name, sizeof document->namespace_name, spec->namespace_name);
    text_copy(document->service, sizeof document->service, spec->service);
    document->replicas = spec->type == API_TYPE_JOB ? 0 : 1;
    document->created_ms = core_wall(core);
    change_put(subject->change, DOCUMENT_SERVICE, document);
    subject->document = document;
}

/* The spec as it is stored: replicas belong to the service. */
static void stored_spec(const struct api_service_spec *spec, struct api_service_spec *ret_spec)
{
    json_record_copy(&api_service_spec_record, spec, ret_spec);
    ret_spec->has_replicas = false;
    ret_spec->replicas = 0;
}

static bool take_spec(struct subject *subject, const struct api_service_spec *spec)
{
    struct api_service_spec wanted;
    stored_spec(spec, &wanted);
    AUTO_FREE char *text = json_record_text(&api_service_spec_record, &wanted);
    const struct api_service_spec *now =
        subject->document != NULL ? &subject->document->spec : &subject->service->document->spec;
    AUTO_FREE char *before = json_record_text(&api_service_spec_record, now);
    if (subject->service != NULL && strcmp(text, before) == 0) {
        api_service_spec_release(&wanted);
        return false;
    }
    struct document_service *document = edit(subject);
    api_service_spec_release(&document->spec);
    document->spec = wanted;
    return true;
}

static bool take_replicas(struct subject *subject, const struct api_service_spec *spec)
{
    const struct document_service *now =
        subject->document != NULL ? subject->document : subject->service->document;
    if (!spec->has_replicas || spec->replicas == now->replicas)
        return false;
    edit(subject)->replicas = spec->replicas;
    return true;
}

/* How its image is judged now: written only when that is news. */
static void take_judgement(struct subject *subject, const struct document_revision *known,
                           const struct document_revision *judged)
{
    struct document_revision *copy = document_copy(DOCUMENT_REVISION, known);
    struct document_revision fresh;
    json_record_copy(document_record(DOCUMENT_REVISION), judged, &fresh);
    struct document_platform *platforms = copy->platforms;
    size_t platform_count = copy->platform_count;
    copy->platforms = fresh.platforms;
    copy->platform_count = fresh.platform_count;
    fresh.platforms = platforms;
    fresh.platform_count = platform_count;
    memcpy(copy->warning, judged->warning, sizeof copy->warning);
    memcpy(copy->signed_by, judged->signed_by, sizeof copy->signed_by);
    copy->revoked[0] = '\0';
    json_record_release(document_record(DOCUMENT_REVISION), &fresh);
    AUTO_FREE char *before = json_record_text(document_record(DOCUMENT_REVISION), known);
    AUTO_FREE char *after = json_record_text(document_record(DOCUMENT_REVISION), copy);
    if (strcmp(before, after) == 0)
        document_free(DOCUMENT_REVISION, copy);
    else
        change_put(subject->change, DOCUMENT_REVISION, copy);
}

/* A template that differs is a new revision; the same one again is rolled out again only when it
 * failed the last time, or was revoked meanwhile. */
static uint32_t take_template(struct subject *subject, const struct document_revision *revision,
                              uint32_t *ret_revision)
{
    const struct model_service *service = subject->service;
    const struct document_rollout *last = service != NULL ? model_rollout(service) : NULL;
    const struct document_revision *target =
        service != NULL ? model_revision(service, model_target(service)) : NULL;
    uint32_t good = service != NULL ? service->document->good : 0;
    if (target != NULL && strcmp(target->template_digest, revision->template_digest) == 0) {
        *ret_revision = target->number;
        take_judgement(subject, target, revision);
        bool was_revoked = target->revoked[0] != '\0';
        if (last == NULL || (last->phase != ROLLOUT_FAILED && !was_revoked))
            return 0;
        return begin_rollout(subject, good, target->number, "deploy");
    }
    struct document_service *document = edit(subject);
    struct document_revision *copy = document_copy(DOCUMENT_REVISION, revision);
    copy->number = ++document->revisions;
    copy->created_ms = core_wall(subject->core);
    *ret_revision = copy->number;
    change_put(subject->change, DOCUMENT_REVISION, copy);
    return begin_rollout(subject, good, copy->number, "deploy");
}

static bool warning_is_new(const struct subject *subject, const struct document_revision *judged)
{
    const struct document_revision *target =
        subject->service != NULL ? model_revision(subject->service, model_target(subject->service))
                                 : NULL;
    return target == NULL || strcmp(target->warning, judged->warning) != 0;
}

/* What a policy that only warns has to say. */
static void warn(struct subject *subject, const struct document_revision *judged, bool news)
{
    text_copy(subject->answer->warning, sizeof subject->answer->warning, judged->warning);
    if (judged->warning[0] != '\0' && (news || subject->answer->changed))
        changes_event(subject->core->changes, subject->change, "service", judged->namespace_name,
                      judged->service, NULL, "policy_warning", "policy_warning", "%s",
                      judged->warning);
}

/* A schedule that is new counts from now. A job without one runs when its template is new. */
static void take_job(struct subject *subject, const struct api_service_spec *spec, uint32_t rollout,
                     uint32_t revision)
{
    const struct document_service *before =
        subject->service != NULL ? subject->service->document : NULL;
    struct error error = ERROR_INIT;
    if (before == NULL || strcmp(before->spec.job.schedule, spec->job.schedule) != 0)
        edit(subject)->scheduled_ms = core_wall(subject->core);
    if (rollout == 0)
        return;
    if (spec->job.schedule[0] != '\0')
        subject_say(subject, "revision %u (%s), runs at %s", revision, spec->image,
                    spec->job.schedule);
    else if (job_begin_run(subject->core, subject->change, subject->service, edit(subject),
                           revision, "deploy", 0, &subject->answer->run, &error) == 0)
        subject_say(subject, "run %u of revision %u (%s)", subject->answer->run, revision,
                    spec->image);
    else
        subject_say(subject, "revision %u (%s) is for the next run: %.300s", revision, spec->image,
                    error.message);
}

int service_changes_apply(struct core *core, struct change *change,
                          const struct service_apply *apply, struct api_change_answer *ret_answer,
                          struct error *error)
{
    const struct api_service_spec *spec = apply->spec;
    if (service_changes_check(core, spec, error) < 0)
        return -1;
    struct subject subject = {
        .core = core,
        .change = change,
        .service = model_service(&core->model, spec->namespace_name, spec->service),
        .answer = ret_answer,
        .is_job = spec->type == API_TYPE_JOB,
    };
    if (subject.service == NULL)
        create_service(&subject, spec);
    bool news = warning_is_new(&subject, apply->revision);
    uint32_t revision;
    bool settings = take_spec(&subject, spec);
    bool scaled = take_replicas(&subject, spec);
    uint32_t rollout = take_template(&subject, apply->revision, &revision);
    subject_answer(&subject, rollout != 0 || scaled || settings, revision, rollout);
    if (rollout != 0)
        subject_say(
            &subject, "rollout %u to revision %u (%s)%s", rollout, revision, spec->image,
            apply->revision->template.volume_count > 0
                ? "; stop-first: it has volumes, so each slot's instance ends before the next one "
                  "starts, one slot after the other"
                : "");
    else if (scaled)
        subject_say(&subject, "%u replicas", ret_answer->replicas);
    else
        subject_say(&subject, "%s", settings ? "settings applied in place" : "nothing to change");
    if (subject.is_job)
        take_job(&subject, spec, rollout, revision);
    warn(&subject, apply->revision, news);
    if (ret_answer->changed)
        subject_tell(&subject, "service",
                     rollout != 0 ? "deployed"
                     : scaled     ? "scaled"
                                  : "changed");
    return 0;
}

/* --- the other changes --- */

static int check_not_revoked(const struct model_service *service, uint32_t number,
                             struct error *error)
{
    const struct document_revision *revision = model_revision(service, number);
    if (revision == NULL || revision->revoked[0] == '\0')
        return 0;
    return error_set(error, ERROR_POLICY,
                     "revision %u may not run: %s\nSign its image with a trusted key (`shoal image "
                     "sign`) and deploy it again.",
                     number, revision->revoked);
}

int service_changes_scale(struct core *core, struct change *change, const char *namespace_name,
                          const char *service, uint32_t replicas,
                          struct api_change_answer *ret_answer, struct error *error)
{
    struct subject subject;
    if (subject_begin(core, change, namespace_name, service, ret_answer, &subject, error) < 0)
        return -1;
    if (subject.is_job)
        return error_set(error, ERROR_CONFLICT,
                         "%s is a job: `completions` and `parallelism` of its manifest say how "
                         "many instances run",
                         service);
    uint32_t before = subject.service->document->replicas;
    if (replicas > before &&
        check_not_revoked(subject.service, model_target(subject.service), error) < 0)
        return -1;
    if (replicas != before)
        edit(&subject)->replicas = replicas;
    subject_answer(&subject, replicas != before, model_target(subject.service), 0);
    subject_say(&subject, "from %u to %u replicas", before, replicas);
    if (replicas != before)
        subject_tell(&subject, "service", "scaled");
    return 0;
}

int service_changes_wake(struct core *core, struct change *change, const char *namespace_name,
                         const char *service, uint32_t count, struct api_change_answer *ret_answer,
                         struct error *error)
{
    const struct model_service *known = model_service(&core->model, namespace_name, service);
    uint32_t before = known != NULL && known->document != NULL ? known->document->replicas : 0;
    if (count > API_REPLICAS_MAX - before)
        return error_set(error, ERROR_INVALID, "%s has %u replicas: %u more would be over %d",
                         service, before, count, API_REPLICAS_MAX);
    return service_changes_scale(core, change, namespace_name, service, before + count, ret_answer,
                                 error);
}

static void list_revisions(const struct model_service *service, struct buffer *text)
{
    for (size_t i = 0; i < service->revision_count; i++)
        buffer_printf(text, "%s%u", i > 0 ? ", " : "", service->revisions[i]->number);
}

static uint32_t newest_other_success(const struct model_service *service)
{
    uint32_t target = model_target(service);
    for (size_t i = service->rollout_count; i-- > 0;) {
        const struct document_rollout *rollout = service->rollouts[i];
        const struct document_revision *revision = model_revision(service, rollout->to);
        if (rollout->phase == ROLLOUT_SUCCEEDED && rollout->to != target && revision != NULL &&
            revision->revoked[0] == '\0')
            return rollout->to;
    }
    return 0;
}

static int choose_revision(const struct model_service *service, uint32_t to, uint32_t *ret_to,
                           struct error *error)
{
    AUTO_BUFFER struct buffer kept = {0};
    uint32_t chosen = to != 0 ? to : newest_other_success(service);
    if (chosen != 0 && model_revision(service, chosen) != NULL) {
        if (check_not_revoked(service, chosen, error) < 0)
            return -1;
        *ret_to = chosen;
        return 0;
    }
    list_revisions(service, &kept);
    if (to != 0)
        error_set(error, ERROR_NOT_FOUND, "service %s has no revision %u: kept are %s",
                  service->document->service, to, buffer_text(&kept));
    else
        error_set(error, ERROR_NOT_FOUND,
                  "service %s has no other revision whose rollout succeeded: kept are %s; name one "
                  "with --to",
                  service->document->service, buffer_text(&kept));
    if (error != NULL && to != 0)
        snprintf(error->pointer, sizeof error->pointer, "/to");
    return -1;
}

int service_changes_rollback(struct core *core, struct change *change, const char *namespace_name,
                             const char *service, uint32_t to, struct api_change_answer *ret_answer,
                             struct error *error)
{
    struct subject subject;
    uint32_t chosen;
    if (subject_begin(core, change, namespace_name, service, ret_answer, &subject, error) < 0 ||
        choose_revision(subject.service, to, &chosen, error) < 0)
        return -1;
    const struct document_rollout *last = model_rollout(subject.service);
    if (chosen == model_target(subject.service) && last != NULL && last->phase != ROLLOUT_FAILED) {
        subject_answer(&subject, false, chosen, 0);
        subject_say(&subject, "revision %u is what the service has already", chosen);
        return 0;
    }
    uint32_t rollout = begin_rollout(&subject, subject.service->document->good, chosen, "rollback");
    subject_answer(&subject, true, chosen, rollout);
    subject_say(&subject, "rollout %u back to revision %u", rollout, chosen);
    subject_tell(&subject, "rollout", "rollback");
    return 0;
}

int service_changes_restart(struct core *core, struct change *change, const char *namespace_name,
                            const char *service, struct api_change_answer *ret_answer,
                            struct error *error)
{
    struct subject subject;
    if (subject_begin(core, change, namespace_name, service, ret_answer, &subject, error) < 0)
        return -1;
    if (subject.is_job)
        return error_set(error, ERROR_CONFLICT, "%s is a job: begin a run of it (`shoal run %s`)",
                         service, service);
    uint32_t target = model_target(subject.service);
    if (check_not_revoked(subject.service, target, error) < 0)
        return -1;
    /* A revision that has not worked yet still has what it returns to. */
    uint32_t rollout = begin_rollout(&subject, subject.service->document->good, target, "restart");
    subject_answer(&subject, true, target, rollout);
    subject_say(&subject, "rollout %u replaces every instance of revision %u", rollout, target);
    subject_tell(&subject, "rollout", "restart");
    return 0;
}

int service_changes_remove(struct core *core, struct change *change, const char *namespace_name,
                           const char *service, struct api_change_answer *ret_answer,
                           struct error *error)
{
    struct model_service *found = model_find_service(&core->model, namespace_name, service, error);
    if (found == NULL)
        return -1;
    struct subject subject = {core, change, found, NULL, ret_answer, model_is_job(found)};
    bool already = found->document->deleting;
    if (!already) {
        edit(&subject)->deleting = true;
        supersede(&subject, 0);
    }
    subject_answer(&subject, !already, model_target(found), 0);
    ret_answer->volume_slots = (uint32_t)found->volume_count;
    subject_say(&subject, "its instances are drained and stopped, then it is gone");
    if (!already)
        subject_tell(&subject, "service", "removing");
    return 0;
}
