#include "tests/sim/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/store_interface.h"

/* --- the disk --- */

struct disk_document {
    char *key;
    char *value;
    uint64_t revision;
};

struct disk {
    struct disk_document *documents; /* in order of their keys */
    size_t count, room;
    uint64_t revision;
    uint64_t term;
};

struct disk *disk_create(void)
{
    struct disk *disk = xcalloc(1, sizeof *disk);
    disk->term = 1;
    return disk;
}

void disk_destroy(struct disk *disk)
{
    if (disk == NULL)
        return;
    for (size_t i = 0; i < disk->count; i++) {
        free(disk->documents[i].key);
        free(disk->documents[i].value);
    }
    free(disk->documents);
    free(disk);
}

struct disk *disk_copy(const struct disk *disk)
{
    struct disk *copy = xcalloc(1, sizeof *copy);
    *copy = *disk;
    copy->documents = xcalloc(disk->room + 1, sizeof *copy->documents);
    for (size_t i = 0; i < disk->count; i++)
        copy->documents[i] =
            (struct disk_document){xstrdup(disk->documents[i].key),
                                   xstrdup(disk->documents[i].value), disk->documents[i].revision};
    return copy;
}

void disk_begin_term(struct disk *disk)
{
    disk->term++;
}

uint64_t disk_term(const struct disk *disk)
{
    return disk->term;
}

/* The first document whose key is not below. */
static size_t place_of(const struct disk *disk, const char *key)
{
    size_t low = 0, high = disk->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(disk->documents[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct disk_document *document_at(const struct disk *disk, size_t at, const char *key)
{
    return at < disk->count && strcmp(disk->documents[at].key, key) == 0 ? &disk->documents[at]
                                                                         : NULL;
}

const char *disk_find(const struct disk *disk, const char *key)
{
    const struct disk_document *document = document_at(disk, place_of(disk, key), key);
    return document != NULL ? document->value : NULL;
}

const char *disk_next(const struct disk *disk, const char *prefix, size_t *at, const char **ret_key)
{
    size_t place = place_of(disk, prefix) + (*at)++;
    if (place >= disk->count || strncmp(disk->documents[place].key, prefix, strlen(prefix)) != 0)
        return NULL;
    *ret_key = disk->documents[place].key;
    return disk->documents[place].value;
}

static void disk_write(struct disk *disk, const char *key, const char *value)
{
    size_t at = place_of(disk, key);
    struct disk_document *document = document_at(disk, at, key);
    if (value == NULL) {
        if (document == NULL)
            return;
        free(document->key);
        free(document->value);
        memmove(document, document + 1, (--disk->count - at) * sizeof *document);
        return;
    }
    if (document != NULL) {
        free(document->value);
        document->value = xstrdup(value);
        document->revision = disk->revision;
        return;
    }
    if (disk->count == disk->room) {
        disk->room = disk->room > 0 ? disk->room * 2 : 64;
        disk->documents = xreallocarray(disk->documents, disk->room, sizeof *disk->documents);
    }
    memmove(&disk->documents[at + 1], &disk->documents[at],
            (disk->count++ - at) * sizeof *disk->documents);
    disk->documents[at] = (struct disk_document){xstrdup(key), xstrdup(value), disk->revision};
}

/* --- a process's side of it --- */

struct request {
    STAILQ_ENTRY(request) link;
    struct store_comparison *comparisons;
    size_t comparison_count;
    struct store_write *writes;
    size_t write_count;
    bool chained;
    bool refused; /* before it was handed in */
    char *prefix, *after;
    size_t limit;
    struct error error;
    uint64_t revision;
    store_commit_callback *on_commit;
    store_list_callback *on_list;
    store_lead_callback *on_lead;
    void *data;
};

struct memory_store {
    struct store base;
    struct memory_store_options options;
    STAILQ_HEAD(, request) requests;
    struct world_event *turn;
    bool is_done; /* the first request, all but its answer */
    bool frozen;
    struct error last; /* of the commit before */
};

static void set_turn(struct memory_store *store);

static void free_request(struct request *request)
{
    for (size_t i = 0; i < request->comparison_count; i++)
        free((char *)request->comparisons[i].key);
    for (size_t i = 0; i < request->write_count; i++) {
        free((char *)request->writes[i].key);
        free((char *)request->writes[i].value);
    }
    free(request->comparisons);
    free(request->writes);
    free(request->prefix);
    free(request->after);
    free(request);
}

static void refuse(struct request *request, enum error_code code, const char *why)
{
    error_set(&request->error, code, "%s", why);
}

/* What the disk, or the way to it, has against a commit. */
static void try_luck(struct memory_store *store, struct request *request)
{
    static const enum error_code codes[] = {ERROR_STORAGE_FULL, ERROR_IO, ERROR_UNAVAILABLE,
                                            ERROR_TIMEOUT};
    struct world *world = store->options.world;
    if (!world->faults.store_refuses && !draw_chance(&world->draw, world->faults.refuse_permille))
        return;
    refuse(request, codes[draw_below(&world->draw, 4)], "the store refuses: so the scenario wants");
}

static void write_all(struct memory_store *store, struct request *request)
{
    struct disk *disk = store->options.disk;
    for (size_t i = 0; i < request->comparison_count; i++) {
        const char *key = request->comparisons[i].key;
        const struct disk_document *document = document_at(disk, place_of(disk, key), key);
        if ((document != NULL ? document->revision : 0) != request->comparisons[i].revision) {
            refuse(request, ERROR_CONFLICT, "a comparison does not hold");
            world_fail(store->options.world, "a comparison of %s does not hold: who else writes?",
                       key);
            return;
        }
    }
    request->revision = ++disk->revision;
    for (size_t i = 0; i < request->write_count; i++) {
        /* Events are only told to who asks: nobody reads them back here. */
        if (strncmp(request->writes[i].key, "events/", 7) != 0)
            disk_write(disk, request->writes[i].key, request->writes[i].value);
    }
}

static void carry_out(struct memory_store *store, struct request *request)
{
    if (request->on_commit == NULL || request->refused)
        return;
    if (request->error.code == ERROR_NONE && request->chained && store->last.code != ERROR_NONE)
        request->error = store->last;
    if (request->error.code == ERROR_NONE)
        try_luck(store, request);
    if (request->error.code == ERROR_NONE)
        write_all(store, request);
    store->last = request->error;
    store->options.on_settled(request->error.code == ERROR_NONE, store->options.data);
}

static void answer_list(struct memory_store *store, struct request *request)
{
    const struct disk *disk = store->options.disk;
    struct store_document *found = xcalloc(request->limit + 1, sizeof *found);
    size_t count = 0, at = place_of(disk, request->prefix);
    size_t length = strlen(request->prefix);
    for (; at < disk->count && count <= request->limit; at++) {
        const struct disk_document *document = &disk->documents[at];
        if (strncmp(document->key, request->prefix, length) != 0)
            break;
        if (request->after == NULL || strcmp(document->key, request->after) > 0)
            found[count++] =
                (struct store_document){document->key, document->value, document->revision};
    }
    bool more = count > request->limit;
    request->on_list(NULL, found, more ? request->limit : count, more, disk->revision,
                     request->data);
    free(found);
}

static void answer(struct memory_store *store, struct request *request)
{
    const struct error *error = request->error.code != ERROR_NONE ? &request->error : NULL;
    if (request->on_commit != NULL)
        request->on_commit(error, request->revision, request->data);
    else if (request->on_list != NULL && error != NULL)
        request->on_list(error, NULL, 0, false, 0, request->data);
    else if (request->on_list != NULL)
        answer_list(store, request);
    else if (error == NULL)
        store_tell_leading(&store->base, true, request->on_lead, request->data);
}

static void answer_first(struct memory_store *store)
{
    struct request *request = STAILQ_FIRST(&store->requests);
    STAILQ_REMOVE_HEAD(&store->requests, link);
    store->is_done = false;
    answer(store, request);
    free_request(request);
}

static void on_turn(void *data)
{
    struct memory_store *store = data;
    store->turn = NULL;
    if (store->frozen)
        return;
    if (store->is_done) {
        answer_first(store);
    } else {
        carry_out(store, STAILQ_FIRST(&store->requests));
        store->is_done = true;
    }
    set_turn(store);
}

static void set_turn(struct memory_store *store)
{
    struct world *world = store->options.world;
    if (STAILQ_EMPTY(&store->requests) || store->turn != NULL || store->frozen)
        return;
    uint64_t wait = draw_below(&world->draw, 4);
    if (world->faults.store_slow)
        wait = draw_between(&world->draw, 100, 3000);
    store->turn = world_after(world, wait, on_turn, NULL, store);
}

static struct request *add(struct store *base, void *data)
{
    struct memory_store *store = (struct memory_store *)base;
    struct request *request = xcalloc(1, sizeof *request);
    request->data = data;
    STAILQ_INSERT_TAIL(&store->requests, request, link);
    set_turn(store);
    return request;
}

/* --- the interface --- */

static void commit(struct store *base, const struct store_transaction *transaction,
                   store_commit_callback *callback, void *data)
{
    struct memory_store *store = (struct memory_store *)base;
    struct request *request = add(base, data);
    request->on_commit = callback;
    request->chained = transaction->chained;
    request->comparisons = xcalloc(transaction->comparison_count + 1, sizeof *request->comparisons);
    request->writes = xcalloc(transaction->write_count + 1, sizeof *request->writes);
    for (size_t i = 0; i < transaction->comparison_count; i++)
        request->comparisons[request->comparison_count++] = (struct store_comparison){
            xstrdup(transaction->comparisons[i].key), transaction->comparisons[i].revision};
    for (size_t i = 0; i < transaction->write_count; i++) {
        const struct store_write *write = &transaction->writes[i];
        request->writes[request->write_count++] = (struct store_write){
            xstrdup(write->key), write->value != NULL ? xstrdup(write->value) : NULL};
    }
    if (!store->frozen)
        store->options.on_handed_in(transaction, store->options.data);
}

static void refuse_commit(struct store *base, const struct error *error,
                          store_commit_callback *callback, void *data)
{
    struct request *request = add(base, data);
    request->on_commit = callback;
    request->error = *error;
    request->refused = true;
    if (error->code == ERROR_TOO_LARGE)
        world_fail(((struct memory_store *)base)->options.world,
                   "a transaction over the limits: %s", error->message);
}

static void list(struct store *base, const char *prefix, const char *after, size_t limit,
                 store_list_callback *callback, void *data)
{
    struct request *request = add(base, data);
    request->on_list = callback;
    request->prefix = xstrdup(prefix);
    request->after = after != NULL ? xstrdup(after) : NULL;
    request->limit = limit;
}

static void lead(struct store *base, const char *document, store_lead_callback *callback,
                 void *data)
{
    (void)document;
    add(base, data)->on_lead = callback;
}

static void destroy(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    world_cancel(&store->turn);
    while (!STAILQ_EMPTY(&store->requests)) {
        struct request *request = STAILQ_FIRST(&store->requests);
        STAILQ_REMOVE_HEAD(&store->requests, link);
        free_request(request);
    }
    free(store);
}

static const struct store_implementation implementation = {
    .commit = commit, .refuse = refuse_commit, .list = list, .lead = lead, .destroy = destroy};

struct store *memory_store_create(const struct memory_store_options *options)
{
    struct memory_store *store = xcalloc(1, sizeof *store);
    store->base.implementation = &implementation;
    store->base.identity.term = options->disk->term;
    text_copy(store->base.identity.cluster, sizeof store->base.identity.cluster, "simulated");
    store->options = *options;
    STAILQ_INIT(&store->requests);
    return &store->base;
}

void memory_store_freeze(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    store->frozen = true;
    world_cancel(&store->turn);
}

void memory_store_drain(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    while (!STAILQ_EMPTY(&store->requests)) {
        refuse(STAILQ_FIRST(&store->requests), ERROR_UNAVAILABLE, "the process is killed");
        answer_first(store);
    }
}
