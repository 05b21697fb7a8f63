/* Where an instance may be: memory and addresses are promised once, and what its service asks for.
 */
#include <string.h>

#include "scheduler/capacity.h"
#include "tests/sim/node.h"
#include "tests/sim/watch_internal.h"

/* --- room and addresses --- */

struct room {
    struct world *world;
    const struct core *core;
    const struct document_instance *placed;
    uint64_t memory;
};

static void add_to_room(const struct sight *sight, void *data)
{
    struct room *room = data;
    const struct document_instance *document = sight->document;
    if (strcmp(document->node, room->placed->node) != 0)
        return;
    const struct model_service *service =
        model_service(&room->core->model, document->namespace_name, document->service);
    const struct document_revision *revision =
        service != NULL ? model_revision(service, document->revision) : NULL;
    room->memory += NODE_OVERHEAD;
    room->memory += revision != NULL ? revision->template.resources.memory : 0;
    if (document != room->placed && strcmp(document->id, room->placed->id) != 0 &&
        strcmp(document->address, room->placed->address) == 0)
        world_fail(room->world, "address %s is promised to %s and to %s", document->address,
                   document->id, room->placed->id);
}

static void check_place(struct world *world, const struct core *core,
                        const struct document_instance *placed)
{
    struct room room = {world, core, placed, 0};
    const struct model_node *node = model_node(&core->model, placed->node);
    if (node == NULL || node->silent || !node->reported) {
        world_fail(world, "%s is placed on %s, which is not there", placed->id, placed->node);
        return;
    }
    if (node->document->eligibility != NODE_ELIGIBLE)
        world_fail(world, "%s is placed on %s, which is %s", placed->id, placed->node,
                   node_eligibility_names[node->document->eligibility]);
    watch_each_instance(world->watch, core, add_to_room, &room);
    if (room.memory > node->document->memory)
        world_fail(world, "node %s has %llu bytes and %llu are promised", node->name,
                   (unsigned long long)node->document->memory, (unsigned long long)room.memory);
    for (size_t i = 0; i < core->model.instances.count; i++) {
        const struct model_instance *other = core->model.instances.items[i];
        const struct document_instance *document = other->document;
        if (document->ended_ms != 0 && strcmp(document->address, placed->address) == 0 &&
            core_wall(core) < document->ended_ms + ADDRESS_HOLD_MS && world->steady_clock)
            world_fail(world, "address %s is given to %s %llu ms after %s", placed->address,
                       placed->id, (unsigned long long)(core_wall(core) - document->ended_ms),
                       document->id);
    }
}

/* --- where it may be --- */

/* Others of the same slot and service. */
struct neighbours {
    const struct model_service *service;
    const struct document_instance *placed;
    uint32_t on_node;  /* of the same template, and to run */
    const char *holds; /* has the slot's volumes; NULL: nobody */
};

static bool is_over(const struct sight *sight)
{
    return sight->instance != NULL && instance_state_is_over(sight->instance->observed.state);
}

static void look_for_neighbours(const struct sight *sight, void *data)
{
    struct neighbours *found = data;
    const struct document_instance *document = sight->document;
    const struct document_revision *revision = model_revision(found->service, document->revision);
    if (document->service_uid != found->placed->service_uid || is_over(sight) ||
        strcmp(document->id, found->placed->id) == 0)
        return;
    /* With a node that somebody removed its volumes are gone. */
    bool removed = sight->instance != NULL && sight->instance->node == NULL;
    if (document->slot == found->placed->slot && revision != NULL && !removed &&
        revision->template.volume_count > 0)
        found->holds = document->id;
    const struct document_rollout *rollout = model_rollout(found->service);
    /* What a restart is about to replace is in nobody's way. */
    bool goes = rollout != NULL && strcmp(rollout->kind, "restart") == 0 &&
                !rollout_phase_is_over(rollout->phase) && document->rollout != rollout->number;
    found->on_node +=
        !goes && document->wish == WISH_RUN && strcmp(document->node, found->placed->node) == 0 &&
        watch_same_template(found->service, document->revision, found->placed->revision);
}

/* Where the slot's volumes are: with the last instance that had them. */
static void check_volumes(struct world *world, const struct model_service *service,
                          const struct document_instance *placed)
{
    const struct document_instance *last = NULL;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        const struct document_revision *revision =
            model_revision(service, instance->document->revision);
        if (instance->document->slot == placed->slot && instance->node != NULL &&
            revision != NULL && revision->template.volume_count > 0)
            last = instance->document;
    }
    if (last != NULL && strcmp(last->node, placed->node) != 0)
        world_fail(world, "%s of %s is placed on %s, its volumes are on %s", placed->id,
                   service->name, placed->node, last->node);
}

/* What users asked for, as the scenario asks for it (users.c). */
static void check_wishes(struct world *world, const struct core *core,
                         const struct model_service *service,
                         const struct document_instance *placed)
{
    const struct api_placement *asked = &service->document->spec.placement;
    const struct model_node *node = model_node(&core->model, placed->node);
    const struct document_revision *revision = model_revision(service, placed->revision);
    struct neighbours found = {.service = service, .placed = placed};
    if (node == NULL || revision == NULL)
        return;
    watch_each_instance(world->watch, core, look_for_neighbours, &found);
    const char *zone = json_map_get(&node->document->labels, "zone");
    for (size_t i = 0; i < asked->constraints.count; i++) {
        bool is = strstr(asked->constraints.items[i], "==") != NULL;
        if (is != (zone != NULL && strcmp(zone, "even") == 0))
            world_fail(world, "%s is placed on %s, which is not %s", placed->id, placed->node,
                       asked->constraints.items[i]);
    }
    if (asked->max_per_node > 0 && found.on_node >= asked->max_per_node)
        world_fail(world, "%s is placed on %s, where %u of %s are and at most %u may be",
                   placed->id, placed->node, found.on_node, service->name, asked->max_per_node);
    if (revision->template.volume_count > 0)
        check_volumes(world, service, placed);
    if (revision->template.volume_count > 0 && found.holds != NULL)
        world_fail(world, "%s starts in slot %u of %s, whose volumes %s has", placed->id,
                   placed->slot, service->name, found.holds);
}

void watch_place(struct world *world, const struct core *core, const struct model_service *service,
                 const struct document_instance *placed)
{
    check_place(world, core, placed);
    check_wishes(world, core, service, placed);
}
