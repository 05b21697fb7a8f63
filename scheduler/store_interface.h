/* For those who implement a store; users include store.h.
 *
 * An implementation embeds `struct store` as its first member, fills `implementation` and
 * `identity`, and may rely on what store.c checks before it calls: limits, key lengths. */
#pragma once

#include <stdatomic.h>

#include "scheduler/store.h"
#include "scheduler/store_copy.h"

#define STORE_TERM_MAX 0xffff /* four hex digits of an instance's id */

struct store_implementation {
    void (*commit)(struct store *store, const struct store_transaction *transaction,
                   store_commit_callback *callback, void *data);
    void (*list)(struct store *store, const char *prefix, const char *after, size_t limit,
                 store_list_callback *callback, void *data);
    struct store_watch *(*watch_start)(struct store *store, const char *prefix, uint64_t from,
                                       store_watch_callback *callback, void *data);
    void (*watch_stop)(struct store_watch *watch);
    void (*lead)(struct store *store, const char *document, store_lead_callback *callback,
                 void *data);
    void (*destroy)(struct store *store);
    /* On a thread of its own while everything else goes on: copies every document as of one moment,
     * and soon ends with an error once it is cancelled. Uses nothing that changes. */
    int (*copy)(const struct store *store, struct store_copy *copy, const atomic_bool *cancelled,
                struct error *error);
    /* Hands an error that store.c found to the callback, later, in its turn. */
    void (*refuse)(struct store *store, const struct error *error, store_commit_callback *callback,
                   void *data);
};

struct store {
    const struct store_implementation *implementation;
    struct store_identity identity;
    bool leading; /* what the lead callback last said */
    char *leader; /* the document of who leads */
    store_leader_callback *on_leader;
    void *on_leader_data;
    struct store_backup *backup; /* being made; NULL: none */
};

struct store_watch {
    struct store *store;
};

/* `leading` to the store and to who asked for the lease; NULL: nobody listens any more. */
void store_tell_leading(struct store *store, bool leading, store_lead_callback *callback,
                        void *data);
/* Copies the document of who leads (NULL: nobody), and tells who follows it when it changed. */
void store_tell_leader(struct store *store, const char *document);
/* What an empty store of `present` becomes by documents of `from`: the same cluster, a later term.
 */
struct store_identity store_adopted_identity(const struct store_identity *present,
                                             const struct store_identity *from);
int store_refuse_adoption(const struct store_identity *present, struct error *error);
/* Waits for the thread of a backup, which then fails. */
void store_end_backup(struct store *store);
/* Frees what `struct store` owns. */
void store_finish(struct store *store);
