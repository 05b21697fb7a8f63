#include <string.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/store_etcd_internal.h"

#define LEASE_S          3
#define COMPACT_EVERY_MS (5 * 60 * 1000)
#define OPEN_PATIENCE_MS 5000
#define OPEN_PAUSE_MS    200
/* What was handed in is written, and the lease given back, within so long of an end. */
#define END_PATIENCE_MS   5000
#define REVOKE_TIMEOUT_MS 1000

void store_etcd_complain(struct store_etcd *store, const char *about, const struct error *error)
{
    if (store->troubled)
        log_debug("etcd did not answer", "about", about, "error", error->message);
    else
        log_warn("etcd did not answer", "about", about, "error", error->message);
    store->troubled = true;
}

void store_etcd_note(struct store_etcd *store, const struct etcd_answer *answer)
{
    if (store->troubled)
        log_info("etcd answers again");
    store->troubled = false;
    if (answer->revision > store->revision)
        store->revision = answer->revision;
}

/* --- format, cluster and term --- */

struct meta {
    uint32_t format;
    struct store_identity identity;
};

static const struct json_field meta_fields[] = {
    JSON_FIELD(struct meta, format, "format", JSON_UINT, .flags = JSON_REQUIRED, .max = UINT32_MAX),
    JSON_FIELD(struct meta, identity.cluster, "cluster", JSON_STRING, .flags = JSON_REQUIRED,
               .check = store_cluster_check),
    JSON_FIELD(struct meta, identity.term, "term", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = STORE_TERM_MAX),
    JSON_FIELD_END,
};
static const struct json_record meta_record = {sizeof(struct meta), meta_fields};

/* One question, put to one endpoint after the other until one answers. */
static int ask(struct store_etcd *store, const char *path, const char *body,
               struct etcd_answer *ret_answer, struct error *error)
{
    uint64_t end = store_etcd_now() + OPEN_PATIENCE_MS;
    struct error found = ERROR_INIT;
    while (etcd_call_blocking(store->client, path, xstrdup(body), ETCD_TIMEOUT_MS, ret_answer,
                              &found) < 0) {
        if (!etcd_error_is_unclear(&found))
            return error_copy(error, &found);
        if (store_etcd_now() >= end) {
            error_wrap(&found,
                       "no etcd answers at %s: see that most of its members run and can be reached "
                       "from here",
                       etcd_client_endpoints(store->client));
            return error_copy(error, &found);
        }
        uv_sleep(OPEN_PAUSE_MS);
    }
    store_etcd_note(store, ret_answer);
    return 0;
}

static int read_meta(const struct etcd_answer *answer, struct meta *ret_meta, struct error *error)
{
    const char *text = answer->pairs[0].value;
    struct meta meta = {0};
    if (json_parse_record(&meta_record, text, strlen(text), JSON_LENIENT, &meta, error) < 0)
        return error_wrap(error, "the store's key \"meta\"");
    if (meta.format > ETCD_FORMAT)
        return error_set(error, ERROR_PROTOCOL,
                         "it has format %u, and this version knows formats up to %d: use a newer "
                         "version, or restore a backup of an older format",
                         meta.format, ETCD_FORMAT);
    *ret_meta = meta;
    return 0;
}

/* Writes the next meta where the key still is at `revision`; whoever was first, it is read again.
 */
static int write_meta(struct store_etcd *store, const char *key, const struct meta *meta,
                      uint64_t revision, bool *ret_written, struct error *error)
{
    struct etcd_txn txn = {0};
    struct etcd_answer answer = {0};
    AUTO_FREE char *value = json_record_text(&meta_record, meta);
    etcd_txn_compare_revision(&txn, key, revision);
    etcd_txn_put(&txn, key, value, NULL);
    AUTO_FREE char *body = etcd_txn_take(&txn);
    if (ask(store, "kv/txn", body, &answer, error) < 0)
        return -1;
    *ret_written = answer.succeeded;
    etcd_answer_release(&answer);
    return 0;
}

static int next_meta(struct meta *meta, struct error *error)
{
    if (meta->identity.cluster[0] == '\0') {
        unsigned char bytes[16];
        random_bytes(bytes, sizeof bytes);
        text_format_hex(bytes, sizeof bytes, meta->identity.cluster);
    }
    if (meta->identity.term >= STORE_TERM_MAX)
        return error_set(error, ERROR_TOO_LARGE, "the store was restored %d times: no terms left",
                         STORE_TERM_MAX);
    meta->format = ETCD_FORMAT;
    meta->identity.term++;
    return 0;
}

static int check_empty(struct store_etcd *store, struct error *error)
{
    struct etcd_answer answer = {0};
    AUTO_FREE char *end = xstrdup(store->documents);
    end[strlen(end) - 1]++;
    AUTO_FREE char *body = etcd_range_body(store->documents, end, 1);
    if (ask(store, "kv/range", body, &answer, error) < 0)
        return -1;
    bool empty = answer.pair_count == 0;
    etcd_answer_release(&answer);
    return empty ? 0
                 : error_set(error, ERROR_CONFLICT,
                             "it holds documents already: restore into an empty one, or first "
                             "etcdctl del --prefix %s",
                             store->root);
}

/* A new store gets its cluster's id, by whichever scheduler is first; one that came back from a
 * backup a new term. */
static int establish_identity(struct store_etcd *store, const struct store_etcd_options *options,
                              struct error *error)
{
    bool changes = options->restored || options->adopt != NULL;
    if (options->adopt != NULL && check_empty(store, error) < 0)
        return -1;
    AUTO_FREE char *key = xasprintf("%smeta", store->root);
    AUTO_FREE char *body = etcd_range_body(key, NULL, 1);
    for (;;) {
        struct etcd_answer answer = {0};
        struct meta meta = {0};
        if (ask(store, "kv/range", body, &answer, error) < 0)
            return -1;
        uint64_t revision = answer.pair_count > 0 ? answer.pairs[0].revision : 0;
        int result = revision > 0 ? read_meta(&answer, &meta, error) : 0;
        etcd_answer_release(&answer);
        if (result < 0)
            return -1;
        store->base.identity = meta.identity;
        if (revision > 0 && !changes)
            return 0;
        if (options->adopt != NULL)
            meta.identity = store_adopted_identity(&meta.identity, options->adopt);
        bool written = false;
        if (next_meta(&meta, error) < 0 ||
            write_meta(store, key, &meta, revision, &written, error) < 0)
            return -1;
        if (written)
            changes = false; /* it is ours: read it as everybody does */
    }
}

/* --- the end --- */

static void on_closed(uv_handle_t *handle)
{
    struct store_etcd *store = handle->data;
    if (--store->handles > 0)
        return;
    free(store->root);
    free(store->root_end);
    free(store->leader_key);
    free(store->marker_key);
    free(store->documents);
    free(store->document);
    store_finish(&store->base);
    free(store);
}

static void store_close(struct store_etcd *store)
{
    uv_timer_stop(&store->tick);
    store_etcd_drop_watches(store);
    store_etcd_stream_destroy(store->leader_stream);
    store_etcd_drop_queue(store);
    etcd_client_destroy(store->client);
    uv_close((uv_handle_t *)&store->tick, on_closed);
    uv_close((uv_handle_t *)&store->wake, on_closed);
}

static void on_revoked(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    (void)error;
    (void)answer;
    store->revocation = NULL;
    store->lease[0] = '\0';
    store->end_by_ms = 0;
    uv_async_send(&store->wake);
}

static void step_end(struct store_etcd *store, uint64_t now)
{
    bool waits = store->state == LEASE_HELD && !STAILQ_EMPTY(&store->queue);
    if (now < store->end_by_ms && waits)
        return;
    if (now < store->end_by_ms && store->lease[0] != '\0') {
        if (store->revocation == NULL)
            store->revocation =
                etcd_call_start(store->client, "lease/revoke", etcd_lease_body(store->lease),
                                REVOKE_TIMEOUT_MS, on_revoked, store);
        return;
    }
    store_close(store);
}

static void etcd_destroy(struct store *base)
{
    struct store_etcd *store = (struct store_etcd *)base;
    store->ending = true;
    store->end_by_ms = store_etcd_now() + END_PATIENCE_MS;
    uv_async_send(&store->wake);
}

/* --- everything's turn --- */

static void on_compacted(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    (void)answer;
    store->compaction = NULL;
    /* Somebody else's, etcd's own, may have been first. */
    if (error != NULL && error->code != ERROR_STALE)
        log_warn("etcd's old revisions could not be compacted", "error", error->message);
}

/* To where etcd was the last time: who reads a watch again has at least so long to come back. */
static void step_compaction(struct store_etcd *store, uint64_t now)
{
    if (store->state != LEASE_HELD || now < store->compact_ms || store->compaction != NULL)
        return;
    uint64_t to = store->compact_to;
    store->compact_ms = now + store->compact_every_ms;
    store->compact_to = store->revision;
    if (to > 0 && to < store->revision)
        store->compaction =
            etcd_call_start(store->client, "kv/compaction", etcd_compaction_body(to),
                            ETCD_TIMEOUT_MS, on_compacted, store);
}

static void take_turn(struct store_etcd *store)
{
    uint64_t now = store_etcd_now();
    if (!store->ending || (store->state == LEASE_HELD && store->revocation == NULL))
        store_etcd_tick_lease(store, now);
    store_etcd_step_watches(store, now);
    if (!store->ending)
        step_compaction(store, now);
    store_etcd_pump(store);
    if (store->ending && !uv_is_closing((uv_handle_t *)&store->tick))
        step_end(store, now);
}

static void on_wake(uv_async_t *async)
{
    take_turn(async->data);
}

static void on_tick(uv_timer_t *timer)
{
    take_turn(timer->data);
}

/* --- the beginning --- */

static const struct store_implementation etcd_implementation = {
    .commit = store_etcd_commit,
    .list = store_etcd_list,
    .watch_start = store_etcd_watch_start,
    .watch_stop = store_etcd_watch_stop,
    .lead = store_etcd_lead,
    .destroy = etcd_destroy,
    .copy = store_etcd_copy,
    .refuse = store_etcd_refuse,
};

static void name_keys(struct store_etcd *store, const char *prefix)
{
    store->root = xstrdup(prefix != NULL ? prefix : "/shoal/");
    store->root_end = xstrdup(store->root);
    store->root_end[strlen(store->root_end) - 1]++;
    store->leader_key = xasprintf("%sleader", store->root);
    store->marker_key = xasprintf("%scommit", store->root);
    store->documents = xasprintf("%sdocuments/", store->root);
}

int store_etcd_open(uv_loop_t *loop, const struct store_etcd_options *options,
                    struct store **ret_store, struct error *error)
{
    struct store_etcd *store = xcalloc(1, sizeof *store);
    store->base.implementation = &etcd_implementation;
    store->loop = loop;
    store->ttl_s = options->lease_s > 0 ? options->lease_s : LEASE_S;
    store->compact_every_ms = options->compact_ms > 0 ? options->compact_ms : COMPACT_EVERY_MS;
    STAILQ_INIT(&store->queue);
    LIST_INIT(&store->watches);
    name_keys(store, options->prefix);
    uv_async_init(loop, &store->wake, on_wake);
    uv_timer_init(loop, &store->tick);
    store->wake.data = store;
    store->tick.data = store;
    store->handles = 2;
    if (etcd_client_create(loop, options->endpoints, &store->client, error) < 0 ||
        establish_identity(store, options, error) < 0) {
        store_close(store);
        return error_wrap(error, "open the store in etcd");
    }
    uv_timer_start(&store->tick, on_tick, 0, ETCD_TICK_MS);
    *ret_store = &store->base;
    return 0;
}
