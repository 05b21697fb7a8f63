/* Standbys of a service: paused beside its replicas, and resumed where one would have to be booted.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "scheduler/look.h"
#include "scheduler/standby.h"

static bool is_standby(const struct model_instance *instance)
{
    return instance->document->standby && !model_instance_has_ended(instance);
}

static bool is_leaving(const struct model_instance *instance)
{
    return instance->node != NULL && instance->node->document->eligibility == NODE_DRAINING;
}

/* Made before a restart that succeeded: such a rollout replaces all there is. */
static bool is_of_before_restart(const struct look *look, const struct model_instance *instance)
{
    for (size_t i = 0; i < look->service->rollout_count; i++) {
        const struct document_rollout *rollout = look->service->rollouts[i];
        if (rollout->phase == ROLLOUT_SUCCEEDED && strcmp(rollout->kind, "restart") == 0 &&
            rollout->number > instance->document->rollout)
            return true;
    }
    return false;
}

/* What worked last may have been deployed before standbys were asked for, and have volumes. */
static bool can_have_standbys(const struct look *look)
{
    return look->good != NULL && !look_is_revoked(look->good) &&
           look->good->template.volume_count == 0;
}

static bool matches(const struct look *look, const struct model_instance *instance)
{
    return can_have_standbys(look) &&
           model_same_template(look->service, instance->document->revision, look->good) &&
           !is_of_before_restart(look, instance);
}

/* --- resuming --- */

/* A rollout would take its restarts for its own. */
static bool is_worn(const struct model_instance *instance)
{
    return instance->observed.restarts > 0;
}

static bool can_be_resumed(const struct look *look, const struct model_instance *instance,
                           const struct document_revision *revision)
{
    return model_instance_is_standby(instance) && !is_worn(instance) && !is_leaving(instance) &&
           model_same_template(look->service, instance->document->revision, revision) &&
           !is_of_before_restart(look, instance);
}

const struct document_instance *look_resume_standby(struct look *look, uint32_t slot,
                                                    uint32_t attempt,
                                                    const struct document_revision *revision)
{
    if (look_is_restarting(look))
        return NULL;
    for (; look->standbys_tried < look->service->instances.count; look->standbys_tried++) {
        struct model_instance *owner = look->service->instances.items[look->standbys_tried];
        if (!can_be_resumed(look, owner, revision))
            continue;
        struct document_instance *instance =
            change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
        instance->standby = false;
        instance->slot = slot;
        instance->attempt = attempt;
        instance->rollout = look->rollout->number;
        look->resumed[look->resumed_count++] = owner;
        look->standbys_tried++;
        return instance;
    }
    return NULL;
}

/* --- keeping as many as are wanted --- */

struct standbys {
    struct standby_instance *values;
    struct model_instance **owners;
    size_t count;
};

static bool is_resumed(const struct look *look, const struct model_instance *instance)
{
    for (size_t i = 0; i < look->resumed_count; i++) {
        if (look->resumed[i] == instance)
            return true;
    }
    return false;
}

static void collect(struct look *look, struct standbys *standbys)
{
    const struct sorted *instances = &look->service->instances;
    standbys->values = xcalloc(instances->count + 1, sizeof *standbys->values);
    standbys->owners = xcalloc(instances->count + 1, sizeof *standbys->owners);
    for (size_t i = 0; i < instances->count; i++) {
        struct model_instance *instance = instances->items[i];
        if (!is_standby(instance) || is_resumed(look, instance))
            continue;
        standbys->values[standbys->count] = (struct standby_instance){
            .matches = matches(look, instance),
            .stopping = instance->document->wish != WISH_RUN,
            .state = instance->observed.state,
            .lost = model_instance_is_lost(instance),
            .leaving = is_leaving(instance),
            .is_worn = is_worn(instance),
            .over_ms = instance->over_since_ms,
            .attempt = look_attempt_of(look, instance),
            .given_up = instance->document->given_up,
        };
        standbys->owners[standbys->count++] = instance;
    }
}

static void stop(struct look *look, struct model_instance *owner)
{
    const char *why = look->document->deleting        ? "the service is being removed"
                      : is_leaving(owner)             ? "its node is drained"
                      : !matches(look, owner)         ? "a standby of another revision"
                      : model_instance_is_gone(owner) ? "replaced by a new standby"
                      : is_worn(owner) ? "it was restarted: a new standby replaces it"
                                       : "fewer standbys are wanted";
    look_end_instance(look, owner, WISH_STOP, why);
}

static void give_up(struct look *look, struct model_instance *owner)
{
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    instance->given_up = true;
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name, "given_up",
                  document_text(owner->observed.cause),
                  "a standby failed %u times in a row and is not tried again: deploy the service "
                  "once the cause is gone",
                  instance->attempt + 1);
}

/* Replicas come first: nobody is told to make room for a standby. */
static void note_no_room(struct look *look, const struct error *error)
{
    look_again(look, look->pass->now_ms + capacity_retry_ms(&look->pass->core->model));
    if (!look->service->standby_has_no_room)
        changes_event(look->pass->core->changes, look->pass->change, "service",
                      look->document->namespace_name, look->document->service, NULL,
                      "no_room_for_standby", "no_capacity", "%.500s", error->message);
    look->service->standby_has_no_room = true;
}

/* The newest that is over, whether its record says so already or not, is what the next replaces. */
static uint32_t next_attempt(const struct look *look)
{
    for (size_t i = look->service->instances.count; i-- > 0;) {
        const struct model_instance *instance = look->service->instances.items[i];
        if (instance->document->standby && instance_state_is_over(instance->observed.state) &&
            model_same_template(look->service, instance->document->revision, look->good))
            return instance->observed.state == INSTANCE_FAILED ? look_attempt_of(look, instance) + 1
                                                               : 0;
    }
    return 0;
}

/* False when there is no room. */
static bool create(struct look *look, struct capacity_search *search)
{
    struct controller_pass *pass = look->pass;
    struct error error = ERROR_INIT;
    struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
    if (capacity_search_place(search, instance, &error) < 0) {
        note_no_room(look, &error);
        document_free(DOCUMENT_INSTANCE, instance);
        return false;
    }
    look->service->standby_has_no_room = false;
    instance->standby = true;
    instance->revision = look->good->number;
    instance->rollout = look->rollout->number;
    instance->attempt = next_attempt(look);
    controller_put_instance(pass, look->document, instance);
    changes_event(pass->core->changes, pass->change, "instance", instance->namespace_name,
                  instance->service, instance->id, "scheduled", NULL,
                  "a standby of revision %u on node %s, address %s", instance->revision,
                  instance->node, instance->address);
    return true;
}

static bool carry_out(struct look *look, const struct standbys *standbys,
                      const struct standby_result *result)
{
    bool complete = true, has_room = true;
    struct capacity_search *search = NULL;
    for (size_t i = 0; i < result->action_count && complete; i++) {
        const struct standby_action *action = &result->actions[i];
        change_may_split(look->pass->change);
        complete = change_has_room(look->pass->change, ROOM_OF_ACTION);
        if (!complete)
            break;
        switch (action->kind) {
        case STANDBY_STOP:
            stop(look, standbys->owners[action->instance]);
            break;
        case STANDBY_GIVE_UP:
            give_up(look, standbys->owners[action->instance]);
            break;
        case STANDBY_CREATE:
            if (search == NULL)
                search = look_search_for_standby(look);
            has_room = has_room && create(look, search);
            break;
        }
    }
    capacity_search_end(search);
    return complete;
}

/* Most services have none, however many instances they have. */
static bool has_standbys(const struct look *look)
{
    bool found = look->document->spec.standby > 0;
    for (size_t i = 0; i < look->service->instances.count && !found; i++)
        found = is_standby(look->service->instances.items[i]);
    return found;
}

bool look_keep_standbys(struct look *look)
{
    if (!has_standbys(look))
        return true;
    const struct api_service_spec *spec = &look->document->spec;
    struct standbys standbys = {0};
    struct standby_result result;
    collect(look, &standbys);
    struct standby_input input = {
        .wanted = look->document->deleting ? 0 : spec->standby,
        .may_start = can_have_standbys(look) && !look->no_room,
        .reschedule = spec->reschedule,
        .instances = standbys.values,
        .instance_count = standbys.count,
        .now_ms = look->pass->now_ms,
    };
    standby_decide(&input, &result);
    look_again(look, result.next_ms);
    bool complete = carry_out(look, &standbys, &result);
    standby_result_release(&result);
    free(standbys.values);
    free(standbys.owners);
    return complete;
}
