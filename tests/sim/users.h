/* What people do to a simulated cluster, and what they were told of it: an answer is a promise. */
#pragma once

#include "scheduler/core.h"
#include "tests/sim/world.h"

#define USERS_SERVICES 5
/* So many of them, the last, are jobs: they are not scaled but run, not restarted but stopped. */
#define USERS_JOBS 1

enum user_action {
    USER_DEPLOY,
    USER_SCALE,
    USER_ROLLBACK,
    USER_RESTART,
    USER_REMOVE,
    USER_PAUSE,
    USER_RESUME,
    USER_PROMOTE,
    USER_ABORT,
    USER_REVOKE, /* a key is removed, by which the current revision was trusted */
    USER_ACTIONS,
};

struct users;

struct users *users_create(void);
void users_destroy(struct users *users);
/* `what` chooses what an action leaves open: which image, how many replicas. Nothing while the
 * scheduler does not answer. */
void users_act(struct world *world, enum user_action action, unsigned service, uint64_t what);
enum user_node_action {
    USER_CORDON,
    USER_UNCORDON,
    USER_DRAIN,
    USER_GIVE_UP,
    USER_REMOVE_NODE,
    USER_NODE_ACTIONS
};
void users_act_on_node(struct world *world, enum user_node_action action, const char *node,
                       uint64_t what);
/* Rollouts that wait for somebody are resumed and promoted, and nodes are uncordoned. */
void users_help(struct world *world);
/* Whether what was acknowledged is there, after a start. */
void users_check(struct world *world, const struct core *core);
/* The disk is an old one: nothing that was acknowledged is promised any more. */
void users_restored(struct world *world);
