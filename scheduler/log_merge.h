/* Lines of several logs put in the order of their times. Pure; one thread.
 *
 * Lines of one log come in order; those of another may come later and belong before them. So a line
 * is held back until everybody had the time to bring what is older. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

struct log_merge {
    struct log_merge_line *lines;
    size_t count, capacity;
    size_t bytes; /* of all lines that wait */
    uint64_t added;
};

/* Copies `text`. `time_ms` is by which it is ordered, `arrived_ms` when it came. */
void log_merge_add(struct log_merge *merge, uint64_t time_ms, uint64_t arrived_ms, const char *text,
                   size_t length);
/* Appends, in order, the lines that came before `arrived_ms` and all that are older than those;
 * UINT64_MAX: all. */
void log_merge_take(struct log_merge *merge, uint64_t arrived_ms, struct buffer *text);
void log_merge_finish(struct log_merge *merge);
