#include "registry/storage/blob_store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/storage/blob_backend.h"
#include "registry/storage/blob_store_internal.h"

int blob_store_open(const char *folder, struct blob_backend *backend, struct blob_store **ret_store,
                    struct error *error)
{
    struct blob_store *store = xcalloc(1, sizeof *store);
    store->backend = backend;
    pthread_mutex_init(&store->held_lock, NULL);
    pthread_cond_init(&store->held_changed, NULL);
    pthread_mutex_init(&store->streams_lock, NULL);
    if (blob_uploads_open(store, folder, error) < 0) {
        blob_store_close(store);
        return -1;
    }
    *ret_store = store;
    return 0;
}

void blob_store_close(struct blob_store *store)
{
    if (store == NULL)
        return;
    blob_uploads_close(store);
    pthread_cond_destroy(&store->held_changed);
    pthread_mutex_destroy(&store->held_lock);
    pthread_mutex_destroy(&store->streams_lock);
    store->backend->operations->close(store->backend);
    free(store);
}

int blob_store_check_digest(const char *digest, struct error *error)
{
    if (digest_is_any(digest))
        return 0;
    return error_set(error, ERROR_INVALID, "\"%.80s\" is no sha256 or sha512 digest", digest);
}

/* --- blobs --- */

void blob_source_release(struct blob_source *source)
{
    if (source->kind == BLOB_SOURCE_FILE && source->descriptor >= 0)
        close(source->descriptor);
    if (source->kind == BLOB_SOURCE_READER && source->release != NULL)
        source->release(source->data);
    free(source->url);
    *source = (struct blob_source){.descriptor = -1};
}

int blob_store_fetch(struct blob_store *store, const char *digest, enum blob_fetch purpose,
                     struct blob_source *ret_source, struct error *error)
{
    if (blob_store_check_digest(digest, error) < 0)
        return -1;
    return store->backend->operations->fetch(store->backend, digest, purpose, ret_source, error);
}

int blob_store_stat(struct blob_store *store, const char *digest, uint64_t *ret_size,
                    struct error *error)
{
    if (blob_store_check_digest(digest, error) < 0)
        return -1;
    return store->backend->operations->stat(store->backend, digest, ret_size, error);
}

int blob_store_remove_blob(struct blob_store *store, const char *digest, struct error *error)
{
    if (blob_store_check_digest(digest, error) < 0)
        return -1;
    return store->backend->operations->remove(store->backend, digest, error);
}

int blob_store_quarantine(struct blob_store *store, const char *digest, struct error *error)
{
    if (blob_store_check_digest(digest, error) < 0)
        return -1;
    return store->backend->operations->quarantine(store->backend, digest, error);
}

int blob_store_list(struct blob_store *store, blob_store_each *each, void *data,
                    struct error *error)
{
    return store->backend->operations->list(store->backend, each, data, error);
}

static int hash_reader(struct blob_source *source, enum digest_algorithm algorithm,
                       char ret_digest[DIGEST_ANY_MAX], uint64_t *ret_size, struct error *error)
{
    enum { CHUNK = 1 << 20 };
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    struct digest_stream *stream = digest_stream_create_as(algorithm);
    uint64_t offset = 0;
    while (offset < source->size) {
        uint64_t left = source->size - offset;
        ssize_t got =
            source->read(source->data, offset, chunk, left < CHUNK ? (size_t)left : CHUNK);
        if (got <= 0)
            break;
        digest_stream_update(stream, chunk, (size_t)got);
        offset += (uint64_t)got;
    }
    digest_stream_text_any(stream, ret_digest);
    digest_stream_destroy(stream);
    if (offset < source->size)
        return error_set(error, ERROR_UNAVAILABLE, "the blob's bytes cannot be read to the end");
    *ret_size = offset;
    return 0;
}

int blob_store_verify(struct blob_store *store, const char *digest, bool *ret_whole,
                      struct error *error)
{
    struct blob_source source = {.descriptor = -1};
    enum digest_algorithm algorithm;
    char actual[DIGEST_ANY_MAX] = "";
    uint64_t size;
    if (blob_store_fetch(store, digest, BLOB_FETCH_READ, &source, error) < 0)
        return -1;
    digest_parse(digest, &algorithm);
    int result = source.kind == BLOB_SOURCE_FILE
                     ? digest_of_descriptor_as(algorithm, source.descriptor, actual, &size, error)
                     : hash_reader(&source, algorithm, actual, &size, error);
    blob_source_release(&source);
    if (result == 0)
        *ret_whole = strcmp(actual, digest) == 0;
    return result;
}

/* --- one digest at a time --- */

/* A list of the digests that are held, and no mutexes that digests share: who publishes to a far
 * place holds one for minutes, and others must not wait for that. */
struct held_digest {
    struct held_digest *next;
    char digest[DIGEST_ANY_MAX];
};

/* Where the digest is in the list, or the list's end. */
static struct held_digest **find_held(struct blob_store *store, const char *digest)
{
    struct held_digest **place = &store->held;
    while (*place != NULL && strcmp((*place)->digest, digest) != 0)
        place = &(*place)->next;
    return place;
}

void blob_store_lock_digest(struct blob_store *store, const char *digest)
{
    struct held_digest *held = xcalloc(1, sizeof *held);
    text_copy(held->digest, sizeof held->digest, digest);
    pthread_mutex_lock(&store->held_lock);
    while (*find_held(store, digest) != NULL)
        pthread_cond_wait(&store->held_changed, &store->held_lock);
    held->next = store->held;
    store->held = held;
    pthread_mutex_unlock(&store->held_lock);
}

void blob_store_unlock_digest(struct blob_store *store, const char *digest)
{
    pthread_mutex_lock(&store->held_lock);
    struct held_digest **place = find_held(store, digest);
    struct held_digest *held = *place;
    if (held != NULL)
        *place = held->next;
    pthread_cond_broadcast(&store->held_changed);
    pthread_mutex_unlock(&store->held_lock);
    free(held);
}
