/* Volumes: writable disks that belong to a slot of a service and outlive its instances.
 *
 * One sparse raw file each, below <state>/host/volumes: <namespace>/<service>/<slot>/<name>, and
 * its snapshots beside it as <name>@<snapshot>. All is root's; while a microVM has a volume the
 * file is its QEMU's user's, which also tells the next start who has it. Who has a volume holds an
 * exclusive flock on it for as long as the microVM lives, beside QEMU's own lock: there is one
 * writer.
 *
 * Names come from elsewhere and are checked here again. Blocking; any thread. Knows nothing of
 * hypervisors: who asks for the copy of a volume in use has paused its guest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/host_protocol.h"
#include "lib/buffer.h"
#include "lib/error.h"

struct volumes;

/* `limit`: bytes that all of them may have together, volumes by their size and snapshots by what
 * they take on the disk; 0: 80 % of what the disk has free, with what they take already. `shown` is
 * where QEMU sees the folder. Removes what an interrupted copy left. */
struct volumes *volumes_create(const char *state_directory, const char *shown, uint64_t limit,
                               struct error *error);
void volumes_destroy(struct volumes *volumes);
/* Any thread: copies break off soon, with ERROR_UNAVAILABLE, and none begins. NULL: nothing. */
void volumes_stop(struct volumes *volumes);
/* Bytes that all of them may have together. */
uint64_t volumes_limit(const struct volumes *volumes);
/* Of it: `ret_used` is taken, volumes by their size and snapshots by what they take, which alone is
 * `ret_snapshots`. Counted anew only where something changed. */
void volumes_count(struct volumes *volumes, uint64_t *ret_used, uint64_t *ret_snapshots);
/* The folder itself, to be shown. */
const char *volumes_folder(const struct volumes *volumes);

/* Gives a volume to an instance: made where there is none, grown where it is smaller than `size`
 * bytes, left alone where it is larger. ERROR_CONFLICT: somebody has it; ERROR_STORAGE_FULL: over
 * the limit. The caller frees `ret_path`, which is as QEMU sees it. */
int volumes_attach(struct volumes *volumes, const char *id, const struct host_volume_key *key,
                   uint64_t size, uint32_t uid, char **ret_path, struct error *error);
/* Takes back all that an instance has, once its QEMU is gone. */
void volumes_detach(struct volumes *volumes, const char *id);
/* At the start: those of microVMs that run are theirs again, and others nobody's. `owner` names the
 * instance that runs under a user, or NULL. */
void volumes_adopt(struct volumes *volumes, const char *(*owner)(void *context, uint32_t uid),
                   void *context);

/* The instance that has it, into `ret_id`; false: nobody. */
bool volumes_holder(struct volumes *volumes, const struct host_volume_key *key,
                    char ret_id[INSTANCE_ID_MAX]);
/* Whether one of an instance's is being copied, for which its guest may stand still. */
bool volumes_are_copied(struct volumes *volumes, const char *id);
/* How the guest that has a volume is held while it is copied. */
struct volume_pauser {
    int (*pause)(void *context, const char *id, struct error *error);
    void (*resume)(void *context, const char *id);
    void *context;
};

/* Copies the volume: as it is when nobody has it, else as the paused guest left it, what it wrote
 * without a flush included. Nobody else gets it meanwhile. Where the disk cannot let files share
 * what they hold, a guest is not paused for more than VOLUME_PAUSED_COPY_MAX. `pauser` NULL: no
 * guest is paused. ERROR_CONFLICT: it is in use so, or the snapshot exists; ERROR_NOT_FOUND without
 * the volume. */
#define VOLUME_PAUSED_COPY_MAX ((uint64_t)256 << 20)
int volumes_snapshot(struct volumes *volumes, const struct host_volume_key *key,
                     const char *snapshot, const struct volume_pauser *pauser, struct error *error);
/* The volume becomes what the snapshot holds, as a whole or not at all. ERROR_CONFLICT while an
 * instance has it. */
int volumes_restore(struct volumes *volumes, const struct host_volume_key *key,
                    const char *snapshot, struct error *error);
/* Removes a snapshot, or with "" the volume and all of its snapshots: ERROR_CONFLICT while an
 * instance has it. `ret_left`: volumes that the slot still has. */
int volumes_remove(struct volumes *volumes, const struct host_volume_key *key, const char *snapshot,
                   uint32_t *ret_left, struct error *error);
/* JSON as lib/api/volumes.h has it. */
void volumes_list(struct volumes *volumes, struct buffer *ret_text);
