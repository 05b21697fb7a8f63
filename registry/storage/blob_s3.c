/* Blobs as objects of a bucket, below the settings' prefix:
 *
 *   blobs/<algorithm>/<first 2 hex>/<hex>            complete, verified, never changed
 *   quarantine/<algorithm>-<hex>.<seconds>           found damaged, for a person to look at */
#include "registry/storage/blob_s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "registry/storage/s3_client.h"
#include "registry/storage/s3_upload.h"

#define BLOBS "blobs/"

/* What a reader asks for at once: little at first, for a client may want little, then more. */
#define FIRST_CHUNK   ((size_t)256 << 10)
#define LARGEST_CHUNK ((size_t)4 << 20)

struct blob_s3 {
    struct blob_backend base;
    struct s3_client *client;
    int reads; /* enum s3_reads */
};

static struct blob_s3 *s3_of(struct blob_backend *backend)
{
    return (struct blob_s3 *)backend;
}

static char *key_of(const char *digest)
{
    enum digest_algorithm algorithm;
    digest_parse(digest, &algorithm);
    const char *hex = digest_hex(digest);
    return xasprintf(BLOBS "%s/%.2s/%s", digest_algorithm_name(algorithm), hex, hex);
}

static int blob_s3_stat(struct blob_backend *backend, const char *digest, uint64_t *ret_size,
                        struct error *error)
{
    AUTO_FREE char *key = key_of(digest);
    return s3_object_size(s3_of(backend)->client, key, ret_size, error);
}

/* --- reading --- */

struct reader {
    struct s3_client *client;
    char *key;
    uint64_t size;
    char *chunk;
    uint64_t chunk_offset;
    size_t chunk_length;
    size_t next_length;
};

/* Fetches the chunk that begins at `offset`. */
static int fill(struct reader *reader, uint64_t offset, size_t wanted)
{
    struct error error = ERROR_INIT;
    uint64_t left = reader->size - offset;
    size_t length = wanted > reader->next_length ? wanted : reader->next_length;
    if (length > LARGEST_CHUNK)
        length = LARGEST_CHUNK;
    if (length > left)
        length = (size_t)left;
    reader->chunk = xreallocarray(reader->chunk, length, 1);
    reader->chunk_length = 0;
    if (s3_object_read(reader->client, reader->key, offset, reader->chunk, length, &error) < 0) {
        log_warn("a blob cannot be read to its end", "key", reader->key, "error", error.message);
        return -1;
    }
    reader->chunk_offset = offset;
    reader->chunk_length = length;
    if (reader->next_length < LARGEST_CHUNK)
        reader->next_length *= 2;
    return 0;
}

static ssize_t reader_read(void *data, uint64_t offset, void *ret_bytes, size_t size)
{
    struct reader *reader = data;
    if (offset >= reader->size || size == 0)
        return 0;
    bool has_it =
        offset >= reader->chunk_offset && offset - reader->chunk_offset < reader->chunk_length;
    if (!has_it && fill(reader, offset, size) < 0)
        return -1;
    size_t skipped = (size_t)(offset - reader->chunk_offset);
    size_t length = reader->chunk_length - skipped;
    if (length > size)
        length = size;
    memcpy(ret_bytes, reader->chunk + skipped, length);
    return (ssize_t)length;
}

static void reader_release(void *data)
{
    struct reader *reader = data;
    free(reader->key);
    free(reader->chunk);
    free(reader);
}

static int blob_s3_fetch(struct blob_backend *backend, const char *digest, enum blob_fetch purpose,
                         struct blob_source *ret_source, struct error *error)
{
    struct blob_s3 *s3 = s3_of(backend);
    AUTO_FREE char *key = key_of(digest);
    uint64_t size;
    /* Of a redirect too: a client is not to be sent to where nothing is. */
    if (s3_object_size(s3->client, key, &size, error) < 0)
        return -1;
    if (s3->reads == S3_READS_REDIRECT && purpose == BLOB_FETCH_ANSWER) {
        *ret_source = (struct blob_source){
            .kind = BLOB_SOURCE_REDIRECT,
            .size = size,
            .descriptor = -1,
            .url = s3_object_url(s3->client, key, clock_wall_ms(clock_system()) / 1000)};
        return 0;
    }
    struct reader *reader = xcalloc(1, sizeof *reader);
    reader->client = s3->client;
    reader->key = TAKE_POINTER(key);
    reader->size = size;
    reader->next_length = FIRST_CHUNK;
    *ret_source = (struct blob_source){.kind = BLOB_SOURCE_READER,
                                       .size = size,
                                       .descriptor = -1,
                                       .read = reader_read,
                                       .release = reader_release,
                                       .data = reader};
    return 0;
}

/* --- changing --- */

static int blob_s3_publish(struct blob_backend *backend, const char *digest,
                           const struct blob_staged *staged, struct error *error)
{
    struct blob_s3 *s3 = s3_of(backend);
    AUTO_FREE char *key = key_of(digest);
    struct error why = ERROR_INIT;
    uint64_t size = 0;
    int found = s3_object_size(s3->client, key, &size, &why);
    if (found < 0 && why.code != ERROR_NOT_FOUND)
        return error_copy(error, &why);
    if ((found < 0 || size != staged->size) &&
        s3_upload(s3->client, key, digest, staged->descriptor, staged->size, error) < 0)
        return -1;
    if (unlink(staged->path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove upload %s", staged->path);
    return 0;
}

static int blob_s3_remove(struct blob_backend *backend, const char *digest, struct error *error)
{
    AUTO_FREE char *key = key_of(digest);
    return s3_object_delete(s3_of(backend)->client, key, error);
}

static int blob_s3_quarantine(struct blob_backend *backend, const char *digest, struct error *error)
{
    struct s3_client *client = s3_of(backend)->client;
    enum digest_algorithm algorithm;
    digest_parse(digest, &algorithm);
    AUTO_FREE char *key = key_of(digest);
    AUTO_FREE char *away =
        xasprintf("quarantine/%s-%s.%llu", digest_algorithm_name(algorithm), digest_hex(digest),
                  (unsigned long long)clock_wall_ms(clock_system()) / 1000);
    if (s3_object_copy(client, key, away, error) < 0)
        return -1;
    return s3_object_delete(client, key, error);
}

/* --- all of them --- */

/* "blobs/sha256/ab/abcd..." -> "sha256:abcd...", when it is exactly what key_of makes. */
static bool digest_of_key(const char *key, char ret_digest[DIGEST_ANY_MAX])
{
    const char *algorithm = key + strlen(BLOBS);
    const char *hex = strrchr(key, '/');
    if (strncmp(key, BLOBS, strlen(BLOBS)) != 0 || hex == NULL || hex < algorithm)
        return false;
    int length = snprintf(ret_digest, DIGEST_ANY_MAX, "%.*s:%s", (int)strcspn(algorithm, "/"),
                          algorithm, hex + 1);
    if (length < 0 || length >= DIGEST_ANY_MAX || !digest_is_any(ret_digest))
        return false;
    AUTO_FREE char *wanted = key_of(ret_digest);
    return strcmp(wanted, key) == 0;
}

/* False once `each` has had enough. */
static bool list_page(const struct s3_page *page, blob_store_each *each, void *data)
{
    uint64_t now_s = clock_wall_ms(clock_system()) / 1000;
    for (size_t i = 0; i < page->count; i++) {
        const struct s3_object *object = &page->objects[i];
        char digest[DIGEST_ANY_MAX];
        if (!digest_of_key(object->key, digest))
            continue;
        const struct blob_entry entry = {
            .digest = digest,
            .size = object->size,
            .age_ms = now_s > object->modified_s ? (now_s - object->modified_s) * 1000 : 0};
        if (!each(&entry, data))
            return false;
    }
    return true;
}

static int blob_s3_list(struct blob_backend *backend, blob_store_each *each, void *data,
                        struct error *error)
{
    AUTO_FREE char *after = NULL;
    for (;;) {
        struct s3_page page;
        if (s3_list(s3_of(backend)->client, BLOBS, after, &page, error) < 0)
            return -1;
        bool wanted = list_page(&page, each, data);
        free(after);
        after = TAKE_POINTER(page.next);
        s3_page_release(&page);
        if (!wanted || after == NULL)
            return 0;
    }
}

/* --- opening --- */

static void blob_s3_close(struct blob_backend *backend)
{
    struct blob_s3 *s3 = s3_of(backend);
    s3_client_close(s3->client);
    free(s3);
}

static const struct blob_backend_operations operations = {
    .stat = blob_s3_stat,
    .fetch = blob_s3_fetch,
    .publish = blob_s3_publish,
    .remove = blob_s3_remove,
    .list = blob_s3_list,
    .quarantine = blob_s3_quarantine,
    .close = blob_s3_close,
};

int blob_s3_open(const struct s3_settings *settings, struct blob_backend **ret_backend,
                 struct error *error)
{
    struct s3_client *client;
    if (s3_client_open(settings, &client, error) < 0)
        return -1;
    struct blob_s3 *s3 = xcalloc(1, sizeof *s3);
    s3->base.operations = &operations;
    s3->client = client;
    s3->reads = settings->reads;
    *ret_backend = &s3->base;
    return 0;
}
