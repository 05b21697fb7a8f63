#include "image-format/pack.h"

#include <stdio.h>
#include <string.h>

#include "image-format/kernel.h"
#include "image-format/pack_file.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* One architecture on its way into the image. */
struct packing {
    const struct recipe *recipe;
    const struct pack_options *options;
    size_t architecture;
    struct packed_image *image;
    struct recipe_parts parts;
    struct oci_descriptor layers[RECIPE_DISKS_MAX + 3];
    size_t layer_count;
    struct error *error;
};

/* Takes the blob's members. A digest that is there already is kept once. */
static void add_blob(struct packed_image *image, struct packed_blob *blob)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        if (strcmp(image->blobs[i].digest, blob->digest) == 0) {
            free(blob->bytes);
            free(blob->path);
            return;
        }
    }
    image->blobs = xreallocarray(image->blobs, image->blob_count + 1, sizeof *image->blobs);
    image->blobs[image->blob_count++] = *blob;
}

static struct oci_descriptor describe(const struct packed_blob *blob)
{
    struct oci_descriptor descriptor = {.size = blob->size};
    snprintf(descriptor.media_type, sizeof descriptor.media_type, "%s", blob->media_type);
    snprintf(descriptor.digest, sizeof descriptor.digest, "%s", blob->digest);
    return descriptor;
}

/* Two disks with the same bytes are one layer. */
static void add_layer(struct packing *packing, const struct oci_descriptor *descriptor)
{
    for (size_t i = 0; i < packing->layer_count; i++) {
        if (strcmp(packing->layers[i].digest, descriptor->digest) == 0 &&
            strcmp(packing->layers[i].media_type, descriptor->media_type) == 0)
            return;
    }
    packing->layers[packing->layer_count++] = *descriptor;
}

static void fill_manifest(struct packed_manifest *manifest, const char *media_type,
                          const char *architecture, char *text)
{
    *manifest = (struct packed_manifest){.bytes = text, .length = strlen(text)};
    digest_of_bytes(text, manifest->length, manifest->digest);
    snprintf(manifest->media_type, sizeof manifest->media_type, "%s", media_type);
    snprintf(manifest->architecture, sizeof manifest->architecture, "%s", architecture);
}

/* A file that is not there is named with what would have made it. */
static int refuse_file(const struct packing *packing, const char *pointer)
{
    const struct recipe_architecture *given =
        &packing->recipe->architectures.items[packing->architecture];
    struct error *error = packing->error;
    if (error != NULL && error->code == ERROR_NOT_FOUND) {
        struct error reason = *error;
        error_set(error, ERROR_NOT_FOUND, "%.1500s: %s", reason.message,
                  given->build != NULL ? "the build command does not make it"
                                       : "make it first, or say with `build:` how it is made");
    }
    return recipe_locate(packing->recipe, pointer, error);
}

static int check_kernel(const struct packing *packing, const char *path,
                        const struct packed_blob *blob)
{
    AUTO_FREE char *name = xasprintf("%s/%s", packing->recipe->folder, path);
    return kernel_check_pvh(name, blob->bytes, blob->size, packing->error);
}

/* Packs the file `path`, which stands under `key` of the architecture. */
static int pack_part(struct packing *packing, enum pack_role role, const char *key,
                     const char *path, char ret_digest[DIGEST_TEXT_MAX])
{
    char pointer[ERROR_POINTER_MAX];
    struct packed_blob blob = {0};
    snprintf(pointer, sizeof pointer, "/architectures/%s/%s",
             recipe_architecture_names[packing->architecture], key);
    if (pack_file(packing->recipe, packing->options, role, path, &blob, packing->error) < 0)
        return refuse_file(packing, pointer);
    if (role == PACK_KERNEL && check_kernel(packing, path, &blob) < 0) {
        free(blob.bytes);
        return refuse_file(packing, pointer);
    }
    struct oci_descriptor layer = describe(&blob);
    add_layer(packing, &layer);
    strcpy(ret_digest, blob.digest);
    add_blob(packing->image, &blob);
    return 0;
}

static int pack_parts(struct packing *packing)
{
    const struct recipe_architecture *given =
        &packing->recipe->architectures.items[packing->architecture];
    struct recipe_parts *parts = &packing->parts;
    char digest[DIGEST_TEXT_MAX], key[32];
    if (given->kernel[0] != '\0' &&
        pack_part(packing, PACK_KERNEL, "kernel", given->kernel, parts->kernel) < 0)
        return -1;
    if (given->initrd[0] != '\0' &&
        pack_part(packing, PACK_INITRD, "initrd", given->initrd, parts->initrd) < 0)
        return -1;
    for (size_t i = 0; i < given->disks.count; i++) {
        snprintf(key, sizeof key, "disks/%zu", i);
        if (pack_part(packing, PACK_DISK, key, given->disks.items[i], digest) < 0)
            return -1;
        json_strings_add(&parts->disks, digest);
    }
    if (given->debug[0] != '\0')
        return pack_part(packing, PACK_DEBUG, "debug", given->debug, digest);
    return 0;
}

static int pack_config(struct packing *packing, struct oci_descriptor *ret_descriptor)
{
    struct image_config config;
    if (recipe_config(packing->recipe, packing->architecture, &packing->parts, &config,
                      packing->error) < 0)
        return -1;
    struct packed_blob blob = {.bytes = json_record_text(&image_config_record, &config),
                               .media_type = SHOAL_CONFIG_TYPE};
    image_config_release(&config);
    blob.size = strlen(blob.bytes);
    digest_of_bytes(blob.bytes, blob.size, blob.digest);
    *ret_descriptor = describe(&blob);
    add_blob(packing->image, &blob);
    return 0;
}

static int pack_manifest(struct packing *packing)
{
    struct packed_image *image = packing->image;
    struct oci_descriptor config;
    if (pack_parts(packing) < 0 || pack_config(packing, &config) < 0)
        return -1;
    struct oci_manifest manifest = {
        .schema_version = 2,
        .media_type = OCI_MANIFEST_TYPE,
        .artifact_type = SHOAL_ARTIFACT_TYPE,
        .has_config = true,
        .config = config,
        .layers = packing->layers,
        .layer_count = packing->layer_count,
    };
    image->manifests =
        xreallocarray(image->manifests, image->manifest_count + 1, sizeof *image->manifests);
    fill_manifest(&image->manifests[image->manifest_count++], OCI_MANIFEST_TYPE,
                  recipe_architecture_names[packing->architecture],
                  json_record_text(&oci_manifest_record, &manifest));
    return 0;
}

static int pack_architecture(const struct recipe *recipe, const struct pack_options *options,
                             size_t architecture, struct packed_image *image, struct error *error)
{
    struct packing packing = {.recipe = recipe,
                              .options = options,
                              .architecture = architecture,
                              .image = image,
                              .parts = {.family = recipe->family},
                              .error = error};
    int result = pack_manifest(&packing);
    json_strings_release(&packing.parts.disks);
    return result;
}

void packed_image_add_index(struct packed_image *image)
{
    struct oci_descriptor *children = xcalloc(image->manifest_count, sizeof *children);
    for (size_t i = 0; i < image->manifest_count; i++) {
        const struct packed_manifest *manifest = &image->manifests[i];
        struct oci_descriptor *child = &children[i];
        child->size = manifest->length;
        child->has_platform = true;
        strcpy(child->media_type, manifest->media_type);
        strcpy(child->digest, manifest->digest);
        strcpy(child->artifact_type, SHOAL_ARTIFACT_TYPE);
        strcpy(child->platform.os, IMAGE_OS);
        strcpy(child->platform.architecture, manifest->architecture);
    }
    struct oci_index index = {
        .schema_version = 2,
        .media_type = OCI_INDEX_TYPE,
        .manifests = children,
        .manifest_count = image->manifest_count,
    };
    fill_manifest(&image->index, OCI_INDEX_TYPE, "", json_record_text(&oci_index_record, &index));
    image->has_index = true;
    free(children);
}

int pack_image(const struct recipe *recipe, const struct pack_options *options,
               struct packed_image *ret_image, struct error *error)
{
    const char *only = options != NULL ? options->architecture : NULL;
    struct packed_image image = {0};
    for (size_t i = 0; i < RECIPE_ARCHITECTURES; i++) {
        if (!recipe->architectures.present[i] ||
            (only != NULL && strcmp(only, recipe_architecture_names[i]) != 0))
            continue;
        if (pack_architecture(recipe, options, i, &image, error) < 0) {
            packed_image_release(&image);
            return -1;
        }
    }
    if (image.manifest_count == 0)
        return error_set(error, ERROR_NOT_FOUND, "%s has no architecture %s", recipe->path, only);
    if (image.manifest_count > 1)
        packed_image_add_index(&image);
    *ret_image = image;
    return 0;
}

const struct packed_manifest *packed_image_top(const struct packed_image *image)
{
    return image->has_index ? &image->index : &image->manifests[0];
}

void packed_image_release(struct packed_image *image)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        free(image->blobs[i].bytes);
        free(image->blobs[i].path);
    }
    for (size_t i = 0; i < image->manifest_count; i++)
        free(image->manifests[i].bytes);
    free(image->index.bytes);
    free(image->blobs);
    free(image->manifests);
    *image = (struct packed_image){0};
}
