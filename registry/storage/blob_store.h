/* Blobs by their digest, and the uploads they come from.
 *
 * Where blobs are kept is a backend's business (blob_backend.h); uploads are files below
 * <folder>/uploads whatever the backend, and outlive the process. A blob appears after its bytes
 * were hashed and synced. Names in paths are digests and ids that were checked to be hex; nothing
 * else a client sends becomes one. Blocking; any thread; an upload belongs to one and is locked
 * against others. Knows nothing of repositories. ERROR_STORAGE_FULL: the disk is full. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/crypto.h"
#include "lib/error.h"

#define UPLOAD_ID_MAX 33

struct blob_backend;
struct blob_store;
struct blob_upload;

/* Takes the backend, also when it fails. */
int blob_store_open(const char *folder, struct blob_backend *backend, struct blob_store **ret_store,
                    struct error *error);
void blob_store_close(struct blob_store *store);

/* --- blobs --- */

enum blob_fetch {
    BLOB_FETCH_ANSWER, /* for a client, which may be sent elsewhere */
    BLOB_FETCH_READ,   /* for ourselves */
};

/* How a blob's bytes are to be had. */
struct blob_source {
    enum blob_source_kind { BLOB_SOURCE_FILE, BLOB_SOURCE_REDIRECT, BLOB_SOURCE_READER } kind;
    uint64_t size;
    int descriptor; /* FILE; for a client's answer to be read by offset, its position is not ours */
    char *url;      /* REDIRECT: where a client gets them without asking us */
    /* READER: up to `size` bytes from `offset` of the blob on; may block. 0 or -1: not to be had;
     * what was read before stays right. `release` once. */
    ssize_t (*read)(void *data, uint64_t offset, void *ret_bytes, size_t size);
    void (*release)(void *data);
    void *data;
};

/* Closes and frees what is still in it. */
void blob_source_release(struct blob_source *source);

/* ERROR_NOT_FOUND when there is none. */
int blob_store_fetch(struct blob_store *store, const char *digest, enum blob_fetch purpose,
                     struct blob_source *ret_source, struct error *error);
int blob_store_stat(struct blob_store *store, const char *digest, uint64_t *ret_size,
                    struct error *error);
/* One that is not there is fine. Who reads it reads on. */
int blob_store_remove_blob(struct blob_store *store, const char *digest, struct error *error);
/* Reads the whole blob: are its bytes still those of its digest? ERROR_IO: the disk does not give
 * them, which may pass. */
int blob_store_verify(struct blob_store *store, const char *digest, bool *ret_whole,
                      struct error *error);
/* Takes a damaged blob out of reach and keeps its bytes. */
int blob_store_quarantine(struct blob_store *store, const char *digest, struct error *error);

struct blob_entry {
    const char *digest;
    uint64_t size;
    uint64_t age_ms; /* since it was stored, by the place's own clock */
};
typedef bool blob_store_each(const struct blob_entry *entry, void *data);
/* Every blob there is, in any order, until `each` returns false. */
int blob_store_list(struct blob_store *store, blob_store_each *each, void *data,
                    struct error *error);

/* Held while a blob and the metadata that names it appear or disappear together: one thread for a
 * digest at a time. A thread holds one at most. */
void blob_store_lock_digest(struct blob_store *store, const char *digest);
void blob_store_unlock_digest(struct blob_store *store, const char *digest);

/* --- uploads --- */

/* Starts an upload with no bytes, open and locked. It is hashed as it grows, by the algorithm that
 * its digest will be of. */
int blob_upload_create(struct blob_store *store, enum digest_algorithm algorithm,
                       struct blob_upload **ret_upload, struct error *error);
/* One that nobody comes back to: it is not listed, cannot be opened again, and goes when the folder
 * is next opened, should the process die. The caller removes or publishes it. */
int blob_upload_create_temporary(struct blob_store *store, enum digest_algorithm algorithm,
                                 struct blob_upload **ret_upload, struct error *error);
/* ERROR_NOT_FOUND: no such upload; ERROR_CONFLICT: another request is at it, and has been for some
 * seconds. */
int blob_upload_open(struct blob_store *store, const char *id, struct blob_upload **ret_upload,
                     struct error *error);
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

struct blob_upload_entry {
    const char *id;
    uint64_t size;
    uint64_t age_ms; /* since bytes came last */
};
/* Every upload there is, until `each` returns false. */
int blob_store_list_uploads(struct blob_store *store,
                            bool (*each)(const struct blob_upload_entry *entry, void *data),
                            void *data, struct error *error);
