#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "registry/byte_range.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

static void respond_unknown(struct http_request *request, const char *repository,
                            const char *digest)
{
    oci_error_respond(request, OCI_BLOB_UNKNOWN, "repository %s has no blob %s", repository,
                      digest);
}

/* The part of a blob that an answer has. */
struct part {
    struct blob_source source;
    uint64_t offset;
};

static ssize_t read_part(void *data, uint64_t offset, void *ret_bytes, size_t size)
{
    const struct part *part = data;
    return part->source.read(part->source.data, part->offset + offset, ret_bytes, size);
}

static void release_part(void *data)
{
    struct part *part = data;
    blob_source_release(&part->source);
    free(part);
}

/* Takes the source. */
static void respond_part(struct http_request *request, struct blob_source *source, int status,
                         uint64_t offset, uint64_t length)
{
    static const char type[] = "application/octet-stream";
    if (source->kind == BLOB_SOURCE_FILE) {
        http_request_respond_file(request, status, type, TAKE_DESCRIPTOR(source->descriptor),
                                  offset, length);
        return;
    }
    struct part *part = xcalloc(1, sizeof *part);
    part->source = *source;
    part->offset = offset;
    *source = (struct blob_source){.descriptor = -1};
    const struct http_body_reader reader = {read_part, release_part, part};
    http_request_respond_reader(request, status, type, length, &reader);
}

static void respond_blob(struct http_request *request, struct registry *registry,
                         const char *digest, struct blob_source *source)
{
    uint64_t size = source->size, offset = 0, length = size;
    bool is_head = strcmp(http_request_method(request), "HEAD") == 0;
    const char *asked = is_head ? NULL : http_request_header(request, "Range");
    enum byte_range range = byte_range_parse(asked, size, &offset, &length);
    http_request_add_header(request, "Docker-Content-Digest", digest);
    http_request_add_header(request, "Accept-Ranges", "bytes");
    if (range == BYTE_RANGE_UNSATISFIABLE) {
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
    respond_part(request, source, range == BYTE_RANGE_PART ? 206 : 200, offset, length);
}

static void respond_redirect(struct http_request *request, struct registry *registry,
                             const char *digest, const struct blob_source *source)
{
    registry_count(registry, COUNTER_BLOBS_PULLED, 1);
    http_request_add_header(request, "Docker-Content-Digest", digest);
    http_request_add_header(request, "Location", source->url);
    http_request_respond(request, 307, NULL, NULL, 0);
}

/* A client that hears of a blob by HEAD does not push it: the lease keeps it until its manifest
 * comes. Only for what is there, and looked for once more when nothing can take it any more. */
static int find_blob(struct registry *registry, const char *repository, const char *digest,
                     bool is_head, struct error *error)
{
    int found = metadata_has_blob(registry->metadata, repository, digest, error);
    if (found != 1 || !is_head)
        return found;
    leases_take(registry->leases, repository, digest);
    return metadata_has_blob(registry->metadata, repository, digest, error);
}

/* A blob of the repository; 0: it has none. One that is listed and not in the store, because of a
 * DELETE since or a damaged disk, is none: who pushes it again mends it. */
static int fetch_blob(struct http_request *request, struct registry *registry,
                      const char *repository, const char *digest, struct blob_source *ret_source,
                      struct error *error)
{
    bool is_head = strcmp(http_request_method(request), "HEAD") == 0;
    int found = find_blob(registry, repository, digest, is_head, error);
    if (found != 1 ||
        blob_store_fetch(registry->blobs, digest, is_head ? BLOB_FETCH_READ : BLOB_FETCH_ANSWER,
                         ret_source, error) == 0)
        return found;
    if (error->code != ERROR_NOT_FOUND)
        return -1;
    log_warn("a listed blob is not in the store", "repository", repository, "digest", digest);
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
    struct blob_source source = {.descriptor = -1};
    int found = fetch_blob(request, registry, repository, digest, &source, &error);
    if (found == 1 && source.kind == BLOB_SOURCE_REDIRECT)
        respond_redirect(request, registry, digest, &source);
    else if (found == 1)
        respond_blob(request, registry, digest, &source);
    else if (found == 0)
        respond_unknown(request, repository, digest);
    else
        oci_error_respond_failure(request, &error);
    blob_source_release(&source);
}

/* The bytes go with the last repository that holds the blob. */
static int remove_blob(struct registry *registry, const char *repository, const char *digest,
                       struct error *error)
{
    bool last = false;
    blob_store_lock_digest(registry->blobs, digest);
    int found = metadata_remove_blob(registry->metadata, repository, digest, &last, error);
    if (found == 1 && last && blob_store_remove_blob(registry->blobs, digest, error) < 0)
        found = -1;
    blob_store_unlock_digest(registry->blobs, digest);
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
