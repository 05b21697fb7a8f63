/* The user ids that QEMUs run under: one for each instance, from a range above those of people,
 * services and containers (0x70000000 and up). Instances of one term differ in their id's counter;
 * a restored store begins a new term and may count the same numbers again, so each term starts
 * elsewhere in the range. guests.c gives no user to two at once, should they meet all the same. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#define GUEST_USER_BASE  0x70000000U
#define GUEST_USER_MASK  0x0fffffffU
#define GUEST_USER_PROBE (GUEST_USER_BASE - 1)
#define GUEST_USER_DHCP  (GUEST_USER_BASE - 2) /* dnsmasq: of nobody else */

#define GUEST_USER_TERM 0x09e3779bU /* the golden section of the range: terms keep apart */

/* `id`: 12 hex digits, 4 of the term and 8 of the counter. */
static inline uint32_t guest_user_of(const char *id)
{
    uint64_t number = strtoull(id, NULL, 16);
    uint32_t term = (uint32_t)(number >> 32), counter = (uint32_t)number;
    return GUEST_USER_BASE + ((counter + (term - 1) * GUEST_USER_TERM) & GUEST_USER_MASK);
}
