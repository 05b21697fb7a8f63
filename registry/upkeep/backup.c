#include "registry/upkeep/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "registry/storage/blob_backend.h"

#define CHUNK      ((size_t)1 << 20)
#define MARK       "backup.json"
#define STARTED    "backup.started" /* a first backup that is not complete yet */
#define MARK_LIMIT ((size_t)64 << 10)
#define MARK_TEXT  "{\"format\": 1, \"version\": \"" SHOAL_VERSION "\"}\n"

static const struct json_field report_fields[] = {
    JSON_FIELD(struct backup_report, blobs, "blobs", JSON_UINT, .flags = 0),
    JSON_FIELD(struct backup_report, bytes, "bytes", JSON_UINT, .flags = 0),
    JSON_FIELD(struct backup_report, copied, "copied", JSON_UINT, .flags = 0),
    JSON_FIELD(struct backup_report, copied_bytes, "copied_bytes", JSON_UINT, .flags = 0),
    JSON_FIELD(struct backup_report, missing, "missing", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct backup_report, duration, "duration", JSON_DURATION, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record backup_report_record = {sizeof(struct backup_report), report_fields};

struct copy {
    struct blob_store *from, *to;
    const char *target; /* for messages */
    struct task_progress *progress;
    struct backup_report *report;
    struct error *error;
    bool is_unreadable; /* the blob under way, where it comes from */
};

/* --- one blob --- */

static int read_some(struct blob_source *source, uint64_t offset, void *ret_bytes,
                     struct error *error)
{
    uint64_t left = source->size - offset;
    size_t wanted = left < CHUNK ? (size_t)left : CHUNK;
    ssize_t got;
    if (source->kind == BLOB_SOURCE_FILE) {
        do {
            got = pread(source->descriptor, ret_bytes, wanted, (off_t)offset);
        } while (got < 0 && errno == EINTR);
    } else {
        got = source->read(source->data, offset, ret_bytes, wanted);
    }
    /* A damaged disk is no reason to leave the others out. */
    if (got < 0 && source->kind == BLOB_SOURCE_FILE)
        return error_set(error, ERROR_SIGNATURE, "its bytes cannot be read: %s", strerror(errno));
    if (got <= 0)
        return error_set(error, ERROR_IO, "its bytes end at %llu of %llu",
                         (unsigned long long)offset, (unsigned long long)source->size);
    return (int)got;
}

static int copy_bytes(struct copy *copy, struct blob_source *source, struct blob_upload *upload,
                      struct error *error)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    for (uint64_t offset = 0; offset < source->size;) {
        if (task_check(copy->progress, error) < 0)
            return -1;
        int got = read_some(source, offset, chunk, error);
        copy->is_unreadable = got < 0;
        if (got < 0)
            return -1;
        if (blob_upload_write(upload, chunk, (size_t)got, error) < 0)
            return error_wrap(error, "write to %s", copy->target);
        offset += (uint64_t)got;
        task_advance(copy->progress, (uint64_t)got);
    }
    return 0;
}

/* Through an upload of the other store's, which hashes, syncs and appears whole. */
static int copy_source(struct copy *copy, const char *digest, struct blob_source *source,
                       struct error *error)
{
    struct blob_upload *upload = NULL;
    enum digest_algorithm algorithm;
    digest_parse(digest, &algorithm);
    if (blob_upload_create(copy->to, algorithm, &upload, error) < 0)
        return -1;
    int result = copy_bytes(copy, source, upload, error);
    if (result == 0)
        result = blob_upload_seal(upload, digest, error);
    if (result == 0)
        result = blob_upload_publish(upload, digest, error);
    if (result < 0)
        blob_upload_remove(upload, NULL);
    blob_upload_close(upload);
    return result;
}

/* Whether a failure is this blob's alone: then the others go on without it. */
static bool is_of_the_blob(const struct copy *copy, const struct error *error)
{
    return error->code == ERROR_NOT_FOUND || error->code == ERROR_SIGNATURE || copy->is_unreadable;
}

static int fetch_and_copy(struct copy *copy, const char *digest, uint64_t *ret_size,
                          struct error *error)
{
    struct blob_source source = {.descriptor = -1};
    copy->is_unreadable = false;
    if (blob_store_fetch(copy->from, digest, BLOB_FETCH_READ, &source, error) < 0) {
        copy->is_unreadable = error->code != ERROR_UNAVAILABLE && error->code != ERROR_TIMEOUT;
        return -1;
    }
    *ret_size = source.size;
    int result = copy_source(copy, digest, &source, error);
    blob_source_release(&source);
    return result;
}

/* One that is there already was checked when it came, and may be better than ours by now. */
static int copy_blob(const char *digest, void *data)
{
    struct copy *copy = data;
    struct error why = ERROR_INIT;
    uint64_t size = 0;
    if (task_check(copy->progress, copy->error) < 0)
        return -1;
    if (blob_store_stat(copy->to, digest, &size, NULL) < 0) {
        if (fetch_and_copy(copy, digest, &size, &why) < 0) {
            if (!is_of_the_blob(copy, &why)) {
                error_copy(copy->error, &why);
                return error_wrap(copy->error, "blob %s", digest);
            }
            log_error("a blob could not be copied", "digest", digest, "error", why.message);
            json_strings_add(&copy->report->missing, digest);
            return 0;
        }
        copy->report->copied++;
        copy->report->copied_bytes += size;
    }
    copy->report->blobs++;
    copy->report->bytes += size;
    return 0;
}

/* --- there --- */

static int open_target(const char *target, struct blob_store **ret_store, struct error *error)
{
    struct blob_backend *backend = NULL;
    if (file_make_directory(target, 0700, error) < 0 ||
        blob_files_open(target, &backend, error) < 0)
        return -1;
    return blob_store_open(target, backend, ret_store, error);
}

/* Keeps garbage collection away until it is closed. */
static int hold_collections(const char *state, int *ret_descriptor, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/collect.lock", state);
    AUTO_CLOSE int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return error_set_errno(error, errno, "open %s", path);
    /* A collection holds it for a short while only. */
    while (flock(descriptor, LOCK_SH) < 0) {
        if (errno != EINTR)
            return error_set_errno(error, errno, "lock %s", path);
    }
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

static int publish_database(const char *partial, const char *database, struct error *error)
{
    if (rename(partial, database) < 0)
        return error_set_errno(error, errno, "rename %s to %s", partial, database);
    AUTO_FREE char *folder = xstrndup(database, (size_t)(strrchr(database, '/') - database));
    return file_sync_directory(folder, error);
}

/* Whether `inner` is `outer` or below it. Both are resolved. */
static bool is_within(const char *inner, const char *outer)
{
    size_t length = strlen(outer);
    return strncmp(inner, outer, length) == 0 && (inner[length] == '/' || inner[length] == '\0');
}

static bool has_file(const char *folder, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *entry; folder != NULL && !found && (entry = readdir(folder)) != NULL;)
        found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (folder != NULL)
        closedir(folder);
    return folder != NULL && !found;
}

/* A folder of its own, an empty one, or one of an earlier backup: nothing else is touched. */
static int check_target(const struct backup_parts *parts, const char *target, struct error *error)
{
    AUTO_FREE char *state = realpath(parts->state, NULL);
    AUTO_FREE char *resolved = realpath(target, NULL);
    if (state != NULL && is_within(resolved != NULL ? resolved : target, state))
        return error_set(error, ERROR_INVALID,
                         "%s is within the registry's own state %s: choose a folder elsewhere",
                         target, parts->state);
    if (resolved == NULL)
        return errno == ENOENT ? 0 : error_set_errno(error, errno, "%s", target);
    if (has_file(resolved, "lock") || has_file(resolved, "collect.lock"))
        return error_set(error, ERROR_CONFLICT,
                         "%s is the state of a registry: a backup would destroy it. Choose an "
                         "empty folder, or the one of an earlier backup",
                         target);
    if (has_file(resolved, MARK) || has_file(resolved, STARTED) || is_empty(resolved))
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "%s holds something that is no backup: choose an empty folder, or the one of "
                     "an earlier backup",
                     target);
}

/* Of what the snapshot names, not of what is there by now. */
static int copy_snapshot(struct copy *copy, const char *database)
{
    struct metadata *snapshot = NULL;
    if (metadata_open_copy(database, &snapshot, copy->error) < 0)
        return -1;
    int result = metadata_each_digest(snapshot, copy_blob, copy, copy->error);
    metadata_close(snapshot);
    return result;
}

/* The snapshot first: what it names is there for as long as collections are held. What a client
 * deletes meanwhile is missed, and said. An earlier backup in the folder is whole until this one
 * is: its metadata is replaced when all blobs are there. */
static int back_up_into(const struct backup_parts *parts, const char *target, struct copy *copy)
{
    AUTO_FREE char *database = xasprintf("%s/metadata.db", target);
    AUTO_FREE char *fresh = xasprintf("%s/metadata.db.new", target);
    AUTO_FREE char *mark = xasprintf("%s/" MARK, target);
    AUTO_FREE char *started = xasprintf("%s/" STARTED, target);
    if (file_write(started, "", 0, 0600, copy->error) < 0 ||
        metadata_back_up(parts->metadata, fresh, copy->error) < 0 ||
        copy_snapshot(copy, fresh) < 0 || publish_database(fresh, database, copy->error) < 0 ||
        file_write(mark, MARK_TEXT, strlen(MARK_TEXT), 0600, copy->error) < 0)
        return -1;
    unlink(started);
    return 0;
}

int backup_run(const struct backup_parts *parts, const char *target, struct task_progress *progress,
               struct backup_report *ret_report, struct error *error)
{
    uint64_t started = clock_monotonic_ms(clock_system());
    AUTO_CLOSE int lock = -1;
    struct blob_store *store = NULL;
    *ret_report = (struct backup_report){0};
    if (target[0] != '/')
        return error_set(error, ERROR_INVALID, "\"%s\" is no absolute path", target);
    if (check_target(parts, target, error) < 0 ||
        hold_collections(parts->state, &lock, error) < 0 || open_target(target, &store, error) < 0)
        return -1;
    struct copy copy = {parts->blobs, store, target, progress, ret_report, error, false};
    int result = back_up_into(parts, target, &copy);
    if (result < 0 && error != NULL && error->code == ERROR_STORAGE_FULL)
        error_wrap(error, "there is no room for the backup in %s", target);
    blob_store_close(store);
    ret_report->duration = clock_monotonic_ms(clock_system()) - started;
    return result;
}

/* --- and back --- */

static int check_source(const char *source, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/" MARK, source);
    AUTO_FREE char *text = NULL;
    AUTO_JSON struct json_object *mark = NULL;
    struct json_object *format;
    size_t length;
    if (access(path, F_OK) != 0)
        return error_set(error, ERROR_NOT_FOUND,
                         "%s holds no complete backup, as there is no %s: run the backup to its "
                         "end, or name another folder",
                         source, path);
    if (file_read(path, MARK_LIMIT, &text, &length, error) < 0)
        return -1;
    if (json_parse(text, length, &mark, error) < 0)
        return error_wrap(error, "%s", path);
    if (json_object_object_get_ex(mark, "format", &format) && json_object_get_int64(format) == 1)
        return 0;
    return error_set(error, ERROR_PROTOCOL,
                     "%s is of a format that this version does not know: use the version that "
                     "made the backup, or a newer one",
                     path);
}

/* The metadata's own copy, so that opening it changes nothing in the backup. */
static int copy_file(const char *from, const char *to, struct error *error)
{
    AUTO_CLOSE int source = open(from, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int target = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    if (source < 0 || target < 0)
        return error_set_errno(error, errno, "copy %s to %s", from, to);
    for (;;) {
        ssize_t got = read(source, chunk, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read %s", from);
        if (got == 0)
            break;
        if (file_write_all(target, chunk, (size_t)got, error) < 0)
            return -1;
    }
    return fsync(target) < 0 ? error_set_errno(error, errno, "sync %s", to) : 0;
}

/* The log of a restore that was interrupted belongs to that one's copy. */
static int remove_log(const char *partial, struct error *error)
{
    static const char *const endings[] = {"-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_LENGTH(endings); i++) {
        AUTO_FREE char *path = xasprintf("%s%s", partial, endings[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(error, errno, "remove %s", path);
    }
    return 0;
}

static int restore_blobs(const char *partial, struct copy *copy)
{
    struct metadata *metadata = NULL;
    if (metadata_open(partial, &metadata, copy->error) < 0)
        return -1;
    int result = metadata_each_digest(metadata, copy_blob, copy, copy->error);
    metadata_close(metadata); /* its write-ahead log goes into the file */
    return result;
}

int backup_restore(const char *source, struct blob_store *blobs, const char *database,
                   struct task_progress *progress, struct backup_report *ret_report,
                   struct error *error)
{
    uint64_t started = clock_monotonic_ms(clock_system());
    AUTO_FREE char *from = xasprintf("%s/metadata.db", source);
    AUTO_FREE char *partial = xasprintf("%s.restored", database);
    struct blob_store *store = NULL;
    *ret_report = (struct backup_report){0};
    if (check_source(source, error) < 0 || open_target(source, &store, error) < 0)
        return -1;
    struct copy copy = {store, blobs, database, progress, ret_report, error, false};
    int result = remove_log(partial, error);
    if (result == 0)
        result = copy_file(from, partial, error);
    if (result == 0)
        result = restore_blobs(partial, &copy);
    if (result == 0)
        result = publish_database(partial, database, error);
    blob_store_close(store);
    ret_report->duration = clock_monotonic_ms(clock_system()) - started;
    return result;
}
