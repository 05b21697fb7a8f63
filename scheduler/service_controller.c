/* One service: the model's values for reconcile and rollout, and their decisions as writes. */
#include <stdlib.h>

#include "scheduler/look.h"

/* Its records go first, it goes last: a crash in between goes on. Where its volumes are stays on
 * record, for they stay. */
static bool remove_service(struct look *look)
{
    struct model_service *service = look->service;
    struct change *change = look->pass->change;
    const struct sorted *instances = &service->instances;
    for (size_t i = 0; i < instances->count; i++) {
        const struct model_instance *instance = instances->items[i];
        if (!model_instance_has_ended(instance) && !model_instance_is_lost(instance))
            return true; /* still ending */
    }
    for (size_t i = 0; i < instances->count; i++) {
        const struct model_instance *instance = instances->items[i];
        if (model_instance_has_ended(instance))
            continue;
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        change_remove(change, DOCUMENT_INSTANCE, instance->document);
        change_remove(change, DOCUMENT_OBSERVED, &instance->observed);
    }
    for (size_t i = 0; i < service->rollout_count; i++) {
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        change_remove(change, DOCUMENT_ROLLOUT, service->rollouts[i]);
    }
    for (size_t i = 0; i < service->revision_count; i++) {
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        change_remove(change, DOCUMENT_REVISION, service->revisions[i]);
    }
    change_remove(change, DOCUMENT_SERVICE, look->document);
    changes_event(look->pass->core->changes, change, "service", look->document->namespace_name,
                  look->document->service, NULL, "removed", NULL, "nothing of it runs any more%s",
                  service->volume_count > 0 ? "; its volumes stay" : "");
    return true;
}

static bool decide(struct look *look, bool frozen)
{
    const struct api_service_spec *spec = &look->document->spec;
    struct reconcile_input input = {
        .mode = look->mode,
        .replicas = look->replicas,
        .canary = look->canary,
        .max_surge = spec->rollout.max_surge,
        .max_unavailable = spec->rollout.max_unavailable,
        .stop_first = model_is_stop_first(look->service),
        .min_healthy_time_ms = spec->rollout.min_healthy_time_ms,
        .reschedule = spec->reschedule,
        .restart = spec->restart.policy,
        .instances = look->values,
        .instance_count = look->count,
        .no_room = look->service->no_capacity != NULL,
        .now_ms = look->pass->now_ms,
    };
    struct reconcile_result result;
    reconcile_decide(&input, &result);
    look->service->counts = result.counts;
    if (frozen) {
        reconcile_result_release(&result);
        return true;
    }
    look_again(look, result.next_ms);
    bool complete = look_record_ends(look);
    if (complete && look_stop_revoked(look)) {
        reconcile_result_release(&result);
        return change_has_room(look->pass->change, ROOM_OF_ACTION);
    }
    if (complete && !look_advance_rollout(look, &result.counts))
        complete = look_carry_out(look, &result) && look_keep_standbys(look);
    if (complete && change_has_room(look->pass->change, ROOM_OF_ACTION))
        look_rebalance(look, &result);
    if (complete && look->document->deleting)
        complete = remove_service(look);
    reconcile_result_release(&result);
    return complete;
}

bool controller_reconcile_service(struct controller_pass *pass, struct model_service *service)
{
    if (service->document == NULL)
        return true;
    if (model_is_job(service))
        return controller_look_at_job(pass, service);
    struct look look = {.pass = pass,
                        .service = service,
                        .document = service->document,
                        .rollout = model_rollout(service),
                        .replicas = service->document->deleting ? 0 : service->document->replicas};
    if (look.rollout == NULL && !look.document->deleting)
        return true;
    look.target = model_revision(service, model_target(service));
    look.good = model_revision(service, look.document->good);
    look.canary = look.document->deleting ? 0 : model_canaries(service);
    look.mode = look.rollout != NULL && !look.document->deleting
                    ? rollout_mode(look.rollout->phase, look.canary)
                    : RECONCILE_STEADY;
    look_collect(&look);
    bool complete = decide(&look, look_is_frozen(&look));
    free(look.values);
    free(look.owners);
    free(look.planned);
    free(look.resumed);
    capacity_search_end(look.search);
    return complete;
}
