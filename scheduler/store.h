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

struct store;
struct store_watch;

struct store_identity {
    char cluster[CLUSTER_ID_MAX]; /* made with the store, never changed */
    uint64_t term;                /* grows whenever the store is restored from a backup */
};

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
};

struct store_document {
    const char *key;
    const char *value; /* in a watch, NULL: deleted */
    uint64_t revision;
};

/* `error` NULL: done, at `revision`. ERROR_CONFLICT: a comparison did not hold and nothing was
 * written; ERROR_TOO_LARGE: over a limit. */
typedef void store_commit_callback(const struct error *error, uint64_t revision, void *data);
/* `more`: there are further documents behind the last one. The documents live during the call. */
typedef void store_list_callback(const struct error *error, const struct store_document *documents,
                                 size_t count, bool more, void *data);
/* Changes up to `revision`, in order of revision; several changes of one key may come as the last
 * one. ERROR_STALE: `from` is older than what the store remembers of deletions; list again. After
 * an error the watch is over. */
typedef void store_watch_callback(const struct error *error, const struct store_document *changes,
                                  size_t count, uint64_t revision, void *data);
/* `leading` turns false when the lease was lost: whoever held it must stop deciding at once. */
typedef void store_lead_callback(bool leading, void *data);

const struct store_identity *store_identity(const struct store *store);
/* Copies the transaction. */
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
/* Asks for the one leader's lease; may take long where another one holds it. */
void store_lead(struct store *store, store_lead_callback *callback, void *data);
/* Waits until what was handed in is written. */
void store_destroy(struct store *store);
