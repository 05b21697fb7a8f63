/* Opening, blobs and uploads. */
#include "registry/metadata/metadata.h"

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/metadata/metadata_internal.h"

/* Connections for reading: more would wait for the processors. Each has a cache of some pages. */
#define READERS_MAX 16

#define CACHED_MANIFEST_BYTES ((size_t)16 << 20)
#define CACHED_MANIFESTS      16384
#define CACHED_BLOB_BYTES     ((size_t)4 << 20)
#define CACHED_BLOBS          16384

/* Without its writer. */
static struct metadata *create(const char *path)
{
    struct metadata *metadata = xcalloc(1, sizeof *metadata);
    metadata->readers = readers_create(path, READERS_MAX);
    metadata->manifests = cache_create(CACHED_MANIFEST_BYTES, CACHED_MANIFESTS);
    metadata->blobs = cache_create(CACHED_BLOB_BYTES, CACHED_BLOBS);
    return metadata;
}

int metadata_open(const char *path, struct metadata **ret_metadata, struct error *error)
{
    struct database *database = NULL;
    if (database_open(path, schema_migrations, &database, error) < 0)
        return -1;
    if (schema_read_manifests(database, error) < 0) {
        database_close(database);
        return -1;
    }
    struct metadata *metadata = create(path);
    metadata->writer = writer_create(database);
    *ret_metadata = metadata;
    return 0;
}

int metadata_open_copy(const char *path, struct metadata **ret_metadata, struct error *error)
{
    struct metadata *metadata = create(path);
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL) {
        metadata_close(metadata);
        return -1;
    }
    readers_give(metadata->readers, connection);
    *ret_metadata = metadata;
    return 0;
}

void metadata_close(struct metadata *metadata)
{
    if (metadata == NULL)
        return;
    cache_destroy(metadata->blobs);
    cache_destroy(metadata->manifests);
    readers_destroy(metadata->readers);
    writer_destroy(metadata->writer);
    free(metadata);
}

int metadata_back_up(struct metadata *metadata, const char *path, struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    int result = database_back_up(connection_database(connection), path, error);
    readers_give(metadata->readers, connection);
    return result;
}

int metadata_look(struct metadata *metadata, enum statement which, const char *first,
                  const char *second, struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    int result = connection_look(connection, which, first, second, error);
    readers_give(metadata->readers, connection);
    return result;
}

int64_t metadata_now(void)
{
    return (int64_t)clock_wall_ms(clock_system());
}

int metadata_read_used(struct connection *connection, const char *repository, uint64_t *ret_used,
                       struct error *error)
{
    struct database_statement *get = connection_bind(connection, GET_USED, repository, NULL, error);
    int found = get == NULL ? -1 : database_step(get, error);
    if (found < 0)
        return -1;
    *ret_used = 0;
    if (found == 1) {
        *ret_used = (uint64_t)database_column_int(get, 0);
        database_reset(get);
    }
    return 0;
}

int metadata_check_quota(struct connection *connection, const char *repository, uint64_t before,
                         const struct metadata_rules *rules, struct error *error)
{
    uint64_t used;
    if (rules == NULL || rules->quota == UINT64_MAX)
        return 1;
    if (metadata_read_used(connection, repository, &used, error) < 0)
        return -1;
    /* What adds nothing is fine, also where the quota was lowered since. */
    return used <= rules->quota || used <= before;
}

/* --- blobs --- */

struct blob_operation {
    const char *from;   /* NULL: nowhere, its bytes were sent */
    const char *upload; /* which becomes the blob; NULL: none */
    const char *repository;
    const char *digest;
    uint64_t size;
    const struct metadata_rules *rules;
    bool is_last;
};

int metadata_has_blob(struct metadata *metadata, const char *repository, const char *digest,
                      struct error *error)
{
    const struct metadata_manifest *none = NULL;
    if (cache_find(metadata->blobs, repository, digest, &none))
        return 1;
    uint64_t generation = cache_generation(metadata->blobs, repository);
    int found = metadata_look(metadata, HAS_BLOB, repository, digest, error);
    if (found == 1)
        cache_keep(metadata->blobs, repository, digest, generation, NULL);
    return found;
}

int metadata_holds_digest(struct metadata *metadata, const char *digest, struct error *error)
{
    return metadata_look(metadata, HAS_DIGEST, digest, NULL, error);
}

static int each_holder(struct database_statement *rows,
                       bool (*each)(const char *repository, void *data), void *data,
                       struct error *error)
{
    int result;
    while ((result = database_step(rows, error)) == 1) {
        if (each(database_column_text(rows, 0), data))
            continue;
        database_reset(rows);
        return 0;
    }
    return result;
}

int metadata_each_holder(struct metadata *metadata, const char *digest,
                         bool (*each)(const char *repository, void *data), void *data,
                         struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *rows = connection_bind(connection, EACH_HOLDER, digest, NULL, error);
    int result = rows == NULL ? -1 : each_holder(rows, each, data, error);
    readers_give(metadata->readers, connection);
    return result;
}

static int run_add_blob(struct connection *connection, void *data, struct error *error)
{
    const struct blob_operation *add = data;
    uint64_t before;
    if (connection_run(connection, ADD_REPOSITORY, add->repository, NULL, error) < 0 ||
        metadata_read_used(connection, add->repository, &before, error) < 0)
        return -1;
    struct database_statement *insert = connection_bind(
        connection, add->from != NULL ? MOUNT_BLOB : ADD_BLOB, add->repository, add->digest, error);
    if (insert == NULL)
        return -1;
    if (add->from != NULL)
        database_bind_text(insert, 3, add->from);
    else
        database_bind_int(insert, 3, (int64_t)add->size);
    database_bind_int(insert, 4, metadata_now());
    if (database_run(insert, error) < 0 ||
        (add->upload != NULL &&
         connection_run(connection, REMOVE_UPLOAD, add->upload, NULL, error) < 0))
        return -1;
    return metadata_check_quota(connection, add->repository, before, add->rules, error);
}

int metadata_add_blob(struct metadata *metadata, const char *repository, const char *digest,
                      uint64_t size, const struct metadata_rules *rules, struct error *error)
{
    struct blob_operation add = {
        .repository = repository, .digest = digest, .size = size, .rules = rules};
    return writer_run(metadata->writer, run_add_blob, &add, error);
}

int metadata_end_upload(struct metadata *metadata, const char *id, const char *repository,
                        const char *digest, uint64_t size, const struct metadata_rules *rules,
                        struct error *error)
{
    struct blob_operation add = {
        .upload = id, .repository = repository, .digest = digest, .size = size, .rules = rules};
    return writer_run(metadata->writer, run_add_blob, &add, error);
}

static int run_mount_blob(struct connection *connection, void *data, struct error *error)
{
    const struct blob_operation *mount = data;
    int found = connection_look(connection, HAS_BLOB, mount->from, mount->digest, error);
    return found == 1 ? run_add_blob(connection, data, error) : found;
}

int metadata_mount_blob(struct metadata *metadata, const char *from, const char *repository,
                        const char *digest, const struct metadata_rules *rules, struct error *error)
{
    struct blob_operation mount = {
        .from = from, .repository = repository, .digest = digest, .rules = rules};
    return writer_run(metadata->writer, run_mount_blob, &mount, error);
}

static int run_remove_blob(struct connection *connection, void *data, struct error *error)
{
    struct blob_operation *remove = data;
    if (connection_run(connection, REMOVE_BLOB, remove->repository, remove->digest, error) < 0)
        return -1;
    if (database_changes(connection_database(connection)) == 0)
        return 0;
    int others = connection_look(connection, HAS_DIGEST, remove->digest, NULL, error);
    remove->is_last = others == 0;
    return others < 0 ? -1 : 1;
}

int metadata_remove_blob(struct metadata *metadata, const char *repository, const char *digest,
                         bool *ret_last, struct error *error)
{
    struct blob_operation remove = {.repository = repository, .digest = digest};
    int result = writer_run(metadata->writer, run_remove_blob, &remove, error);
    cache_forget(metadata->blobs, repository);
    if (result == 1)
        *ret_last = remove.is_last;
    return result;
}

static int run_size_blobs(struct connection *connection, void *data, struct error *error)
{
    const struct blob_operation *learnt = data;
    struct database_statement *set =
        connection_bind(connection, SIZE_BLOBS, learnt->digest, NULL, error);
    if (set == NULL)
        return -1;
    database_bind_int(set, 2, (int64_t)learnt->size);
    return database_run(set, error) < 0 ? -1 : 1;
}

/* 1: `ret_digest` is a blob whose size is not known. */
static int next_unsized(struct metadata *metadata, char ret_digest[DIGEST_ANY_MAX],
                        struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *next = connection_prepare(connection, NEXT_UNSIZED, error);
    int found = next == NULL ? -1 : database_step(next, error);
    if (found == 1) {
        text_copy(ret_digest, DIGEST_ANY_MAX, database_column_text(next, 0));
        database_reset(next);
    }
    readers_give(metadata->readers, connection);
    return found;
}

int metadata_learn_sizes(struct metadata *metadata,
                         int (*size_of)(const char *digest, void *data, uint64_t *ret_size,
                                        struct error *error),
                         void *data, struct error *error)
{
    char digest[DIGEST_ANY_MAX];
    int found;
    while ((found = next_unsized(metadata, digest, error)) == 1) {
        struct blob_operation learnt = {.digest = digest};
        if (size_of(digest, data, &learnt.size, error) < 0 ||
            writer_run(metadata->writer, run_size_blobs, &learnt, error) < 0)
            return error_wrap(error, "learn the size of blob %s", digest);
    }
    return found;
}

/* --- uploads --- */

struct upload_operation {
    const char *id;
    const char *repository;
};

static int run_add_upload(struct connection *connection, void *data, struct error *error)
{
    const struct upload_operation *upload = data;
    struct database_statement *add =
        connection_bind(connection, ADD_UPLOAD, upload->id, upload->repository, error);
    if (add == NULL)
        return -1;
    database_bind_int(add, 3, metadata_now());
    return database_run(add, error) < 0 ? -1 : 1;
}

int metadata_add_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error)
{
    struct upload_operation upload = {id, repository};
    return writer_run_unsynced(metadata->writer, run_add_upload, &upload, error) < 0 ? -1 : 0;
}

int metadata_has_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error)
{
    return metadata_look(metadata, HAS_UPLOAD, id, repository, error);
}

static int run_remove_upload(struct connection *connection, void *data, struct error *error)
{
    const struct upload_operation *upload = data;
    return connection_run(connection, REMOVE_UPLOAD, upload->id, NULL, error) < 0 ? -1 : 1;
}

int metadata_remove_upload(struct metadata *metadata, const char *id, struct error *error)
{
    struct upload_operation upload = {id, NULL};
    return writer_run_unsynced(metadata->writer, run_remove_upload, &upload, error) < 0 ? -1 : 0;
}
