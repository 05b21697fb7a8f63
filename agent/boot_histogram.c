#include "agent/boot_histogram.h"

#include <inttypes.h>
#include <stdio.h>

static const uint64_t bounds_us[BOOT_HISTOGRAM_BOUNDS] = {
    1000,   2500,   5000,    10000,   25000,    50000,    100000,
    250000, 500000, 1000000, 2500000, 10000000, 30000000, 120000000};

static void count(struct boot_counts *counts, uint64_t us)
{
    for (size_t i = 0; i < BOOT_HISTOGRAM_BOUNDS; i++)
        counts->at_most[i] += us <= bounds_us[i];
    counts->count++;
    counts->sum_us += us;
}

void boot_histogram_add(struct boot_histogram *histogram, const struct api_boot_steps *steps,
                        uint64_t boot_ms)
{
    bool has_spoken = steps->us[BOOT_STEP_FIRST_PACKET] > 0;
    for (size_t i = 0; i < BOOT_STEPS; i++) {
        if (has_spoken || i < BOOT_STEP_FIRST_PACKET)
            count(&histogram->steps[i], steps->us[i]);
    }
    count(&histogram->whole, boot_ms * 1000);
}

/* `labels`: "" or "step=\"pull\"". */
static void append_counts(const struct boot_counts *counts, const char *name, const char *labels,
                          struct buffer *text)
{
    const char *comma = labels[0] != '\0' ? "," : "";
    for (size_t i = 0; i < BOOT_HISTOGRAM_BOUNDS; i++)
        buffer_printf(text, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
                      (double)bounds_us[i] / 1e6, counts->at_most[i]);
    buffer_printf(text, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma,
                  counts->count);
    const char *open = labels[0] != '\0' ? "{" : "", *close = labels[0] != '\0' ? "}" : "";
    buffer_printf(text, "%s_sum%s%s%s %.6f\n", name, open, labels, close,
                  (double)counts->sum_us / 1e6);
    buffer_printf(text, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, counts->count);
}

void boot_histogram_append(const struct boot_histogram *histogram, struct buffer *text)
{
    static const char whole[] = "shoal_boot_seconds", step[] = "shoal_boot_step_seconds";
    buffer_printf(text, "# HELP %s From the order to boot to readiness.\n# TYPE %s histogram\n",
                  whole, whole);
    append_counts(&histogram->whole, whole, "", text);
    buffer_printf(text, "# HELP %s Where the time of boots went.\n# TYPE %s histogram\n", step,
                  step);
    for (size_t i = 0; i < BOOT_STEPS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "step=\"%s\"", api_boot_step_names[i]);
        append_counts(&histogram->steps[i], step, labels, text);
    }
}
