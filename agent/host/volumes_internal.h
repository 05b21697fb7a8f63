/* Shared by volumes.c (who has which) and volume_copies.c (snapshots). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "agent/host/volumes.h"

/* Of a copy that has not got its name yet; it begins with a dot, as no volume does. */
#define VOLUME_PARTIAL_SUFFIX ".part"

/* One that an instance has, or that is being copied. The lock goes when neither holds any more. */
struct volume_held {
    struct volume_held *next;
    struct host_volume_key key;
    char id[INSTANCE_ID_MAX]; /* "": no instance */
    bool is_copied;
    int file; /* locked */
};

struct volumes {
    char *folder;
    char *shown;
    uint64_t limit;
    pthread_mutex_t lock; /* `held`, and that what is made together stays below the limit */
    struct volume_held *held;
    uint64_t reserved; /* bytes, for snapshots that are being made */
    bool is_counted;   /* `used` and `snapshots` are as volumes_count tells them */
    uint64_t used, snapshots;
    atomic_bool stopping; /* copies break off */
};

/* What the folder holds: a volume (`snapshot` "") or a snapshot of one. */
struct volume_file {
    struct host_volume_key key;
    char snapshot[NAME_MAX_TEXT];
    struct stat status;
};

/* Bytes that a file takes on the disk. */
static inline uint64_t volume_taken(const struct stat *status)
{
    return (uint64_t)status->st_blocks * 512; /* whatever the disk's own blocks are */
}

/* Visits all of them, in no order; what has another name is left out. `visit` NULL: removes copies
 * that were cut off. */
void volumes_walk(struct volumes *volumes,
                  void (*visit)(void *context, const struct volume_file *file), void *context);
/* Bytes that count against the limit. */
uint64_t volumes_used(struct volumes *volumes);
/* ERROR_STORAGE_FULL where `more` bytes do not fit. With the lock. */
int volumes_check_room(struct volumes *volumes, uint64_t more, struct error *error);

/* `snapshot` "": of the volume itself. The caller frees. */
char *volume_path(const struct volumes *volumes, const struct host_volume_key *key,
                  const char *snapshot);
/* "default/counter/0/data"; the caller frees. */
char *volume_text(const struct host_volume_key *key);
/* Opens a volume and locks it: ERROR_NOT_FOUND, ERROR_CONFLICT. With the lock of `volumes`. */
int volume_open_locked(const struct volumes *volumes, const struct host_volume_key *key,
                       int *ret_file, struct error *error);
/* ERROR_CONFLICT where another process has a lock of QEMU's on it: the host half's own goes with
 * it, and a QEMU that it does not know may not have ended yet. */
int volume_check_unused(int file, struct error *error);
/* Unlocks and closes. */
void volume_close_locked(int file);
bool volume_key_is_same(const struct host_volume_key *one, const struct host_volume_key *other);
int volume_key_check(const struct host_volume_key *key, struct error *error);
struct volume_held *volumes_find_held(struct volumes *volumes, const struct host_volume_key *key);
struct volume_held *volumes_add_held(struct volumes *volumes, const struct host_volume_key *key,
                                     const char *id, int file);
/* Drops it when nobody needs it any more; the file is root's again. */
void volumes_release_held(struct volumes *volumes, struct volume_held *held);
