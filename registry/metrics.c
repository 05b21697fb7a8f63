#include "registry/metrics.h"

#include <string.h>

#include "lib/cleanup.h"

#define PREFIX "shoal_registry_"

static const struct {
    const char *name;
    const char *help;
} counter_texts[COUNTER_COUNT] = {
    [COUNTER_BLOBS_PULLED] = {"blobs_pulled", "Blobs and ranges of blobs sent."},
    [COUNTER_BLOBS_PUSHED] = {"blobs_pushed", "Blobs received and verified."},
    [COUNTER_BLOB_BYTES_PULLED] = {"blob_pulled_bytes", "Bytes of blobs sent."},
    [COUNTER_BLOB_BYTES_PUSHED] = {"blob_pushed_bytes", "Bytes of uploads received."},
    [COUNTER_MANIFESTS_PULLED] = {"manifests_pulled", "Manifests sent."},
    [COUNTER_MANIFESTS_PUSHED] = {"manifests_pushed", "Manifests stored."},
    [COUNTER_DELETIONS] = {"deletions", "Blobs, manifests and tags deleted by clients."},
    [COUNTER_REFUSED_UPLOADS] = {"uploads_refused", "Uploads whose bytes were not their digest's."},
    [COUNTER_REFUSED_REQUESTS] = {"requests_over_rate", "Requests refused by the rate limit."},
    [COUNTER_REFUSED_QUOTA] = {"pushes_over_quota", "Requests refused by a repository's quota."},
    [COUNTER_REFUSED_LOGINS] = {"logins_refused", "Wrong user names, passwords and tokens."},
    [COUNTER_COLLECTIONS] = {"collections", "Garbage collections that ended."},
    [COUNTER_COLLECTIONS_FAILED] = {"collections_failed", "Garbage collections that failed."},
    [COUNTER_COLLECTED_BLOBS] = {"collected_blobs", "Blobs removed by garbage collection."},
    [COUNTER_COLLECTED_BYTES] = {"collected_bytes", "Bytes freed by garbage collection."},
    [COUNTER_COLLECTED_MANIFESTS] = {"collected_manifests",
                                     "Manifests removed by garbage collection and retention."},
    [COUNTER_EXPIRED_UPLOADS] = {"uploads_expired", "Abandoned uploads removed."},
    [COUNTER_EXPIRED_TAGS] = {"tags_expired", "Tags removed by retention."},
    [COUNTER_CORRUPT_BLOBS] = {"corrupt_blobs", "Blobs found damaged and put in quarantine."},
};

static const char *const route_names[ROUTE_COUNT] = {
    [ROUTE_BASE] = "base",           [ROUTE_BLOB] = "blob",   [ROUTE_UPLOAD] = "upload",
    [ROUTE_MANIFEST] = "manifest",   [ROUTE_TAGS] = "tags",   [ROUTE_CATALOG] = "catalog",
    [ROUTE_REFERRERS] = "referrers", [ROUTE_TOKEN] = "token", [ROUTE_OTHER] = "other",
};

/* What is none of these is counted under the last one: labels must be few. */
static const char *const method_names[METRICS_METHODS] = {"GET",   "HEAD",   "PUT",  "POST",
                                                          "PATCH", "DELETE", "other"};
static const int statuses[METRICS_STATUSES] = {200, 201, 202, 204, 206, 304, 307, 400, 401, 403,
                                               404, 405, 408, 409, 411, 413, 414, 416, 417, 426,
                                               429, 500, 501, 502, 503, 504, 507, 0};

/* Upper bounds in microseconds. */
static const uint64_t bounds[METRICS_BUCKETS - 1] = {
    100,   250,    500,    1000,   2500,    5000,    10000,    25000,
    50000, 100000, 250000, 500000, 1000000, 5000000, 30000000, 120000000,
};

void metrics_count(struct metrics *metrics, enum metrics_counter counter, uint64_t amount)
{
    atomic_fetch_add_explicit(&metrics->counters[counter], amount, memory_order_relaxed);
}

static size_t method_index(const char *method)
{
    size_t i = 0;
    while (i < METRICS_METHODS - 1 && strcmp(method_names[i], method) != 0)
        i++;
    return i;
}

static size_t status_index(int status)
{
    size_t i = 0;
    while (i < METRICS_STATUSES - 1 && statuses[i] != status)
        i++;
    return i;
}

void metrics_observe(struct metrics *metrics, enum metrics_route route, const char *method,
                     int status, uint64_t bytes_in, uint64_t bytes_out, uint64_t microseconds)
{
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS - 1 && microseconds > bounds[bucket])
        bucket++;
    atomic_ullong *counted[] = {
        &metrics->requests[route][method_index(method)][status_index(status)],
        &metrics->bytes_in[route],
        &metrics->bytes_out[route],
        &metrics->latency[route].buckets[bucket],
        &metrics->latency[route].microseconds,
    };
    const uint64_t amounts[] = {1, bytes_in, bytes_out, 1, microseconds};
    for (size_t i = 0; i < ARRAY_LENGTH(counted); i++)
        atomic_fetch_add_explicit(counted[i], amounts[i], memory_order_relaxed);
}

static unsigned long long value_of(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void print_head(struct buffer *text, const char *name, const char *help, const char *type)
{
    buffer_printf(text, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void print_requests(const struct metrics *metrics, struct buffer *text)
{
    print_head(text, "requests_total", "Requests that ended.", "counter");
    for (size_t r = 0; r < ROUTE_COUNT; r++) {
        for (size_t m = 0; m < METRICS_METHODS; m++) {
            for (size_t s = 0; s < METRICS_STATUSES; s++) {
                unsigned long long count = value_of(&metrics->requests[r][m][s]);
                if (count > 0)
                    buffer_printf(text,
                                  PREFIX "requests_total{route=\"%s\",method=\"%s\",code=\"%d\"} "
                                         "%llu\n",
                                  route_names[r], method_names[m], statuses[s], count);
            }
        }
    }
}

static void print_bytes(struct buffer *text, const char *name, const char *help,
                        const atomic_ullong counters[ROUTE_COUNT])
{
    print_head(text, name, help, "counter");
    for (size_t r = 0; r < ROUTE_COUNT; r++)
        buffer_printf(text, PREFIX "%s{route=\"%s\"} %llu\n", name, route_names[r],
                      value_of(&counters[r]));
}

static void print_latency(const struct metrics *metrics, struct buffer *text)
{
    print_head(text, "request_duration_seconds",
               "From a request's first line to its answer's last byte.", "histogram");
    for (size_t r = 0; r < ROUTE_COUNT; r++) {
        unsigned long long count = 0;
        for (size_t b = 0; b < METRICS_BUCKETS; b++) {
            count += value_of(&metrics->latency[r].buckets[b]);
            buffer_printf(text, PREFIX "request_duration_seconds_bucket{route=\"%s\",le=\"",
                          route_names[r]);
            if (b < METRICS_BUCKETS - 1)
                buffer_printf(text, "%g\"} %llu\n", (double)bounds[b] / 1e6, count);
            else
                buffer_printf(text, "+Inf\"} %llu\n", count);
        }
        buffer_printf(text, PREFIX "request_duration_seconds_sum{route=\"%s\"} %.6f\n",
                      route_names[r], (double)value_of(&metrics->latency[r].microseconds) / 1e6);
        buffer_printf(text, PREFIX "request_duration_seconds_count{route=\"%s\"} %llu\n",
                      route_names[r], count);
    }
}

void metrics_print(const struct metrics *metrics, struct buffer *text)
{
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        const char *name = counter_texts[i].name;
        buffer_printf(text,
                      "# HELP " PREFIX "%s_total %s\n# TYPE " PREFIX "%s_total counter\n" PREFIX
                      "%s_total %llu\n",
                      name, counter_texts[i].help, name, name, value_of(&metrics->counters[i]));
    }
    print_requests(metrics, text);
    print_bytes(text, "request_bytes_total", "Bytes of requests' bodies.", metrics->bytes_in);
    print_bytes(text, "response_bytes_total", "Bytes of answers' bodies.", metrics->bytes_out);
    print_latency(metrics, text);
}

void metrics_print_gauge(struct buffer *text, const char *name, const char *help, uint64_t value)
{
    print_head(text, name, help, "gauge");
    buffer_printf(text, PREFIX "%s %llu\n", name, (unsigned long long)value);
}
