#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/oci.h"
#include "lib/xalloc.h"
#include "registry/manifest_reader.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

/* Tags that one PUT may set; the spec asks for at least 10. */
#define TAGS_MAX 32

static void respond_unknown(struct http_request *request, const char *repository)
{
    oci_error_respond(request, OCI_MANIFEST_UNKNOWN, "repository %s has no manifest \"%.200s\"",
                      repository, http_request_parameter(request, "reference"));
}

static bool is_digest(const char *reference)
{
    return strchr(reference, ':') != NULL;
}

/* The request's "{reference}": a digest, or else the name of a tag, which may be of any form. NULL
 * after answering that it is a digest and no good one. */
static const char *read_reference(struct http_request *request)
{
    const char *reference = http_request_parameter(request, "reference");
    if (!is_digest(reference) || digest_is_any(reference))
        return reference;
    route_refuse_digest(request, reference);
    return NULL;
}

/* --- getting one --- */

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

static void release_manifest(void *data)
{
    metadata_manifest_release(data);
}

/* Takes the reference to the manifest, whose bytes are sent from where they are. */
static void respond_manifest(struct http_request *request, struct registry *registry,
                             const struct metadata_manifest *manifest)
{
    if (strcmp(http_request_method(request), "GET") == 0)
        registry_count(registry, COUNTER_MANIFESTS_PULLED, 1);
    http_request_add_header(request, "Docker-Content-Digest", manifest->digest);
    http_request_respond_shared(request, 200, manifest->media_type, manifest->bytes,
                                manifest->length, release_manifest, (void *)manifest);
}

void route_manifest_get(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const struct metadata_manifest *manifest = NULL;
    const char *repository = route_repository(request);
    const char *reference = repository != NULL ? read_reference(request) : NULL;
    if (reference == NULL)
        return;
    bool is_head = strcmp(http_request_method(request), "HEAD") == 0;
    int found = find_manifest(registry, repository, reference, is_head, &manifest, &error);
    if (found == 1)
        respond_manifest(request, registry, manifest);
    else if (found == 0)
        respond_unknown(request, repository);
    else
        oci_error_respond_failure(request, &error);
}

/* --- deleting one --- */

/* Something that was not done because of what is there. */
static void respond_refusal(struct http_request *request, struct registry *registry,
                            const char *repository, const struct metadata_refusal *refusal)
{
    switch (refusal->reason) {
    case METADATA_MISSING:
        oci_error_respond_detail(request, OCI_MANIFEST_BLOB_UNKNOWN, 400, "digest", refusal->name,
                                 "it refers to %s, which repository %s does not have: push that "
                                 "first",
                                 refusal->name, repository);
        return;
    case METADATA_LISTED:
        oci_error_respond_detail(request, OCI_UNSUPPORTED, 405, "index", refusal->name,
                                 "index %s lists it: delete that first", refusal->name);
        return;
    case METADATA_IMMUTABLE:
        oci_error_respond_detail(request, OCI_DENIED, 403, "tag", refusal->name,
                                 "tag %s of repository %s must not change", refusal->name,
                                 repository);
        return;
    case METADATA_OVER_QUOTA:
        route_respond_over_quota(request, registry, repository);
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
    struct metadata_rules rules;
    const char *repository = route_repository(request);
    const char *reference = repository != NULL ? read_reference(request) : NULL;
    if (reference == NULL)
        return;
    route_rules_take(registry, repository, &rules);
    int found = metadata_remove_manifest(registry->metadata, repository, reference, &rules,
                                         &refusal, &error);
    route_rules_give(registry);
    if (found < 0) {
        oci_error_respond_failure(request, &error);
    } else if (found == 0) {
        respond_refusal(request, registry, repository, &refusal);
    } else {
        registry_count(registry, COUNTER_DELETIONS, 1);
        log_info("manifest deleted", "repository", repository, "reference", reference);
        http_request_respond(request, 202, NULL, NULL, 0);
    }
}

/* --- storing one --- */

/* Where a manifest is to be found. */
struct destination {
    const char *repository;
    const char *digest; /* NULL: by tag only */
    struct json_strings tags;
    size_t asked;        /* tags, with those that came twice */
    const char *not_tag; /* asked for, and none */
};

static bool take_tag(const char *tag, void *data)
{
    struct destination *destination = data;
    struct json_strings *tags = &destination->tags;
    if (!tag_is_valid(tag))
        destination->not_tag = tag;
    if (++destination->asked > TAGS_MAX || destination->not_tag != NULL)
        return false;
    for (size_t i = 0; i < tags->count; i++) {
        if (strcmp(tags->items[i], tag) == 0)
            return true;
    }
    json_strings_add(tags, tag);
    return true;
}

/* By tag: "manifests/<tag>"; by digest: "manifests/<digest>", also with "?tag=<tag>&tag=<tag>"
 * (distribution spec, "Pushing Manifests"). -1 after answering what is wrong. */
static int read_destination(struct http_request *request, const char *repository,
                            struct destination *destination)
{
    const char *reference = read_reference(request);
    if (reference == NULL)
        return -1;
    destination->repository = repository;
    if (is_digest(reference)) {
        destination->digest = reference;
        http_request_query_each(request, "tag", take_tag, destination);
    } else if (http_request_query(request, "tag") == NULL) {
        take_tag(reference, destination);
    } else {
        oci_error_respond_status(request, OCI_UNSUPPORTED, 400,
                                 "?tag= is for manifests that are pushed by their digest");
        return -1;
    }
    if (destination->not_tag != NULL) {
        oci_error_respond(request, OCI_MANIFEST_INVALID,
                          "\"%.200s\" is no tag: at most %d letters, digits and _ . -, of which "
                          "the first is no . or -",
                          destination->not_tag, TAG_MAX - 1);
        return -1;
    }
    if (destination->asked > TAGS_MAX) {
        oci_error_respond_status(request, OCI_UNSUPPORTED, 414, "one request sets %d tags at most",
                                 TAGS_MAX);
        return -1;
    }
    return 0;
}

/* Reads the body, as far as it must agree with the digest it came under. -1 after answering. */
static int read_manifest(struct http_request *request, const struct destination *destination,
                         struct metadata_manifest *ret_manifest,
                         struct metadata_references *ret_references)
{
    struct error error = ERROR_INIT;
    enum digest_algorithm algorithm;
    size_t length;
    const char *bytes = http_request_body(request, &length);
    if (manifest_read(bytes, length, http_request_header(request, "Content-Type"), ret_manifest,
                      ret_references, &error) < 0) {
        oci_error_respond(request, OCI_MANIFEST_INVALID, "the manifest is refused: %s",
                          error.message);
        return -1;
    }
    if (destination->digest == NULL)
        return 0;
    if (digest_parse(destination->digest, &algorithm) && algorithm != DIGEST_SHA256)
        digest_of_bytes_as(algorithm, bytes, length, ret_manifest->digest);
    if (strcmp(destination->digest, ret_manifest->digest) == 0)
        return 0;
    oci_error_respond_detail(request, OCI_DIGEST_INVALID, 400, "digest", destination->digest,
                             "the manifest's digest is %s, not %s", ret_manifest->digest,
                             destination->digest);
    return -1;
}

static void respond_stored(struct http_request *request, const struct destination *destination,
                           const struct metadata_manifest *manifest)
{
    route_add_header(request, "Location", "/v2/%s/manifests/%s", destination->repository,
                     manifest->digest);
    http_request_add_header(request, "Docker-Content-Digest", manifest->digest);
    if (manifest->subject != NULL)
        http_request_add_header(request, "OCI-Subject", manifest->subject);
    for (size_t i = 0; destination->digest != NULL && i < destination->tags.count; i++)
        http_request_add_header(request, "OCI-Tag", destination->tags.items[i]);
    http_request_respond(request, 201, NULL, NULL, 0);
}

/* The manifest and all its tags, or nothing. */
static void store(struct http_request *request, struct registry *registry,
                  const struct destination *destination, const struct metadata_manifest *manifest,
                  const struct metadata_references *references)
{
    struct error error = ERROR_INIT;
    struct metadata_refusal refusal = {0};
    struct metadata_rules rules;
    const char *repository = destination->repository;
    /* Until an index or a tag leads to it. */
    leases_take(registry->leases, repository, manifest->digest);
    route_rules_take(registry, repository, &rules);
    int stored = metadata_put_manifest(registry->metadata, repository, manifest, &destination->tags,
                                       references, &rules, &refusal, &error);
    route_rules_give(registry);
    if (stored < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    if (stored == 0) {
        respond_refusal(request, registry, repository, &refusal);
        return;
    }
    registry_count(registry, COUNTER_MANIFESTS_PUSHED, 1);
    log_info("manifest stored", "repository", repository, "tag",
             destination->tags.count > 0 ? destination->tags.items[0] : "", "digest",
             manifest->digest, "type", manifest->media_type);
    respond_stored(request, destination, manifest);
}

void route_manifest_put(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct destination destination = {0};
    struct metadata_manifest manifest = {0};
    struct metadata_references references = {0};
    const char *repository = route_repository(request);
    if (repository == NULL)
        return;
    if (read_destination(request, repository, &destination) == 0 &&
        read_manifest(request, &destination, &manifest, &references) == 0)
        store(request, registry, &destination, &manifest, &references);
    json_strings_release(&destination.tags);
    metadata_manifest_finish(&manifest);
    metadata_references_finish(&references);
}
