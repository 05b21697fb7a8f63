/* What the registry counts, in Prometheus' text form (exposition format 0.0.4). Any thread, without
 * locks; a scrape may see one request's numbers half counted. Knows no files and no database:
 * gauges of those are handed in by who asks. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

enum metrics_counter {
    COUNTER_BLOBS_PULLED,
    COUNTER_BLOBS_PUSHED,
    COUNTER_BLOB_BYTES_PULLED,
    COUNTER_BLOB_BYTES_PUSHED,
    COUNTER_MANIFESTS_PULLED,
    COUNTER_MANIFESTS_PUSHED,
    COUNTER_DELETIONS,
    COUNTER_REFUSED_UPLOADS,
    COUNTER_REFUSED_REQUESTS,
    COUNTER_REFUSED_QUOTA,
    COUNTER_REFUSED_LOGINS,
    COUNTER_COLLECTIONS,
    COUNTER_COLLECTIONS_FAILED,
    COUNTER_COLLECTED_BLOBS,
    COUNTER_COLLECTED_BYTES,
    COUNTER_COLLECTED_MANIFESTS,
    COUNTER_EXPIRED_UPLOADS,
    COUNTER_EXPIRED_TAGS,
    COUNTER_CORRUPT_BLOBS,
    COUNTER_COUNT,
};

/* What a request was about, by its route. */
enum metrics_route {
    ROUTE_BASE,
    ROUTE_BLOB,
    ROUTE_UPLOAD,
    ROUTE_MANIFEST,
    ROUTE_TAGS,
    ROUTE_CATALOG,
    ROUTE_REFERRERS,
    ROUTE_TOKEN,
    ROUTE_OTHER,
    ROUTE_COUNT,
};

enum { METRICS_METHODS = 7, METRICS_STATUSES = 28, METRICS_BUCKETS = 17 };

struct metrics {
    atomic_ullong counters[COUNTER_COUNT];
    atomic_ullong requests[ROUTE_COUNT][METRICS_METHODS][METRICS_STATUSES];
    atomic_ullong bytes_in[ROUTE_COUNT];
    atomic_ullong bytes_out[ROUTE_COUNT];
    struct {
        atomic_ullong buckets[METRICS_BUCKETS]; /* the last one: longer than all bounds */
        atomic_ullong microseconds;             /* of all together */
    } latency[ROUTE_COUNT];
};

void metrics_count(struct metrics *metrics, enum metrics_counter counter, uint64_t amount);
/* A request that ended. */
void metrics_observe(struct metrics *metrics, enum metrics_route route, const char *method,
                     int status, uint64_t bytes_in, uint64_t bytes_out, uint64_t microseconds);
void metrics_print(const struct metrics *metrics, struct buffer *text);
/* One gauge, "shoal_registry_<name>". */
void metrics_print_gauge(struct buffer *text, const char *name, const char *help, uint64_t value);
