#include "tests/bench/load_times.h"

#include <stdlib.h>

#include "lib/xalloc.h"
#include "tests/bench/load_connection.h"

void load_times_note(struct load_times *times, uint64_t us)
{
    if (times->count == times->capacity) {
        times->capacity = times->capacity > 0 ? 2 * times->capacity : 4096;
        times->us = xreallocarray(times->us, times->capacity, sizeof *times->us);
    }
    times->us[times->count++] = (uint32_t)us;
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

double load_times_percentile(struct load_times *times, unsigned percent)
{
    size_t at = times->count * percent / 100;
    if (times->count == 0)
        load_fail("nothing was read");
    qsort(times->us, times->count, sizeof *times->us, compare);
    return times->us[at < times->count ? at : times->count - 1] / 1e3;
}
