#include "agent/health_state.h"

void health_state_init(struct health_state *ret_state, bool healthy)
{
    *ret_state = (struct health_state){.healthy = healthy, .ever_passed = healthy};
}

enum health_change health_state_record(struct health_state *state, bool passed, uint32_t rise,
                                       uint32_t fall)
{
    if (passed)
        state->ever_passed = true;
    if (passed == state->healthy) {
        state->run = 0;
        return HEALTH_SAME;
    }
    state->run++;
    uint32_t needed = passed ? rise : fall;
    if (state->run < needed)
        return HEALTH_SAME;
    state->healthy = passed;
    state->run = 0;
    return passed ? HEALTH_ROSE : HEALTH_FELL;
}

uint64_t health_state_next_delay(struct health_state *state, uint64_t every_ms)
{
    if (state->ever_passed)
        return every_ms;
    state->delay_ms = state->delay_ms == 0 ? HEALTH_FIRST_DELAY_MS : state->delay_ms * 2;
    if (state->delay_ms > every_ms)
        state->delay_ms = every_ms;
    return state->delay_ms;
}
