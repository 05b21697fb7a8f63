#include "scheduler/affected.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* One look at everything. */
struct survey {
    const struct core *core;
    bool by_key;              /* it is about one key, not about the rules of now */
    struct trust_rules after; /* without that key */
    struct trust_rules now;
    struct affected affected;
    struct affected doubtful;
};

static uint32_t live_instances(const struct model_service *service, uint32_t revision)
{
    uint32_t count = 0;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        count += instance->document->revision == revision && !model_instance_has_ended(instance);
    }
    return count;
}

static bool has_evidence(const struct document_revision *revision)
{
    for (size_t i = 0; i < revision->platform_count; i++) {
        if (revision->platforms[i].evidence.signature_count > 0)
            return true;
    }
    return false;
}

void affected_note(struct api_affected *view, const char *policy, enum api_on_revoke on_revoke,
                   const char *reason)
{
    snprintf(view->policy, sizeof view->policy, "%s", policy);
    view->on_revoke = on_revoke;
    snprintf(view->reason, sizeof view->reason, "%.*s", (int)sizeof view->reason - 1, reason);
    text_make_printable(view->reason);
}

/* Whether the rules refuse one of the platforms; which one is told in `view`. */
static bool is_refused(const struct trust_rules *rules, const struct document_revision *revision,
                       struct api_affected *view)
{
    bool refused = false;
    for (size_t i = 0; i < revision->platform_count && !refused; i++) {
        const struct document_platform *platform = &revision->platforms[i];
        struct policy_verdict verdict;
        trust_judge_evidence(rules, platform->family, &platform->evidence, &verdict);
        refused = verdict.outcome == POLICY_REFUSED;
        AUTO_FREE char *text = policy_verdict_text(&verdict);
        if (refused && view != NULL)
            affected_note(view, verdict.policy, verdict.on_revoke, text);
        policy_verdict_release(&verdict);
    }
    return refused;
}

static bool is_affected(struct survey *survey, const struct document_revision *revision,
                        struct api_affected *view)
{
    survey->now.rules.repository = survey->after.rules.repository = revision->repository;
    if (!survey->by_key)
        return is_refused(&survey->now, revision, view);
    return is_refused(&survey->after, revision, view);
}

/* What is refused with the key as well is not this key's doing, unless something was signed since.
 */
static bool is_doubtful(struct survey *survey, const struct document_revision *revision)
{
    return survey->by_key && has_evidence(revision) && is_refused(&survey->now, revision, NULL);
}

static void add(struct affected *affected, const struct affected_item *item)
{
    affected->items = xreallocarray(affected->items, affected->count + 1, sizeof *affected->items);
    affected->items[affected->count++] = *item;
}

static void look_at_revision(struct survey *survey, const struct model_service *service,
                             const struct document_revision *revision)
{
    uint32_t instances = live_instances(service, revision->number);
    struct affected_item item = {.view = {.revision = revision->number, .instances = instances}};
    if ((instances == 0 && revision->number != model_target(service)) ||
        revision->revoked[0] != '\0' || !is_affected(survey, revision, &item.view))
        return;
    item.view.is_unknown = !has_evidence(revision);
    if (item.view.is_unknown)
        snprintf(item.view.reason, sizeof item.view.reason,
                 "who signed its image was not kept when it was deployed");
    text_copy(item.view.namespace_name, NAME_MAX_TEXT, revision->namespace_name);
    text_copy(item.view.service, NAME_MAX_TEXT, revision->service);
    text_copy(item.view.image, sizeof item.view.image, revision->image);
    text_copy(item.repository, sizeof item.repository, revision->repository);
    text_copy(item.digest, sizeof item.digest, revision->template.image_digest);
    for (size_t i = 0; i < revision->platform_count && i < ARRAY_LENGTH(item.architectures); i++)
        text_copy(item.architectures[item.architecture_count++], sizeof item.architectures[0],
                  revision->platforms[i].arch);
    item.is_doubtful = is_doubtful(survey, revision);
    add(item.is_doubtful ? &survey->doubtful : &survey->affected, &item);
}

static void look_at_all(struct survey *survey)
{
    const struct sorted *services = &survey->core->model.services;
    for (size_t i = 0; i < services->count; i++) {
        const struct model_service *service = services->items[i];
        if (service->document == NULL || service->document->deleting)
            continue;
        for (size_t j = 0; j < service->revision_count; j++)
            look_at_revision(survey, service, service->revisions[j]);
    }
}

void affected_by_rules(const struct core *core, struct affected *ret_affected)
{
    struct survey survey = {.core = core};
    trust_rules_init(core, "", NULL, &survey.now);
    look_at_all(&survey);
    trust_rules_finish(&survey.now);
    *ret_affected = survey.affected;
}

void affected_by_key(const struct core *core, const char *name, struct affected *ret_affected)
{
    struct survey survey = {.core = core, .by_key = true};
    trust_rules_init(core, "", NULL, &survey.now);
    trust_rules_init(core, "", name, &survey.after);
    survey.now.rules.ignores_age = survey.after.rules.ignores_age = true;
    look_at_all(&survey);
    trust_rules_finish(&survey.now);
    trust_rules_finish(&survey.after);
    size_t certain = survey.affected.count;
    for (size_t i = 0; i < survey.doubtful.count; i++)
        add(&survey.affected, &survey.doubtful.items[i]);
    survey.affected.count = certain;
    survey.affected.doubtful = survey.doubtful.count;
    affected_release(&survey.doubtful);
    *ret_affected = survey.affected;
}

void affected_release(struct affected *affected)
{
    free(affected->items);
    *affected = (struct affected){0};
}

struct json_object *affected_answer(const struct affected *affected, bool changed, bool dry_run)
{
    struct api_trust_answer answer = {.changed = changed, .dry_run = dry_run};
    answer.services = xcalloc(affected->count + 1, sizeof *answer.services);
    for (size_t i = 0; i < affected->count; i++)
        answer.services[answer.service_count++] = affected->items[i].view;
    struct json_object *object = json_encode(&api_trust_answer_record, &answer);
    free(answer.services);
    return object;
}
