/* How long records are kept: ended instances for an hour or five a slot, `history` revisions, and
 * five rollouts for each. Only services are looked at where something may go, each in one pass. */
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/controller.h"

#define ENDED_KEPT_MS       3600000
#define ENDED_KEPT_PER_SLOT 5
#define ROLLOUTS_KEPT       5
#define ROOM_OF_RECORD      3

static void forget(struct controller_pass *pass, const struct model_instance *instance)
{
    change_remove(pass->change, DOCUMENT_INSTANCE, instance->document);
    change_remove(pass->change, DOCUMENT_OBSERVED, &instance->observed);
}

/* Milliseconds until a record that is kept for `kept_ms` may go; 0: now. After a start its age is
 * read from the record. */
static uint64_t left_ms(const struct controller_pass *pass, const struct model_instance *instance,
                        uint64_t kept_ms)
{
    uint64_t ended = instance->document->ended_ms;
    uint64_t age = pass->wall_ms > ended ? pass->wall_ms - ended : 0;
    return age >= kept_ms ? 0 : kept_ms - age;
}

/* A run is decided by all of its instances. */
static bool is_of_open_run(const struct model_instance *instance)
{
    const struct document_run *run = model_is_job(instance->service)
                                         ? model_run(instance->service, instance->document->rollout)
                                         : NULL;
    return run != NULL && !run_phase_is_over(run->phase);
}

/* Counts up to ENDED_KEPT_PER_SLOT for each slot that something has ended in. */
static unsigned char *slot_counters(const struct model_service *service)
{
    uint32_t slots = 0;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (model_instance_has_ended(instance) && instance->document->slot >= slots)
            slots = instance->document->slot + 1;
    }
    return xcalloc((size_t)slots + 1, sizeof(unsigned char));
}

/* Old records of the service's instances, newest first; returns when to look again. Not before its
 * address may be handed out again does a record go. */
static uint64_t retire_instances(struct controller_pass *pass, const struct model_service *service)
{
    uint64_t next = UINT64_MAX;
    AUTO_FREE unsigned char *later = slot_counters(service);
    for (size_t i = service->instances.count; i-- > 0;) {
        const struct model_instance *instance = service->instances.items[i];
        if (!model_instance_has_ended(instance) || is_of_open_run(instance))
            continue;
        unsigned char *count = &later[instance->document->slot];
        bool enough = *count >= ENDED_KEPT_PER_SLOT;
        *count += !enough;
        uint64_t left = left_ms(pass, instance, enough ? ADDRESS_HOLD_MS : ENDED_KEPT_MS);
        if (left > 0) {
            next = pass->now_ms + left < next ? pass->now_ms + left : next;
            continue;
        }
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_OF_RECORD))
            return next;
        forget(pass, instance);
    }
    return next;
}

/* Records of instances whose service is gone. */
static void retire_strays(struct controller_pass *pass)
{
    struct model *model = &pass->core->model;
    bool found = false;
    for (size_t i = 0; i < model->instances.count; i++) {
        const struct model_instance *instance = model->instances.items[i];
        if (instance->service != NULL)
            continue;
        found = true;
        if (!model_instance_has_ended(instance) || left_ms(pass, instance, ADDRESS_HOLD_MS) > 0)
            continue;
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_OF_RECORD))
            return;
        forget(pass, instance);
    }
    model->has_strays = found;
}

static size_t place_of(const struct model_service *service, uint32_t number)
{
    size_t low = 0, high = service->revision_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (service->revisions[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void need(const struct model_service *service, uint32_t number, bool *needed)
{
    size_t place = place_of(service, number);
    if (place < service->revision_count && service->revisions[place]->number == number)
        needed[place] = true;
}

/* Which of its revisions something depends on. */
static bool *needed_revisions(const struct model_service *service)
{
    bool *needed = xcalloc(service->revision_count + 1, sizeof *needed);
    const struct document_rollout *last = model_rollout(service);
    need(service, service->document->good, needed);
    need(service, model_target(service), needed);
    if (last != NULL) {
        need(service, last->from, needed);
        need(service, last->to, needed);
    }
    for (size_t i = 0; i < service->run_count; i++) {
        if (!run_phase_is_over(service->runs[i]->phase))
            need(service, service->runs[i]->revision, needed);
    }
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (!model_instance_has_ended(instance))
            need(service, instance->document->revision, needed);
    }
    return needed;
}

static void retire_rollouts(struct controller_pass *pass, const struct model_service *service)
{
    size_t revisions = service->revision_count;
    AUTO_FREE unsigned char *later = xcalloc(revisions + 1, sizeof *later);
    for (size_t i = service->rollout_count; i-- > 0;) {
        const struct document_rollout *rollout = service->rollouts[i];
        size_t place = place_of(service, rollout->to);
        bool orphaned = place == revisions || service->revisions[place]->number != rollout->to;
        bool enough = orphaned || later[place] >= ROLLOUTS_KEPT;
        if (!enough)
            later[place]++;
        if (!enough || i + 1 == service->rollout_count)
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
    if (service->revision_count <= kept)
        return;
    AUTO_FREE bool *needed = needed_revisions(service);
    for (size_t i = 0; i + kept < service->revision_count; i++) {
        if (needed[i])
            continue;
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_OF_RECORD))
            return;
        change_remove(pass->change, DOCUMENT_REVISION, service->revisions[i]);
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
    if (pass->core->model.has_strays)
        retire_strays(pass);
    for (size_t i = 0; i < services->count; i++) {
        struct model_service *service = services->items[i];
        if (service->document == NULL || pass->now_ms < service->retire_ms)
            continue;
        size_t before = pass->change->count;
        uint64_t next = retire_instances(pass, service);
        retire_revisions(pass, service);
        retire_rollouts(pass, service);
        retire_runs(pass, service);
        /* What is forgotten may let go of more, and is not yet written. */
        service->retire_ms = pass->change->count == before ? next : 0;
    }
}
