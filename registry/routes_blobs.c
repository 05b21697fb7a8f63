#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "registry/byte_range.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

static void respond_unknown(struct http_request *request, const char *repository,
                            const char *digest)
{
    oci_error_respond(request, OCI_BLOB_UNKNOWN, "repository %s has no blob %s", repository,
                      digest);
}

static void respond_blob(struct http_request *request, struct registry *registry,
                         const char *digest, int descriptor, uint64_t size)
{
    uint64_t offset = 0, length = size;
    bool is_head = strcmp(http_request_method(request), "HEAD") == 0;
    const char *asked = is_head ? NULL : http_request_header(request, "Range");
    enum byte_range range = byte_range_parse(asked, size, &offset, &length);
    http_request_add_header(request, "Docker-Content-Digest", digest);
    http_request_add_header(request, "Accept-Ranges", "bytes");
    if (range == BYTE_RANGE_UNSATISFIABLE) {
        close(descriptor);
        route_add_header(request, "Content-Range", "bytes */%llu", (unsigned long long)size);
        oci_error_respond_status(request, OCI_SIZE_INVALID, 416, "the blob has %llu bytes",
                                 (unsigned long long)size);
        return;
    }
    if (range == BYTE_RANGE_PART)
        route_add_header(request, "Content-Range", "bytes %llu-%llu/%llu",
                         (unsigned long long)offset, (unsigned long long)(offset + length - 1),
                         (unsigned long long)size);
    if (!is_head) {
        registry_count(registry, COUNTER_BLOBS_PULLED, 1);
        registry_count(registry, COUNTER_BLOB_BYTES_PULLED, length);
    }
    http_request_respond_file(request, range == BYTE_RANGE_PART ? 206 : 200,
                              "application/octet-stream", descriptor, offset, length);
}

/* Opens a blob of the repository; 0: it has none. One that is listed and not on disk, because of
 * a DELETE since or a damaged disk, is none: who pushes it again mends it. */
static int open_blob(struct registry *registry, const char *repository, const char *digest,
                     int *ret_descriptor, uint64_t *ret_size, struct error *error)
{
    int found = metadata_has_blob(registry->metadata, repository, digest, error);
    if (found != 1 ||
        blob_store_open_blob(registry->blobs, digest, ret_descriptor, ret_size, error) == 0)
        return found;
    if (error->code != ERROR_NOT_FOUND)
        return -1;
    log_warn("a listed blob is not on disk", "repository", repository, "digest", digest);
    return 0;
}

void route_blob_get(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const char *repository = route_repository(request);
    const char *digest = repository != NULL ? route_digest(request) : NULL;
    if (digest == NULL)
        return;
    int descriptor = -1;
    uint64_t size = 0;
    int found = open_blob(registry, repository, digest, &descriptor, &size, &error);
    if (found == 1)
        respond_blob(request, registry, digest, descriptor, size);
    else if (found == 0)
        respond_unknown(request, repository, digest);
    else
        oci_error_respond_failure(request, &error);
}

/* The file goes with the last repository that holds the blob. */
static int remove_blob(struct registry *registry, const char *repository, const char *digest,
                       struct error *error)
{
    bool last = false;
    pthread_mutex_lock(&registry->publishing);
    int found = metadata_remove_blob(registry->metadata, repository, digest, &last, error);
    if (found == 1 && last && blob_store_remove_blob(registry->blobs, digest, error) < 0)
        found = -1;
    pthread_mutex_unlock(&registry->publishing);
    return found;
}

void route_blob_delete(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const char *repository = route_repository(request);
    const char *digest = repository != NULL ? route_digest(request) : NULL;
    if (digest == NULL)
        return;
    int found = remove_blob(registry, repository, digest, &error);
    if (found < 0) {
        oci_error_respond_failure(request, &error);
    } else if (found == 0) {
        respond_unknown(request, repository, digest);
    } else {
        registry_count(registry, COUNTER_DELETIONS, 1);
        log_info("blob deleted", "repository", repository, "digest", digest);
        http_request_respond(request, 202, NULL, NULL, 0);
    }
}
