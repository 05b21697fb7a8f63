/* A story: a number of steps drawn from a seed, what happens between them, and the rest at the
 * end. Leaving steps out of it gives another, smaller story of the same seed. */
#pragma once

#include "tests/sim/world.h"

#define SCENARIO_STEPS_MAX 64

struct scenario {
    uint64_t seed;
    size_t step_count;
    bool skips[SCENARIO_STEPS_MAX]; /* steps that are left out */
};

struct scenario_result {
    char *failure;   /* NULL: every promise was kept */
    uint64_t events; /* that happened */
    uint64_t trace_hash;
};

/* As many steps as the seed draws, all of them played. */
struct scenario scenario_of_seed(uint64_t seed);
/* "0,3,5-9" leaves only these; -1 when it cannot be read. */
int scenario_keep(struct scenario *scenario, const char *steps);
/* The steps that are played, in that form; the caller frees it. */
char *scenario_kept(const struct scenario *scenario);
/* With `trace_lines` the last so many lines of the trace go to standard output, SIZE_MAX: all. */
struct scenario_result scenario_play(const struct scenario *scenario, size_t trace_lines);
/* The same with a trace that is only hashed. */
struct scenario_result scenario_record(const struct scenario *scenario);
/* The fewest steps found that still break a promise; `scenario` does. */
void scenario_shrink(struct scenario *scenario);
