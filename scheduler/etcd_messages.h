/* What etcd's JSON gateway takes and gives: bodies of requests, and one decoder each for answers
 * and for the lines of a watch. Pure functions, any thread; they know nothing of what the keys
 * mean.
 *
 * The format is that of etcd's api/etcdserverpb/rpc.proto (3.4) as JSON: keys and values are
 * base64, 64 bit numbers are strings, and what is zero or false is left out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/error.h"

#define ETCD_LEASE_MAX 24 /* decimal digits of an int64, with NUL */

struct etcd_pair {
    char *key; /* NULL: a key that was asked for is not there */
    char *value;
    uint64_t create_revision;
    uint64_t revision; /* that last wrote it; of a deleted key in a watch: that deleted it */
    char lease[ETCD_LEASE_MAX]; /* "" : none */
    bool removed;
};

struct etcd_answer {
    uint64_t revision; /* of the whole store, when it answered */
    bool succeeded;    /* of a transaction: its comparisons held */
    bool more;         /* of a range: there are further keys */
    bool unsent;       /* with an error: nothing was sent, so nothing was done */
    uint64_t ttl_s;    /* of a lease; 0: it is gone */
    char lease[ETCD_LEASE_MAX];
    /* Of a range: what was found. Of a transaction: one for each read of the branch taken. */
    struct etcd_pair *pairs;
    size_t pair_count;
};

struct etcd_watch_message {
    bool canceled;
    bool fragment;             /* events of the same revision may follow in the next message */
    uint64_t compact_revision; /* not 0: the watch began before it */
    struct etcd_pair *events;
    size_t event_count;
    uint64_t revision;
};

/* ERROR_PROTOCOL when it is not such an answer. */
int etcd_answer_decode(const char *text, size_t length, struct etcd_answer *ret_answer,
                       struct error *error);
void etcd_answer_release(struct etcd_answer *answer);
int etcd_watch_decode(const char *text, size_t length, struct etcd_watch_message *ret_message,
                      struct error *error);
void etcd_watch_release(struct etcd_watch_message *message);
/* The body of an answer that is not 2xx. ERROR_UNAVAILABLE, ERROR_TIMEOUT: whether it was done is
 * not known; every other code: it was not done. Returns -1. */
int etcd_error_decode(int status, const char *text, size_t length, struct error *error);

/* At most `limit` keys from `from` on, before `end`; NULL `end`: the one key. */
char *etcd_range_body(const char *from, const char *end, size_t limit);
/* The same as of `revision`; 0: as of now. */
char *etcd_range_body_at(const char *from, const char *end, size_t limit, uint64_t revision);
/* All changes of those keys with a revision of at least `revision`. */
char *etcd_watch_body(const char *from, const char *end, uint64_t revision);
char *etcd_grant_body(uint64_t ttl_s);
char *etcd_lease_body(const char *lease);
char *etcd_compaction_body(uint64_t revision);

/* A transaction in the making: a zeroed struct is an empty one. */
struct etcd_txn {
    struct buffer compare, success, failure;
};

void etcd_txn_compare_created(struct etcd_txn *txn, const char *key, uint64_t revision);
/* 0: the key is not there. */
void etcd_txn_compare_revision(struct etcd_txn *txn, const char *key, uint64_t revision);
/* `lease` NULL: none. */
void etcd_txn_put(struct etcd_txn *txn, const char *key, const char *value, const char *lease);
void etcd_txn_delete(struct etcd_txn *txn, const char *key);
/* Reads a key when the comparisons do not hold; `whole`: with its value. */
void etcd_txn_read(struct etcd_txn *txn, const char *key, bool whole);
/* The body, which the caller frees; the transaction is empty again. */
char *etcd_txn_take(struct etcd_txn *txn);
