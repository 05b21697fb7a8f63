/* Snapshots: copies of a volume's file beside it, and the way back. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/host/volumes.h"
#include "agent/host/volumes_internal.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define CHUNK_BYTES    ((size_t)1 << 20)
#define DISK_KEPT_FREE ((uint64_t)16 << 20) /* by a download, too */

/* ---- copying ---- */

static int write_at(int to, const char *bytes, size_t length, off_t at, struct error *error)
{
    while (length > 0) {
        ssize_t written = pwrite(to, bytes, length, at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return error_set_errno(error, errno, "write the copy");
        bytes += written;
        length -= (size_t)written;
        at += written;
    }
    return 0;
}

/* An end must not wait for what may take minutes. */
static int check_going_on(const struct volumes *volumes, struct error *error)
{
    return atomic_load(&volumes->stopping)
               ? error_set(error, ERROR_UNAVAILABLE, "the node's agent is ending: try again")
               : 0;
}

static int copy_range(const struct volumes *volumes, int from, int to, off_t begin, off_t end,
                      char *chunk, struct error *error)
{
    while (begin < end) {
        if (check_going_on(volumes, error) < 0)
            return -1;
        size_t wanted = (size_t)(end - begin) < CHUNK_BYTES ? (size_t)(end - begin) : CHUNK_BYTES;
        ssize_t got = pread(from, chunk, wanted, begin);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set_errno(error, got < 0 ? errno : EIO, "read what is copied");
        if (write_at(to, chunk, (size_t)got, begin, error) < 0)
            return -1;
        begin += got;
    }
    return 0;
}

/* What was never written takes no room in the copy either. */
static int copy_sparse(const struct volumes *volumes, int from, int to, off_t size,
                       struct error *error)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK_BYTES);
    off_t at = 0;
    if (ftruncate(to, size) < 0)
        return error_set_errno(error, errno, "make room for the copy");
    while (at < size) {
        off_t begin = lseek(from, at, SEEK_DATA);
        if (begin < 0 && errno == ENXIO)
            return 0;
        off_t end = begin < 0 ? -1 : lseek(from, begin, SEEK_HOLE);
        if (end < 0)
            return error_set_errno(error, errno, "look for what is to be copied");
        if (copy_range(volumes, from, to, begin, end < size ? end : size, chunk, error) < 0)
            return -1;
        at = end;
    }
    return 0;
}

/* A file system that can lets both share their blocks; it takes no time then, and no room. */
static bool share(int from, int to)
{
    return ioctl(to, FICLONE, from) == 0;
}

static int copy(const struct volumes *volumes, int from, int to, struct error *error)
{
    struct stat status;
    if (check_going_on(volumes, error) < 0)
        return -1;
    if (share(from, to))
        return 0;
    if (fstat(from, &status) < 0)
        return error_set_errno(error, errno, "look at what is copied");
    return copy_sparse(volumes, from, to, status.st_size, error);
}

static uint64_t taken_by(int file)
{
    struct stat status;
    return fstat(file, &status) == 0 ? volume_taken(&status) : 0;
}

/* A guest that is away for long counts as hung. */
static int check_pause(uint64_t taken, struct error *error)
{
    char bytes[TEXT_SIZE_MAX], most[TEXT_SIZE_MAX];
    if (taken <= VOLUME_PAUSED_COPY_MAX)
        return 0;
    text_format_size(taken, bytes, sizeof bytes);
    text_format_size(VOLUME_PAUSED_COPY_MAX, most, sizeof most);
    return error_set(error, ERROR_CONFLICT,
                     "its guest would be paused while %s are copied, and %s is the most: stop the "
                     "instance first (`shoal scale SERVICE=0`)",
                     bytes, most);
}

/* The disk may have less than the limit promises: others write to it too. */
static int check_disk(uint64_t taken, int to, struct error *error)
{
    struct statvfs disk;
    char bytes[TEXT_SIZE_MAX], has[TEXT_SIZE_MAX], kept[TEXT_SIZE_MAX];
    if (fstatvfs(to, &disk) < 0)
        return error_set_errno(error, errno, "look at the disk");
    uint64_t available = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (available >= DISK_KEPT_FREE && taken <= available - DISK_KEPT_FREE)
        return 0;
    text_format_size(taken, bytes, sizeof bytes);
    text_format_size(available, has, sizeof has);
    text_format_size(DISK_KEPT_FREE, kept, sizeof kept);
    return error_set(error, ERROR_STORAGE_FULL,
                     "a copy of %s does not fit on the node's disk: %s are free, of which %s stay "
                     "so (remove volumes or snapshots that nobody needs with `shoal volume rm`)",
                     bytes, has, kept);
}

/* Before anything is copied, or a guest waits for it. */
static int check_copy(int from, int to, bool pauses, struct error *error)
{
    uint64_t taken = taken_by(from);
    if (taken == 0 || share(from, to))
        return 0;
    if (pauses && check_pause(taken, error) < 0)
        return -1;
    return check_disk(taken, to, error);
}

/* `id` "": nobody has it. */
static int copy_paused(const struct volumes *volumes, int from, const char *id, int to,
                       const struct volume_pauser *pauser, struct error *error)
{
    if (check_copy(from, to, id[0] != '\0', error) < 0)
        return -1;
    if (id[0] == '\0')
        return copy(volumes, from, to, error);
    if (pauser->pause(pauser->context, id, error) < 0)
        return -1;
    int result = copy(volumes, from, to, error);
    pauser->resume(pauser->context, id);
    return result;
}

/* A copy gets its name when it is whole. */
struct place {
    char *folder;
    char *partial;
    int file;
};

static int begin_copy(const struct volumes *volumes, const struct host_volume_key *key,
                      struct place *ret_place, struct error *error)
{
    AUTO_FREE char *volume = volume_path(volumes, key, "");
    char *slash = strrchr(volume, '/');
    struct place place = {.folder = xasprintf("%.*s", (int)(slash - volume), volume)};
    place.partial = xasprintf("%s/.%s" VOLUME_PARTIAL_SUFFIX, place.folder, slash + 1);
    unlink(place.partial);
    place.file = open(place.partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (place.file < 0) {
        error_set_errno(error, errno, "create %s", place.partial);
        free(place.folder);
        free(place.partial);
        return -1;
    }
    *ret_place = place;
    return 0;
}

/* `result`: of the copying. */
static int end_copy(struct place *place, int result, const char *path, struct error *error)
{
    if (result == 0 && fsync(place->file) < 0)
        result = error_set_errno(error, errno, "sync the copy");
    if (result == 0 && rename(place->partial, path) < 0)
        result = error_set_errno(error, errno, "name the copy %s", path);
    if (result == 0)
        result = file_sync_directory(place->folder, error);
    else
        unlink(place->partial);
    close(place->file);
    free(place->folder);
    free(place->partial);
    return result;
}

/* ---- one at a time, of each volume ---- */

/* Takes the volume for a copy: nobody's, or with `used` also an instance's. With the lock. */
static struct volume_held *take(struct volumes *volumes, const struct host_volume_key *key,
                                bool used, struct error *error)
{
    struct volume_held *held = volumes_find_held(volumes, key);
    int file;
    if (held == NULL) {
        if (volume_open_locked(volumes, key, &file, error) < 0)
            return NULL;
        if (volume_check_unused(file, error) < 0) {
            volume_close_locked(file);
            return NULL;
        }
        held = volumes_add_held(volumes, key, "", file);
    } else if (held->is_copied) {
        error_set(error, ERROR_CONFLICT, "it is being copied already");
        return NULL;
    } else if (!used) {
        error_set(error, ERROR_CONFLICT, "instance %s has it", held->id);
        return NULL;
    }
    held->is_copied = true;
    return held;
}

static void give_back(struct volumes *volumes, struct volume_held *held)
{
    pthread_mutex_lock(&volumes->lock);
    held->is_copied = false;
    volumes->is_counted = false;
    volumes_release_held(volumes, held);
    pthread_mutex_unlock(&volumes->lock);
}

bool volumes_are_copied(struct volumes *volumes, const char *id)
{
    bool are_copied = false;
    pthread_mutex_lock(&volumes->lock);
    for (const struct volume_held *held = volumes->held; held != NULL; held = held->next)
        are_copied = are_copied || (held->is_copied && strcmp(held->id, id) == 0);
    pthread_mutex_unlock(&volumes->lock);
    return are_copied;
}

static int check_names(const struct host_volume_key *key, const char *snapshot, struct error *error)
{
    if (volume_key_check(key, error) < 0)
        return -1;
    if (!text_is_name(snapshot))
        return error_set(error, ERROR_INVALID, "a snapshot's name is not well formed");
    return 0;
}

/* `ret_reserved`: bytes that are kept for it until end_snapshot. */
static struct volume_held *begin_snapshot(struct volumes *volumes,
                                          const struct host_volume_key *key, const char *path,
                                          bool used, char ret_id[INSTANCE_ID_MAX],
                                          uint64_t *ret_reserved, struct error *error)
{
    struct volume_held *held = NULL;
    pthread_mutex_lock(&volumes->lock);
    if (access(path, F_OK) == 0)
        error_set(error, ERROR_CONFLICT,
                  "it has a snapshot of that name: choose another, or remove that one first");
    else if ((held = take(volumes, key, used, error)) != NULL &&
             volumes_check_room(volumes, taken_by(held->file), error) < 0) {
        held->is_copied = false;
        volumes_release_held(volumes, held);
        held = NULL;
    }
    if (held != NULL) {
        memcpy(ret_id, held->id, sizeof held->id);
        *ret_reserved = taken_by(held->file);
        volumes->reserved += *ret_reserved;
    }
    pthread_mutex_unlock(&volumes->lock);
    return held;
}

static void end_snapshot(struct volumes *volumes, uint64_t reserved)
{
    pthread_mutex_lock(&volumes->lock);
    volumes->reserved -= reserved;
    pthread_mutex_unlock(&volumes->lock);
}

int volumes_snapshot(struct volumes *volumes, const struct host_volume_key *key,
                     const char *snapshot, const struct volume_pauser *pauser, struct error *error)
{
    struct place place;
    char id[INSTANCE_ID_MAX];
    uint64_t reserved;
    if (check_names(key, snapshot, error) < 0)
        return -1;
    AUTO_FREE char *text = volume_text(key);
    AUTO_FREE char *path = volume_path(volumes, key, snapshot);
    struct volume_held *held =
        begin_snapshot(volumes, key, path, pauser != NULL, id, &reserved, error);
    if (held == NULL)
        return error_wrap(error, "snapshot %s of volume %s", snapshot, text);
    int result = begin_copy(volumes, key, &place, error);
    if (result == 0)
        result = end_copy(&place, copy_paused(volumes, held->file, id, place.file, pauser, error),
                          path, error);
    end_snapshot(volumes, reserved);
    give_back(volumes, held);
    return result < 0 ? error_wrap(error, "snapshot %s of volume %s", snapshot, text) : 0;
}

int volumes_restore(struct volumes *volumes, const struct host_volume_key *key,
                    const char *snapshot, struct error *error)
{
    if (check_names(key, snapshot, error) < 0)
        return -1;
    AUTO_FREE char *text = volume_text(key);
    AUTO_FREE char *path = volume_path(volumes, key, snapshot);
    AUTO_FREE char *target = volume_path(volumes, key, "");
    AUTO_CLOSE int from = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct place place;
    if (from < 0 && errno == ENOENT)
        return error_set(error, ERROR_NOT_FOUND, "volume %s has no snapshot %s", text, snapshot);
    if (from < 0)
        return error_set_errno(error, errno, "open snapshot %s of volume %s", snapshot, text);
    pthread_mutex_lock(&volumes->lock);
    struct volume_held *held = take(volumes, key, false, error);
    pthread_mutex_unlock(&volumes->lock);
    if (held == NULL)
        return error_wrap(error, "restore volume %s", text);
    int result = begin_copy(volumes, key, &place, error);
    if (result == 0)
        result = end_copy(&place, copy_paused(volumes, from, "", place.file, NULL, error), target,
                          error);
    give_back(volumes, held);
    return result < 0 ? error_wrap(error, "restore volume %s", text) : 0;
}

/* ---- removing ---- */

struct removal {
    struct volumes *volumes;
    const struct host_volume_key *key;
};

static void remove_one(void *context, const struct volume_file *file)
{
    const struct removal *removal = context;
    if (!volume_key_is_same(&file->key, removal->key) || file->snapshot[0] == '\0')
        return;
    AUTO_FREE char *path = volume_path(removal->volumes, &file->key, file->snapshot);
    unlink(path);
}

/* The other volumes of a slot. */
struct slot_count {
    const struct host_volume_key *key;
    uint32_t count;
};

static void count_one(void *context, const struct volume_file *file)
{
    struct slot_count *counted = context;
    struct host_volume_key key = file->key;
    memcpy(key.name, counted->key->name, sizeof key.name);
    counted->count += file->snapshot[0] == '\0' && volume_key_is_same(&key, counted->key);
}

/* Folders go with the last file in them, up to the namespace's. */
static void remove_folders(char *path)
{
    for (int level = 0; level < 3; level++) {
        *strrchr(path, '/') = '\0';
        if (rmdir(path) < 0)
            return;
    }
}

/* With the lock, so that nothing comes into a folder that goes. */
static int remove_volume(struct volumes *volumes, const struct host_volume_key *key,
                         struct error *error)
{
    struct removal removal = {.volumes = volumes, .key = key};
    AUTO_FREE char *path = volume_path(volumes, key, "");
    struct volume_held *held = take(volumes, key, false, error);
    if (held == NULL)
        return -1;
    /* The volume last: a removal that was cut off can be asked for again. */
    volumes_walk(volumes, remove_one, &removal);
    int result = unlink(path) < 0 ? error_set_errno(error, errno, "remove %s", path) : 0;
    if (result == 0)
        remove_folders(path);
    held->is_copied = false;
    volumes_release_held(volumes, held);
    return result;
}

int volumes_remove(struct volumes *volumes, const struct host_volume_key *key, const char *snapshot,
                   uint32_t *ret_left, struct error *error)
{
    struct slot_count left = {.key = key};
    if (volume_key_check(key, error) < 0 ||
        (snapshot[0] != '\0' && check_names(key, snapshot, error) < 0))
        return -1;
    AUTO_FREE char *text = volume_text(key);
    AUTO_FREE char *path = volume_path(volumes, key, snapshot);
    int result = 0;
    pthread_mutex_lock(&volumes->lock);
    if (snapshot[0] == '\0')
        result = remove_volume(volumes, key, error);
    else if (unlink(path) < 0)
        result = errno == ENOENT
                     ? error_set(error, ERROR_NOT_FOUND, "it has no snapshot %s", snapshot)
                     : error_set_errno(error, errno, "snapshot %s", snapshot);
    volumes->is_counted = false;
    volumes_walk(volumes, count_one, &left);
    pthread_mutex_unlock(&volumes->lock);
    if (result < 0)
        return error_wrap(error, "remove volume %s", text);
    *ret_left = left.count;
    return 0;
}
