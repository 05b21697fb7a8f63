/* All instances of this node: their records, what the assignment wants of them, and the doing of
 * what their machine (instance.h) asks for: images, microVMs, checks, records.
 *
 * Loop thread only. Knows neither the scheduler's routes nor the data plane. */
#pragma once

#include "agent/image_downloads.h"
#include "agent/instance.h"
#include "agent/state_store.h"
#include "agent/trust.h"

struct instance_table;

struct instance_table_options {
    uv_loop_t *loop;
    const struct clock *clock;
    struct http_client *http;
    struct host_client *host;
    struct image_downloads *images;
    const struct trust *trust;
    struct state_store *store;
    const char *node;
    const char *console_folder;     /* where the host half keeps what guests write */
    void (*on_changed)(void *data); /* something a status shows is different now */
    void (*on_booted)(const struct instance *instance, void *data); /* ready for the first time */
    void *data;
};

struct instance_table *instance_table_create(const struct instance_table_options *options);
void instance_table_destroy(struct instance_table *table);

/* --- at start, in this order --- */
/* Records of the local state; one that cannot be read is left out and named in the log. */
int instance_table_load(struct instance_table *table, struct error *error);
/* A microVM that the host half found running; one without a record is reported as running, so that
 * the scheduler can say what is to become of it. */
void instance_table_adopt(struct instance_table *table, const struct host_instance *found);
/* The guests' network is there: goes on with every instance. `welcome` says what guests run on, and
 * is kept by reference. */
void instance_table_resume(struct instance_table *table, const struct host_welcome *welcome);

/* --- later --- */
/* Nothing is stopped because it is not named. */
void instance_table_apply(struct instance_table *table, const struct api_assignment *assignment);
void instance_table_ended(struct instance_table *table, const struct host_instance *ended);
/* A call to the hypervisor about one does not return. */
void instance_table_hangs(struct instance_table *table, const struct host_instance *hanging);
void instance_table_steps_measured(struct instance_table *table,
                                   const struct host_boot_steps *measured);
/* A gdb stub was switched on or off: what its checks said meanwhile is taken back. */
void instance_table_debugged(struct instance_table *table, const char *id, bool debugged);
/* A copy of one of its volumes, for which it may be paused, began or is over: the same. */
void instance_table_frozen(struct instance_table *table, const char *id, bool frozen);
void instance_table_trust_changed(struct instance_table *table);
/* Fills status->instances; the caller releases the status. */
void instance_table_observe(const struct instance_table *table, struct api_status *status);
void instance_table_each(const struct instance_table *table,
                         void (*each)(const struct instance *instance, void *data), void *data);
/* NULL when there is none. */
const struct instance *instance_table_find(const struct instance_table *table, const char *id);
bool instance_table_has(const struct instance_table *table, const char *id);
/* Whether an instance that is not over was booted from an image, or is to be. */
bool instance_table_uses_image(const struct instance_table *table, const char *digest,
                               const char *architecture);
size_t instance_table_count(const struct instance_table *table, enum instance_state state);
uint64_t instance_table_restarts(const struct instance_table *table);
