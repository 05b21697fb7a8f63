#include "registry/metadata/sweep.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_reference.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/metadata/metadata_internal.h"

#define BATCH  64  /* blobs removed in one transaction */
#define LOOKED 512 /* blobs looked at by one statement */
/* Manifests removed in one transaction: to know one that is dead, all of its repository are looked
 * at, some 40 us each. */
#define DEAD_BATCH 1024

static const struct json_field count_fields[] = {
    JSON_FIELD(struct sweep_count, count, "count", JSON_UINT, .max = UINT64_MAX),
    JSON_FIELD(struct sweep_count, bytes, "bytes", JSON_UINT, .max = UINT64_MAX),
    JSON_FIELD_END,
};
const struct json_record sweep_count_record = {sizeof(struct sweep_count), count_fields};

struct candidate {
    int64_t repository;
    char name[REPOSITORY_MAX]; /* of the repository */
    char digest[DIGEST_ANY_MAX];
    uint64_t size;
    int64_t added;
    bool is_removed;
    bool is_last; /* no other repository holds it */
};

struct dead {
    int64_t id;
    uint64_t size;
    bool is_removed;
};

struct sweep {
    struct metadata *metadata;
    struct leases *leases;
    struct connection *connection; /* for reading, with tables of its own for a dry run */
    struct sweep_limits limits;
    bool is_dry;
    struct dead *dead; /* manifests of the repository under way */
    size_t dead_count, dead_at;
    int64_t repository; /* of the last blob looked at */
    char digest[DIGEST_ANY_MAX];
    struct sweep_count waiting;
    struct candidate candidates[BATCH];
    size_t count;
    char name[REPOSITORY_MAX]; /* of the last empty repository looked at */
};

int sweep_begin(struct metadata *metadata, struct leases *leases, const struct sweep_limits *limits,
                bool is_dry, struct sweep **ret_sweep, struct error *error)
{
    struct connection *connection = readers_open(metadata->readers, error);
    if (connection == NULL)
        return -1;
    if (database_execute(connection_database(connection),
                         "CREATE TEMP TABLE kept (manifest INTEGER PRIMARY KEY);"
                         "CREATE TEMP TABLE dead (manifest INTEGER PRIMARY KEY);"
                         "CREATE TEMP TABLE gone (repository INTEGER, digest TEXT,"
                         " PRIMARY KEY (repository, digest)) WITHOUT ROWID;",
                         error) < 0) {
        connection_destroy(connection);
        return -1;
    }
    struct sweep *sweep = xcalloc(1, sizeof *sweep);
    sweep->metadata = metadata;
    sweep->leases = leases;
    sweep->connection = connection;
    sweep->limits = *limits;
    sweep->is_dry = is_dry;
    *ret_sweep = sweep;
    return 0;
}

void sweep_end(struct sweep *sweep)
{
    if (sweep == NULL)
        return;
    connection_destroy(sweep->connection);
    free(sweep->dead);
    free(sweep);
}

/* --- manifests --- */

static int keep_leased(struct connection *connection, int64_t id, struct error *error)
{
    struct database_statement *keep = connection_prepare(connection, KEEP_MANIFEST, error);
    if (keep == NULL)
        return -1;
    database_bind_int(keep, 1, id);
    return database_run(keep, error);
}

static void add_dead(struct sweep *sweep, int64_t id, uint64_t size)
{
    if ((sweep->dead_count & (sweep->dead_count + 1)) == 0)
        sweep->dead = xreallocarray(sweep->dead, 2 * sweep->dead_count + 2, sizeof *sweep->dead);
    sweep->dead[sweep->dead_count++] = (struct dead){.id = id, .size = size};
}

/* Lists the dead ones, newest first, so that an index goes before what it lists. 1: some are leased
 * and have been noted as kept, so the list is too long. */
static int find_dead_once(struct sweep *sweep, const char *repository, struct error *error)
{
    struct database_statement *find =
        connection_bind(sweep->connection, FIND_DEAD, repository, NULL, error);
    bool has_leased = false;
    int found = -1;
    if (find == NULL)
        return -1;
    database_bind_int(find, 2, (int64_t)sweep->limits.young);
    sweep->dead_count = 0;
    while ((found = database_step(find, error)) == 1) {
        int64_t id = database_column_int(find, 0);
        if (!leases_hold(sweep->leases, repository, database_column_text(find, 2))) {
            add_dead(sweep, id, (uint64_t)database_column_int(find, 1));
            continue;
        }
        has_leased = true;
        if (keep_leased(sweep->connection, id, error) < 0) {
            database_reset(find);
            return -1;
        }
    }
    return found < 0 ? -1 : has_leased;
}

/* All of the repository, beside the writer: a look at a large one takes its time. With the leased
 * ones as live as the tagged ones, what they lead to is live too. */
static int find_dead(struct sweep *sweep, const char *repository, struct error *error)
{
    int more;
    sweep->dead_at = 0;
    if (database_execute(connection_database(sweep->connection), "DELETE FROM temp.kept", error) <
        0)
        return -1;
    do {
        more = find_dead_once(sweep, repository, error);
    } while (more == 1);
    return more;
}

/* The next of the list, to be removed in one transaction. */
struct manifest_batch {
    struct sweep *sweep;
    const char *repository;
    struct dead *dead;
    size_t count;
};

static int note_dead(struct connection *connection, enum statement which, int64_t id,
                     struct error *error)
{
    struct database_statement *statement = connection_prepare(connection, which, error);
    if (statement == NULL)
        return -1;
    database_bind_int(statement, 1, id);
    return database_run(statement, error);
}

/* 1: something keeps it by now, 0: nothing. */
static int is_kept(struct connection *connection, const struct manifest_batch *batch, int64_t id,
                   struct error *error)
{
    const struct sweep *sweep = batch->sweep;
    struct database_statement *list = connection_prepare(connection, LIST_KEEPERS, error);
    int found = -1;
    if (list == NULL)
        return -1;
    database_bind_int(list, 1, id);
    database_bind_int(list, 2, (int64_t)sweep->limits.young);
    while ((found = database_step(list, error)) == 1) {
        if (database_column_int(list, 1) == 0 &&
            !leases_hold(sweep->leases, batch->repository, database_column_text(list, 0)))
            continue;
        database_reset(list);
        return 1;
    }
    return found;
}

/* Looks again at each: a tag, an index or a lease may have come since they were listed. */
static int run_manifest_batch(struct connection *connection, void *data, struct error *error)
{
    struct manifest_batch *batch = data;
    for (size_t i = 0; i < batch->count; i++) {
        struct dead *dead = &batch->dead[i];
        int kept = is_kept(connection, batch, dead->id, error);
        if (kept < 0 || (kept == 0 && note_dead(connection, REMOVE_DEAD, dead->id, error) < 0))
            return -1;
        dead->is_removed = kept == 0;
    }
    return 1;
}

/* With the leases frozen: what is dead then is gone before anybody can ask for it. */
static int remove_batch(struct sweep *sweep, struct manifest_batch *batch, struct error *error)
{
    leases_freeze(sweep->leases);
    int result = writer_run(sweep->metadata->writer, run_manifest_batch, batch, error);
    cache_forget(sweep->metadata->manifests, batch->repository);
    leases_thaw(sweep->leases);
    return result;
}

/* The same on paper. */
static int note_batch(struct sweep *sweep, struct manifest_batch *batch, struct error *error)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (note_dead(sweep->connection, NOTE_DEAD, batch->dead[i].id, error) < 0)
            return -1;
        batch->dead[i].is_removed = true;
    }
    return 0;
}

int sweep_manifests(struct sweep *sweep, const char *repository, struct sweep_count *count,
                    struct error *error)
{
    if (sweep->dead_at == sweep->dead_count && find_dead(sweep, repository, error) < 0)
        return -1;
    size_t left = sweep->dead_count - sweep->dead_at;
    struct manifest_batch batch = {.sweep = sweep,
                                   .repository = repository,
                                   .dead = sweep->dead + sweep->dead_at,
                                   .count = left < BATCH ? left : BATCH};
    if (batch.count == 0)
        return 0;
    if ((sweep->is_dry ? note_batch(sweep, &batch, error) : remove_batch(sweep, &batch, error)) < 0)
        return -1;
    sweep->dead_at += batch.count;
    for (size_t i = 0; i < batch.count; i++) {
        if (!batch.dead[i].is_removed)
            continue;
        count->count++;
        count->bytes += batch.dead[i].size;
    }
    return sweep->dead_at < sweep->dead_count;
}

/* --- blobs --- */

/* Looks at the next rows. 1: there are more behind them. */
static int find_candidates(struct sweep *sweep, struct error *error)
{
    struct database_statement *scan = connection_prepare(sweep->connection, SCAN_BLOBS, error);
    uint64_t looked = 0;
    int found = -1;
    if (scan == NULL)
        return -1;
    database_bind_int(scan, 1, sweep->repository);
    database_bind_text(scan, 2, sweep->digest);
    database_bind_int(scan, 3, LOOKED);
    sweep->count = 0;
    while (sweep->count < BATCH && (found = database_step(scan, error)) == 1) {
        looked++;
        sweep->repository = database_column_int(scan, 0);
        text_copy(sweep->digest, sizeof sweep->digest, database_column_text(scan, 2));
        bool is_referred_to = database_column_int(scan, 5) != 0;
        int64_t added = database_column_int(scan, 4);
        if (!is_referred_to && added >= (int64_t)sweep->limits.young) {
            sweep->waiting.count++;
            sweep->waiting.bytes += (uint64_t)database_column_int(scan, 3);
        }
        if (is_referred_to || added >= (int64_t)sweep->limits.young)
            continue;
        struct candidate *candidate = &sweep->candidates[sweep->count];
        *candidate = (struct candidate){.repository = sweep->repository,
                                        .size = (uint64_t)database_column_int(scan, 3),
                                        .added = added};
        text_copy(candidate->digest, sizeof candidate->digest, sweep->digest);
        if (text_copy(candidate->name, sizeof candidate->name, database_column_text(scan, 1)))
            sweep->count++;
    }
    if (found < 0)
        return -1;
    if (found == 1)
        database_reset(scan);
    return found == 1 || looked == LOOKED;
}

static bool is_leased(const struct sweep *sweep, const struct candidate *candidate)
{
    return leases_hold(sweep->leases, candidate->name, candidate->digest) ||
           (candidate->added >= (int64_t)sweep->limits.young_in_push &&
            leases_hold(sweep->leases, candidate->name, LEASE_PUSH));
}

static int remove_candidate(struct connection *connection, const struct sweep *sweep,
                            struct candidate *candidate, struct error *error)
{
    struct database_statement *remove = connection_prepare(connection, SWEEP_BLOB, error);
    if (remove == NULL)
        return -1;
    database_bind_int(remove, 1, candidate->repository);
    database_bind_text(remove, 2, candidate->digest);
    database_bind_int(remove, 3, (int64_t)sweep->limits.young);
    if (database_run(remove, error) < 0)
        return -1;
    candidate->is_removed = database_changes(connection_database(connection)) > 0;
    return 0;
}

static int run_blob_batch(struct connection *connection, void *data, struct error *error)
{
    struct sweep *sweep = data;
    for (size_t i = 0; i < sweep->count; i++) {
        struct candidate *candidate = &sweep->candidates[i];
        candidate->is_removed = candidate->is_last = false;
        if (!is_leased(sweep, candidate) &&
            remove_candidate(connection, sweep, candidate, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < sweep->count; i++) {
        struct candidate *candidate = &sweep->candidates[i];
        if (!candidate->is_removed)
            continue;
        int held = connection_look(connection, HAS_DIGEST, candidate->digest, NULL, error);
        if (held < 0)
            return -1;
        candidate->is_last = held == 0;
    }
    return 1;
}

/* The same on paper. */
static int note_candidates(struct sweep *sweep, struct error *error)
{
    for (size_t i = 0; i < sweep->count; i++) {
        struct candidate *candidate = &sweep->candidates[i];
        if (is_leased(sweep, candidate))
            continue;
        struct database_statement *note = connection_prepare(sweep->connection, NOTE_GONE, error);
        if (note == NULL)
            return -1;
        database_bind_int(note, 1, candidate->repository);
        database_bind_text(note, 2, candidate->digest);
        if (database_run(note, error) < 0)
            return -1;
        int held = connection_look(sweep->connection, IS_LEFT, candidate->digest, NULL, error);
        if (held < 0)
            return -1;
        candidate->is_removed = true;
        candidate->is_last = held == 0;
    }
    return 0;
}

static int remove_candidates(struct sweep *sweep, struct error *error)
{
    if (sweep->is_dry)
        return note_candidates(sweep, error);
    leases_freeze(sweep->leases);
    int result = writer_run(sweep->metadata->writer, run_blob_batch, sweep, error);
    for (size_t i = 0; i < sweep->count; i++)
        cache_forget(sweep->metadata->blobs, sweep->candidates[i].name);
    leases_thaw(sweep->leases);
    return result;
}

/* A digest may be twice in a batch, of two repositories; it goes once. */
static bool is_first(const struct sweep *sweep, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (sweep->candidates[i].is_last &&
            strcmp(sweep->candidates[i].digest, sweep->candidates[index].digest) == 0)
            return false;
    }
    return true;
}

int sweep_blobs(struct sweep *sweep, struct sweep_count *count,
                void (*gone)(const char *digest, uint64_t size, void *data), void *data,
                struct error *error)
{
    int more = find_candidates(sweep, error);
    if (more < 0 || (sweep->count > 0 && remove_candidates(sweep, error) < 0))
        return -1;
    for (size_t i = 0; i < sweep->count; i++) {
        const struct candidate *candidate = &sweep->candidates[i];
        if (!candidate->is_removed) {
            sweep->waiting.count++;
            sweep->waiting.bytes += candidate->size;
            continue;
        }
        count->count++;
        count->bytes += candidate->size;
        if (candidate->is_last && is_first(sweep, i))
            gone(candidate->digest, candidate->size, data);
    }
    return more;
}

/* --- repositories --- */

struct empty_batch {
    struct json_strings names;
    uint64_t count;
};

static int find_empty(struct sweep *sweep, struct json_strings *names, struct error *error)
{
    struct database_statement *list =
        connection_bind(sweep->connection, LIST_EMPTY, sweep->name, NULL, error);
    int found = -1;
    if (list == NULL)
        return -1;
    database_bind_int(list, 2, BATCH);
    while ((found = database_step(list, error)) == 1) {
        json_strings_add(names, database_column_text(list, 0));
        text_copy(sweep->name, sizeof sweep->name, database_column_text(list, 0));
    }
    return found;
}

static int run_empty_batch(struct connection *connection, void *data, struct error *error)
{
    struct empty_batch *batch = data;
    batch->count = 0;
    for (size_t i = 0; i < batch->names.count; i++) {
        if (connection_run(connection, REMOVE_EMPTY, batch->names.items[i], NULL, error) < 0)
            return -1;
        batch->count += (uint64_t)database_changes(connection_database(connection));
    }
    return 1;
}

/* Without freezing the leases: what appears in a repository names it anew in the same transaction.
 */
int sweep_repositories(struct sweep *sweep, uint64_t *count, struct error *error)
{
    struct empty_batch batch = {0};
    int result = find_empty(sweep, &batch.names, error);
    bool more = batch.names.count == BATCH;
    batch.count = batch.names.count;
    if (result == 0 && batch.names.count > 0 && !sweep->is_dry)
        result = writer_run(sweep->metadata->writer, run_empty_batch, &batch, error);
    json_strings_release(&batch.names);
    if (result < 0)
        return -1;
    *count += batch.count;
    return more;
}

struct sweep_count sweep_waiting(const struct sweep *sweep)
{
    return sweep->waiting;
}
