/* What is true once everything has mended: the cluster comes to rest, and nothing is left over. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/node.h"
#include "tests/sim/process.h"
#include "tests/sim/watch.h"

struct rest {
    char *why;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool not_yet(const struct rest *rest,
                                                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rest->why, rest->size, format, arguments);
    va_end(arguments);
    return false;
}

static bool of_target(const struct model_service *service, const struct model_instance *instance)
{
    const struct document_revision *target = model_revision(service, model_target(service));
    const struct document_revision *own = model_revision(service, instance->document->revision);
    return target != NULL && own != NULL &&
           strcmp(target->template_digest, own->template_digest) == 0;
}

/* One that is not wanted stays while too few of those that are, are ready (promise 1). */
static bool is_needed(const struct model_service *service, const struct model_instance *instance)
{
    int64_t ready = 0;
    int64_t unavailable =
        model_is_stop_first(service) ? 1 : service->document->spec.rollout.max_unavailable;
    for (size_t i = 0; i < service->instances.count; i++)
        ready += model_instance_is_ready(service->instances.items[i]);
    return model_instance_is_ready(instance) &&
           ready <= (int64_t)service->document->replicas - unavailable;
}

/* A slot of a service whose rollout is over: held by one that is ready, or given up. */
static bool slot_rests(const struct rest *rest, const struct model_service *service, uint32_t slot)
{
    unsigned ready = 0, holders = 0;
    bool given_up = false;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (instance->document->slot != slot || instance->document->standby ||
            instance->document->wish != WISH_RUN || model_instance_has_ended(instance))
            continue;
        /* A second one, or an old one, goes once there are others to serve. */
        holders += !is_needed(service, instance) || (of_target(service, instance) && ready == 0);
        given_up = given_up || instance->document->given_up;
        ready += model_instance_is_ready(instance) && of_target(service, instance);
    }
    if (holders > 1)
        return not_yet(rest, "%s has %u instances in slot %u", service->name, holders, slot);
    if (ready == 0 && !given_up)
        return not_yet(rest, "%s has nothing ready in slot %u", service->name, slot);
    return true;
}

static bool instances_rest(const struct rest *rest, const struct model_service *service)
{
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (model_instance_has_ended(instance))
            continue;
        if (instance->document->wish != WISH_RUN)
            return not_yet(rest, "%s of %s is %s and does not end", instance->name, service->name,
                           instance_wish_names[instance->document->wish]);
        if (instance->document->slot >= service->document->replicas &&
            !instance->document->standby && !is_needed(service, instance))
            return not_yet(rest, "%s of %s is beyond its replicas", instance->name, service->name);
        if (instance->observed.state == INSTANCE_FAILED &&
            (instance->observed.cause == NULL || instance->observed.cause[0] == '\0'))
            return not_yet(rest, "%s of %s failed, and nobody says why", instance->name,
                           service->name);
    }
    return true;
}

/* As many as are wanted, unless nothing has worked yet or there is no room. */
static bool standbys_rest(const struct rest *rest, const struct model_service *service)
{
    const struct document_revision *good = model_revision(service, service->document->good);
    uint32_t wanted = service->document->spec.standby, count = 0;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        count += model_instance_is_standby(instance) ||
                 (instance->document->standby && instance->document->given_up &&
                  !model_instance_has_ended(instance));
    }
    if (good == NULL || good->revoked[0] != '\0' || good->template.volume_count > 0 ||
        service->standby_has_no_room)
        return true;
    return count == wanted ||
           not_yet(rest, "%s has %u of %u standbys", service->name, count, wanted);
}

static bool service_rests(const struct rest *rest, const struct model_service *service)
{
    const struct document_rollout *rollout = model_rollout(service);
    if (service->document == NULL)
        return true; /* only its volumes are left */
    if (service->document->deleting)
        return not_yet(rest, "%s is being removed", service->name);
    if (model_is_job(service))
        return watch_job_rests(service, rest->why, rest->size);
    if (!instances_rest(rest, service))
        return false;
    const struct document_revision *target = model_revision(service, model_target(service));
    /* Nothing of it may run: whatever it was, it ends as that. */
    if (target != NULL && target->revoked[0] != '\0')
        return true;
    if (service->no_capacity != NULL)
        return true;
    if (rollout == NULL || !rollout_phase_is_over(rollout->phase))
        return not_yet(rest, "the rollout of %s is not over: %s", service->name, service->progress);
    if (rollout->phase == ROLLOUT_FAILED)
        return rollout->reason[0] != '\0' ||
               not_yet(rest, "the rollout of %s failed, and nobody says why", service->name);
    for (uint32_t slot = 0; slot < service->document->replicas; slot++) {
        if (!slot_rests(rest, service, slot))
            return false;
    }
    return standbys_rest(rest, service);
}

bool watch_is_at_rest(const struct world *world, char *ret_why, size_t size)
{
    struct rest rest = {ret_why, size};
    const struct core *core = process_truth(world);
    if (core == NULL)
        return not_yet(&rest, "no scheduler leads");
    for (size_t i = 0; i < world->node_count; i++) {
        const struct model_node *node = model_node(&core->model, world->nodes[i]->name);
        if (node == NULL || !node->reported || node->silent || !world->nodes[i]->joined)
            return not_yet(&rest, "%s does not report", world->nodes[i]->name);
        if (node->orphans.count > 0)
            return not_yet(&rest, "%s has orphans", node->name);
    }
    for (size_t i = 0; i < core->model.services.count; i++) {
        if (!service_rests(&rest, core->model.services.items[i]))
            return false;
    }
    return true;
}

void watch_leftovers(struct world *world)
{
    const struct core *core = process_truth(world);
    for (size_t i = 0; i < world->node_count; i++) {
        const struct model_node *node = model_node(&core->model, world->nodes[i]->name);
        const struct guest *guest;
        LIST_FOREACH(guest, &world->nodes[i]->guests, link)
        {
            const struct model_instance *instance = model_instance(&core->model, guest->id);
            bool stranger = false;
            for (size_t j = 0; j < node->strangers.count; j++)
                stranger = stranger || strcmp(node->strangers.items[j], guest->id) == 0;
            if (guest_has_vm(guest) && !stranger &&
                (instance == NULL || instance->node != node || model_instance_has_ended(instance)))
                world_fail(world, "orphan: %s runs on %s and is nobody's", guest->id, node->name);
        }
    }
}
