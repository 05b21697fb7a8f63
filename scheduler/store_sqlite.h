/* The embedded store: one SQLite file in a folder that one scheduler at a time may open.
 *
 * All reading and writing happens on a thread of its own; what queued up while a transaction was
 * being synced goes into the next one together (group commit). */
#pragma once

#include <uv.h>

#include "scheduler/store.h"

/* Deletions that a watch can still be told about, counted in revisions. */
#define STORE_SQLITE_REMEMBERED 10000

struct store_sqlite_options {
    const char *directory; /* made when it is not there */
    /* The folder was brought back from a backup: begin a new term. */
    bool restored;
};

/* Blocks while it opens. ERROR_CONFLICT when another scheduler has the folder open. */
int store_sqlite_open(uv_loop_t *loop, const struct store_sqlite_options *options,
                      struct store **ret_store, struct error *error);
/* For documents from elsewhere: the store, which has to be empty (else ERROR_CONFLICT), becomes the
 * one of the cluster `adopt`, with a term after that one's. */
int store_sqlite_open_empty(uv_loop_t *loop, const char *directory,
                            const struct store_identity *adopt, struct store **ret_store,
                            struct error *error);
