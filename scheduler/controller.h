/* Keeps what is and what is wanted together: looks at services whose state changed or whose time
 * has come, and commits what reconcile and rollout decide.
 *
 * Loop thread only. */
#pragma once

#include "scheduler/capacity.h"
#include "scheduler/core.h"

struct controller *controller_create(struct core *core);
/* Decides nothing any more. */
void controller_stop(struct controller *controller);
/* Not while something it decided is on its way to the store (changes_when_idle). */
void controller_destroy(struct controller *controller);
/* Something changed: look, in a moment. */
void controller_wake(struct controller *controller);

/* --- for the controller's own files --- */

/* One decision of the controller in the making. */
struct controller_pass {
    struct core *core;
    struct change *change;
    struct capacity capacity;
    uint64_t now_ms;
    uint64_t wall_ms;
    uint64_t next_ms; /* when to look again at the latest */
    /* Instances of other services than the one that is looked at are ended: services are looked at
     * when that is written, or they would count on them. */
    bool ends;
};

/* node_controller.c: leases that pass, and drains; false when the change has no room left. */
bool controller_look_at_nodes(struct controller_pass *pass);
/* service_controller.c: one service; false when the change has no room left for all of it. */
bool controller_reconcile_service(struct controller_pass *pass, struct model_service *service);
/* Writes a new instance of the service under the next id, which the counters of this change have.
 * Takes it: its place, slot, revision, rollout and attempt are set already. */
void controller_put_instance(struct controller_pass *pass, const struct document_service *service,
                             struct document_instance *instance);
/* job_controller.c: one job, likewise. */
bool controller_look_at_job(struct controller_pass *pass, struct model_service *service);
/* retention.c: old records, revisions, rollouts. */
void controller_retire_records(struct controller_pass *pass);
