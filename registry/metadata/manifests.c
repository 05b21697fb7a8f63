/* Manifests and tags. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/metadata/metadata_internal.h"

void metadata_manifest_finish(struct metadata_manifest *manifest)
{
    free(manifest->media_type);
    free(manifest->bytes);
    free(manifest->subject);
    free(manifest->artifact_type);
    free(manifest->annotations);
    *manifest = (struct metadata_manifest){0};
}

void metadata_references_finish(struct metadata_references *references)
{
    json_strings_release(&references->blobs);
    json_strings_release(&references->manifests);
    json_strings_release(&references->elsewhere);
}

/* A tag has no colon, a digest always. */
static bool is_digest(const char *reference)
{
    return strchr(reference, ':') != NULL;
}

static int refuse(struct metadata_refusal *refusal, enum metadata_refusal_reason reason,
                  const char *name)
{
    refusal->reason = reason;
    text_copy(refusal->name, sizeof refusal->name, name);
    return 0;
}

/* --- storing --- */

struct put {
    const char *repository;
    const struct metadata_manifest *manifest;
    const struct json_strings *tags;
    const struct metadata_references *references;
    const struct metadata_rules *rules;
    struct metadata_refusal refusal;
};

static int check_blobs(struct connection *connection, struct put *put, struct error *error)
{
    const struct json_strings *digests = &put->references->blobs;
    for (size_t i = 0; i < digests->count; i++) {
        int found =
            connection_look(connection, HAS_BLOB, put->repository, digests->items[i], error);
        if (found == 0)
            return refuse(&put->refusal, METADATA_MISSING, digests->items[i]);
        if (found < 0)
            return -1;
    }
    return 1;
}

static int check_listed(struct connection *connection, struct put *put, struct error *error)
{
    const struct json_strings *digests = &put->references->manifests;
    for (size_t i = 0; i < digests->count; i++) {
        const char *digest = digests->items[i];
        int found = connection_look(connection, HAS_MANIFEST, put->repository, digest, error);
        if (found == 0)
            found = connection_look(connection, HAS_BLOB, put->repository, digest, error);
        if (found == 0)
            return refuse(&put->refusal, METADATA_MISSING, digest);
        if (found < 0)
            return -1;
    }
    return 1;
}

/* Tags that must stay where they point may be set there again. */
static int check_tags(struct connection *connection, struct put *put, struct error *error)
{
    if (put->rules == NULL || put->rules->is_immutable == NULL)
        return 1;
    for (size_t i = 0; put->tags != NULL && i < put->tags->count; i++) {
        const char *tag = put->tags->items[i];
        if (!put->rules->is_immutable(put->repository, tag, put->rules->data))
            continue;
        struct database_statement *get =
            connection_bind(connection, GET_TAG, put->repository, tag, error);
        int found = get == NULL ? -1 : database_step(get, error);
        if (found < 0)
            return -1;
        if (found == 0)
            continue;
        bool is_same = strcmp(database_column_text(get, 0), put->manifest->digest) == 0;
        database_reset(get);
        if (!is_same)
            return refuse(&put->refusal, METADATA_IMMUTABLE, tag);
    }
    return 1;
}

static int store_manifest(struct connection *connection, const struct put *put, int64_t *ret_id,
                          struct error *error)
{
    const struct metadata_manifest *manifest = put->manifest;
    struct database_statement *insert =
        connection_bind(connection, PUT_MANIFEST, put->repository, manifest->digest, error);
    if (insert == NULL)
        return -1;
    database_bind_text(insert, 3, manifest->media_type);
    database_bind_text(insert, 4, manifest->subject);
    database_bind_blob(insert, 5, manifest->bytes, manifest->length);
    database_bind_int(insert, 6, (int64_t)manifest->length);
    database_bind_text(insert, 7, manifest->artifact_type);
    database_bind_text(insert, 8, manifest->annotations);
    database_bind_int(insert, 9, metadata_now());
    if (database_step(insert, error) < 0)
        return -1;
    *ret_id = database_column_int(insert, 0);
    return database_run(insert, error);
}

static int store_references(struct connection *connection, int64_t id, enum reference_kind kind,
                            const struct json_strings *digests, struct error *error)
{
    struct database_statement *add = connection_prepare(connection, ADD_REFERENCE, error);
    if (add == NULL)
        return -1;
    for (size_t i = 0; i < digests->count; i++) {
        database_bind_int(add, 1, id);
        database_bind_text(add, 2, digests->items[i]);
        database_bind_int(add, 3, kind);
        if (database_run(add, error) < 0)
            return -1;
    }
    return 0;
}

/* What an index lists and is a blob here counts as one, too. */
static int store_listed_blobs(struct connection *connection, const struct put *put, int64_t id,
                              struct error *error)
{
    const struct json_strings *listed = &put->references->manifests;
    for (size_t i = 0; i < listed->count; i++) {
        const struct json_strings one = {.items = &listed->items[i], .count = 1};
        int found = connection_look(connection, HAS_BLOB, put->repository, listed->items[i], error);
        if (found < 0 ||
            (found == 1 && store_references(connection, id, REFERENCE_BLOB, &one, error) < 0))
            return -1;
    }
    return 0;
}

static int store_tags(struct connection *connection, const struct put *put, int64_t id,
                      struct error *error)
{
    for (size_t i = 0; put->tags != NULL && i < put->tags->count; i++) {
        struct database_statement *set =
            connection_bind(connection, PUT_TAG, put->repository, put->tags->items[i], error);
        if (set == NULL)
            return -1;
        database_bind_int(set, 3, id);
        database_bind_int(set, 4, metadata_now());
        if (database_run(set, error) < 0)
            return -1;
    }
    return 0;
}

static int store(struct connection *connection, struct put *put, struct error *error)
{
    const struct metadata_references *references = put->references;
    uint64_t before;
    int64_t id;
    if (connection_run(connection, ADD_REPOSITORY, put->repository, NULL, error) < 0 ||
        metadata_read_used(connection, put->repository, &before, error) < 0 ||
        store_manifest(connection, put, &id, error) < 0 ||
        store_references(connection, id, REFERENCE_BLOB, &references->blobs, error) < 0 ||
        store_references(connection, id, REFERENCE_BLOB, &references->elsewhere, error) < 0 ||
        store_references(connection, id, REFERENCE_MANIFEST, &references->manifests, error) < 0 ||
        store_listed_blobs(connection, put, id, error) < 0 ||
        store_tags(connection, put, id, error) < 0)
        return -1;
    int fits = metadata_check_quota(connection, put->repository, before, put->rules, error);
    return fits == 0 ? refuse(&put->refusal, METADATA_OVER_QUOTA, "") : fits;
}

static int run_put(struct connection *connection, void *data, struct error *error)
{
    struct put *put = data;
    put->refusal.reason = METADATA_NOT_REFUSED;
    int result = check_blobs(connection, put, error);
    if (result == 1)
        result = check_listed(connection, put, error);
    if (result == 1)
        result = check_tags(connection, put, error);
    return result == 1 ? store(connection, put, error) : result;
}

int metadata_put_manifest(struct metadata *metadata, const char *repository,
                          const struct metadata_manifest *manifest, const struct json_strings *tags,
                          const struct metadata_references *references,
                          const struct metadata_rules *rules, struct metadata_refusal *ret_refusal,
                          struct error *error)
{
    struct put put = {repository, manifest, tags, references, rules, {0}};
    int result = writer_run(metadata->writer, run_put, &put, error);
    cache_forget(metadata->manifests, repository);
    if (result == 0)
        *ret_refusal = put.refusal;
    return result;
}

/* --- reading --- */

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

static int load_manifest(struct metadata *metadata, const char *repository, const char *reference,
                         struct metadata_manifest *ret_manifest, struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *get =
        connection_bind(connection, is_digest(reference) ? GET_BY_DIGEST : GET_BY_TAG, repository,
                        reference, error);
    int found = get == NULL ? -1 : database_step(get, error);
    if (found == 1) {
        read_manifest(get, ret_manifest);
        database_reset(get);
    }
    readers_give(metadata->readers, connection);
    return found;
}

int metadata_get_manifest(struct metadata *metadata, const char *repository, const char *reference,
                          const struct metadata_manifest **ret_manifest, struct error *error)
{
    struct metadata_manifest loaded = {0};
    if (cache_find(metadata->manifests, repository, reference, ret_manifest))
        return 1;
    uint64_t generation = cache_generation(metadata->manifests, repository);
    int found = load_manifest(metadata, repository, reference, &loaded, error);
    if (found != 1)
        return found;
    const struct metadata_manifest *manifest = shared_manifest_create(&loaded);
    cache_keep(metadata->manifests, repository, reference, generation, manifest);
    *ret_manifest = manifest;
    return 1;
}

/* --- removing --- */

struct removal {
    const char *repository;
    const char *reference;
    const struct metadata_rules *rules;
    struct metadata_refusal refusal;
};

static bool is_immutable(const struct removal *removal, const char *tag)
{
    const struct metadata_rules *rules = removal->rules;
    return rules != NULL && rules->is_immutable != NULL &&
           rules->is_immutable(removal->repository, tag, rules->data);
}

/* 1: no tag that must stay points at it. */
static int check_tags_of(struct connection *connection, struct removal *removal,
                         struct error *error)
{
    struct database_statement *each =
        connection_bind(connection, EACH_TAG_OF, removal->repository, removal->reference, error);
    int result = -1;
    while (each != NULL && (result = database_step(each, error)) == 1) {
        if (!is_immutable(removal, database_column_text(each, 0)))
            continue;
        refuse(&removal->refusal, METADATA_IMMUTABLE, database_column_text(each, 0));
        database_reset(each);
        return 0;
    }
    return result < 0 ? -1 : 1;
}

/* 1: no index lists it. */
static int check_indexes(struct connection *connection, struct removal *removal,
                         struct error *error)
{
    struct database_statement *find =
        connection_bind(connection, FIND_INDEX, removal->repository, removal->reference, error);
    int found = find == NULL ? -1 : database_step(find, error);
    if (found <= 0)
        return found < 0 ? -1 : 1;
    refuse(&removal->refusal, METADATA_LISTED, database_column_text(find, 0));
    database_reset(find);
    return 0;
}

static int run_remove(struct connection *connection, void *data, struct error *error)
{
    struct removal *removal = data;
    bool by_digest = is_digest(removal->reference);
    enum statement which = by_digest ? HAS_MANIFEST : GET_TAG;
    removal->refusal.reason = METADATA_NOT_REFUSED;
    int result = connection_look(connection, which, removal->repository, removal->reference, error);
    if (result == 1 && by_digest)
        result = check_indexes(connection, removal, error);
    if (result == 1 && by_digest)
        result = check_tags_of(connection, removal, error);
    if (result == 1 && !by_digest && is_immutable(removal, removal->reference))
        result = refuse(&removal->refusal, METADATA_IMMUTABLE, removal->reference);
    if (result != 1)
        return result;
    which = by_digest ? REMOVE_MANIFEST : REMOVE_TAG;
    return connection_run(connection, which, removal->repository, removal->reference, error) < 0
               ? -1
               : 1;
}

int metadata_remove_manifest(struct metadata *metadata, const char *repository,
                             const char *reference, const struct metadata_rules *rules,
                             struct metadata_refusal *ret_refusal, struct error *error)
{
    struct removal removal = {repository, reference, rules, {0}};
    int result = writer_run(metadata->writer, run_remove, &removal, error);
    cache_forget(metadata->manifests, repository);
    if (result == 0)
        *ret_refusal = removal.refusal;
    return result;
}
