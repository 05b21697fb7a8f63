#include "registry/manifest_reader.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define MEDIA_TYPE_MAX 255
#define REFERENCES_MAX 4096
/* Proposed for the image spec 1.1 and withdrawn; what was made of it has no schemaVersion. */
#define ARTIFACT_TYPE "application/vnd.oci.artifact.manifest.v1+json"

/* NULL also for a text with a NUL in it: what is behind would count for others, not for us. */
static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string) ||
        strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
        return NULL;
    return json_object_get_string(value);
}

/* The digest of the descriptor `object`. */
static const char *digest_of(struct json_object *object, struct error *error)
{
    const char *digest = text_of(object, "digest");
    if (digest != NULL && digest_is_any(digest))
        return digest;
    error_set(error, ERROR_INVALID,
              "a descriptor has no digest of the form sha256:<64 hex> or sha512:<128 hex>");
    return NULL;
}

/* A layer that must not be given away, or one with URLs of its own, does not have to be here. */
static bool is_elsewhere(struct json_object *descriptor)
{
    static const char *const kept_away[] = {
        "application/vnd.oci.image.layer.nondistributable.",
        "application/vnd.docker.image.rootfs.foreign.",
    };
    struct json_object *urls;
    const char *type = text_of(descriptor, "mediaType");
    for (size_t i = 0; type != NULL && i < ARRAY_LENGTH(kept_away); i++) {
        if (strncmp(type, kept_away[i], strlen(kept_away[i])) == 0)
            return true;
    }
    return json_object_object_get_ex(descriptor, "urls", &urls) &&
           json_object_is_type(urls, json_type_array) && json_object_array_length(urls) > 0;
}

/* `elsewhere` gets what does not have to be here. */
static int collect_list(struct json_object *document, const char *key,
                        struct json_strings *references, struct json_strings *elsewhere,
                        struct error *error)
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
        json_strings_add(is_elsewhere(descriptor) ? elsewhere : references, digest);
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
    struct json_strings *elsewhere = &references->elsewhere;
    if (collect_list(document, "layers", &references->blobs, elsewhere, error) < 0 ||
        collect_list(document, "blobs", &references->blobs, elsewhere, error) < 0)
        return -1;
    return collect_list(document, "manifests", &references->manifests, elsewhere, error);
}

/* It becomes a header of answers. */
static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

/* The Content-Type is how it was called, and how it will be given back. A client that says none
 * means what the manifest says. */
static int read_media_type(struct json_object *document, const char *content_type,
                           struct metadata_manifest *manifest, struct error *error)
{
    const char *inside = text_of(document, "mediaType");
    const char *called = content_type != NULL && content_type[0] != '\0' ? content_type : inside;
    AUTO_FREE char *outside = called != NULL ? xstrndup(called, strcspn(called, "; \t")) : NULL;
    if (outside == NULL || outside[0] == '\0')
        return error_set(error, ERROR_INVALID, "a manifest needs a mediaType or a Content-Type");
    if (!is_printable(outside))
        return error_set(error, ERROR_INVALID, "the Content-Type \"%.200s\" is no media type",
                         outside);
    if (strlen(outside) > MEDIA_TYPE_MAX)
        return error_set(error, ERROR_INVALID, "the Content-Type is longer than %d characters",
                         MEDIA_TYPE_MAX);
    if (inside != NULL && strcmp(inside, outside) != 0)
        return error_set(error, ERROR_INVALID, "its mediaType is %.200s, but its Content-Type %s",
                         inside, outside);
    manifest->media_type = TAKE_POINTER(outside);
    return 0;
}

/* What a list of referrers says of it (distribution spec 1.1, "Listing Referrers"): its own
 * artifactType, or for an image its config's media type, and its annotations. */
static void read_referrer(struct json_object *document, struct metadata_manifest *manifest)
{
    struct json_object *config, *annotations;
    const char *type = text_of(document, "artifactType");
    if ((type == NULL || type[0] == '\0') && json_object_object_get_ex(document, "config", &config))
        type = text_of(config, "mediaType");
    manifest->artifact_type = xstrdup(type);
    if (json_object_object_get_ex(document, "annotations", &annotations) &&
        json_object_is_type(annotations, json_type_object))
        manifest->annotations = json_text(annotations);
}

static bool has_version(struct json_object *document)
{
    struct json_object *version;
    const char *type = text_of(document, "mediaType");
    if (!json_object_object_get_ex(document, "schemaVersion", &version))
        return type != NULL && strcmp(type, ARTIFACT_TYPE) == 0;
    return json_object_is_type(version, json_type_int) && json_object_get_int64(version) == 2;
}

static int read_document(struct json_object *document, const char *content_type,
                         struct metadata_manifest *manifest, struct metadata_references *references,
                         struct error *error)
{
    struct json_object *subject;
    if (!json_object_is_type(document, json_type_object) || !has_version(document))
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
    read_referrer(document, manifest);
    return 0;
}

static int read_into(const char *bytes, size_t length, const char *content_type,
                     struct metadata_manifest *manifest, struct metadata_references *references,
                     struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    if (json_parse(bytes, length, &document, error) < 0 ||
        read_document(document, content_type, manifest, references, error) < 0)
        return -1;
    digest_of_bytes(bytes, length, manifest->digest);
    manifest->bytes = xmemdup(bytes, length);
    manifest->length = length;
    return 0;
}

int manifest_read(const char *bytes, size_t length, const char *content_type,
                  struct metadata_manifest *ret_manifest,
                  struct metadata_references *ret_references, struct error *error)
{
    struct metadata_manifest manifest = {0};
    struct metadata_references references = {0};
    if (read_into(bytes, length, content_type, &manifest, &references, error) < 0) {
        metadata_manifest_finish(&manifest);
        metadata_references_finish(&references);
        return -1;
    }
    *ret_manifest = manifest;
    *ret_references = references;
    return 0;
}
