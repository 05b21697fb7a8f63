/* What images take of the disk, and making room for more. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "agent/image_downloads_internal.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Not given to images: logs and the local state are written on the same disk. */
#define ROOM_RESERVE (UINT64_C(16) << 20)
/* Staged files that wait for their import belong to no job for a moment. */
#define STAGED_AGE_MS (UINT64_C(3600) * 1000)

/* --- what lies here --- */

/* A chain's folder has files, and a folder of layers. */
static uint64_t folder_bytes(int folder, const char *name, int depth)
{
    int descriptor = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = descriptor >= 0 ? fdopendir(descriptor) : NULL;
    struct dirent *entry;
    uint64_t bytes = 0;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(status.st_mode))
            bytes += (uint64_t)status.st_size;
        else if (S_ISDIR(status.st_mode) && depth > 0)
            bytes += folder_bytes(dirfd(directory), entry->d_name, depth - 1);
    }
    if (directory != NULL)
        closedir(directory);
    else if (descriptor >= 0)
        close(descriptor);
    return bytes;
}

uint64_t image_downloads_folder_bytes(const char *path)
{
    return folder_bytes(AT_FDCWD, path, 1);
}

void image_downloads_note(const struct image_downloads *store, const struct image_cache_name *name,
                          const struct image_verified *verified)
{
    AUTO_FREE char *path = image_downloads_chain_path(store, name->digest, name->architecture);
    if (store->options.cache != NULL)
        image_cache_use(store->options.cache, name, image_downloads_folder_bytes(path),
                        verified->parts, verified->part_count);
}

static bool has_job(const struct image_downloads *store, const char *name)
{
    const struct image_job *job;
    TAILQ_FOREACH(job, &store->jobs, link)
    {
        if (job->kind == JOB_PART && strncmp(name, digest_hex(job->digest), 64) == 0)
            return true;
    }
    return false;
}

uint64_t image_downloads_sweep(const struct image_downloads *store, uint64_t age_ms)
{
    DIR *folder = opendir(store->options.staging_directory);
    struct dirent *entry;
    uint64_t freed = 0;
    time_t before = time(NULL) - (time_t)(age_ms / 1000);
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        struct stat status;
        if (fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(status.st_mode) || status.st_mtime >= before ||
            has_job(store, entry->d_name) || unlinkat(dirfd(folder), entry->d_name, 0) < 0)
            continue;
        freed += (uint64_t)status.st_size;
        log_info("what a download left was removed", "file", entry->d_name, "bytes",
                 LOG_NUMBER(status.st_size));
    }
    if (folder != NULL)
        closedir(folder);
    return freed;
}

/* --- room --- */

/* In whole KiB or MiB, for people. */
static void describe(uint64_t bytes, bool round_up, char ret_text[TEXT_SIZE_MAX])
{
    uint64_t unit = bytes >= (UINT64_C(1) << 20) ? UINT64_C(1) << 20 : 1024;
    uint64_t count = bytes / unit + (round_up && bytes % unit != 0);
    snprintf(ret_text, TEXT_SIZE_MAX, "%" PRIu64 " %s", count, unit == 1024 ? "KiB" : "MiB");
}

int image_job_check_room(const struct image_job *job, uint64_t bytes, struct error *error)
{
    const char *where = job->store->options.staging_directory;
    struct statvfs disk;
    if (statvfs(where, &disk) < 0)
        return 0; /* whoever writes there finds out */
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (free_bytes >= ROOM_RESERVE && free_bytes - ROOM_RESERVE >= bytes)
        return 0;
    char have[TEXT_SIZE_MAX], need[TEXT_SIZE_MAX], lack[TEXT_SIZE_MAX];
    describe(free_bytes, false, have);
    describe(bytes + ROOM_RESERVE, true, need);
    describe(bytes + ROOM_RESERVE - free_bytes, true, lack);
    return error_set(
        error, ERROR_STORAGE_FULL,
        "no space for image file %s: %s are needed, the disk of %s has %s free, %s are "
        "missing: remove something there, or lower --image-cache",
        job->digest, need, where, have, lack);
}

bool image_job_make_room(const struct image_job *job, uint64_t bytes)
{
    struct image_downloads *store = job->store;
    uint64_t freed = image_downloads_sweep(store, STAGED_AGE_MS);
    if (freed < bytes && store->options.cache != NULL)
        freed += image_cache_make_room(store->options.cache, bytes - freed);
    return freed > 0;
}
