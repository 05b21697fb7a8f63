#include "scheduler/placement.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"

static uint64_t memory_free(const struct placement_node *node)
{
    return node->memory > node->memory_used ? node->memory - node->memory_used : 0;
}

static uint32_t vcpus_free(const struct placement_node *node)
{
    return node->vcpus > node->vcpus_used ? node->vcpus - node->vcpus_used : 0;
}

static bool is_accelerated(const struct api_machine *machine)
{
    return strcmp(machine->accel, "tcg") != 0;
}

/* A node that names no families boots what its agent can: it says so by refusing. */
static bool machine_boots(const struct api_machine *machine, const char *family)
{
    for (size_t i = 0; i < machine->families.count; i++) {
        if (strcmp(machine->families.items[i], family) == 0)
            return true;
    }
    return machine->families.count == 0;
}

/* --- machines --- */

static bool asks_about_machine(const struct api_constraint *constraint)
{
    return constraint->subject == API_SUBJECT_ARCH || constraint->subject == API_SUBJECT_ACCEL ||
           constraint->subject == API_SUBJECT_FAMILY;
}

static const char *machine_value(const struct api_constraint *constraint,
                                 const struct api_machine *machine, const char *family)
{
    if (constraint->subject == API_SUBJECT_ARCH)
        return machine->arch;
    return constraint->subject == API_SUBJECT_ACCEL ? machine->accel : family;
}

/* All of them have to hold for one and the same machine. */
static bool machine_is_asked_for(const struct placement_request *request,
                                 const struct api_machine *machine, const char *family,
                                 size_t *ret_which)
{
    for (size_t i = 0; i < request->constraint_count; i++) {
        const struct api_constraint *constraint = &request->constraints[i];
        if (asks_about_machine(constraint) &&
            !api_constraint_holds(constraint, machine_value(constraint, machine, family))) {
            *ret_which = i;
            return false;
        }
    }
    return true;
}

/* How far a machine comes with a platform. */
static enum placement_reason check_machine(const struct placement_request *request,
                                           const struct api_machine *machine,
                                           const struct placement_platform *platform,
                                           size_t *ret_which)
{
    if (strcmp(machine->arch, platform->arch) != 0)
        return PLACEMENT_ARCHITECTURE;
    if (!machine_boots(machine, platform->family))
        return PLACEMENT_FAMILY;
    return machine_is_asked_for(request, machine, platform->family, ret_which) ? PLACEMENT_FITS
                                                                               : PLACEMENT_MACHINE;
}

/* The first platform of the request that the node boots; prefers one that is accelerated. */
static enum placement_reason check_machines(const struct placement_node *node,
                                            const struct placement_request *request,
                                            struct placement_verdict *verdict)
{
    enum placement_reason closest = PLACEMENT_ARCHITECTURE;
    bool found = false;
    for (size_t p = 0; p < request->platform_count; p++) {
        for (size_t m = 0; m < node->machine_count; m++) {
            const struct api_machine *machine = &node->machines[m];
            enum placement_reason reason =
                check_machine(request, machine, &request->platforms[p], &verdict->which);
            if (reason == PLACEMENT_FITS &&
                (!found || (!verdict->accelerated && is_accelerated(machine)))) {
                found = true;
                verdict->platform = p;
                verdict->accelerated = is_accelerated(machine);
            }
            closest = reason > closest ? reason : closest;
        }
    }
    return found ? PLACEMENT_FITS : closest;
}

/* --- constraints --- */

static bool constraint_holds(const struct api_constraint *constraint,
                             const struct placement_node *node)
{
    if (constraint->subject == API_SUBJECT_NODE)
        return api_constraint_holds(constraint, node->name);
    if (constraint->subject != API_SUBJECT_LABEL)
        return true;
    return api_constraint_holds(
        constraint, node->labels != NULL ? json_map_get(node->labels, constraint->label) : NULL);
}

static bool constraints_hold(const struct placement_node *node,
                             const struct placement_request *request, enum api_subject subject,
                             struct placement_verdict *verdict)
{
    for (size_t i = 0; i < request->constraint_count; i++) {
        const struct api_constraint *constraint = &request->constraints[i];
        if (constraint->subject == subject && !constraint_holds(constraint, node)) {
            verdict->which = i;
            return false;
        }
    }
    return true;
}

static bool has_feature(const struct placement_node *node, const char *feature)
{
    for (size_t i = 0; node->features != NULL && i < node->features->count; i++) {
        if (strcmp(node->features->items[i], feature) == 0)
            return true;
    }
    return false;
}

/* --- what the service has there --- */

static bool port_is_refused(const struct placement_node *node,
                            const struct placement_request *request, size_t *ret_port)
{
    for (size_t i = 0; i < node->frontend_count && request->port_count > 0; i++) {
        const struct api_observed_frontend *frontend = &node->frontends[i];
        for (size_t p = 0; p < request->port_count && !frontend->bound; p++) {
            if (request->ports[p] == frontend->publish) {
                *ret_port = frontend->publish;
                return true;
            }
        }
    }
    return false;
}

static enum placement_reason check_service(const struct placement_node *node,
                                           const struct placement_request *request,
                                           struct placement_verdict *verdict)
{
    if (request->volume_node != NULL && strcmp(request->volume_node, node->name) != 0)
        return PLACEMENT_VOLUME_ELSEWHERE;
    verdict->free =
        node->volumes > node->volumes_used ? node->volumes - node->volumes_used : (uint64_t)0;
    verdict->asked = request->volume_bytes;
    if (node->volumes > 0 && verdict->asked > verdict->free)
        return PLACEMENT_VOLUME_ROOM;
    if (port_is_refused(node, request, &verdict->which))
        return PLACEMENT_PORT;
    if (request->distinct_nodes && node->of_service > 0)
        return PLACEMENT_DISTINCT_NODES;
    verdict->free = node->of_service;
    verdict->asked = request->max_per_node;
    if (request->max_per_node > 0 && node->of_service >= request->max_per_node)
        return PLACEMENT_MAX_PER_NODE;
    return PLACEMENT_FITS;
}

static enum placement_reason check_room(const struct placement_node *node,
                                        const struct placement_request *request,
                                        struct placement_verdict *verdict)
{
    verdict->free = memory_free(node);
    verdict->asked = request->memory + node->overhead;
    if (verdict->free < verdict->asked)
        return PLACEMENT_MEMORY;
    verdict->free = vcpus_free(node);
    verdict->asked = request->vcpus;
    if (verdict->free < verdict->asked)
        return PLACEMENT_VCPUS;
    return node->address_ms > request->now_ms ? PLACEMENT_ADDRESSES : PLACEMENT_FITS;
}

enum placement_reason placement_check_kind(const struct placement_node *node,
                                           const struct placement_request *request,
                                           struct placement_verdict *ret_verdict)
{
    *ret_verdict = (struct placement_verdict){0};
    enum placement_reason reason = check_machines(node, request, ret_verdict);
    if (reason == PLACEMENT_FITS &&
        !constraints_hold(node, request, API_SUBJECT_LABEL, ret_verdict))
        reason = PLACEMENT_CONSTRAINT;
    if (reason == PLACEMENT_FITS && request->has_volumes && !has_feature(node, "volumes"))
        reason = PLACEMENT_NO_VOLUMES;
    if (reason == PLACEMENT_FITS && request->is_standby && !has_feature(node, API_FEATURE_STANDBY))
        reason = PLACEMENT_NO_STANDBY;
    return ret_verdict->reason = reason;
}

enum placement_reason placement_check(const struct placement_node *node,
                                      const struct placement_request *request,
                                      struct placement_verdict *ret_verdict)
{
    if (!node->ready || node->eligibility != NODE_ELIGIBLE) {
        *ret_verdict = (struct placement_verdict){.reason = node->ready ? PLACEMENT_NOT_ELIGIBLE
                                                                        : PLACEMENT_NOT_READY,
                                                  .eligibility = node->eligibility};
        return ret_verdict->reason;
    }
    enum placement_reason reason = placement_check_kind(node, request, ret_verdict);
    if (reason == PLACEMENT_FITS && !constraints_hold(node, request, API_SUBJECT_NODE, ret_verdict))
        reason = PLACEMENT_CONSTRAINT;
    if (reason == PLACEMENT_FITS)
        reason = check_service(node, request, ret_verdict);
    if (reason == PLACEMENT_FITS)
        reason = check_room(node, request, ret_verdict);
    return ret_verdict->reason = reason;
}

/* --- points --- */

int32_t placement_failure_points(uint64_t ago_ms)
{
    if (ago_ms >= PLACEMENT_FAILURE_FORGET_MS)
        return 0;
    return (int32_t)(PLACEMENT_POINTS_FAILURE * (PLACEMENT_FAILURE_FORGET_MS - ago_ms) /
                     PLACEMENT_FAILURE_FORGET_MS);
}

/* An affinity to what boots it counts what was chosen, so that no other machine is chosen for it.
 */
static bool affinity_holds(const struct placement_node *node,
                           const struct placement_request *request,
                           const struct placement_verdict *verdict,
                           const struct api_constraint *constraint)
{
    const struct placement_platform *platform = &request->platforms[verdict->platform];
    switch (constraint->subject) {
    case API_SUBJECT_ARCH:
        return api_constraint_holds(constraint, platform->arch);
    case API_SUBJECT_FAMILY:
        return api_constraint_holds(constraint, platform->family);
    case API_SUBJECT_ACCEL:
        for (size_t m = 0; m < node->machine_count; m++) {
            const struct api_machine *machine = &node->machines[m];
            if (strcmp(machine->arch, platform->arch) == 0 &&
                is_accelerated(machine) == verdict->accelerated)
                return api_constraint_holds(constraint, machine->accel);
        }
        return false;
    case API_SUBJECT_LABEL:
        return constraint_holds(constraint, node);
    case API_SUBJECT_NODE:
    case API_SUBJECT_SERVICE: /* by `liking`: they are not of what a node is */
        break;
    }
    return false;
}

int64_t placement_points_kind(const struct placement_node *node,
                              const struct placement_request *request,
                              const struct placement_verdict *verdict)
{
    int64_t points = verdict->accelerated ? 0 : PLACEMENT_POINTS_EMULATED;
    for (size_t i = 0; i < request->affinity_count; i++) {
        const struct placement_affinity *affinity = &request->affinities[i];
        if (affinity_holds(node, request, verdict, &affinity->constraint))
            points -= (int64_t)affinity->weight * PLACEMENT_POINTS_WEIGHT;
    }
    return points;
}

int64_t placement_fullness(const struct placement_node *node)
{
    uint64_t memory = node->memory_used >> 10, all = (node->memory >> 10) + 1;
    uint64_t share = memory * PLACEMENT_POINTS_FULL / all;
    uint64_t vcpus = (uint64_t)node->vcpus_used * PLACEMENT_POINTS_FULL / (node->vcpus + 1u);
    share = vcpus > share ? vcpus : share;
    return share < PLACEMENT_POINTS_FULL ? (int64_t)share : PLACEMENT_POINTS_FULL;
}

int32_t placement_points_service(const struct placement_node *node,
                                 const struct placement_request *request)
{
    int32_t each = request->spread == PLACEMENT_SPREAD_NODE    ? PLACEMENT_POINTS_INSTANCE
                   : request->spread == PLACEMENT_SPREAD_LABEL ? PLACEMENT_POINTS_NEIGHBOUR
                                                               : 0;
    return (int32_t)node->of_service * each - node->liking;
}

/* Without spreading, one node is filled before the next, so that large guests find room. */
int64_t placement_points_load(const struct placement_node *node,
                              const struct placement_request *request)
{
    int64_t full = placement_fullness(node);
    return (request->spread == PLACEMENT_SPREAD_NONE ? PLACEMENT_POINTS_FULL - full : full) +
           placement_points_service(node, request);
}

/* --- counts --- */

static bool same_value(const char *left, const char *right)
{
    return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

uint32_t placement_counts_get(const struct placement_counts *counts, const char *value)
{
    for (size_t i = 0; i < counts->count; i++) {
        if (same_value(counts->items[i].value, value))
            return counts->items[i].count;
    }
    return 0;
}

void placement_counts_add(struct placement_counts *counts, const char *value)
{
    for (size_t i = 0; i < counts->count; i++) {
        if (same_value(counts->items[i].value, value)) {
            counts->items[i].count++;
            return;
        }
    }
    counts->items = xreallocarray(counts->items, counts->count + 1, sizeof *counts->items);
    counts->items[counts->count++] = (struct placement_count){value, 1};
}

void placement_counts_finish(struct placement_counts *counts)
{
    free(counts->items);
    *counts = (struct placement_counts){0};
}

/* --- choosing --- */

static int64_t points_of_label(const struct placement_node *node,
                               const struct placement_request *request,
                               const struct placement_counts *counts)
{
    if (request->spread != PLACEMENT_SPREAD_LABEL || counts == NULL)
        return 0;
    const char *value =
        node->labels != NULL ? json_map_get(node->labels, request->spread_label) : NULL;
    return (int64_t)placement_counts_get(counts, value) * PLACEMENT_POINTS_INSTANCE;
}

int placement_choose(const struct placement_request *request,
                     const struct placement_node *const *nodes, size_t node_count,
                     const struct placement_counts *counts, struct placement *ret_placement,
                     struct error *error)
{
    struct placement_explanation explanation = {0};
    struct placement best = {SIZE_MAX, 0};
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < node_count; i++) {
        struct placement_verdict verdict;
        if (placement_check(nodes[i], request, &verdict) != PLACEMENT_FITS)
            continue;
        int64_t points = placement_points_kind(nodes[i], request, &verdict) +
                         placement_points_load(nodes[i], request) +
                         points_of_label(nodes[i], request, counts);
        if (points < least) {
            least = points;
            best = (struct placement){i, verdict.platform};
        }
    }
    if (best.node != SIZE_MAX) {
        *ret_placement = best;
        return 0;
    }
    for (size_t i = 0; i < node_count; i++)
        placement_explain_node(nodes[i], request, &explanation);
    return placement_explain(request, &explanation, error);
}
