#include "registry/storage/s3_upload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define SINGLE_MAX  ((uint64_t)8 << 20) /* what goes in one call */
#define PART_LENGTH ((uint64_t)16 << 20)
#define HASH_CHUNK  ((size_t)256 << 10)

/* An object on its way in parts. What the two threads share is under the lock. */
struct upload {
    struct s3_client *client;
    const char *key;
    char *id;
    int descriptor;
    uint64_t size;
    uint64_t part_length;
    unsigned part_count;
    pthread_mutex_t lock;
    unsigned next; /* the part that nobody has taken, from 0 */
    bool failed;
    struct error error; /* the first one */
    char **etags;
};

/* As 64 hex digits behind the algorithm's name. */
static int hash_part(int descriptor, uint64_t offset, uint64_t length,
                     char ret_digest[DIGEST_TEXT_MAX], struct error *error)
{
    AUTO_FREE char *chunk = xmalloc(HASH_CHUNK);
    struct digest_stream *stream = digest_stream_create();
    int result = 0;
    while (length > 0) {
        size_t wanted = length < HASH_CHUNK ? (size_t)length : HASH_CHUNK;
        ssize_t got = pread(descriptor, chunk, wanted, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            result = got < 0 ? error_set_errno(error, errno, "read the staged upload")
                             : error_set(error, ERROR_IO, "the staged upload is cut short");
            break;
        }
        digest_stream_update(stream, chunk, (size_t)got);
        offset += (uint64_t)got;
        length -= (uint64_t)got;
    }
    if (result == 0)
        digest_stream_text(stream, ret_digest);
    digest_stream_destroy(stream);
    return result;
}

static int put_whole(struct s3_client *client, const char *key, const char *digest, int descriptor,
                     uint64_t size, struct error *error)
{
    char hashed[DIGEST_TEXT_MAX];
    /* A sha256 blob is checked against its own digest all the way to the endpoint's disk. */
    const char *sha256 = digest;
    if (!digest_is_valid(digest)) {
        if (hash_part(descriptor, 0, size, hashed, error) < 0)
            return -1;
        sha256 = hashed;
    }
    const struct s3_body body = {
        .descriptor = descriptor, .length = size, .sha256 = digest_hex(sha256)};
    return s3_object_put(client, key, &body, error);
}

/* --- in parts --- */

static bool take_part(struct upload *upload, unsigned *ret_part)
{
    pthread_mutex_lock(&upload->lock);
    bool taken = !upload->failed && upload->next < upload->part_count;
    if (taken)
        *ret_part = upload->next++;
    pthread_mutex_unlock(&upload->lock);
    return taken;
}

static void note_failure(struct upload *upload, const struct error *why)
{
    pthread_mutex_lock(&upload->lock);
    if (!upload->failed)
        error_copy(&upload->error, why);
    upload->failed = true;
    pthread_mutex_unlock(&upload->lock);
}

static void *put_parts(void *data)
{
    struct upload *upload = data;
    unsigned part;
    while (take_part(upload, &part)) {
        struct error why = ERROR_INIT;
        char digest[DIGEST_TEXT_MAX];
        uint64_t offset = part * upload->part_length;
        uint64_t left = upload->size - offset;
        struct s3_body body = {.descriptor = upload->descriptor,
                               .offset = offset,
                               .length = left < upload->part_length ? left : upload->part_length};
        if (hash_part(body.descriptor, body.offset, body.length, digest, &why) < 0) {
            note_failure(upload, &why);
            continue;
        }
        body.sha256 = digest_hex(digest);
        if (s3_multipart_put(upload->client, upload->key, upload->id, part + 1, &body,
                             &upload->etags[part], &why) < 0)
            note_failure(upload, &why);
    }
    return NULL;
}

/* On this thread and one more. */
static int put_all_parts(struct upload *upload, struct error *error)
{
    pthread_t helper;
    bool helped = pthread_create(&helper, NULL, put_parts, upload) == 0;
    put_parts(upload);
    if (helped)
        pthread_join(helper, NULL);
    return upload->failed ? error_copy(error, &upload->error) : 0;
}

/* An answer that was lost may have said that it is done: then the upload is not there any more, and
 * the object is. */
static int complete(struct upload *upload, struct error *error)
{
    struct error why = ERROR_INIT;
    uint64_t size;
    if (s3_multipart_complete(upload->client, upload->key, upload->id, upload->etags,
                              upload->part_count, &why) < 0 &&
        why.code != ERROR_NOT_FOUND)
        return error_copy(error, &why);
    if (s3_object_size(upload->client, upload->key, &size, error) < 0)
        return why.code == ERROR_NOT_FOUND ? error_copy(error, &why) : -1;
    if (size == upload->size)
        return 0;
    s3_object_delete(upload->client, upload->key, NULL); /* nobody may read it */
    return error_set(error, ERROR_INTERNAL, "the endpoint has made %llu bytes of the %llu of %s",
                     (unsigned long long)size, (unsigned long long)upload->size, upload->key);
}

static void take_back(const struct upload *upload)
{
    struct error why = ERROR_INIT;
    if (s3_multipart_abort(upload->client, upload->key, upload->id, &why) == 0 ||
        why.code == ERROR_NOT_FOUND)
        return;
    log_warn("the parts of an upload stay in the bucket until its lifecycle rule ends them", "key",
             upload->key, "upload", upload->id, "error", why.message);
}

static int put_in_parts(struct upload *upload, struct error *error)
{
    if (s3_multipart_create(upload->client, upload->key, &upload->id, error) < 0)
        return -1;
    pthread_mutex_init(&upload->lock, NULL);
    upload->etags = xcalloc(upload->part_count, sizeof *upload->etags);
    int result = put_all_parts(upload, error);
    if (result == 0)
        result = complete(upload, error);
    if (result < 0)
        take_back(upload);
    for (unsigned i = 0; i < upload->part_count; i++)
        free(upload->etags[i]);
    free(upload->etags);
    free(upload->id);
    pthread_mutex_destroy(&upload->lock);
    return result;
}

int s3_upload(struct s3_client *client, const char *key, const char *digest, int descriptor,
              uint64_t size, struct error *error)
{
    if (size < SINGLE_MAX)
        return put_whole(client, key, digest, descriptor, size, error);
    uint64_t part_length = PART_LENGTH;
    if (size > part_length * S3_PARTS_MAX)
        part_length = (size + S3_PARTS_MAX - 1) / S3_PARTS_MAX;
    struct upload upload = {.client = client,
                            .key = key,
                            .descriptor = descriptor,
                            .size = size,
                            .part_length = part_length,
                            .part_count = (unsigned)((size + part_length - 1) / part_length)};
    return put_in_parts(&upload, error);
}
