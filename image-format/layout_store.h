/* The files of an OCI image layout, for layout.c alone: index.json, blobs, lock, garbage. */
#pragma once

#include <sys/types.h>

#include "image-format/pack.h"

#define LAYOUT_NAME_ANNOTATION "org.opencontainers.image.ref.name"

#define LAYOUT_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"

int layout_create(const char *folder, struct error *error);
/* The index of one image and what is about it; release it by oci_index_record. */
void layout_fill_index(const char *name, const struct packed_image *image,
                       struct oci_index *ret_index);
/* Waits for the lock; closing the descriptor gives it back. */
int layout_lock(const char *folder, int *ret_descriptor, struct error *error);
/* An empty index where there is none. */
int layout_read_index(const char *folder, struct oci_index *ret_index, struct error *error);
int layout_write_index(const char *folder, const struct oci_index *index, struct error *error);
/* The caller frees the path. */
char *layout_blob_path(const char *folder, const char *digest);
/* Does nothing when the blob is there already, whole. */
int layout_write_blob(const char *folder, const char *digest, const void *bytes, size_t length,
                      struct error *error);
/* The same for a blob that is a file: shares its blocks where the disk can, else copies it, holes
 * left out, and hashes what it got. ERROR_CONFLICT when that is not what was promised. */
int layout_copy_blob(const char *folder, const struct packed_blob *blob, struct error *error);
/* Whether the blob is there with its right bytes. */
bool layout_has_blob(const char *folder, const char *digest);
/* The bytes, checked against the digest. */
int layout_read_blob(const char *folder, const char *digest, size_t limit, char **ret_bytes,
                     size_t *ret_length, struct error *error);
/* That a blob's file is there with the size it should have. */
int layout_check_size(const struct packed_blob *blob, struct error *error);
/* The entry's name, or NULL. */
const char *layout_entry_name(const struct oci_descriptor *entry);
/* -1 when none has that name. */
ssize_t layout_find_entry(const struct oci_index *index, const char *name);
void layout_remove_entry(struct oci_index *index, size_t at);
/* Removes the entries without a name that are about something nobody leads to any more. */
void layout_prune_referrers(const char *folder, struct oci_index *index);
/* Bytes of everything behind an entry, each blob once, as the documents state them. */
uint64_t layout_total_size(const char *folder, const struct oci_descriptor *entry);
/* Removes the blobs that nothing in the index leads to; none when a document cannot be read. */
void layout_collect_garbage(const char *folder, const struct oci_index *index);
