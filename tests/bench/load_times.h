/* How long answers took: all of them are kept, and told at the end. Loop thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct load_times {
    uint32_t *us;
    size_t count, capacity;
};

void load_times_note(struct load_times *times, uint64_t us);
/* Milliseconds that so many percent of them took at most; 100: the longest. Sorts them. Without
 * any the process ends with a message. */
double load_times_percentile(struct load_times *times, unsigned percent);
