#include "agent/host/image_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define COPY_CHUNK 65536

/* That the bytes of a file were found to be its digest's. It holds for as long as the file is the
 * same one and nobody wrote to it: only root can, and the kernel sets the time of the last change,
 * which nobody sets back. */
struct proof {
    char digest[DIGEST_TEXT_MAX];
    struct stat status;
    bool is_being_made; /* a thread hashes the file; others wait for it */
    LIST_ENTRY(proof) link;
};

struct image_store {
    char *staging;
    char *images;
    char *shown; /* the same folder, as QEMU sees it */
    pthread_mutex_t lock;
    pthread_cond_t proven; /* a proof was made, or could not be */
    LIST_HEAD(, proof) proofs;
    uint64_t hashed; /* bytes, for proofs */
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

/* What an import left that was cut off. */
static void remove_cut_off(const struct image_store *store)
{
    DIR *folder = opendir(store->images);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".new") == 0)
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}

struct image_store *image_store_create(const char *state_directory, const char *shown,
                                       struct error *error)
{
    struct image_store *store = xcalloc(1, sizeof *store);
    store->staging = xasprintf("%s/staging", state_directory);
    store->images = xasprintf("%s/host/images", state_directory);
    store->shown = xstrdup(shown);
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->proven, NULL);
    LIST_INIT(&store->proofs);
    if (make_folders(store, state_directory, error) < 0) {
        image_store_destroy(store);
        return NULL;
    }
    remove_cut_off(store);
    return store;
}

void image_store_destroy(struct image_store *store)
{
    if (store == NULL)
        return;
    while (!LIST_EMPTY(&store->proofs)) {
        struct proof *proof = LIST_FIRST(&store->proofs);
        LIST_REMOVE(proof, link);
        free(proof);
    }
    pthread_cond_destroy(&store->proven);
    pthread_mutex_destroy(&store->lock);
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

static int open_regular(int folder, const char *name, struct stat *ret_status, struct error *error)
{
    AUTO_CLOSE int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0 || fstat(file, ret_status) < 0)
        return error_set_errno(error, errno, "open image file %s", name);
    if (!S_ISREG(ret_status->st_mode))
        return error_set(error, ERROR_DENIED, "image file %s is not a regular file", name);
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

static int fill(int from, int to, const char *digest, uint64_t size, struct error *error)
{
    char found[DIGEST_TEXT_MAX];
    if (copy_hashed(from, to, size, found, error) < 0)
        return -1;
    if (strcmp(found, digest) != 0)
        return refuse_digest(error, digest, found);
    if (fchown(to, 0, 0) < 0 || fchmod(to, 0444) < 0 || fsync(to) < 0)
        return error_set_errno(error, errno, "write image file %s", digest);
    return 0;
}

static int keep(int from, const char *path, const char *digest, uint64_t size, struct error *error)
{
    AUTO_FREE char *temporary = xasprintf("%s.new", path);
    unlink(temporary);
    AUTO_CLOSE int to = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return error_set_errno(error, errno, "create %s", temporary);
    if (fill(from, to, digest, size, error) == 0) {
        if (rename(temporary, path) == 0)
            return 0;
        error_set_errno(error, errno, "rename to %s", path);
    }
    unlink(temporary);
    return -1;
}

/* ---- proofs ---- */

static bool is_same_time(struct timespec one, struct timespec other)
{
    return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

/* Whether it is the same file, with nothing written since. */
static bool is_unchanged(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino &&
           one->st_size == other->st_size && is_same_time(one->st_mtim, other->st_mtim) &&
           is_same_time(one->st_ctim, other->st_ctim);
}

/* Hashes all of an open file that is not written to meanwhile. */
static int prove(int file, const char *digest, const struct stat *status, struct error *error)
{
    char found[DIGEST_TEXT_MAX];
    struct stat after;
    if (status->st_uid != 0 || (status->st_mode & 0222) != 0)
        return error_set(
            error, ERROR_DENIED,
            "image file %s can be written to by others than root: pull the image again", digest);
    if (digest_of_descriptor(file, found, NULL, error) < 0)
        return -1;
    if (strcmp(found, digest) != 0)
        return refuse_digest(error, digest, found);
    if (fstat(file, &after) < 0 || !is_unchanged(status, &after))
        return error_set(error, ERROR_IO, "image file %s was altered while it was read", digest);
    return 0;
}

/* Under the lock. */
static struct proof *find_proof(struct image_store *store, const char *digest)
{
    struct proof *proof;
    LIST_FOREACH(proof, &store->proofs, link)
    {
        if (strcmp(proof->digest, digest) == 0)
            return proof;
    }
    return NULL;
}

/* Whether there is a proof; waits while another thread makes it. If not, the caller has to make it
 * and calls end_proof. */
static bool begin_proof(struct image_store *store, const char *digest, const struct stat *status)
{
    struct proof *proof;
    pthread_mutex_lock(&store->lock);
    while ((proof = find_proof(store, digest)) != NULL && proof->is_being_made)
        pthread_cond_wait(&store->proven, &store->lock);
    bool is_proven = proof != NULL && is_unchanged(&proof->status, status);
    if (!is_proven) {
        if (proof == NULL) {
            proof = xcalloc(1, sizeof *proof);
            snprintf(proof->digest, sizeof proof->digest, "%s", digest);
            LIST_INSERT_HEAD(&store->proofs, proof, link);
        }
        proof->status = *status;
        proof->is_being_made = true;
    }
    pthread_mutex_unlock(&store->lock);
    return is_proven;
}

static void end_proof(struct image_store *store, const char *digest, bool holds)
{
    pthread_mutex_lock(&store->lock);
    struct proof *proof = find_proof(store, digest);
    store->hashed += (uint64_t)proof->status.st_size;
    proof->is_being_made = false;
    if (!holds) {
        LIST_REMOVE(proof, link);
        free(proof);
    }
    pthread_cond_broadcast(&store->proven);
    pthread_mutex_unlock(&store->lock);
}

int image_store_open(struct image_store *store, const char *digest, int *ret_descriptor,
                     uint64_t *ret_size, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", store->images, digest_hex(digest));
    struct stat status;
    AUTO_CLOSE int file = open_regular(AT_FDCWD, path, &status, error);
    if (file < 0)
        return -1;
    if (!begin_proof(store, digest, &status)) {
        int result = prove(file, digest, &status, error);
        end_proof(store, digest, result == 0);
        if (result < 0)
            return -1;
    }
    if (lseek(file, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "read image file %s", digest);
    *ret_descriptor = TAKE_DESCRIPTOR(file);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

uint64_t image_store_hashed(struct image_store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t hashed = store->hashed;
    pthread_mutex_unlock(&store->lock);
    return hashed;
}

/* ---- import ---- */

static bool is_here(struct image_store *store, const char *digest)
{
    AUTO_CLOSE int file = -1;
    uint64_t size;
    return image_store_open(store, digest, &file, &size, NULL) == 0;
}

int image_store_import(struct image_store *store, const char *digest, uint64_t size,
                       struct error *error)
{
    if (is_here(store, digest))
        return 0;
    AUTO_CLOSE int folder = open(store->staging, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return error_set_errno(error, errno, "open %s", store->staging);
    struct stat status;
    AUTO_CLOSE int from = open_regular(folder, digest_hex(digest), &status, error);
    if (from < 0)
        return -1;
    if ((uint64_t)status.st_size != size)
        return error_set(error, ERROR_SIGNATURE,
                         "image file %s: expected %llu bytes, the staged file has %lld", digest,
                         (unsigned long long)size, (long long)status.st_size);
    AUTO_FREE char *path = xasprintf("%s/%s", store->images, digest_hex(digest));
    if (keep(from, path, digest, size, error) < 0)
        return -1;
    return file_sync_directory(store->images, error);
}

/* ---- what lies here ---- */

/* A file is named by the hex of its digest. */
static bool name_is_digest(const char *name, char ret_digest[DIGEST_TEXT_MAX])
{
    snprintf(ret_digest, DIGEST_TEXT_MAX, "sha256:%.64s", name);
    return strlen(name) == DIGEST_TEXT_MAX - sizeof "sha256:" && digest_is_valid(ret_digest);
}

static uint64_t age_of(const struct stat *status)
{
    uint64_t now = clock_wall_ms(clock_system());
    time_t last = status->st_atime > status->st_mtime ? status->st_atime : status->st_mtime;
    uint64_t at = last > 0 ? (uint64_t)last * 1000 : 0;
    return now > at ? now - at : 0;
}

void image_store_each(struct image_store *store,
                      void (*each)(void *context, const char *digest, uint64_t size,
                                   uint64_t age_ms),
                      void *context)
{
    DIR *folder = opendir(store->images);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char digest[DIGEST_TEXT_MAX];
        struct stat status;
        if (name_is_digest(entry->d_name, digest) &&
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            each(context, digest, (uint64_t)status.st_size, age_of(&status));
    }
    closedir(folder);
}

int image_store_drop(struct image_store *store, const char *digest, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", store->images, digest_hex(digest));
    pthread_mutex_lock(&store->lock);
    struct proof *proof = find_proof(store, digest);
    if (proof != NULL && !proof->is_being_made) {
        LIST_REMOVE(proof, link);
        free(proof);
    }
    pthread_mutex_unlock(&store->lock);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove image file %s", digest);
    return 0;
}
