/* The scheduler's process in a simulated world: its real core over a store in memory. It is killed
 * between any two events, and started again from what the disk has. */
#pragma once

#include "scheduler/agents.h"
#include "scheduler/controller.h"
#include "scheduler/publication.h"
#include "tests/sim/world.h"

struct process;

#define PROCESS_LEASE_MS         5000
#define PROCESS_REPLACE_AFTER_MS 10000

/* Reads the disk and goes on; nothing when it is up. */
void process_start(struct world *world);
/* It is started again after `down_ms`. */
void process_kill(struct world *world, uint64_t down_ms);
/* For good, with the world. */
void process_end_world(struct world *world);
/* Is killed by the `commits`th transaction from now on that is settled, before it is answered. */
void process_kill_at_commit(struct world *world, unsigned commits);
/* It has read the disk, and answers. */
bool process_serves(const struct world *world);
/* NULL while it does not serve. */
struct core *process_core(const struct world *world);

/* A poll that may wait; when the process is killed it is answered with `broken` true. */
typedef void process_poll_answer(bool broken, enum publication_news news, const char *text,
                                 void *data);
void process_poll(struct world *world, struct model_node *node, const struct publication_poll *poll,
                  process_poll_answer *answer, void *data);
/* What waits on behalf of a process that is being killed is told of no result. */
bool process_is_dying(const struct world *world);
