#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/store_interface.h"

const struct store_identity *store_identity(const struct store *store)
{
    return &store->identity;
}

const char *store_cluster_check(const char *cluster)
{
    unsigned char bytes[(CLUSTER_ID_MAX - 1) / 2];
    return text_parse_hex(cluster, bytes, sizeof bytes) ? NULL : "a cluster's id: 32 hex digits";
}

static int check_key(const char *key, struct error *error)
{
    if (key[0] == '\0' || strlen(key) >= STORE_KEY_MAX)
        return error_set(error, ERROR_TOO_LARGE, "a store key has 1 to %d bytes: \"%.40s...\"",
                         STORE_KEY_MAX - 1, key);
    return 0;
}

static int compare_keys(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

/* etcd takes a key once in a transaction, and so does everybody. */
static int check_written_once(const struct store_transaction *transaction, struct error *error)
{
    const char *keys[STORE_WRITES_MAX] = {0};
    for (size_t i = 0; i < transaction->write_count; i++)
        keys[i] = transaction->writes[i].key;
    qsort(keys, transaction->write_count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < transaction->write_count; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0)
            return error_set(error, ERROR_INVALID, "%s is written twice in one transaction",
                             keys[i]);
    }
    return 0;
}

static int check_transaction(const struct store_transaction *transaction, struct error *error)
{
    if (transaction->write_count > STORE_WRITES_MAX ||
        transaction->comparison_count > STORE_COMPARISONS_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "%zu writes and %zu comparisons in one transaction: at most %d and %d",
                         transaction->write_count, transaction->comparison_count, STORE_WRITES_MAX,
                         STORE_COMPARISONS_MAX);
    size_t total = 0;
    for (size_t i = 0; i < transaction->write_count; i++) {
        const struct store_write *write = &transaction->writes[i];
        size_t length = write->value != NULL ? strlen(write->value) : 0;
        if (check_key(write->key, error) < 0)
            return -1;
        if (length > STORE_DOCUMENT_MAX)
            return error_set(error, ERROR_TOO_LARGE, "document %s has %zu bytes: at most %u",
                             write->key, length, STORE_DOCUMENT_MAX);
        total += length + strlen(write->key);
    }
    if (check_written_once(transaction, error) < 0)
        return -1;
    for (size_t i = 0; i < transaction->comparison_count; i++) {
        if (check_key(transaction->comparisons[i].key, error) < 0)
            return -1;
    }
    if (total > STORE_TRANSACTION_MAX)
        return error_set(error, ERROR_TOO_LARGE, "a transaction of %zu bytes: at most %u", total,
                         STORE_TRANSACTION_MAX);
    return 0;
}

static int check_leading(const struct store *store, struct error *error)
{
    if (store->leading)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "this scheduler does not lead and may write nothing: ask the one that does");
}

void store_commit(struct store *store, const struct store_transaction *transaction,
                  store_commit_callback *callback, void *data)
{
    struct error error = ERROR_INIT;
    if (check_leading(store, &error) < 0 || check_transaction(transaction, &error) < 0)
        store->implementation->refuse(store, &error, callback, data);
    else
        store->implementation->commit(store, transaction, callback, data);
}

void store_list(struct store *store, const char *prefix, const char *after, size_t limit,
                store_list_callback *callback, void *data)
{
    store->implementation->list(store, prefix, after, limit, callback, data);
}

struct store_watch *store_watch_start(struct store *store, const char *prefix, uint64_t from,
                                      store_watch_callback *callback, void *data)
{
    return store->implementation->watch_start(store, prefix, from, callback, data);
}

void store_watch_stop(struct store_watch *watch)
{
    if (watch != NULL)
        watch->store->implementation->watch_stop(watch);
}

/* --- who leads --- */

void store_lead(struct store *store, const char *document, store_lead_callback *callback,
                void *data)
{
    store->implementation->lead(store, document != NULL ? document : "{}", callback, data);
}

const char *store_leader(const struct store *store)
{
    return store->leader;
}

void store_follow_leader(struct store *store, store_leader_callback *callback, void *data)
{
    store->on_leader = callback;
    store->on_leader_data = data;
}

void store_tell_leading(struct store *store, bool leading, store_lead_callback *callback,
                        void *data)
{
    store->leading = leading;
    if (callback != NULL)
        callback(leading, data);
}

void store_tell_leader(struct store *store, const char *document)
{
    bool same = store->leader != NULL && document != NULL ? strcmp(store->leader, document) == 0
                                                          : store->leader == document;
    if (same)
        return;
    free(store->leader);
    store->leader = document != NULL ? xstrdup(document) : NULL;
    if (store->on_leader != NULL)
        store->on_leader(store->leader, store->on_leader_data);
}

void store_finish(struct store *store)
{
    free(store->leader);
}

void store_destroy(struct store *store)
{
    if (store == NULL)
        return;
    store_end_backup(store);
    store->implementation->destroy(store);
}

/* --- becoming another cluster's --- */

struct store_identity store_adopted_identity(const struct store_identity *present,
                                             const struct store_identity *from)
{
    struct store_identity adopted = *from;
    if (strcmp(present->cluster, from->cluster) == 0 && present->term > from->term)
        adopted.term = present->term;
    return adopted;
}

int store_refuse_adoption(const struct store_identity *present, struct error *error)
{
    return error_set(
        error, ERROR_CONFLICT,
        "it holds documents already, of cluster %s: restore into an empty one, or move "
        "these away first",
        present->cluster);
}
