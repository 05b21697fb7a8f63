/* Taking a tag away together with what nothing else keeps: its manifest, what that lists, its
 * referrers and cosign's tags for it, and so on down. Blobs are left to the garbage collection. */
#pragma once

#include "registry/metadata/leases.h"
#include "registry/metadata/metadata.h"
#include "registry/metadata/sweep.h"

/* In one transaction, with the leases frozen: a manifest that a client was lately told of stays.
 * 1: done, and the manifests that went are added to `count`; 0: the tag points elsewhere by now,
 * and nothing was done. */
int metadata_retire_tag(struct metadata *metadata, struct leases *leases, const char *repository,
                        const char *tag, const char *digest, struct sweep_count *count,
                        struct error *error);
