#include "agent/restart_policy.h"

static uint64_t delay_after(const struct api_restart *policy, uint32_t attempts)
{
    uint64_t delay = policy->backoff_ms;
    for (uint32_t i = 0; i < attempts && delay < policy->max_backoff_ms; i++)
        delay *= 2;
    if (policy->max_backoff_ms > 0 && delay > policy->max_backoff_ms)
        delay = policy->max_backoff_ms;
    return delay;
}

struct restart_decision restart_policy_decide(const struct api_restart *policy,
                                              struct restart_history *history, bool failed,
                                              uint64_t now_ms)
{
    struct restart_decision decision = {0};
    if (policy->policy == API_RESTART_NEVER ||
        (policy->policy == API_RESTART_ON_FAILURE && !failed))
        return decision;
    if (now_ms - history->last_ms >= policy->reset_after_ms)
        history->attempts = 0;
    if (history->attempts >= policy->attempts)
        return decision;
    decision.restart = true;
    decision.delay_ms = delay_after(policy, history->attempts);
    history->attempts++;
    history->last_ms = now_ms;
    return decision;
}
