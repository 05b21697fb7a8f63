/* What `shoal top` shows, from the figures of many nodes: rows added up, in order, as a table or a
 * document. Pure. */
#pragma once

#include "cli/table.h"
#include "lib/api/figures.h"

/* Figures are taken every 5 s; older ones than this are said to be old. */
#define TOP_OLD_MS 15000

/* As enum api_stats_of. */
enum top_kind { TOP_INSTANCES, TOP_SERVICES, TOP_NODES };
extern const char *const top_kind_names[]; /* "instances", ... as typed; ends with NULL */

enum top_order { TOP_BY_CPU, TOP_BY_MEMORY, TOP_BY_NETWORK, TOP_BY_DISK, TOP_BY_NAME };
extern const char *const top_order_names[];

struct top {
    enum top_kind kind;
    struct api_instance_figures *instances;
    struct api_service_figures *services;
    struct api_node_figures *nodes;
    size_t count; /* of the list of that kind */
};

/* Takes what it needs of the answer by copying. A service that several nodes have is one row. */
void top_gather(enum top_kind kind, enum top_order order, const struct api_cluster_stats *stats,
                struct top *ret_top);
void top_release(struct top *top);
/* At most `most` rows. */
struct table *top_table(const struct top *top, size_t most);
/* {"instances": [...]}, {"services": [...]} or {"nodes": [...]}; the caller owns it. */
struct json_object *top_document(const struct top *top);
