/* One number for a repository and something in it. Not for what must be exact: two pairs may share
 * it. For the other files of this folder. */
#pragma once

#include <stdint.h>

/* FNV-1a, with the NUL between the two, and its bits mixed (the finalizer of MurmurHash3). */
static inline uint64_t pair_hash(const char *repository, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *repository != '\0'; repository++)
        hash = (hash ^ (unsigned char)*repository) * 0x100000001b3u;
    hash *= 0x100000001b3u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 33;
}
