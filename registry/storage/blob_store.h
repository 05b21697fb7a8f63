/* Blobs as files named by digest, and the uploads they come from.
 *
 *   <folder>/blobs/sha256/<first 2 hex>/<64 hex>    complete, verified, never changed
 *   <folder>/uploads/<32 hex>                       what has arrived so far
 *
 * Names in paths are digests and ids that were checked to be hex; nothing else a client sends
 * becomes one. A blob appears by rename after its bytes were hashed and synced; uploads outlive the
 * process. Blocking; any thread; an upload belongs to one and is locked against others. Knows
 * nothing of repositories. ERROR_STORAGE_FULL: the disk is full. */
#pragma once

#include <stdint.h>

#include "lib/crypto.h"
#include "lib/error.h"

#define UPLOAD_ID_MAX 33

struct blob_store;
struct blob_upload;

/* Makes the folders where they are missing. */
int blob_store_open(const char *folder, struct blob_store **ret_store, struct error *error);
void blob_store_close(struct blob_store *store);

/* ERROR_NOT_FOUND when there is none. The caller closes the descriptor. */
int blob_store_open_blob(const struct blob_store *store, const char *digest, int *ret_descriptor,
                         uint64_t *ret_size, struct error *error);
/* One that is not there is fine. Who reads it reads on. */
int blob_store_remove_blob(const struct blob_store *store, const char *digest, struct error *error);

/* Starts an upload with no bytes, open and locked. */
int blob_upload_create(const struct blob_store *store, struct blob_upload **ret_upload,
                       struct error *error);
/* ERROR_NOT_FOUND: no such upload; ERROR_CONFLICT: another request is at it, and has been for some
 * seconds. */
int blob_upload_open(const struct blob_store *store, const char *id,
                     struct blob_upload **ret_upload, struct error *error);
/* Of an upload that may be locked. */
int blob_store_upload_size(const struct blob_store *store, const char *id, uint64_t *ret_size,
                           struct error *error);
const char *blob_upload_id(const struct blob_upload *upload);
uint64_t blob_upload_size(const struct blob_upload *upload);
/* Appends. After a failure the upload holds what was written before it. */
int blob_upload_write(struct blob_upload *upload, const void *bytes, size_t length,
                      struct error *error);
/* Drops what is behind the first `size` bytes. */
int blob_upload_truncate(struct blob_upload *upload, uint64_t size, struct error *error);
/* ERROR_SIGNATURE when the bytes are not those of the digest; else they are synced to disk. */
int blob_upload_seal(struct blob_upload *upload, const char *digest, struct error *error);
/* Turns a sealed upload into the blob, durably. */
int blob_upload_publish(struct blob_upload *upload, const char *digest, struct error *error);
/* Forgets the upload and its bytes. */
int blob_upload_remove(struct blob_upload *upload, struct error *error);
/* Closes; the bytes stay for the next blob_upload_open. NULL is fine. */
void blob_upload_close(struct blob_upload *upload);
