#include "registry/metadata/retire.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "registry/metadata/metadata_internal.h"

struct retirement {
    struct leases *leases;
    const char *repository;
    const char *tag;
    const char *digest;
    struct sweep_count count;
};

/* Ids that are still to be looked at. */
struct worklist {
    int64_t *items;
    size_t count;
};

static void add_work(struct worklist *list, int64_t id)
{
    list->items = xreallocarray(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = id;
}

static int look(struct connection *connection, enum statement which, int64_t id,
                struct error *error)
{
    struct database_statement *statement = connection_prepare(connection, which, error);
    if (statement == NULL)
        return -1;
    database_bind_int(statement, 1, id);
    int found = database_step(statement, error);
    if (found == 1)
        database_reset(statement);
    return found;
}

static int run(struct connection *connection, enum statement which, int64_t id, struct error *error)
{
    struct database_statement *statement = connection_prepare(connection, which, error);
    if (statement == NULL)
        return -1;
    database_bind_int(statement, 1, id);
    return database_run(statement, error);
}

static int add_held(struct connection *connection, int64_t id, struct worklist *list,
                    struct error *error)
{
    struct database_statement *held = connection_prepare(connection, LIST_HELD, error);
    int found = -1;
    if (held == NULL)
        return -1;
    database_bind_int(held, 1, id);
    while ((found = database_step(held, error)) == 1)
        add_work(list, database_column_int(held, 0));
    return found;
}

/* 1: its size is in `ret_size`; 0: it is gone, or leased. */
static int read_size(struct connection *connection, const struct retirement *retirement, int64_t id,
                     uint64_t *ret_size, struct error *error)
{
    struct database_statement *get = connection_prepare(connection, GET_SIZE, error);
    if (get == NULL)
        return -1;
    database_bind_int(get, 1, id);
    int found = database_step(get, error);
    if (found != 1)
        return found;
    *ret_size = (uint64_t)database_column_int(get, 0);
    bool is_leased =
        leases_hold(retirement->leases, retirement->repository, database_column_text(get, 1));
    database_reset(get);
    return !is_leased;
}

/* Removes the manifest unless something keeps it; what it held is to be looked at then. */
static int retire(struct connection *connection, struct retirement *retirement, int64_t id,
                  struct worklist *list, struct error *error)
{
    uint64_t size = 0;
    int found = read_size(connection, retirement, id, &size, error);
    if (found != 1)
        return found;
    int tagged = look(connection, HAS_TAGS, id, error);
    int held = tagged == 0 ? look(connection, HAS_HOLDER, id, error) : tagged;
    if (held != 0)
        return held < 0 ? -1 : 0;
    if (add_held(connection, id, list, error) < 0 ||
        run(connection, REMOVE_COMPANIONS, id, error) < 0 ||
        run(connection, REMOVE_DEAD, id, error) < 0)
        return -1;
    retirement->count.count++;
    retirement->count.bytes += size;
    return 0;
}

/* 1: the tag points at the digest, whose manifest is `ret_id`. */
static int find_tagged(struct connection *connection, const struct retirement *retirement,
                       int64_t *ret_id, struct error *error)
{
    struct database_statement *find =
        connection_bind(connection, FIND_TAGGED, retirement->repository, retirement->tag, error);
    if (find == NULL)
        return -1;
    int found = database_step(find, error);
    if (found != 1)
        return found;
    *ret_id = database_column_int(find, 0);
    bool is_same = strcmp(database_column_text(find, 1), retirement->digest) == 0;
    database_reset(find);
    return is_same;
}

static int run_retirement(struct connection *connection, void *data, struct error *error)
{
    struct retirement *retirement = data;
    struct worklist list = {0};
    int64_t id;
    retirement->count = (struct sweep_count){0};
    int found = find_tagged(connection, retirement, &id, error);
    if (found != 1)
        return found;
    if (connection_run(connection, REMOVE_TAG, retirement->repository, retirement->tag, error) < 0)
        return -1;
    add_work(&list, id);
    int result = 0;
    while (result == 0 && list.count > 0)
        result = retire(connection, retirement, list.items[--list.count], &list, error);
    free(list.items);
    return result < 0 ? -1 : 1;
}

int metadata_retire_tag(struct metadata *metadata, struct leases *leases, const char *repository,
                        const char *tag, const char *digest, struct sweep_count *count,
                        struct error *error)
{
    struct retirement retirement = {
        .leases = leases, .repository = repository, .tag = tag, .digest = digest};
    leases_freeze(leases);
    int result = writer_run(metadata->writer, run_retirement, &retirement, error);
    cache_forget(metadata->manifests, repository);
    leases_thaw(leases);
    if (result == 1) {
        count->count += retirement.count.count;
        count->bytes += retirement.count.bytes;
    }
    return result;
}
