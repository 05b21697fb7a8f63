/* The promises, watched: docs/scheduler.md's and the invariants of DESIGN, 8, checked against the
 * truth of the world wherever they could break. The first one that does ends the story.
 *
 *   each transaction, as it is handed in   rollout bounds; nothing ends that should run; an
 *                                          instance stops only when it is drained, or too late;
 *                                          memory and addresses are promised once; ids are new
 *   each boot                              one microVM an id and an address, on one node
 *   each answer, and each start            what was acknowledged is there
 *   when everything mended                 it comes to rest, and nothing is left behind */
#pragma once

#include "scheduler/core.h"
#include "tests/sim/guest.h"
#include "tests/sim/world.h"

struct watch;

struct watch *watch_create(void);
void watch_destroy(struct watch *watch);

void watch_handed_in(struct world *world, const struct core *core,
                     const struct store_transaction *transaction);
void watch_settled(struct world *world, const struct core *core, bool durable);
void watch_started(struct world *world, const struct core *core);
void watch_killed(struct world *world, const struct core *core);
void watch_event(struct world *world, const struct api_event *event);
void watch_booted(struct world *world, const struct guest *guest);
void watch_told_to_stop(struct world *world, const struct guest *guest);
/* The disk came back from a backup: ids that were handed out since are of a history it cannot
 * know. */
void watch_restored(struct world *world, uint64_t instances_known);

/* watch_rest.c. Whether nothing more is to happen; else `ret_why` says what is waited for. */
bool watch_is_at_rest(const struct world *world, char *ret_why, size_t size);
/* Once it is at rest: no orphans. */
void watch_leftovers(struct world *world);
