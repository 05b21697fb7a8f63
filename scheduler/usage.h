/* What each node has promised to instances: memory, virtual processors, the addresses of its
 * subnet. Kept as instances come and go, so that nobody has to count them. And which nodes changed
 * in what matters for placement, so that the index of places follows (placement_index.h).
 *
 * Part of the model. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define SUBNET_ADDRESSES 256 /* of a node's /24 */

struct document_volume;
struct model;
struct model_node;
struct model_service;
struct model_instance;

struct usage {
    uint64_t memory; /* of guests, without overhead */
    uint32_t vcpus;
    uint32_t instances;
    uint64_t volumes;                          /* bytes */
    uint64_t addresses[SUBNET_ADDRESSES / 64]; /* a bit for each that is in use */
};

/* What one instance takes of its node. */
struct usage_share {
    uint64_t memory;
    uint32_t vcpus;
    bool is_taken;
};

/* Room on a node that is kept for a service until it comes free. */
struct usage_kept {
    struct model_node *node; /* NULL: none */
    uint64_t memory;
    uint32_t vcpus;
    uint64_t until_ms;
    LIST_ENTRY(usage_kept) link; /* of the node's */
};

/* Takes or gives back what the instance's document says now. */
void usage_follow(struct model_instance *instance);
/* The instance's record goes. */
void usage_release(struct model_instance *instance);
/* What the volumes of a slot take of the node that they are on, from now on or no longer. */
void usage_take_volumes(struct model *model, const struct document_volume *volume);
void usage_give_back_volumes(struct model *model, const struct document_volume *volume);
/* A node that is new to the model may have some already. */
void usage_count_volumes(struct model_node *node);
/* Something about the node changed; `kind` when it is what the node is: machines, labels,
 * features. */
void usage_touch(struct model_node *node, bool kind);
/* Nobody else is placed in it until then. One node at a time for each service. */
void usage_keep_room(struct model_service *service, struct model_node *node, uint64_t memory,
                     uint32_t vcpus, uint64_t until_ms);
/* Gives it up; does nothing when there is none. */
void usage_release_room(struct model_service *service);
/* Before the node is freed. */
void usage_forget_node(struct model_node *node);

bool usage_has_address(const struct usage *usage, size_t place);
void usage_set_address(struct usage *usage, size_t place, bool taken);
