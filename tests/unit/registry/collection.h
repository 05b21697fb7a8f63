/* A store, its metadata and a collector, and a client that pushes and looks: for the tests of
 * garbage collection. Nothing is young here; what is leased is said by the tests. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/storage/blob_backend.h"
#include "registry/upkeep/collector.h"

struct store {
    char folder[64];
    struct clock clock; /* of the leases */
    atomic_ullong now;
    struct metadata *metadata;
    struct blob_store *blobs;
    struct leases *leases;
    struct metrics metrics;
    struct collector *collector;
};

static inline uint64_t store_time(const struct clock *clock)
{
    const struct store *store =
        (const struct store *)(const void *)((const char *)clock - offsetof(struct store, clock));
    return atomic_load(&store->now);
}

/* `place`: the folder to make the store's in. */
static inline void store_open(struct store *store, const char *place)
{
    struct error error = ERROR_INIT;
    *store = (struct store){.clock = {.monotonic_ms = store_time, .wall_ms = store_time}};
    snprintf(store->folder, sizeof store->folder, "%s/shoal-collect-XXXXXX", place);
    assert_non_null(mkdtemp(store->folder));
    AUTO_FREE char *path = xasprintf("%s/metadata.db", store->folder);
    assert_int_equal(metadata_open(path, &store->metadata, &error), 0);
    struct blob_backend *backend = NULL;
    assert_int_equal(blob_files_open(store->folder, &backend, &error), 0);
    assert_int_equal(blob_store_open(store->folder, backend, &store->blobs, &error), 0);
    store->leases = leases_create(1000, &store->clock);
    store->now = 1000000; /* the start is long ago */
    const struct collector_parts parts = {.metadata = store->metadata,
                                          .blobs = store->blobs,
                                          .leases = store->leases,
                                          .metrics = &store->metrics,
                                          .state = store->folder};
    const struct collector_settings settings = {.every = 0, .uploads = 1000};
    assert_int_equal(collector_create(&parts, &settings, &store->collector, &error), 0);
}

static inline void store_close(struct store *store)
{
    collector_destroy(store->collector);
    leases_destroy(store->leases);
    blob_store_close(store->blobs);
    metadata_close(store->metadata);
    assert_int_equal(file_remove_tree(store->folder, NULL), 0);
}

/* As a PUT that ends an upload; `with_lease` as well. */
static inline void store_push_blob(struct store *store, const char *repository, const char *text,
                                   bool with_lease, char ret_digest[DIGEST_TEXT_MAX])
{
    struct blob_upload *upload = NULL;
    struct error error = ERROR_INIT;
    digest_of_bytes(text, strlen(text), ret_digest);
    assert_int_equal(blob_upload_create(store->blobs, DIGEST_SHA256, &upload, &error), 0);
    assert_int_equal(blob_upload_write(upload, text, strlen(text), &error), 0);
    assert_int_equal(blob_upload_seal(upload, ret_digest, &error), 0);
    if (with_lease)
        leases_take(store->leases, repository, ret_digest);
    blob_store_lock_digest(store->blobs, ret_digest);
    assert_int_equal(blob_upload_publish(upload, ret_digest, &error), 0);
    assert_int_equal(
        metadata_add_blob(store->metadata, repository, ret_digest, strlen(text), NULL, &error), 1);
    blob_store_unlock_digest(store->blobs, ret_digest);
    blob_upload_close(upload);
}

/* What a manifest is to hold; NULLs are left out. */
struct wanted {
    const char *blob, *child, *subject, *tag;
    struct metadata_refusal refusal;
};

static inline int store_push_manifest(struct store *store, const char *repository,
                                      const char *digest, struct wanted *wanted)
{
    char type[] = "application/test", bytes[] = "{}";
    struct metadata_manifest manifest = {
        .media_type = type, .bytes = bytes, .length = 2, .subject = (char *)wanted->subject};
    struct metadata_references references = {0};
    struct json_strings tags = {0};
    struct error error = ERROR_INIT;
    snprintf(manifest.digest, sizeof manifest.digest, "%s", digest);
    if (wanted->blob != NULL)
        json_strings_add(&references.blobs, wanted->blob);
    if (wanted->child != NULL)
        json_strings_add(&references.manifests, wanted->child);
    if (wanted->tag != NULL)
        json_strings_add(&tags, wanted->tag);
    int result = metadata_put_manifest(store->metadata, repository, &manifest, &tags, &references,
                                       NULL, &wanted->refusal, &error);
    metadata_references_finish(&references);
    json_strings_release(&tags);
    if (result < 0)
        fail_msg("%s", error.message);
    return result;
}

static inline bool store_has_manifest(struct store *store, const char *repository,
                                      const char *reference)
{
    const struct metadata_manifest *manifest = NULL;
    int found = metadata_get_manifest(store->metadata, repository, reference, &manifest, NULL);
    metadata_manifest_release(manifest);
    assert_int_not_equal(found, -1);
    return found == 1;
}

static inline bool store_has_bytes(struct store *store, const char *digest)
{
    uint64_t size;
    return blob_store_stat(store->blobs, digest, &size, NULL) == 0;
}

/* In the repository and on disk. */
static inline bool store_has_blob(struct store *store, const char *repository, const char *digest)
{
    int found = metadata_has_blob(store->metadata, repository, digest, NULL);
    assert_int_not_equal(found, -1);
    return found == 1 && store_has_bytes(store, digest);
}

static inline struct collector_report store_collect(struct store *store,
                                                    const struct collector_options *options)
{
    struct collector_report report;
    struct error error = ERROR_INIT;
    if (collector_run(store->collector, options, &report, &error) < 0)
        fail_msg("%s", error.message);
    return report;
}
