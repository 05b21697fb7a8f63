/* Downloads into files: the resuming half of lib/oci_client.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/image_reference.h"
#include "lib/oci_client_internal.h"
#include "lib/xalloc.h"

#define WRITE_BACK (UINT64_C(8) << 20)

struct pull {
    struct oci_operation base;
    char *url;
    char digest[DIGEST_TEXT_MAX];
    uint64_t size;
    char *path;
    char *partial;                /* "<path>.partial" */
    int descriptor;               /* of the partial file, -1 before the first attempt */
    uint64_t done;                /* bytes in it, all hashed */
    uint64_t done_before;         /* at the start of this attempt */
    struct digest_stream *stream; /* over the bytes in it */
    bool is_read;                 /* what an earlier call left is hashed */
    bool resumed;                 /* some of them were there before this call */
    bool valid;
    struct error error; /* of the disk, while bytes arrive */
};

static void pull_release(struct oci_operation *operation)
{
    struct pull *pull = (struct pull *)operation;
    if (pull->descriptor >= 0)
        close(pull->descriptor);
    digest_stream_destroy(pull->stream);
    free(pull->url);
    free(pull->path);
    free(pull->partial);
}

static int start_over(struct pull *pull, struct error *error)
{
    digest_stream_destroy(pull->stream);
    pull->stream = digest_stream_create();
    pull->done = pull->done_before = 0;
    pull->resumed = false;
    if (ftruncate(pull->descriptor, 0) < 0 || lseek(pull->descriptor, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "%s", pull->partial);
    return 0;
}

/* Hashes what an earlier call left: of a large file a part at a time, for the loop has more to do.
 */
static int read_partial(struct pull *pull, struct error *error)
{
    enum { CHUNK = 1 << 18, CHUNKS_A_TURN = 16 };
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    for (int i = 0; i < CHUNKS_A_TURN; i++) {
        ssize_t got = read(pull->descriptor, chunk, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read %s", pull->partial);
        if (got == 0) {
            pull->is_read = true;
            pull->resumed = pull->done > 0;
            return pull->done > pull->size ? start_over(pull, error) : 0;
        }
        digest_stream_update(pull->stream, chunk, (size_t)got);
        pull->done += (uint64_t)got;
    }
    return 0;
}

static int open_partial(struct pull *pull, struct error *error)
{
    pull->descriptor = open(pull->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (pull->descriptor < 0)
        return error_set_errno(error, errno, "%s", pull->partial);
    pull->stream = digest_stream_create();
    return 0;
}

/* Makes the file whole and durable under its name. */
static int publish(struct pull *pull, struct error *error)
{
    AUTO_FREE char *copy = xstrdup(pull->path);
    if (fchmod(pull->descriptor, 0600) < 0 || fsync(pull->descriptor) < 0 ||
        rename(pull->partial, pull->path) < 0)
        return error_set_errno(error, errno, "%s", pull->path);
    return file_sync_directory(dirname(copy), error);
}

static void finish_pull(struct pull *pull)
{
    struct error error = ERROR_INIT;
    struct oci_result result = {.size = pull->size};
    digest_stream_text(pull->stream, result.digest);
    if (oci_check_digest(pull->digest, result.digest, &error) < 0) {
        bool resumed = pull->resumed;
        if (start_over(pull, NULL) == 0 && resumed) {
            pull->base.attempt(&pull->base); /* what lay there was broken: once more from 0 */
            return;
        }
        unlink(pull->partial);
    } else if (publish(pull, &error) == 0) {
        oci_operation_succeed(&pull->base, &result);
        return;
    }
    oci_operation_fail_with(&pull->base, &error);
}

static int on_bytes(const void *bytes, size_t length, void *data)
{
    struct pull *pull = data;
    /* A registry that knows no ranges sends the whole again. */
    if (pull->done == pull->done_before && pull->done > 0 &&
        http_call_status(pull->base.call) != 206 && start_over(pull, &pull->error) < 0)
        return -1;
    if (length > pull->size - pull->done)
        return error_set(&pull->error, ERROR_SIGNATURE,
                         "altered bytes: more than the expected %" PRIu64, pull->size);
    if (file_write_all(pull->descriptor, bytes, length, &pull->error) < 0)
        return error_wrap(&pull->error, "%s", pull->partial);
    digest_stream_update(pull->stream, bytes, length);
    pull->done += length;
    /* Now and then, so that the sync at the end has little left to wait for. */
    if (pull->done / WRITE_BACK != (pull->done - length) / WRITE_BACK)
        sync_file_range(pull->descriptor, 0, 0, SYNC_FILE_RANGE_WRITE);
    if (pull->base.progress != NULL)
        pull->base.progress(pull->done, pull->size, pull->base.data);
    return 0;
}

static void on_pulled(const struct http_client_response *response, void *data)
{
    struct pull *pull = data;
    if (pull->error.code != ERROR_NONE) {
        unlink(pull->partial);
        oci_operation_fail_with(&pull->base, &pull->error);
        return;
    }
    if (pull->done > pull->done_before)
        pull->base.failures = 0; /* it moves: patience starts anew */
    if (response->failed || (response->status != 200 && response->status != 206)) {
        oci_operation_fail(&pull->base, response);
        return;
    }
    pull->base.call = NULL;
    if (pull->done == pull->size) {
        finish_pull(pull);
        return;
    }
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_SIGNATURE,
              "altered bytes: %" PRIu64 " instead of the expected %" PRIu64, pull->done,
              pull->size);
    unlink(pull->partial);
    oci_operation_fail_with(&pull->base, &error);
}

static void attempt_pull(struct oci_operation *operation)
{
    struct pull *pull = (struct pull *)operation;
    struct error error = ERROR_INIT;
    if (!pull->valid)
        error_set(&error, ERROR_INVALID, "not a name that a registry takes");
    else if (pull->descriptor < 0)
        open_partial(pull, &error);
    if (error.code == ERROR_NONE && !pull->is_read)
        read_partial(pull, &error);
    if (error.code != ERROR_NONE) {
        oci_operation_fail_with(operation, &error);
        return;
    }
    if (!pull->is_read) {
        oci_operation_go_on(operation);
        return;
    }
    if (pull->done == pull->size) {
        finish_pull(pull);
        return;
    }
    char range[64];
    snprintf(range, sizeof range, "Range: bytes=%" PRIu64 "-", pull->done);
    const char *const headers[] = {pull->done > 0 ? range : NULL, NULL};
    pull->done_before = pull->done;
    struct http_client_request request = {
        .url = pull->url,
        .headers = headers,
        .timeout_ms = HTTP_NO_TIMEOUT,
        .stall_timeout_s = operation->client->stall_timeout_s,
        .follow_redirects = true,
        .on_body = on_bytes,
    };
    oci_operation_send(operation, &request, on_pulled);
}

void oci_client_pull_blob(struct oci_client *client, const char *repository, const char *digest,
                          uint64_t size, const char *path, oci_progress *progress,
                          oci_callback *callback, void *data)
{
    char *label = xasprintf("blob %.*s@%.*s", REPOSITORY_MAX, repository, DIGEST_TEXT_MAX, digest);
    struct pull *pull = oci_operation_create(client, sizeof *pull, label, attempt_pull,
                                             pull_release, callback, data);
    pull->base.progress = progress;
    pull->url = oci_client_url(client, "%s/blobs/%s", repository, digest);
    pull->size = size;
    pull->path = xstrdup(path);
    pull->partial = xasprintf("%s.partial", path);
    pull->descriptor = -1;
    pull->valid = repository_is_valid(repository) && digest_is_valid(digest);
    snprintf(pull->digest, sizeof pull->digest, "%s", digest);
}
