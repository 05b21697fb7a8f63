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
    bool with_new; /* those too that nobody has looked at yet */
    struct api_instance_figures *items;
    size_t count, capacity;
};

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* False when it does not run, or, unless `with_new`, was not looked at yet: its figures are 0. */
static bool fill_instance(const struct stats_sources *sources, const struct instance *instance,
                          uint64_t now_ns, bool with_new, struct api_instance_figures *ret_figures)
{
    struct api_instance_figures figures = {.slot = instance->assigned.slot};
    struct api_observed_instance observed;
    if (instance_vm(instance) != INSTANCE_VM_RUNNING ||
        (!figures_fill(sources->figures, instance->id, now_ns, &figures) && !with_new))
        return false;
    instance_observe(instance, "", &observed);
    figures.state = observed.state;
    figures.uptime_ms = observed.uptime_ms;
    memcpy(figures.id, instance->id, sizeof figures.id);
    memcpy(figures.namespace_name, instance->assigned.namespace_name,
           sizeof figures.namespace_name);
    memcpy(figures.service, instance->assigned.service, sizeof figures.service);
    strncpy(figures.node, sources->node, sizeof figures.node - 1);
    *ret_figures = figures;
    return true;
}

static void list_one(const struct instance *instance, void *data)
{
    struct listing *listing = data;
    struct api_instance_figures figures;
    if (!fill_instance(listing->sources, instance, listing->now_ns, listing->with_new, &figures))
        return;
    if (listing->count == listing->capacity) {
        listing->capacity *= 2;
        listing->items = xreallocarray(listing->items, listing->capacity, sizeof *listing->items);
    }
    listing->items[listing->count++] = figures;
}

static int compare_ids(const void *left, const void *right)
{
    return strcmp(((const struct api_instance_figures *)left)->id,
                  ((const struct api_instance_figures *)right)->id);
}

/* The caller frees the items. */
static struct listing list_instances(const struct stats_sources *sources, bool with_new)
{
    struct listing listing = {.sources = sources, .now_ns = monotonic_ns(), .with_new = with_new};
    listing.capacity = figures_count(sources->figures) + 1;
    listing.items = xcalloc(listing.capacity, sizeof *listing.items);
    instance_table_each(sources->instances, list_one, &listing);
    qsort(listing.items, listing.count, sizeof *listing.items, compare_ids);
    return listing;
}

static bool is_asked(const struct stats_query *query, const struct api_instance_figures *figures)
{
    return (query->namespace_name == NULL ||
            strcmp(query->namespace_name, figures->namespace_name) == 0) &&
           (query->service == NULL || strcmp(query->service, figures->service) == 0);
}

/* --- what they add up to --- */

static void add_to_service(struct api_service_figures *sum,
                           const struct api_instance_figures *figures)
{
    sum->instances++;
    sum->cpu_ppm += figures->cpu_ppm;
    sum->memory += figures->memory;
    sum->memory_private += figures->memory_private;
    sum->received_bytes += figures->received_bytes;
    sum->received_rate += figures->received_rate;
    sum->received_drops += figures->received_drops;
    sum->sent_bytes += figures->sent_bytes;
    sum->sent_rate += figures->sent_rate;
    sum->sent_drops += figures->sent_drops;
    sum->read_bytes += figures->read_bytes;
    sum->read_rate += figures->read_rate;
    sum->written_bytes += figures->written_bytes;
    sum->write_rate += figures->write_rate;
}

static int compare_services(const void *left, const void *right)
{
    const struct api_instance_figures *one = left, *other = right;
    int order = strcmp(one->namespace_name, other->namespace_name);
    return order != 0 ? order : strcmp(one->service, other->service);
}

/* The listing is in the services' order afterwards. */
static void add_up_services(struct listing *listing, struct api_stats *stats)
{
    qsort(listing->items, listing->count, sizeof *listing->items, compare_services);
    stats->services = xcalloc(listing->count + 1, sizeof *stats->services);
    for (size_t i = 0; i < listing->count; i++) {
        const struct api_instance_figures *figures = &listing->items[i];
        if (i == 0 || compare_services(figures, figures - 1) != 0) {
            struct api_service_figures *sum = &stats->services[stats->service_count++];
            memcpy(sum->namespace_name, figures->namespace_name, sizeof sum->namespace_name);
            memcpy(sum->service, figures->service, sizeof sum->service);
        }
        add_to_service(&stats->services[stats->service_count - 1], figures);
    }
}

static void fill_node(const struct stats_sources *sources, const struct listing *listing,
                      struct api_node_figures *node)
{
    strncpy(node->node, sources->node, sizeof node->node - 1);
    figures_fill_node(sources->figures, listing->now_ns, node);
    for (size_t i = 0; i < listing->count; i++) {
        const struct api_instance_figures *figures = &listing->items[i];
        node->instances++;
        node->guests_cpu_ppm += figures->cpu_ppm;
        node->guests_memory += figures->memory;
        node->guests_memory_private += figures->memory_private;
        node->received_rate += figures->received_rate;
        node->sent_rate += figures->sent_rate;
        node->read_rate += figures->read_rate;
        node->write_rate += figures->write_rate;
    }
}

static void keep_asked(struct listing *listing, const struct stats_query *query)
{
    size_t kept = 0;
    for (size_t i = 0; i < listing->count; i++) {
        if (is_asked(query, &listing->items[i]))
            listing->items[kept++] = listing->items[i];
    }
    listing->count = kept;
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

static void add_counts(const struct stats_sources *sources, struct json_object *document)
{
    struct json_object *states = json_object_new_object();
    for (int state = 0; instance_state_names[state] != NULL; state++) {
        size_t count = instance_table_count(sources->instances, (enum instance_state)state);
        json_object_object_add(states, instance_state_names[state],
                               json_object_new_int64((int64_t)count));
    }
    json_object_object_add(document, "instances", states);
    json_object_object_add(document, "restarts",
                           json_object_new_uint64(instance_table_restarts(sources->instances)));
    json_object_object_add(document, "joined", json_object_new_boolean(sources->joined));
    if (sources->images != NULL)
        json_object_object_add(document, "image_cache", images_document(sources->images));
}

struct json_object *stats_document(const struct stats_sources *sources,
                                   const struct stats_query *query)
{
    struct listing listing = list_instances(sources, true);
    struct api_stats stats = {0};
    strncpy(stats.node, sources->node, sizeof stats.node - 1);
    fill_node(sources, &listing, &stats.host);
    keep_asked(&listing, query);
    if (query->of == API_STATS_SERVICES)
        add_up_services(&listing, &stats);
    if (query->of == API_STATS_INSTANCES) {
        stats.figures = listing.items;
        stats.figure_count = listing.count;
    }
    struct json_object *document = json_encode(&api_stats_record, &stats);
    add_counts(sources, document);
    free(listing.items);
    free(stats.services);
    return document;
}

int stats_instance_document(const struct stats_sources *sources, const char *id,
                            struct json_object **ret_document, struct error *error)
{
    const struct instance *instance = instance_table_find(sources->instances, id);
    if (instance == NULL)
        return error_set(error, ERROR_NOT_FOUND, "no instance %.32s on node %s", id, sources->node);
    struct api_instance_stats stats = {.boot_ms = instance->boot_ms, .steps = instance->steps};
    memcpy(stats.id, instance->id, sizeof stats.id);
    stats.has_figures = fill_instance(sources, instance, monotonic_ns(), false, &stats.figures);
    *ret_document = json_encode(&api_instance_stats_record, &stats);
    return 0;
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

struct series {
    const char *name, *type, *help;
    size_t offset; /* of a uint64_t in the figures' struct */
    double unit;   /* what is told for one of it */
};

static const struct series node_series[] = {
#define SERIES(member) offsetof(struct api_node_figures, member)
    {"shoal_agent_cpu_seconds_total", "counter", "Processor time of both halves of the agent.",
     SERIES(agent_cpu_us), 1e-6},
    {"shoal_agent_memory_private_bytes", "gauge",
     "Memory of both halves of the agent that is resident and in no file.",
     SERIES(agent_memory_private), 1},
    {"shoal_node_cpu_busy", "gauge", "Processors that were busy, over the last seconds.",
     SERIES(cpu_ppm), 1e-6},
    {"shoal_node_memory_bytes", "gauge", "Memory of the machine.", SERIES(memory), 1},
    {"shoal_node_memory_available_bytes", "gauge", "Memory of the machine that could be had.",
     SERIES(memory_available), 1},
    {"shoal_node_disk_bytes", "gauge", "Size of the file system of the agent's state.",
     SERIES(disk), 1},
    {"shoal_node_disk_available_bytes", "gauge", "Room on the file system of the agent's state.",
     SERIES(disk_available), 1},
#undef SERIES
};

static void append_value(struct buffer *text, const void *figures, size_t offset, double unit)
{
    uint64_t value;
    memcpy(&value, (const char *)figures + offset, sizeof value);
    if (unit == 1)
        buffer_printf(text, "%" PRIu64 "\n", value);
    else
        buffer_printf(text, "%.6f\n", (double)value * unit);
}

static void append_machine(const struct listing *listing, struct buffer *text)
{
    struct api_node_figures node = {0};
    if (!figures_fill_node(listing->sources->figures, listing->now_ns, &node))
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(node_series); i++) {
        const struct series *series = &node_series[i];
        describe(text, series->name, series->type, series->help);
        buffer_printf(text, "%s ", series->name);
        append_value(text, &node, series->offset, series->unit);
    }
}

/* Each a family of series, one for each running instance. */
static const struct series instance_series[] = {
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

/* For those that have disks. */
static const struct series disk_series[] = {
#define SERIES(member) offsetof(struct api_instance_figures, member)
    {"shoal_instance_disk_read_bytes_total", "counter", "Bytes that the guest read from its disks.",
     SERIES(read_bytes), 1},
    {"shoal_instance_disk_reads_total", "counter", "Times that the guest read from its disks.",
     SERIES(read_operations), 1},
    {"shoal_instance_disk_written_bytes_total", "counter",
     "Bytes that the guest wrote to its disks.", SERIES(written_bytes), 1},
    {"shoal_instance_disk_writes_total", "counter", "Times that the guest wrote to its disks.",
     SERIES(write_operations), 1},
#undef SERIES
};

static void append_series(const struct series *series, const struct listing *listing,
                          struct buffer *text)
{
    describe(text, series->name, series->type, series->help);
    for (size_t i = 0; i < listing->count; i++) {
        const struct api_instance_figures *figures = &listing->items[i];
        buffer_printf(text, "%s{namespace=\"%s\",service=\"%s\",instance=\"%s\"} ", series->name,
                      figures->namespace_name, figures->service, figures->id);
        append_value(text, figures, series->offset, series->unit);
    }
}

static void keep_with_disks(struct listing *listing)
{
    size_t kept = 0;
    for (size_t i = 0; i < listing->count; i++) {
        if (listing->items[i].disks > 0)
            listing->items[kept++] = listing->items[i];
    }
    listing->count = kept;
}

void stats_append_metrics(const struct stats_sources *sources, struct buffer *text)
{
    struct listing listing = list_instances(sources, false);
    append_node(sources, text);
    append_machine(&listing, text);
    boot_histogram_append(figures_boots(sources->figures), text);
    if (sources->images != NULL)
        append_images(sources->images, text);
    for (size_t i = 0; i < ARRAY_LENGTH(instance_series); i++)
        append_series(&instance_series[i], &listing, text);
    keep_with_disks(&listing);
    for (size_t i = 0; i < ARRAY_LENGTH(disk_series); i++)
        append_series(&disk_series[i], &listing, text);
    free(listing.items);
}
