/* The schedulers' processes in a simulated world: the real core over a store in memory, one of them
 * leads. Each is killed between any two events, and started again from what the disk has. */
#pragma once

#include "scheduler/agents.h"
#include "scheduler/controller.h"
#include "scheduler/publication.h"
#include "tests/sim/world.h"

struct process;

#define PROCESS_LEASE_MS         5000
#define PROCESS_REPLACE_AFTER_MS 10000

/* As many of world->processes as the world has; those that are up stay as they are. */
void process_start_all(struct world *world);
/* It is started again after `down_ms`; nothing when it is down. */
void process_kill(struct world *world, size_t which, uint64_t down_ms);
/* For good, with the world. */
void process_end_all(struct world *world);
/* Is killed by the `commits`th transaction from now on that is settled, before it is answered; 0:
 * not so. */
void process_kill_at_commit(struct world *world, size_t which, unsigned commits);
/* One that leads, or thinks so: requests reach it directly or over the others. NULL: none. */
struct process *process_leader(struct world *world);
/* The one that leads and may write; NULL: none. */
const struct core *process_truth(const struct world *world);
struct core *process_core(struct process *process);
struct world *process_world(const struct process *process);
/* It is being killed, or leads no more: what waited for it is told of no result. */
bool process_is_gone(const struct process *process);

/* A poll that may wait; when the process is killed it is answered with `broken` true. */
typedef void process_poll_answer(bool broken, enum publication_news news, const char *text,
                                 void *data);
void process_poll(struct process *process, struct model_node *node,
                  const struct publication_poll *poll, process_poll_answer *answer, void *data);
