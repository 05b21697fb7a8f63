#include "agent/host_silence.h"

/* Later than this is not the loop's usual lateness. */
#define LOOK_LATE_MS (UINT64_C(5) * HOST_SILENCE_LOOK_MS)

uint64_t host_silence_length(const struct host_silence *silence, uint64_t now_ms)
{
    return silence->is_silent && now_ms > silence->heard_ms ? now_ms - silence->heard_ms : 0;
}

uint64_t host_silence_hear(struct host_silence *silence, uint64_t now_ms)
{
    uint64_t length = host_silence_length(silence, now_ms);
    silence->heard_ms = now_ms;
    silence->is_silent = false;
    silence->is_asked = false;
    return length;
}

enum host_silence_step host_silence_look(struct host_silence *silence, uint64_t now_ms)
{
    uint64_t passed = now_ms - silence->looked_ms;
    bool stood_still = silence->looked_ms != 0 && passed > LOOK_LATE_MS;
    silence->looked_ms = now_ms;
    if (silence->heard_ms == 0 || silence->is_silent)
        return HOST_SILENCE_NOTHING;
    if (stood_still)
        silence->heard_ms =
            silence->heard_ms + passed < now_ms ? silence->heard_ms + passed : now_ms;
    if (now_ms - silence->heard_ms >= HOST_SILENCE_MS) {
        silence->is_silent = true;
        return HOST_SILENCE_BEGINS;
    }
    if (silence->is_asked || now_ms - silence->heard_ms < HOST_SILENCE_ASK_MS)
        return HOST_SILENCE_NOTHING;
    silence->is_asked = true;
    return HOST_SILENCE_ASK;
}
