/* The user ids that QEMUs run under: one for each instance, from a range above those of people,
 * services and containers (0x70000000 and up). Instances of one cluster differ in their id's
 * counter, so no two share one. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#define GUEST_USER_BASE  0x70000000U
#define GUEST_USER_MASK  0x0fffffffU
#define GUEST_USER_PROBE (GUEST_USER_BASE - 1)

/* `id`: 12 hex digits, the last 8 of them the counter. */
static inline uint32_t guest_user_of(const char *id)
{
    return GUEST_USER_BASE + ((uint32_t)strtoul(id + 4, NULL, 16) & GUEST_USER_MASK);
}
