#include "scheduler/log_merge.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

struct log_merge_line {
    uint64_t time_ms;
    uint64_t arrived_ms;
    uint64_t number; /* lines of one time stay as they came */
    char *text;
    size_t length;
};

void log_merge_add(struct log_merge *merge, uint64_t time_ms, uint64_t arrived_ms, const char *text,
                   size_t length)
{
    if (merge->count == merge->capacity) {
        merge->capacity = merge->capacity > 0 ? 2 * merge->capacity : 64;
        merge->lines = xreallocarray(merge->lines, merge->capacity, sizeof *merge->lines);
    }
    merge->lines[merge->count++] = (struct log_merge_line){.time_ms = time_ms,
                                                           .arrived_ms = arrived_ms,
                                                           .number = merge->added++,
                                                           .text = xmemdup(text, length),
                                                           .length = length};
    merge->bytes += length;
}

static int compare(const void *left, const void *right)
{
    const struct log_merge_line *a = left, *b = right;
    if (a->time_ms != b->time_ms)
        return a->time_ms < b->time_ms ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

void log_merge_take(struct log_merge *merge, uint64_t arrived_ms, struct buffer *text)
{
    size_t taken = 0;
    if (merge->count > 1)
        qsort(merge->lines, merge->count, sizeof *merge->lines, compare);
    for (size_t i = 0; i < merge->count; i++) {
        if (merge->lines[i].arrived_ms < arrived_ms)
            taken = i + 1;
    }
    for (size_t i = 0; i < taken; i++) {
        buffer_append(text, merge->lines[i].text, merge->lines[i].length);
        merge->bytes -= merge->lines[i].length;
        free(merge->lines[i].text);
    }
    merge->count -= taken;
    if (merge->count > 0)
        memmove(merge->lines, merge->lines + taken, merge->count * sizeof *merge->lines);
}

void log_merge_finish(struct log_merge *merge)
{
    for (size_t i = 0; i < merge->count; i++)
        free(merge->lines[i].text);
    free(merge->lines);
    *merge = (struct log_merge){0};
}
