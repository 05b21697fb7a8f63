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

/* When the next address is free: 0 now, UINT64_MAX not by time alone. */
static uint64_t mark_addresses(const struct model_node *node, bool taken[SUBNET_ADDRESSES],
                               uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        if (!model_instance_has_ended(instance))
            taken[model_address_place(instance->document->address)] = true;
    }
    for (size_t place = FIRST_PLACE; place <= LAST_PLACE; place++) {
        uint64_t held_ms = node->freed_ms[place] != 0 ? node->freed_ms[place] + ADDRESS_HOLD_MS : 0;
        if (!taken[place] && held_ms < next_ms)
            next_ms = held_ms;
        taken[place] = taken[place] || held_ms > now_ms;
    }
    return next_ms;
}

void capacity_init(struct capacity *capacity, struct model *model, uint64_t now_ms)
{
    size_t count = model->nodes.count;
    capacity->model = model;
    capacity->now_ms = now_ms;
    capacity->nodes = xcalloc(count + 1, sizeof *capacity->nodes);
    capacity->list = xcalloc(count + 1, sizeof *capacity->list);
    capacity->taken = xcalloc(count + 1, sizeof *capacity->taken);
    for (size_t i = 0; i < count; i++) {
        const struct model_node *node = model->nodes.items[i];
        struct placement_node *view = &capacity->nodes[i];
        uint32_t instances;
        *view = (struct placement_node){.name = node->name,
                                        .ready = !node->silent && node->reported,
                                        .eligibility = node->document->eligibility,
                                        .machines = node->document->machines,
                                        .machine_count = node->document->machine_count,
                                        .labels = &node->document->labels,
                                        .features = &node->document->features,
                                        .frontends = node->frontends,
                                        .frontend_count = node->frontend_count,
                                        .memory = node->document->memory,
                                        .overhead = node->document->overhead,
                                        .vcpus = node->document->vcpus};
        capacity_used(node, &view->memory_used, &view->vcpus_used, &instances);
        view->address_ms = mark_addresses(node, capacity->taken[i], now_ms);
        /* What runs there and is nobody's has an address and memory that nobody knows of: until it
         * has stopped none is free. */
        if (node->orphans.count > 0)
            view->address_ms = UINT64_MAX;
        capacity->list[i] = view;
    }
}

void capacity_finish(struct capacity *capacity)
{
    free(capacity->nodes);
    free(capacity->list);
    free(capacity->taken);
    *capacity = (struct capacity){0};
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

/* --- a search --- */

struct capacity_search {
    struct capacity *capacity;
    const struct model_service *service;
    const struct document_revision *revision;
    uint32_t restart;
    struct placement_request request;
    struct placement_platform platforms[PLACEMENT_PLATFORMS_MAX];
    struct api_constraint constraints[API_CONSTRAINTS_MAX];
    struct placement_affinity affinities[API_CONSTRAINTS_MAX];
    uint32_t ports[PLACEMENT_PORTS_MAX];
    struct placement_counts counts;
};

static void fill_placement(struct capacity_search *search, const struct api_placement *placement)
{
    struct placement_request *request = &search->request;
    const char *label = api_label_key(placement->spread);
    request->spread = label != NULL                                     ? PLACEMENT_SPREAD_LABEL
                      : strcmp(placement->spread, API_SPREAD_NONE) == 0 ? PLACEMENT_SPREAD_NONE
                                                                        : PLACEMENT_SPREAD_NODE;
    request->spread_label = label;
    request->distinct_nodes = placement->distinct_nodes;
    request->max_per_node = placement->max_per_node;
    request->constraints = search->constraints;
    request->affinities = search->affinities;
    /* What was stored was parsed when it was deployed: what cannot be parsed now holds nothing up.
     */
    for (size_t i = 0; i < placement->constraints.count && i < API_CONSTRAINTS_MAX; i++)
        request->constraint_count +=
            api_constraint_parse(placement->constraints.items[i],
                                 &search->constraints[request->constraint_count], NULL) == 0;
    for (size_t i = 0; i < placement->affinity_count && i < API_CONSTRAINTS_MAX; i++) {
        struct placement_affinity *affinity = &search->affinities[request->affinity_count];
        affinity->weight = placement->affinity[i].weight;
        request->affinity_count += api_constraint_parse(placement->affinity[i].constraint,
                                                        &affinity->constraint, NULL) == 0;
    }
}

static void fill_request(struct capacity_search *search)
{
    const struct document_revision *revision = search->revision;
    const struct api_service_spec *spec = &search->service->document->spec;
    struct placement_request *request = &search->request;
    *request = (struct placement_request){.memory = revision->template.resources.memory,
                                          .vcpus = revision->template.resources.vcpus,
                                          .platforms = search->platforms,
                                          .ports = search->ports,
                                          .now_ms = search->capacity->now_ms};
    for (size_t i = 0; i < revision->platform_count && i < PLACEMENT_PLATFORMS_MAX; i++)
        search->platforms[request->platform_count++] =
            (struct placement_platform){revision->platforms[i].arch, revision->platforms[i].family};
    for (size_t i = 0; i < spec->port_count && i < PLACEMENT_PORTS_MAX; i++) {
        if (spec->ports[i].publish != 0)
            search->ports[request->port_count++] = spec->ports[i].publish;
    }
    fill_placement(search, &spec->placement);
}

static bool is_of_template(const struct capacity_search *search, uint32_t number)
{
    if (number == search->revision->number)
        return true;
    const struct document_revision *revision = model_revision(search->service, number);
    return revision != NULL &&
           strcmp(revision->template_digest, search->revision->template_digest) == 0;
}

/* Those that are there to stay: what this rollout replaces is not in the way of what replaces it.
 */
static bool stays(const struct capacity_search *search, const struct model_instance *instance)
{
    const struct document_instance *document = instance->document;
    bool leaves = instance->node == NULL || instance->node->document->eligibility == NODE_DRAINING;
    return document->wish == WISH_RUN && !leaves &&
           !instance_state_is_over(instance->observed.state) &&
           (search->restart == 0 || document->rollout == search->restart) &&
           is_of_template(search, document->revision);
}

static void count_one(struct capacity_search *search, struct placement_node *view)
{
    const struct placement_request *request = &search->request;
    view->of_service++;
    if (request->spread == PLACEMENT_SPREAD_LABEL)
        placement_counts_add(&search->counts, json_map_get(view->labels, request->spread_label));
}

static void count_instances(struct capacity_search *search)
{
    struct capacity *capacity = search->capacity;
    for (size_t n = 0; n < capacity->model->nodes.count; n++)
        capacity->nodes[n].of_service = 0;
    for (size_t i = 0; i < search->service->instances.count; i++) {
        const struct model_instance *instance = search->service->instances.items[i];
        for (size_t n = 0; n < capacity->model->nodes.count && instance->node != NULL; n++) {
            if (capacity->model->nodes.items[n] == instance->node && stays(search, instance))
                count_one(search, &capacity->nodes[n]);
        }
    }
}

void capacity_search_count(struct capacity_search *search, const struct document_instance *instance)
{
    struct capacity *capacity = search->capacity;
    if (!is_of_template(search, instance->revision))
        return;
    for (size_t n = 0; n < capacity->model->nodes.count; n++) {
        if (strcmp(capacity->nodes[n].name, instance->node) == 0)
            count_one(search, &capacity->nodes[n]);
    }
}

struct capacity_search *capacity_search_begin(struct capacity *capacity,
                                              const struct model_service *service,
                                              const struct document_revision *revision,
                                              uint32_t restart)
{
    struct capacity_search *search = xcalloc(1, sizeof *search);
    search->capacity = capacity;
    search->service = service;
    search->revision = revision;
    search->restart = restart;
    fill_request(search);
    count_instances(search);
    return search;
}

void capacity_search_end(struct capacity_search *search)
{
    if (search == NULL)
        return;
    for (size_t i = 0; i < search->request.constraint_count; i++)
        api_constraint_release(&search->constraints[i]);
    for (size_t i = 0; i < search->request.affinity_count; i++)
        api_constraint_release(&search->affinities[i].constraint);
    placement_counts_finish(&search->counts);
    free(search);
}

int capacity_search_place(struct capacity_search *search, struct document_instance *instance,
                          struct error *error)
{
    struct capacity *capacity = search->capacity;
    const struct placement_request *request = &search->request;
    struct placement where;
    if (placement_choose(request, capacity->list, capacity->model->nodes.count, &search->counts,
                         &where, error) < 0)
        return -1;
    struct placement_node *view = &capacity->nodes[where.node];
    const struct model_node *node = capacity->model->nodes.items[where.node];
    view->memory_used += request->memory + view->overhead;
    view->vcpus_used += request->vcpus;
    text_copy(instance->node, sizeof instance->node, node->name);
    text_copy(instance->arch, sizeof instance->arch, search->platforms[where.platform].arch);
    take_address(capacity->taken[where.node], node->document->subnet, instance->address);
    view->address_ms = UINT64_MAX;
    for (size_t place = FIRST_PLACE; place <= LAST_PLACE; place++) {
        if (!capacity->taken[where.node][place])
            view->address_ms = 0;
    }
    count_one(search, view);
    return 0;
}
