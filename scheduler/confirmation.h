/* What the data planes of all live nodes have confirmed: up to which revision of the endpoints, and
 * of which draining instances every one of them says that it has no connection any more. Kept as
 * statuses come, so that asking costs nothing however many nodes there are.
 *
 * Part of the model. Loop thread only. A node is live until it is silent; of one that has said
 * nothing yet nothing is confirmed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/api/agent.h"

struct model;
struct model_node;
struct model_instance;

struct confirmation {
    size_t live;       /* nodes */
    uint64_t revision; /* the lowest that one of them has applied */
    size_t holders;    /* nodes that have applied no more than that */
    bool is_known;     /* the two above; else they are counted when they are asked for */
};

/* A node came, or is live again. */
void confirmation_add(struct model_node *node);
/* It is silent, or goes: what it said counts no more. */
void confirmation_forget(struct model_node *node);
/* What its data plane applied, 0 for what is of another term. */
void confirmation_apply(struct model_node *node, uint64_t revision);
/* Takes the list of what it still has connections to, one for each draining server. */
void confirmation_take_draining(struct model_node *node, struct api_draining *draining,
                                size_t count);
/* Every live node has applied this one. UINT64_MAX: there is none. */
uint64_t confirmation_revision(struct model *model);
/* Every live node says that it has no connection to the instance. */
bool confirmation_is_clear(const struct model *model, const struct model_instance *instance);
