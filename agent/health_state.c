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

/* FNV-1a, folded: names that differ in their last digit only lie far apart. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

uint64_t health_state_spread(uint64_t now_ms, uint64_t every_ms, const char *key)
{
    if (every_ms == 0)
        return 0;
    uint64_t phase = hash_of(key) % every_ms;
    uint64_t past = (now_ms + every_ms - phase) % every_ms;
    uint64_t delay = every_ms - past;
    return delay < every_ms / 2 ? delay + every_ms : delay;
}
