/* Why no node can take an instance, in words. */
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "scheduler/capacity.h"
#include "scheduler/placement.h"

static const char *const reason_names[PLACEMENT_REASONS] = {
    [PLACEMENT_FITS] = "fits",
    [PLACEMENT_NOT_READY] = "not_ready",
    [PLACEMENT_NOT_ELIGIBLE] = "not_eligible",
    [PLACEMENT_ARCHITECTURE] = "architecture",
    [PLACEMENT_FAMILY] = "family",
    [PLACEMENT_MACHINE] = "machine",
    [PLACEMENT_CONSTRAINT] = "constraint",
    [PLACEMENT_NO_VOLUMES] = "no_volumes",
    [PLACEMENT_NO_STANDBY] = "no_standby",
    [PLACEMENT_VOLUME_ELSEWHERE] = "volume_elsewhere",
    [PLACEMENT_VOLUME_ROOM] = "volume_room",
    [PLACEMENT_PORT] = "port",
    [PLACEMENT_DISTINCT_NODES] = "distinct_nodes",
    [PLACEMENT_MAX_PER_NODE] = "max_per_node",
    [PLACEMENT_MEMORY] = "memory",
    [PLACEMENT_VCPUS] = "vcpus",
    [PLACEMENT_ADDRESSES] = "addresses",
};

const char *placement_reason_name(enum placement_reason reason)
{
    return reason_names[reason];
}

static bool same_group(const struct placement_verdict *left, const struct placement_verdict *right)
{
    if (left->reason != right->reason)
        return false;
    switch (left->reason) {
    case PLACEMENT_MACHINE:
    case PLACEMENT_CONSTRAINT:
    case PLACEMENT_PORT:
        return left->which == right->which;
    case PLACEMENT_NOT_ELIGIBLE:
        return left->eligibility == right->eligibility;
    default:
        return true;
    }
}

static struct placement_group *find_group(struct placement_explanation *explanation,
                                          const struct placement_verdict *verdict)
{
    for (size_t i = 0; i < explanation->group_count; i++) {
        if (same_group(&explanation->groups[i].verdict, verdict))
            return &explanation->groups[i];
    }
    /* What has no group of its own any more is told of with one of its reason, else the last. */
    if (explanation->group_count == PLACEMENT_GROUPS_MAX)
        return &explanation->groups[PLACEMENT_GROUPS_MAX - 1];
    struct placement_group *group = &explanation->groups[explanation->group_count++];
    group->verdict = *verdict;
    return group;
}

void placement_explain_node(const struct placement_node *node,
                            const struct placement_request *request,
                            struct placement_explanation *explanation)
{
    struct placement_verdict verdict;
    if (explanation->node_count++ == 0)
        explanation->overhead = node->overhead;
    if (placement_check(node, request, &verdict) == PLACEMENT_FITS)
        return;
    struct placement_group *group = find_group(explanation, &verdict);
    if (group->node_count < PLACEMENT_NAMES_MAX)
        group->names[group->node_count] = node->name;
    group->node_count++;
    if (verdict.free > group->verdict.free && verdict.reason == group->verdict.reason)
        group->verdict = verdict;
}

/* --- text --- */

static void append_platforms(const struct placement_request *request, struct buffer *text)
{
    for (size_t i = 0; i < request->platform_count; i++)
        buffer_printf(text, "%s%s (%s)", i == 0 ? "" : " or ", request->platforms[i].arch,
                      request->platforms[i].family);
}

static void append_size(const struct placement_group *group, const char *what, struct buffer *text)
{
    char free_memory[TEXT_SIZE_MAX], asked[TEXT_SIZE_MAX];
    /* Whole mebibytes, as people count memory. */
    text_format_size(group->verdict.free >> 20 << 20, free_memory, sizeof free_memory);
    text_format_size(group->verdict.asked, asked, sizeof asked);
    buffer_printf(text, "%s: %s%s free of %s asked", what, group->node_count > 1 ? "at most " : "",
                  free_memory, asked);
}

static void append_constraint(const struct placement_request *request, size_t which,
                              struct buffer *text)
{
    AUTO_FREE char *constraint = api_constraint_text(&request->constraints[which]);
    buffer_printf(text, "constraint %s does not hold", constraint);
}

/* The size is the same for all nodes: only another node brings more of them. */
static void append_addresses(struct buffer *text)
{
    char hold[TEXT_DURATION_MAX];
    text_format_duration(ADDRESS_HOLD_MS, hold, sizeof hold);
    buffer_printf(text,
                  "no free address: a node's subnet has %d for instances, kept for %s after their "
                  "end, and none to give while an orphan runs there",
                  NODE_ADDRESSES, hold);
}

void placement_group_text(const struct placement_group *group,
                          const struct placement_request *request, struct buffer *text)
{
    const struct placement_verdict *verdict = &group->verdict;
    switch (verdict->reason) {
    case PLACEMENT_NOT_READY:
        buffer_append_text(text, "silent: no report of it");
        break;
    case PLACEMENT_NOT_ELIGIBLE:
        buffer_append_text(text, node_eligibility_names[verdict->eligibility]);
        break;
    case PLACEMENT_ARCHITECTURE:
        buffer_append_text(text, "no machine for this image, which is for ");
        append_platforms(request, text);
        break;
    case PLACEMENT_FAMILY:
        buffer_append_text(text, "no machine for this image: none boots ");
        append_platforms(request, text);
        break;
    case PLACEMENT_MACHINE:
    case PLACEMENT_CONSTRAINT:
        append_constraint(request, verdict->which, text);
        break;
    case PLACEMENT_NO_VOLUMES:
        buffer_append_text(text, "its agent attaches no volumes");
        break;
    case PLACEMENT_NO_STANDBY:
        buffer_append_text(text, "its agent keeps no standbys");
        break;
    case PLACEMENT_VOLUME_ELSEWHERE:
        buffer_printf(text, "the slot's volumes are on node %s", request->volume_node);
        break;
    case PLACEMENT_VOLUME_ROOM:
        append_size(group, "disk for volumes", text);
        break;
    case PLACEMENT_PORT:
        buffer_printf(text, "port %zu cannot be published there", verdict->which);
        break;
    case PLACEMENT_DISTINCT_NODES:
        buffer_append_text(text, "distinct_nodes: an instance of the service is there");
        break;
    case PLACEMENT_MAX_PER_NODE:
        buffer_printf(text, "max_per_node: %u instances of the service are there",
                      request->max_per_node);
        break;
    case PLACEMENT_MEMORY:
        append_size(group, "memory", text);
        break;
    case PLACEMENT_VCPUS:
        buffer_printf(text, "vcpus: %s%llu free of %llu asked",
                      group->node_count > 1 ? "at most " : "", (unsigned long long)verdict->free,
                      (unsigned long long)verdict->asked);
        break;
    case PLACEMENT_ADDRESSES:
        append_addresses(text);
        break;
    case PLACEMENT_FITS:
    case PLACEMENT_REASONS:
        break;
    }
}

static void append_group(const struct placement_group *group,
                         const struct placement_request *request, struct buffer *text)
{
    buffer_printf(text, "; %zu node%s: ", group->node_count, group->node_count == 1 ? "" : "s");
    placement_group_text(group, request, text);
    buffer_append_text(text, " (");
    for (size_t i = 0; i < group->node_count && i < PLACEMENT_NAMES_MAX; i++)
        buffer_printf(text, "%s%s", i > 0 ? ", " : "", group->names[i]);
    if (group->node_count > PLACEMENT_NAMES_MAX)
        buffer_printf(text, " and %zu more", group->node_count - PLACEMENT_NAMES_MAX);
    buffer_append_text(text, ")");
}

int placement_explain(const struct placement_request *request,
                      const struct placement_explanation *explanation, struct error *error)
{
    AUTO_BUFFER struct buffer text = {0};
    char memory[TEXT_SIZE_MAX], overhead[TEXT_SIZE_MAX];
    text_format_size(request->memory, memory, sizeof memory);
    text_format_size(explanation->overhead, overhead, sizeof overhead);
    buffer_printf(&text, "no node can take an instance: asked are %s memory", memory);
    if (explanation->node_count > 0)
        buffer_printf(&text, " (and %s overhead)", overhead);
    buffer_printf(&text, ", %u vcpu%s, ", request->vcpus, request->vcpus == 1 ? "" : "s");
    append_platforms(request, &text);
    if (explanation->node_count == 0)
        buffer_append_text(&text, "; no node has joined: start shoal-agent on one");
    for (size_t i = 0; i < explanation->group_count; i++)
        append_group(&explanation->groups[i], request, &text);
    return error_set(error, ERROR_NO_CAPACITY, "%s", buffer_text(&text));
}
