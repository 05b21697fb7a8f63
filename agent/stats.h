/* What this node tells of itself in numbers: the documents behind GET /v1/stats and /metrics.
 *
 * Loop thread only; reads, changes nothing. */
#pragma once

#include "agent/figures.h"
#include "agent/image_cache.h"
#include "agent/instance_table.h"
#include "lib/buffer.h"

struct stats_sources {
    const char *node;
    const struct instance_table *instances;
    const struct figures *figures;
    const struct image_cache *images; /* NULL: nothing is told of them */
    bool joined;                      /* the scheduler has taken this node in */
};

/* What is asked for: GET /v1/stats?of=instances|services|node&namespace=NS&service=NAME. */
struct stats_query {
    enum api_stats_of of;
    const char *namespace_name, *service; /* NULL: of all */
};

/* api_stats, and how many instances are in which state. The caller owns it. */
struct json_object *stats_document(const struct stats_sources *sources,
                                   const struct stats_query *query);
/* api_instance_stats of one. The caller owns it. */
int stats_instance_document(const struct stats_sources *sources, const char *id,
                            struct json_object **ret_document, struct error *error);
/* In Prometheus' text form 0.0.4. */
void stats_append_metrics(const struct stats_sources *sources, struct buffer *text);
