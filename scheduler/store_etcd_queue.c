/* Commits and lists of the etcd store, in the order of the calls, one thing at a time.
 *
 * What waits together goes out together: transactions that do not touch each other's keys become
 * one of etcd's. When that one's comparisons do not hold, each is sent by itself.
 *
 * A group whose answer is lost is resolved: moving the marker away, which the group compares,
 * either works, and then the group was not done and never will be, or it does not, because the
 * group moved it first. */
#include <inttypes.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "scheduler/store_etcd_internal.h"

/* A commit or list that etcd has not taken after so long fails. */
#define PATIENCE_MS 10000
/* More than so many waiting is more than etcd will make good for. */
#define QUEUE_MAX  20000
#define MARKER_MAX 48
/* Reads of the branch that is taken when a comparison does not hold. */
#define READ_LEADER      0
#define READ_MARKER      1
#define READ_COMPARISONS 2

/* --- handing in --- */

static void free_entries(struct etcd_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(entries[i].key);
        free(entries[i].value);
    }
    free(entries);
}

static void request_free(struct etcd_request *request)
{
    free_entries(request->comparisons, request->comparison_count);
    free_entries(request->writes, request->write_count);
    free(request->prefix);
    free(request->after);
    free(request->refusal);
    free(request);
}

static struct etcd_request *hand_in(struct store_etcd *store, enum etcd_request_kind kind,
                                    void *data)
{
    struct etcd_request *request = xcalloc(1, sizeof *request);
    request->kind = kind;
    request->data = data;
    STAILQ_INSERT_TAIL(&store->queue, request, link);
    store->queued++;
    uv_async_send(&store->wake);
    return request;
}

void store_etcd_refuse(struct store *base, const struct error *error,
                       store_commit_callback *callback, void *data)
{
    struct etcd_request *request = hand_in((struct store_etcd *)base, ETCD_REFUSED, data);
    request->on_commit = callback;
    request->refusal = xmemdup(error, sizeof *error);
}

static bool is_overloaded(struct store_etcd *store, store_commit_callback *callback, void *data)
{
    struct error error;
    if (store->queued < QUEUE_MAX)
        return false;
    error_set(&error, ERROR_UNAVAILABLE,
              "%zu changes wait for etcd already: it is too slow for this cluster (%s)",
              store->queued, etcd_client_endpoints(store->client));
    store_etcd_refuse(&store->base, &error, callback, data);
    return true;
}

void store_etcd_commit(struct store *base, const struct store_transaction *transaction,
                       store_commit_callback *callback, void *data)
{
    struct store_etcd *store = (struct store_etcd *)base;
    if (is_overloaded(store, callback, data))
        return;
    struct etcd_request *request = hand_in(store, ETCD_COMMIT, data);
    request->on_commit = callback;
    request->chained = transaction->chained;
    request->comparisons = xcalloc(transaction->comparison_count + 1, sizeof(struct etcd_entry));
    request->writes = xcalloc(transaction->write_count + 1, sizeof(struct etcd_entry));
    for (size_t i = 0; i < transaction->comparison_count; i++)
        request->comparisons[request->comparison_count++] = (struct etcd_entry){
            xstrdup(transaction->comparisons[i].key), NULL, transaction->comparisons[i].revision};
    for (size_t i = 0; i < transaction->write_count; i++) {
        const struct store_write *write = &transaction->writes[i];
        request->writes[request->write_count++] =
            (struct etcd_entry){xstrdup(write->key), xstrdup(write->value), 0};
        request->bytes += strlen(write->key) + (write->value != NULL ? strlen(write->value) : 0);
    }
}

void store_etcd_list(struct store *base, const char *prefix, const char *after, size_t limit,
                     store_list_callback *callback, void *data)
{
    struct etcd_request *request = hand_in((struct store_etcd *)base, ETCD_LIST, data);
    request->on_list = callback;
    request->prefix = xstrdup(prefix);
    request->after = xstrdup(after);
    request->limit = limit;
}

void store_etcd_drop_queue(struct store_etcd *store)
{
    while (!STAILQ_EMPTY(&store->queue)) {
        struct etcd_request *request = STAILQ_FIRST(&store->queue);
        STAILQ_REMOVE_HEAD(&store->queue, link);
        request_free(request);
    }
    store->queued = 0;
}

static struct etcd_request *pop(struct store_etcd *store)
{
    struct etcd_request *request = STAILQ_FIRST(&store->queue);
    STAILQ_REMOVE_HEAD(&store->queue, link);
    store->queued--;
    return request;
}

/* --- the end of a commit --- */

/* Of the first of the queue; `error` NULL: done. */
static void finish_commit(struct store_etcd *store, const struct error *error, uint64_t revision)
{
    struct etcd_request *request = pop(store);
    if (store->alone > 0)
        store->alone--;
    if (error != NULL)
        store->previous = *error;
    else
        store->previous.code = ERROR_NONE;
    if (!store->ending)
        request->on_commit(error != NULL ? &store->previous : NULL, revision, request->data);
    request_free(request);
}

static void finish_group(struct store_etcd *store, const struct error *error, uint64_t revision)
{
    /* A callback may hand in more, behind them. */
    for (size_t left = store->group; left > 0; left--)
        finish_commit(store, error, revision);
    store->group = 0;
}

void store_etcd_forget_group(struct store_etcd *store)
{
    if (store->group > 0) {
        etcd_call_cancel(store->call);
        store->call = NULL;
    }
    struct etcd_request *request = STAILQ_FIRST(&store->queue);
    for (size_t left = store->group; left > 0; left--, request = STAILQ_NEXT(request, link))
        request->unclear = true;
    store->group = 0;
    store->alone = 0;
    store->resolving = false;
    store->retry_ms = 0;
}

/* The lease was lost while it waited. */
static void finish_without_lease(struct store_etcd *store, const struct etcd_request *request)
{
    struct error error;
    if (request->unclear)
        error_set(&error, ERROR_UNKNOWN,
                  "this scheduler lost its lead while the change was being written: whether it was "
                  "is not known here; ask the one that leads now");
    else
        error_set(&error, ERROR_CONFLICT,
                  "this scheduler lost its lead before the change was written: ask the one that "
                  "leads now");
    finish_commit(store, &error, 0);
}

/* --- groups --- */

static bool writes_key(const struct etcd_request *request, const char *key)
{
    for (size_t i = 0; i < request->write_count; i++) {
        if (strcmp(request->writes[i].key, key) == 0)
            return true;
    }
    return false;
}

/* Whether `later` neither writes nor compares what `earlier` writes: etcd takes each key once, and
 * compares before it writes. */
static bool is_apart(const struct etcd_request *earlier, const struct etcd_request *later)
{
    for (size_t i = 0; i < later->write_count; i++) {
        if (writes_key(earlier, later->writes[i].key))
            return false;
    }
    for (size_t i = 0; i < later->comparison_count; i++) {
        if (writes_key(earlier, later->comparisons[i].key))
            return false;
    }
    return true;
}

static bool fits(const struct store_etcd *store, const struct etcd_request *last)
{
    size_t writes = 0, comparisons = 0, bytes = 0;
    const struct etcd_request *request;
    STAILQ_FOREACH(request, &store->queue, link)
    {
        writes += request->write_count;
        comparisons += request->comparison_count;
        bytes += request->bytes;
        if (request == last)
            break;
        if (!is_apart(request, last))
            return false;
    }
    return writes <= STORE_WRITES_MAX && comparisons <= STORE_COMPARISONS_MAX &&
           bytes <= STORE_TRANSACTION_MAX;
}

static size_t choose_group(const struct store_etcd *store)
{
    const struct etcd_request *first = STAILQ_FIRST(&store->queue), *request = first;
    size_t count = 0;
    if (store->alone > 0)
        return 1;
    for (; request != NULL && request->kind == ETCD_COMMIT; request = STAILQ_NEXT(request, link)) {
        if (count == STORE_WRITES_MAX || (request != first && !fits(store, request)))
            break;
        count++;
    }
    return count;
}

/* "LEASE/NUMBER" */
static void write_marker(const struct store_etcd *store, uint64_t number, char marker[MARKER_MAX])
{
    snprintf(marker, MARKER_MAX, "%s/%" PRIu64, store->lease, number);
}

/* What every transaction compares and moves. */
static void begin_txn(struct store_etcd *store, struct etcd_txn *txn)
{
    char marker[MARKER_MAX];
    write_marker(store, ++store->number, marker);
    etcd_txn_compare_created(txn, store->leader_key, store->held_since);
    etcd_txn_compare_revision(txn, store->marker_key, store->marker);
    etcd_txn_put(txn, store->marker_key, marker, NULL);
    etcd_txn_read(txn, store->leader_key, true);
    etcd_txn_read(txn, store->marker_key, true);
}

static void add_request(struct store_etcd *store, struct etcd_txn *txn,
                        const struct etcd_request *request)
{
    for (size_t i = 0; i < request->comparison_count; i++) {
        const struct etcd_entry *entry = &request->comparisons[i];
        AUTO_FREE char *key = xasprintf("%s%s", store->documents, entry->key);
        etcd_txn_compare_revision(txn, key, entry->revision);
        etcd_txn_read(txn, key, false);
    }
    for (size_t i = 0; i < request->write_count; i++) {
        const struct etcd_entry *entry = &request->writes[i];
        AUTO_FREE char *key = xasprintf("%s%s", store->documents, entry->key);
        if (entry->value != NULL)
            etcd_txn_put(txn, key, entry->value, NULL);
        else
            etcd_txn_delete(txn, key);
    }
}

static void try_again(struct store_etcd *store)
{
    store->retry_ms = store_etcd_now() + ETCD_RETRY_MS;
}

/* The lease's compare held when the marker was moved, or `read` says who has it now. */
static bool still_leads(const struct store_etcd *store, const struct etcd_answer *answer)
{
    return answer->pair_count > READ_LEADER &&
           answer->pairs[READ_LEADER].create_revision == store->held_since;
}

/* The group's marker is there: it was done. */
static bool group_was_done(const struct store_etcd *store, const struct etcd_answer *answer)
{
    char marker[MARKER_MAX];
    write_marker(store, store->group_number, marker);
    return answer->pair_count > READ_MARKER && answer->pairs[READ_MARKER].value != NULL &&
           strcmp(answer->pairs[READ_MARKER].value, marker) == 0;
}

static void finish_done(struct store_etcd *store, uint64_t revision)
{
    store->marker = revision;
    store->resolving = false;
    if (revision > store->written)
        store->written = revision;
    finish_group(store, NULL, revision);
}

static void finish_refused(struct store_etcd *store, const struct etcd_answer *answer)
{
    const struct etcd_request *request = STAILQ_FIRST(&store->queue);
    struct error error;
    error_set(&error, ERROR_CONFLICT, "a document changed in between");
    for (size_t i = 0; i < request->comparison_count; i++) {
        size_t read = READ_COMPARISONS + i;
        if (read < answer->pair_count &&
            answer->pairs[read].revision != request->comparisons[i].revision)
            error_set(&error, ERROR_CONFLICT, "%s changed in between", request->comparisons[i].key);
    }
    finish_group(store, &error, 0);
}

static void on_group_refused(struct store_etcd *store, const struct etcd_answer *answer)
{
    /* A connection that broke made curl send it twice. */
    if (group_was_done(store, answer)) {
        finish_done(store, answer->pairs[READ_MARKER].revision);
    } else if (!still_leads(store, answer)) {
        store_etcd_lose(store, "another one has the lease, or nobody");
    } else if (answer->pairs[READ_MARKER].revision != store->marker) {
        store_etcd_lose(store, "somebody else wrote below our prefix");
    } else if (store->group > 1) {
        store->alone = store->group;
        store->group = 0;
    } else {
        finish_refused(store, answer);
    }
}

/* It was not done and never will be: once more, or no more. */
static void group_was_not_done(struct store_etcd *store, uint64_t marker)
{
    uint64_t since = STAILQ_FIRST(&store->queue)->since_ms;
    store->marker = marker;
    store->resolving = false;
    if (store_etcd_now() - since < PATIENCE_MS) {
        store->group = 0;
        try_again(store);
        return;
    }
    error_wrap(&store->trouble, "etcd is too slow or unreachable: see that most of its members run "
                                "and that their disks keep up");
    finish_group(store, &store->trouble, 0);
}

static void on_group(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    store->call = NULL;
    if (error == NULL) {
        store_etcd_note(store, answer);
        if (answer->succeeded)
            finish_done(store, answer->revision);
        else
            on_group_refused(store, answer);
    } else if (etcd_error_is_unclear(error)) {
        store_etcd_complain(store, "a transaction", error);
        store->trouble = *error;
        store->resolving = !answer->unsent;
        if (answer->unsent)
            group_was_not_done(store, store->marker);
    } else {
        log_error("etcd refused a transaction", "error", error->message);
        if (error->code == ERROR_STORAGE_FULL)
            store->compact_ms = 0; /* now, and not minutes from now */
        finish_group(store, error, 0);
    }
    store_etcd_pump(store);
}

static void send_group(struct store_etcd *store)
{
    struct etcd_txn txn = {0};
    store->group = choose_group(store);
    begin_txn(store, &txn);
    store->group_number = store->number;
    struct etcd_request *request = STAILQ_FIRST(&store->queue);
    for (size_t left = store->group; left > 0; left--, request = STAILQ_NEXT(request, link)) {
        if (request->since_ms == 0)
            request->since_ms = store_etcd_now();
        add_request(store, &txn, request);
    }
    store->call = etcd_call_start(store->client, "kv/txn", etcd_txn_take(&txn), ETCD_TIMEOUT_MS,
                                  on_group, store);
}

/* --- finding out --- */

/* Whether the marker is of an earlier attempt to move it away. */
static bool was_moved_away(const struct store_etcd *store, const struct etcd_answer *answer)
{
    size_t length = strlen(store->lease);
    const char *value = answer->pair_count > READ_MARKER ? answer->pairs[READ_MARKER].value : NULL;
    return value != NULL && strncmp(value, store->lease, length) == 0 && value[length] == '/' &&
           answer->pairs[READ_MARKER].revision > store->marker;
}

static void on_moved(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    store->call = NULL;
    if (error != NULL && etcd_error_is_unclear(error)) {
        try_again(store);
    } else if (error != NULL) {
        store_etcd_lose(store, error->message);
    } else if (answer->succeeded) {
        group_was_not_done(store, answer->revision);
    } else if (group_was_done(store, answer)) {
        finish_done(store, answer->pairs[READ_MARKER].revision);
    } else if (still_leads(store, answer) && was_moved_away(store, answer)) {
        group_was_not_done(store, answer->pairs[READ_MARKER].revision);
    } else {
        store_etcd_lose(store, "another one has the lease, or nobody");
    }
    store_etcd_pump(store);
}

static void move_marker_away(struct store_etcd *store)
{
    struct etcd_txn txn = {0};
    begin_txn(store, &txn);
    store->call = etcd_call_start(store->client, "kv/txn", etcd_txn_take(&txn), ETCD_TIMEOUT_MS,
                                  on_moved, store);
}

/* --- lists --- */

static void finish_list(struct store_etcd *store, const struct error *error,
                        const struct etcd_answer *answer)
{
    struct etcd_request *request = pop(store);
    size_t skipped = strlen(store->documents);
    struct store_document *documents = xcalloc(answer->pair_count + 1, sizeof *documents);
    for (size_t i = 0; i < answer->pair_count; i++)
        documents[i] = (struct store_document){answer->pairs[i].key + skipped,
                                               answer->pairs[i].value, answer->pairs[i].revision};
    if (!store->ending)
        request->on_list(error, documents, answer->pair_count, answer->more, answer->revision,
                         request->data);
    free(documents);
    request_free(request);
}

static void on_list(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    struct etcd_request *request = STAILQ_FIRST(&store->queue);
    struct error failure;
    store->call = NULL;
    if (error == NULL) {
        store_etcd_note(store, answer);
        finish_list(store, NULL, answer);
    } else if (error->code == ERROR_TOO_LARGE && request->limit > 1) {
        request->limit /= 2; /* large documents: fewer at a time */
    } else if (etcd_error_is_unclear(error) && store_etcd_now() - request->since_ms < PATIENCE_MS) {
        try_again(store);
    } else {
        error_copy(&failure, error);
        error_wrap(&failure, "read the store");
        finish_list(store, &failure, answer);
    }
    store_etcd_pump(store);
}

static void send_list(struct store_etcd *store, struct etcd_request *request)
{
    AUTO_FREE char *start = xasprintf("%s%s", store->documents, request->prefix);
    AUTO_FREE char *end = xstrdup(start);
    /* The first key behind all that start so: keys are text, without the byte 0xff. */
    end[strlen(end) - 1]++;
    /* No key has a byte below this one: the next key is at least `after` with it behind. */
    AUTO_FREE char *behind =
        request->after != NULL ? xasprintf("%s%s\x01", store->documents, request->after) : NULL;
    const char *from = behind != NULL && strcmp(behind, start) > 0 ? behind : start;
    if (request->since_ms == 0)
        request->since_ms = store_etcd_now();
    store->call =
        etcd_call_start(store->client, "kv/range", etcd_range_body(from, end, request->limit),
                        ETCD_TIMEOUT_MS, on_list, store);
}

/* --- whose turn it is --- */

void store_etcd_pump(struct store_etcd *store)
{
    while (store->call == NULL && !STAILQ_EMPTY(&store->queue) &&
           store_etcd_now() >= store->retry_ms) {
        struct etcd_request *request = STAILQ_FIRST(&store->queue);
        struct error refusal;
        if (store->resolving) {
            move_marker_away(store);
        } else if (request->kind == ETCD_LIST) {
            if (store->ending)
                request_free(pop(store));
            else
                send_list(store, request);
        } else if (request->kind == ETCD_REFUSED) {
            refusal = *request->refusal;
            finish_commit(store, &refusal, 0);
        } else if (request->chained && store->previous.code != ERROR_NONE) {
            refusal = store->previous;
            finish_commit(store, &refusal, 0);
        } else if (store->state != LEASE_HELD) {
            finish_without_lease(store, request);
        } else {
            send_group(store);
        }
    }
}
