/* Where blobs are kept, for who implements a place: files (blob_files.c), an S3 bucket
 * (blob_s3.c). Users take blob_store.h.
 *
 * A backend is content-addressed: a blob appears whole under its digest or not at all, and is never
 * changed. Digests have been checked (digest_parse). Operations block, come from any thread and
 * several at a time; for one digest, publish, remove and quarantine come one at a time
 * (blob_store_lock_digest), readers at any time. ERROR_NOT_FOUND: there is no such blob;
 * ERROR_STORAGE_FULL: no room; ERROR_UNAVAILABLE, ERROR_TIMEOUT: the place cannot be reached now.
 */
#pragma once

#include "registry/storage/blob_store.h"

struct blob_backend {
    const struct blob_backend_operations *operations;
};

/* An upload whose bytes are those of its digest. */
struct blob_staged {
    const char *path; /* an absolute path, or one below the working folder */
    int descriptor;   /* open for reading and writing, at any position */
    uint64_t size;
};

struct blob_backend_operations {
    int (*stat)(struct blob_backend *backend, const char *digest, uint64_t *ret_size,
                struct error *error);
    /* Fills the source but for nothing; the caller releases it. BLOB_FETCH_READ: never a
     * redirect. */
    int (*fetch)(struct blob_backend *backend, const char *digest, enum blob_fetch purpose,
                 struct blob_source *ret_source, struct error *error);
    /* Makes the staged bytes the blob, durably; the file at staged->path is gone afterwards. Again
     * is fine. After a failure the staged file is as it was, for another try. */
    int (*publish)(struct blob_backend *backend, const char *digest,
                   const struct blob_staged *staged, struct error *error);
    /* One that is not there is fine. Who reads it reads on, or notices. */
    int (*remove)(struct blob_backend *backend, const char *digest, struct error *error);
    /* Calls `each` for every blob, in any order, until it returns false. Blobs that come or go
     * meanwhile may be seen or not. */
    int (*list)(struct blob_backend *backend, blob_store_each *each, void *data,
                struct error *error);
    /* Takes the blob away from readers and keeps its bytes for a person to look at. */
    int (*quarantine)(struct blob_backend *backend, const char *digest, struct error *error);
    void (*close)(struct blob_backend *backend);
};

/* --- the backends --- */

/* Below <folder>/blobs and <folder>/quarantine, which are made where they are missing. */
int blob_files_open(const char *folder, struct blob_backend **ret_backend, struct error *error);
