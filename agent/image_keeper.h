/* Keeps this node's images within bounds: finds at the start what lies here, looks every minute
 * what has to go (image_cache.h), and keeps the record of what was used when.
 *
 * Loop thread only. */
#pragma once

#include "agent/host_client.h"
#include "agent/image_cache.h"
#include "agent/image_downloads.h"
#include "agent/image_prefetch.h"
#include "agent/instance_table.h"
#include "agent/state_store.h"

struct image_keeper;

/* The limit where none was given: a tenth of the disk, 10 GiB at most. */
#define IMAGE_KEEPER_DISK_PART 10
#define IMAGE_KEEPER_LIMIT     (UINT64_C(10) << 30)
#define IMAGE_KEEPER_AGE_MS    (UINT64_C(7) * 24 * 3600 * 1000)

struct image_keeper_options {
    uv_loop_t *loop;
    const struct clock *clock;
    struct host_client *host;
    struct state_store *store;
    const char *chains_directory; /* kept by reference */
    bool has_limit;               /* else IMAGE_KEEPER_LIMIT */
    uint64_t limit;               /* bytes */
    uint64_t age_ms;
};

/* Reads the local state, so before the first write to it. */
struct image_keeper *image_keeper_create(const struct image_keeper_options *options);
/* What it removes from, and who uses images; they outlive it. Nothing is removed before. */
void image_keeper_begin(struct image_keeper *keeper, struct image_downloads *downloads,
                        const struct instance_table *instances,
                        const struct image_prefetch *prefetch);
void image_keeper_destroy(struct image_keeper *keeper);
/* Files that the host half has. */
void image_keeper_found(struct image_keeper *keeper, const struct host_images *images);
struct image_cache *image_keeper_cache(struct image_keeper *keeper);
