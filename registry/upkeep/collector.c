#include "registry/upkeep/collector.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define PAGE 256
/* Bytes that no entry names are left by a crash only: looking once a day is enough. */
#define ORPHANS_EVERY_MS 86400000u

static const struct json_field settings_fields[] = {
    JSON_FIELD(struct collector_settings, every, "every", JSON_DURATION, .flags = 0),
    JSON_FIELD(struct collector_settings, grace, "grace", JSON_DURATION, .flags = 0),
    JSON_FIELD(struct collector_settings, uploads, "uploads", JSON_DURATION, .min = 1000),
    JSON_FIELD(struct collector_settings, untagged, "untagged", JSON_BOOL, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record collector_settings_record = {sizeof(struct collector_settings),
                                                      settings_fields};

#define COUNT_FIELD(member)                                                                        \
    JSON_FIELD(struct collector_report, member, #member, JSON_OBJECT, .record = &sweep_count_record)

static const struct json_field report_fields[] = {
    JSON_FIELD(struct collector_report, dry_run, "dry_run", JSON_BOOL, .flags = 0),
    COUNT_FIELD(manifests),
    COUNT_FIELD(blobs),
    COUNT_FIELD(files),
    COUNT_FIELD(orphans),
    COUNT_FIELD(uploads),
    COUNT_FIELD(waiting),
    JSON_FIELD(struct collector_report, repositories, "repositories", JSON_UINT, .max = UINT64_MAX),
    JSON_FIELD(struct collector_report, duration, "duration", JSON_DURATION, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record collector_report_record = {sizeof(struct collector_report), report_fields};

struct collector {
    struct collector_parts parts;
    struct collector_settings settings;
    char *state;
    int lock_descriptor;     /* of collect.lock */
    pthread_mutex_t running; /* held by the one collection */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    atomic_bool is_stopping;
};

/* One collection. */
struct collection {
    struct collector *collector;
    const struct collector_options *options;
    struct collector_report *report;
    struct error *error;
    uint64_t now; /* milliseconds since 1970 */
    bool has_failed;
};

static uint64_t before(uint64_t now, uint64_t age)
{
    return age < now ? now - age : 0;
}

static int check_stop(struct collection *collection)
{
    if (!atomic_load(&collection->collector->is_stopping))
        return 0;
    return error_set(collection->error, ERROR_UNAVAILABLE,
                     "the registry is stopping: the collection ends before its end");
}

static void add_to(struct sweep_count *count, uint64_t bytes)
{
    count->count++;
    count->bytes += bytes;
}

/* --- bytes --- */

/* Removes a blob's bytes unless a repository holds it, by now or again. */
static int remove_bytes(struct collection *collection, const char *digest, uint64_t size,
                        struct sweep_count *count)
{
    const struct collector_parts *parts = &collection->collector->parts;
    blob_store_lock_digest(parts->blobs, digest);
    int held = metadata_holds_digest(parts->metadata, digest, collection->error);
    int result = held;
    if (held == 0 && !collection->options->dry_run)
        result = blob_store_remove_blob(parts->blobs, digest, collection->error);
    blob_store_unlock_digest(parts->blobs, digest);
    if (held == 0 && result == 0)
        add_to(count, size);
    return result < 0 ? -1 : 0;
}

/* A digest that the sweep saw leave its last repository. */
static void take_gone(const char *digest, uint64_t size, void *data)
{
    struct collection *collection = data;
    struct sweep_count *count = &collection->report->files;
    if (collection->options->dry_run)
        add_to(count, size);
    else if (!collection->has_failed && remove_bytes(collection, digest, size, count) < 0)
        collection->has_failed = true;
}

static bool take_orphan(const struct blob_entry *entry, void *data)
{
    struct collection *collection = data;
    struct sweep_count *count = &collection->report->orphans;
    if (check_stop(collection) < 0) {
        collection->has_failed = true;
        return false;
    }
    if (entry->age_ms < collection->options->grace)
        return true;
    int held = metadata_holds_digest(collection->collector->parts.metadata, entry->digest,
                                     collection->error);
    if (held < 0 || (held == 0 && remove_bytes(collection, entry->digest, entry->size, count) < 0))
        collection->has_failed = true;
    return !collection->has_failed;
}

static int collect_orphans(struct collection *collection)
{
    if (blob_store_list(collection->collector->parts.blobs, take_orphan, collection,
                        collection->error) < 0)
        return -1;
    return collection->has_failed ? -1 : 0;
}

/* --- what the metadata knows --- */

static int collect_manifests_of(struct collection *collection, struct sweep *sweep,
                                const char *repository)
{
    int more;
    do {
        if (check_stop(collection) < 0)
            return -1;
        more =
            sweep_manifests(sweep, repository, &collection->report->manifests, collection->error);
    } while (more == 1);
    return more;
}

static int collect_manifests(struct collection *collection, struct sweep *sweep)
{
    AUTO_FREE char *last = xstrdup("");
    struct json_strings names;
    do {
        names = (struct json_strings){0};
        if (metadata_list_repositories(collection->collector->parts.metadata, last, PAGE, &names,
                                       collection->error) < 0)
            return -1;
        int result = 0;
        for (size_t i = 0; result == 0 && i < names.count; i++)
            result = collect_manifests_of(collection, sweep, names.items[i]);
        if (names.count > 0) {
            free(last);
            last = xstrdup(names.items[names.count - 1]);
        }
        bool is_end = names.count < PAGE;
        json_strings_release(&names);
        if (result < 0 || is_end)
            return result;
    } while (true);
}

static int collect_blobs(struct collection *collection, struct sweep *sweep)
{
    int more;
    do {
        if (check_stop(collection) < 0)
            return -1;
        more = sweep_blobs(sweep, &collection->report->blobs, take_gone, collection,
                           collection->error);
        if (collection->has_failed)
            return -1;
    } while (more == 1);
    return more;
}

static int collect_repositories(struct collection *collection, struct sweep *sweep)
{
    int more;
    do {
        if (check_stop(collection) < 0)
            return -1;
        more = sweep_repositories(sweep, &collection->report->repositories, collection->error);
    } while (more == 1);
    return more;
}

static int collect_entries(struct collection *collection)
{
    const struct collector_parts *parts = &collection->collector->parts;
    const struct collector_options *options = collection->options;
    uint64_t longer = options->uploads > options->grace ? options->uploads : options->grace;
    const struct sweep_limits limits = {.young = before(collection->now, options->grace),
                                        .young_in_push = before(collection->now, longer)};
    struct sweep *sweep = NULL;
    if (sweep_begin(parts->metadata, parts->leases, &limits, options->dry_run, &sweep,
                    collection->error) < 0)
        return -1;
    int result = options->untagged ? collect_manifests(collection, sweep) : 0;
    if (result == 0)
        result = collect_blobs(collection, sweep);
    if (result == 0)
        result = collect_repositories(collection, sweep);
    collection->report->waiting = sweep_waiting(sweep);
    sweep_end(sweep);
    return result;
}

/* --- uploads --- */

/* 1: removed; 0: somebody is at it, or has been since it was looked at. */
static int remove_upload(const struct collector_parts *parts, const struct blob_upload_entry *entry,
                         struct error *error)
{
    struct error why = ERROR_INIT;
    struct blob_upload *upload = NULL;
    if (blob_upload_open(parts->blobs, entry->id, &upload, &why) < 0)
        return why.code == ERROR_CONFLICT || why.code == ERROR_NOT_FOUND ? 0
                                                                         : error_copy(error, &why);
    int result = 0;
    if (blob_upload_size(upload) == entry->size)
        result = blob_upload_remove(upload, error) < 0 ? -1 : 1;
    blob_upload_close(upload);
    if (result == 1 && metadata_remove_upload(parts->metadata, entry->id, error) < 0)
        return -1;
    return result;
}

static bool take_upload(const struct blob_upload_entry *entry, void *data)
{
    struct collection *collection = data;
    int result = 1;
    if (check_stop(collection) < 0) {
        collection->has_failed = true;
        return false;
    }
    if (entry->age_ms < collection->options->uploads)
        return true;
    if (!collection->options->dry_run)
        result = remove_upload(&collection->collector->parts, entry, collection->error);
    if (result == 1)
        add_to(&collection->report->uploads, entry->size);
    collection->has_failed = result < 0;
    return result >= 0;
}

/* The entry of an upload whose bytes are gone: it was ended and could not be forgotten. */
static int forget_upload(const struct collector_parts *parts, const char *id, struct error *error)
{
    struct error why = ERROR_INIT;
    uint64_t size;
    if (blob_store_upload_size(parts->blobs, id, &size, &why) == 0)
        return 0;
    if (why.code != ERROR_NOT_FOUND)
        return error_copy(error, &why);
    return metadata_remove_upload(parts->metadata, id, error);
}

static int forget_uploads(struct collection *collection)
{
    const struct collector_parts *parts = &collection->collector->parts;
    uint64_t cutoff = before(collection->now, collection->options->uploads);
    AUTO_FREE char *last = xstrdup("");
    int result = 0;
    for (bool is_end = false; result == 0 && !is_end;) {
        struct json_strings ids = {0};
        if (metadata_list_uploads(parts->metadata, cutoff, last, PAGE, &ids, collection->error) < 0)
            return -1;
        for (size_t i = 0; result == 0 && i < ids.count; i++)
            result = forget_upload(parts, ids.items[i], collection->error);
        is_end = ids.count < PAGE;
        if (ids.count > 0) {
            free(last);
            last = xstrdup(ids.items[ids.count - 1]);
        }
        json_strings_release(&ids);
    }
    return result;
}

static int collect_uploads(struct collection *collection)
{
    if (blob_store_list_uploads(collection->collector->parts.blobs, take_upload, collection,
                                collection->error) < 0 ||
        collection->has_failed)
        return -1;
    return collection->options->dry_run ? 0 : forget_uploads(collection);
}

/* --- a collection --- */

static int collect(struct collection *collection)
{
    if (collect_uploads(collection) < 0 || collect_entries(collection) < 0)
        return -1;
    return collection->options->orphans ? collect_orphans(collection) : 0;
}

static void count_metrics(struct metrics *metrics, const struct collector_report *report,
                          int result)
{
    metrics_count(metrics, result < 0 ? COUNTER_COLLECTIONS_FAILED : COUNTER_COLLECTIONS, 1);
    metrics_count(metrics, COUNTER_COLLECTED_BLOBS, report->files.count + report->orphans.count);
    metrics_count(metrics, COUNTER_COLLECTED_BYTES, report->files.bytes + report->orphans.bytes);
    metrics_count(metrics, COUNTER_COLLECTED_MANIFESTS, report->manifests.count);
    metrics_count(metrics, COUNTER_EXPIRED_UPLOADS, report->uploads.count);
}

/* With `running` held. */
static int run_locked(struct collection *collection)
{
    struct collector *collector = collection->collector;
    if (collection->options->dry_run)
        return collect(collection);
    if (flock(collector->lock_descriptor, LOCK_EX | LOCK_NB) < 0)
        return error_set(collection->error, ERROR_CONFLICT,
                         "a backup is being made of %s: nothing is collected until it has ended",
                         collector->parts.state);
    int result = collect(collection);
    flock(collector->lock_descriptor, LOCK_UN);
    count_metrics(collector->parts.metrics, collection->report, result);
    return result;
}

int collector_run(struct collector *collector, const struct collector_options *options,
                  struct collector_report *ret_report, struct error *error)
{
    struct collector_report report = {.dry_run = options->dry_run};
    struct collection collection = {.collector = collector,
                                    .options = options,
                                    .report = &report,
                                    .error = error,
                                    .now = clock_wall_ms(clock_system())};
    pthread_mutex_lock(&collector->running);
    uint64_t start = clock_monotonic_ms(clock_system());
    int result = run_locked(&collection);
    report.duration = clock_monotonic_ms(clock_system()) - start;
    pthread_mutex_unlock(&collector->running);
    *ret_report = report;
    return result < 0 ? error_wrap(error, "collect garbage") : 0;
}

void collector_options_usual(const struct collector *collector,
                             struct collector_options *ret_options)
{
    *ret_options = (struct collector_options){.orphans = true,
                                              .untagged = collector->settings.untagged,
                                              .grace = collector->settings.grace,
                                              .uploads = collector->settings.uploads};
}

/* --- its own thread --- */

static void run_usual(struct collector *collector, bool with_orphans)
{
    struct collector_options options;
    struct collector_report report;
    struct error error = ERROR_INIT;
    collector_options_usual(collector, &options);
    options.orphans = with_orphans;
    if (collector_run(collector, &options, &report, &error) < 0) {
        if (!atomic_load(&collector->is_stopping))
            log_warn("garbage is not collected", "error", error.message);
        return;
    }
    log_info("garbage collected", "manifests", LOG_NUMBER(report.manifests.count), "blobs",
             LOG_NUMBER(report.blobs.count), "files",
             LOG_NUMBER(report.files.count + report.orphans.count), "bytes",
             LOG_NUMBER(report.files.bytes + report.orphans.bytes), "uploads",
             LOG_NUMBER(report.uploads.count), "milliseconds", LOG_NUMBER(report.duration));
}

/* Sleeps; true when it is time, false when it is over. */
static bool wait_for_time(struct collector *collector)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(collector->settings.every / 1000);
    until.tv_nsec += (long)(collector->settings.every % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&collector->lock);
    while (!atomic_load(&collector->is_stopping) &&
           pthread_cond_timedwait(&collector->stopped, &collector->lock, &until) != ETIMEDOUT)
        continue;
    pthread_mutex_unlock(&collector->lock);
    return !atomic_load(&collector->is_stopping);
}

static void *run_thread(void *data)
{
    struct collector *collector = data;
    bool has_looked = false;
    uint64_t looked = 0; /* for orphans, at */
    while (wait_for_time(collector)) {
        uint64_t now = clock_monotonic_ms(clock_system());
        bool with_orphans = !has_looked || now - looked >= ORPHANS_EVERY_MS;
        if (with_orphans) {
            has_looked = true;
            looked = now;
        }
        if (collector->parts.before != NULL)
            collector->parts.before(collector->parts.data);
        run_usual(collector, with_orphans);
    }
    return NULL;
}

static int open_lock(struct collector *collector, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/collect.lock", collector->parts.state);
    collector->lock_descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (collector->lock_descriptor < 0)
        return error_set_errno(error, errno, "open %s", path);
    return 0;
}

int collector_create(const struct collector_parts *parts, const struct collector_settings *settings,
                     struct collector **ret_collector, struct error *error)
{
    struct collector *collector = xcalloc(1, sizeof *collector);
    pthread_condattr_t attributes;
    collector->parts = *parts;
    collector->state = xstrdup(parts->state);
    collector->parts.state = collector->state;
    collector->settings = *settings;
    pthread_mutex_init(&collector->running, NULL);
    pthread_mutex_init(&collector->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&collector->stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    if (open_lock(collector, error) < 0) {
        collector_destroy(collector);
        return -1;
    }
    *ret_collector = collector;
    return 0;
}

int collector_start(struct collector *collector, struct error *error)
{
    if (collector->settings.every == 0)
        return 0;
    int number = pthread_create(&collector->thread, NULL, run_thread, collector);
    if (number != 0)
        return error_set_errno(error, number, "start the collector's thread");
    collector->has_thread = true;
    return 0;
}

void collector_stop(struct collector *collector)
{
    pthread_mutex_lock(&collector->lock);
    atomic_store(&collector->is_stopping, true);
    pthread_cond_signal(&collector->stopped);
    pthread_mutex_unlock(&collector->lock);
}

void collector_destroy(struct collector *collector)
{
    if (collector == NULL)
        return;
    collector_stop(collector);
    if (collector->has_thread)
        pthread_join(collector->thread, NULL);
    if (collector->lock_descriptor >= 0)
        close(collector->lock_descriptor);
    pthread_cond_destroy(&collector->stopped);
    pthread_mutex_destroy(&collector->lock);
    pthread_mutex_destroy(&collector->running);
    free(collector->state);
    free(collector);
}
