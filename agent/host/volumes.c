#include "agent/host/volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/host/volumes_internal.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Of the free disk, when nothing else is said. */
#define LIMIT_PERCENT 80
#define ALIGNMENT     4096 /* a disk is whole blocks */

/* ---- names and paths ---- */

int volume_key_check(const struct host_volume_key *key, struct error *error)
{
    if (!host_volume_key_is_valid(key))
        return error_set(error, ERROR_INVALID, "a volume's name is not well formed");
    return 0;
}

bool volume_key_is_same(const struct host_volume_key *one, const struct host_volume_key *other)
{
    return one->slot == other->slot && strcmp(one->name, other->name) == 0 &&
           strcmp(one->service, other->service) == 0 &&
           strcmp(one->namespace_name, other->namespace_name) == 0;
}

char *volume_text(const struct host_volume_key *key)
{
    return xasprintf("%s/%s/%" PRIu32 "/%s", key->namespace_name, key->service, key->slot,
                     key->name);
}

char *volume_path(const struct volumes *volumes, const struct host_volume_key *key,
                  const char *snapshot)
{
    AUTO_FREE char *text = volume_text(key);
    return xasprintf("%s/%s%s%s", volumes->folder, text, snapshot[0] != '\0' ? "@" : "", snapshot);
}

/* ---- all there are ---- */

struct walk {
    void (*visit)(void *context, const struct volume_file *file); /* NULL: removes cut off copies */
    void *context;
    struct volume_file file;
};

static bool read_name(const char *text, size_t length, char ret_name[NAME_MAX_TEXT])
{
    char name[NAME_MAX_TEXT] = "";
    if (length >= sizeof name)
        return false;
    memcpy(name, text, length);
    if (!text_is_name(name))
        return false;
    memcpy(ret_name, name, sizeof name);
    return true;
}

static bool is_cut_off(const char *entry)
{
    size_t length = strlen(entry), suffix = strlen(VOLUME_PARTIAL_SUFFIX);
    return entry[0] == '.' && length > suffix &&
           strcmp(entry + length - suffix, VOLUME_PARTIAL_SUFFIX) == 0;
}

static void remove_cut_off(int folder, const char *entry)
{
    if (!is_cut_off(entry))
        return;
    log_info("a copy of a volume that was cut off is removed", "file", entry);
    unlinkat(folder, entry, 0);
}

static void walk_file(struct walk *walk, int folder, const char *entry)
{
    struct volume_file *file = &walk->file;
    const char *mark = strchrnul(entry, '@');
    file->snapshot[0] = '\0';
    if (!read_name(entry, (size_t)(mark - entry), file->key.name) ||
        (*mark == '@' && !read_name(mark + 1, strlen(mark + 1), file->snapshot)))
        return;
    if (fstatat(folder, entry, &file->status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(file->status.st_mode))
        walk->visit(walk->context, file);
}

/* Level 0 has namespaces, 1 services, 2 slots; 3 is where the files are. */
static bool read_level(struct host_volume_key *key, int level, const char *name)
{
    uint64_t slot;
    if (level == 0)
        return read_name(name, strlen(name), key->namespace_name);
    if (level == 1)
        return read_name(name, strlen(name), key->service);
    if (!text_parse_u64(name, HOST_SLOT_MAX, &slot))
        return false;
    key->slot = (uint32_t)slot;
    return true;
}

static void walk_folder(struct walk *walk, int folder, int level)
{
    DIR *entries = fdopendir(folder);
    struct dirent *entry;
    if (entries == NULL) {
        close(folder);
        return;
    }
    while ((entry = readdir(entries)) != NULL) {
        if (level == 3) {
            if (walk->visit == NULL)
                remove_cut_off(folder, entry->d_name);
            else
                walk_file(walk, folder, entry->d_name);
        } else if (read_level(&walk->file.key, level, entry->d_name)) {
            int below =
                openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (below >= 0)
                walk_folder(walk, below, level + 1);
        }
    }
    closedir(entries);
}

void volumes_walk(struct volumes *volumes,
                  void (*visit)(void *context, const struct volume_file *file), void *context)
{
    struct walk walk = {.visit = visit, .context = context};
    int folder = open(volumes->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0)
        walk_folder(&walk, folder, 0);
}

struct sums {
    uint64_t volumes, snapshots; /* bytes */
};

static void add_up(void *context, const struct volume_file *file)
{
    struct sums *sums = context;
    if (file->snapshot[0] == '\0')
        sums->volumes += (uint64_t)file->status.st_size;
    else
        sums->snapshots += volume_taken(&file->status);
}

uint64_t volumes_used(struct volumes *volumes)
{
    struct sums sums = {0};
    volumes_walk(volumes, add_up, &sums);
    return sums.volumes + sums.snapshots;
}

void volumes_count(struct volumes *volumes, uint64_t *ret_used, uint64_t *ret_snapshots)
{
    struct sums sums = {0};
    pthread_mutex_lock(&volumes->lock);
    if (!volumes->is_counted) {
        volumes_walk(volumes, add_up, &sums);
        volumes->used = sums.volumes + sums.snapshots;
        volumes->snapshots = sums.snapshots;
        volumes->is_counted = true;
    }
    *ret_used = volumes->used;
    *ret_snapshots = volumes->snapshots;
    pthread_mutex_unlock(&volumes->lock);
}

static void add_taken(void *context, const struct volume_file *file)
{
    *(uint64_t *)context += volume_taken(&file->status);
}

int volumes_check_room(struct volumes *volumes, uint64_t more, struct error *error)
{
    char wanted[TEXT_SIZE_MAX], taken[TEXT_SIZE_MAX], limit[TEXT_SIZE_MAX];
    uint64_t used = volumes_used(volumes) + volumes->reserved;
    if (used <= volumes->limit && more <= volumes->limit - used)
        return 0;
    text_format_size(more, wanted, sizeof wanted);
    text_format_size(used, taken, sizeof taken);
    text_format_size(volumes->limit, limit, sizeof limit);
    return error_set(error, ERROR_STORAGE_FULL,
                     "no room for %s more of volumes and snapshots: %s of this node's %s are taken "
                     "(remove some that nobody needs with `shoal volume rm`, or start the agent "
                     "with a larger --volumes)",
                     wanted, taken, limit);
}

/* ---- life ---- */

static uint64_t default_limit(struct volumes *volumes)
{
    struct statvfs disk;
    uint64_t taken = 0;
    if (statvfs(volumes->folder, &disk) < 0)
        return 0;
    volumes_walk(volumes, add_taken, &taken);
    return ((uint64_t)disk.f_bavail * disk.f_frsize + taken) / 100 * LIMIT_PERCENT;
}

struct volumes *volumes_create(const char *state_directory, const char *shown, uint64_t limit,
                               struct error *error)
{
    struct volumes *volumes = xcalloc(1, sizeof *volumes);
    pthread_mutex_init(&volumes->lock, NULL);
    volumes->folder = xasprintf("%s/host/volumes", state_directory);
    volumes->shown = xstrdup(shown);
    /* QEMU's users pass through; only root lists, makes and removes. */
    if (file_make_directory(volumes->folder, 0711, error) < 0) {
        volumes_destroy(volumes);
        return NULL;
    }
    volumes_walk(volumes, NULL, NULL);
    volumes->limit = limit > 0 ? limit : default_limit(volumes);
    return volumes;
}

/* The locks go with the process; microVMs keep QEMU's own. */
void volumes_destroy(struct volumes *volumes)
{
    if (volumes == NULL)
        return;
    for (struct volume_held *held = volumes->held, *next; held != NULL; held = next) {
        next = held->next;
        volume_close_locked(held->file);
        free(held);
    }
    pthread_mutex_destroy(&volumes->lock);
    free(volumes->folder);
    free(volumes->shown);
    free(volumes);
}

void volumes_stop(struct volumes *volumes)
{
    if (volumes != NULL)
        atomic_store(&volumes->stopping, true);
}

uint64_t volumes_limit(const struct volumes *volumes)
{
    return volumes->limit;
}

const char *volumes_folder(const struct volumes *volumes)
{
    return volumes->folder;
}

/* ---- who has which ---- */

struct volume_held *volumes_find_held(struct volumes *volumes, const struct host_volume_key *key)
{
    for (struct volume_held *held = volumes->held; held != NULL; held = held->next) {
        if (volume_key_is_same(&held->key, key))
            return held;
    }
    return NULL;
}

struct volume_held *volumes_add_held(struct volumes *volumes, const struct host_volume_key *key,
                                     const char *id, int file)
{
    struct volume_held *held = xcalloc(1, sizeof *held);
    held->key = *key;
    snprintf(held->id, sizeof held->id, "%s", id);
    held->file = file;
    held->next = volumes->held;
    volumes->held = held;
    return held;
}

void volumes_release_held(struct volumes *volumes, struct volume_held *held)
{
    if (held->id[0] != '\0' || held->is_copied)
        return;
    struct volume_held **link = &volumes->held;
    while (*link != held)
        link = &(*link)->next;
    *link = held->next;
    if (fchown(held->file, 0, 0) < 0)
        log_warn("a volume stays its last user's", "name", held->key.name, "error",
                 strerror(errno));
    volume_close_locked(held->file);
    free(held);
}

/* By name: a child that was forked meanwhile may have the descriptor for another moment. */
void volume_close_locked(int file)
{
    flock(file, LOCK_UN);
    close(file);
}

int volume_open_locked(const struct volumes *volumes, const struct host_volume_key *key,
                       int *ret_file, struct error *error)
{
    AUTO_FREE char *path = volume_path(volumes, key, "");
    AUTO_FREE char *text = volume_text(key);
    AUTO_CLOSE int file = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0)
        return error_set_errno(error, errno, "open volume %s", text);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_INVALID, "volume %s is no file", text);
    if (flock(file, LOCK_EX | LOCK_NB) < 0)
        return error_set(error, ERROR_CONFLICT, "volume %s is in use", text);
    *ret_file = TAKE_DESCRIPTOR(file);
    return 0;
}

int volume_check_unused(int file, struct error *error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; /* all of it */
    if (fcntl(file, F_OFD_GETLK, &lock) < 0)
        return error_set_errno(error, errno, "look for locks of it");
    if (lock.l_type == F_UNLCK)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "another process has it, a QEMU that has not ended yet or a tool that reads "
                     "it: it can be used once that has ended (`fuser -v` on the node shows which)");
}

bool volumes_holder(struct volumes *volumes, const struct host_volume_key *key,
                    char ret_id[INSTANCE_ID_MAX])
{
    pthread_mutex_lock(&volumes->lock);
    const struct volume_held *held = volumes_find_held(volumes, key);
    bool found = held != NULL && held->id[0] != '\0';
    if (found)
        memcpy(ret_id, held->id, sizeof held->id);
    pthread_mutex_unlock(&volumes->lock);
    return found;
}

/* ---- giving one to an instance ---- */

/* Its folders too are there after a power cut: a guest was told that its data is safe. */
static int make_folders(const struct volumes *volumes, const struct host_volume_key *key,
                        struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s/%s/%" PRIu32, volumes->folder, key->namespace_name,
                                     key->service, key->slot);
    if (file_make_directory(path, 0711, error) < 0)
        return -1;
    for (int level = 0; level < 4; level++) {
        if (file_sync_directory(path, error) < 0)
            return -1;
        *strrchr(path, '/') = '\0';
    }
    return 0;
}

static int make(struct volumes *volumes, const struct host_volume_key *key, uint64_t size,
                struct error *error)
{
    AUTO_FREE char *path = volume_path(volumes, key, "");
    if (volumes_check_room(volumes, size, error) < 0 || make_folders(volumes, key, error) < 0)
        return -1;
    AUTO_CLOSE int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return error_set_errno(error, errno, "create %s", path);
    if (ftruncate(file, (off_t)size) < 0 || fsync(file) < 0) {
        int number = errno;
        unlink(path);
        return error_set_errno(error, number, "create %s", path);
    }
    return make_folders(volumes, key, error);
}

static int grow(struct volumes *volumes, int file, uint64_t size, struct error *error)
{
    struct stat status;
    if (fstat(file, &status) < 0)
        return error_set_errno(error, errno, "look at its size");
    if ((uint64_t)status.st_size >= size)
        return 0;
    if (volumes_check_room(volumes, size - (uint64_t)status.st_size, error) < 0)
        return -1;
    if (ftruncate(file, (off_t)size) < 0 || fsync(file) < 0)
        return error_set_errno(error, errno, "let it grow");
    return 0;
}

/* With the lock. */
static int attach(struct volumes *volumes, const char *id, const struct host_volume_key *key,
                  uint64_t size, uint32_t uid, struct error *error)
{
    struct error missing = ERROR_INIT;
    int file = -1;
    const struct volume_held *other = volumes_find_held(volumes, key);
    if (other != NULL && other->id[0] != '\0')
        return error_set(error, ERROR_CONFLICT, "instance %s has it", other->id);
    if (other != NULL)
        return error_set(error, ERROR_CONFLICT, "it is being copied");
    if (volume_open_locked(volumes, key, &file, &missing) < 0) {
        if (missing.code != ERROR_NOT_FOUND)
            return error_copy(error, &missing);
        if (make(volumes, key, size, error) < 0 ||
            volume_open_locked(volumes, key, &file, error) < 0)
            return -1;
    }
    if (volume_check_unused(file, error) < 0 || grow(volumes, file, size, error) < 0) {
        volume_close_locked(file);
        return -1;
    }
    if (fchown(file, uid, uid) < 0) {
        error_set_errno(error, errno, "give it to its QEMU's user");
        volume_close_locked(file);
        return -1;
    }
    volumes_add_held(volumes, key, id, file);
    return 0;
}

int volumes_attach(struct volumes *volumes, const char *id, const struct host_volume_key *key,
                   uint64_t size, uint32_t uid, char **ret_path, struct error *error)
{
    if (volume_key_check(key, error) < 0)
        return -1;
    AUTO_FREE char *text = volume_text(key);
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    pthread_mutex_lock(&volumes->lock);
    int result = attach(volumes, id, key, size, uid, error);
    volumes->is_counted = false;
    pthread_mutex_unlock(&volumes->lock);
    if (result < 0)
        return error_wrap(error, "volume %s", text);
    *ret_path = xasprintf("%s/%s", volumes->shown, text);
    return 0;
}

void volumes_detach(struct volumes *volumes, const char *id)
{
    pthread_mutex_lock(&volumes->lock);
    for (struct volume_held *held = volumes->held, *next; held != NULL; held = next) {
        next = held->next;
        if (strcmp(held->id, id) != 0)
            continue;
        held->id[0] = '\0';
        volumes_release_held(volumes, held);
    }
    pthread_mutex_unlock(&volumes->lock);
}

/* ---- taking over ---- */

struct adoption {
    struct volumes *volumes;
    const char *(*owner)(void *context, uint32_t uid);
    void *context;
};

static void adopt_one(void *context, const struct volume_file *file)
{
    const struct adoption *adoption = context;
    struct volumes *volumes = adoption->volumes;
    struct error error = ERROR_INIT;
    AUTO_FREE char *text = volume_text(&file->key);
    int descriptor;
    if (file->snapshot[0] != '\0' || file->status.st_uid == 0)
        return;
    if (volume_open_locked(volumes, &file->key, &descriptor, &error) < 0) {
        log_warn("a volume cannot be taken over", "volume", text, "error", error.message);
        return;
    }
    const char *id = adoption->owner(adoption->context, file->status.st_uid);
    struct volume_held *held =
        volumes_add_held(volumes, &file->key, id != NULL ? id : "", descriptor);
    if (id == NULL)
        volumes_release_held(volumes, held);
}

void volumes_adopt(struct volumes *volumes, const char *(*owner)(void *context, uint32_t uid),
                   void *context)
{
    struct adoption adoption = {.volumes = volumes, .owner = owner, .context = context};
    pthread_mutex_lock(&volumes->lock);
    volumes_walk(volumes, adopt_one, &adoption);
    pthread_mutex_unlock(&volumes->lock);
}
