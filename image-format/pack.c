#include "image-format/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image-format/chain_content.h"
#include "image-format/detect.h"
#include "image-format/pack_file.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define FAMILY_NAME_MAX 32

/* One architecture on its way into the image. */
struct packing {
    const struct recipe *recipe;
    const struct pack_options *options;
    size_t architecture;
    struct packed_image *image;
    char *family; /* of the architectures so far, "": none yet; FAMILY_NAME_MAX bytes */
    struct recipe_parts parts;
    char boots[32];             /* the recipe's key of the file that boots: "kernel", "disks/0" */
    char *boot_name;            /* its path */
    struct detection detection; /* of it */
    struct oci_descriptor layers[RECIPE_DISKS_MAX + 3];
    size_t layer_count;
    struct error *error;
};

void packed_image_add_blob(struct packed_image *image, struct packed_blob *blob)
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
static void add_layer(struct packing *packing, const struct packed_file *file)
{
    struct oci_descriptor *layer = &packing->layers[packing->layer_count];
    for (size_t i = 0; i < packing->layer_count; i++) {
        if (strcmp(packing->layers[i].digest, file->blob.digest) == 0 &&
            strcmp(packing->layers[i].media_type, file->blob.media_type) == 0)
            return;
    }
    *layer = describe(&file->blob);
    packing->layer_count++;
    if (strcmp(file->digest, file->blob.digest) == 0)
        return;
    char size[24];
    snprintf(size, sizeof size, "%" PRIu64, file->size);
    json_map_set(&layer->annotations, CONTENT_DIGEST_ANNOTATION, file->digest);
    json_map_set(&layer->annotations, CONTENT_SIZE_ANNOTATION, size);
}

/* Takes the text. */
static void fill_manifest(struct packed_manifest *manifest, const char *media_type,
                          const char *architecture, char *text, size_t length)
{
    *manifest = (struct packed_manifest){.bytes = text, .length = length};
    digest_of_bytes(text, length, manifest->digest);
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

/* Takes what is known about the file that boots, once. */
static void note_boot(struct packing *packing, const char *key, const char *path,
                      struct packed_file *file)
{
    if (packing->boot_name != NULL)
        return;
    packing->boot_name = xasprintf("%s/%s", packing->recipe->folder, path);
    snprintf(packing->boots, sizeof packing->boots, "%s", key);
    packing->detection = file->detection;
    file->detection = (struct detection){0};
}

/* The same file for both architectures is one source. */
static void add_source(struct packed_image *image, const char *path, const char *digest)
{
    for (size_t i = 0; i < image->source_count; i++) {
        if (strcmp(image->sources[i].path, path) == 0 &&
            strcmp(image->sources[i].digest, digest) == 0)
            return;
    }
    image->sources = xreallocarray(image->sources, image->source_count + 1, sizeof *image->sources);
    struct packed_source *source = &image->sources[image->source_count++];
    source->path = xstrdup(path);
    strcpy(source->digest, digest);
}

static void make_pointer(const struct packing *packing, const char *key,
                         char ret_pointer[ERROR_POINTER_MAX])
{
    snprintf(ret_pointer, ERROR_POINTER_MAX, "/architectures/%s/%s",
             recipe_architecture_names[packing->architecture], key);
}

/* A node finds a part by its digest, so one digest has one kind; symbols it does not look for. */
static int check_kind(const struct packing *packing, enum pack_role role,
                      const struct packed_file *file)
{
    for (size_t i = 0; i < packing->layer_count; i++) {
        const struct oci_descriptor *layer = &packing->layers[i];
        if (role != PACK_DEBUG && strcmp(layer->digest, file->blob.digest) == 0 &&
            strcmp(layer->media_type, file->blob.media_type) != 0)
            return error_set(packing->error, ERROR_INVALID,
                             "this %s has the very bytes of a part of another kind",
                             pack_roles[role].name);
    }
    return 0;
}

/* Packs the file `path`, which stands under `key` of the architecture. */
static int pack_part(struct packing *packing, enum pack_role role, const char *key,
                     const char *path, char ret_digest[DIGEST_TEXT_MAX])
{
    char pointer[ERROR_POINTER_MAX];
    struct packed_file file;
    make_pointer(packing, key, pointer);
    if (pack_file(packing->recipe, packing->options, role, path, &file, packing->error) < 0)
        return refuse_file(packing, pointer);
    if (check_kind(packing, role, &file) < 0) {
        packed_file_release(&file);
        return recipe_locate(packing->recipe, pointer, packing->error);
    }
    if (role == PACK_KERNEL || role == PACK_DISK)
        note_boot(packing, key, path, &file);
    add_layer(packing, &file);
    add_source(packing->image, path, file.digest);
    strcpy(ret_digest, file.digest);
    packed_image_add_blob(packing->image, &file.blob);
    file.blob = (struct packed_blob){0};
    packed_file_release(&file);
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

/* "auto": only what put its own mark into the file is taken for a family's. */
static int choose_family(struct packing *packing)
{
    const struct detection *detection = &packing->detection;
    char pointer[ERROR_POINTER_MAX];
    if (strcmp(packing->recipe->family, RECIPE_FAMILY_AUTO) != 0)
        return 0;
    make_pointer(packing, packing->boots, pointer);
    if (detection->verdict == DETECTION_CERTAIN) {
        packing->parts.family = detection->family;
        return 0;
    }
    if (detection->verdict == DETECTION_GENERIC)
        error_set(packing->error, ERROR_INVALID,
                  "%s: it boots by %s, but whose it is does not show: say which `family` it is, or "
                  "`family: generic` for a guest that asks DHCP for its address",
                  packing->boot_name, detection->protocols.items[0]);
    else
        error_set(packing->error, ERROR_INVALID, "%s: %s%s", packing->boot_name,
                  detection->verdict == DETECTION_UNDECIDED ? "its family does not show: " : "",
                  detection->reason != NULL ? detection->reason : "");
    return recipe_locate(packing->recipe, pointer, packing->error);
}

/* An index whose children are of different families would be two images under one name. */
static int check_family(const struct packing *packing)
{
    const char *family = packing->parts.family;
    char pointer[ERROR_POINTER_MAX];
    if (packing->family[0] == '\0')
        snprintf(packing->family, FAMILY_NAME_MAX, "%s", family);
    if (strcmp(packing->family, family) == 0)
        return 0;
    make_pointer(packing, packing->boots, pointer);
    error_set(packing->error, ERROR_INVALID,
              "%s is of family %s, the other architecture's of family %s: an image has one",
              packing->boot_name, family, packing->family);
    return recipe_locate(packing->recipe, pointer, packing->error);
}

static int check_boot(const struct packing *packing, const struct image_config *config)
{
    char pointer[ERROR_POINTER_MAX];
    if (detection_check(&packing->detection, packing->boot_name, config->family,
                        config->boot.protocol, config->architecture, packing->error) == 0)
        return 0;
    make_pointer(packing, packing->boots, pointer);
    return recipe_locate(packing->recipe, pointer, packing->error);
}

static int pack_config(struct packing *packing, struct oci_descriptor *ret_descriptor)
{
    struct image_config config;
    packing->parts.protocols = &packing->detection.protocols;
    if (choose_family(packing) < 0 || check_family(packing) < 0 ||
        recipe_config(packing->recipe, packing->architecture, &packing->parts, &config,
                      packing->error) < 0)
        return -1;
    if (check_boot(packing, &config) < 0) {
        image_config_release(&config);
        return -1;
    }
    struct packed_blob blob = {.bytes = json_record_text(&image_config_record, &config),
                               .media_type = SHOAL_CONFIG_TYPE};
    image_config_release(&config);
    blob.size = strlen(blob.bytes);
    digest_of_bytes(blob.bytes, blob.size, blob.digest);
    *ret_descriptor = describe(&blob);
    packed_image_add_blob(packing->image, &blob);
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
    char *text = json_record_text(&oci_manifest_record, &manifest);
    fill_manifest(&image->manifests[image->manifest_count++], OCI_MANIFEST_TYPE,
                  recipe_architecture_names[packing->architecture], text, strlen(text));
    return 0;
}

static int pack_architecture(const struct recipe *recipe, const struct pack_options *options,
                             size_t architecture, char *family, struct packed_image *image,
                             struct error *error)
{
    struct packing packing = {.recipe = recipe,
                              .options = options,
                              .architecture = architecture,
                              .image = image,
                              .family = family,
                              .parts = {.family = recipe->family},
                              .error = error};
    int result = pack_manifest(&packing);
    json_strings_release(&packing.parts.disks);
    detection_release(&packing.detection);
    free(packing.boot_name);
    for (size_t i = 0; i < packing.layer_count; i++)
        json_record_release(&oci_descriptor_record, &packing.layers[i]);
    return result;
}

void packed_image_add_referrer(struct packed_image *image, const char *media_type, char *text,
                               size_t length)
{
    image->referrers =
        xreallocarray(image->referrers, image->referrer_count + 1, sizeof *image->referrers);
    fill_manifest(&image->referrers[image->referrer_count++], media_type, "", text, length);
}

/* The manifests' artifactType is not repeated here: skopeo 1.9, Debian's, writes indexes anew
 * without it, and the copy would have another digest, without its signatures. */
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
        strcpy(child->platform.os, IMAGE_OS);
        strcpy(child->platform.architecture, manifest->architecture);
    }
    struct oci_index index = {
        .schema_version = 2,
        .media_type = OCI_INDEX_TYPE,
        .manifests = children,
        .manifest_count = image->manifest_count,
    };
    char *text = json_record_text(&oci_index_record, &index);
    fill_manifest(&image->index, OCI_INDEX_TYPE, "", text, strlen(text));
    image->has_index = true;
    free(children);
}

int pack_image(const struct recipe *recipe, const struct pack_options *options,
               struct packed_image *ret_image, struct error *error)
{
    const char *only = options != NULL ? options->architecture : NULL;
    struct packed_image image = {0};
    char family[FAMILY_NAME_MAX] = "";
    for (size_t i = 0; i < RECIPE_ARCHITECTURES; i++) {
        if (!recipe->architectures.present[i] ||
            (only != NULL && strcmp(only, recipe_architecture_names[i]) != 0))
            continue;
        if (pack_architecture(recipe, options, i, family, &image, error) < 0) {
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
    for (size_t i = 0; i < image->referrer_count; i++)
        free(image->referrers[i].bytes);
    for (size_t i = 0; i < image->source_count; i++)
        free(image->sources[i].path);
    free(image->sources);
    free(image->referrers);
    free(image->index.bytes);
    free(image->blobs);
    free(image->manifests);
    *image = (struct packed_image){0};
}
