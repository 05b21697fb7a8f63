#include "scheduler/sorted.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

static const char *name_of(const void *item)
{
    return *(const char *const *)item;
}

/* The place of the first element that does not come before `name`. */
static size_t lower_bound(const struct sorted *sorted, const char *name)
{
    size_t low = 0, high = sorted->count;
    if (high > 0 && strcmp(name_of(sorted->items[high - 1]), name) < 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(name_of(sorted->items[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct sorted *sorted, size_t at, const char *name)
{
    return at < sorted->count && strcmp(name_of(sorted->items[at]), name) == 0;
}

void *sorted_find(const struct sorted *sorted, const char *name)
{
    size_t at = lower_bound(sorted, name);
    return is_at(sorted, at, name) ? sorted->items[at] : NULL;
}

size_t sorted_behind(const struct sorted *sorted, const char *name)
{
    size_t at = lower_bound(sorted, name);
    return is_at(sorted, at, name) ? at + 1 : at;
}

void *sorted_find_near(struct sorted *sorted, const char *name)
{
    size_t at = sorted->near;
    if (!is_at(sorted, at, name) && !is_at(sorted, ++at, name))
        at = lower_bound(sorted, name);
    sorted->near = at;
    return is_at(sorted, at, name) ? sorted->items[at] : NULL;
}

void sorted_insert(struct sorted *sorted, void *item)
{
    size_t at = lower_bound(sorted, name_of(item));
    if (sorted->count == sorted->capacity) {
        sorted->capacity = sorted->capacity > 0 ? 2 * sorted->capacity : 8;
        sorted->items = xreallocarray(sorted->items, sorted->capacity, sizeof *sorted->items);
    }
    memmove(&sorted->items[at + 1], &sorted->items[at],
            (sorted->count - at) * sizeof *sorted->items);
    sorted->items[at] = item;
    sorted->count++;
}

void sorted_remove(struct sorted *sorted, const void *item)
{
    size_t at = lower_bound(sorted, name_of(item));
    if (at == sorted->count || sorted->items[at] != item)
        return;
    sorted->count--;
    memmove(&sorted->items[at], &sorted->items[at + 1],
            (sorted->count - at) * sizeof *sorted->items);
}

static int compare_places(const void *left, const void *right)
{
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    return a < b ? -1 : a > b;
}

void sorted_remove_all(struct sorted *sorted, void *const *items, size_t count)
{
    if (count == 0)
        return;
    size_t *places = xcalloc(count, sizeof *places);
    for (size_t i = 0; i < count; i++)
        places[i] = lower_bound(sorted, name_of(items[i]));
    qsort(places, count, sizeof *places, compare_places);
    size_t kept = places[0];
    for (size_t i = 0; i < count; i++) {
        size_t first = places[i] + 1, end = i + 1 < count ? places[i + 1] : sorted->count;
        memmove(&sorted->items[kept], &sorted->items[first], (end - first) * sizeof *sorted->items);
        kept += end - first;
    }
    sorted->count = kept;
    free(places);
}

void sorted_finish(struct sorted *sorted)
{
    free(sorted->items);
    *sorted = (struct sorted){0};
}
