/* The scheduler's memory beyond its process: key -> JSON document, each with the revision that last
 * wrote it, changed by compare-and-swap transactions.
 *
 * SQLite (store_sqlite.h) and etcd implement it behind store_interface.h with the same limits.
 * Loop thread only. Each call ends in exactly one callback, later, from the loop, in the order of
 * the calls; after store_destroy in none. A commit's callback comes when the writes are durable.
 * The store knows nothing of what the documents mean. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/api/protocol.h"
#include "lib/error.h"

#define STORE_WRITES_MAX      100
#define STORE_COMPARISONS_MAX 100
#define STORE_TRANSACTION_MAX (1u << 20)   /* bytes of keys and values */
#define STORE_DOCUMENT_MAX    (256u << 10) /* bytes of a value */
#define STORE_KEY_MAX         256          /* with NUL */
#define STORE_LEADER_MAX      4096         /* bytes of a leader's document */

struct store;
struct store_watch;

struct store_identity {
    char cluster[CLUSTER_ID_MAX]; /* made with the store, never changed */
    uint64_t term;                /* grows whenever the store is restored from a backup */
};

/* NULL for a cluster's id, else what one is: for readers of what came from outside. */
const char *store_cluster_check(const char *cluster);

struct store_write {
    const char *key;
    const char *value; /* NULL: delete */
};

struct store_comparison {
    const char *key;
    uint64_t revision; /* the document's; 0: there is none */
};

struct store_transaction {
    const struct store_comparison *comparisons;
    size_t comparison_count;
    const struct store_write *writes;
    size_t write_count;
    /* Fails too when the commit handed in just before it failed, with that one's error: pieces of
     * one decision, of which the first that fails is the last. */
    bool chained;
};

struct store_document {
    const char *key;
    const char *value; /* in a watch, NULL: deleted */
    uint64_t revision;
};

/* `error` NULL: done, at `revision`. ERROR_UNKNOWN: the lease was lost meanwhile, and whether it
 * was done is not known: read anew. Else nothing was written. ERROR_CONFLICT: a comparison did not
 * hold, or the store does not lead (not yet, or no longer); ERROR_TOO_LARGE: over a limit;
 * ERROR_STORAGE_FULL, ERROR_IO, ERROR_UNAVAILABLE, ERROR_TIMEOUT: worth trying again. */
typedef void store_commit_callback(const struct error *error, uint64_t revision, void *data);
/* `more`: there are further documents behind the last one. `revision`: the store's when it was
 * read; a watch from the one of a first page misses nothing that changes behind it. The documents
 * live during the call. */
typedef void store_list_callback(const struct error *error, const struct store_document *documents,
                                 size_t count, bool more, uint64_t revision, void *data);
/* Changes up to `revision`, in order of revision; several changes of one key may come as the last
 * one. ERROR_STALE: `from` is older than what the store remembers of deletions; list again. After
 * an error the watch is over, and is not stopped any more. */
typedef void store_watch_callback(const struct error *error, const struct store_document *changes,
                                  size_t count, uint64_t revision, void *data);
/* True once, when the lease was got; every watch has been told before of all that others committed.
 * Then false once, when it was lost: whoever held it must stop deciding at once. After that the
 * lease may be asked for again. */
typedef void store_lead_callback(bool leading, void *data);
/* The document of who leads; NULL: nobody, as far as is known here. */
typedef void store_leader_callback(const char *document, void *data);

const struct store_identity *store_identity(const struct store *store);
/* Copies the transaction, which writes a key once. */
void store_commit(struct store *store, const struct store_transaction *transaction,
                  store_commit_callback *callback, void *data);
/* At most `limit` documents whose keys start with `prefix`, in order of key, behind `after` (NULL:
 * from the first). */
void store_list(struct store *store, const char *prefix, const char *after, size_t limit,
                store_list_callback *callback, void *data);
/* Every change under `prefix` with a revision above `from`, then what comes. */
struct store_watch *store_watch_start(struct store *store, const char *prefix, uint64_t from,
                                      store_watch_callback *callback, void *data);
void store_watch_stop(struct store_watch *watch);
/* Asks for the one leader's lease; may take long where another one holds it. `document` is what
 * others can read of who leads, like {"address": "http://10.0.0.1:7000"}; NULL: {}. Commits fail
 * before the callback said true and after it said false. Not while it is asked for or held. */
void store_lead(struct store *store, const char *document, store_lead_callback *callback,
                void *data);
/* The document of who leads, this store included; NULL: nobody, as far as is known here. Lives
 * until the loop runs on. */
const char *store_leader(const struct store *store);
/* Tells of every change of store_leader, one callback a store; NULL: no longer. */
void store_follow_leader(struct store *store, store_leader_callback *callback, void *data);
/* Writes what was handed in, without callbacks, and gives the lease up; may go on on the loop. */
void store_destroy(struct store *store);
