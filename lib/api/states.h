/* States that travel between the daemons, with their names. */
#pragma once

#include <stdbool.h>

#include "lib/api/causes.h"

/* pending -> fetching -> verifying -> starting -> running <-> ready -> draining -> stopping
 *                                        ^         ^  |        |
 *                                        +--restart---+--------+          ... -> stopped | failed
 *                                                  |  v
 *                                                 standby
 *
 * `standby`: its check passed, and then its guest was paused until it is wanted.
 * `unknown` is the scheduler's word for an instance whose node is silent. A restart in place goes
 * back to `starting` under the same id. */
enum instance_state {
    INSTANCE_PENDING,
    INSTANCE_FETCHING,
    INSTANCE_VERIFYING,
    INSTANCE_STARTING,
    INSTANCE_STANDBY,
    INSTANCE_RUNNING,
    INSTANCE_READY,
    INSTANCE_DRAINING,
    INSTANCE_STOPPING,
    INSTANCE_STOPPED,
    INSTANCE_FAILED,
    INSTANCE_UNKNOWN,
};
extern const char *const instance_state_names[];
/* Whether the agent may report `to` after `from` for one id. */
bool instance_state_may_move(enum instance_state from, enum instance_state to);
/* stopped or failed: its VM is gone and it will not come back under this id. */
bool instance_state_is_over(enum instance_state state);

/*      +-- pause --- awaiting_promotion
 *      v                 ^      |
 *   paused          healthy   promote, or its canaries are not healthy any more
 *      ^                 |      v
 *      +-- pause ---- progressing ---> succeeded
 *      +-- resume ------>|
 *
 *   any of the three --> rolling_back ---> rolled_back | failed | superseded
 *   any of the three --> failed     (a first deploy, a restart, or auto_rollback: false)
 *   any of the three --> superseded (by the next rollout, or the service is removed) */
enum rollout_phase {
    ROLLOUT_PROGRESSING,
    ROLLOUT_PAUSED,             /* by a person, until a person resumes it */
    ROLLOUT_AWAITING_PROMOTION, /* its canaries are healthy */
    ROLLOUT_SUCCEEDED,
    ROLLOUT_FAILED,
    ROLLOUT_ROLLING_BACK,
    ROLLOUT_ROLLED_BACK,
    ROLLOUT_SUPERSEDED,
};
extern const char *const rollout_phase_names[];
bool rollout_phase_may_move(enum rollout_phase from, enum rollout_phase to);
bool rollout_phase_is_over(enum rollout_phase phase);

/* ready <-> suspect -> lost
 *   ^                   |
 *   +-------------------+     any status leads back to ready
 *
 * ready: its lease is good. suspect: its lease has passed, its instances are `unknown`. lost: it
 * was suspect for so long that its instances are replaced elsewhere. */
enum node_state {
    NODE_READY,
    NODE_SUSPECT,
    NODE_LOST,
};
extern const char *const node_state_names[];
bool node_state_may_move(enum node_state from, enum node_state to);

/* eligible <-> cordoned <-> draining      draining -> cordoned by itself, once the node is empty
 *     ^                         |
 *     +-------------------------+
 *
 * eligible: instances may be placed there. cordoned: none, those that are there stay. draining:
 * those that are there are replaced elsewhere, then they end. */
enum node_eligibility {
    NODE_ELIGIBLE,
    NODE_CORDONED,
    NODE_DRAINING,
};
extern const char *const node_eligibility_names[];

/* Of a job's run:
 *
 * running -> succeeded   (every completion did)
 *       |--> failed      (more failures than retries, its deadline, a revoked image)
 *       +--> stopped     (by somebody, or replaced by another run) */
enum run_phase {
    RUN_RUNNING,
    RUN_SUCCEEDED,
    RUN_FAILED,
    RUN_STOPPED,
};
extern const char *const run_phase_names[];
bool run_phase_may_move(enum run_phase from, enum run_phase to);
bool run_phase_is_over(enum run_phase phase);
