/* An image of the store as one tar file. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "image-format/layout.h"
#include "image-format/layout_store.h"
#include "image-format/packing.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* The archive's files; the names are its own, bytes and paths the image's. */
struct export
{
    struct packing_file *files;
    size_t count;
};

/* Takes the name. */
static void add_file(struct export *export, char *name, const void *bytes, const char *path,
                     uint64_t size)
{
    export->files = xreallocarray(export->files, export->count + 1, sizeof *export->files);
    export->files[export->count++] =
        (struct packing_file){.name = name, .bytes = bytes, .path = path, .size = size};
}

static char *blob_name(const char *digest)
{
    return xasprintf("blobs/sha256/%s", digest_hex(digest));
}

static void add_manifests(struct export *export, const struct packed_manifest *manifests,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_file(export, blob_name(manifests[i].digest), manifests[i].bytes, NULL,
                 manifests[i].length);
}

/* What tells what it is comes first, the manifests before what they name. */
static void list_files(struct export *export, const struct packed_image *image, const char *index)
{
    add_file(export, xstrdup("oci-layout"), LAYOUT_TEXT, NULL, strlen(LAYOUT_TEXT));
    add_file(export, xstrdup("index.json"), index, NULL, strlen(index));
    add_manifests(export, &image->index, image->has_index ? 1 : 0);
    add_manifests(export, image->manifests, image->manifest_count);
    add_manifests(export, image->referrers, image->referrer_count);
    for (size_t i = 0; i < image->blob_count; i++)
        add_file(export, blob_name(image->blobs[i].digest), image->blobs[i].bytes,
                 image->blobs[i].path, image->blobs[i].size);
}

static int write_archive(const struct export *export, const char *path, struct error *error)
{
    AUTO_FREE char *temporary = xasprintf("%s.XXXXXX", path);
    AUTO_CLOSE int descriptor = mkostemp(temporary, O_CLOEXEC);
    if (descriptor < 0)
        return error_set_errno(error, errno, "create a file beside %s", path);
    int result = packing_write_tar(descriptor, export->files, export->count, error);
    if (result == 0 &&
        (fchmod(descriptor, 0644) < 0 || fsync(descriptor) < 0 || rename(temporary, path) < 0))
        result = error_set_errno(error, errno, "write %s", path);
    if (result < 0)
        unlink(temporary);
    return result;
}

int layout_export(const char *folder, const char *name, const char *path, struct error *error)
{
    struct packed_image image;
    struct oci_index index;
    struct export export = {0};
    if (layout_find(folder, name, &image, error) < 0)
        return -1;
    layout_fill_index(name, &image, &index);
    AUTO_FREE char *text = json_record_text(&oci_index_record, &index);
    list_files(&export, &image, text);
    int result = write_archive(&export, path, error);
    for (size_t i = 0; i < export.count; i++)
        free((char *)export.files[i].name);
    free(export.files);
    json_record_release(&oci_index_record, &index);
    packed_image_release(&image);
    return result;
}
