#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#define BEGIN_MS      1000000
#define BEGIN_WALL_MS INT64_C(1790000000000)

struct world_event {
    uint64_t at_ms;
    uint64_t order;
    world_callback *run; /* NULL: cancelled */
    world_callback *drop;
    void *data;
};

static const struct world *world_of(const struct clock *clock)
{
    return (const void *)((const char *)clock - offsetof(struct world, clock));
}

static uint64_t monotonic_ms(const struct clock *clock)
{
    return world_of(clock)->now_ms;
}

static uint64_t wall_ms(const struct clock *clock)
{
    const struct world *world = world_of(clock);
    return (uint64_t)((int64_t)world->now_ms + world->wall_offset_ms);
}

void world_init(struct world *world, uint64_t seed, bool traces)
{
    *world = (struct world){.seed = seed,
                            .now_ms = BEGIN_MS,
                            .wall_offset_ms = BEGIN_WALL_MS,
                            .clock = {monotonic_ms, wall_ms},
                            .draw = draw_split(seed, 0),
                            .traces = traces,
                            .trace_hash = UINT64_C(0xcbf29ce484222325)};
}

void world_finish(struct world *world)
{
    for (size_t i = 0; i < world->event_count; i++) {
        struct world_event *event = world->events[i];
        if (event->run != NULL && event->drop != NULL)
            event->drop(event->data);
        free(event);
    }
    free(world->events);
    for (size_t i = 0; i < world->trace_count; i++)
        free(world->trace[i]);
    free(world->trace);
    free(world->failure);
}

/* --- what is going to happen --- */

static bool is_before(const struct world_event *left, const struct world_event *right)
{
    return left->at_ms != right->at_ms ? left->at_ms < right->at_ms : left->order < right->order;
}

static void swap(struct world_event **left, struct world_event **right)
{
    struct world_event *event = *left;
    *left = *right;
    *right = event;
}

struct world_event *world_after(struct world *world, uint64_t wait_ms, world_callback *run,
                                world_callback *drop, void *data)
{
    struct world_event *event = xcalloc(1, sizeof *event);
    *event = (struct world_event){world->now_ms + wait_ms, world->order++, run, drop, data};
    if (world->event_count == world->event_room) {
        world->event_room = world->event_room > 0 ? world->event_room * 2 : 64;
        world->events = xreallocarray(world->events, world->event_room, sizeof *world->events);
    }
    size_t at = world->event_count++;
    world->events[at] = event;
    for (; at > 0 && is_before(event, world->events[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&world->events[at], &world->events[(at - 1) / 2]);
    return event;
}

void world_cancel(struct world_event **event)
{
    struct world_event *cancelled = *event;
    if (cancelled == NULL)
        return;
    /* What is dropped may be what holds the event. */
    *event = NULL;
    cancelled->run = NULL;
    if (cancelled->drop != NULL)
        cancelled->drop(cancelled->data);
}

static struct world_event *take_first(struct world *world)
{
    struct world_event *first = world->events[0];
    world->events[0] = world->events[--world->event_count];
    for (size_t at = 0, child; (child = 2 * at + 1) < world->event_count; at = child) {
        if (child + 1 < world->event_count &&
            is_before(world->events[child + 1], world->events[child]))
            child++;
        if (!is_before(world->events[child], world->events[at]))
            break;
        swap(&world->events[child], &world->events[at]);
    }
    return first;
}

bool world_step(struct world *world, uint64_t until_ms)
{
    while (world->event_count > 0 && world->events[0]->at_ms <= until_ms) {
        struct world_event *event = take_first(world);
        world_callback *run = event->run;
        void *data = event->data;
        if (run != NULL)
            world->now_ms = event->at_ms;
        free(event);
        if (run == NULL)
            continue;
        world->steps++;
        run(data);
        return true;
    }
    world->now_ms = until_ms;
    return false;
}

/* --- what was seen --- */

static void add_line(struct world *world, char *line)
{
    for (const char *c = line; *c != '\0'; c++)
        world->trace_hash = (world->trace_hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    if (world->trace_count == world->trace_room) {
        world->trace_room = world->trace_room > 0 ? world->trace_room * 2 : 256;
        world->trace = xreallocarray(world->trace, world->trace_room, sizeof *world->trace);
    }
    world->trace[world->trace_count++] = line;
}

void world_trace(struct world *world, const char *format, ...)
{
    char text[600];
    va_list arguments;
    if (!world->traces)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    add_line(world, xasprintf("%9.3f %s", (double)(world->now_ms - BEGIN_MS) / 1000, text));
}

void world_fail(struct world *world, const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    world_trace(world, "BROKEN %s", text);
    if (world->failure == NULL)
        world->failure = xstrdup(text);
}
