/* Time as a value that is passed in, so that decisions can be tested on a clock of the test's own.
 * Monotonic time drives every deadline; wall time is only for people. Any thread. */
#pragma once

#include <stdint.h>

struct clock {
    uint64_t (*monotonic_ms)(const struct clock *clock);
    uint64_t (*wall_ms)(const struct clock *clock); /* since 1970-01-01T00:00:00Z */
};

const struct clock *clock_system(void);

static inline uint64_t clock_monotonic_ms(const struct clock *clock)
{
    return clock->monotonic_ms(clock);
}

static inline uint64_t clock_wall_ms(const struct clock *clock)
{
    return clock->wall_ms(clock);
}
