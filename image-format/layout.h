/* The local store of images: an OCI image layout folder, which other OCI tools read and write too
 * (`skopeo copy oci:DIR:NAME ...`).
 *
 * Owns `oci-layout`, `index.json` and `blobs/sha256/` below the folder; index.json changes by
 * rename under a lock file. An image is found by its name, the annotation
 * org.opencontainers.image.ref.name. Blocking; not for the loop thread. */
#pragma once

#include "image-format/pack.h"
#include "lib/image_reference.h"

struct layout_entry {
    char name[IMAGE_TEXT_MAX];
    char digest[DIGEST_TEXT_MAX]; /* of the index or manifest */
    char media_type[128];
    uint64_t size; /* bytes of everything the name leads to */
};

/* Creates the folder when it is missing. A name that exists points to the new image afterwards.
 * Blobs given by path are copied. */
int layout_add(const char *folder, const char *name, const struct packed_image *image,
               struct error *error);
/* Sorted by name; the caller frees the entries. A folder that is not there is an empty store. */
int layout_list(const char *folder, struct layout_entry **ret_entries, size_t *ret_count,
                struct error *error);
/* The image with its blobs as paths into the folder, and with what is about it. Images of other
 * tools are kept as well. ERROR_NOT_FOUND names the image. */
int layout_find(const char *folder, const char *name, struct packed_image *ret_image,
                struct error *error);
/* The path of a blob that is there with its right bytes, `size` of them (free it); NULL: it is not.
 */
char *layout_find_blob(const char *folder, const char *digest, uint64_t size);
/* Removes the name, and the blobs that no other name leads to. */
int layout_remove(const char *folder, const char *name, struct error *error);

/* Writes one image of the store as a tar archive of a layout ("oci-archive"). The same image under
 * the same name gives the same bytes. `path` is the old file or the new one, whole. */
int layout_export(const char *folder, const char *name, const char *path, struct error *error);

/* A folder in the store's for files on their way into an image. What a process that was killed left
 * there goes with the next one that is made. */
struct layout_scratch {
    char *path;
    int lock;
};
int layout_scratch_create(const char *folder, struct layout_scratch *ret_scratch,
                          struct error *error);
/* Removes it with all it holds; nothing for a scratch of zeros. */
void layout_scratch_remove(struct layout_scratch *scratch);
