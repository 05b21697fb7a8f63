/* The store in etcd (3.4 or later), for schedulers on several machines: any number open it, and who
 * has the lease writes.
 *
 * Keys below the prefix: `meta` (format, cluster and term), `leader` (the leader's document, bound
 * to its lease), `commit` (a marker that each transaction moves) and `documents/KEY`. Each
 * transaction compares who holds `leader` and where `commit` stands: so a deposed leader writes
 * nothing, and a transaction whose answer was lost is known to be done, or never to be done any
 * more, by moving the marker away. A commit of which neither can be learned before the lease is
 * lost ends with ERROR_UNKNOWN, after the lead callback said false: whoever goes on must read
 * the store anew. */
#pragma once

#include <uv.h>

#include "scheduler/store.h"

struct store_etcd_options {
    const char *endpoints; /* "http://10.0.0.1:2379,http://10.0.0.2:2379", tried in turn */
    const char *prefix;    /* of all keys; NULL: "/shoal/" */
    uint64_t lease_s;      /* 0: 3 s; etcd may give a longer one */
    uint64_t compact_ms;   /* the leader has what is older forgotten; 0: 5 minutes */
    /* etcd was brought back from a backup: begin a new term. */
    bool restored;
    const struct store_identity *adopt; /* as store_sqlite_open_empty; NULL: not */
};

/* Blocks until etcd has answered, at most some seconds. ERROR_PROTOCOL when a newer version wrote
 * there; ERROR_UNAVAILABLE, ERROR_TIMEOUT when no endpoint answers. */
int store_etcd_open(uv_loop_t *loop, const struct store_etcd_options *options,
                    struct store **ret_store, struct error *error);
