/* What blob_store.c and blob_uploads.c share. */
#pragma once

#include <pthread.h>

#include "registry/storage/blob_store.h"

/* Uploads whose hash is kept between two of their requests; the others are read again at their
 * end. */
#define STREAMS_MAX 256

struct held_digest;

struct blob_store {
    struct blob_backend *backend;
    pthread_mutex_t held_lock;
    pthread_cond_t held_changed;
    struct held_digest *held; /* digests that a thread has locked */
    char *uploads;            /* ".../uploads" */
    pthread_mutex_t streams_lock;
    struct kept_stream {
        char id[UPLOAD_ID_MAX];
        struct digest_stream *stream; /* NULL: a free place */
        uint64_t hashed;              /* bytes it has seen */
        uint64_t kept_at;             /* grows with each that is kept */
    } streams[STREAMS_MAX];
    uint64_t kept_count;
};

int blob_store_check_digest(const char *digest, struct error *error);

int blob_uploads_open(struct blob_store *store, const char *folder, struct error *error);
void blob_uploads_close(struct blob_store *store);
