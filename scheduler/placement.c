#include "scheduler/placement.h"

#include <string.h>

#include "lib/buffer.h"
#include "lib/text.h"

#define EXPLAINED_NODES_MAX 10

static uint64_t memory_free(const struct placement_node *node)
{
    return node->memory > node->memory_used ? node->memory - node->memory_used : 0;
}

static uint32_t vcpus_free(const struct placement_node *node)
{
    return node->vcpus > node->vcpus_used ? node->vcpus - node->vcpus_used : 0;
}

/* A node that names no families boots what its agent can: it says so by refusing. */
static bool machine_boots(const struct api_machine *machine,
                          const struct placement_platform *platform)
{
    if (strcmp(machine->arch, platform->arch) != 0)
        return false;
    for (size_t i = 0; i < machine->families.count; i++) {
        if (strcmp(machine->families.items[i], platform->family) == 0)
            return true;
    }
    return machine->families.count == 0;
}

/* The first platform of the request that the node boots; prefers one that is accelerated. */
static bool node_platform(const struct placement_node *node,
                          const struct placement_request *request, size_t *ret_platform)
{
    for (int accelerated = 1; accelerated >= 0; accelerated--) {
        for (size_t p = 0; p < request->platform_count; p++) {
            for (size_t m = 0; m < node->machine_count; m++) {
                bool fast = strcmp(node->machines[m].accel, "tcg") != 0;
                if (fast == (accelerated == 1) &&
                    machine_boots(&node->machines[m], &request->platforms[p])) {
                    *ret_platform = p;
                    return true;
                }
            }
        }
    }
    return false;
}

static bool node_fits(const struct placement_node *node, const struct placement_request *request,
                      size_t *ret_platform)
{
    return !node->silent && node->eligibility == NODE_ELIGIBLE &&
           node_platform(node, request, ret_platform) &&
           memory_free(node) >= request->memory + node->overhead &&
           vcpus_free(node) >= request->vcpus && node->addresses_free > 0;
}

static int compare_u64(uint64_t left, uint64_t right)
{
    return left < right ? -1 : left > right;
}

/* Share of memory in use, in 1/1024. */
static uint64_t fullness(const struct placement_node *node)
{
    return node->memory > 0 ? (node->memory_used >> 10) * 1024 / ((node->memory >> 10) + 1) : 1024;
}

/* Below 0: `left` is the better place. */
static int compare_nodes(const struct placement_node *left, const struct placement_node *right,
                         enum api_spread spread)
{
    int order = 0;
    if (spread == API_SPREAD_NODE) {
        order = compare_u64(left->of_service, right->of_service);
        if (order == 0)
            order = compare_u64(fullness(left), fullness(right));
    } else {
        /* Without spreading, fill one node before the next, so that large guests find room. */
        order = compare_u64(fullness(right), fullness(left));
    }
    return order != 0 ? order : strcmp(left->name, right->name);
}

static void explain_node(struct buffer *text, const struct placement_node *node,
                         const struct placement_request *request)
{
    char free_memory[TEXT_SIZE_MAX];
    size_t platform;
    buffer_printf(text, "; node %s: ", node->name);
    if (node->silent) {
        buffer_append_text(text, "silent");
        return;
    }
    if (node->eligibility != NODE_ELIGIBLE) {
        buffer_append_text(text, node_eligibility_names[node->eligibility]);
        return;
    }
    /* Whole mebibytes, as people count memory. */
    text_format_size(memory_free(node) >> 20 << 20, free_memory, sizeof free_memory);
    buffer_printf(text, "%s and %u vcpus free", free_memory, vcpus_free(node));
    if (!node_platform(node, request, &platform))
        buffer_append_text(text, ", no machine for this image");
    if (node->addresses_free == 0)
        buffer_append_text(text, ", no free address");
}

static void explain(const struct placement_request *request, const struct placement_node *nodes,
                    size_t node_count, struct error *error)
{
    AUTO_BUFFER struct buffer text = {0};
    char memory[TEXT_SIZE_MAX], overhead[TEXT_SIZE_MAX];
    text_format_size(request->memory, memory, sizeof memory);
    buffer_printf(&text, "no node has room for an instance: asked are %s memory", memory);
    if (node_count > 0) {
        text_format_size(nodes[0].overhead, overhead, sizeof overhead);
        buffer_printf(&text, " (and %s overhead)", overhead);
    }
    buffer_printf(&text, ", %u vcpu%s", request->vcpus, request->vcpus == 1 ? "" : "s");
    for (size_t i = 0; i < request->platform_count; i++)
        buffer_printf(&text, "%s %s (%s)", i == 0 ? "," : " or", request->platforms[i].arch,
                      request->platforms[i].family);
    if (node_count == 0)
        buffer_append_text(&text, "; no node has joined: start shoal-agent on one");
    for (size_t i = 0; i < node_count && i < EXPLAINED_NODES_MAX; i++)
        explain_node(&text, &nodes[i], request);
    if (node_count > EXPLAINED_NODES_MAX)
        buffer_printf(&text, "; and %zu nodes more", node_count - EXPLAINED_NODES_MAX);
    error_set(error, ERROR_NO_CAPACITY, "%s", buffer_text(&text));
}

int placement_choose(const struct placement_request *request, const struct placement_node *nodes,
                     size_t node_count, struct placement *ret_placement, struct error *error)
{
    const struct placement_node *best = NULL;
    size_t best_platform = 0;
    for (size_t i = 0; i < node_count; i++) {
        size_t platform;
        if (node_fits(&nodes[i], request, &platform) &&
            (best == NULL || compare_nodes(&nodes[i], best, request->spread) < 0)) {
            best = &nodes[i];
            best_platform = platform;
        }
    }
    if (best == NULL) {
        explain(request, nodes, node_count, error);
        return -1;
    }
    *ret_placement = (struct placement){(size_t)(best - nodes), best_platform};
    return 0;
}
