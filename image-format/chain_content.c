#include "image-format/chain_content.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image-format/foreign.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define ZSTD_SUFFIX "+zstd"

const char *const image_part_kind_names[] = {"kernel", "initrd", "disk", NULL};

static bool is_shoals(const struct oci_manifest *manifest)
{
    return strcmp(manifest->config.media_type, SHOAL_CONFIG_TYPE) == 0 ||
           strcmp(manifest->artifact_type, SHOAL_ARTIFACT_TYPE) == 0;
}

static int check_manifest(const struct oci_manifest *manifest, struct error *error)
{
    bool typed =
        manifest->media_type[0] == '\0' || strcmp(manifest->media_type, OCI_MANIFEST_TYPE) == 0;
    if (!typed || !manifest->has_config)
        return error_set(error, ERROR_INVALID,
                         "it is not a unikernel image: expected a manifest of type %s with a "
                         "config, found \"%s\"",
                         OCI_MANIFEST_TYPE, manifest->media_type);
    if (is_shoals(manifest) && (strcmp(manifest->artifact_type, SHOAL_ARTIFACT_TYPE) != 0 ||
                                strcmp(manifest->config.media_type, SHOAL_CONFIG_TYPE) != 0))
        return error_set(error, ERROR_INVALID,
                         "it is not a unikernel image: expected artifactType %s, found \"%s\" with "
                         "a config of type \"%s\"",
                         SHOAL_ARTIFACT_TYPE, manifest->artifact_type, manifest->config.media_type);
    /* Readers would differ on which of the two counts. */
    for (size_t i = 0; i < manifest->layer_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(manifest->layers[i].digest, manifest->layers[j].digest) == 0)
                return error_set(error, ERROR_INVALID, "the layer %s is listed twice",
                                 manifest->layers[i].digest);
        }
    }
    return 0;
}

/* --- the parts of an image of ours --- */

struct part_type {
    enum image_part_kind kind;
    const char *media_type;
    uint64_t size_max;
};

static const struct part_type part_types[] = {
    {IMAGE_PART_KERNEL, SHOAL_KERNEL_TYPE, IMAGE_KERNEL_MAX},
    {IMAGE_PART_INITRD, SHOAL_INITRD_TYPE, IMAGE_INITRD_MAX},
    {IMAGE_PART_DISK, SHOAL_DISK_TYPE, IMAGE_DISK_MAX},
};

/* The digest of what a layer holds: its own, or what the manifest says it unpacks to. */
static const char *content_digest(const struct oci_descriptor *layer)
{
    const char *said = json_map_get(&layer->annotations, CONTENT_DIGEST_ANNOTATION);
    size_t length = strlen(layer->media_type), suffix = strlen(ZSTD_SUFFIX);
    bool packed = length > suffix && strcmp(layer->media_type + length - suffix, ZSTD_SUFFIX) == 0;
    return packed ? (said != NULL ? said : "") : layer->digest;
}

static const struct oci_descriptor *find_layer(const struct oci_manifest *manifest,
                                               const char *digest)
{
    for (size_t i = 0; i < manifest->layer_count; i++) {
        if (strcmp(content_digest(&manifest->layers[i]), digest) == 0)
            return &manifest->layers[i];
    }
    for (size_t i = 0; i < manifest->layer_count; i++) {
        if (strcmp(manifest->layers[i].digest, digest) == 0)
            return &manifest->layers[i]; /* of another type than it should have */
    }
    return NULL;
}

static int check_size(const struct part_type *type, const char *digest, uint64_t size,
                      struct error *error)
{
    if (size > 0 && size <= type->size_max)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "its %s %s of %" PRIu64 " bytes is out of range: allowed are 1 to %" PRIu64,
                     image_part_kind_names[type->kind], digest, size, type->size_max);
}

/* Whether the layer has the part's type, and how it is packed. */
static int read_packing(const struct part_type *type, const struct oci_descriptor *layer,
                        struct image_part *part, struct error *error)
{
    AUTO_FREE char *packed = xasprintf("%s" ZSTD_SUFFIX, type->media_type);
    if (strcmp(layer->media_type, type->media_type) == 0) {
        part->packing = IMAGE_PACKING_NONE;
        part->size = layer->size;
        return 0;
    }
    if (strcmp(layer->media_type, packed) != 0)
        return error_set(error, ERROR_INVALID,
                         "its %s %s has the type \"%s\": expected is %s, also " ZSTD_SUFFIX,
                         image_part_kind_names[type->kind], part->digest, layer->media_type,
                         type->media_type);
    const char *size = json_map_get(&layer->annotations, CONTENT_SIZE_ANNOTATION);
    part->packing = IMAGE_PACKING_ZSTD;
    if (size == NULL || !text_parse_u64(size, IMAGE_DISK_MAX, &part->size))
        return error_set(error, ERROR_INVALID,
                         "the packed layer %s does not say by the annotation %s how many bytes it "
                         "holds",
                         layer->digest, CONTENT_SIZE_ANNOTATION);
    return 0;
}

static size_t add_layer(struct image_verified *verified, const struct oci_descriptor *layer)
{
    for (size_t i = 0; i < verified->layer_count; i++) {
        if (strcmp(verified->layers[i].digest, layer->digest) == 0)
            return i;
    }
    struct image_layer *added = &verified->layers[verified->layer_count];
    memcpy(added->digest, layer->digest, sizeof added->digest);
    memcpy(added->media_type, layer->media_type, sizeof added->media_type);
    added->size = layer->size;
    return verified->layer_count++;
}

static int add_part(const struct oci_manifest *manifest, enum image_part_kind kind,
                    const char *digest, struct image_verified *verified, struct error *error)
{
    const struct part_type *type = &part_types[kind];
    struct image_part part = {.kind = kind};
    const struct oci_descriptor *layer = find_layer(manifest, digest);
    if (layer == NULL)
        return error_set(error, ERROR_INVALID, "its %s %s is not among the layers",
                         image_part_kind_names[kind], digest);
    snprintf(part.digest, sizeof part.digest, "%s", digest);
    if (read_packing(type, layer, &part, error) < 0 ||
        check_size(type, digest, part.size, error) < 0 ||
        check_size(type, layer->digest, layer->size, error) < 0)
        return -1;
    part.layer = add_layer(verified, layer);
    verified->parts[verified->part_count++] = part;
    return 0;
}

static int read_shoals(const struct oci_manifest *manifest, const char *config, size_t length,
                       struct image_verified *verified, struct error *error)
{
    const struct image_boot *boot = &verified->config.boot;
    if (image_config_parse(config, length, &verified->config, error) < 0)
        return -1;
    strcpy(verified->made_for, "shoal");
    if (boot->kernel[0] != '\0' &&
        add_part(manifest, IMAGE_PART_KERNEL, boot->kernel, verified, error) < 0)
        return -1;
    if (boot->initrd[0] != '\0' &&
        add_part(manifest, IMAGE_PART_INITRD, boot->initrd, verified, error) < 0)
        return -1;
    for (size_t i = 0; i < boot->disks.count; i++) {
        if (add_part(manifest, IMAGE_PART_DISK, boot->disks.items[i], verified, error) < 0)
            return -1;
    }
    return 0;
}

/* --- images of any form --- */

int image_content_read(const struct oci_manifest *manifest, const char *config,
                       size_t config_length, const char *metadata, size_t metadata_length,
                       struct image_verified *verified, struct error *error)
{
    if (check_manifest(manifest, error) < 0)
        return -1;
    int result = is_shoals(manifest) ? read_shoals(manifest, config, config_length, verified, error)
                                     : foreign_read(manifest, config, config_length, metadata,
                                                    metadata_length, verified, error);
    if (result < 0) {
        image_config_release(&verified->config);
        /* What is quoted of the image stays one line. */
        if (error != NULL)
            text_make_line(error->message);
    }
    return result;
}

int image_content_architecture(const struct oci_manifest *manifest, const char *config,
                               size_t config_length, char ret_architecture[16], struct error *error)
{
    struct image_config parsed;
    if (check_manifest(manifest, error) < 0)
        return -1;
    if (!is_shoals(manifest))
        return foreign_architecture(config, config_length, ret_architecture, error);
    if (image_config_parse(config, config_length, &parsed, error) < 0)
        return -1;
    memcpy(ret_architecture, parsed.architecture, sizeof parsed.architecture);
    image_config_release(&parsed);
    return 0;
}

bool image_content_needs_metadata(const struct oci_manifest *manifest, const char *config,
                                  size_t config_length)
{
    return manifest->has_config && !is_shoals(manifest) &&
           foreign_needs_metadata(manifest, config, config_length);
}

const struct image_part *image_verified_part(const struct image_verified *verified,
                                             enum image_part_kind kind)
{
    for (size_t i = 0; i < verified->part_count; i++) {
        if (verified->parts[i].kind == kind)
            return &verified->parts[i];
    }
    return NULL;
}

/* The config names the parts by the digests they have. */
static void rename_parts(struct image_verified *verified)
{
    struct image_boot *boot = &verified->config.boot;
    boot->kernel[0] = boot->initrd[0] = '\0';
    json_strings_release(&boot->disks);
    for (size_t i = 0; i < verified->part_count; i++) {
        const struct image_part *part = &verified->parts[i];
        if (part->kind == IMAGE_PART_DISK)
            json_strings_add(&boot->disks, part->digest);
        else
            memcpy(part->kind == IMAGE_PART_KERNEL ? boot->kernel : boot->initrd, part->digest,
                   sizeof part->digest);
    }
}

void image_verified_learn(struct image_verified *verified, size_t part, const char *digest,
                          uint64_t size)
{
    struct image_part *learnt = &verified->parts[part];
    if (size == 0) {
        verified->part_count--;
        memmove(learnt, learnt + 1, (verified->part_count - part) * sizeof *learnt);
    } else {
        snprintf(learnt->digest, sizeof learnt->digest, "%s", digest);
        learnt->size = size;
    }
    rename_parts(verified);
}
