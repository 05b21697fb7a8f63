#include "registry/storage/blob_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define LOCK_STEP_MS     20
#define LOCK_PATIENCE_MS 2000

struct blob_store {
    char *blobs;   /* ".../blobs/sha256" */
    char *uploads; /* ".../uploads" */
};

struct blob_upload {
    const struct blob_store *store;
    char id[UPLOAD_ID_MAX];
    char *path;
    int descriptor;
    uint64_t size;
};

static int set_error(struct error *error, int number, const char *what, const char *path)
{
    if (number == ENOSPC || number == EDQUOT || number == EFBIG)
        return error_set(error, ERROR_STORAGE_FULL, "%s %s: %s", what, path, strerror(number));
    return error_set_errno(error, number, "%s %s", what, path);
}

/* --- the store --- */

/* The new folders' names, from the state folder down to the 256. */
static int sync_folders(const char *folder, const char *blobs, struct error *error)
{
    AUTO_FREE char *between = xasprintf("%s/blobs", folder);
    if (file_sync_directory(folder, error) < 0 || file_sync_directory(between, error) < 0)
        return -1;
    return file_sync_directory(blobs, error);
}

int blob_store_open(const char *folder, struct blob_store **ret_store, struct error *error)
{
    struct blob_store *store = xcalloc(1, sizeof *store);
    store->blobs = xasprintf("%s/blobs/sha256", folder);
    store->uploads = xasprintf("%s/uploads", folder);
    int result = file_make_directory(store->uploads, 0700, error);
    /* All at once, so that a new blob needs to sync no folder but its own. */
    for (unsigned i = 0; result == 0 && i < 256; i++) {
        AUTO_FREE char *path = xasprintf("%s/%02x", store->blobs, i);
        result = file_make_directory(path, 0700, error);
    }
    if (result == 0)
        result = sync_folders(folder, store->blobs, error);
    if (result < 0) {
        blob_store_close(store);
        return -1;
    }
    *ret_store = store;
    return 0;
}

void blob_store_close(struct blob_store *store)
{
    if (store == NULL)
        return;
    free(store->blobs);
    free(store->uploads);
    free(store);
}

static char *folder_of(const struct blob_store *store, const char *digest)
{
    return xasprintf("%s/%.2s", store->blobs, digest_hex(digest));
}

static char *path_of(const struct blob_store *store, const char *digest)
{
    const char *hex = digest_hex(digest);
    return xasprintf("%s/%.2s/%s", store->blobs, hex, hex);
}

static int check_digest(const char *digest, struct error *error)
{
    if (!digest_is_valid(digest))
        return error_set(error, ERROR_INVALID, "\"%.80s\" is not a sha256 digest", digest);
    return 0;
}

int blob_store_open_blob(const struct blob_store *store, const char *digest, int *ret_descriptor,
                         uint64_t *ret_size, struct error *error)
{
    if (check_digest(digest, error) < 0)
        return -1;
    AUTO_FREE char *path = path_of(store, digest);
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "open blob %s", path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

int blob_store_remove_blob(const struct blob_store *store, const char *digest, struct error *error)
{
    if (check_digest(digest, error) < 0)
        return -1;
    AUTO_FREE char *path = path_of(store, digest);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove blob %s", path);
    return 0;
}

/* --- uploads --- */

static bool id_is_valid(const char *id)
{
    unsigned char bytes[(UPLOAD_ID_MAX - 1) / 2];
    return text_parse_hex(id, bytes, sizeof bytes);
}

/* A client that lost its connection comes back before the old request has noticed. */
static bool lock(int descriptor)
{
    const struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000L};
    for (unsigned waited = 0; flock(descriptor, LOCK_EX | LOCK_NB) < 0; waited += LOCK_STEP_MS) {
        if (waited >= LOCK_PATIENCE_MS)
            return false;
        nanosleep(&step, NULL);
    }
    return true;
}

static int open_upload(const struct blob_store *store, const char *id, int flags,
                       struct blob_upload **ret_upload, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", store->uploads, id);
    AUTO_CLOSE int descriptor =
        open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    struct stat status;
    if (descriptor < 0)
        return set_error(error, errno, "open upload", path);
    if (!lock(descriptor))
        return error_set(error, ERROR_CONFLICT, "another request is at upload %s", id);
    /* Whoever held the lock before may have published or removed the file. */
    if (fstat(descriptor, &status) < 0 || status.st_nlink == 0)
        return error_set(error, ERROR_NOT_FOUND, "upload %s has ended", id);
    struct blob_upload *upload = xcalloc(1, sizeof *upload);
    upload->store = store;
    memcpy(upload->id, id, UPLOAD_ID_MAX);
    upload->path = TAKE_POINTER(path);
    upload->descriptor = TAKE_DESCRIPTOR(descriptor);
    upload->size = (uint64_t)status.st_size;
    *ret_upload = upload;
    return 0;
}

int blob_upload_create(const struct blob_store *store, struct blob_upload **ret_upload,
                       struct error *error)
{
    unsigned char bytes[(UPLOAD_ID_MAX - 1) / 2];
    char id[UPLOAD_ID_MAX];
    random_bytes(bytes, sizeof bytes);
    text_format_hex(bytes, sizeof bytes, id);
    return open_upload(store, id, O_CREAT | O_EXCL, ret_upload, error);
}

int blob_upload_open(const struct blob_store *store, const char *id,
                     struct blob_upload **ret_upload, struct error *error)
{
    if (!id_is_valid(id))
        return error_set(error, ERROR_NOT_FOUND, "there is no upload \"%.40s\"", id);
    return open_upload(store, id, 0, ret_upload, error);
}

int blob_store_upload_size(const struct blob_store *store, const char *id, uint64_t *ret_size,
                           struct error *error)
{
    if (!id_is_valid(id))
        return error_set(error, ERROR_NOT_FOUND, "there is no upload \"%.40s\"", id);
    AUTO_FREE char *path = xasprintf("%s/%s", store->uploads, id);
    struct stat status;
    if (stat(path, &status) < 0)
        return set_error(error, errno, "look at upload", path);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

const char *blob_upload_id(const struct blob_upload *upload)
{
    return upload->id;
}

uint64_t blob_upload_size(const struct blob_upload *upload)
{
    return upload->size;
}

int blob_upload_write(struct blob_upload *upload, const void *bytes, size_t length,
                      struct error *error)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(upload->descriptor, at, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return set_error(error, errno, "write upload", upload->path);
        at += written;
        length -= (size_t)written;
        upload->size += (uint64_t)written;
    }
    return 0;
}

int blob_upload_truncate(struct blob_upload *upload, uint64_t size, struct error *error)
{
    if (size >= upload->size)
        return 0;
    if (ftruncate(upload->descriptor, (off_t)size) < 0)
        return set_error(error, errno, "truncate upload", upload->path);
    upload->size = size;
    return 0;
}

int blob_upload_seal(struct blob_upload *upload, const char *digest, struct error *error)
{
    char actual[DIGEST_TEXT_MAX];
    uint64_t size;
    if (check_digest(digest, error) < 0)
        return -1;
    if (lseek(upload->descriptor, 0, SEEK_SET) < 0)
        return set_error(error, errno, "read upload", upload->path);
    if (digest_of_descriptor(upload->descriptor, actual, &size, error) < 0)
        return -1;
    if (strcmp(actual, digest) != 0)
        return error_set(error, ERROR_SIGNATURE, "the %llu bytes received are %s, not %s",
                         (unsigned long long)size, actual, digest);
    if (fsync(upload->descriptor) < 0)
        return set_error(error, errno, "sync upload", upload->path);
    return 0;
}

int blob_upload_publish(struct blob_upload *upload, const char *digest, struct error *error)
{
    if (check_digest(digest, error) < 0)
        return -1;
    AUTO_FREE char *folder = folder_of(upload->store, digest);
    AUTO_FREE char *path = path_of(upload->store, digest);
    if (rename(upload->path, path) < 0)
        return set_error(error, errno, "rename upload to", path);
    return file_sync_directory(folder, error);
}

int blob_upload_remove(struct blob_upload *upload, struct error *error)
{
    if (unlink(upload->path) < 0 && errno != ENOENT)
        return set_error(error, errno, "remove upload", upload->path);
    return 0;
}

void blob_upload_close(struct blob_upload *upload)
{
    if (upload == NULL)
        return;
    close(upload->descriptor);
    free(upload->path);
    free(upload);
}
