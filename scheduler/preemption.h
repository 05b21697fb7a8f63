/* Whose room a pending instance takes: that of instances of services with a lower priority, the
 * lowest first and as few as let it fit.
 *
 * preemption_choose is pure. preemption_make_room is its effect: the chosen are drained, and the
 * room is kept for who asked until it is free. Loop thread only. */
#pragma once

#include "scheduler/capacity.h"
#include "scheduler/controller.h"

#define PREEMPTION_VICTIMS_MAX 16

struct preemption_candidate {
    uint32_t priority;
    uint64_t memory; /* without overhead */
    uint32_t vcpus;
    bool is_leaving; /* its room comes free anyhow */
    bool is_chosen;  /* out: it is to end */
};

/* What making room on a node costs: less is better. */
struct preemption_cost {
    uint32_t priority; /* the highest of those that end */
    uint32_t count;
};

/* False when the node could not take it even without all of them, or more than
 * PREEMPTION_VICTIMS_MAX would have to end. Sorts the candidates. */
bool preemption_choose(const struct placement_node *node, const struct placement_request *request,
                       struct preemption_candidate **candidates, size_t count,
                       struct preemption_cost *ret_cost);

/* The search has just found no place for an instance of the service. Asks those that it may take
 * the room of to end, if that lets it fit; one node at a time, and not again while room is kept for
 * the service. */
void preemption_make_room(struct controller_pass *pass, struct model_service *service,
                          struct capacity_search *search);
