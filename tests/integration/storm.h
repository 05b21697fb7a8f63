/* What the clients of a storm have in common (registry_storm.c, registry_storm_check.c): bytes made
 * from a number, and the journal, a file of one line for each thing that the registry acknowledged:
 *
 *   blob REPOSITORY DIGEST             201, or 200 to a HEAD
 *   manifest REPOSITORY DIGEST         201
 *   tagging REPOSITORY TAG DIGEST      about to be asked for; "tagged" once it was answered by 201
 *   deleting REPOSITORY DIGEST         likewise, and "deleted" by 202
 *   upload LOCATION SIZE SEED          SIZE bytes of content SEED were taken, by 202
 *   ended LOCATION                     whatever comes of that upload now
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

static inline uint64_t storm_next(uint64_t *state) /* splitmix64 */
{
    uint64_t value = *state += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

/* Mostly small, sometimes nothing, sometimes enough to be killed in the middle of. */
static inline size_t storm_size(uint64_t seed)
{
    uint64_t value = storm_next(&seed);
    if (value % 16 == 0)
        return 0;
    return value % 16 == 1 ? 3000000 : value / 16 % 40000;
}

/* The caller frees it. */
static inline char *storm_content(uint64_t seed)
{
    size_t size = storm_size(seed);
    char *bytes = xmalloc(size + 8);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t value = storm_next(&seed);
        memcpy(bytes + i, &value, 8);
    }
    return bytes;
}
