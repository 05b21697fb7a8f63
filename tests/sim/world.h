/* A simulated world: its time, what is going to happen in it, and what has been seen.
 *
 * Everything that happens is an event on one queue in order of its time; the clock jumps from one
 * to the next. One thread, no sleeping, no real clock: the same seed is the same story.
 *
 *   scenario.c   draws steps from the seed and plays them: what users do, what breaks, what mends
 *   process.c    the schedulers: the real core over a store in memory (store.c); one leads
 *   node.c       a host: the agent's side of the protocol, guests (guest.c), the data plane
 *   wire.c       calls between them: late, lost, twice, out of order
 *   watch.c      the promises, checked at every commit and every move of a guest (DESIGN, 8) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/clock.h"
#include "tests/sim/draw.h"

#define WORLD_NODES_MAX     8
#define WORLD_PROCESSES_MAX 3

struct world_event;
typedef void world_callback(void *data);

/* What is on: each is a chance, or off. */
struct world_faults {
    unsigned lose_permille;   /* calls that are lost on their way, or their answers */
    unsigned repeat_permille; /* calls that arrive twice */
    unsigned late_permille;   /* calls that take very long */
    unsigned refuse_permille; /* commits that the store refuses */
    bool store_refuses;       /* all of them: full, or cut off */
    bool store_slow;
    unsigned crash_permille; /* boots that end in a crash, whatever the image */
    unsigned boot_permille;  /* boots that the hypervisor refuses */
};

struct world {
    uint64_t seed;
    uint64_t now_ms;
    int64_t wall_offset_ms;
    struct clock clock;
    struct draw draw;
    struct world_faults faults;
    bool settles;                /* what breaks has stopped to, and flapping images are good */
    bool steady_clock;           /* the wall clock never jumped */
    struct world_event **events; /* a heap by time, then by order */
    size_t event_count, event_room;
    uint64_t order;
    struct disk *disk;
    struct process *processes[WORLD_PROCESSES_MAX]; /* schedulers; NULL: it is down */
    size_t process_count;
    struct node *nodes[WORLD_NODES_MAX];
    size_t node_count;
    struct users *users;
    struct watch *watch;
    /* What was seen. */
    bool traces; /* lines are kept; else only a failure is */
    char **trace;
    size_t trace_count, trace_room;
    uint64_t trace_hash;
    uint64_t steps; /* events that happened */
    char *failure;  /* the first broken promise; NULL: none */
};

void world_init(struct world *world, uint64_t seed, bool traces);
/* Drops what was still to happen. The parts are their owners' to free, before. */
void world_finish(struct world *world);
/* `drop` (may be NULL) frees `data` of an event that never happens. Whoever keeps the event for
 * world_cancel forgets it when it runs. */
struct world_event *world_after(struct world *world, uint64_t wait_ms, world_callback *run,
                                world_callback *drop, void *data);
/* NULL inside is fine, and is left behind. */
void world_cancel(struct world_event **event);
/* The next event; false when there is none until `until_ms`, which is now then. */
bool world_step(struct world *world, uint64_t until_ms);

void world_trace(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A promise is broken: the first one is what is told. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* log.c: lines of the log go into this world's trace; NULL: nowhere. */
void world_take_log(struct world *world);
