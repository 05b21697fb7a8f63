/* Whether and when an instance that ended is started again in place. Pure: takes the policy, what
 * happened so far and a time, returns a decision. Knows nothing of microVMs. */
#pragma once

#include "lib/api/service_spec.h"

/* What is remembered between restarts of one instance. A zeroed struct is a fresh start. */
struct restart_history {
    uint32_t attempts; /* restarts since the last quiet period of `reset_after` */
    uint64_t last_ms;  /* when the last one was decided; the clock of `now_ms` */
};

struct restart_decision {
    bool restart;
    uint64_t delay_ms; /* wait so long before the start */
};

/* `failed` is false when the guest ended by itself without saying that something is wrong. A
 * restart is counted in `history`; once `attempts` of them came without `reset_after` of quiet
 * between any two, the answer is no. */
struct restart_decision restart_policy_decide(const struct api_restart *policy,
                                              struct restart_history *history, bool failed,
                                              uint64_t now_ms);
