#include "scheduler/counters.h"

#include <stdio.h>
#include <stdlib.h>

/* More starts than there can be between a backup and its restore: revisions and sequences of the
 * future that was lost are not given out again. */
#define STARTS_OF_LOST_FUTURE 4096

void counters_begin(struct document_counters *counters, uint64_t term)
{
    bool restored = counters->term != 0 && counters->term != term;
    counters->starts++;
    if (restored) {
        counters->starts += STARTS_OF_LOST_FUTURE;
        bool was_restored = counters->restored || counters->known_instances != 0;
        if (!was_restored || counters->instances < counters->known_instances)
            counters->known_instances = counters->instances;
        counters->restored = true;
    }
    counters->term = term;
}

bool counters_know(const struct document_counters *counters, uint64_t term, const char *id)
{
    char term_text[5], counter_text[9];
    snprintf(term_text, sizeof term_text, "%.4s", id);
    snprintf(counter_text, sizeof counter_text, "%.8s", id + 4);
    unsigned long of_term = strtoul(term_text, NULL, 16);
    unsigned long counter = strtoul(counter_text, NULL, 16);
    if (of_term > term)
        return false;
    return counter <= (of_term == term ? counters->instances : counters->known_instances);
}
