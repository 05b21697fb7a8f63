#include "scheduler/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/preemption.h"
#include "scheduler/publication.h"
#include "scheduler/volume_rules.h"

/* New instances of one decision that have an event each; more share one. */
#define TOLD_ALONE_MAX 16
#define CAUSE_REVOKED  "trust_revoked"

void look_end_instance(struct look *look, struct model_instance *owner, enum instance_wish wish,
                       const char *why)
{
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    instance->wish = wish;
    document_set_text(&instance->why, why);
    if (wish == WISH_STOP && model_instance_is_gone(owner))
        instance->ended_ms = look->pass->wall_ms;
}

static const char *why_ended(const struct look *look, const struct reconcile_instance *value)
{
    if (look->document->deleting)
        return "the service is being removed";
    if (value->slot >= look->replicas)
        return "scaled down";
    if (value->leaving)
        return "its node is drained";
    return "replaced by the rollout";
}

/* A lost one may be well and serve: when its node comes back it drains before it stops. */
static enum instance_wish wish_of_replaced(const struct model_instance *owner)
{
    bool may_serve = owner->node != NULL && owner->in_endpoints &&
                     owner->document->wish == WISH_RUN &&
                     model_instance_state(owner) == INSTANCE_UNKNOWN;
    return may_serve ? WISH_DRAIN : WISH_STOP;
}

static void drain(struct look *look, const struct reconcile_action *action)
{
    struct model_instance *owner = look->owners[action->instance];
    const char *why = owner->is_moving ? "moved to a better place"
                                       : why_ended(look, &look->values[action->instance]);
    /* What no data plane sends anything need not be waited for. */
    bool excluded = publication_is_excluded(look->pass->core->publication, owner);
    enum instance_wish wish = excluded ? WISH_STOP : WISH_DRAIN;
    look_end_instance(look, owner, wish, why);
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name,
                  wish == WISH_DRAIN ? "draining" : "stopping", NULL, "%s", why);
}

static void stop(struct look *look, const struct reconcile_action *action)
{
    struct model_instance *owner = look->owners[action->instance];
    const char *why = owner->document->why;
    look_end_instance(look, owner, wish_of_replaced(owner),
                      why != NULL ? why : why_ended(look, &look->values[action->instance]));
}

static void give_up(struct look *look, const struct reconcile_action *action)
{
    struct model_instance *owner = look->owners[action->instance];
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    instance->given_up = true;
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name, "given_up",
                  owner->observed.cause,
                  "slot %u failed %u times in a row and is not tried again: deploy, restart or "
                  "roll back the service once the cause is gone",
                  action->slot, action->attempt + 1);
}

static void note_no_room(struct look *look, const struct error *error)
{
    struct model_service *service = look->service;
    look->no_room = true;
    /* An address that is held becomes free by time alone: nothing else would tell. */
    look_again(look, look->pass->now_ms + capacity_retry_ms(&look->pass->core->model));
    if (service->no_capacity == NULL)
        changes_event(look->pass->core->changes, look->pass->change, "service",
                      look->document->namespace_name, look->document->service, NULL, "no_capacity",
                      "no_capacity", "%.500s", error->message);
    capacity_search_note(look->search, service, error);
}

static void new_id(struct controller_pass *pass, char ret_id[INSTANCE_ID_MAX])
{
    struct document_counters *counters =
        change_edit(pass->change, DOCUMENT_COUNTERS, &pass->core->model.counters);
    counters->instances++;
    snprintf(ret_id, INSTANCE_ID_MAX, "%04x%08x",
             (unsigned)(uint16_t)store_identity(pass->core->store)->term,
             (uint32_t)counters->instances);
}

void controller_put_instance(struct controller_pass *pass, const struct document_service *service,
                             struct document_instance *instance)
{
    new_id(pass, instance->id);
    instance->service_uid = service->uid;
    text_copy(instance->namespace_name, NAME_MAX_TEXT, service->namespace_name);
    text_copy(instance->service, NAME_MAX_TEXT, service->service);
    instance->created_ms = pass->wall_ms;
    change_put(pass->change, DOCUMENT_INSTANCE, instance);
}

/* Where the next instance of the revision goes. */
static struct capacity_search *search_for(struct look *look,
                                          const struct document_revision *revision)
{
    if (look->search != NULL && look->search_revision == revision)
        return look->search;
    capacity_search_end(look->search);
    bool restarts = look_is_restarting(look) && look->mode != RECONCILE_PAUSED;
    look->search = capacity_search_begin(&look->pass->capacity, look->service, revision,
                                         restarts ? look->rollout->number : 0);
    for (size_t i = 0; i < look->planned_count; i++)
        capacity_search_count(look->search, look->planned[i]);
    look->search_revision = revision;
    return look->search;
}

struct capacity_search *look_search_for_standby(struct look *look)
{
    capacity_search_end(look->search);
    look->search = NULL;
    struct capacity_search *search =
        capacity_search_begin_standby(&look->pass->capacity, look->service, look->good);
    for (size_t i = 0; i < look->planned_count; i++)
        capacity_search_count(search, look->planned[i]);
    return search;
}

/* From its first instance on a slot's volumes are on one node. */
static void pin_volumes(struct look *look, const struct document_instance *instance,
                        const struct document_revision *revision)
{
    uint64_t bytes = volume_rules_bytes(&revision->template);
    const struct document_volume *present = model_volume(look->service, instance->slot);
    if (present != NULL && model_volume_node(look->service, instance->slot) != NULL) {
        if (bytes > present->bytes) {
            struct document_volume *grown =
                change_edit(look->pass->change, DOCUMENT_VOLUME, present);
            grown->bytes = bytes;
        }
        return;
    }
    struct document_volume *volume = document_create(DOCUMENT_VOLUME);
    text_copy(volume->namespace_name, NAME_MAX_TEXT, instance->namespace_name);
    text_copy(volume->service, NAME_MAX_TEXT, instance->service);
    text_copy(volume->node, NAME_MAX_TEXT, instance->node);
    volume->number = instance->slot;
    volume->service_uid = instance->service_uid;
    volume->bytes = bytes;
    volume->created_ms = look->pass->wall_ms;
    change_put(look->pass->change, DOCUMENT_VOLUME, volume);
}

/* What a new instance takes the place of ends; its id, or "". */
static const char *end_replaced(struct look *look, const struct reconcile_action *action)
{
    if (action->instance == RECONCILE_NONE)
        return "";
    struct model_instance *owner = look->owners[action->instance];
    look_end_instance(look, owner, wish_of_replaced(owner), "replaced by a new instance");
    return owner->name;
}

/* No place is looked for, and nothing boots. */
static bool resume_standby(struct look *look, const struct reconcile_action *action,
                           const struct document_revision *revision)
{
    const struct document_instance *instance =
        look_resume_standby(look, action->slot, action->attempt, revision);
    if (instance == NULL)
        return false;
    const char *replaced = end_replaced(look, action);
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  instance->namespace_name, instance->service, instance->id, "resumed", NULL,
                  "slot %u, the standby of revision %u on node %s%s%s", instance->slot,
                  instance->revision, instance->node, replaced[0] != '\0' ? ", replaces " : "",
                  replaced);
    return true;
}

static void start(struct look *look, const struct reconcile_action *action,
                  const struct document_revision *revision)
{
    struct controller_pass *pass = look->pass;
    struct error error = ERROR_INIT;
    struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
    instance->slot = action->slot;
    if (capacity_search_place(search_for(look, revision), instance, &error) < 0) {
        note_no_room(look, &error);
        preemption_make_room(pass, look->service, look->search);
        document_free(DOCUMENT_INSTANCE, instance);
        return;
    }
    instance->revision = revision->number;
    instance->rollout = look->rollout->number;
    instance->attempt = action->attempt;
    controller_put_instance(pass, look->document, instance);
    if (revision->template.volume_count > 0)
        pin_volumes(look, instance, revision);
    look->planned[look->planned_count++] = instance;
    const char *replaced = end_replaced(look, action);
    if (look->tells_together && replaced[0] == '\0')
        return;
    changes_event(pass->core->changes, pass->change, "instance", instance->namespace_name,
                  instance->service, instance->id, "scheduled", NULL,
                  "slot %u, revision %u on node %s, address %s%s%s", instance->slot,
                  instance->revision, instance->node, instance->address,
                  replaced[0] != '\0' ? ", replaces " : "", replaced);
}

/* Of what worked last where that is asked for and there is one. */
static const struct document_revision *revision_to_start(const struct look *look,
                                                         const struct reconcile_action *action)
{
    return action->of_good && look->good != NULL ? look->good : look->target;
}

static void carry_out_one(struct look *look, const struct reconcile_action *action)
{
    const struct document_revision *revision;
    switch (action->kind) {
    case RECONCILE_CREATE:
        revision = revision_to_start(look, action);
        if (revision == NULL || look_is_revoked(revision) || resume_standby(look, action, revision))
            break;
        /* What is pinned to one node says nothing of the other slots. */
        if ((!look->no_room || revision->template.volume_count > 0))
            start(look, action, revision);
        break;
    case RECONCILE_DRAIN:
        drain(look, action);
        break;
    case RECONCILE_STOP:
        stop(look, action);
        break;
    case RECONCILE_GIVE_UP:
        give_up(look, action);
        break;
    }
}

static size_t count_new(const struct reconcile_result *result)
{
    size_t count = 0;
    for (size_t i = 0; i < result->action_count; i++)
        count += result->actions[i].kind == RECONCILE_CREATE &&
                 result->actions[i].instance == RECONCILE_NONE;
    return count;
}

/* One event for all that were scheduled at once: nobody reads a thousand. */
static void tell_together(struct look *look)
{
    if (!look->tells_together || look->planned_count == 0)
        return;
    const struct document_instance *first = look->planned[0];
    const struct document_instance *last = look->planned[look->planned_count - 1];
    changes_event(look->pass->core->changes, look->pass->change, "service",
                  look->document->namespace_name, look->document->service, NULL, "scheduled", NULL,
                  "%zu instances of revision %u, %s to %s, slots %u to %u", look->planned_count,
                  last->revision, first->id, last->id, first->slot, last->slot);
}

bool look_carry_out(struct look *look, const struct reconcile_result *result)
{
    bool complete = true;
    look->planned = xcalloc(result->action_count + 1, sizeof *look->planned);
    look->resumed = xcalloc(result->action_count + 1, sizeof *look->resumed);
    look->tells_together = count_new(result) > TOLD_ALONE_MAX;
    for (size_t i = 0; i < result->action_count && complete; i++) {
        change_may_split(look->pass->change);
        complete = change_has_room(look->pass->change, ROOM_OF_ACTION);
        if (complete)
            carry_out_one(look, &result->actions[i]);
    }
    tell_together(look);
    if (complete && !look->no_room && look->service->no_capacity != NULL)
        capacity_clear_note(look->service);
    return complete;
}

/* --- revoked --- */

static void stop_revoked_instance(struct look *look, struct model_instance *owner,
                                  const struct document_revision *revision)
{
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    look_end_instance(look, owner, WISH_STOP, revision->revoked);
    document_set_text(&instance->cause, CAUSE_REVOKED);
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name, "stopping",
                  CAUSE_REVOKED, "%s", revision->revoked);
}

bool look_stop_revoked(struct look *look)
{
    bool found = false;
    for (size_t i = 0; i < look->service->instances.count; i++) {
        struct model_instance *owner = look->service->instances.items[i];
        const struct document_revision *revision =
            model_revision(look->service, owner->document->revision);
        if (model_instance_has_ended(owner) || !look_is_revoked(revision) ||
            owner->document->wish == WISH_STOP)
            continue;
        found = true;
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            break;
        stop_revoked_instance(look, owner, revision);
    }
    return found;
}

/* --- ends --- */

bool look_record_ends(struct look *look)
{
    for (size_t i = 0; i < look->service->instances.count; i++) {
        struct model_instance *owner = look->service->instances.items[i];
        if (model_instance_has_ended(owner) || owner->document->wish != WISH_STOP ||
            !model_instance_is_gone(owner))
            continue;
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            return false;
        struct document_instance *instance =
            change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
        instance->ended_ms = look->pass->wall_ms;
    }
    return true;
}
