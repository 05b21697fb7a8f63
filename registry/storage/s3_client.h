/* An S3-compatible bucket (Amazon S3 API reference): the calls that keeping blobs needs, each
 * signed by libcurl, tried again with growing pauses when the endpoint is busy, broken or out of
 * reach, and given up after a bounded time. Knows nothing of blobs: keys are below the settings'
 * prefix.
 *
 * Any thread, several at a time; calls block. ERROR_NOT_FOUND: there is no such object;
 * ERROR_DENIED: the endpoint refuses the keys; ERROR_UNAVAILABLE, ERROR_TIMEOUT: it cannot be
 * reached now; ERROR_INTERNAL: it answers what S3 does not. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "registry/storage/s3_settings.h"
#include "registry/storage/s3_xml.h"

struct s3_client;

/* Reads the credentials and looks whether the bucket may be listed. Copies the settings. */
int s3_client_open(const struct s3_settings *settings, struct s3_client **ret_client,
                   struct error *error);
/* NULL is fine. */
void s3_client_close(struct s3_client *client);

/* Bytes to send: a part of a file, with its SHA-256. The endpoint refuses other bytes: what is sent
 * is checked from our disk to its, over plain HTTP too. */
struct s3_body {
    int descriptor;
    uint64_t offset;
    uint64_t length;
    const char *sha256; /* 64 hex digits */
};

int s3_object_size(struct s3_client *client, const char *key, uint64_t *ret_size,
                   struct error *error);
/* Exactly `length` bytes from `offset` on, or a failure. */
int s3_object_read(struct s3_client *client, const char *key, uint64_t offset, void *ret_bytes,
                   size_t length, struct error *error);
int s3_object_put(struct s3_client *client, const char *key, const struct s3_body *body,
                  struct error *error);
/* One that is not there is fine. */
int s3_object_delete(struct s3_client *client, const char *key, struct error *error);
/* Within the bucket; S3 does this for up to 5 GiB. */
int s3_object_copy(struct s3_client *client, const char *from, const char *to, struct error *error);
/* A URL by which anybody may read the object for the settings' redirect_lifetime; the caller frees
 * it. `wall_s`: seconds since 1970. */
char *s3_object_url(const struct s3_client *client, const char *key, uint64_t wall_s);

/* An object in parts of at least 5 MiB but for the last, at most S3_PARTS_MAX of them. Until it is
 * completed or aborted the bucket keeps (and bills) what has arrived. */
#define S3_PARTS_MAX 10000
/* The caller frees the id. */
int s3_multipart_create(struct s3_client *client, const char *key, char **ret_id,
                        struct error *error);
/* `number` counts from 1; the caller frees the ETag. */
int s3_multipart_put(struct s3_client *client, const char *key, const char *id, unsigned number,
                     const struct s3_body *body, char **ret_etag, struct error *error);
/* ERROR_NOT_FOUND: no such upload, perhaps because an answer that was lost had said it is done. */
int s3_multipart_complete(struct s3_client *client, const char *key, const char *id,
                          char *const *etags, size_t count, struct error *error);
int s3_multipart_abort(struct s3_client *client, const char *key, const char *id,
                       struct error *error);

/* The objects whose keys begin with `start`, a page at a time; `after`: the page before's `next`,
 * NULL for the first. Keys of the page are without the settings' prefix. */
int s3_list(struct s3_client *client, const char *start, const char *after,
            struct s3_page *ret_page, struct error *error);
