#include "image-format/pack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "image-format/kernel.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* Takes the bytes. A digest that is there already is kept once. */
static const struct packed_blob *add_blob(struct packed_image *image, const char *media_type,
                                          char *bytes, size_t length)
{
    struct packed_blob blob = {.size = length, .bytes = bytes};
    digest_of_bytes(bytes, length, blob.digest);
    snprintf(blob.media_type, sizeof blob.media_type, "%s", media_type);
    for (size_t i = 0; i < image->blob_count; i++) {
        if (strcmp(image->blobs[i].digest, blob.digest) == 0) {
            free(bytes);
            return &image->blobs[i];
        }
    }
    image->blobs = xreallocarray(image->blobs, image->blob_count + 1, sizeof *image->blobs);
    image->blobs[image->blob_count] = blob;
    return &image->blobs[image->blob_count++];
}

static struct oci_descriptor blob_descriptor(const struct packed_blob *blob)
{
    struct oci_descriptor descriptor = {.size = blob->size};
    snprintf(descriptor.media_type, sizeof descriptor.media_type, "%s", blob->media_type);
    snprintf(descriptor.digest, sizeof descriptor.digest, "%s", blob->digest);
    return descriptor;
}

static void fill_manifest(struct packed_manifest *manifest, const char *media_type,
                          const char *architecture, char *text)
{
    manifest->bytes = text;
    manifest->length = strlen(text);
    digest_of_bytes(text, manifest->length, manifest->digest);
    snprintf(manifest->media_type, sizeof manifest->media_type, "%s", media_type);
    snprintf(manifest->architecture, sizeof manifest->architecture, "%s", architecture);
}

static int read_whole(int descriptor, const char *name, char **ret_bytes, size_t *ret_length,
                      struct error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "%s", name);
    if (status.st_size > (off_t)PACK_KERNEL_MAX)
        return error_set(error, ERROR_TOO_LARGE, "%s: %lld bytes, at most %u", name,
                         (long long)status.st_size, PACK_KERNEL_MAX);
    size_t size = (size_t)status.st_size, length = 0;
    AUTO_FREE char *bytes = xmalloc(size + 1);
    while (length < size) {
        ssize_t got = read(descriptor, bytes + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read %s", name);
        if (got == 0)
            return error_set(error, ERROR_CONFLICT, "%s changed while it was read", name);
        length += (size_t)got;
    }
    bytes[length] = '\0';
    *ret_bytes = TAKE_POINTER(bytes);
    *ret_length = length;
    return 0;
}

static int read_kernel(const struct recipe *recipe, const char *path, char **ret_bytes,
                       size_t *ret_length, struct error *error)
{
    AUTO_CLOSE int descriptor = -1;
    AUTO_FREE char *bytes = NULL;
    if (recipe_open(recipe, path, &descriptor, error) < 0)
        return error_wrap(error, "%s: kernel", recipe->path);
    AUTO_FREE char *name = xasprintf("%s/%s", recipe->folder, path);
    if (read_whole(descriptor, name, &bytes, ret_length, error) < 0 ||
        kernel_check_pvh(name, bytes, *ret_length, error) < 0)
        return -1;
    *ret_bytes = TAKE_POINTER(bytes);
    return 0;
}

static int pack_architecture(const struct recipe *recipe, const char *architecture,
                             const struct recipe_kernel *parts, struct packed_image *image,
                             struct error *error)
{
    char *kernel_bytes = NULL;
    size_t kernel_length = 0;
    if (read_kernel(recipe, parts->kernel, &kernel_bytes, &kernel_length, error) < 0)
        return -1;
    struct oci_descriptor layer =
        blob_descriptor(add_blob(image, SHOAL_KERNEL_TYPE, kernel_bytes, kernel_length));

    struct image_config config;
    recipe_config(recipe, architecture, layer.digest, &config);
    char *config_text = json_record_text(&image_config_record, &config);
    image_config_release(&config);
    const struct packed_blob *config_blob =
        add_blob(image, SHOAL_CONFIG_TYPE, config_text, strlen(config_text));

    struct oci_manifest manifest = {
        .schema_version = 2,
        .media_type = OCI_MANIFEST_TYPE,
        .artifact_type = SHOAL_ARTIFACT_TYPE,
        .has_config = true,
        .config = blob_descriptor(config_blob),
        .layers = &layer,
        .layer_count = 1,
    };
    image->manifests =
        xreallocarray(image->manifests, image->manifest_count + 1, sizeof *image->manifests);
    fill_manifest(&image->manifests[image->manifest_count++], OCI_MANIFEST_TYPE, architecture,
                  json_record_text(&oci_manifest_record, &manifest));
    return 0;
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

int pack_image(const struct recipe *recipe, struct packed_image *ret_image, struct error *error)
{
    struct packed_image image = {0};
    if (recipe->architectures.has_amd64 &&
        pack_architecture(recipe, RECIPE_ARCH_AMD64, &recipe->architectures.amd64, &image, error) <
            0) {
        packed_image_release(&image);
        return -1;
    }
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
