/* A change in the making: its writes by key, and where it may be cut. */
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "scheduler/changes.h"

/* Services and revisions hold what users wrote, up to STORE_DOCUMENT_MAX each: so many of them, and
 * the small rest, are sure to stay within STORE_TRANSACTION_MAX. */
#define LARGE_MAX 3

static uint32_t hash_of(const char *key)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * 16777619u;
    return hash;
}

static bool is_large(const struct change_write *write)
{
    return !write->removed && (write->kind == DOCUMENT_SERVICE || write->kind == DOCUMENT_REVISION);
}

/* The write of `key`, or the free place where it belongs. */
static struct change_write *find_write(const struct change *change, const char *key, uint32_t hash,
                                       uint32_t **ret_place)
{
    if (change->place_count == 0)
        return NULL;
    for (size_t at = hash & (change->place_count - 1);; at = (at + 1) & (change->place_count - 1)) {
        uint32_t *place = &change->places[at];
        struct change_write *write = *place != 0 ? &change->writes[*place - 1] : NULL;
        char other[STORE_KEY_MAX];
        *ret_place = place;
        if (write == NULL)
            return NULL;
        if (write->hash != hash)
            continue;
        document_key(write->kind, write->document, other, sizeof other);
        if (strcmp(key, other) == 0)
            return write;
    }
}

/* Room for one more write, and places for twice as many. */
static void grow(struct change *change)
{
    if (change->count < change->capacity)
        return;
    change->capacity = change->capacity > 0 ? 2 * change->capacity : 16;
    change->writes = xreallocarray(change->writes, change->capacity, sizeof *change->writes);
    free(change->places);
    change->place_count = 2 * change->capacity;
    change->places = xcalloc(change->place_count, sizeof *change->places);
    for (size_t i = 0; i < change->count; i++) {
        size_t at = change->writes[i].hash & (change->place_count - 1);
        while (change->places[at] != 0)
            at = (at + 1) & (change->place_count - 1);
        change->places[at] = (uint32_t)i + 1;
    }
}

static void add_write(struct change *change, enum document_kind kind, void *document, bool removed)
{
    char key[STORE_KEY_MAX];
    uint32_t *place = NULL;
    grow(change);
    document_key(kind, document, key, sizeof key);
    uint32_t hash = hash_of(key);
    struct change_write *write = find_write(change, key, hash, &place);
    bool was_large = write != NULL && is_large(write);
    if (write == NULL) {
        write = &change->writes[change->count++];
        *place = (uint32_t)change->count;
    } else if (write->document != document) {
        document_free(kind, write->document);
    }
    *write = (struct change_write){kind, document, removed, hash};
    change->large += is_large(write) && !was_large;
}

void change_put(struct change *change, enum document_kind kind, void *document)
{
    add_write(change, kind, document, false);
}

void change_remove(struct change *change, enum document_kind kind, const void *document)
{
    add_write(change, kind, document_copy(kind, document), true);
}

void change_may_split(struct change *change)
{
    change->may_split = true;
    change->large = 0;
    if (change->count == 0 ||
        (change->cut_count > 0 && change->cuts[change->cut_count - 1] == change->count))
        return;
    /* A power of two of them is full. */
    if ((change->cut_count & (change->cut_count - 1)) == 0)
        change->cuts = xreallocarray(
            change->cuts, change->cut_count > 0 ? 2 * change->cut_count : 1, sizeof *change->cuts);
    change->cuts[change->cut_count++] = change->count;
}

bool change_has_room(const struct change *change, size_t more)
{
    size_t cut = change->cut_count > 0 ? change->cuts[change->cut_count - 1] : 0;
    size_t most = change->may_split ? CHANGE_WRITES_MAX : STORE_WRITES_MAX;
    return change->count - cut + more <= STORE_WRITES_MAX && change->count + more <= most &&
           change->large < LARGE_MAX;
}

void *change_edit(struct change *change, enum document_kind kind, const void *document)
{
    char key[STORE_KEY_MAX];
    uint32_t *place = NULL;
    document_key(kind, document, key, sizeof key);
    struct change_write *write = find_write(change, key, hash_of(key), &place);
    if (write != NULL && !write->removed)
        return write->document;
    void *copy = document_copy(kind, document);
    change_put(change, kind, copy);
    return copy;
}

void change_finish(struct change *change)
{
    for (size_t i = 0; i < change->count; i++)
        document_free(change->writes[i].kind, change->writes[i].document);
    free(change->writes);
    free(change->places);
    free(change->cuts);
    *change = (struct change){0};
}
