/* The promises, watched: docs/scheduler.md's and the invariants of DESIGN, 8, checked against the
 * truth of the world wherever they could break. The first one that does ends the story.
 *
 *   each transaction, as it is handed in   rollout bounds; nothing ends that should run; an
 *                                          instance stops only when it is drained, or too late;
 *                                          memory and addresses are promised once; ids are new
 *                                          of jobs: no more run than may, no completion twice,
 *                                          what is over stays so
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
/* The data plane of a node sends what comes to these. */
void watch_endpoints(struct world *world, const struct api_endpoints *endpoints);
void watch_booted(struct world *world, const struct guest *guest);
void watch_told_to_stop(struct world *world, const struct guest *guest);
/* The disk came back from a backup: ids that were handed out since are of a history it cannot
 * know. */
void watch_restored(struct world *world, uint64_t instances_known);

/* watch_jobs.c: an instance of a job as it is handed in, `last` as it was (NULL: it is new); and a
 * run. */
void watch_job_instance(struct world *world, const struct core *core,
                        const struct model_service *service, const struct document_instance *last,
                        const struct document_instance *document);
void watch_run(struct world *world, const struct core *core, const char *text);
/* Whether nothing of the job is under way. */
bool watch_job_rests(const struct model_service *service, char *ret_why, size_t size);

/* watch_rest.c. Whether nothing more is to happen; else `ret_why` says what is waited for. */
bool watch_is_at_rest(const struct world *world, char *ret_why, size_t size);
/* Once it is at rest: no orphans. */
void watch_leftovers(struct world *world);
