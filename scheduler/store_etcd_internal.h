/* What the files of the etcd store share: store_etcd.c opens, closes and gives everything its turn;
 * store_etcd_queue.c has commits and lists, store_etcd_lease.c who leads, store_etcd_watch.c the
 * watches. Loop thread only. Not for anyone else. */
#pragma once

#include <sys/queue.h>

#include "lib/clock.h"
#include "scheduler/etcd_client.h"
#include "scheduler/store_etcd.h"
#include "scheduler/store_interface.h"

/* What waits, waits for the next of these. */
#define ETCD_TICK_MS 100
/* One attempt of anything but a keepalive. */
#define ETCD_TIMEOUT_MS 3000
/* After an attempt that did not get through. */
#define ETCD_RETRY_MS 100
#define ETCD_FORMAT   1

enum etcd_request_kind { ETCD_COMMIT, ETCD_REFUSED, ETCD_LIST };

struct etcd_entry {
    char *key;
    char *value;
    uint64_t revision;
};

/* Waits in the queue in the order of the calls; the first ones are being worked on. */
struct etcd_request {
    enum etcd_request_kind kind;
    struct etcd_entry *comparisons;
    size_t comparison_count;
    struct etcd_entry *writes;
    size_t write_count;
    size_t bytes; /* of the writes */
    bool chained;
    bool unclear; /* was sent, and may have been done */
    char *prefix;
    char *after;
    size_t limit;
    struct error *refusal;
    uint64_t since_ms; /* first sent; 0: not yet */
    store_commit_callback *on_commit;
    store_list_callback *on_list;
    void *data;
    STAILQ_ENTRY(etcd_request) link;
};

/* One of etcd's watches, made again where it broke off. */
struct etcd_stream {
    struct store_etcd *store;
    char *from, *end; /* keys; `end` NULL: the one key */
    uint64_t seen;    /* everything up to this revision was told */
    struct http_call *call;
    struct buffer received;
    struct etcd_pair *events; /* of a revision of which more may come */
    size_t event_count;
    bool arrived; /* `received` has bytes, or the stream is over */
    bool over;
    uint64_t retry_ms;  /* when to begin again */
    uint64_t behind_ms; /* since when it lags behind what was written and nothing comes; 0: not */
    bool heard;         /* something came since that was looked at */
    /* Complete revisions, in order. */
    void (*on_events)(const struct etcd_pair *events, size_t count, uint64_t revision, void *data);
    /* What comes after `seen` was compacted; nothing comes after this. */
    void (*on_stale)(void *data);
    void *data;
};

struct etcd_watch {
    struct store_watch base;
    char *prefix;
    struct etcd_stream *stream; /* NULL: over */
    bool stopped;               /* freed when nobody walks the list */
    store_watch_callback *callback;
    void *data;
    LIST_ENTRY(etcd_watch) link;
};

enum etcd_lease_state {
    LEASE_NONE,        /* nobody asked for it */
    LEASE_WANTED,      /* asked for: another one has it, or etcd has not answered yet */
    LEASE_CATCHING_UP, /* ours, but watches have not been told of all that was before */
    LEASE_HELD,
};

struct store_etcd {
    struct store base;
    uv_loop_t *loop;
    struct etcd_client *client;
    uv_async_t wake;
    uv_timer_t tick;
    unsigned handles;
    char *root, *root_end; /* all our keys */
    char *leader_key, *marker_key, *documents;
    uint64_t revision; /* the latest that etcd told of */
    bool troubled;     /* the last call was not answered */
    uint64_t written;  /* the latest at which something of ours is known to have been written */

    /* the queue */
    STAILQ_HEAD(, etcd_request) queue;
    size_t queued;
    struct etcd_call *call; /* for the first of the queue */
    size_t group;           /* so many of the first went out together */
    size_t alone;           /* so many of the next are sent one by one */
    bool resolving;         /* whether the group was done has to be found out */
    uint64_t number;        /* of the last marker */
    uint64_t group_number;  /* of the group's marker */
    uint64_t marker;        /* revision of the marker's key */
    uint64_t retry_ms;
    struct error trouble;  /* why the group has to be resolved */
    struct error previous; /* how the last commit ended */

    /* the lease */
    enum etcd_lease_state state;
    char *document;
    store_lead_callback *on_lead;
    void *on_lead_data;
    uint64_t ttl_s;               /* asked for */
    char lease[ETCD_LEASE_MAX];   /* "": none */
    uint64_t lease_ms;            /* what etcd gave */
    uint64_t deadline_ms;         /* of our own clock; etcd's is later */
    uint64_t keepalive_ms;        /* when the next one is due */
    uint64_t keepalive_sent_ms;   /* of the one under way */
    uint64_t poll_ms;             /* when who leads is asked for again */
    uint64_t poll_sent_ms;        /* of the grant under way */
    uint64_t caught_up_by_ms;     /* else the lease is given back */
    uint64_t held_since;          /* revision that made our leader key */
    uint64_t leader_revision;     /* what is known of the leader is of this revision */
    struct etcd_call *lease_call; /* grant, or asking who leads */
    struct etcd_call *keepalive;
    struct etcd_stream *leader_stream;

    /* compaction */
    struct etcd_call *compaction;
    uint64_t compact_every_ms, compact_ms, compact_to;

    LIST_HEAD(, etcd_watch) watches;

    struct etcd_call *revocation;
    bool ending;
    uint64_t end_by_ms;
};

static inline uint64_t store_etcd_now(void)
{
    return clock_monotonic_ms(clock_system());
}

/* Logs that etcd did not answer, once until it answers again. */
void store_etcd_complain(struct store_etcd *store, const char *about, const struct error *error);
/* Notes the revisions that an answer tells of. */
void store_etcd_note(struct store_etcd *store, const struct etcd_answer *answer);
static inline bool etcd_error_is_unclear(const struct error *error)
{
    return error->code == ERROR_UNAVAILABLE || error->code == ERROR_TIMEOUT;
}

/* store_etcd_queue.c */
void store_etcd_commit(struct store *base, const struct store_transaction *transaction,
                       store_commit_callback *callback, void *data);
void store_etcd_refuse(struct store *base, const struct error *error,
                       store_commit_callback *callback, void *data);
void store_etcd_list(struct store *base, const char *prefix, const char *after, size_t limit,
                     store_list_callback *callback, void *data);
/* Sends what is next, and ends what can be ended at once. */
void store_etcd_pump(struct store_etcd *store);
/* What is under way for commits is of a lease that is lost. */
void store_etcd_forget_group(struct store_etcd *store);
void store_etcd_drop_queue(struct store_etcd *store);

/* store_etcd_copy.c */
int store_etcd_copy(const struct store *base, struct store_copy *copy, const atomic_bool *cancelled,
                    struct error *error);

/* store_etcd_lease.c */
void store_etcd_lead(struct store *base, const char *document, store_lead_callback *callback,
                     void *data);
void store_etcd_tick_lease(struct store_etcd *store, uint64_t now);
/* Watches come closer to what was written before the lease was got. */
void store_etcd_note_progress(struct store_etcd *store, uint64_t now);
/* The lease is lost, or about to be: says so and ends what waits. */
void store_etcd_lose(struct store_etcd *store, const char *reason);

/* store_etcd_watch.c */
struct etcd_stream *store_etcd_stream_create(struct store_etcd *store, const char *from,
                                             const char *end, uint64_t seen);
void store_etcd_stream_destroy(struct etcd_stream *stream);
/* Reads what came, and begins again what broke off. */
void store_etcd_stream_step(struct etcd_stream *stream, uint64_t now);
struct store_watch *store_etcd_watch_start(struct store *base, const char *prefix, uint64_t from,
                                           store_watch_callback *callback, void *data);
void store_etcd_watch_stop(struct store_watch *base);
void store_etcd_step_watches(struct store_etcd *store, uint64_t now);
/* Whether every watch was told of everything up to `revision`. */
bool store_etcd_watches_have_seen(const struct store_etcd *store, uint64_t revision);
void store_etcd_drop_watches(struct store_etcd *store);
