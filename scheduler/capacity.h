/* Places for instances, from the model: what each node has promised and has left, with what a
 * decision in the making adds, and the addresses of its subnet. Lives for one decision; only one
 * at a time. Loop thread only. */
#pragma once

#include "lib/api/plan.h"
#include "scheduler/model.h"
#include "scheduler/placement.h"

/* An address that was given back is not handed out again for so long. */
#define ADDRESS_HOLD_MS 60000
/* What a node's subnet has for instances. */
#define NODE_ADDRESSES 253

struct capacity {
    struct model *model;
    struct model_node **planned; /* nodes where this decision took something */
    size_t planned_count, planned_capacity;
    uint64_t now_ms;
};

/* Brings the model's index of places up to date. */
void capacity_init(struct capacity *capacity, struct model *model, uint64_t now_ms);
/* Forgets what was planned: by then it is in the model, or will never be. */
void capacity_finish(struct capacity *capacity);

/* The placing of instances of one revision, one after the other. */
struct capacity_search;
/* `restart` is the number of a rollout that replaces instances of this same revision, those that it
 * did not make; 0: none. The model must not change before the end. */
struct capacity_search *capacity_search_begin(struct capacity *capacity,
                                              struct model_service *service,
                                              const struct document_revision *revision,
                                              uint32_t restart);
/* The same for standbys. */
struct capacity_search *capacity_search_begin_standby(struct capacity *capacity,
                                                      struct model_service *service,
                                                      const struct document_revision *revision);
/* Finds a place for one more instance, in the slot that it names, takes room and an address there,
 * and fills node, arch and address. -1 with ERROR_NO_CAPACITY and an explanation. */
int capacity_search_place(struct capacity_search *search, struct document_instance *instance,
                          struct error *error);
/* Counts one that was placed by an earlier search of the same decision. */
void capacity_search_count(struct capacity_search *search,
                           const struct document_instance *instance);
/* The instance that would win most by a move, at least three quarters of what one instance more on
 * a node costs; NULL: all are well where they are. */
struct model_instance *capacity_search_misplaced(struct capacity_search *search,
                                                 struct model_instance *const *instances,
                                                 size_t count);
/* What is asked; lives as long as the search. */
const struct placement_request *capacity_search_request(const struct capacity_search *search);
/* Whether others are making room for it already. */
bool capacity_search_keeps_room(const struct capacity_search *search);
/* Why the last one found no place; the caller releases them by api_obstacles_record. */
void capacity_search_obstacles(const struct capacity_search *search,
                               struct api_obstacles *ret_obstacles);
/* Remembers that in the service, with the error's text. */
void capacity_search_note(const struct capacity_search *search, struct model_service *service,
                          const struct error *error);
/* Takes NULL too. */
void capacity_search_end(struct capacity_search *search);

/* Every instance of the service found a place. */
void capacity_clear_note(struct model_service *service);
/* As if the instance had ended, until the end of this decision. */
void capacity_give_back(struct capacity *capacity, const struct model_instance *instance);
/* After how long who found no room looks again: every node is asked, in a large fleet less often.
 */
uint64_t capacity_retry_ms(const struct model *model);
/* Bytes of its disk that are promised: volumes by their records and its snapshots, or all that is
 * there by its own word, where that is more: volumes that no record names. */
uint64_t capacity_volumes_used(const struct model_node *node);
/* For views: what is promised on a node, overhead included. */
void capacity_used(const struct model_node *node, uint64_t *ret_memory, uint32_t *ret_vcpus,
                   uint32_t *ret_instances);

/* --- for capacity_search.c --- */

/* The node as placement sees it now. */
void capacity_refresh_place(struct model_node *node, uint64_t now_ms);
/* One more instance goes there: an address, and what it asks for. */
void capacity_take_room(struct capacity *capacity, struct model_node *node,
                        const struct placement_request *request, char ret_address[ADDRESS_MAX]);
