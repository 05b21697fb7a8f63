#include "scheduler/capacity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"

#define FIRST_PLACE 2   /* behind the network's own address and the gateway */
#define LAST_PLACE  254 /* before the broadcast address */

void capacity_used(const struct model_node *node, uint64_t *ret_memory, uint32_t *ret_vcpus,
                   uint32_t *ret_instances)
{
    uint64_t memory = 0;
    uint32_t vcpus = 0, count = 0;
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        if (model_instance_has_ended(instance))
            continue;
        const struct document_revision *revision =
            instance->service != NULL
                ? model_revision(instance->service, instance->document->revision)
                : NULL;
        memory += node->document->overhead;
        count++;
        if (revision == NULL)
            continue;
        memory += revision->template.resources.memory;
        vcpus += revision->template.resources.vcpus;
    }
    *ret_memory = memory;
    *ret_vcpus = vcpus;
    *ret_instances = count;
}

static uint32_t mark_addresses(const struct model_node *node, bool taken[SUBNET_ADDRESSES],
                               uint64_t now_ms)
{
    uint32_t free_count = 0;
    for (size_t place = 0; place < SUBNET_ADDRESSES; place++)
        taken[place] =
            place < FIRST_PLACE || place > LAST_PLACE ||
            (node->freed_ms[place] != 0 && now_ms < node->freed_ms[place] + ADDRESS_HOLD_MS);
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        if (!model_instance_has_ended(instance))
            taken[model_address_place(instance->document->address)] = true;
    }
    for (size_t place = 0; place < SUBNET_ADDRESSES; place++)
        free_count += !taken[place];
    return free_count;
}

void capacity_init(struct capacity *capacity, struct model *model, uint64_t now_ms)
{
    size_t count = model->nodes.count;
    capacity->model = model;
    capacity->nodes = xcalloc(count + 1, sizeof *capacity->nodes);
    capacity->taken = xcalloc(count + 1, sizeof *capacity->taken);
    for (size_t i = 0; i < count; i++) {
        const struct model_node *node = model->nodes.items[i];
        struct placement_node *view = &capacity->nodes[i];
        uint32_t instances;
        *view = (struct placement_node){.name = node->name,
                                        .silent = node->silent || !node->reported,
                                        .eligibility = node->document->eligibility,
                                        .machines = node->document->machines,
                                        .machine_count = node->document->machine_count,
                                        .memory = node->document->memory,
                                        .overhead = node->document->overhead,
                                        .vcpus = node->document->vcpus};
        capacity_used(node, &view->memory_used, &view->vcpus_used, &instances);
        view->addresses_free = mark_addresses(node, capacity->taken[i], now_ms);
    }
}

void capacity_finish(struct capacity *capacity)
{
    free(capacity->nodes);
    free(capacity->taken);
    *capacity = (struct capacity){0};
}

static void count_of_service(struct capacity *capacity, const struct model_service *service,
                             const struct document_instance *const *planned, size_t planned_count)
{
    for (size_t n = 0; n < capacity->model->nodes.count; n++) {
        const struct model_node *node = capacity->model->nodes.items[n];
        struct placement_node *view = &capacity->nodes[n];
        view->of_service = 0;
        for (size_t i = 0; i < service->instances.count; i++) {
            const struct model_instance *instance = service->instances.items[i];
            view->of_service += instance->node == node && instance->document->wish == WISH_RUN &&
                                !instance_state_is_over(instance->observed.state);
        }
        for (size_t i = 0; i < planned_count; i++)
            view->of_service += strcmp(planned[i]->node, node->name) == 0;
    }
}

static void take_address(bool taken[SUBNET_ADDRESSES], const char *subnet,
                         char ret_address[ADDRESS_MAX])
{
    size_t place = FIRST_PLACE;
    while (place < LAST_PLACE && taken[place])
        place++;
    taken[place] = true;
    const char *dot = strrchr(subnet, '.');
    int length = dot != NULL ? (int)(dot - subnet) : 0;
    snprintf(ret_address, ADDRESS_MAX, "%.*s.%u", length, subnet, (unsigned)(uint8_t)place);
}

int capacity_place(struct capacity *capacity, const struct model_service *service,
                   const struct document_revision *revision,
                   const struct document_instance *const *planned, size_t planned_count,
                   struct document_instance *instance, struct error *error)
{
    struct placement_platform platforms[8];
    struct placement_request request = {
        .memory = revision->template.resources.memory,
        .vcpus = revision->template.resources.vcpus,
        .platforms = platforms,
        .spread = service->document->spec.placement.spread,
    };
    for (size_t i = 0; i < revision->platform_count && i < 8; i++)
        platforms[request.platform_count++] =
            (struct placement_platform){revision->platforms[i].arch, revision->platforms[i].family};
    struct placement where;
    count_of_service(capacity, service, planned, planned_count);
    if (placement_choose(&request, capacity->nodes, capacity->model->nodes.count, &where, error) <
        0)
        return -1;
    struct placement_node *view = &capacity->nodes[where.node];
    const struct model_node *node = capacity->model->nodes.items[where.node];
    view->memory_used += request.memory + view->overhead;
    view->vcpus_used += request.vcpus;
    view->addresses_free--;
    text_copy(instance->node, sizeof instance->node, node->name);
    text_copy(instance->arch, sizeof instance->arch, platforms[where.platform].arch);
    take_address(capacity->taken[where.node], node->document->subnet, instance->address);
    return 0;
}
