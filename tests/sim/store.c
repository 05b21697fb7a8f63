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

struct memory_store;

struct disk {
    struct disk_document *documents; /* in order of their keys */
    size_t count, room;
    uint64_t revision;
    uint64_t term;
    struct disk_document *changes; /* in order of their revisions; without value: deleted */
    size_t change_count, change_room;
    struct memory_store *holder; /* of the lease; NULL: nobody */
    LIST_HEAD(, memory_store) stores;
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
    for (size_t i = 0; i < disk->change_count; i++) {
        free(disk->changes[i].key);
        free(disk->changes[i].value);
    }
    free(disk->documents);
    free(disk->changes);
    free(disk);
}

struct disk *disk_copy(const struct disk *disk)
{
    struct disk *copy = xcalloc(1, sizeof *copy);
    copy->count = disk->count;
    copy->room = disk->room;
    copy->revision = disk->revision;
    copy->term = disk->term;
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

static void note_change(struct disk *disk, const char *key, const char *value)
{
    if (disk->change_count == disk->change_room) {
        disk->change_room = disk->change_room > 0 ? disk->change_room * 2 : 64;
        disk->changes = xreallocarray(disk->changes, disk->change_room, sizeof *disk->changes);
    }
    disk->changes[disk->change_count++] =
        (struct disk_document){xstrdup(key), value != NULL ? xstrdup(value) : NULL, disk->revision};
}

static void disk_write(struct disk *disk, const char *key, const char *value)
{
    note_change(disk, key, value);
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
    bool is_campaign;
    void *data;
};

struct memory_watch {
    struct store_watch base;
    LIST_ENTRY(memory_watch) link;
    uint64_t at; /* revision of what was told */
    store_watch_callback *callback;
    void *data;
};

struct memory_store {
    struct store base;
    LIST_ENTRY(memory_store) link;
    struct memory_store_options options;
    LIST_HEAD(, memory_watch) watches;
    struct world_event *telling; /* of changes */
    bool campaigns;
    struct world_event *granting, *losing;
    store_lead_callback *on_lead;
    void *lead_data;
    STAILQ_HEAD(, request) requests;
    struct world_event *turn;
    bool is_done; /* the first request, all but its answer */
    bool frozen;
    struct error last; /* of the commit before */
};

static void set_turn(struct memory_store *store);
static void tell_later(struct disk *disk);
static void grant_lease(struct disk *disk, uint64_t wait_ms);

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
    tell_later(disk);
}

static void carry_out(struct memory_store *store, struct request *request)
{
    if (request->on_commit == NULL || request->refused)
        return;
    if (request->error.code == ERROR_NONE && store->options.disk->holder != store)
        refuse(request, ERROR_CONFLICT, "the lease is another one's");
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
    else if (request->is_campaign && error == NULL) {
        store->campaigns = true;
        grant_lease(store->options.disk, 0);
    }
}

static void answer_first(struct memory_store *store)
{
    struct request *request = STAILQ_FIRST(&store->requests);
    STAILQ_REMOVE_HEAD(&store->requests, link);
    store->is_done = false;
    answer(store, request);
    free_request(request);
    store->options.on_answered(store->options.data);
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
    struct memory_store *store = (struct memory_store *)base;
    (void)document;
    store->on_lead = callback;
    store->lead_data = data;
    add(base, data)->is_campaign = true;
}

/* --- what others write --- */

static void tell(struct memory_store *store, struct memory_watch *watch)
{
    const struct disk *disk = store->options.disk;
    struct store_document *changes = xcalloc(disk->change_count + 1, sizeof *changes);
    size_t count = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        const struct disk_document *change = &disk->changes[i];
        if (change->revision > watch->at)
            changes[count++] =
                (struct store_document){change->key, change->value, change->revision};
    }
    watch->at = disk->revision;
    if (count > 0)
        watch->callback(NULL, changes, count, disk->revision, watch->data);
    free(changes);
}

static void tell_all(struct memory_store *store)
{
    struct memory_watch *next;
    for (struct memory_watch *watch = LIST_FIRST(&store->watches); watch != NULL; watch = next) {
        next = LIST_NEXT(watch, link);
        tell(store, watch);
    }
}

static void on_telling(void *data)
{
    struct memory_store *store = data;
    store->telling = NULL;
    tell_all(store);
}

static void tell_later(struct disk *disk)
{
    struct memory_store *store;
    LIST_FOREACH(store, &disk->stores, link)
    {
        struct world *world = store->options.world;
        if (!LIST_EMPTY(&store->watches) && store->telling == NULL && !store->frozen)
            store->telling =
                world_after(world, draw_below(&world->draw, 300), on_telling, NULL, store);
    }
}

static struct store_watch *watch_start(struct store *base, const char *prefix, uint64_t from,
                                       store_watch_callback *callback, void *data)
{
    struct memory_store *store = (struct memory_store *)base;
    struct memory_watch *watch = xcalloc(1, sizeof *watch);
    (void)prefix; /* everything, wherever it is used */
    *watch = (struct memory_watch){.base = {base}, .at = from, .callback = callback, .data = data};
    LIST_INSERT_HEAD(&store->watches, watch, link);
    tell_later(store->options.disk);
    return &watch->base;
}

static void watch_stop(struct store_watch *base)
{
    LIST_REMOVE((struct memory_watch *)base, link);
    free(base);
}

/* --- the lease --- */

static void on_granted(void *data)
{
    struct memory_store *store = data;
    store->granting = NULL;
    store->campaigns = false;
    /* It has been told of all that others wrote. */
    tell_all(store);
    store_tell_leading(&store->base, true, store->on_lead, store->lead_data);
    store->options.on_answered(store->options.data);
}

static void grant_lease(struct disk *disk, uint64_t wait_ms)
{
    struct memory_store *store;
    if (disk->holder != NULL)
        return;
    LIST_FOREACH(store, &disk->stores, link)
    {
        struct world *world = store->options.world;
        if (!store->campaigns || store->frozen || store->losing != NULL)
            continue;
        disk->holder = store;
        store->granting =
            world_after(world, wait_ms + draw_below(&world->draw, 20), on_granted, NULL, store);
        return;
    }
}

static void on_lost(void *data)
{
    struct memory_store *store = data;
    struct disk *disk = store->options.disk;
    store->losing = NULL;
    store_tell_leading(&store->base, false, store->on_lead, store->lead_data);
    grant_lease(disk, 0);
}

void disk_take_lease(struct disk *disk)
{
    struct memory_store *store = disk->holder;
    if (store == NULL || store->granting != NULL)
        return;
    struct world *world = store->options.world;
    disk->holder = NULL;
    store->losing = world_after(world, draw_below(&world->draw, 3000), on_lost, NULL, store);
    grant_lease(disk, draw_below(&world->draw, 1000));
}

bool memory_store_leads(const struct store *base)
{
    const struct memory_store *store = (const struct memory_store *)base;
    return store->options.disk->holder == store;
}

/* Its lease runs out some time later. */
static void leave_disk(struct memory_store *store)
{
    struct disk *disk = store->options.disk;
    LIST_REMOVE(store, link);
    if (disk->holder != store)
        return;
    disk->holder = NULL;
    grant_lease(disk, draw_below(&store->options.world->draw, 3000));
}

static void destroy(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    leave_disk(store);
    store_finish(base);
    while (!STAILQ_EMPTY(&store->requests)) {
        struct request *request = STAILQ_FIRST(&store->requests);
        STAILQ_REMOVE_HEAD(&store->requests, link);
        free_request(request);
    }
    free(store);
}

static const struct store_implementation implementation = {.commit = commit,
                                                           .refuse = refuse_commit,
                                                           .list = list,
                                                           .watch_start = watch_start,
                                                           .watch_stop = watch_stop,
                                                           .lead = lead,
                                                           .destroy = destroy};

struct store *memory_store_create(const struct memory_store_options *options)
{
    struct memory_store *store = xcalloc(1, sizeof *store);
    store->base.implementation = &implementation;
    store->base.identity.term = options->disk->term;
    text_copy(store->base.identity.cluster, sizeof store->base.identity.cluster, "simulated");
    store->options = *options;
    STAILQ_INIT(&store->requests);
    LIST_INIT(&store->watches);
    LIST_INSERT_HEAD(&options->disk->stores, store, link);
    return &store->base;
}

void memory_store_freeze(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    store->frozen = true;
    world_cancel(&store->turn);
    world_cancel(&store->telling);
    world_cancel(&store->granting);
    world_cancel(&store->losing);
}

void memory_store_drain(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    while (!STAILQ_EMPTY(&store->requests)) {
        refuse(STAILQ_FIRST(&store->requests), ERROR_UNAVAILABLE, "the process is killed");
        answer_first(store);
    }
}
