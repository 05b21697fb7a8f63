#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/top.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

const char *const top_kind_names[] = {"instances", "services", "nodes", NULL};
const char *const top_order_names[] = {"cpu", "memory", "network", "disk", "name", NULL};

/* --- order: the largest first, alike ones by name --- */

static uint64_t choose(enum top_order order, uint64_t cpu, uint64_t memory, uint64_t network,
                       uint64_t disk)
{
    switch (order) {
    case TOP_BY_CPU:
        return cpu;
    case TOP_BY_MEMORY:
        return memory;
    case TOP_BY_NETWORK:
        return network;
    case TOP_BY_DISK:
        return disk;
    case TOP_BY_NAME:
        break;
    }
    return 0;
}

static int compare(uint64_t left, uint64_t right, int names)
{
    if (left != right)
        return left > right ? -1 : 1;
    return names;
}

static uint64_t weigh_instance(const struct api_instance_figures *figures, enum top_order order)
{
    return choose(order, figures->cpu_ppm, figures->memory_private,
                  figures->received_rate + figures->sent_rate,
                  figures->read_rate + figures->write_rate);
}

static int compare_instances(const void *left, const void *right, void *order)
{
    const struct api_instance_figures *one = left, *other = right;
    int names = strcmp(one->namespace_name, other->namespace_name);
    if (names == 0)
        names = strcmp(one->service, other->service);
    if (names == 0)
        names = strcmp(one->id, other->id);
    return compare(weigh_instance(one, *(enum top_order *)order),
                   weigh_instance(other, *(enum top_order *)order), names);
}

static uint64_t weigh_service(const struct api_service_figures *figures, enum top_order order)
{
    return choose(order, figures->cpu_ppm, figures->memory_private,
                  figures->received_rate + figures->sent_rate,
                  figures->read_rate + figures->write_rate);
}

static int compare_services(const void *left, const void *right, void *order)
{
    const struct api_service_figures *one = left, *other = right;
    int names = strcmp(one->namespace_name, other->namespace_name);
    if (names == 0)
        names = strcmp(one->service, other->service);
    return compare(weigh_service(one, *(enum top_order *)order),
                   weigh_service(other, *(enum top_order *)order), names);
}

static uint64_t weigh_node(const struct api_node_figures *figures, enum top_order order)
{
    return choose(order, figures->cpu_ppm, figures->memory - figures->memory_available,
                  figures->received_rate + figures->sent_rate,
                  figures->read_rate + figures->write_rate);
}

static int compare_nodes(const void *left, const void *right, void *order)
{
    const struct api_node_figures *one = left, *other = right;
    return compare(weigh_node(one, *(enum top_order *)order),
                   weigh_node(other, *(enum top_order *)order), strcmp(one->node, other->node));
}

/* --- gathering --- */

static void add_service(struct api_service_figures *sum, const struct api_service_figures *more)
{
    sum->instances += more->instances;
    sum->cpu_ppm += more->cpu_ppm;
    sum->memory += more->memory;
    sum->memory_private += more->memory_private;
    sum->received_bytes += more->received_bytes;
    sum->received_rate += more->received_rate;
    sum->received_drops += more->received_drops;
    sum->sent_bytes += more->sent_bytes;
    sum->sent_rate += more->sent_rate;
    sum->sent_drops += more->sent_drops;
    sum->read_bytes += more->read_bytes;
    sum->read_rate += more->read_rate;
    sum->written_bytes += more->written_bytes;
    sum->write_rate += more->write_rate;
}

static void merge_services(struct top *top)
{
    enum top_order by_name = TOP_BY_NAME;
    size_t kept = 0;
    qsort_r(top->services, top->count, sizeof *top->services, compare_services, &by_name);
    for (size_t i = 0; i < top->count; i++) {
        if (kept > 0 &&
            compare_services(&top->services[kept - 1], &top->services[i], &by_name) == 0)
            add_service(&top->services[kept - 1], &top->services[i]);
        else
            top->services[kept++] = top->services[i];
    }
    top->count = kept;
}

static size_t count_rows(enum top_kind kind, const struct api_stats *stats)
{
    if (kind == TOP_NODES)
        return 1;
    return kind == TOP_SERVICES ? stats->service_count : stats->figure_count;
}

static void add_rows(struct top *top, const struct api_stats *stats)
{
    switch (top->kind) {
    case TOP_INSTANCES:
        for (size_t i = 0; i < stats->figure_count; i++)
            top->instances[top->count++] = stats->figures[i];
        break;
    case TOP_SERVICES:
        for (size_t i = 0; i < stats->service_count; i++)
            top->services[top->count++] = stats->services[i];
        break;
    case TOP_NODES:
        top->nodes[top->count++] = stats->host;
        break;
    }
}

void top_gather(enum top_kind kind, enum top_order order, const struct api_cluster_stats *stats,
                struct top *ret_top)
{
    struct top top = {.kind = kind};
    size_t most = 1;
    for (size_t i = 0; i < stats->node_count; i++)
        most += count_rows(kind, &stats->nodes[i]);
    if (kind == TOP_INSTANCES)
        top.instances = xcalloc(most, sizeof *top.instances);
    else if (kind == TOP_SERVICES)
        top.services = xcalloc(most, sizeof *top.services);
    else
        top.nodes = xcalloc(most, sizeof *top.nodes);
    for (size_t i = 0; i < stats->node_count; i++)
        add_rows(&top, &stats->nodes[i]);
    if (kind == TOP_INSTANCES) {
        qsort_r(top.instances, top.count, sizeof *top.instances, compare_instances, &order);
    } else if (kind == TOP_SERVICES) {
        merge_services(&top);
        qsort_r(top.services, top.count, sizeof *top.services, compare_services, &order);
    } else {
        qsort_r(top.nodes, top.count, sizeof *top.nodes, compare_nodes, &order);
    }
    *ret_top = top;
}

void top_release(struct top *top)
{
    free(top->instances);
    free(top->services);
    free(top->nodes);
    *top = (struct top){0};
}

/* --- tables --- */

/* "0.06%" of one processor; nothing where there is no rate yet. */
static void cell_cpu(struct table *table, uint64_t ppm, bool known)
{
    double percent = (double)ppm / 10000;
    if (!known)
        table_cell(table, "%s", "");
    else
        table_cell(table, "%.*f%%", percent < 10 ? 2 : 1, percent);
}

static void cell_bytes(struct table *table, uint64_t bytes)
{
    char text[FORMAT_MAX];
    format_bytes(bytes, text);
    table_cell(table, "%s", text);
}

/* What nobody has looked at yet has no figures: no process takes no memory. */
static void cell_known_bytes(struct table *table, uint64_t bytes, bool looked_at)
{
    if (looked_at)
        cell_bytes(table, bytes);
    else
        table_cell(table, "%s", "");
}

static void cell_rate(struct table *table, uint64_t rate, bool known)
{
    char text[FORMAT_MAX];
    format_bytes(rate, text);
    table_cell(table, "%s%s", known ? text : "", known ? "/s" : "");
}

static void cell_share(struct table *table, uint64_t used, uint64_t whole)
{
    char left[FORMAT_MAX], right[FORMAT_MAX];
    format_bytes(used, left);
    format_bytes(whole, right);
    table_cell(table, "%s/%s", left, right);
}

static void cell_uptime(struct table *table, uint64_t ms)
{
    char text[FORMAT_MAX];
    format_span(ms, text);
    table_cell(table, "%s", text);
}

/* "ready (old 98s)": what the row tells was so then. */
static void cell_aged(struct table *table, enum tone tone, const char *text, uint64_t age_ms)
{
    char age[FORMAT_MAX], marked[NAME_MAX_TEXT + FORMAT_MAX + 8];
    format_span(age_ms, age);
    snprintf(marked, sizeof marked, "%s (old %s)", text, age);
    table_cell_toned(table, age_ms > TOP_OLD_MS ? TONE_BAD : tone,
                     age_ms > TOP_OLD_MS ? marked : text);
}

static void instance_row(struct table *table, const struct api_instance_figures *figures)
{
    bool known = figures->interval_ms > 0, looked_at = figures->memory_private > 0;
    table_cell(table, "%s", figures->id);
    table_cell(table, "%s", figures->namespace_name);
    table_cell(table, "%s", figures->service);
    table_cell(table, "%s", figures->node);
    cell_aged(table, format_state_tone(figures->state), instance_state_names[figures->state],
              figures->age_ms);
    cell_cpu(table, figures->cpu_ppm, known);
    cell_known_bytes(table, figures->memory_private, looked_at);
    cell_known_bytes(table, figures->memory, looked_at);
    cell_rate(table, figures->received_rate, known);
    cell_rate(table, figures->sent_rate, known);
    cell_rate(table, figures->read_rate, known && figures->disks > 0);
    cell_rate(table, figures->write_rate, known && figures->disks > 0);
    cell_known_bytes(table, figures->received_bytes, looked_at);
    cell_known_bytes(table, figures->sent_bytes, looked_at);
    cell_known_bytes(table, figures->read_bytes, looked_at);
    cell_known_bytes(table, figures->written_bytes, looked_at);
    table_cell(table, "%llu", (unsigned long long)(figures->received_drops + figures->sent_drops));
    cell_uptime(table, figures->uptime_ms);
}

static void service_row(struct table *table, const struct api_service_figures *figures)
{
    bool looked_at = figures->memory_private > 0;
    table_cell(table, "%s", figures->namespace_name);
    table_cell(table, "%s", figures->service);
    table_cell(table, "%u", figures->instances);
    cell_cpu(table, figures->cpu_ppm, looked_at);
    cell_known_bytes(table, figures->memory_private, looked_at);
    cell_known_bytes(table, figures->memory, looked_at);
    cell_rate(table, figures->received_rate, looked_at);
    cell_rate(table, figures->sent_rate, looked_at);
    cell_rate(table, figures->read_rate, looked_at);
    cell_rate(table, figures->write_rate, looked_at);
    table_cell(table, "%llu", (unsigned long long)(figures->received_drops + figures->sent_drops));
}

static void node_row(struct table *table, const struct api_node_figures *figures)
{
    bool known = figures->interval_ms > 0;
    cell_aged(table, TONE_PLAIN, figures->node, figures->age_ms);
    table_cell(table, "%u", figures->instances);
    cell_cpu(table, figures->cpu_ppm, known);
    table_cell(table, "%u", figures->processors);
    cell_share(table, figures->memory - figures->memory_available, figures->memory);
    cell_share(table, figures->disk - figures->disk_available, figures->disk);
    cell_cpu(table, figures->guests_cpu_ppm, known);
    cell_bytes(table, figures->guests_memory_private);
    cell_rate(table, figures->received_rate, known);
    cell_rate(table, figures->sent_rate, known);
    cell_rate(table, figures->read_rate, known);
    cell_rate(table, figures->write_rate, known);
    cell_cpu(table, figures->agent_cpu_ppm, known);
    cell_bytes(table, figures->agent_memory_private);
}

static const struct table_column *const columns[] = {
    [TOP_INSTANCES] =
        (const struct table_column[]){
            {"ID", .right = false},     {"NAMESPACE", .wide = true}, {"SERVICE", .right = false},
            {"NODE", .right = false},   {"STATE", .right = false},   {"CPU", .right = true},
            {"MEMORY", .right = true},  {"RESIDENT", true, true},    {"NET IN", .right = true},
            {"NET OUT", .right = true}, {"READ", .right = true},     {"WRITE", .right = true},
            {"IN", true, true},         {"OUT", true, true},         {"READ IN ALL", true, true},
            {"WRITTEN", true, true},    {"DROPS", true, true},       {"UPTIME", .right = true},
            {NULL, false, false},
        },
    [TOP_SERVICES] =
        (const struct table_column[]){
            {"NAMESPACE", .right = false},
            {"SERVICE", .right = false},
            {"INSTANCES", .right = true},
            {"CPU", .right = true},
            {"MEMORY", .right = true},
            {"RESIDENT", true, true},
            {"NET IN", .right = true},
            {"NET OUT", .right = true},
            {"READ", .right = true},
            {"WRITE", .right = true},
            {"DROPS", true, true},
            {NULL, false, false},
        },
    [TOP_NODES] =
        (const struct table_column[]){
            {"NODE", .right = false},
            {"INSTANCES", .right = true},
            {"CPU", .right = true},
            {"OF", .right = true},
            {"MEMORY", .right = true},
            {"DISK", .right = true},
            {"GUESTS' CPU", .right = true},
            {"GUESTS' MEMORY", .right = true},
            {"NET IN", .right = true},
            {"NET OUT", .right = true},
            {"READ", .right = true},
            {"WRITE", .right = true},
            {"AGENT'S CPU", true, true},
            {"AGENT'S MEMORY", true, true},
            {NULL, false, false},
        },
};

struct table *top_table(const struct top *top, size_t most)
{
    struct table *table = table_create(columns[top->kind]);
    for (size_t i = 0; i < top->count && i < most; i++) {
        if (top->kind == TOP_INSTANCES)
            instance_row(table, &top->instances[i]);
        else if (top->kind == TOP_SERVICES)
            service_row(table, &top->services[i]);
        else
            node_row(table, &top->nodes[i]);
    }
    return table;
}

/* --- the document --- */

struct json_object *top_document(const struct top *top)
{
    struct json_object *rows = json_object_new_array();
    for (size_t i = 0; i < top->count; i++) {
        struct json_object *row;
        if (top->kind == TOP_INSTANCES)
            row = json_encode(&api_instance_figures_record, &top->instances[i]);
        else if (top->kind == TOP_SERVICES)
            row = json_encode(&api_service_figures_record, &top->services[i]);
        else
            row = json_encode(&api_node_figures_record, &top->nodes[i]);
        json_object_array_add(rows, row);
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, top_kind_names[top->kind], rows);
    return document;
}
