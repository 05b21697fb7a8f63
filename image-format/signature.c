#include "image-format/signature.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define SIGNATURE_CONFIG_TYPE "application/vnd.oci.image.config.v1+json"
#define PAYLOAD_KIND          "cosign container image signature"

/* What a verifier needs of a payload. */
struct payload_image {
    char digest[DIGEST_TEXT_MAX];
};

struct payload_critical {
    struct payload_image image;
    char type[128];
};

struct payload {
    struct payload_critical critical;
    struct json_object *optional;
};

static const struct json_field payload_image_fields[] = {
    JSON_FIELD(struct payload_image, digest, "docker-manifest-digest", JSON_STRING,
               .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record payload_image_record = {sizeof(struct payload_image),
                                                        payload_image_fields};
static const struct json_field payload_critical_fields[] = {
    JSON_FIELD(struct payload_critical, image, "image", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &payload_image_record),
    JSON_FIELD(struct payload_critical, type, "type", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record payload_critical_record = {sizeof(struct payload_critical),
                                                           payload_critical_fields};
static const struct json_field payload_fields[] = {
    JSON_FIELD(struct payload, critical, "critical", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &payload_critical_record),
    JSON_FIELD(struct payload, optional, "optional", JSON_ANY),
    JSON_FIELD_END,
};
static const struct json_record payload_record = {sizeof(struct payload), payload_fields};

void signature_tag(const char *digest, char ret_tag[SIGNATURE_TAG_MAX])
{
    snprintf(ret_tag, SIGNATURE_TAG_MAX, "sha256-%s.sig", digest_hex(digest));
}

/* What containers/image adds as well: who made it, and when. */
static char *payload_extras(uint64_t signed_at)
{
    return signed_at == 0
               ? xstrdup("null")
               : xasprintf("{\"creator\":\"shoal\",\"timestamp\":%" PRIu64 "}", signed_at);
}

char *signature_payload(const char *docker_reference, const char *digest, uint64_t signed_at)
{
    AUTO_JSON struct json_object *reference = json_object_new_string(docker_reference);
    AUTO_FREE char *quoted = json_text(reference);
    AUTO_FREE char *extras = payload_extras(signed_at);
    return xasprintf("{\"critical\":{\"identity\":{\"docker-reference\":%s},\"image\":{"
                     "\"docker-manifest-digest\":\"%s\"},\"type\":\"%s\"},\"optional\":%s}",
                     quoted, digest, PAYLOAD_KIND, extras);
}

static void describe(struct oci_descriptor *descriptor, const char *media_type, const char *bytes,
                     size_t length)
{
    snprintf(descriptor->media_type, sizeof descriptor->media_type, "%s", media_type);
    digest_of_bytes(bytes, length, descriptor->digest);
    descriptor->size = length;
}

/* The config that cosign's library writes for a signature: an image of nothing but its layers. */
static char *signature_config(const struct oci_manifest *manifest)
{
    static const char epoch[] = "0001-01-01T00:00:00Z";
    AUTO_BUFFER struct buffer history = {0};
    AUTO_BUFFER struct buffer layers = {0};
    for (size_t i = 0; i < manifest->layer_count; i++) {
        buffer_printf(&history, "%s{\"created\":\"%s\"}", i > 0 ? "," : "", epoch);
        buffer_printf(&layers, "%s\"%s\"", i > 0 ? "," : "", manifest->layers[i].digest);
    }
    return xasprintf("{\"architecture\":\"\",\"created\":\"%s\",\"history\":[%s],\"os\":\"\","
                     "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]},\"config\":{}}",
                     epoch, buffer_text(&history), buffer_text(&layers));
}

static int parse_manifest(const char *bytes, size_t length, struct oci_manifest *ret_manifest,
                          struct error *error)
{
    struct oci_manifest manifest = {0};
    if (length > OCI_MANIFEST_LIMIT)
        return error_set(error, ERROR_TOO_LARGE, "signature manifest: %zu bytes, at most %u",
                         length, OCI_MANIFEST_LIMIT);
    if (json_parse_unique_record(&oci_manifest_record, bytes, length, JSON_LENIENT, &manifest,
                                 error) < 0)
        return error_wrap(error, "signature manifest");
    *ret_manifest = manifest;
    return 0;
}

static int add_layer(struct oci_manifest *manifest, const struct private_key *key,
                     const struct public_key *public_half, const struct signature_image *image,
                     struct error *error)
{
    AUTO_FREE unsigned char *der = NULL;
    size_t length = 0;
    if (manifest->layer_count >= SIGNATURES_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "there are %zu signatures already, at most %d are kept: remove the tag "
                         "first",
                         manifest->layer_count, SIGNATURES_MAX);
    if (signature_create(key, image->payload, image->payload_length, &der, &length, error) < 0)
        return -1;
    manifest->layers =
        xreallocarray(manifest->layers, manifest->layer_count + 1, sizeof *manifest->layers);
    struct oci_descriptor *layer = &manifest->layers[manifest->layer_count++];
    *layer = (struct oci_descriptor){0};
    describe(layer, COSIGN_PAYLOAD_TYPE, image->payload, image->payload_length);
    AUTO_FREE char *text = base64_encode(der, length);
    char id[KEY_ID_MAX];
    public_key_id(public_half, id);
    json_map_set(&layer->annotations, COSIGN_SIGNATURE_ANNOTATION, text);
    json_map_set(&layer->annotations, SIGNATURE_KEY_ANNOTATION, id);
    return 0;
}

static void finish_image(struct oci_manifest *manifest, struct signature_image *image)
{
    image->config = signature_config(manifest);
    image->config_length = strlen(image->config);
    digest_of_bytes(image->config, image->config_length, image->config_digest);
    json_record_release(&oci_descriptor_record, &manifest->config);
    describe(&manifest->config, SIGNATURE_CONFIG_TYPE, image->config, image->config_length);
    manifest->has_config = true;
    manifest->schema_version = 2;
    snprintf(manifest->media_type, sizeof manifest->media_type, "%s", OCI_MANIFEST_TYPE);
    image->manifest = json_record_text(&oci_manifest_record, manifest);
    image->manifest_length = strlen(image->manifest);
    digest_of_bytes(image->manifest, image->manifest_length, image->manifest_digest);
}

int signature_image_create(const struct private_key *key, const char *docker_reference,
                           const char *digest, uint64_t signed_at, const char *existing,
                           size_t existing_length, struct signature_image *ret_image,
                           struct error *error)
{
    struct oci_manifest manifest = {0};
    if (existing != NULL && parse_manifest(existing, existing_length, &manifest, error) < 0)
        return error_wrap(error, "signatures of %s", digest);
    struct signature_image image = {.payload =
                                        signature_payload(docker_reference, digest, signed_at)};
    image.payload_length = strlen(image.payload);
    digest_of_bytes(image.payload, image.payload_length, image.payload_digest);
    struct public_key *public_half = private_key_public(key);
    int result = add_layer(&manifest, key, public_half, &image, error);
    if (result == 0) {
        finish_image(&manifest, &image);
        *ret_image = image;
    } else {
        signature_image_release(&image);
        error_wrap(error, "sign %s", digest);
    }
    public_key_destroy(public_half);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

void signature_image_release(struct signature_image *image)
{
    free(image->payload);
    free(image->config);
    free(image->manifest);
    *image = (struct signature_image){0};
}

static bool is_among(const struct oci_descriptor *layer, const struct json_strings *signatures)
{
    const char *signature = json_map_get(&layer->annotations, COSIGN_SIGNATURE_ANNOTATION);
    for (size_t i = 0; signature != NULL && i < signatures->count; i++) {
        if (strcmp(signature, signatures->items[i]) == 0)
            return true;
    }
    return false;
}

int signature_manifest_drop(const char *manifest, size_t length,
                            const struct json_strings *signatures, char **ret_manifest,
                            struct error *error)
{
    struct oci_manifest parsed;
    size_t kept = 0;
    if (parse_manifest(manifest, length, &parsed, error) < 0)
        return -1;
    for (size_t i = 0; i < parsed.layer_count; i++) {
        if (is_among(&parsed.layers[i], signatures))
            json_record_release(&oci_descriptor_record, &parsed.layers[i]);
        else
            parsed.layers[kept++] = parsed.layers[i];
    }
    parsed.layer_count = kept;
    *ret_manifest = json_record_text(&oci_manifest_record, &parsed);
    json_record_release(&oci_manifest_record, &parsed);
    return 0;
}

static bool read_entry(const struct oci_descriptor *layer, struct signature_entry *ret_entry)
{
    const char *signature = json_map_get(&layer->annotations, COSIGN_SIGNATURE_ANNOTATION);
    const char *id = json_map_get(&layer->annotations, SIGNATURE_KEY_ANNOTATION);
    if (strcmp(layer->media_type, COSIGN_PAYLOAD_TYPE) != 0 || signature == NULL ||
        layer->size > SIGNATURE_PAYLOAD_MAX)
        return false;
    struct signature_entry entry = {.payload_size = layer->size, .signature = xstrdup(signature)};
    snprintf(entry.payload_digest, sizeof entry.payload_digest, "%s", layer->digest);
    unsigned char raw[(KEY_ID_MAX - 1) / 2];
    if (id != NULL && text_parse_hex(id, raw, sizeof raw))
        snprintf(entry.key_id, sizeof entry.key_id, "%s", id);
    *ret_entry = entry;
    return true;
}

int signature_entries_parse(const char *manifest, size_t length,
                            struct signature_entry **ret_entries, size_t *ret_count,
                            struct error *error)
{
    struct oci_manifest parsed;
    if (parse_manifest(manifest, length, &parsed, error) < 0)
        return -1;
    struct signature_entry *entries = xcalloc(SIGNATURES_MAX, sizeof *entries);
    size_t count = 0;
    for (size_t i = 0; i < parsed.layer_count && count < SIGNATURES_MAX; i++) {
        if (read_entry(&parsed.layers[i], &entries[count]))
            count++;
    }
    json_record_release(&oci_manifest_record, &parsed);
    *ret_entries = entries;
    *ret_count = count;
    return 0;
}

void signature_entries_free(struct signature_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(entries[i].signature);
    free(entries);
}

uint64_t signature_timestamp(struct json_object *optional)
{
    struct json_object *value = NULL;
    uint64_t seconds = 0;
    if (!json_object_is_type(optional, json_type_object) ||
        !json_object_object_get_ex(optional, "timestamp", &value))
        return 0;
    if (json_object_is_type(value, json_type_int) && json_object_get_int64(value) > 0)
        return (uint64_t)json_object_get_int64(value);
    if (json_object_is_type(value, json_type_string) &&
        text_parse_u64(json_object_get_string(value), INT64_MAX, &seconds))
        return seconds;
    return 0;
}

/* The payload is parsed only after its signature held. */
static int check_payload(const char *bytes, size_t length, const char *digest,
                         uint64_t *ret_signed_at, struct error *error)
{
    struct payload payload = {0};
    if (json_parse_unique_record(&payload_record, bytes, length, JSON_LENIENT, &payload, error) <
        0) {
        if (error != NULL)
            error->code = ERROR_SIGNATURE;
        return error_wrap(error, "signature payload");
    }
    char signed_digest[DIGEST_TEXT_MAX];
    memcpy(signed_digest, payload.critical.image.digest, sizeof signed_digest);
    bool kind = strcmp(payload.critical.type, PAYLOAD_KIND) == 0;
    uint64_t signed_at = signature_timestamp(payload.optional);
    json_record_release(&payload_record, &payload);
    if (!kind)
        return error_set(error, ERROR_SIGNATURE,
                         "the signature is no container image signature (\"%s\")", PAYLOAD_KIND);
    if (strcmp(signed_digest, digest) != 0)
        return error_set(error, ERROR_SIGNATURE, "the signature is for %s, not for %s",
                         digest_is_valid(signed_digest) ? signed_digest : "something else", digest);
    if (ret_signed_at != NULL)
        *ret_signed_at = signed_at;
    return 0;
}

int signature_check(const char *payload, size_t payload_length, const char *signature,
                    const struct trusted_key *keys, size_t key_count, const char *digest,
                    uint64_t *ret_signed_at, struct error *error)
{
    AUTO_FREE unsigned char *der = NULL;
    size_t der_length;
    if (!base64_decode(signature, &der, &der_length))
        return error_set(error, ERROR_SIGNATURE, "the signature is not base64");
    for (size_t i = 0; i < key_count; i++) {
        if (!signature_verify(keys[i].key, payload, payload_length, der, der_length))
            continue;
        return check_payload(payload, payload_length, digest, ret_signed_at, error) < 0
                   ? SIGNATURE_OF_ANOTHER
                   : (int)i;
    }
    error_set(error, ERROR_SIGNATURE, "the signature is by none of the %zu trusted keys",
              key_count);
    return SIGNATURE_BY_NONE;
}
