/* Long work on the whole store, by its name: garbage collection, retention, scrub, backup. One at a
 * time, each with a report in JSON; any thread. What comes by itself (the collector's thread) comes
 * here too. */
#pragma once

#include "registry/upkeep/collector.h"
#include "registry/upkeep/policies.h"
#include "registry/upkeep/task.h"

enum upkeep_task { UPKEEP_COLLECT, UPKEEP_RETAIN, UPKEEP_SCRUB, UPKEEP_BACKUP };

/* "collect", "retain", "scrub", "backup", NULL. */
extern const char *const upkeep_task_names[];
bool upkeep_task_parse(const char *name, enum upkeep_task *ret_task);

struct upkeep_options {
    bool dry_run;       /* not for a backup, which changes nothing here */
    bool untagged;      /* collect: manifests without a tag too, whatever the settings say */
    uint64_t rate;      /* scrub: bytes a second; 0: no limit */
    const char *target; /* backup: an absolute path */
};

/* All of it outlives the upkeep. */
struct upkeep_parts {
    struct metadata *metadata;
    struct blob_store *blobs;
    struct leases *leases;
    struct collector *collector;
    struct metrics *metrics;
    const char *state;
    /* A copy of the rules as they are now. */
    void (*copy_policies)(struct policies *ret_policies, void *data);
    void *data;
};

struct upkeep;

struct upkeep *upkeep_create(const struct upkeep_parts *parts);
/* Tells what runs to end soon; nothing new begins. NULL is fine. */
void upkeep_stop(struct upkeep *upkeep);
/* When nothing runs. NULL is fine. */
void upkeep_destroy(struct upkeep *upkeep);
/* ERROR_CONFLICT: other work is under way, and is named. The caller owns the report. */
int upkeep_run(struct upkeep *upkeep, enum upkeep_task task, const struct upkeep_options *options,
               struct json_object **ret_report, struct error *error);
/* Has what is under way end soon, with ERROR_CONFLICT; a garbage collection, which is short, goes
 * on.
 */
void upkeep_cancel(struct upkeep *upkeep);
/* {"task": "scrub" or null, "done": bytes, or repositories}. */
struct json_object *upkeep_status(struct upkeep *upkeep);
