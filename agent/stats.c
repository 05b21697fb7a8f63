#include "agent/stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* --- the instances that run, with their figures --- */

struct listing {
    const struct stats_sources *sources;
    uint64_t now_ns;
    struct api_instance_figures *items;
    size_t count;
};

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void list_one(const struct instance *instance, void *data)
{
    struct listing *listing = data;
    struct api_instance_figures figures = {.slot = instance->assigned.slot};
    struct api_observed_instance observed;
    if (instance_vm(instance) != INSTANCE_VM_RUNNING ||
        !figures_fill(listing->sources->figures, instance->id, listing->now_ns, &figures))
        return;
    instance_observe(instance, "", &observed);
    figures.state = observed.state;
    figures.uptime_ms = observed.uptime_ms;
    memcpy(figures.id, instance->id, sizeof figures.id);
    memcpy(figures.namespace_name, instance->assigned.namespace_name,
           sizeof figures.namespace_name);
    memcpy(figures.service, instance->assigned.service, sizeof figures.service);
    strncpy(figures.node, listing->sources->node, sizeof figures.node - 1);
    listing->items[listing->count++] = figures;
}

static int compare_ids(const void *left, const void *right)
{
    return strcmp(((const struct api_instance_figures *)left)->id,
                  ((const struct api_instance_figures *)right)->id);
}

/* The caller frees the items. */
static struct listing list_instances(const struct stats_sources *sources)
{
    struct listing listing = {.sources = sources, .now_ns = monotonic_ns()};
    size_t most = figures_count(sources->figures) + 1;
    listing.items = xcalloc(most, sizeof *listing.items);
    instance_table_each(sources->instances, list_one, &listing);
    qsort(listing.items, listing.count, sizeof *listing.items, compare_ids);
    return listing;
}

/* --- JSON --- */

static struct json_object *images_document(const struct image_cache *images)
{
    struct image_cache_figures figures = image_cache_observe(images);
    struct json_object *object = json_object_new_object();
    json_object_object_add(object, "bytes", json_object_new_uint64(figures.bytes));
    json_object_object_add(object, "limit", json_object_new_uint64(figures.limit));
    json_object_object_add(object, "images", json_object_new_uint64(figures.images));
    json_object_object_add(object, "files", json_object_new_uint64(figures.files));
    json_object_object_add(object, "evictions", json_object_new_uint64(figures.evictions));
    json_object_object_add(object, "evicted_bytes", json_object_new_uint64(figures.evicted_bytes));
    return object;
}

struct json_object *stats_document(const struct stats_sources *sources)
{
    struct json_object *states = json_object_new_object();
    for (int state = 0; instance_state_names[state] != NULL; state++) {
        size_t count = instance_table_count(sources->instances, (enum instance_state)state);
        json_object_object_add(states, instance_state_names[state],
                               json_object_new_int64((int64_t)count));
    }
    struct listing listing = list_instances(sources);
    struct json_object *figures = json_object_new_array();
    for (size_t i = 0; i < listing.count; i++)
        json_object_array_add(figures,
                              json_encode(&api_instance_figures_record, &listing.items[i]));
    free(listing.items);
    struct json_object *stats = json_object_new_object();
    json_object_object_add(stats, "node", json_object_new_string(sources->node));
    json_object_object_add(stats, "instances", states);
    json_object_object_add(stats, "restarts",
                           json_object_new_uint64(instance_table_restarts(sources->instances)));
    json_object_object_add(stats, "joined", json_object_new_boolean(sources->joined));
    json_object_object_add(stats, "figures", figures);
    if (sources->images != NULL)
        json_object_object_add(stats, "image_cache", images_document(sources->images));
    return stats;
}

/* --- Prometheus --- */

static void describe(struct buffer *text, const char *name, const char *type, const char *help)
{
    buffer_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void append_node(const struct stats_sources *sources, struct buffer *text)
{
    describe(text, "shoal_agent_instances", "gauge", "Instances on this node by state.");
    for (int state = 0; instance_state_names[state] != NULL; state++)
        buffer_printf(text, "shoal_agent_instances{state=\"%s\"} %zu\n",
                      instance_state_names[state],
                      instance_table_count(sources->instances, (enum instance_state)state));
    describe(text, "shoal_agent_instance_restarts", "gauge",
             "Restarts in place of the instances here.");
    buffer_printf(text, "shoal_agent_instance_restarts %" PRIu64 "\n",
                  instance_table_restarts(sources->instances));
    describe(text, "shoal_agent_joined", "gauge", "Whether the scheduler has taken this node in.");
    buffer_printf(text, "shoal_agent_joined %d\n", sources->joined);
}

static void append_number(struct buffer *text, const char *name, const char *type, uint64_t number,
                          const char *help)
{
    describe(text, name, type, help);
    buffer_printf(text, "%s %" PRIu64 "\n", name, number);
}

static void append_images(const struct image_cache *images, struct buffer *text)
{
    struct image_cache_figures figures = image_cache_observe(images);
    append_number(text, "shoal_agent_image_cache_bytes", "gauge", figures.bytes,
                  "What images take of this node's disk.");
    append_number(text, "shoal_agent_image_cache_limit_bytes", "gauge", figures.limit,
                  "Above that, images that no instance uses are removed.");
    append_number(text, "shoal_agent_image_cache_images", "gauge", figures.images,
                  "Images that this node keeps.");
    append_number(text, "shoal_agent_image_cache_files", "gauge", figures.files,
                  "Kernels, initrds and disks that this node keeps.");
    append_number(text, "shoal_agent_image_cache_evictions_total", "counter", figures.evictions,
                  "Images that were removed since the agent's start.");
    append_number(text, "shoal_agent_image_cache_evicted_bytes_total", "counter",
                  figures.evicted_bytes, "Bytes of them.");
}

/* One family of series, a series for each running instance. */
static const struct series {
    const char *name, *type, *help;
    size_t offset; /* in struct api_instance_figures, of a uint64_t */
    double unit;   /* what is told for one of it */
} instance_series[] = {
#define SERIES(member) offsetof(struct api_instance_figures, member)
    {"shoal_instance_cpu_seconds_total", "counter",
     "Processor time of the microVM since it booted.", SERIES(cpu_us), 1e-6},
    {"shoal_instance_memory_bytes", "gauge",
     "Memory of the microVM that is resident, shared files included.", SERIES(memory), 1},
    {"shoal_instance_memory_private_bytes", "gauge",
     "Memory of the microVM that is resident and in no file.", SERIES(memory_private), 1},
    {"shoal_instance_uptime_seconds", "gauge", "Time since the microVM booted.", SERIES(uptime_ms),
     1e-3},
    {"shoal_instance_network_receive_bytes_total", "counter", "Bytes that the guest was sent.",
     SERIES(received_bytes), 1},
    {"shoal_instance_network_receive_packets_total", "counter", "Packets that the guest was sent.",
     SERIES(received_packets), 1},
    {"shoal_instance_network_receive_drops_total", "counter",
     "Packets that the guest did not take in time.", SERIES(received_drops), 1},
    {"shoal_instance_network_transmit_bytes_total", "counter", "Bytes that the guest sent.",
     SERIES(sent_bytes), 1},
    {"shoal_instance_network_transmit_packets_total", "counter", "Packets that the guest sent.",
     SERIES(sent_packets), 1},
    {"shoal_instance_network_transmit_drops_total", "counter",
     "Packets of the guest that the host did not take.", SERIES(sent_drops), 1},
#undef SERIES
};

static void append_series(const struct series *series, const struct listing *listing,
                          struct buffer *text)
{
    describe(text, series->name, series->type, series->help);
    for (size_t i = 0; i < listing->count; i++) {
        const struct api_instance_figures *figures = &listing->items[i];
        uint64_t value;
        memcpy(&value, (const char *)figures + series->offset, sizeof value);
        buffer_printf(text, "%s{namespace=\"%s\",service=\"%s\",instance=\"%s\"} ", series->name,
                      figures->namespace_name, figures->service, figures->id);
        if (series->unit == 1)
            buffer_printf(text, "%" PRIu64 "\n", value);
        else
            buffer_printf(text, "%.6f\n", (double)value * series->unit);
    }
}

void stats_append_metrics(const struct stats_sources *sources, struct buffer *text)
{
    struct listing listing = list_instances(sources);
    append_node(sources, text);
    if (sources->images != NULL)
        append_images(sources->images, text);
    for (size_t i = 0; i < ARRAY_LENGTH(instance_series); i++)
        append_series(&instance_series[i], &listing, text);
    free(listing.items);
}
