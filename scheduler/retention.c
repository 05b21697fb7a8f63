/* How long records are kept: ended instances for an hour or five a slot, `history` revisions, and
 * five rollouts for each. */
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "scheduler/controller.h"

#define ENDED_KEPT_MS       3600000
#define ENDED_KEPT_PER_SLOT 5
#define ROLLOUTS_KEPT       5
#define ROOM_OF_RECORD      3

/* Ended instances of the same slot that came later. */
static size_t later_ones(const struct model_instance *instance)
{
    const struct model_service *service = instance->service;
    size_t count = 0;
    for (size_t i = service->instances.count; i-- > 0;) {
        const struct model_instance *other = service->instances.items[i];
        if (other == instance)
            break;
        count +=
            model_instance_has_ended(other) && other->document->slot == instance->document->slot;
    }
    return count;
}

/* Not before its address may be handed out again: after a start that is read from the record. */
static bool may_forget(const struct controller_pass *pass, const struct model_instance *instance)
{
    if (!model_instance_has_ended(instance))
        return false;
    /* A run is decided by all of its instances. */
    const struct document_run *run = instance->service != NULL && model_is_job(instance->service)
                                         ? model_run(instance->service, instance->document->rollout)
                                         : NULL;
    if (run != NULL && !run_phase_is_over(run->phase))
        return false;
    uint64_t ended = instance->document->ended_ms;
    uint64_t age = pass->wall_ms > ended ? pass->wall_ms - ended : 0;
    if (age < ADDRESS_HOLD_MS)
        return false;
    return age >= ENDED_KEPT_MS || instance->service == NULL ||
           later_ones(instance) >= ENDED_KEPT_PER_SLOT;
}

static void retire_instances(struct controller_pass *pass)
{
    const struct sorted *instances = &pass->core->model.instances;
    for (size_t i = 0; i < instances->count; i++) {
        const struct model_instance *instance = instances->items[i];
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_OF_RECORD))
            return;
        if (!may_forget(pass, instance))
            continue;
        change_remove(pass->change, DOCUMENT_INSTANCE, instance->document);
        change_remove(pass->change, DOCUMENT_OBSERVED, &instance->observed);
    }
}

static bool is_needed(const struct model_service *service, uint32_t number)
{
    const struct document_rollout *last = model_rollout(service);
    if (number == service->document->good || number == model_target(service) ||
        (last != NULL && (number == last->from || number == last->to)))
        return true;
    for (size_t i = 0; i < service->run_count; i++) {
        if (!run_phase_is_over(service->runs[i]->phase) && service->runs[i]->revision == number)
            return true;
    }
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (!model_instance_has_ended(instance) && instance->document->revision == number)
            return true;
    }
    return false;
}

static void retire_rollouts(struct controller_pass *pass, const struct model_service *service)
{
    for (size_t i = 0; i + 1 < service->rollout_count; i++) {
        const struct document_rollout *rollout = service->rollouts[i];
        size_t later = 0;
        for (size_t j = i + 1; j < service->rollout_count; j++)
            later += service->rollouts[j]->to == rollout->to;
        bool orphaned = model_revision(service, rollout->to) == NULL;
        if (later < ROLLOUTS_KEPT && !orphaned)
            continue;
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_OF_RECORD))
            return;
        change_remove(pass->change, DOCUMENT_ROLLOUT, rollout);
    }
}

static void retire_revisions(struct controller_pass *pass, const struct model_service *service)
{
    size_t kept = service->document->spec.history;
    for (size_t i = 0; i + kept < service->revision_count; i++) {
        const struct document_revision *revision = service->revisions[i];
        if (is_needed(service, revision->number))
            continue;
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_OF_RECORD))
            return;
        change_remove(pass->change, DOCUMENT_REVISION, revision);
    }
}

static void retire_runs(struct controller_pass *pass, const struct model_service *service)
{
    size_t over = 0;
    for (size_t i = service->run_count; i-- > 0;) {
        const struct document_run *run = service->runs[i];
        over += run_phase_is_over(run->phase);
        if (!run_phase_is_over(run->phase) || over <= service->document->spec.history)
            continue;
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_OF_RECORD))
            return;
        change_remove(pass->change, DOCUMENT_RUN, run);
    }
}

void controller_retire_records(struct controller_pass *pass)
{
    const struct sorted *services = &pass->core->model.services;
    retire_instances(pass);
    for (size_t i = 0; i < services->count; i++) {
        const struct model_service *service = services->items[i];
        if (service->document == NULL)
            continue;
        retire_revisions(pass, service);
        retire_rollouts(pass, service);
        retire_runs(pass, service);
    }
}
