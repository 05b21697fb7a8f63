#include "registry/metadata/metadata.h"

#include <pthread.h>

#include "lib/cleanup.h"
#include "lib/database.h"
#include "lib/text.h"
#include "lib/xalloc.h"

static const char *const migrations[] = {
    "CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE blobs ("
    "  repository INTEGER NOT NULL REFERENCES repositories (id), digest TEXT NOT NULL,"
    "  PRIMARY KEY (repository, digest)) WITHOUT ROWID;"
    "CREATE INDEX blobs_by_digest ON blobs (digest);"
    "CREATE TABLE manifests ("
    "  id INTEGER PRIMARY KEY,"
    "  repository INTEGER NOT NULL REFERENCES repositories (id), digest TEXT NOT NULL,"
    "  media_type TEXT NOT NULL, subject TEXT, bytes BLOB NOT NULL,"
    "  UNIQUE (repository, digest));"
    "CREATE INDEX manifests_by_subject ON manifests (repository, subject)"
    "  WHERE subject IS NOT NULL;"
    "CREATE TABLE tags ("
    "  repository INTEGER NOT NULL REFERENCES repositories (id), name TEXT NOT NULL,"
    "  manifest INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,"
    "  PRIMARY KEY (repository, name)) WITHOUT ROWID;"
    "CREATE INDEX tags_by_manifest ON tags (manifest);"
    "CREATE TABLE uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL) WITHOUT ROWID;",
    NULL,
};

enum statement {
    HAS_REPOSITORY,
    ADD_REPOSITORY,
    HAS_BLOB,
    ADD_BLOB,
    REMOVE_BLOB,
    COUNT_BLOB,
    HAS_MANIFEST,
    PUT_MANIFEST,
    PUT_TAG,
    GET_BY_DIGEST,
    GET_BY_TAG,
    REMOVE_MANIFEST,
    REMOVE_TAG,
    LIST_TAGS,
    LIST_REPOSITORIES,
    LIST_REFERRERS,
    ADD_UPLOAD,
    HAS_UPLOAD,
    REMOVE_UPLOAD,
    STATEMENT_COUNT,
};

#define REPOSITORY_ID "(SELECT id FROM repositories WHERE name = ?1)"

static const char *const statements[STATEMENT_COUNT] = {
    [HAS_REPOSITORY] = "SELECT 1 FROM repositories WHERE name = ?1",
    [ADD_REPOSITORY] = "INSERT INTO repositories (name) VALUES (?1) ON CONFLICT DO NOTHING",
    [HAS_BLOB] = "SELECT 1 FROM blobs WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [ADD_BLOB] = "INSERT INTO blobs VALUES (" REPOSITORY_ID ", ?2) ON CONFLICT DO NOTHING",
    [REMOVE_BLOB] = "DELETE FROM blobs WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [COUNT_BLOB] = "SELECT 1 FROM blobs WHERE digest = ?1 LIMIT 1",
    [HAS_MANIFEST] = "SELECT 1 FROM manifests WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [PUT_MANIFEST] = "INSERT INTO manifests (repository, digest, media_type, subject, bytes)"
                     " VALUES (" REPOSITORY_ID ", ?2, ?3, ?4, ?5) ON CONFLICT (repository, digest)"
                     " DO UPDATE SET media_type = ?3, subject = ?4",
    [PUT_TAG] = "INSERT INTO tags VALUES (" REPOSITORY_ID ", ?2, (SELECT id FROM manifests"
                " WHERE repository = " REPOSITORY_ID " AND digest = ?3))"
                " ON CONFLICT (repository, name) DO UPDATE SET manifest = excluded.manifest",
    [GET_BY_DIGEST] = "SELECT digest, media_type, subject, bytes, id FROM manifests"
                      " WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [GET_BY_TAG] = "SELECT digest, media_type, subject, bytes, id FROM tags"
                   " JOIN manifests ON manifests.id = tags.manifest"
                   " WHERE tags.repository = " REPOSITORY_ID " AND tags.name = ?2",
    [REMOVE_MANIFEST] =
        "DELETE FROM manifests WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [REMOVE_TAG] = "DELETE FROM tags WHERE repository = " REPOSITORY_ID " AND name = ?2",
    [LIST_TAGS] = "SELECT name FROM tags WHERE repository = " REPOSITORY_ID
                  " AND name > ?2 ORDER BY name LIMIT ?3",
    [LIST_REPOSITORIES] = "SELECT name FROM repositories WHERE name > ?1 ORDER BY name LIMIT ?2",
    [LIST_REFERRERS] =
        "SELECT digest, media_type, subject, bytes, id FROM manifests"
        " WHERE repository = " REPOSITORY_ID " AND subject = ?2 AND id > ?3 ORDER BY id",
    [ADD_UPLOAD] = "INSERT INTO uploads VALUES (?1, ?2)",
    [HAS_UPLOAD] = "SELECT 1 FROM uploads WHERE id = ?1 AND repository = ?2",
    [REMOVE_UPLOAD] = "DELETE FROM uploads WHERE id = ?1",
};

struct metadata {
    struct database *database;
    struct database_statement *statements[STATEMENT_COUNT];
    pthread_mutex_t lock;
};

int metadata_open(const char *path, struct metadata **ret_metadata, struct error *error)
{
    struct metadata *metadata = xcalloc(1, sizeof *metadata);
    pthread_mutex_init(&metadata->lock, NULL);
    int result = database_open(path, migrations, &metadata->database, error);
    for (size_t i = 0; result == 0 && i < STATEMENT_COUNT; i++)
        result =
            database_prepare(metadata->database, statements[i], &metadata->statements[i], error);
    if (result < 0) {
        metadata_close(metadata);
        return -1;
    }
    *ret_metadata = metadata;
    return 0;
}

void metadata_close(struct metadata *metadata)
{
    if (metadata == NULL)
        return;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        database_statement_destroy(metadata->statements[i]);
    database_close(metadata->database);
    pthread_mutex_destroy(&metadata->lock);
    free(metadata);
}

void metadata_manifest_finish(struct metadata_manifest *manifest)
{
    free(manifest->media_type);
    free(manifest->bytes);
    free(manifest->subject);
    *manifest = (struct metadata_manifest){0};
}

void metadata_references_finish(struct metadata_references *references)
{
    json_strings_release(&references->blobs);
    json_strings_release(&references->manifests);
}

/* --- one statement, with the lock held --- */

static struct database_statement *bind(struct metadata *metadata, enum statement which,
                                       const char *first, const char *second)
{
    struct database_statement *statement = metadata->statements[which];
    database_bind_text(statement, 1, first);
    if (second != NULL)
        database_bind_text(statement, 2, second);
    return statement;
}

static int run(struct metadata *metadata, enum statement which, const char *first,
               const char *second, struct error *error)
{
    return database_run(bind(metadata, which, first, second), error);
}

/* 1 when there is a row. */
static int look(struct metadata *metadata, enum statement which, const char *first,
                const char *second, struct error *error)
{
    struct database_statement *statement = bind(metadata, which, first, second);
    int result = database_step(statement, error);
    if (result == 1)
        database_reset(statement);
    return result;
}

/* Ends a transaction whose steps ended with `result`: what found nothing or failed leaves nothing.
 */
static int end(struct metadata *metadata, int result, struct error *error)
{
    if (result > 0 && database_commit(metadata->database, error) == 0)
        return result;
    database_rollback(metadata->database);
    return result > 0 ? -1 : result;
}

static int look_locked(struct metadata *metadata, enum statement which, const char *first,
                       const char *second, struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    int result = look(metadata, which, first, second, error);
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

static int run_locked(struct metadata *metadata, enum statement which, const char *first,
                      const char *second, struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    int result = run(metadata, which, first, second, error);
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

/* --- blobs --- */

int metadata_has_blob(struct metadata *metadata, const char *repository, const char *digest,
                      struct error *error)
{
    return look_locked(metadata, HAS_BLOB, repository, digest, error);
}

static int add_blob(struct metadata *metadata, const char *repository, const char *digest,
                    struct error *error)
{
    if (run(metadata, ADD_REPOSITORY, repository, NULL, error) < 0)
        return -1;
    return run(metadata, ADD_BLOB, repository, digest, error) < 0 ? -1 : 1;
}

int metadata_add_blob(struct metadata *metadata, const char *repository, const char *digest,
                      struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    int result = database_begin(metadata->database, error);
    if (result == 0)
        result = end(metadata, add_blob(metadata, repository, digest, error), error);
    pthread_mutex_unlock(&metadata->lock);
    return result < 0 ? -1 : 0;
}

int metadata_mount_blob(struct metadata *metadata, const char *from, const char *repository,
                        const char *digest, struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    int result = database_begin(metadata->database, error);
    if (result == 0) {
        result = look(metadata, HAS_BLOB, from, digest, error);
        if (result == 1)
            result = add_blob(metadata, repository, digest, error);
        result = end(metadata, result, error);
    }
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

static int remove_blob(struct metadata *metadata, const char *repository, const char *digest,
                       bool *last, struct error *error)
{
    if (run(metadata, REMOVE_BLOB, repository, digest, error) < 0)
        return -1;
    if (database_changes(metadata->database) == 0)
        return 0;
    int others = look(metadata, COUNT_BLOB, digest, NULL, error);
    *last = others == 0;
    return others < 0 ? -1 : 1;
}

int metadata_remove_blob(struct metadata *metadata, const char *repository, const char *digest,
                         bool *ret_last, struct error *error)
{
    bool last = false;
    pthread_mutex_lock(&metadata->lock);
    int result = database_begin(metadata->database, error);
    if (result == 0)
        result = end(metadata, remove_blob(metadata, repository, digest, &last, error), error);
    pthread_mutex_unlock(&metadata->lock);
    if (result == 1)
        *ret_last = last;
    return result;
}

/* --- manifests --- */

static int check_present(struct metadata *metadata, enum statement which, const char *repository,
                         const struct json_strings *digests, char *missing, struct error *error)
{
    for (size_t i = 0; i < digests->count; i++) {
        int found = look(metadata, which, repository, digests->items[i], error);
        if (found == 0)
            text_copy(missing, DIGEST_TEXT_MAX, digests->items[i]);
        if (found != 1)
            return found;
    }
    return 1;
}

static int store_manifest(struct metadata *metadata, const char *repository,
                          const struct metadata_manifest *manifest, const char *tag,
                          struct error *error)
{
    if (run(metadata, ADD_REPOSITORY, repository, NULL, error) < 0)
        return -1;
    struct database_statement *put = bind(metadata, PUT_MANIFEST, repository, manifest->digest);
    database_bind_text(put, 3, manifest->media_type);
    database_bind_text(put, 4, manifest->subject);
    database_bind_blob(put, 5, manifest->bytes, manifest->length);
    if (database_run(put, error) < 0)
        return -1;
    if (tag == NULL)
        return 1;
    put = bind(metadata, PUT_TAG, repository, tag);
    database_bind_text(put, 3, manifest->digest);
    return database_run(put, error) < 0 ? -1 : 1;
}

int metadata_put_manifest(struct metadata *metadata, const char *repository,
                          const struct metadata_manifest *manifest, const char *tag,
                          const struct metadata_references *references,
                          char ret_missing[DIGEST_TEXT_MAX], struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    int result = database_begin(metadata->database, error);
    if (result == 0) {
        result =
            check_present(metadata, HAS_BLOB, repository, &references->blobs, ret_missing, error);
        if (result == 1)
            result = check_present(metadata, HAS_MANIFEST, repository, &references->manifests,
                                   ret_missing, error);
        if (result == 1)
            result = store_manifest(metadata, repository, manifest, tag, error);
        result = end(metadata, result, error);
    }
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

static void read_manifest(struct database_statement *row, struct metadata_manifest *ret_manifest)
{
    size_t length;
    const void *bytes = database_column_blob(row, 3, &length);
    text_copy(ret_manifest->digest, sizeof ret_manifest->digest, database_column_text(row, 0));
    ret_manifest->media_type = xstrdup(database_column_text(row, 1));
    ret_manifest->subject = xstrdup(database_column_text(row, 2));
    ret_manifest->bytes = xmemdup(bytes != NULL ? bytes : "", length);
    ret_manifest->length = length;
    ret_manifest->id = (uint64_t)database_column_int(row, 4);
}

int metadata_get_manifest(struct metadata *metadata, const char *repository, const char *reference,
                          struct metadata_manifest *ret_manifest, struct error *error)
{
    enum statement which = digest_is_valid(reference) ? GET_BY_DIGEST : GET_BY_TAG;
    pthread_mutex_lock(&metadata->lock);
    struct database_statement *get = bind(metadata, which, repository, reference);
    int result = database_step(get, error);
    if (result == 1) {
        read_manifest(get, ret_manifest);
        database_reset(get);
    }
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

int metadata_remove_manifest(struct metadata *metadata, const char *repository,
                             const char *reference, struct error *error)
{
    enum statement which = digest_is_valid(reference) ? REMOVE_MANIFEST : REMOVE_TAG;
    pthread_mutex_lock(&metadata->lock);
    int result = run(metadata, which, repository, reference, error);
    if (result == 0)
        result = database_changes(metadata->database) > 0;
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

/* --- lists --- */

int metadata_has_repository(struct metadata *metadata, const char *repository, struct error *error)
{
    return look_locked(metadata, HAS_REPOSITORY, repository, NULL, error);
}

/* Collects the first column of every row. */
static int collect(struct database_statement *statement, struct json_strings *ret_names,
                   struct error *error)
{
    struct json_strings names = {0};
    int result;
    while ((result = database_step(statement, error)) == 1)
        json_strings_add(&names, database_column_text(statement, 0));
    if (result < 0)
        json_strings_release(&names);
    else
        *ret_names = names;
    return result;
}

int metadata_list_tags(struct metadata *metadata, const char *repository, const char *last,
                       uint64_t limit, struct json_strings *ret_names, struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    struct database_statement *list = bind(metadata, LIST_TAGS, repository, last);
    database_bind_int(list, 3, (int64_t)limit);
    int result = collect(list, ret_names, error);
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

int metadata_list_repositories(struct metadata *metadata, const char *last, uint64_t limit,
                               struct json_strings *ret_names, struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    struct database_statement *list = bind(metadata, LIST_REPOSITORIES, last, NULL);
    database_bind_int(list, 2, (int64_t)limit);
    int result = collect(list, ret_names, error);
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

int metadata_list_referrers(struct metadata *metadata, const char *repository, const char *subject,
                            uint64_t last,
                            bool (*each)(const struct metadata_manifest *manifest, void *data),
                            void *data, struct error *error)
{
    pthread_mutex_lock(&metadata->lock);
    struct database_statement *list = bind(metadata, LIST_REFERRERS, repository, subject);
    database_bind_int(list, 3, (int64_t)last);
    int result;
    while ((result = database_step(list, error)) == 1) {
        struct metadata_manifest manifest = {0};
        read_manifest(list, &manifest);
        bool goes_on = each(&manifest, data);
        metadata_manifest_finish(&manifest);
        if (goes_on)
            continue;
        database_reset(list);
        result = 0;
        break;
    }
    pthread_mutex_unlock(&metadata->lock);
    return result;
}

/* --- uploads --- */

int metadata_add_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error)
{
    return run_locked(metadata, ADD_UPLOAD, id, repository, error);
}

int metadata_has_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error)
{
    return look_locked(metadata, HAS_UPLOAD, id, repository, error);
}

int metadata_remove_upload(struct metadata *metadata, const char *id, struct error *error)
{
    return run_locked(metadata, REMOVE_UPLOAD, id, NULL, error);
}
