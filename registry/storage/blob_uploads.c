/* Uploads: files that grow, and the hash of what is in them so far. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/storage/blob_backend.h"
#include "registry/storage/blob_store_internal.h"

#define LOCK_STEP_MS     20
#define LOCK_PATIENCE_MS 2000
/* So many bytes are handed to the disk at once, while more arrive. */
#define WRITE_BACK_STEP ((uint64_t)2 << 20)
/* Behind the id in the name of an upload that nobody comes back to. */
#define TEMPORARY ".temporary"

struct blob_upload {
    struct blob_store *store;
    char id[UPLOAD_ID_MAX];
    char *path;
    int descriptor;
    uint64_t size;
    bool temporary;
    /* Over the first `hashed` bytes. NULL: nobody has hashed them. */
    struct digest_stream *stream;
    uint64_t hashed;
};

static int set_error(struct error *error, int number, const char *what, const char *path)
{
    if (number == ENOSPC || number == EDQUOT || number == EFBIG)
        return error_set(error, ERROR_STORAGE_FULL, "%s %s: %s", what, path, strerror(number));
    return error_set_errno(error, number, "%s %s", what, path);
}

static bool is_temporary(const char *name)
{
    const size_t id_length = UPLOAD_ID_MAX - 1;
    return strlen(name) > id_length && strcmp(name + id_length, TEMPORARY) == 0;
}

/* What a process that died was receiving. One that is locked belongs to a process that lives. */
static void remove_temporary(int folder, const char *name)
{
    AUTO_CLOSE int descriptor = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        unlinkat(folder, name, 0);
}

static int remove_temporaries(struct blob_store *store, struct error *error)
{
    DIR *folder = opendir(store->uploads);
    if (folder == NULL)
        return error_set_errno(error, errno, "list %s", store->uploads);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (is_temporary(entry->d_name))
            remove_temporary(dirfd(folder), entry->d_name);
    }
    closedir(folder);
    return 0;
}

int blob_uploads_open(struct blob_store *store, const char *folder, struct error *error)
{
    store->uploads = xasprintf("%s/uploads", folder);
    if (file_make_directory(store->uploads, 0700, error) < 0 ||
        remove_temporaries(store, error) < 0)
        return -1;
    return file_sync_directory(folder, error);
}

void blob_uploads_close(struct blob_store *store)
{
    for (size_t i = 0; i < STREAMS_MAX; i++)
        digest_stream_destroy(store->streams[i].stream);
    free(store->uploads);
}

/* --- hashes between requests --- */

/* Under `id`; the one that was kept longest makes room. */
static void keep_stream(struct blob_store *store, const char *id, struct digest_stream *stream,
                        uint64_t hashed)
{
    pthread_mutex_lock(&store->streams_lock);
    struct kept_stream *place = &store->streams[0];
    for (size_t i = 0; i < STREAMS_MAX && place->stream != NULL; i++) {
        struct kept_stream *other = &store->streams[i];
        if (other->stream == NULL || other->kept_at < place->kept_at)
            place = other;
    }
    digest_stream_destroy(place->stream);
    memcpy(place->id, id, UPLOAD_ID_MAX);
    place->stream = stream;
    place->hashed = hashed;
    place->kept_at = ++store->kept_count;
    pthread_mutex_unlock(&store->streams_lock);
}

/* NULL: none is kept. */
static struct digest_stream *take_stream(struct blob_store *store, const char *id,
                                         uint64_t *ret_hashed)
{
    struct digest_stream *stream = NULL;
    pthread_mutex_lock(&store->streams_lock);
    for (size_t i = 0; i < STREAMS_MAX && stream == NULL; i++) {
        struct kept_stream *place = &store->streams[i];
        if (place->stream == NULL || memcmp(place->id, id, UPLOAD_ID_MAX) != 0)
            continue;
        stream = TAKE_POINTER(place->stream);
        *ret_hashed = place->hashed;
    }
    pthread_mutex_unlock(&store->streams_lock);
    return stream;
}

static void drop_stream(struct blob_upload *upload)
{
    digest_stream_destroy(upload->stream);
    upload->stream = NULL;
}

/* --- opening --- */

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

/* Whoever held the lock before may have removed the file, or made it a blob by another name, which
 * nobody may write to any more. */
static bool is_still_at(int descriptor, const char *path, struct stat *ret_status)
{
    struct stat now;
    return fstat(descriptor, ret_status) == 0 && lstat(path, &now) == 0 &&
           now.st_dev == ret_status->st_dev && now.st_ino == ret_status->st_ino;
}

static int open_upload(struct blob_store *store, const char *id, const char *suffix, int flags,
                       struct blob_upload **ret_upload, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s%s", store->uploads, id, suffix);
    AUTO_CLOSE int descriptor =
        open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    struct stat status;
    if (descriptor < 0)
        return set_error(error, errno, "open upload", path);
    if (!lock(descriptor))
        return error_set(error, ERROR_CONFLICT, "another request is at upload %s", id);
    if (!is_still_at(descriptor, path, &status))
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

static int create_upload(struct blob_store *store, enum digest_algorithm algorithm,
                         const char *suffix, struct blob_upload **ret_upload, struct error *error)
{
    unsigned char bytes[(UPLOAD_ID_MAX - 1) / 2];
    char id[UPLOAD_ID_MAX];
    random_bytes(bytes, sizeof bytes);
    text_format_hex(bytes, sizeof bytes, id);
    if (open_upload(store, id, suffix, O_CREAT | O_EXCL, ret_upload, error) < 0)
        return -1;
    (*ret_upload)->stream = digest_stream_create_as(algorithm);
    return 0;
}

int blob_upload_create(struct blob_store *store, enum digest_algorithm algorithm,
                       struct blob_upload **ret_upload, struct error *error)
{
    return create_upload(store, algorithm, "", ret_upload, error);
}

int blob_upload_create_temporary(struct blob_store *store, enum digest_algorithm algorithm,
                                 struct blob_upload **ret_upload, struct error *error)
{
    if (create_upload(store, algorithm, TEMPORARY, ret_upload, error) < 0)
        return -1;
    (*ret_upload)->temporary = true;
    return 0;
}

int blob_upload_open(struct blob_store *store, const char *id, struct blob_upload **ret_upload,
                     struct error *error)
{
    if (!id_is_valid(id))
        return error_set(error, ERROR_NOT_FOUND, "there is no upload \"%.40s\"", id);
    struct blob_upload *upload;
    if (open_upload(store, id, "", 0, &upload, error) < 0)
        return -1;
    upload->stream = take_stream(store, id, &upload->hashed);
    if (upload->stream != NULL && upload->hashed != upload->size)
        drop_stream(upload);
    *ret_upload = upload;
    return 0;
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

/* --- bytes --- */

/* Lets the disk begin with what has come since the last step, so that sealing waits for the rest
 * only. What goes wrong there is told by fdatasync. */
static void write_back(const struct blob_upload *upload, uint64_t before)
{
    uint64_t from = before - before % WRITE_BACK_STEP;
    uint64_t to = upload->size - upload->size % WRITE_BACK_STEP;
    if (to > from)
        sync_file_range(upload->descriptor, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE);
}

int blob_upload_write(struct blob_upload *upload, const void *bytes, size_t length,
                      struct error *error)
{
    const char *at = bytes;
    uint64_t before = upload->size;
    while (length > 0) {
        ssize_t written = write(upload->descriptor, at, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return set_error(error, errno, "write upload", upload->path);
        if (upload->stream != NULL) {
            digest_stream_update(upload->stream, at, (size_t)written);
            upload->hashed += (uint64_t)written;
        }
        at += written;
        length -= (size_t)written;
        upload->size += (uint64_t)written;
    }
    write_back(upload, before);
    return 0;
}

int blob_upload_truncate(struct blob_upload *upload, uint64_t size, struct error *error)
{
    if (size >= upload->size)
        return 0;
    drop_stream(upload);
    if (ftruncate(upload->descriptor, (off_t)size) < 0)
        return set_error(error, errno, "truncate upload", upload->path);
    upload->size = size;
    return 0;
}

/* The digest of what the file holds, by the hash that ran along or by reading all of it. */
static int digest_of_upload(struct blob_upload *upload, enum digest_algorithm algorithm,
                            char ret_digest[DIGEST_ANY_MAX], struct error *error)
{
    if (upload->stream != NULL && upload->hashed == upload->size &&
        digest_stream_algorithm(upload->stream) == algorithm) {
        digest_stream_text_any(upload->stream, ret_digest);
        return 0;
    }
    if (lseek(upload->descriptor, 0, SEEK_SET) < 0)
        return set_error(error, errno, "read upload", upload->path);
    return digest_of_descriptor_as(algorithm, upload->descriptor, ret_digest, NULL, error);
}

int blob_upload_seal(struct blob_upload *upload, const char *digest, struct error *error)
{
    enum digest_algorithm algorithm;
    char actual[DIGEST_ANY_MAX];
    if (blob_store_check_digest(digest, error) < 0)
        return -1;
    digest_parse(digest, &algorithm);
    if (digest_of_upload(upload, algorithm, actual, error) < 0)
        return -1;
    if (strcmp(actual, digest) != 0)
        return error_set(error, ERROR_SIGNATURE, "the %llu bytes received are %s, not %s",
                         (unsigned long long)upload->size, actual, digest);
    if (fdatasync(upload->descriptor) < 0)
        return set_error(error, errno, "sync upload", upload->path);
    return 0;
}

int blob_upload_publish(struct blob_upload *upload, const char *digest, struct error *error)
{
    if (blob_store_check_digest(digest, error) < 0)
        return -1;
    struct blob_backend *backend = upload->store->backend;
    const struct blob_staged staged = {upload->path, upload->descriptor, upload->size};
    int result = backend->operations->publish(backend, digest, &staged, error);
    if (result == 0)
        drop_stream(upload);
    return result;
}

int blob_upload_remove(struct blob_upload *upload, struct error *error)
{
    drop_stream(upload);
    if (unlink(upload->path) < 0 && errno != ENOENT)
        return set_error(error, errno, "remove upload", upload->path);
    return 0;
}

void blob_upload_close(struct blob_upload *upload)
{
    if (upload == NULL)
        return;
    if (upload->temporary)
        drop_stream(upload);
    if (upload->stream != NULL)
        keep_stream(upload->store, upload->id, upload->stream, upload->hashed);
    close(upload->descriptor);
    free(upload->path);
    free(upload);
}

/* --- all of them --- */

static uint64_t age_of(const struct stat *status)
{
    uint64_t now = clock_wall_ms(clock_system());
    uint64_t then =
        (uint64_t)status->st_mtim.tv_sec * 1000 + (uint64_t)status->st_mtim.tv_nsec / 1000000;
    return now > then ? now - then : 0;
}

int blob_store_list_uploads(struct blob_store *store,
                            bool (*each)(const struct blob_upload_entry *entry, void *data),
                            void *data, struct error *error)
{
    DIR *folder = opendir(store->uploads);
    if (folder == NULL)
        return error_set_errno(error, errno, "list %s", store->uploads);
    bool goes_on = true;
    for (struct dirent *entry; goes_on && (entry = readdir(folder)) != NULL;) {
        struct stat status;
        if (!id_is_valid(entry->d_name) ||
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        const struct blob_upload_entry upload = {
            .id = entry->d_name, .size = (uint64_t)status.st_size, .age_ms = age_of(&status)};
        goes_on = each(&upload, data);
    }
    closedir(folder);
    return 0;
}
