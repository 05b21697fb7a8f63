#include "scheduler/placement_index.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* What is best below a place of the tree; of a leaf, what it has. */
struct summary {
    int64_t memory;      /* most that is free for a guest; -1: nothing can go there */
    uint64_t address_ms; /* when the first address is free */
    uint32_t vcpus;      /* most that are free */
    int32_t spreading;   /* fewest points when emptier is better */
    int32_t filling;     /* ... when fuller is */
};

static const struct summary nothing = {-1, UINT64_MAX, 0, INT32_MAX, INT32_MAX};

struct placement_class {
    char *key; /* what its nodes have in common */
    /* A tree as an array: the root is 1, below i are 2i and 2i+1, the leaves begin at `size`. */
    struct summary *tree;
    struct placement_entry **leaves; /* NULL: vacant */
    size_t size;
    size_t used; /* leaves that ever were */
    size_t *vacant;
    size_t vacant_count;
    size_t count; /* of nodes */
    size_t value; /* of the label that the running search spreads over: place in its counts */
};

/* --- classes --- */

static void append_strings(struct buffer *key, const struct json_strings *strings)
{
    for (size_t i = 0; strings != NULL && i < strings->count; i++)
        buffer_printf(key, "%zu:%s,", strlen(strings->items[i]), strings->items[i]);
}

static char *class_key(const struct placement_node *node)
{
    struct buffer key = {0};
    for (size_t i = 0; i < node->machine_count; i++) {
        buffer_printf(&key, "%s/%s:", node->machines[i].arch, node->machines[i].accel);
        append_strings(&key, &node->machines[i].families);
        buffer_append_text(&key, ";");
    }
    for (size_t i = 0; node->labels != NULL && i < node->labels->count; i++)
        buffer_printf(&key, "%zu:%s=%zu:%s,", strlen(node->labels->items[i].key),
                      node->labels->items[i].key, strlen(node->labels->items[i].value),
                      node->labels->items[i].value);
    buffer_append_text(&key, ";");
    append_strings(&key, node->features);
    return buffer_take(&key);
}

/* Classes are in order of their keys. */
static size_t class_at(const struct placement_index *index, const char *key)
{
    size_t low = 0, high = index->class_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(index->classes[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Takes the key. */
static struct placement_class *want_class(struct placement_index *index, char *key)
{
    size_t at = class_at(index, key);
    if (at < index->class_count && strcmp(index->classes[at]->key, key) == 0) {
        free(key);
        return index->classes[at];
    }
    struct placement_class *class = xcalloc(1, sizeof *class);
    class->key = key;
    index->classes =
        xreallocarray(index->classes, index->class_count + 1, sizeof(struct placement_class *));
    memmove(&index->classes[at + 1], &index->classes[at],
            (index->class_count - at) * sizeof(struct placement_class *));
    index->classes[at] = class;
    index->class_count++;
    return class;
}

static void free_class(struct placement_class *class)
{
    free(class->key);
    free(class->tree);
    free(class->leaves);
    free(class->vacant);
    free(class);
}

/* It has no nodes any more: labels may change without end. */
static void drop_class(struct placement_index *index, struct placement_class *class)
{
    size_t at = class_at(index, class->key);
    index->class_count--;
    memmove(&index->classes[at], &index->classes[at + 1],
            (index->class_count - at) * sizeof(struct placement_class *));
    free_class(class);
}

void placement_index_finish(struct placement_index *index)
{
    for (size_t i = 0; i < index->class_count; i++) {
        struct placement_class *class = index->classes[i];
        for (size_t j = 0; j < class->used; j++) {
            if (class->leaves[j] != NULL)
                class->leaves[j]->class = NULL;
        }
        free_class(class);
    }
    free(index->classes);
    *index = (struct placement_index){0};
}

/* --- the tree --- */

static struct summary summary_of(const struct placement_entry *entry)
{
    const struct placement_node *node = &entry->node;
    if (entry->is_blocked || !node->ready || node->eligibility != NODE_ELIGIBLE ||
        node->memory < node->memory_used + node->overhead)
        return nothing;
    uint32_t vcpus = node->vcpus > node->vcpus_used ? node->vcpus - node->vcpus_used : 0;
    int32_t full = (int32_t)placement_fullness(node);
    int32_t more = entry->is_adjusted ? node->extra : 0;
    return (struct summary){(int64_t)(node->memory - node->memory_used - node->overhead),
                            node->address_ms, vcpus, full + more,
                            PLACEMENT_POINTS_FULL - full + more};
}

static struct summary combine(const struct summary *left, const struct summary *right)
{
    struct summary both = *left;
    both.memory = right->memory > both.memory ? right->memory : both.memory;
    both.address_ms = right->address_ms < both.address_ms ? right->address_ms : both.address_ms;
    both.vcpus = right->vcpus > both.vcpus ? right->vcpus : both.vcpus;
    both.spreading = right->spreading < both.spreading ? right->spreading : both.spreading;
    both.filling = right->filling < both.filling ? right->filling : both.filling;
    return both;
}

static bool same(const struct summary *left, const struct summary *right)
{
    return left->memory == right->memory && left->address_ms == right->address_ms &&
           left->vcpus == right->vcpus && left->spreading == right->spreading &&
           left->filling == right->filling;
}

static void set_leaf(struct placement_class *class, size_t leaf, struct summary summary)
{
    size_t at = class->size + leaf;
    if (same(&class->tree[at], &summary))
        return;
    class->tree[at] = summary;
    while (at > 1) {
        at /= 2;
        struct summary both = combine(&class->tree[2 * at], &class->tree[2 * at + 1]);
        if (same(&class->tree[at], &both))
            return;
        class->tree[at] = both;
    }
}

static void grow(struct placement_class *class)
{
    size_t size = class->size > 0 ? 2 * class->size : 1;
    class->leaves = xreallocarray(class->leaves, size, sizeof(struct placement_entry *));
    class->vacant = xreallocarray(class->vacant, size, sizeof *class->vacant);
    struct summary *tree = xcalloc(2 * size, sizeof *tree);
    for (size_t i = 0; i < size; i++)
        tree[size + i] = i < class->size ? class->tree[class->size + i] : nothing;
    for (size_t i = size; i-- > 1;)
        tree[i] = combine(&tree[2 * i], &tree[2 * i + 1]);
    free(class->tree);
    class->tree = tree;
    class->size = size;
}

void placement_index_remove(struct placement_index *index, struct placement_entry *entry)
{
    struct placement_class *class = entry->class;
    if (class == NULL)
        return;
    set_leaf(class, entry->leaf, nothing);
    class->leaves[entry->leaf] = NULL;
    class->vacant[class->vacant_count++] = entry->leaf;
    entry->class = NULL;
    if (--class->count == 0)
        drop_class(index, class);
}

void placement_index_refresh(struct placement_entry *entry)
{
    if (entry->class != NULL)
        set_leaf(entry->class, entry->leaf, summary_of(entry));
}

void placement_index_put(struct placement_index *index, struct placement_entry *entry)
{
    struct placement_class *class = want_class(index, class_key(&entry->node));
    if (entry->class != class) {
        placement_index_remove(index, entry);
        if (class->vacant_count == 0 && class->used == class->size)
            grow(class);
        entry->leaf =
            class->vacant_count > 0 ? class->vacant[--class->vacant_count] : class->used++;
        class->leaves[entry->leaf] = entry;
        class->count++;
        entry->class = class;
    }
    placement_index_refresh(entry);
}

/* --- searching --- */

static const struct placement_entry *any_of(const struct placement_class *class)
{
    for (size_t i = 0; i < class->used; i++) {
        if (class->leaves[i] != NULL)
            return class->leaves[i];
    }
    return NULL;
}

static void add_choice(struct placement_search *search, struct placement_class *class)
{
    const struct placement_request *request = search->request;
    const struct placement_entry *one = class->count > 0 ? any_of(class) : NULL;
    struct placement_choice choice = {.class = class};
    if (one == NULL || placement_check_kind(&one->node, request, &choice.verdict) != PLACEMENT_FITS)
        return;
    choice.points = placement_points_kind(&one->node, request, &choice.verdict);
    search->choices[search->choice_count++] = choice;
}

/* A class, and what its nodes have as the label's value; NULL: nothing. */
struct labelled {
    const char *value;
    struct placement_class *class;
};

static int compare_labelled(const void *left, const void *right)
{
    const char *a = ((const struct labelled *)left)->value;
    const char *b = ((const struct labelled *)right)->value;
    if (a == NULL || b == NULL)
        return (a != NULL) - (b != NULL);
    return strcmp(a, b);
}

/* Every value of the label gets a count, and every class its place: there may be as many values
 * as nodes, and nobody looks for them any more. */
static void number_values(struct placement_search *search, struct placement_index *index)
{
    AUTO_FREE struct labelled *list = xcalloc(index->class_count + 1, sizeof *list);
    size_t count = 0;
    for (size_t i = 0; i < index->class_count; i++) {
        struct placement_class *class = index->classes[i];
        const struct placement_entry *one = class->count > 0 ? any_of(class) : NULL;
        if (one == NULL)
            continue;
        const struct json_map *labels = one->node.labels;
        list[count++] = (struct labelled){
            labels != NULL ? json_map_get(labels, search->request->spread_label) : NULL, class};
    }
    qsort(list, count, sizeof *list, compare_labelled);
    search->counts.items = xcalloc(count + 1, sizeof *search->counts.items);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare_labelled(&list[i - 1], &list[i]) != 0)
            search->counts.items[search->counts.count++].value = list[i].value;
        list[i].class->value = search->counts.count - 1;
    }
}

void placement_search_begin(struct placement_search *search, struct placement_index *index,
                            const struct placement_request *request)
{
    *search = (struct placement_search){.request = request};
    search->choices = xcalloc(index->class_count + 1, sizeof *search->choices);
    for (size_t i = 0; i < index->class_count; i++)
        add_choice(search, index->classes[i]);
    if (request->spread == PLACEMENT_SPREAD_LABEL)
        number_values(search, index);
}

static void touch(struct placement_search *search, struct placement_entry *entry)
{
    if (entry->is_adjusted || entry->is_blocked)
        return;
    if (search->touched_count == search->touched_capacity) {
        search->touched_capacity = search->touched_capacity > 0 ? 2 * search->touched_capacity : 16;
        search->touched = xreallocarray(search->touched, search->touched_capacity,
                                        sizeof(struct placement_entry *));
    }
    search->touched[search->touched_count++] = entry;
}

static void adjust(struct placement_search *search, struct placement_entry *entry)
{
    touch(search, entry);
    entry->is_adjusted = true;
    entry->node.extra = placement_points_service(&entry->node, search->request);
    placement_index_refresh(entry);
}

void placement_search_count(struct placement_search *search, struct placement_entry *entry)
{
    entry->node.of_service++;
    if (search->request->spread == PLACEMENT_SPREAD_LABEL)
        search->counts.items[entry->class->value].count++;
    adjust(search, entry);
}

void placement_search_like(struct placement_search *search, struct placement_entry *entry,
                           int32_t points)
{
    entry->node.liking += points;
    adjust(search, entry);
}

static void block(struct placement_search *search, struct placement_entry *entry)
{
    touch(search, entry);
    entry->is_blocked = true;
    placement_index_refresh(entry);
}

void placement_search_end(struct placement_search *search)
{
    for (size_t i = 0; i < search->touched_count; i++) {
        struct placement_entry *entry = search->touched[i];
        entry->is_adjusted = false;
        entry->is_blocked = false;
        entry->node.of_service = 0;
        entry->node.liking = 0;
        entry->node.extra = 0;
        entry->node.has_image = false;
        entry->node.mark = 0;
        placement_index_refresh(entry);
    }
    free(search->touched);
    free(search->choices);
    placement_counts_finish(&search->counts);
    *search = (struct placement_search){0};
}

static int64_t points_of_label(const struct placement_search *search,
                               const struct placement_class *class)
{
    if (search->request->spread != PLACEMENT_SPREAD_LABEL)
        return 0;
    return (int64_t)search->counts.items[class->value].count * PLACEMENT_POINTS_INSTANCE;
}

int64_t placement_search_points(const struct placement_search *search,
                                const struct placement_entry *entry,
                                const struct placement_verdict *verdict)
{
    const struct placement_request *request = search->request;
    return placement_points_kind(&entry->node, request, verdict) +
           placement_points_load(&entry->node, request) + points_of_label(search, entry->class);
}

/* The way down one class. */
struct descent {
    struct placement_search *search;
    struct placement_class *class;
    int64_t least; /* what has to be beaten, without the points of the class */
    struct placement_entry *best;
};

static int32_t points_at(const struct descent *descent, size_t at)
{
    const struct summary *summary = &descent->class->tree[at];
    return descent->search->request->spread == PLACEMENT_SPREAD_NONE ? summary->filling
                                                                     : summary->spreading;
}

static bool may_hold(const struct descent *descent, size_t at)
{
    const struct summary *summary = &descent->class->tree[at];
    const struct placement_request *request = descent->search->request;
    return summary->memory >= 0 && (uint64_t)summary->memory >= request->memory &&
           summary->vcpus >= request->vcpus && summary->address_ms <= request->now_ms &&
           points_at(descent, at) < descent->least;
}

static void try_leaf(struct descent *descent, size_t at)
{
    struct placement_entry *entry = descent->class->leaves[at - descent->class->size];
    struct placement_verdict verdict;
    int64_t points = points_at(descent, at);
    if (placement_check(&entry->node, descent->search->request, &verdict) != PLACEMENT_FITS) {
        /* What the service has there, or its name: that stays so while this request is placed. */
        block(descent->search, entry);
        return;
    }
    descent->least = points;
    descent->best = entry;
}

/* As deep as the tree: a class of a million nodes is 20 deep. */
static void descend(struct descent *descent, size_t at)
{
    if (!may_hold(descent, at))
        return;
    if (at >= descent->class->size) {
        try_leaf(descent, at);
        return;
    }
    size_t first =
        points_at(descent, 2 * at + 1) < points_at(descent, 2 * at) ? 2 * at + 1 : 2 * at;
    descend(descent, first);
    descend(descent, first ^ 1);
}

struct placement_entry *placement_search_best(struct placement_search *search, size_t *ret_platform,
                                              int64_t *ret_points)
{
    struct placement_entry *best = NULL;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < search->choice_count; i++) {
        const struct placement_choice *choice = &search->choices[i];
        int64_t points = choice->points + points_of_label(search, choice->class);
        if (choice->class->size == 0)
            continue;
        struct descent descent = {search, choice->class, best != NULL ? least - points : INT64_MAX,
                                  NULL};
        descend(&descent, 1);
        if (descent.best == NULL)
            continue;
        best = descent.best;
        least = descent.least + points;
        *ret_platform = choice->verdict.platform;
        *ret_points = least;
    }
    return best;
}
