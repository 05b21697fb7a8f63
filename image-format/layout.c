#include "image-format/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "image-format/layout_store.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static const char *entry_name(const struct oci_descriptor *entry)
{
    return json_map_get(&entry->annotations, LAYOUT_NAME_ANNOTATION);
}

static ssize_t find_entry(const struct oci_index *index, const char *name)
{
    for (size_t i = 0; i < index->manifest_count; i++) {
        const char *found = entry_name(&index->manifests[i]);
        if (found != NULL && strcmp(found, name) == 0)
            return (ssize_t)i;
    }
    return -1;
}

static void remove_entry(struct oci_index *index, size_t at)
{
    json_record_release(&oci_descriptor_record, &index->manifests[at]);
    index->manifest_count--;
    memmove(&index->manifests[at], &index->manifests[at + 1],
            (index->manifest_count - at) * sizeof *index->manifests);
}

static void add_entry(struct oci_index *index, const char *name,
                      const struct packed_manifest *manifest)
{
    ssize_t former = find_entry(index, name);
    if (former >= 0)
        remove_entry(index, (size_t)former);
    index->manifests =
        xreallocarray(index->manifests, index->manifest_count + 1, sizeof *index->manifests);
    struct oci_descriptor *entry = &index->manifests[index->manifest_count++];
    *entry = (struct oci_descriptor){.size = manifest->length};
    memcpy(entry->media_type, manifest->media_type, sizeof entry->media_type);
    memcpy(entry->digest, manifest->digest, sizeof entry->digest);
    json_map_set(&entry->annotations, LAYOUT_NAME_ANNOTATION, name);
}

/* Blobs first, so that whatever index.json names is there. */
static int add_blobs(const char *folder, const struct packed_image *image, struct error *error)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        const struct packed_blob *blob = &image->blobs[i];
        if ((blob->bytes != NULL
                 ? layout_write_blob(folder, blob->digest, blob->bytes, blob->size, error)
                 : layout_copy_blob(folder, blob, error)) < 0)
            return -1;
    }
    for (size_t i = 0; i < image->manifest_count; i++) {
        const struct packed_manifest *manifest = &image->manifests[i];
        if (layout_write_blob(folder, manifest->digest, manifest->bytes, manifest->length, error) <
            0)
            return -1;
    }
    if (!image->has_index)
        return 0;
    return layout_write_blob(folder, image->index.digest, image->index.bytes, image->index.length,
                             error);
}

int layout_add(const char *folder, const char *name, const struct packed_image *image,
               struct error *error)
{
    struct oci_index index;
    AUTO_CLOSE int lock = -1;
    if (layout_create(folder, error) < 0 || layout_lock(folder, &lock, error) < 0 ||
        layout_read_index(folder, &index, error) < 0)
        return -1;
    int result = add_blobs(folder, image, error);
    if (result == 0) {
        add_entry(&index, name, packed_image_top(image));
        result = layout_write_index(folder, &index, error);
    }
    if (result == 0)
        layout_collect_garbage(folder, &index);
    json_record_release(&oci_index_record, &index);
    return result;
}

int layout_remove(const char *folder, const char *name, struct error *error)
{
    struct oci_index index;
    AUTO_CLOSE int lock = -1;
    if (access(folder, F_OK) < 0)
        return error_set(error, ERROR_NOT_FOUND, "image %s is not in %s", name, folder);
    if (layout_lock(folder, &lock, error) < 0 || layout_read_index(folder, &index, error) < 0)
        return -1;
    ssize_t at = find_entry(&index, name);
    int result;
    if (at < 0) {
        result = error_set(error, ERROR_NOT_FOUND, "image %s is not in %s", name, folder);
    } else {
        remove_entry(&index, (size_t)at);
        result = layout_write_index(folder, &index, error);
    }
    if (result == 0)
        layout_collect_garbage(folder, &index);
    json_record_release(&oci_index_record, &index);
    return result;
}

static int compare_entries(const void *first, const void *second)
{
    return strcmp(((const struct layout_entry *)first)->name,
                  ((const struct layout_entry *)second)->name);
}

int layout_list(const char *folder, struct layout_entry **ret_entries, size_t *ret_count,
                struct error *error)
{
    struct oci_index index;
    if (layout_read_index(folder, &index, error) < 0)
        return -1;
    struct layout_entry *entries = xcalloc(index.manifest_count + 1, sizeof *entries);
    size_t count = 0;
    for (size_t i = 0; i < index.manifest_count; i++) {
        const struct oci_descriptor *descriptor = &index.manifests[i];
        const char *name = entry_name(descriptor);
        struct layout_entry *entry = &entries[count];
        if (name == NULL || strlen(name) >= sizeof entry->name)
            continue;
        strcpy(entry->name, name);
        memcpy(entry->digest, descriptor->digest, sizeof entry->digest);
        memcpy(entry->media_type, descriptor->media_type, sizeof entry->media_type);
        entry->size = layout_total_size(folder, descriptor);
        count++;
    }
    json_record_release(&oci_index_record, &index);
    qsort(entries, count, sizeof *entries, compare_entries);
    *ret_entries = entries;
    *ret_count = count;
    return 0;
}

static int take_blob(const char *folder, const struct oci_descriptor *descriptor,
                     struct packed_image *image, struct error *error)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        if (strcmp(image->blobs[i].digest, descriptor->digest) == 0)
            return 0;
    }
    struct packed_blob blob = {.size = descriptor->size};
    memcpy(blob.digest, descriptor->digest, sizeof blob.digest);
    memcpy(blob.media_type, descriptor->media_type, sizeof blob.media_type);
    blob.path = layout_blob_path(folder, descriptor->digest);
    image->blobs = xreallocarray(image->blobs, image->blob_count + 1, sizeof *image->blobs);
    image->blobs[image->blob_count++] = blob;
    return layout_check_size(&blob, error);
}

/* The architecture stands in the config, also where no index says it. */
static int read_architecture(const char *folder, const struct oci_manifest *manifest,
                             char ret_architecture[16], struct error *error)
{
    AUTO_FREE char *text = NULL;
    size_t length = 0;
    struct image_config config;
    if (!manifest->has_config || strcmp(manifest->config.media_type, SHOAL_CONFIG_TYPE) != 0)
        return error_set(error, ERROR_INVALID,
                         "not a unikernel image: its config has the type \"%s\"",
                         manifest->config.media_type);
    if (layout_read_blob(folder, manifest->config.digest, OCI_CONFIG_LIMIT, &text, &length, error) <
            0 ||
        image_config_parse(text, length, &config, error) < 0)
        return -1;
    memcpy(ret_architecture, config.architecture, sizeof config.architecture);
    image_config_release(&config);
    return 0;
}

static int take_parts(const char *folder, const struct oci_manifest *manifest,
                      struct packed_manifest *taken, struct packed_image *image,
                      struct error *error)
{
    if (read_architecture(folder, manifest, taken->architecture, error) < 0)
        return -1;
    for (size_t i = 0; i < manifest->layer_count; i++) {
        if (take_blob(folder, &manifest->layers[i], image, error) < 0)
            return -1;
    }
    return take_blob(folder, &manifest->config, image, error);
}

static int take_manifest(const char *folder, const struct oci_descriptor *descriptor,
                         struct packed_image *image, struct error *error)
{
    image->manifests =
        xreallocarray(image->manifests, image->manifest_count + 1, sizeof *image->manifests);
    struct packed_manifest *taken = &image->manifests[image->manifest_count++];
    *taken = (struct packed_manifest){0};
    memcpy(taken->digest, descriptor->digest, sizeof taken->digest);
    memcpy(taken->media_type, OCI_MANIFEST_TYPE, sizeof OCI_MANIFEST_TYPE);
    struct oci_manifest manifest = {0};
    if (layout_read_blob(folder, descriptor->digest, OCI_MANIFEST_LIMIT, &taken->bytes,
                         &taken->length, error) < 0 ||
        json_parse_record(&oci_manifest_record, taken->bytes, taken->length, JSON_LENIENT,
                          &manifest, error) < 0)
        return error_wrap(error, "manifest %s", descriptor->digest);
    int result = take_parts(folder, &manifest, taken, image, error);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

static int take_index(const char *folder, const struct oci_descriptor *descriptor,
                      struct packed_image *image, struct error *error)
{
    struct oci_index index = {0};
    image->has_index = true;
    memcpy(image->index.digest, descriptor->digest, sizeof image->index.digest);
    memcpy(image->index.media_type, OCI_INDEX_TYPE, sizeof OCI_INDEX_TYPE);
    if (layout_read_blob(folder, descriptor->digest, OCI_MANIFEST_LIMIT, &image->index.bytes,
                         &image->index.length, error) < 0 ||
        json_parse_record(&oci_index_record, image->index.bytes, image->index.length, JSON_LENIENT,
                          &index, error) < 0)
        return error_wrap(error, "index %s", descriptor->digest);
    int result = 0;
    for (size_t i = 0; i < index.manifest_count && result == 0; i++)
        result = take_manifest(folder, &index.manifests[i], image, error);
    if (index.manifest_count == 0)
        result = error_set(error, ERROR_INVALID, "index %s names no manifest", descriptor->digest);
    json_record_release(&oci_index_record, &index);
    return result;
}

int layout_find(const char *folder, const char *name, struct packed_image *ret_image,
                struct error *error)
{
    struct oci_index index;
    struct packed_image image = {0};
    if (layout_read_index(folder, &index, error) < 0)
        return -1;
    ssize_t at = find_entry(&index, name);
    int result;
    if (at < 0)
        result = error_set(error, ERROR_NOT_FOUND,
                           "image %s is not in %s: make it with `shoal build DIR -t NAME`", name,
                           folder);
    else if (strcmp(index.manifests[at].media_type, OCI_INDEX_TYPE) == 0)
        result = take_index(folder, &index.manifests[at], &image, error);
    else
        result = take_manifest(folder, &index.manifests[at], &image, error);
    json_record_release(&oci_index_record, &index);
    if (result < 0) {
        packed_image_release(&image);
        return at < 0 ? -1 : error_wrap(error, "image %s", name);
    }
    *ret_image = image;
    return 0;
}
