#include "lib/api/states.h"

#include <stddef.h>

const char *const instance_state_names[] = {
    [INSTANCE_PENDING] = "pending",
    [INSTANCE_FETCHING] = "fetching",
    [INSTANCE_VERIFYING] = "verifying",
    [INSTANCE_STARTING] = "starting",
    [INSTANCE_STANDBY] = "standby",
    [INSTANCE_RUNNING] = "running",
    [INSTANCE_READY] = "ready",
    [INSTANCE_DRAINING] = "draining",
    [INSTANCE_STOPPING] = "stopping",
    [INSTANCE_STOPPED] = "stopped",
    [INSTANCE_FAILED] = "failed",
    [INSTANCE_UNKNOWN] = "unknown",
    NULL,
};

#define TO(state) (1u << (state))
#define TO_END                                                                                     \
    (TO(INSTANCE_DRAINING) | TO(INSTANCE_STOPPING) | TO(INSTANCE_STOPPED) | TO(INSTANCE_FAILED))

/* Each row: where a state may go. `unknown` may turn out to be anything. */
static const unsigned instance_moves[] = {
    [INSTANCE_PENDING] = TO(INSTANCE_FETCHING) | TO(INSTANCE_VERIFYING) | TO_END,
    [INSTANCE_FETCHING] = TO(INSTANCE_VERIFYING) | TO_END,
    [INSTANCE_VERIFYING] = TO(INSTANCE_FETCHING) | TO(INSTANCE_STARTING) | TO_END,
    [INSTANCE_STARTING] = TO(INSTANCE_RUNNING) | TO_END,
    [INSTANCE_STANDBY] = TO(INSTANCE_STARTING) | TO(INSTANCE_RUNNING) | TO_END,
    [INSTANCE_RUNNING] = TO(INSTANCE_STARTING) | TO(INSTANCE_STANDBY) | TO(INSTANCE_READY) | TO_END,
    [INSTANCE_READY] = TO(INSTANCE_STARTING) | TO(INSTANCE_RUNNING) | TO_END,
    [INSTANCE_DRAINING] = TO(INSTANCE_STOPPING) | TO(INSTANCE_STOPPED) | TO(INSTANCE_FAILED),
    [INSTANCE_STOPPING] = TO(INSTANCE_STOPPED) | TO(INSTANCE_FAILED),
    [INSTANCE_STOPPED] = 0,
    [INSTANCE_FAILED] = TO(INSTANCE_STOPPED),
    [INSTANCE_UNKNOWN] = ~0u,
};

bool instance_state_may_move(enum instance_state from, enum instance_state to)
{
    return (instance_moves[from] & TO(to)) != 0 || (to == INSTANCE_UNKNOWN && from != to);
}

bool instance_state_is_over(enum instance_state state)
{
    return state == INSTANCE_STOPPED || state == INSTANCE_FAILED;
}

const char *const rollout_phase_names[] = {
    [ROLLOUT_PROGRESSING] = "progressing",
    [ROLLOUT_PAUSED] = "paused",
    [ROLLOUT_AWAITING_PROMOTION] = "awaiting_promotion",
    [ROLLOUT_SUCCEEDED] = "succeeded",
    [ROLLOUT_FAILED] = "failed",
    [ROLLOUT_ROLLING_BACK] = "rolling_back",
    [ROLLOUT_ROLLED_BACK] = "rolled_back",
    [ROLLOUT_SUPERSEDED] = "superseded",
    NULL,
};

#define TO_FAIL (TO(ROLLOUT_FAILED) | TO(ROLLOUT_ROLLING_BACK) | TO(ROLLOUT_SUPERSEDED))

static const unsigned rollout_moves[] = {
    [ROLLOUT_PROGRESSING] =
        TO(ROLLOUT_PAUSED) | TO(ROLLOUT_AWAITING_PROMOTION) | TO(ROLLOUT_SUCCEEDED) | TO_FAIL,
    [ROLLOUT_PAUSED] = TO(ROLLOUT_PROGRESSING) | TO_FAIL,
    [ROLLOUT_AWAITING_PROMOTION] = TO(ROLLOUT_PROGRESSING) | TO(ROLLOUT_PAUSED) | TO_FAIL,
    [ROLLOUT_SUCCEEDED] = 0,
    [ROLLOUT_FAILED] = 0,
    [ROLLOUT_ROLLING_BACK] = TO(ROLLOUT_ROLLED_BACK) | TO(ROLLOUT_FAILED) | TO(ROLLOUT_SUPERSEDED),
    [ROLLOUT_ROLLED_BACK] = 0,
    [ROLLOUT_SUPERSEDED] = 0,
};

bool rollout_phase_may_move(enum rollout_phase from, enum rollout_phase to)
{
    return (rollout_moves[from] & TO(to)) != 0;
}

bool rollout_phase_is_over(enum rollout_phase phase)
{
    return rollout_moves[phase] == 0;
}

const char *const node_state_names[] = {
    [NODE_READY] = "ready", [NODE_SUSPECT] = "suspect", [NODE_LOST] = "lost", NULL};

static const unsigned node_moves[] = {
    [NODE_READY] = TO(NODE_SUSPECT),
    [NODE_SUSPECT] = TO(NODE_READY) | TO(NODE_LOST),
    [NODE_LOST] = TO(NODE_READY),
};

bool node_state_may_move(enum node_state from, enum node_state to)
{
    return (node_moves[from] & TO(to)) != 0;
}

const char *const node_eligibility_names[] = {
    [NODE_ELIGIBLE] = "eligible", [NODE_CORDONED] = "cordoned", [NODE_DRAINING] = "draining", NULL};

const char *const run_phase_names[] = {
    [RUN_RUNNING] = "running",
    [RUN_SUCCEEDED] = "succeeded",
    [RUN_FAILED] = "failed",
    [RUN_STOPPED] = "stopped",
    NULL,
};

static const unsigned run_moves[] = {
    [RUN_RUNNING] = TO(RUN_SUCCEEDED) | TO(RUN_FAILED) | TO(RUN_STOPPED),
    [RUN_SUCCEEDED] = 0,
    [RUN_FAILED] = 0,
    [RUN_STOPPED] = 0,
};

bool run_phase_may_move(enum run_phase from, enum run_phase to)
{
    return (run_moves[from] & TO(to)) != 0;
}

bool run_phase_is_over(enum run_phase phase)
{
    return run_moves[phase] == 0;
}
