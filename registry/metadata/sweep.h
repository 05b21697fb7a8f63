/* Garbage in the metadata: finding it and removing it, a batch at a time, while pushes go on. One
 * thread a sweep; each call blocks for a batch's time. Knows no files: it says which digests no
 * repository holds any more.
 *
 * Manifests that are tagged, or younger than the grace, or leased are live, and with them what they
 * list, the referrers of what is live, and cosign's tags for it. Blobs stay that a manifest of the
 * repository refers to, that are younger than the grace, or leased; and, up to a greater age, all
 * of a repository that is leased itself, because a push to it goes on. */
#pragma once

#include "registry/metadata/leases.h"
#include "registry/metadata/metadata.h"

struct sweep;

struct sweep_count {
    uint64_t count;
    uint64_t bytes;
};

/* {"count", "bytes"}, for reports. */
extern const struct json_record sweep_count_record;

/* Milliseconds since 1970: what came since is young; in a repository to which a push goes on, what
 * came since the second. */
struct sweep_limits {
    uint64_t young;
    uint64_t young_in_push;
};

/* A dry run changes nothing and says what a real one would remove. The metadata and the leases
 * outlive the sweep. */
int sweep_begin(struct metadata *metadata, struct leases *leases, const struct sweep_limits *limits,
                bool is_dry, struct sweep **ret_sweep, struct error *error);
void sweep_end(struct sweep *sweep);
/* Removes manifests of the repository that are not live. Adds to `count`. 1: there may be more, 0:
 * done with it; until then the calls are for the same repository. */
int sweep_manifests(struct sweep *sweep, const char *repository, struct sweep_count *count,
                    struct error *error);
/* Looks at the next blobs, of all repositories in turn, and takes garbage out of its repository.
 * Adds to `count`; calls `gone` for each digest that no repository holds any more. 1: there may be
 * more, 0: that was the last. */
int sweep_blobs(struct sweep *sweep, struct sweep_count *count,
                void (*gone)(const char *digest, uint64_t size, void *data), void *data,
                struct error *error);
/* Forgets repositories that hold nothing, after the rest. Adds to `count`. 1: there may be more, 0:
 * that was the last. */
int sweep_repositories(struct sweep *sweep, uint64_t *count, struct error *error);
/* The blobs that were looked at and are needed by nobody, but stay for now: they are young, or
 * leased. */
struct sweep_count sweep_waiting(const struct sweep *sweep);
