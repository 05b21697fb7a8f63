/* Garbage collection while the registry serves: blobs that no manifest of their repository refers
 * to, bytes that no repository holds, uploads that nobody ends, and, if asked for, manifests that
 * no tag leads to (registry/metadata/sweep.h says what is live). In batches, so that pushes go on;
 * what was pushed or asked for lately stays (registry/metadata/leases.h).
 *
 * A collector has a thread of its own that collects now and then; collector_run may be called from
 * any thread and takes turns with it. It holds <state>/collect.lock exclusively (flock) while it
 * removes: who needs everything to stay, as a backup does, holds it shared. */
#pragma once

#include "lib/error.h"
#include "lib/json.h"
#include "registry/metadata/leases.h"
#include "registry/metadata/metadata.h"
#include "registry/metadata/sweep.h"
#include "registry/metrics.h"
#include "registry/storage/blob_store.h"

/* Milliseconds. */
struct collector_settings {
    uint64_t every; /* from the end of one collection to the next; 0: none by itself */
    uint64_t grace; /* what is younger stays, and how long a lease holds */
    /* Without a byte for so long, an upload is given up; and so long the blobs of a push that goes
     * on wait for its manifest. */
    uint64_t uploads;
    bool untagged; /* remove manifests that no tag leads to */
};

extern const struct json_record collector_settings_record;
/* Every hour with an hour's grace, uploads after a day, untagged manifests stay. */
#define COLLECTOR_SETTINGS_DEFAULT                                                                 \
    {                                                                                              \
        .every = 3600000, .grace = 3600000, .uploads = 86400000, .untagged = false                 \
    }

/* What a collector works on; all of it outlives the collector. */
struct collector_parts {
    struct metadata *metadata;
    struct blob_store *blobs;
    struct leases *leases;
    struct metrics *metrics;
    const char *state; /* the folder of collect.lock */
    /* Runs before each collection that comes by itself, on the collector's thread; may be NULL. */
    void (*before)(void *data);
    void *data;
};

struct collector_options {
    bool dry_run; /* change nothing, report what would go */
    bool orphans; /* walk the store for blobs that no entry names */
    bool untagged;
    uint64_t grace;
    uint64_t uploads;
};

struct collector_report {
    bool dry_run;
    struct sweep_count manifests;
    struct sweep_count blobs;   /* entries of repositories */
    struct sweep_count files;   /* bytes that no repository held any more */
    struct sweep_count orphans; /* bytes that no entry named */
    struct sweep_count uploads;
    struct sweep_count waiting; /* blobs that nobody needs, but young or leased */
    uint64_t repositories;      /* that held nothing any more */
    uint64_t duration;          /* milliseconds */
};

extern const struct json_record collector_report_record;

struct collector;

int collector_create(const struct collector_parts *parts, const struct collector_settings *settings,
                     struct collector **ret_collector, struct error *error);
/* Begins to collect by itself, if the settings say so. */
int collector_start(struct collector *collector, struct error *error);
/* Tells whoever collects to end at the next batch; nothing is collected from then on. */
void collector_stop(struct collector *collector);
/* When nobody else is in collector_run. NULL is fine. */
void collector_destroy(struct collector *collector);
/* As the collector's own thread runs it, with a walk of the store. */
void collector_options_usual(const struct collector *collector,
                             struct collector_options *ret_options);
/* ERROR_CONFLICT: a backup is being made; ERROR_UNAVAILABLE: the registry is stopping. What was
 * removed before a failure is in the report all the same. */
int collector_run(struct collector *collector, const struct collector_options *options,
                  struct collector_report *ret_report, struct error *error);
