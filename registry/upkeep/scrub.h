/* Reads everything there is and compares it with its digest: blobs in the store, manifests in the
 * metadata. A damaged blob is put in quarantine: it is missing from then on, and whoever pushes it
 * again mends it. Blocking; any thread, one at a time. */
#pragma once

#include "lib/json.h"
#include "registry/metadata/metadata.h"
#include "registry/metrics.h"
#include "registry/storage/blob_store.h"
#include "registry/upkeep/task.h"

struct scrub_parts {
    struct metadata *metadata;
    struct blob_store *blobs;
    struct metrics *metrics;
};

struct scrub_options {
    bool dry_run;  /* put nothing in quarantine */
    uint64_t rate; /* bytes a second at most; 0: as fast as it goes */
};

struct scrub_report {
    bool dry_run;
    uint64_t blobs, bytes;                 /* read */
    uint64_t manifests;                    /* read */
    struct json_strings corrupt;           /* digests of blobs */
    struct json_strings missing;           /* digests of blobs that repositories hold */
    struct json_strings unreadable;        /* digests of blobs that the disk does not give */
    struct json_strings images;            /* that need one of these, "repository:tag" */
    struct json_strings corrupt_manifests; /* "repository@digest": to be pushed again */
    uint64_t duration;                     /* milliseconds */
};

extern const struct json_record scrub_report_record;

/* What was found before a failure is in the report all the same. The caller releases the report by
 * its record. */
int scrub_run(const struct scrub_parts *parts, const struct scrub_options *options,
              struct task_progress *progress, struct scrub_report *ret_report, struct error *error);
