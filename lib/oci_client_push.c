/* Uploads of lib/oci_client.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_reference.h"
#include "lib/oci_client_internal.h"
#include "lib/xalloc.h"

struct push {
    struct oci_operation base;
    char *repository;
    char digest[DIGEST_TEXT_MAX];
    uint64_t size;
    char *path; /* NULL: bytes */
    char *bytes;
    int descriptor; /* of the file while it is sent, else -1 */
};

static void close_file(struct push *push)
{
    if (push->descriptor >= 0)
        close(push->descriptor);
    push->descriptor = -1;
}

static void push_release(struct oci_operation *operation)
{
    struct push *push = (struct push *)operation;
    close_file(push);
    free(push->repository);
    free(push->path);
    free(push->bytes);
}

static void report(const struct push *push, uint64_t done)
{
    if (push->base.progress != NULL)
        push->base.progress(done, push->size, push->base.data);
}

static void succeed(struct push *push)
{
    struct oci_result result = {.size = push->size};
    memcpy(result.digest, push->digest, sizeof result.digest);
    report(push, push->size);
    oci_operation_succeed(&push->base, &result);
}

static void on_uploaded(const struct http_client_response *response, void *data)
{
    struct push *push = data;
    close_file(push);
    if (response->failed || response->status != 201) {
        oci_operation_fail(&push->base, response); /* the next attempt asks again by HEAD */
        return;
    }
    push->base.call = NULL;
    succeed(push);
}

/* Where the upload continues: absolute, or on the registry itself. */
static char *upload_url(const struct push *push, const char *location)
{
    const char *base = location[0] == '/' ? push->base.client->url : "";
    const char *glue = strchr(location, '?') != NULL ? "&" : "?";
    return xasprintf("%s%s%sdigest=sha256%%3A%s", base, location, glue, digest_hex(push->digest));
}

static int set_body(struct push *push, struct http_client_request *request, struct error *error)
{
    if (push->path == NULL) {
        request->body = push->bytes;
        request->body_length = push->size;
        return 0;
    }
    push->descriptor = open(push->path, O_RDONLY | O_CLOEXEC);
    if (push->descriptor < 0)
        return error_set_errno(error, errno, "%s", push->path);
    request->has_body_file = true;
    request->body_descriptor = push->descriptor;
    request->body_file_length = push->size;
    return 0;
}

static void on_upload_started(const struct http_client_response *response, void *data)
{
    struct push *push = data;
    struct error error = ERROR_INIT;
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    const char *location = response->failed ? NULL : http_response_header(response, "Location");
    if (response->failed || response->status != 202) {
        oci_operation_fail(&push->base, response);
        return;
    }
    push->base.call = NULL;
    if (location == NULL) {
        error_set(&error, ERROR_PROTOCOL, "the registry gives no Location for an upload");
        oci_operation_fail_with(&push->base, &error);
        return;
    }
    AUTO_FREE char *url = upload_url(push, location);
    struct http_client_request request = {
        .method = "PUT",
        .url = url,
        .headers = headers,
        .timeout_ms = HTTP_NO_TIMEOUT,
        .stall_timeout_s = push->base.client->stall_timeout_s,
    };
    if (set_body(push, &request, &error) < 0)
        oci_operation_fail_with(&push->base, &error);
    else
        oci_operation_send(&push->base, &request, on_uploaded);
}

static void on_asked(const struct http_client_response *response, void *data)
{
    struct push *push = data;
    if (response->failed || (response->status != 200 && response->status != 404)) {
        oci_operation_fail(&push->base, response);
        return;
    }
    push->base.call = NULL;
    if (response->status == 200) {
        succeed(push);
        return;
    }
    AUTO_FREE char *url = oci_client_url(push->base.client, "%s/blobs/uploads/", push->repository);
    struct http_client_request request = {.method = "POST", .url = url};
    report(push, 0);
    oci_operation_send(&push->base, &request, on_upload_started);
}

static void attempt_push(struct oci_operation *operation)
{
    struct push *push = (struct push *)operation;
    struct error error = ERROR_INIT;
    if (!repository_is_valid(push->repository) || !digest_is_valid(push->digest)) {
        error_set(&error, ERROR_INVALID, "not a name that a registry takes");
        oci_operation_fail_with(operation, &error);
        return;
    }
    AUTO_FREE char *url =
        oci_client_url(operation->client, "%s/blobs/%s", push->repository, push->digest);
    struct http_client_request request = {.method = "HEAD", .url = url, .follow_redirects = true};
    oci_operation_send(operation, &request, on_asked);
}

void oci_client_push_blob(struct oci_client *client, const char *repository, const char *digest,
                          uint64_t size, const char *path, const void *bytes,
                          oci_progress *progress, oci_callback *callback, void *data)
{
    char *label =
        xasprintf("push blob %.*s to %.*s", DIGEST_TEXT_MAX, digest, REPOSITORY_MAX, repository);
    struct push *push = oci_operation_create(client, sizeof *push, label, attempt_push,
                                             push_release, callback, data);
    push->base.progress = progress;
    push->repository = xstrdup(repository);
    push->size = size;
    push->path = xstrdup(path);
    push->bytes = path == NULL ? xmemdup(bytes, size) : NULL;
    push->descriptor = -1;
    snprintf(push->digest, sizeof push->digest, "%s", digest);
}

/* --- manifests --- */

struct manifest_push {
    struct oci_operation base;
    char *url;
    char *content_type; /* the header */
    char *bytes;
    size_t length;
    bool valid;
};

static void manifest_push_release(struct oci_operation *operation)
{
    struct manifest_push *push = (struct manifest_push *)operation;
    free(push->url);
    free(push->content_type);
    free(push->bytes);
}

static void on_manifest_pushed(const struct http_client_response *response, void *data)
{
    struct manifest_push *push = data;
    if (response->failed || response->status != 201) {
        oci_operation_fail(&push->base, response);
        return;
    }
    push->base.call = NULL;
    struct oci_result result = {.size = push->length};
    digest_of_bytes(push->bytes, push->length, result.digest);
    oci_operation_succeed(&push->base, &result);
}

static void attempt_manifest_push(struct oci_operation *operation)
{
    struct manifest_push *push = (struct manifest_push *)operation;
    const char *const headers[] = {push->content_type, NULL};
    struct http_client_request request = {
        .method = "PUT",
        .url = push->url,
        .headers = headers,
        .body = push->bytes,
        .body_length = push->length,
    };
    struct error error = ERROR_INIT;
    if (push->valid) {
        oci_operation_send(operation, &request, on_manifest_pushed);
        return;
    }
    error_set(&error, ERROR_INVALID, "not a name that a registry takes");
    oci_operation_fail_with(operation, &error);
}

void oci_client_push_manifest(struct oci_client *client, const char *repository,
                              const char *reference, const char *media_type, const void *bytes,
                              size_t length, oci_callback *callback, void *data)
{
    bool digest = digest_is_valid(reference);
    char *label = xasprintf("push manifest %.*s%s%.*s", REPOSITORY_MAX, repository,
                            digest ? "@" : ":", TAG_MAX, reference);
    struct manifest_push *push = oci_operation_create(
        client, sizeof *push, label, attempt_manifest_push, manifest_push_release, callback, data);
    push->url = oci_client_url(client, "%s/manifests/%s", repository, reference);
    push->content_type = xasprintf("Content-Type: %s", media_type);
    push->bytes = xmemdup(bytes, length);
    push->length = length;
    push->valid = repository_is_valid(repository) && (digest || tag_is_valid(reference));
}
