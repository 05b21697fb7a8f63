/* shoal-registry: an OCI registry (distribution spec 1.1) on one disk.
 *
 * registry.c owns the parts (blob store, metadata, HTTP server) and the route table; routes_*.c
 * answer requests, each on its connection's thread, and may block. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/http_server.h"
#include "lib/image_reference.h"
#include "lib/log.h"
#include "registry/access/access.h"
#include "registry/metadata/leases.h"
#include "registry/metadata/metadata.h"
#include "registry/metrics.h"
#include "registry/rate_limit.h"
#include "registry/settings.h"
#include "registry/storage/blob_store.h"
#include "registry/upkeep/upkeep.h"

struct registry {
    struct registry_settings settings; /* as it started */
    struct blob_store *blobs;
    struct metadata *metadata;
    struct leases *leases;
    struct collector *collector;
    struct upkeep *upkeep;
    struct http_server *server;  /* NULL while it is only open */
    struct http_server *control; /* NULL: its path is too long, or it is only open */
    struct metrics metrics;
    struct access *access;         /* NULL: open to everybody */
    struct rate_limit *rate_limit; /* NULL: none */
    struct log_file *access_log;   /* NULL: none */
    pthread_rwlock_t policies_lock;
    struct policies policies; /* under policies_lock */
    int lock_descriptor;      /* of <state>/lock: one registry a state folder */
};

/* Takes <state>/lock, so that no other process works on the state until the descriptor is closed.
 * The folder is there. ERROR_CONFLICT: another process has it. */
int registry_lock_state(const char *state, int *ret_descriptor, struct error *error);
/* Only the blobs of it, with the state folder made where it is missing. The caller closes them. */
int registry_open_blobs(const struct registry_settings *settings, struct blob_store **ret_blobs,
                        struct error *error);
/* Opens the state, for itself alone: for work on it without clients. Copies what it needs of the
 * settings. ERROR_CONFLICT: another process has it. */
int registry_open(const struct registry_settings *settings, struct registry **ret_registry,
                  struct error *error);
/* Opens the state and serves until destroyed. */
int registry_create(const struct registry_settings *settings, struct registry **ret_registry,
                    struct error *error);
/* reload.c: takes over what may change while it runs (policies, users, rules, certificates) and
 * opens the access log anew. A part that cannot be read stays as it was; the last line of the log
 * says which one, and what counts at the next start only. Main thread. */
void registry_reload(struct registry *registry, const struct registry_settings *settings);
uint16_t registry_port(const struct registry *registry);
/* Waits for requests that are running. NULL is fine. */
void registry_destroy(struct registry *registry);

/* What the server needs of the settings; points into them. */
struct http_server_tls registry_tls(const struct registry_settings *settings);
void registry_count(struct registry *registry, enum metrics_counter counter, uint64_t amount);
