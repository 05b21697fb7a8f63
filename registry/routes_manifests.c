#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/oci.h"
#include "lib/xalloc.h"
#include "registry/manifest_reader.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

static void respond_unknown(struct http_request *request, const char *repository)
{
    oci_error_respond(request, OCI_MANIFEST_UNKNOWN, "repository %s has no manifest \"%.200s\"",
                      repository, http_request_parameter(request, "reference"));
}

/* As with a blob: a client that hears of a manifest by HEAD does not push it. By tag, the lease is
 * for what the tag pointed at, and the second look finds what it points at now. */
static int find_manifest(struct registry *registry, const char *repository, const char *reference,
                         bool is_head, const struct metadata_manifest **ret_manifest,
                         struct error *error)
{
    int found =
        metadata_get_manifest(registry->metadata, repository, reference, ret_manifest, error);
    if (found != 1 || !is_head)
        return found;
    leases_take(registry->leases, repository, (*ret_manifest)->digest);
    metadata_manifest_release(*ret_manifest);
    *ret_manifest = NULL;
    return metadata_get_manifest(registry->metadata, repository, reference, ret_manifest, error);
}

void route_manifest_get(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const struct metadata_manifest *manifest = NULL;
    const char *repository = route_repository(request);
    if (repository == NULL)
        return;
    bool is_head = strcmp(http_request_method(request), "HEAD") == 0;
    int found = find_manifest(registry, repository, http_request_parameter(request, "reference"),
                              is_head, &manifest, &error);
    if (found < 0) {
        oci_error_respond_failure(request, &error);
    } else if (found == 0) {
        respond_unknown(request, repository);
    } else {
        if (!is_head)
            registry_count(registry, COUNTER_MANIFESTS_PULLED, 1);
        http_request_add_header(request, "Docker-Content-Digest", manifest->digest);
        http_request_respond(request, 200, manifest->media_type, manifest->bytes, manifest->length);
    }
    metadata_manifest_release(manifest);
}

/* Something that was not done because of what is there. */
static void respond_refusal(struct http_request *request, const char *repository,
                            const struct metadata_refusal *refusal)
{
    switch (refusal->reason) {
    case METADATA_MISSING:
        oci_error_respond(request, OCI_MANIFEST_BLOB_UNKNOWN,
                          "it refers to %s, which repository %s does not have: push that first",
                          refusal->name, repository);
        return;
    case METADATA_LISTED:
        oci_error_respond_status(request, OCI_UNSUPPORTED, 405,
                                 "index %s lists it: delete that first", refusal->name);
        return;
    case METADATA_IMMUTABLE:
        oci_error_respond_status(request, OCI_UNSUPPORTED, 403,
                                 "tag %s of repository %s must not change", refusal->name,
                                 repository);
        return;
    case METADATA_OVER_QUOTA:
        oci_error_respond_status(request, OCI_UNSUPPORTED, 403,
                                 "repository %s would be over its quota", repository);
        return;
    case METADATA_NOT_REFUSED:
        break;
    }
    respond_unknown(request, repository);
}

void route_manifest_delete(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    struct metadata_refusal refusal = {0};
    const char *repository = route_repository(request);
    const char *reference = http_request_parameter(request, "reference");
    if (repository == NULL)
        return;
    int found =
        metadata_remove_manifest(registry->metadata, repository, reference, NULL, &refusal, &error);
    if (found < 0) {
        oci_error_respond_failure(request, &error);
    } else if (found == 0) {
        respond_refusal(request, repository, &refusal);
    } else {
        registry_count(registry, COUNTER_DELETIONS, 1);
        log_info("manifest deleted", "repository", repository, "reference", reference);
        http_request_respond(request, 202, NULL, NULL, 0);
    }
}

static int read_body(struct http_request *request, struct metadata_manifest *ret_manifest,
                     struct metadata_references *ret_references, struct error *error)
{
    size_t length;
    const char *bytes = http_request_body(request, &length);
    return manifest_read(bytes, length, http_request_header(request, "Content-Type"), ret_manifest,
                         ret_references, error);
}

/* --- storing one --- */

static void store(struct http_request *request, struct registry *registry, const char *repository,
                  const struct metadata_manifest *manifest, const char *tag,
                  const struct metadata_references *references)
{
    struct error error = ERROR_INIT;
    struct metadata_refusal refusal = {0};
    struct json_strings tags = {0};
    if (tag != NULL)
        json_strings_add(&tags, tag);
    /* Until an index or a tag leads to it. */
    leases_take(registry->leases, repository, manifest->digest);
    int stored = metadata_put_manifest(registry->metadata, repository, manifest, &tags, references,
                                       NULL, &refusal, &error);
    json_strings_release(&tags);
    if (stored < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    if (stored == 0) {
        respond_refusal(request, repository, &refusal);
        return;
    }
    registry_count(registry, COUNTER_MANIFESTS_PUSHED, 1);
    log_info("manifest stored", "repository", repository, "tag", tag != NULL ? tag : "", "digest",
             manifest->digest, "type", manifest->media_type);
    route_add_header(request, "Location", "/v2/%s/manifests/%s", repository, manifest->digest);
    http_request_add_header(request, "Docker-Content-Digest", manifest->digest);
    if (manifest->subject != NULL)
        http_request_add_header(request, "OCI-Subject", manifest->subject);
    http_request_respond(request, 201, NULL, NULL, 0);
}

void route_manifest_put(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    struct metadata_manifest manifest = {0};
    struct metadata_references references = {0};
    const char *repository = route_repository(request);
    const char *reference = http_request_parameter(request, "reference");
    if (repository == NULL)
        return;
    bool is_digest = strchr(reference, ':') != NULL;
    if (is_digest ? !digest_is_valid(reference) : !tag_is_valid(reference))
        oci_error_respond(request, is_digest ? OCI_DIGEST_INVALID : OCI_MANIFEST_INVALID,
                          "\"%.200s\" is neither a tag nor a sha256 digest", reference);
    else if (read_body(request, &manifest, &references, &error) < 0)
        oci_error_respond(request, OCI_MANIFEST_INVALID, "the manifest is refused: %s",
                          error.message);
    else if (is_digest && strcmp(reference, manifest.digest) != 0)
        oci_error_respond(request, OCI_DIGEST_INVALID, "the manifest's digest is %s, not %s",
                          manifest.digest, reference);
    else
        store(request, registry, repository, &manifest, is_digest ? NULL : reference, &references);
    metadata_manifest_finish(&manifest);
    metadata_references_finish(&references);
}
