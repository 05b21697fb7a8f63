/* Who leads. A store that wants to keeps a lease of its own alive and asks now and then, and
 * whenever it sees the leader's key go, whether it may write that key bound to its lease. */
#include <inttypes.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"
#include "scheduler/store_etcd_internal.h"

/* Who leads is asked for so often where no watch says that it changed. */
#define POLL_MS 1000
/* Before etcd can have ended the lease by its clock, ours ends it. */
#define MARGIN_MS 300
/* Watches that do not come closer for so long: the lease is given back for another one to try. */
#define CATCH_UP_MS 10000

static void drop_lease(struct store_etcd *store)
{
    etcd_call_cancel(store->keepalive);
    store->keepalive = NULL;
    store->lease[0] = '\0';
}

void store_etcd_lose(struct store_etcd *store, const char *reason)
{
    bool led = store->base.leading;
    store_etcd_forget_group(store);
    etcd_call_cancel(store->lease_call);
    store->lease_call = NULL;
    drop_lease(store);
    store->poll_ms = 0;
    /* Before it was told of, it is only wanted still. */
    store->state = led ? LEASE_NONE : LEASE_WANTED;
    if (led)
        log_warn("the lease of the store is lost", "reason", reason);
    else
        log_debug("a lease that did not lead is lost", "reason", reason);
    if (led && !store->ending)
        store_tell_leading(&store->base, false, store->on_lead, store->on_lead_data);
    else
        store->base.leading = false;
    uv_async_send(&store->wake);
}

static void take_lead(struct store_etcd *store)
{
    store->state = LEASE_HELD;
    store->previous.code = ERROR_NONE;
    store->compact_ms = store_etcd_now() + store->compact_every_ms;
    store->compact_to = store->revision;
    store_tell_leader(&store->base, store->document);
    store_tell_leading(&store->base, true, store->on_lead, store->on_lead_data);
}

/* --- who has it --- */

/* `pair` NULL or without a key: nobody. What is older than what is known is not told. */
static void see_leader(struct store_etcd *store, const struct etcd_pair *pair, uint64_t revision)
{
    bool there = pair != NULL && pair->key != NULL && !pair->removed;
    if (revision < store->leader_revision || store->ending)
        return;
    store->leader_revision = revision;
    bool ours = there && store->lease[0] != '\0' && strcmp(pair->lease, store->lease) == 0;
    if (store->base.leading && !ours && revision > store->held_since) {
        store_etcd_lose(store, "the leader's key is gone from etcd");
        if (store->ending)
            return;
    }
    if (!ours)
        store_tell_leader(&store->base, there ? pair->value : NULL);
    if (!there)
        store->poll_ms = 0;
}

static void got_leader_key(struct store_etcd *store, uint64_t revision)
{
    store->held_since = revision;
    store->marker = revision;
    store->number = 0;
    store->leader_revision = revision;
    if (revision > store->written)
        store->written = revision;
    store->state = LEASE_CATCHING_UP;
    store->caught_up_by_ms = store_etcd_now() + CATCH_UP_MS;
}

void store_etcd_note_progress(struct store_etcd *store, uint64_t now)
{
    store->caught_up_by_ms = now + CATCH_UP_MS;
}

static void on_asked(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    store->lease_call = NULL;
    store->poll_ms = store_etcd_now() + POLL_MS;
    if (error != NULL) {
        store_etcd_complain(store, "who leads", error);
        if (error->code == ERROR_NOT_FOUND)
            drop_lease(store); /* it is not known to etcd any more */
        return;
    }
    store_etcd_note(store, answer);
    if (answer->succeeded) {
        got_leader_key(store, answer->revision);
        return;
    }
    if (answer->pair_count < 2)
        return;
    const struct etcd_pair *leader = &answer->pairs[0], *marker = &answer->pairs[1];
    if (marker->revision > store->written)
        store->written = marker->revision;
    /* An answer that was lost had said so already. */
    if (leader->key != NULL && strcmp(leader->lease, store->lease) == 0)
        got_leader_key(store, leader->create_revision);
    else
        see_leader(store, leader, answer->revision);
}

static void ask_for_lead(struct store_etcd *store)
{
    struct etcd_txn txn = {0};
    char marker[ETCD_LEASE_MAX + 4];
    snprintf(marker, sizeof marker, "%s/0", store->lease);
    etcd_txn_compare_created(&txn, store->leader_key, 0);
    etcd_txn_put(&txn, store->leader_key, store->document, store->lease);
    etcd_txn_put(&txn, store->marker_key, marker, NULL);
    etcd_txn_read(&txn, store->leader_key, true);
    etcd_txn_read(&txn, store->marker_key, true);
    store->lease_call = etcd_call_start(store->client, "kv/txn", etcd_txn_take(&txn),
                                        ETCD_TIMEOUT_MS, on_asked, store);
}

static void on_leader_read(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    store->lease_call = NULL;
    store->poll_ms = store_etcd_now() + POLL_MS;
    if (error != NULL) {
        store_etcd_complain(store, "who leads", error);
        return;
    }
    store_etcd_note(store, answer);
    see_leader(store, answer->pair_count > 0 ? &answer->pairs[0] : NULL, answer->revision);
}

static void on_leader_events(const struct etcd_pair *events, size_t count, uint64_t revision,
                             void *data)
{
    see_leader(data, &events[count - 1], revision);
}

static void on_leader_stale(void *data)
{
    struct store_etcd *store = data;
    /* Replaced at the next tick: this is called from within it. */
    store->leader_stream->seen = 0;
}

/* --- the lease itself --- */

static void on_granted(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    store->lease_call = NULL;
    if (error != NULL || answer->lease[0] == '\0' || answer->ttl_s == 0) {
        struct error none;
        error_set(&none, ERROR_PROTOCOL, "its answer has no lease");
        store_etcd_complain(store, "a lease", error != NULL ? error : &none);
        store->poll_ms = store_etcd_now() + POLL_MS;
        return;
    }
    store_etcd_note(store, answer);
    memcpy(store->lease, answer->lease, sizeof store->lease);
    store->lease_ms = answer->ttl_s * 1000;
    store->deadline_ms = store->poll_sent_ms + store->lease_ms;
    store->keepalive_ms = store->poll_sent_ms + store->lease_ms / 3;
    ask_for_lead(store);
}

static void ask_for_lease(struct store_etcd *store, uint64_t now)
{
    store->poll_sent_ms = now;
    store->lease_call = etcd_call_start(store->client, "lease/grant", etcd_grant_body(store->ttl_s),
                                        ETCD_TIMEOUT_MS, on_granted, store);
}

static void on_kept_alive(const struct error *error, const struct etcd_answer *answer, void *data)
{
    struct store_etcd *store = data;
    store->keepalive = NULL;
    if (error != NULL) {
        store_etcd_complain(store, "the lease", error);
        store->keepalive_ms = store_etcd_now() + ETCD_RETRY_MS;
    } else if (answer->ttl_s == 0) {
        store_etcd_lose(store, "etcd ended it: this scheduler, or etcd, stood still for too long");
    } else {
        store_etcd_note(store, answer);
        store->deadline_ms = store->keepalive_sent_ms + answer->ttl_s * 1000;
        store->keepalive_ms = store->keepalive_sent_ms + store->lease_ms / 3;
    }
}

static void keep_alive(struct store_etcd *store, uint64_t now)
{
    store->keepalive_sent_ms = now;
    store->keepalive =
        etcd_call_start(store->client, "lease/keepalive", etcd_lease_body(store->lease),
                        (unsigned)(store->lease_ms / 3), on_kept_alive, store);
}

void store_etcd_lead(struct store *base, const char *document, store_lead_callback *callback,
                     void *data)
{
    struct store_etcd *store = (struct store_etcd *)base;
    free(store->document);
    store->document = xstrdup(document);
    store->on_lead = callback;
    store->on_lead_data = data;
    store->state = LEASE_WANTED;
    store->poll_ms = 0;
    uv_async_send(&store->wake);
}

/* --- its turn --- */

static void step_lease(struct store_etcd *store, uint64_t now)
{
    if (store->lease[0] == '\0')
        return;
    if (now + MARGIN_MS >= store->deadline_ms)
        store_etcd_lose(store, "etcd was not heard of in time: see that most of its members run "
                               "and can be reached from here");
    else if (store->keepalive == NULL && now >= store->keepalive_ms)
        keep_alive(store, now);
}

static void step_asking(struct store_etcd *store, uint64_t now)
{
    if (store->lease_call != NULL || now < store->poll_ms)
        return;
    if (store->state == LEASE_NONE)
        store->lease_call =
            etcd_call_start(store->client, "kv/range", etcd_range_body(store->leader_key, NULL, 1),
                            ETCD_TIMEOUT_MS, on_leader_read, store);
    else if (store->state == LEASE_WANTED && store->lease[0] == '\0')
        ask_for_lease(store, now);
    else if (store->state == LEASE_WANTED)
        ask_for_lead(store);
}

static void step_catching_up(struct store_etcd *store, uint64_t now)
{
    if (store->state != LEASE_CATCHING_UP)
        return;
    if (store_etcd_watches_have_seen(store, store->held_since)) {
        take_lead(store);
    } else if (now >= store->caught_up_by_ms) {
        /* Nobody keeps the old one alive: it ends by itself. */
        store_etcd_lose(store, "the watches did not catch up");
        store->poll_ms = now + 2 * store->lease_ms;
    }
}

static void step_leader_stream(struct store_etcd *store, uint64_t now)
{
    if (store->leader_stream->seen == 0)
        store->leader_stream->seen = store->revision;
    if (store->leader_stream->retry_ms == UINT64_MAX)
        store->leader_stream->retry_ms = now;
    store_etcd_stream_step(store->leader_stream, now);
}

void store_etcd_tick_lease(struct store_etcd *store, uint64_t now)
{
    if (store->leader_stream == NULL) {
        store->leader_stream =
            store_etcd_stream_create(store, store->leader_key, NULL, store->revision);
        store->leader_stream->on_events = on_leader_events;
        store->leader_stream->on_stale = on_leader_stale;
        store->leader_stream->data = store;
    }
    step_leader_stream(store, now);
    step_lease(store, now);
    step_catching_up(store, now);
    step_asking(store, now);
}
