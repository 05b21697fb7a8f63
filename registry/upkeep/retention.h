/* Retention: tags that no rule keeps go, and with them what nothing else keeps
 * (registry/metadata/retire.h). Their blobs go with the next garbage collection. Blocking; any
 * thread, one at a time. */
#pragma once

#include "lib/json.h"
#include "registry/metadata/retire.h"
#include "registry/metrics.h"
#include "registry/upkeep/policies.h"
#include "registry/upkeep/task.h"

struct retention_parts {
    struct metadata *metadata;
    struct leases *leases;
    struct metrics *metrics;
    const struct policies *policies;
};

struct retention_report {
    bool dry_run;
    uint64_t repositories;        /* that have a rule */
    uint64_t kept;                /* tags */
    uint64_t tags;                /* that went, or would */
    struct sweep_count manifests; /* that went; a dry run does not know */
    struct json_strings removed;  /* "repository:tag" of the first 10,000 that went, or would */
    uint64_t duration;            /* milliseconds */
};

extern const struct json_record retention_report_record;

/* A dry run changes nothing. The caller releases the report by its record. */
int retention_run(const struct retention_parts *parts, bool dry_run, struct task_progress *progress,
                  struct retention_report *ret_report, struct error *error);
