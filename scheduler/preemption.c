#include "scheduler/preemption.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/publication.h"

#define CAUSE_PREEMPTED "preempted"
/* Nodes on which room could be made that are compared: the rest is not looked at. */
#define NODES_COMPARED_MAX 64
/* Room is kept so long beyond what its instances are given to drain and stop. */
#define KEPT_MS 30000

/* --- the choice, pure --- */

/* The lowest priority first; of equals the largest, so that few are enough. */
static int compare(const void *left, const void *right)
{
    const struct preemption_candidate *a = *(const struct preemption_candidate *const *)left;
    const struct preemption_candidate *b = *(const struct preemption_candidate *const *)right;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return a->memory > b->memory ? -1 : a->memory < b->memory;
}

static void move(struct placement_node *node, const struct preemption_candidate *candidate,
                 bool goes)
{
    uint64_t memory = candidate->memory + node->overhead;
    node->memory_used += goes ? -memory : memory;
    node->vcpus_used += goes ? -candidate->vcpus : candidate->vcpus;
}

static bool fits(const struct placement_node *node, const struct placement_request *request)
{
    struct placement_verdict verdict;
    return placement_check(node, request, &verdict) == PLACEMENT_FITS;
}

/* Those that were chosen and turn out not to be needed stay, the highest first. */
static void spare(struct placement_node *node, const struct placement_request *request,
                  struct preemption_candidate **candidates, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        if (!candidates[i]->is_chosen)
            continue;
        move(node, candidates[i], false);
        candidates[i]->is_chosen = !fits(node, request);
        if (candidates[i]->is_chosen)
            move(node, candidates[i], true);
    }
}

bool preemption_choose(const struct placement_node *node, const struct placement_request *request,
                       struct preemption_candidate **candidates, size_t count,
                       struct preemption_cost *ret_cost)
{
    struct placement_node left = *node;
    struct preemption_cost cost = {0};
    qsort(candidates, count, sizeof(struct preemption_candidate *), compare);
    for (size_t i = 0; i < count; i++) {
        candidates[i]->is_chosen = false;
        if (candidates[i]->is_leaving)
            move(&left, candidates[i], true);
    }
    for (size_t i = 0; i < count && !fits(&left, request); i++) {
        if (candidates[i]->is_leaving)
            continue;
        candidates[i]->is_chosen = true;
        move(&left, candidates[i], true);
    }
    if (!fits(&left, request))
        return false;
    spare(&left, request, candidates, count);
    for (size_t i = 0; i < count; i++) {
        if (!candidates[i]->is_chosen)
            continue;
        cost.count++;
        if (candidates[i]->priority > cost.priority)
            cost.priority = candidates[i]->priority;
    }
    *ret_cost = cost;
    return cost.count <= PREEMPTION_VICTIMS_MAX;
}

/* --- a node of the model --- */

/* The best node so far, and who ends there. */
struct preemption_best {
    struct model_node *node;
    struct preemption_cost cost;
    const struct model_instance *victims[PREEMPTION_VICTIMS_MAX];
};

static uint32_t priority_of(const struct model_service *service)
{
    return service->document->spec.priority;
}

static bool fill_candidate(const struct model_service *service,
                           const struct model_instance *instance,
                           struct preemption_candidate *candidate)
{
    if (!instance->share.is_taken || instance->service == service)
        return false;
    bool known = instance->service != NULL && instance->service->document != NULL;
    *candidate = (struct preemption_candidate){.memory = instance->share.memory,
                                               .vcpus = instance->share.vcpus,
                                               .is_leaving = instance->document->wish != WISH_RUN};
    if (candidate->is_leaving)
        return true;
    if (!known || priority_of(instance->service) >= priority_of(service))
        return false;
    candidate->priority = priority_of(instance->service);
    return true;
}

static bool is_better(const struct preemption_cost *cost, const struct preemption_best *best)
{
    if (best->node == NULL || cost->priority != best->cost.priority)
        return best->node == NULL || cost->priority < best->cost.priority;
    return cost->count < best->cost.count;
}

/* True when room can be made there. */
static bool look_at_node(const struct model_service *service,
                         const struct placement_request *request, struct model_node *node,
                         struct preemption_best *best)
{
    size_t count = 0;
    struct preemption_cost cost;
    AUTO_FREE struct preemption_candidate *candidates =
        xcalloc(node->instances.count + 1, sizeof *candidates);
    AUTO_FREE struct preemption_candidate **list =
        xcalloc(node->instances.count + 1, sizeof(struct preemption_candidate *));
    for (size_t i = 0; i < node->instances.count; i++) {
        if (fill_candidate(service, node->instances.items[i], &candidates[i]))
            list[count++] = &candidates[i];
    }
    if (!preemption_choose(&node->place.node, request, list, count, &cost))
        return false;
    if (!is_better(&cost, best))
        return true;
    *best = (struct preemption_best){.node = node, .cost = cost};
    size_t victims = 0;
    for (size_t i = 0; i < node->instances.count && victims < cost.count; i++) {
        if (candidates[i].is_chosen)
            best->victims[victims++] = node->instances.items[i];
    }
    return true;
}

/* Only nodes where nothing but room is missing. */
static struct preemption_best find_node(const struct controller_pass *pass,
                                        const struct model_service *service,
                                        const struct placement_request *request)
{
    const struct sorted *nodes = &pass->core->model.nodes;
    struct preemption_best best = {0};
    size_t compared = 0;
    for (size_t i = 0; i < nodes->count && compared < NODES_COMPARED_MAX; i++) {
        struct model_node *node = nodes->items[i];
        struct placement_verdict verdict;
        enum placement_reason reason = placement_check(&node->place.node, request, &verdict);
        if (reason == PLACEMENT_MEMORY || reason == PLACEMENT_VCPUS)
            compared += look_at_node(service, request, node, &best);
    }
    return best;
}

static bool is_above_any(const struct controller_pass *pass, const struct model_service *service)
{
    const struct sorted *services = &pass->core->model.services;
    for (size_t i = 0; i < services->count; i++) {
        const struct model_service *other = services->items[i];
        if (other->document != NULL && priority_of(other) < priority_of(service))
            return true;
    }
    return false;
}

/* --- the effect --- */

/* How long a victim may take; it is told to end. */
static uint64_t end_victim(struct controller_pass *pass, const struct model_service *service,
                           const struct model_instance *victim, struct buffer *names)
{
    const struct document_instance *known = victim->document;
    const struct document_revision *revision = model_revision(victim->service, known->revision);
    struct document_instance *copy = change_edit(pass->change, DOCUMENT_INSTANCE, known);
    buffer_printf(names, "%s%s of %s (priority %u)", names->length > 0 ? ", " : "", victim->name,
                  victim->service->name, priority_of(victim->service));
    if (copy->wish == WISH_RUN) {
        pass->ends = true;
        /* One that this very pass resumed is still paused, and its slot gets another. */
        copy->standby = known->standby;
        bool drained = copy->standby || publication_is_excluded(pass->core->publication, victim);
        copy->wish = drained ? WISH_STOP : WISH_DRAIN;
        free(copy->why);
        copy->why =
            xasprintf("it makes room for %s, whose priority is %u: that of %s is %u", service->name,
                      priority_of(service), victim->service->name, priority_of(victim->service));
        free(copy->cause);
        copy->cause = xstrdup(CAUSE_PREEMPTED);
        changes_event(pass->core->changes, pass->change, "instance", known->namespace_name,
                      known->service, victim->name, "preempted", CAUSE_PREEMPTED, "%s", copy->why);
    }
    return revision != NULL ? revision->template.stop.drain_ms + revision->template.stop.grace_ms
                            : 0;
}

static void make_room(struct controller_pass *pass, struct model_service *service,
                      const struct placement_request *request, const struct preemption_best *best)
{
    AUTO_BUFFER struct buffer names = {0};
    uint64_t longest_ms = 0;
    for (size_t i = 0; i < best->cost.count; i++) {
        uint64_t ms = end_victim(pass, service, best->victims[i], &names);
        longest_ms = ms > longest_ms ? ms : longest_ms;
    }
    usage_keep_room(service, best->node, request->memory, request->vcpus,
                    pass->now_ms + longest_ms + KEPT_MS);
    if (best->cost.count > 0)
        changes_event(pass->core->changes, pass->change, "service",
                      service->document->namespace_name, service->document->service, NULL,
                      "preempts", CAUSE_PREEMPTED,
                      "takes room on node %s for an instance of priority %u: %.400s ends",
                      best->node->name, priority_of(service), buffer_text(&names));
}

void preemption_make_room(struct controller_pass *pass, struct model_service *service,
                          struct capacity_search *search)
{
    const struct placement_request *request = capacity_search_request(search);
    if (capacity_search_keeps_room(search) || service->document->deleting ||
        !is_above_any(pass, service) ||
        !change_has_room(pass->change, 2 * PREEMPTION_VICTIMS_MAX + 2))
        return;
    struct preemption_best best = find_node(pass, service, request);
    if (best.node != NULL)
        make_room(pass, service, request, &best);
}
