#include "agent/host/image_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define COPY_CHUNK 65536

struct image_store {
    char *staging;
    char *images;
    char *shown; /* the same folder, as QEMU sees it */
};

/* QEMU's users pass through the folders and read the files; only root lists or writes. */
static int make_folders(const struct image_store *store, const char *state_directory,
                        struct error *error)
{
    AUTO_FREE char *host = xasprintf("%s/host", state_directory);
    if (file_make_directory(store->images, 0711, error) < 0)
        return -1;
    if (chown(host, 0, 0) < 0 || chmod(host, 0711) < 0 || chown(store->images, 0, 0) < 0 ||
        chmod(store->images, 0711) < 0)
        return error_set_errno(error, errno, "own the folder %s", store->images);
    return 0;
}

struct image_store *image_store_create(const char *state_directory, const char *shown,
                                       struct error *error)
{
    struct image_store *store = xcalloc(1, sizeof *store);
    store->staging = xasprintf("%s/staging", state_directory);
    store->images = xasprintf("%s/host/images", state_directory);
    store->shown = xstrdup(shown);
    if (make_folders(store, state_directory, error) < 0) {
        image_store_destroy(store);
        return NULL;
    }
    return store;
}

void image_store_destroy(struct image_store *store)
{
    if (store == NULL)
        return;
    free(store->staging);
    free(store->images);
    free(store->shown);
    free(store);
}

const char *image_store_folder(const struct image_store *store)
{
    return store->images;
}

char *image_store_shown(const struct image_store *store, const char *digest)
{
    return xasprintf("%s/%s", store->shown, digest_hex(digest));
}

static int open_regular(int folder, const char *name, uint64_t *ret_size, struct error *error)
{
    AUTO_CLOSE int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0)
        return error_set_errno(error, errno, "open image file %s", name);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_DENIED, "image file %s is not a regular file", name);
    *ret_size = (uint64_t)status.st_size;
    return TAKE_DESCRIPTOR(file);
}

static int refuse_digest(struct error *error, const char *expected, const char *found)
{
    return error_set(error, ERROR_SIGNATURE,
                     "image file: expected %s, but the bytes on disk are %s: pull the image again",
                     expected, found);
}

/* Copies what it hashes, and no more than was announced. */
static int copy_hashed(int from, int to, uint64_t size, char ret_digest[DIGEST_TEXT_MAX],
                       struct error *error)
{
    struct digest_stream *stream = digest_stream_create();
    AUTO_FREE char *chunk = xmalloc(COPY_CHUNK);
    uint64_t left = size;
    int result = 0;
    while (result == 0 && left > 0) {
        ssize_t got = read(from, chunk, left < COPY_CHUNK ? (size_t)left : COPY_CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            result = error_set_errno(error, errno, "read image file");
        else if (got == 0)
            result = error_set(error, ERROR_SIGNATURE, "image file: shorter than announced");
        else
            result = file_write_all(to, chunk, (size_t)got, error);
        if (result == 0) {
            digest_stream_update(stream, chunk, (size_t)got);
            left -= (uint64_t)got;
        }
    }
    digest_stream_text(stream, ret_digest);
    digest_stream_destroy(stream);
    return result;
}

static int fill(int from, int to, const char *digest, uint64_t size, bool is_durable,
                struct error *error)
{
    char found[DIGEST_TEXT_MAX];
    if (copy_hashed(from, to, size, found, error) < 0)
        return -1;
    if (strcmp(found, digest) != 0)
        return refuse_digest(error, digest, found);
    if (fchown(to, 0, 0) < 0 || fchmod(to, 0444) < 0 || (is_durable && fsync(to) < 0))
        return error_set_errno(error, errno, "write image file %s", digest);
    return 0;
}

static int keep(int from, const char *path, const char *digest, uint64_t size, bool is_durable,
                struct error *error)
{
    AUTO_FREE char *temporary = xasprintf("%s.new", path);
    unlink(temporary);
    AUTO_CLOSE int to = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return error_set_errno(error, errno, "create %s", temporary);
    if (fill(from, to, digest, size, is_durable, error) == 0) {
        if (rename(temporary, path) == 0)
            return 0;
        error_set_errno(error, errno, "rename to %s", path);
    }
    unlink(temporary);
    return -1;
}

static bool is_here(struct image_store *store, const char *digest)
{
    AUTO_FREE char *path = xasprintf("%s/%s", store->images, digest_hex(digest));
    uint64_t size;
    AUTO_CLOSE int file = open_regular(AT_FDCWD, path, &size, NULL);
    char found[DIGEST_TEXT_MAX];
    return file >= 0 && digest_of_descriptor(file, found, NULL, NULL) == 0 &&
           strcmp(found, digest) == 0;
}

int image_store_import(struct image_store *store, const char *digest, uint64_t size,
                       struct error *error)
{
    if (is_here(store, digest))
        return 0;
    AUTO_CLOSE int folder = open(store->staging, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return error_set_errno(error, errno, "open %s", store->staging);
    uint64_t found;
    AUTO_CLOSE int from = open_regular(folder, digest_hex(digest), &found, error);
    if (from < 0)
        return -1;
    if (found != size)
        return error_set(error, ERROR_SIGNATURE,
                         "image file %s: expected %llu bytes, the staged file has %llu", digest,
                         (unsigned long long)size, (unsigned long long)found);
    AUTO_FREE char *path = xasprintf("%s/%s", store->images, digest_hex(digest));
    if (keep(from, path, digest, size, true, error) < 0)
        return -1;
    return file_sync_directory(store->images, error);
}

int image_store_place(struct image_store *store, const char *digest, const char *target,
                      uint64_t *ret_size, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", store->images, digest_hex(digest));
    uint64_t size;
    AUTO_CLOSE int from = open_regular(AT_FDCWD, path, &size, error);
    if (from < 0 || keep(from, target, digest, size, false, error) < 0)
        return -1;
    *ret_size = size;
    return 0;
}

int image_store_open(struct image_store *store, const char *digest, int *ret_descriptor,
                     uint64_t *ret_size, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", store->images, digest_hex(digest));
    char found[DIGEST_TEXT_MAX];
    uint64_t size;
    AUTO_CLOSE int file = open_regular(AT_FDCWD, path, &size, error);
    if (file < 0 || digest_of_descriptor(file, found, NULL, error) < 0)
        return -1;
    if (strcmp(found, digest) != 0)
        return refuse_digest(error, digest, found);
    if (lseek(file, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "read image file %s", digest);
    *ret_descriptor = TAKE_DESCRIPTOR(file);
    *ret_size = size;
    return 0;
}
