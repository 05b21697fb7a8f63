/* What was handed out, over starts and restores: ids are never issued twice, and what a lost
 * history made is never taken for ours. Pure. */
#pragma once

#include "scheduler/documents.h"

/* A scheduler starts to decide over a store of `term`. A term that is not the one in which the
 * counters were written means that the store came back from a backup: what was handed out between
 * backup and restore is not known. */
void counters_begin(struct document_counters *counters, uint64_t term);
/* Whether an instance of this id, which the store does not know, was made and removed in a history
 * of ours. Not so one of a higher term, nor one that an older backup cannot know: what runs is
 * never stopped by a store that came back from the past. */
bool counters_know(const struct document_counters *counters, uint64_t term, const char *id);
