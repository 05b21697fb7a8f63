/* A copy of all that a registry holds, and the way back.
 *
 *   <target>/metadata.db           as it was at one moment
 *   <target>/blobs/...             every blob it names; those that are there already are not copied
 *                                  again, so that the next backup into the same folder is short
 *   <target>/backup.json           written last: a folder without it is no backup
 *   <target>/metadata.db.new       of a backup that is under way or did not come to its end; the
 *                                  one before stays whole meanwhile
 *
 * The registry goes on; garbage collection waits. Every byte is checked against its digest on the
 * way, in both directions. Blocking. */
#pragma once

#include "lib/json.h"
#include "registry/metadata/metadata.h"
#include "registry/storage/blob_store.h"
#include "registry/upkeep/task.h"

struct backup_parts {
    struct metadata *metadata;
    struct blob_store *blobs;
    const char *state; /* the folder of collect.lock */
};

struct backup_report {
    uint64_t blobs, bytes;         /* in the backup */
    uint64_t copied, copied_bytes; /* of these, now */
    struct json_strings missing;   /* digests that could not be copied: gone, or damaged */
    uint64_t duration;             /* milliseconds */
};

extern const struct json_record backup_report_record;

/* `target`: an absolute path of a folder that is not there, empty, or an earlier backup's; any
 * other is refused. A blob that cannot be read is reported as missing, unless an earlier backup has
 * it. The caller releases the report by its record. */
int backup_run(const struct backup_parts *parts, const char *target, struct task_progress *progress,
               struct backup_report *ret_report, struct error *error);
/* Into a store without blobs of its own; then puts the metadata at `database`, last. Again after an
 * interruption goes on. ERROR_NOT_FOUND: `source` is no backup. */
int backup_restore(const char *source, struct blob_store *blobs, const char *database,
                   struct task_progress *progress, struct backup_report *ret_report,
                   struct error *error);
