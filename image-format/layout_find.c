/* An image is read back from the store, with what is about it. */
#include <string.h>

#include "image-format/chain_content.h"
#include "image-format/layout.h"
#include "image-format/layout_store.h"
#include "image-format/platforms.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define REFERRERS_MAX 256

/* An image on its way out of the store. */
struct finding {
    const char *folder;
    struct packed_image *image;
    struct error *error;
};

static int take_blob(const struct finding *finding, const struct oci_descriptor *descriptor)
{
    struct packed_blob blob = {.size = descriptor->size};
    memcpy(blob.digest, descriptor->digest, sizeof blob.digest);
    memcpy(blob.media_type, descriptor->media_type, sizeof blob.media_type);
    blob.path = layout_blob_path(finding->folder, descriptor->digest);
    if (layout_check_size(&blob, finding->error) < 0) {
        free(blob.path);
        return -1;
    }
    packed_image_add_blob(finding->image, &blob);
    return 0;
}

static int take_blobs(const struct finding *finding, const struct oci_manifest *manifest)
{
    for (size_t i = 0; i < manifest->layer_count; i++) {
        if (take_blob(finding, &manifest->layers[i]) < 0)
            return -1;
    }
    return manifest->has_config ? take_blob(finding, &manifest->config) : 0;
}

/* The architecture stands in the config, also where no index says it. Images of other tools may
 * have none that is known here: "". */
static int read_architecture(const struct finding *finding, const struct oci_manifest *manifest,
                             char ret_architecture[16])
{
    AUTO_FREE char *text = NULL;
    size_t length = 0;
    bool is_ours =
        manifest->has_config && strcmp(manifest->config.media_type, SHOAL_CONFIG_TYPE) == 0;
    if (!manifest->has_config)
        return 0;
    if (layout_read_blob(finding->folder, manifest->config.digest, OCI_CONFIG_LIMIT, &text, &length,
                         is_ours ? finding->error : NULL) < 0)
        return is_ours ? -1 : 0;
    int result = image_content_architecture(manifest, text, length, ret_architecture,
                                            is_ours ? finding->error : NULL);
    return is_ours ? result : 0;
}

static int read_manifest(const struct finding *finding, const struct oci_descriptor *descriptor,
                         struct packed_manifest *taken, struct oci_manifest *ret_manifest)
{
    *taken = (struct packed_manifest){0};
    memcpy(taken->digest, descriptor->digest, sizeof taken->digest);
    memcpy(taken->media_type, descriptor->media_type, sizeof taken->media_type);
    if (layout_read_blob(finding->folder, descriptor->digest, OCI_MANIFEST_LIMIT, &taken->bytes,
                         &taken->length, finding->error) < 0 ||
        json_parse_record(&oci_manifest_record, taken->bytes, taken->length, JSON_LENIENT,
                          ret_manifest, finding->error) < 0)
        return error_wrap(finding->error, "manifest %s", descriptor->digest);
    return 0;
}

static int take_manifest(const struct finding *finding, const struct oci_descriptor *descriptor)
{
    struct packed_image *image = finding->image;
    struct oci_manifest manifest = {0};
    if (!platforms_is_manifest_type(descriptor->media_type))
        return error_set(finding->error, ERROR_UNSUPPORTED,
                         "%s of type \"%s\" is no image manifest: indexes in indexes are not kept",
                         descriptor->digest, descriptor->media_type);
    image->manifests =
        xreallocarray(image->manifests, image->manifest_count + 1, sizeof *image->manifests);
    struct packed_manifest *taken = &image->manifests[image->manifest_count++];
    if (read_manifest(finding, descriptor, taken, &manifest) < 0)
        return -1;
    int result = take_blobs(finding, &manifest);
    if (result == 0)
        result = read_architecture(finding, &manifest, taken->architecture);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

static int take_index(const struct finding *finding, const struct oci_descriptor *descriptor)
{
    struct packed_image *image = finding->image;
    struct oci_index index = {0};
    image->has_index = true;
    memcpy(image->index.digest, descriptor->digest, sizeof image->index.digest);
    memcpy(image->index.media_type, descriptor->media_type, sizeof image->index.media_type);
    if (layout_read_blob(finding->folder, descriptor->digest, OCI_MANIFEST_LIMIT,
                         &image->index.bytes, &image->index.length, finding->error) < 0 ||
        json_parse_record(&oci_index_record, image->index.bytes, image->index.length, JSON_LENIENT,
                          &index, finding->error) < 0)
        return error_wrap(finding->error, "index %s", descriptor->digest);
    int result = 0;
    for (size_t i = 0; i < index.manifest_count && result == 0; i++)
        result = take_manifest(finding, &index.manifests[i]);
    if (index.manifest_count == 0)
        result = error_set(finding->error, ERROR_INVALID, "index %s names no manifest",
                           descriptor->digest);
    json_record_release(&oci_index_record, &index);
    return result;
}

static bool has_manifest(const struct packed_manifest *manifests, size_t count, const char *digest)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(manifests[i].digest, digest) == 0)
            return true;
    }
    return false;
}

static bool is_of_image(const struct packed_image *image, const char *digest)
{
    return has_manifest(image->manifests, image->manifest_count, digest) ||
           has_manifest(image->referrers, image->referrer_count, digest) ||
           has_manifest(&image->index, image->has_index ? 1 : 0, digest);
}

/* Takes the entry when it is about the image; whether it did. What cannot be read is nobody's. */
static bool take_referrer(const struct finding *finding, const struct oci_descriptor *entry)
{
    struct packed_image *image = finding->image;
    struct finding quiet = {finding->folder, image, NULL};
    struct packed_manifest taken;
    struct oci_manifest manifest = {0};
    bool is_one = !is_of_image(image, entry->digest) && layout_entry_name(entry) == NULL &&
                  platforms_is_manifest_type(entry->media_type);
    if (!is_one)
        return false;
    is_one = read_manifest(&quiet, entry, &taken, &manifest) == 0 && manifest.has_subject &&
             is_of_image(image, manifest.subject.digest) && take_blobs(&quiet, &manifest) == 0;
    if (is_one)
        packed_image_add_referrer(image, taken.media_type, TAKE_POINTER(taken.bytes), taken.length);
    free(taken.bytes);
    json_record_release(&oci_manifest_record, &manifest);
    return is_one;
}

/* Again until nothing is found any more: an SBOM may be signed itself. */
static void take_referrers(const struct finding *finding, const struct oci_index *index)
{
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < index->manifest_count; i++) {
            if (finding->image->referrer_count < REFERRERS_MAX &&
                take_referrer(finding, &index->manifests[i]))
                grew = true;
        }
    }
}

char *layout_find_blob(const char *folder, const char *digest, uint64_t size)
{
    AUTO_FREE char *path = layout_blob_path(folder, digest);
    struct packed_blob blob = {.size = size, .path = path};
    bool is_there = layout_check_size(&blob, NULL) == 0 && layout_has_blob(folder, digest);
    return is_there ? TAKE_POINTER(path) : NULL;
}

int layout_find(const char *folder, const char *name, struct packed_image *ret_image,
                struct error *error)
{
    struct oci_index index;
    struct packed_image image = {0};
    struct finding finding = {folder, &image, error};
    if (layout_read_index(folder, &index, error) < 0)
        return -1;
    ssize_t at = layout_find_entry(&index, name);
    int result;
    if (at < 0)
        result = error_set(error, ERROR_NOT_FOUND,
                           "image %s is not in %s: make it with `shoal build DIR -t NAME`", name,
                           folder);
    else if (platforms_is_index_type(index.manifests[at].media_type))
        result = take_index(&finding, &index.manifests[at]);
    else
        result = take_manifest(&finding, &index.manifests[at]);
    if (result == 0)
        take_referrers(&finding, &index);
    json_record_release(&oci_index_record, &index);
    if (result < 0) {
        packed_image_release(&image);
        return at < 0 ? -1 : error_wrap(error, "image %s", name);
    }
    *ret_image = image;
    return 0;
}
