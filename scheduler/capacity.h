/* What each node has promised and has left, counted from the model, with what a decision in the
 * making adds; and the addresses of its subnet. Lives for one decision. Loop thread only. */
#pragma once

#include "scheduler/model.h"
#include "scheduler/placement.h"

/* An address that was given back is not handed out again for so long. */
#define ADDRESS_HOLD_MS 60000

struct capacity {
    struct model *model;
    struct placement_node *nodes; /* as model->nodes, same order */
    bool (*taken)[SUBNET_ADDRESSES];
};

void capacity_init(struct capacity *capacity, struct model *model, uint64_t now_ms);
void capacity_finish(struct capacity *capacity);
/* Finds a place for an instance of the revision and takes room and an address there. -1 with
 * ERROR_NO_CAPACITY and an explanation. */
int capacity_place(struct capacity *capacity, const struct model_service *service,
                   const struct document_revision *revision,
                   const struct document_instance *const *planned, size_t planned_count,
                   struct document_instance *instance, struct error *error);
/* For views: what is promised on a node, overhead included. */
void capacity_used(const struct model_node *node, uint64_t *ret_memory, uint32_t *ret_vcpus,
                   uint32_t *ret_instances);
