/* Blobs as files:
 *
 *   <folder>/blobs/<algorithm>/<first 2 hex>/<hex>       complete, verified, never changed
 *   <folder>/quarantine/<algorithm>-<hex>.<seconds>      found damaged, for a person to look at */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/storage/blob_backend.h"
#include "registry/storage/open_blobs.h"

static const enum digest_algorithm algorithms[] = {DIGEST_SHA256, DIGEST_SHA512};

struct blob_files {
    struct blob_backend base;
    char *blobs;      /* ".../blobs" */
    char *quarantine; /* ".../quarantine" */
    struct open_blobs *open;
};

static struct blob_files *files_of(struct blob_backend *backend)
{
    return (struct blob_files *)backend;
}

static int set_error(struct error *error, int number, const char *what, const char *path)
{
    if (number == ENOSPC || number == EDQUOT)
        return error_set(error, ERROR_STORAGE_FULL, "%s %s: %s", what, path, strerror(number));
    return error_set_errno(error, number, "%s %s", what, path);
}

static char *folder_of(const struct blob_files *files, const char *digest)
{
    enum digest_algorithm algorithm;
    digest_parse(digest, &algorithm);
    return xasprintf("%s/%s/%.2s", files->blobs, digest_algorithm_name(algorithm),
                     digest_hex(digest));
}

static char *path_of(const struct blob_files *files, const char *digest)
{
    AUTO_FREE char *folder = folder_of(files, digest);
    return xasprintf("%s/%s", folder, digest_hex(digest));
}

static int files_stat(struct blob_backend *backend, const char *digest, uint64_t *ret_size,
                      struct error *error)
{
    AUTO_FREE char *path = path_of(files_of(backend), digest);
    struct stat status;
    if (lstat(path, &status) < 0)
        return error_set_errno(error, errno, "look at blob %s", path);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

static int open_blob(const struct blob_files *files, const char *digest, int *ret_descriptor,
                     uint64_t *ret_size, struct error *error)
{
    AUTO_FREE char *path = path_of(files, digest);
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "open blob %s", path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

static int files_fetch(struct blob_backend *backend, const char *digest, enum blob_fetch purpose,
                       struct blob_source *ret_source, struct error *error)
{
    const struct blob_files *files = files_of(backend);
    int descriptor;
    uint64_t size, ticket;
    /* Answers are sent by offset; our own reading moves the position, which is to be its own. */
    bool is_answer = purpose == BLOB_FETCH_ANSWER;
    if (!is_answer || !open_blobs_take(files->open, digest, &descriptor, &size, &ticket)) {
        if (open_blob(files, digest, &descriptor, &size, error) < 0)
            return -1;
        if (is_answer)
            open_blobs_keep(files->open, digest, descriptor, ticket);
    }
    *ret_source =
        (struct blob_source){.kind = BLOB_SOURCE_FILE, .size = size, .descriptor = descriptor};
    return 0;
}

static int files_publish(struct blob_backend *backend, const char *digest,
                         const struct blob_staged *staged, struct error *error)
{
    AUTO_FREE char *folder = folder_of(files_of(backend), digest);
    AUTO_FREE char *path = path_of(files_of(backend), digest);
    if (rename(staged->path, path) < 0)
        return set_error(error, errno, "rename upload to", path);
    open_blobs_forget(files_of(backend)->open, digest);
    return file_sync_directory(folder, error);
}

static int files_remove(struct blob_backend *backend, const char *digest, struct error *error)
{
    AUTO_FREE char *path = path_of(files_of(backend), digest);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove blob %s", path);
    open_blobs_forget(files_of(backend)->open, digest);
    return 0;
}

static int files_quarantine(struct blob_backend *backend, const char *digest, struct error *error)
{
    const struct blob_files *files = files_of(backend);
    enum digest_algorithm algorithm;
    digest_parse(digest, &algorithm);
    AUTO_FREE char *path = path_of(files, digest);
    AUTO_FREE char *away =
        xasprintf("%s/%s-%s.%llu", files->quarantine, digest_algorithm_name(algorithm),
                  digest_hex(digest), (unsigned long long)clock_wall_ms(clock_system()) / 1000);
    if (rename(path, away) < 0)
        return set_error(error, errno, "put in quarantine", path);
    open_blobs_forget(files->open, digest);
    return file_sync_directory(files->quarantine, error);
}

/* --- all of them --- */

struct listing {
    blob_store_each *each;
    void *data;
    bool stopped;
};

static uint64_t age_of(const struct stat *status)
{
    uint64_t now = clock_wall_ms(clock_system());
    uint64_t then =
        (uint64_t)status->st_mtim.tv_sec * 1000 + (uint64_t)status->st_mtim.tv_nsec / 1000000;
    return now > then ? now - then : 0;
}

static int list_folder(const char *path, enum digest_algorithm algorithm, struct listing *listing,
                       struct error *error)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return error_set_errno(error, errno, "list %s", path);
    for (struct dirent *entry; !listing->stopped && (entry = readdir(folder)) != NULL;) {
        char digest[DIGEST_ANY_MAX];
        struct stat status;
        int length = snprintf(digest, sizeof digest, "%s:%s", digest_algorithm_name(algorithm),
                              entry->d_name);
        if (length < 0 || (size_t)length >= sizeof digest || !digest_is_any(digest) ||
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        const struct blob_entry blob = {
            .digest = digest, .size = (uint64_t)status.st_size, .age_ms = age_of(&status)};
        listing->stopped = !listing->each(&blob, listing->data);
    }
    closedir(folder);
    return 0;
}

static int files_list(struct blob_backend *backend, blob_store_each *each, void *data,
                      struct error *error)
{
    const struct blob_files *files = files_of(backend);
    struct listing listing = {each, data, false};
    for (size_t a = 0; a < ARRAY_LENGTH(algorithms); a++) {
        for (unsigned i = 0; i < 256 && !listing.stopped; i++) {
            AUTO_FREE char *path =
                xasprintf("%s/%s/%02x", files->blobs, digest_algorithm_name(algorithms[a]), i);
            if (list_folder(path, algorithms[a], &listing, error) < 0)
                return -1;
        }
    }
    return 0;
}

/* --- opening --- */

static void files_close(struct blob_backend *backend)
{
    struct blob_files *files = files_of(backend);
    open_blobs_destroy(files->open);
    free(files->blobs);
    free(files->quarantine);
    free(files);
}

static const struct blob_backend_operations operations = {
    .stat = files_stat,
    .fetch = files_fetch,
    .publish = files_publish,
    .remove = files_remove,
    .list = files_list,
    .quarantine = files_quarantine,
    .close = files_close,
};

/* All folders at once, so that a new blob needs to sync no folder but its own. */
static int make_folders(const struct blob_files *files, enum digest_algorithm algorithm,
                        struct error *error)
{
    AUTO_FREE char *parent = xasprintf("%s/%s", files->blobs, digest_algorithm_name(algorithm));
    for (unsigned i = 0; i < 256; i++) {
        AUTO_FREE char *path = xasprintf("%s/%02x", parent, i);
        if (file_make_directory(path, 0700, error) < 0)
            return -1;
    }
    return file_sync_directory(parent, error);
}

int blob_files_open(const char *folder, struct blob_backend **ret_backend, struct error *error)
{
    struct blob_files *files = xcalloc(1, sizeof *files);
    files->base.operations = &operations;
    files->open = open_blobs_create();
    files->blobs = xasprintf("%s/blobs", folder);
    files->quarantine = xasprintf("%s/quarantine", folder);
    int result = file_make_directory(files->quarantine, 0700, error);
    for (size_t i = 0; result == 0 && i < ARRAY_LENGTH(algorithms); i++)
        result = make_folders(files, algorithms[i], error);
    /* The names of the new folders themselves. */
    if (result < 0 || file_sync_directory(files->blobs, error) < 0 ||
        file_sync_directory(folder, error) < 0) {
        files_close(&files->base);
        return -1;
    }
    *ret_backend = &files->base;
    return 0;
}
