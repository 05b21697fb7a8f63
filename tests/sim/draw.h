/* All chance of a simulation: a stream of numbers from one seed (splitmix64), the same on every
 * machine. Whoever should not disturb others takes a stream of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct draw {
    uint64_t state;
};

static inline uint64_t draw_next(struct draw *draw)
{
    uint64_t mixed = draw->state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* 0 to `limit` - 1. */
static inline uint64_t draw_below(struct draw *draw, uint64_t limit)
{
    return limit > 0 ? draw_next(draw) % limit : 0;
}

/* Both ends included. */
static inline uint64_t draw_between(struct draw *draw, uint64_t least, uint64_t most)
{
    return least + draw_below(draw, most - least + 1);
}

static inline bool draw_chance(struct draw *draw, unsigned permille)
{
    return draw_below(draw, 1000) < permille;
}

/* A stream of its own for whatever `which` names. */
static inline struct draw draw_split(uint64_t seed, uint64_t which)
{
    struct draw draw = {seed ^ (which * UINT64_C(0xd1342543de82ef95))};
    draw_next(&draw);
    return draw;
}
