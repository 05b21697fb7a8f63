/* How long the steps of boots took on this node since the agent's start, counted by size.
 *
 * Loop thread only. */
#pragma once

#include "lib/api/boot_steps.h"
#include "lib/buffer.h"

/* Upper bounds; what takes longer than the last has no bound. */
#define BOOT_HISTOGRAM_BOUNDS 14

struct boot_histogram {
    struct boot_counts {
        uint64_t at_most[BOOT_HISTOGRAM_BOUNDS]; /* each counts those below it too */
        uint64_t count;
        uint64_t sum_us;
    } steps[BOOT_STEPS], whole;
};

/* A boot that has become ready. A step that is not known is left out. */
void boot_histogram_add(struct boot_histogram *histogram, const struct api_boot_steps *steps,
                        uint64_t boot_ms);
/* In Prometheus' text form. */
void boot_histogram_append(const struct boot_histogram *histogram, struct buffer *text);
