#include "scheduler/capacity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#define FIRST_PLACE 2   /* behind the network's own address and the gateway */
#define LAST_PLACE  254 /* before the broadcast address */
#define RETRY_MS    2000
#define NODES_A_MS  2

_Static_assert(NODE_ADDRESSES == LAST_PLACE - FIRST_PLACE + 1, "as many as there are places");

void capacity_used(const struct model_node *node, uint64_t *ret_memory, uint32_t *ret_vcpus,
                   uint32_t *ret_instances)
{
    *ret_memory = node->used.memory + node->used.instances * node->document->overhead;
    *ret_vcpus = node->used.vcpus;
    *ret_instances = node->used.instances;
}

uint64_t capacity_volumes_used(const struct model_node *node)
{
    uint64_t promised = node->used.volumes + node->snapshots;
    return promised > node->volumes_there ? promised : node->volumes_there;
}

uint64_t capacity_retry_ms(const struct model *model)
{
    return RETRY_MS + model->nodes.count / NODES_A_MS;
}

/* --- nodes as placement sees them --- */

/* The address that can be handed out first, and when: 0 now, UINT64_MAX not by time alone. */
static uint64_t first_address(const struct model_node *node, uint64_t now_ms, size_t *ret_place)
{
    uint64_t first_ms = UINT64_MAX;
    for (size_t word = 0; word < SUBNET_ADDRESSES / 64; word++) {
        uint64_t unused = ~(node->used.addresses[word] | node->planned.addresses[word]);
        for (; unused != 0; unused &= unused - 1) {
            size_t place = 64 * word + (size_t)__builtin_ctzll(unused);
            uint64_t freed_ms = node->freed_ms[place];
            uint64_t at_ms = freed_ms != 0 ? freed_ms + ADDRESS_HOLD_MS : 0;
            if (place < FIRST_PLACE || place > LAST_PLACE || at_ms >= first_ms)
                continue;
            *ret_place = place;
            if (at_ms <= now_ms)
                return 0;
            first_ms = at_ms;
        }
    }
    return first_ms;
}

/* All but what a running search put there. */
static void fill_place(struct model_node *node, uint64_t now_ms)
{
    struct placement_node *place = &node->place.node;
    size_t number;
    const struct document_node *document = node->document;
    const struct usage *used = &node->used, *planned = &node->planned;
    place->name = node->name;
    place->ready = !node->silent && node->reported;
    place->eligibility = document->eligibility;
    place->machines = document->machines;
    place->machine_count = document->machine_count;
    place->labels = &document->labels;
    place->features = &document->features;
    place->frontends = node->frontends;
    place->frontend_count = node->frontend_count;
    place->memory = document->memory;
    place->overhead = document->overhead;
    place->vcpus = document->vcpus;
    place->memory_used = used->memory + planned->memory +
                         (used->instances + planned->instances) * document->overhead;
    place->vcpus_used = used->vcpus + planned->vcpus;
    place->volumes = document->volumes;
    place->volumes_used = capacity_volumes_used(node) + planned->volumes;
    const struct usage_kept *kept;
    LIST_FOREACH(kept, &node->kept, link)
    {
        place->memory_used += kept->memory + document->overhead;
        place->vcpus_used += kept->vcpus;
    }
    place->address_ms = first_address(node, now_ms, &number);
    /* What runs there and is nobody's has an address and memory that nobody knows of: until it has
     * stopped none is free. */
    if (node->orphans.count > 0)
        place->address_ms = UINT64_MAX;
}

void capacity_refresh_place(struct model_node *node, uint64_t now_ms)
{
    fill_place(node, now_ms);
    placement_index_refresh(&node->place);
}

void capacity_init(struct capacity *capacity, struct model *model, uint64_t now_ms)
{
    *capacity = (struct capacity){.model = model, .now_ms = now_ms};
    for (struct model_node *node; (node = LIST_FIRST(&model->changed_places)) != NULL;) {
        LIST_REMOVE(node, changed_link);
        fill_place(node, now_ms);
        if (node->kind_changed)
            placement_index_put(&model->places, &node->place);
        else
            placement_index_refresh(&node->place);
        node->place_changed = false;
        node->kind_changed = false;
    }
}

void capacity_finish(struct capacity *capacity)
{
    for (size_t i = 0; i < capacity->planned_count; i++) {
        capacity->planned[i]->planned = (struct usage){0};
        capacity->planned[i]->is_planned = false;
        usage_touch(capacity->planned[i], false);
    }
    free(capacity->planned);
    *capacity = (struct capacity){0};
}

static void note_planned(struct capacity *capacity, struct model_node *node)
{
    if (node->is_planned)
        return;
    node->is_planned = true;
    if (capacity->planned_count == capacity->planned_capacity) {
        capacity->planned_capacity =
            capacity->planned_capacity > 0 ? 2 * capacity->planned_capacity : 16;
        capacity->planned = xreallocarray(capacity->planned, capacity->planned_capacity,
                                          sizeof(struct model_node *));
    }
    capacity->planned[capacity->planned_count++] = node;
}

void capacity_take_room(struct capacity *capacity, struct model_node *node,
                        const struct placement_request *request, char ret_address[ADDRESS_MAX])
{
    const char *subnet = node->document->subnet;
    const char *dot = strrchr(subnet, '.');
    size_t place = FIRST_PLACE;
    first_address(node, capacity->now_ms, &place);
    snprintf(ret_address, ADDRESS_MAX, "%.*s.%u", dot != NULL ? (int)(dot - subnet) : 0, subnet,
             (unsigned)(uint8_t)place);
    note_planned(capacity, node);
    usage_set_address(&node->planned, place, true);
    node->planned.memory += request->memory;
    node->planned.vcpus += request->vcpus;
    node->planned.volumes += request->volume_bytes;
    node->planned.instances++;
    capacity_refresh_place(node, capacity->now_ms);
}

void capacity_give_back(struct capacity *capacity, const struct model_instance *instance)
{
    struct model_node *node = instance->node;
    if (node == NULL || !instance->share.is_taken)
        return;
    note_planned(capacity, node);
    /* What is planned may be below nothing: the sum with what is used is what counts. */
    node->planned.memory -= instance->share.memory;
    node->planned.vcpus -= instance->share.vcpus;
    node->planned.instances--;
    capacity_refresh_place(node, capacity->now_ms);
}
