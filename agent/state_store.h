/* The agent's local state: what it has to know again after a restart without a scheduler.
 *
 * Owns one SQLite file with documents by key and instance records by id. Reading is done at the
 * start and blocks; writes are handed to a thread of its own, which joins those that wait into one
 * transaction, so the loop never waits for the disk. A write may be lost with the process when it
 * is killed at once: what runs is found again by the host half, and the scheduler's word is fetched
 * again. Loop thread only. */
#pragma once

#include "lib/error.h"

#define STATE_CLUSTER    "cluster"    /* api_join_answer: where this agent belongs */
#define STATE_ASSIGNMENT "assignment" /* api_assignment without its instances */
#define STATE_ENDPOINTS  "endpoints"  /* api_endpoints, whole */
#define STATE_TRUST      "trust"      /* api_trust */
#define STATE_IMAGES     "images"     /* image_cache_save: what was used when */

struct state_store;

int state_store_open(const char *path, struct state_store **ret_store, struct error *error);
/* Writes what waits, then closes. */
void state_store_close(struct state_store *store);

/* --- reading: before the first write only --- */
/* The caller frees the text; NULL when there is none. */
int state_store_get(struct state_store *store, const char *key, char **ret_text,
                    struct error *error);
/* Calls `each` for every instance record. */
int state_store_each_instance(struct state_store *store,
                              void (*each)(const char *id, const char *text, void *data),
                              void *data, struct error *error);

/* --- writing: copies, returns at once --- */
void state_store_put(struct state_store *store, const char *key, const char *text);
void state_store_put_instance(struct state_store *store, const char *id, const char *text);
void state_store_remove_instance(struct state_store *store, const char *id);
/* Waits until all writes so far are on the disk; for tests and for the end. */
void state_store_flush(struct state_store *store);
