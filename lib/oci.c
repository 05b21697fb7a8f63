#include "lib/oci.h"

static const char *check_digest(const char *value)
{
    return digest_is_valid(value) ? NULL : "sha256: and 64 lower-case hex digits";
}

static const struct json_field platform_fields[] = {
    JSON_FIELD(struct oci_platform, architecture, "architecture", JSON_STRING,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct oci_platform, os, "os", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record platform_record = {sizeof(struct oci_platform), platform_fields};

static const struct json_field descriptor_fields[] = {
    JSON_FIELD(struct oci_descriptor, media_type, "mediaType", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct oci_descriptor, digest, "digest", JSON_STRING, .flags = JSON_REQUIRED,
               .check = check_digest),
    JSON_FIELD(struct oci_descriptor, size, "size", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct oci_descriptor, platform, "platform", JSON_OBJECT, .flags = JSON_OMIT_EMPTY,
               .record = &platform_record,
               .present_offset = offsetof(struct oci_descriptor, has_platform)),
    JSON_FIELD(struct oci_descriptor, artifact_type, "artifactType", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct oci_descriptor, annotations, "annotations", JSON_MAP,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record oci_descriptor_record = {sizeof(struct oci_descriptor), descriptor_fields};

#define MANIFESTS_MAX 1000 /* layers of a manifest, manifests of an index */

static const struct json_field manifest_fields[] = {
    JSON_FIELD(struct oci_manifest, schema_version, "schemaVersion", JSON_UINT,
               .flags = JSON_REQUIRED, .min = 2, .max = 2),
    JSON_FIELD(struct oci_manifest, media_type, "mediaType", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct oci_manifest, artifact_type, "artifactType", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct oci_manifest, config, "config", JSON_OBJECT, .flags = JSON_OMIT_EMPTY,
               .record = &oci_descriptor_record,
               .present_offset = offsetof(struct oci_manifest, has_config)),
    JSON_FIELD_LIST(struct oci_manifest, layers, layer_count, "layers", &oci_descriptor_record,
                    .max = MANIFESTS_MAX),
    JSON_FIELD(struct oci_manifest, subject, "subject", JSON_OBJECT, .flags = JSON_OMIT_EMPTY,
               .record = &oci_descriptor_record,
               .present_offset = offsetof(struct oci_manifest, has_subject)),
    JSON_FIELD(struct oci_manifest, annotations, "annotations", JSON_MAP, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record oci_manifest_record = {sizeof(struct oci_manifest), manifest_fields};

static const struct json_field index_fields[] = {
    JSON_FIELD(struct oci_index, schema_version, "schemaVersion", JSON_UINT, .flags = JSON_REQUIRED,
               .min = 2, .max = 2),
    JSON_FIELD(struct oci_index, media_type, "mediaType", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct oci_index, artifact_type, "artifactType", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct oci_index, manifests, manifest_count, "manifests",
                    &oci_descriptor_record, .max = MANIFESTS_MAX),
    JSON_FIELD(struct oci_index, annotations, "annotations", JSON_MAP, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record oci_index_record = {sizeof(struct oci_index), index_fields};
