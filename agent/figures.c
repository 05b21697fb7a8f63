#include "agent/figures.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

/* Several times as long as the host half waits between two looks. */
#define SAMPLE_LIFE_NS UINT64_C(60000000000)

/* A counter's growth is told for so long; of processor time, in millionths. */
#define SECOND_NS 1e9
#define CPU_PPM   1e6

struct figure {
    char id[INSTANCE_ID_MAX];
    uint64_t taken_ns, before_ns; /* before_ns 0: there is only one sample */
    struct host_usage_entry now, before;
};

/* Sorted by id. */
struct figures {
    struct figure *items;
    size_t count, capacity;
    struct boot_histogram boots;
    struct host_node node, node_before; /* taken_ns 0: there is none */
};

struct figures *figures_create(void)
{
    return xcalloc(1, sizeof(struct figures));
}

void figures_destroy(struct figures *figures)
{
    if (figures == NULL)
        return;
    free(figures->items);
    free(figures);
}

size_t figures_count(const struct figures *figures)
{
    return figures->count;
}

/* Where it is, or would be. */
static size_t place_of(const struct figures *figures, const char *id)
{
    size_t low = 0, high = figures->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(figures->items[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct figures *figures, size_t place, const char *id)
{
    return place < figures->count && strcmp(figures->items[place].id, id) == 0;
}

static struct figure *obtain(struct figures *figures, const char *id)
{
    size_t place = place_of(figures, id);
    if (is_at(figures, place, id))
        return &figures->items[place];
    if (figures->count == figures->capacity) {
        figures->capacity = figures->capacity > 0 ? figures->capacity * 2 : 16;
        figures->items = xreallocarray(figures->items, figures->capacity, sizeof *figures->items);
    }
    struct figure *figure = &figures->items[place];
    memmove(figure + 1, figure, (figures->count - place) * sizeof *figure);
    figures->count++;
    *figure = (struct figure){0};
    memcpy(figure->id, id, sizeof figure->id);
    return figure;
}

/* Counters only grow while it is one boot. */
static bool is_of_another_boot(const struct host_usage_entry *now,
                               const struct host_usage_entry *before)
{
    return now->cpu_ns < before->cpu_ns || now->received_bytes < before->received_bytes ||
           now->sent_bytes < before->sent_bytes;
}

static void take_one(struct figures *figures, uint64_t taken_ns,
                     const struct host_usage_entry *entry)
{
    struct figure *figure = obtain(figures, entry->id);
    if (taken_ns <= figure->taken_ns)
        return;
    figure->before = figure->now;
    figure->before_ns = is_of_another_boot(entry, &figure->now) ? 0 : figure->taken_ns;
    figure->now = *entry;
    figure->taken_ns = taken_ns;
}

static void drop_old(struct figures *figures, uint64_t now_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < figures->count; i++) {
        if (figures->items[i].taken_ns + SAMPLE_LIFE_NS < now_ns)
            continue;
        if (kept != i)
            figures->items[kept] = figures->items[i];
        kept++;
    }
    figures->count = kept;
}

void figures_take(struct figures *figures, const struct host_usage *usage)
{
    for (uint32_t i = 0; i < usage->count; i++)
        take_one(figures, usage->taken_ns, &usage->entries[i]);
    drop_old(figures, usage->taken_ns);
}

void figures_forget(struct figures *figures, const char *id)
{
    size_t place = place_of(figures, id);
    if (!is_at(figures, place, id))
        return;
    figures->count--;
    memmove(&figures->items[place], &figures->items[place + 1],
            (figures->count - place) * sizeof *figures->items);
}

/* Growth for each `unit_ns` of the time in between; 0 where there is no sample before. */
static uint64_t rate(uint64_t now, uint64_t before, uint64_t now_ns, uint64_t before_ns,
                     double unit_ns)
{
    if (before_ns == 0 || now <= before || now_ns <= before_ns)
        return 0;
    return (uint64_t)((double)(now - before) * unit_ns / (double)(now_ns - before_ns) + 0.5);
}

static uint64_t span_ms(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns > 0 && to_ns > from_ns ? (to_ns - from_ns) / 1000000 : 0;
}

/* Where they were not known last time, what they did since the boot is no rate. */
static void fill_disks(const struct figure *figure, struct api_instance_figures *ret_figures)
{
    const struct host_usage_entry *now = &figure->now, *before = &figure->before;
    uint64_t before_ns = before->disks > 0 ? figure->before_ns : 0;
    ret_figures->disks = now->disks;
    ret_figures->read_bytes = now->read_bytes;
    ret_figures->read_rate =
        rate(now->read_bytes, before->read_bytes, figure->taken_ns, before_ns, SECOND_NS);
    ret_figures->read_operations = now->read_operations;
    ret_figures->written_bytes = now->written_bytes;
    ret_figures->write_rate =
        rate(now->written_bytes, before->written_bytes, figure->taken_ns, before_ns, SECOND_NS);
    ret_figures->write_operations = now->write_operations;
}

bool figures_fill(const struct figures *figures, const char *id, uint64_t now_ns,
                  struct api_instance_figures *ret_figures)
{
    size_t place = place_of(figures, id);
    if (!is_at(figures, place, id))
        return false;
    const struct figure *figure = &figures->items[place];
    const struct host_usage_entry *now = &figure->now, *before = &figure->before;
    const uint64_t taken_ns = figure->taken_ns, before_ns = figure->before_ns;
    ret_figures->age_ms = span_ms(taken_ns, now_ns);
    ret_figures->interval_ms = span_ms(before_ns, taken_ns);
    ret_figures->cpu_us = now->cpu_ns / 1000;
    ret_figures->cpu_ppm = rate(now->cpu_ns, before->cpu_ns, taken_ns, before_ns, CPU_PPM);
    ret_figures->memory = now->memory;
    ret_figures->memory_private = now->memory_private;
    ret_figures->received_bytes = now->received_bytes;
    ret_figures->received_rate =
        rate(now->received_bytes, before->received_bytes, taken_ns, before_ns, SECOND_NS);
    ret_figures->received_packets = now->received_packets;
    ret_figures->received_drops = now->received_drops;
    ret_figures->sent_bytes = now->sent_bytes;
    ret_figures->sent_rate =
        rate(now->sent_bytes, before->sent_bytes, taken_ns, before_ns, SECOND_NS);
    ret_figures->sent_packets = now->sent_packets;
    ret_figures->sent_drops = now->sent_drops;
    fill_disks(figure, ret_figures);
    return true;
}

void figures_take_boot(struct figures *figures, const struct api_boot_steps *steps,
                       uint64_t boot_ms)
{
    boot_histogram_add(&figures->boots, steps, boot_ms);
}

const struct boot_histogram *figures_boots(const struct figures *figures)
{
    return &figures->boots;
}

void figures_take_node(struct figures *figures, const struct host_node *node)
{
    figures->node_before = figures->node;
    figures->node = *node;
}

bool figures_fill_node(const struct figures *figures, uint64_t now_ns,
                       struct api_node_figures *ret_figures)
{
    const struct host_node *now = &figures->node, *before = &figures->node_before;
    if (now->taken_ns == 0)
        return false;
    ret_figures->age_ms = span_ms(now->taken_ns, now_ns);
    ret_figures->interval_ms = span_ms(before->taken_ns, now->taken_ns);
    ret_figures->processors = now->processors;
    ret_figures->cpu_ppm =
        rate(now->cpu_ns, before->cpu_ns, now->taken_ns, before->taken_ns, CPU_PPM);
    ret_figures->memory = now->memory;
    ret_figures->memory_available = now->memory_available;
    ret_figures->disk = now->disk;
    ret_figures->disk_available = now->disk_available;
    ret_figures->agent_cpu_us = now->agent_cpu_ns / 1000;
    ret_figures->agent_cpu_ppm =
        rate(now->agent_cpu_ns, before->agent_cpu_ns, now->taken_ns, before->taken_ns, CPU_PPM);
    ret_figures->agent_memory_private = now->agent_memory_private;
    return true;
}
