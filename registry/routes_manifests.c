#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/oci.h"
#include "lib/xalloc.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

#define MEDIA_TYPE_MAX 255
#define REFERENCES_MAX 4096

static void respond_unknown(struct http_request *request, const char *repository)
{
    oci_error_respond(request, OCI_MANIFEST_UNKNOWN, "repository %s has no manifest \"%.200s\"",
                      repository, http_request_parameter(request, "reference"));
}

void route_manifest_get(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    struct metadata_manifest manifest = {0};
    const char *repository = route_repository(request);
    if (repository == NULL)
        return;
    int found =
        metadata_get_manifest(registry->metadata, repository,
                              http_request_parameter(request, "reference"), &manifest, &error);
    if (found < 0) {
        oci_error_respond_failure(request, &error);
    } else if (found == 0) {
        respond_unknown(request, repository);
    } else {
        if (strcmp(http_request_method(request), "GET") == 0)
            registry_count(registry, COUNTER_MANIFESTS_PULLED, 1);
        http_request_add_header(request, "Docker-Content-Digest", manifest.digest);
        http_request_respond(request, 200, manifest.media_type, manifest.bytes, manifest.length);
    }
    metadata_manifest_finish(&manifest);
}

void route_manifest_delete(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const char *repository = route_repository(request);
    const char *reference = http_request_parameter(request, "reference");
    if (repository == NULL)
        return;
    int found = metadata_remove_manifest(registry->metadata, repository, reference, &error);
    if (found < 0) {
        oci_error_respond_failure(request, &error);
    } else if (found == 0) {
        respond_unknown(request, repository);
    } else {
        registry_count(registry, COUNTER_DELETIONS, 1);
        log_info("manifest deleted", "repository", repository, "reference", reference);
        http_request_respond(request, 202, NULL, NULL, 0);
    }
}

/* --- reading a manifest, as far as a registry must: what it refers to --- */

static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

/* The digest of the descriptor `object`. */
static const char *digest_of(struct json_object *object, struct error *error)
{
    const char *digest = text_of(object, "digest");
    if (digest != NULL && digest_is_valid(digest))
        return digest;
    error_set(error, ERROR_INVALID, "a descriptor has no digest of the form sha256:<64 hex>");
    return NULL;
}

/* A layer with URLs of its own (a "foreign" one) does not have to be here. */
static bool is_elsewhere(struct json_object *descriptor)
{
    struct json_object *urls;
    return json_object_object_get_ex(descriptor, "urls", &urls) &&
           json_object_is_type(urls, json_type_array) && json_object_array_length(urls) > 0;
}

static int collect_list(struct json_object *document, const char *key,
                        struct json_strings *references, struct error *error)
{
    struct json_object *list;
    if (!json_object_object_get_ex(document, key, &list) || list == NULL)
        return 0;
    if (!json_object_is_type(list, json_type_array) ||
        json_object_array_length(list) > REFERENCES_MAX)
        return error_set(error, ERROR_INVALID, "\"%s\" is no list of at most %d descriptors", key,
                         REFERENCES_MAX);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *descriptor = json_object_array_get_idx(list, i);
        const char *digest = digest_of(descriptor, error);
        if (digest == NULL)
            return error_wrap(error, "%s[%zu]", key, i);
        if (!is_elsewhere(descriptor))
            json_strings_add(references, digest);
    }
    return 0;
}

static int collect_references(struct json_object *document, struct metadata_references *references,
                              struct error *error)
{
    struct json_object *config;
    if (json_object_object_get_ex(document, "config", &config) && config != NULL) {
        const char *digest = digest_of(config, error);
        if (digest == NULL)
            return error_wrap(error, "config");
        json_strings_add(&references->blobs, digest);
    }
    if (collect_list(document, "layers", &references->blobs, error) < 0 ||
        collect_list(document, "blobs", &references->blobs, error) < 0)
        return -1;
    return collect_list(document, "manifests", &references->manifests, error);
}

/* The Content-Type is how it was called, and how it will be given back. */
static int read_media_type(struct json_object *document, const char *content_type,
                           struct metadata_manifest *manifest, struct error *error)
{
    const char *inside = text_of(document, "mediaType");
    AUTO_FREE char *outside =
        content_type != NULL ? xstrndup(content_type, strcspn(content_type, "; ")) : NULL;
    if (outside == NULL || outside[0] == '\0')
        return error_set(error, ERROR_INVALID, "a manifest needs a Content-Type");
    if (strlen(outside) > MEDIA_TYPE_MAX)
        return error_set(error, ERROR_INVALID, "the Content-Type is longer than %d characters",
                         MEDIA_TYPE_MAX);
    if (inside != NULL && strcmp(inside, outside) != 0)
        return error_set(error, ERROR_INVALID, "its mediaType is %.200s, but its Content-Type %s",
                         inside, outside);
    manifest->media_type = TAKE_POINTER(outside);
    return 0;
}

static int read_document(struct json_object *document, const char *content_type,
                         struct metadata_manifest *manifest, struct metadata_references *references,
                         struct error *error)
{
    struct json_object *version, *subject;
    if (!json_object_is_type(document, json_type_object) ||
        !json_object_object_get_ex(document, "schemaVersion", &version) ||
        json_object_get_int64(version) != 2)
        return error_set(error, ERROR_INVALID, "it is no object with \"schemaVersion\": 2");
    if (read_media_type(document, content_type, manifest, error) < 0 ||
        collect_references(document, references, error) < 0)
        return -1;
    if (json_object_object_get_ex(document, "subject", &subject) && subject != NULL) {
        const char *digest = digest_of(subject, error);
        if (digest == NULL)
            return error_wrap(error, "subject");
        manifest->subject = xstrdup(digest);
    }
    return 0;
}

static int read_manifest(struct http_request *request, struct metadata_manifest *manifest,
                         struct metadata_references *references, struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    size_t length;
    const char *bytes = http_request_body(request, &length);
    if (json_parse(bytes, length, &document, error) < 0 ||
        read_document(document, http_request_header(request, "Content-Type"), manifest, references,
                      error) < 0)
        return -1;
    digest_of_bytes(bytes, length, manifest->digest);
    manifest->bytes = xmemdup(bytes, length);
    manifest->length = length;
    return 0;
}

/* --- storing one --- */

static void store(struct http_request *request, struct registry *registry, const char *repository,
                  const struct metadata_manifest *manifest, const char *tag,
                  const struct metadata_references *references)
{
    struct error error = ERROR_INIT;
    char missing[DIGEST_TEXT_MAX] = "";
    int stored = metadata_put_manifest(registry->metadata, repository, manifest, tag, references,
                                       missing, &error);
    if (stored < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    if (stored == 0) {
        oci_error_respond(request, OCI_MANIFEST_BLOB_UNKNOWN,
                          "it refers to %s, which repository %s does not have: push that first",
                          missing, repository);
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
    else if (read_manifest(request, &manifest, &references, &error) < 0)
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
