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

const char *layout_entry_name(const struct oci_descriptor *entry)
{
    return json_map_get(&entry->annotations, LAYOUT_NAME_ANNOTATION);
}

ssize_t layout_find_entry(const struct oci_index *index, const char *name)
{
    for (size_t i = 0; i < index->manifest_count; i++) {
        const char *found = layout_entry_name(&index->manifests[i]);
        if (found != NULL && strcmp(found, name) == 0)
            return (ssize_t)i;
    }
    return -1;
}

void layout_remove_entry(struct oci_index *index, size_t at)
{
    json_record_release(&oci_descriptor_record, &index->manifests[at]);
    index->manifest_count--;
    memmove(&index->manifests[at], &index->manifests[at + 1],
            (index->manifest_count - at) * sizeof *index->manifests);
}

static void add_entry(struct oci_index *index, const char *name,
                      const struct packed_manifest *manifest)
{
    ssize_t former = layout_find_entry(index, name);
    if (former >= 0)
        layout_remove_entry(index, (size_t)former);
    index->manifests =
        xreallocarray(index->manifests, index->manifest_count + 1, sizeof *index->manifests);
    struct oci_descriptor *entry = &index->manifests[index->manifest_count++];
    *entry = (struct oci_descriptor){.size = manifest->length};
    memcpy(entry->media_type, manifest->media_type, sizeof entry->media_type);
    memcpy(entry->digest, manifest->digest, sizeof entry->digest);
    json_map_set(&entry->annotations, LAYOUT_NAME_ANNOTATION, name);
}

/* A referrer has no name: it is found by its subject (OCI image spec 1.1, "image layout"). */
static void add_referrer(struct oci_index *index, const struct packed_manifest *referrer)
{
    for (size_t i = 0; i < index->manifest_count; i++) {
        if (strcmp(index->manifests[i].digest, referrer->digest) == 0)
            return;
    }
    index->manifests =
        xreallocarray(index->manifests, index->manifest_count + 1, sizeof *index->manifests);
    struct oci_descriptor *entry = &index->manifests[index->manifest_count++];
    *entry = (struct oci_descriptor){.size = referrer->length};
    memcpy(entry->media_type, referrer->media_type, sizeof entry->media_type);
    memcpy(entry->digest, referrer->digest, sizeof entry->digest);
}

static void add_entries(struct oci_index *index, const char *name, const struct packed_image *image)
{
    add_entry(index, name, packed_image_top(image));
    for (size_t i = 0; i < image->referrer_count; i++)
        add_referrer(index, &image->referrers[i]);
}

void layout_fill_index(const char *name, const struct packed_image *image,
                       struct oci_index *ret_index)
{
    struct oci_index index = {.schema_version = 2};
    add_entries(&index, name, image);
    *ret_index = index;
}

static int add_manifests(const char *folder, const struct packed_manifest *manifests, size_t count,
                         struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (layout_write_blob(folder, manifests[i].digest, manifests[i].bytes, manifests[i].length,
                              error) < 0)
            return -1;
    }
    return 0;
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
    if (add_manifests(folder, image->manifests, image->manifest_count, error) < 0 ||
        add_manifests(folder, image->referrers, image->referrer_count, error) < 0)
        return -1;
    return add_manifests(folder, &image->index, image->has_index ? 1 : 0, error);
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
        add_entries(&index, name, image);
        layout_prune_referrers(folder, &index);
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
    ssize_t at = layout_find_entry(&index, name);
    int result;
    if (at < 0) {
        result = error_set(error, ERROR_NOT_FOUND, "image %s is not in %s", name, folder);
    } else {
        layout_remove_entry(&index, (size_t)at);
        layout_prune_referrers(folder, &index);
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
        const char *name = layout_entry_name(descriptor);
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
