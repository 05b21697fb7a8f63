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

/* The caller owns it. */
struct json_object *stats_document(const struct stats_sources *sources);
/* In Prometheus' text form 0.0.4. */
void stats_append_metrics(const struct stats_sources *sources, struct buffer *text);
