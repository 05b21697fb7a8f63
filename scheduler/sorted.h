/* A list of pointers in order of their names: every element starts with a `const char *`, its name.
 * Elements that arrive in order cost an append. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sorted {
    void **items;
    size_t count;
    size_t capacity;
    size_t near; /* where sorted_find_near found the last one */
};

void *sorted_find(const struct sorted *sorted, const char *name);
/* The same, quick when it is the one found before or the next one. */
void *sorted_find_near(struct sorted *sorted, const char *name);
/* The place of the first element behind `name`. */
size_t sorted_behind(const struct sorted *sorted, const char *name);
/* The name must not be in the list yet. */
void sorted_insert(struct sorted *sorted, void *item);
void sorted_remove(struct sorted *sorted, const void *item);
/* Removes many, all of which are in the list, in one walk over it. */
void sorted_remove_all(struct sorted *sorted, void *const *items, size_t count);
void sorted_finish(struct sorted *sorted); /* the elements stay */
