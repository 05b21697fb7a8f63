#include "registry/upkeep/scrub.h"

#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* Of each list in a report; the log names all. */
#define LISTED_MAX 1000
#define IMAGES_MAX 100 /* of one blob */
/* The longest wait for the rate, so that the end of the registry is noticed. */
#define WAIT_MAX_MS 200

static const struct json_field report_fields[] = {
    JSON_FIELD(struct scrub_report, dry_run, "dry_run", JSON_BOOL, .flags = 0),
    JSON_FIELD(struct scrub_report, blobs, "blobs", JSON_UINT, .flags = 0),
    JSON_FIELD(struct scrub_report, bytes, "bytes", JSON_UINT, .flags = 0),
    JSON_FIELD(struct scrub_report, manifests, "manifests", JSON_UINT, .flags = 0),
    JSON_FIELD(struct scrub_report, corrupt, "corrupt", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct scrub_report, missing, "missing", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct scrub_report, unreadable, "unreadable", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct scrub_report, images, "images", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct scrub_report, corrupt_manifests, "corrupt_manifests", JSON_STRINGS,
               .flags = 0),
    JSON_FIELD(struct scrub_report, duration, "duration", JSON_DURATION, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record scrub_report_record = {sizeof(struct scrub_report), report_fields};

struct scrub {
    const struct scrub_parts *parts;
    const struct scrub_options *options;
    struct task_progress *progress;
    struct scrub_report *report;
    struct error *error;
    uint64_t started;
    bool has_failed;
};

static void note(struct json_strings *list, const char *text)
{
    if (list->count < LISTED_MAX)
        json_strings_add(list, text);
}

static bool is_noted(const struct json_strings *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0)
            return true;
    }
    return false;
}

/* A blob that is bad in one way or another, and what is to be pushed again for it. */
static int note_blob(struct scrub *scrub, struct json_strings *list, const char *digest)
{
    struct json_strings images = {0};
    note(list, digest);
    if (metadata_list_users(scrub->parts->metadata, digest, IMAGES_MAX, &images, scrub->error) < 0)
        return -1;
    for (size_t i = 0; i < images.count; i++) {
        if (!is_noted(&scrub->report->images, images.items[i]))
            note(&scrub->report->images, images.items[i]);
    }
    json_strings_release(&images);
    return 0;
}

/* Lets the clock catch up with what was read. */
static int keep_rate(struct scrub *scrub)
{
    if (scrub->options->rate == 0)
        return 0;
    for (;;) {
        uint64_t passed = clock_monotonic_ms(clock_system()) - scrub->started;
        uint64_t needed = scrub->report->bytes / (scrub->options->rate / 1000 + 1);
        if (needed <= passed)
            return 0;
        if (task_check(scrub->progress, scrub->error) < 0)
            return -1;
        uint64_t wait = needed - passed < WAIT_MAX_MS ? needed - passed : WAIT_MAX_MS;
        const struct timespec pause = {.tv_nsec = (long)wait * 1000000};
        nanosleep(&pause, NULL);
    }
}

/* Once more, with nobody replacing it meanwhile; then it goes. */
static int put_away(struct scrub *scrub, const char *digest)
{
    struct blob_store *blobs = scrub->parts->blobs;
    bool is_whole = false;
    blob_store_lock_digest(blobs, digest);
    int result = blob_store_verify(blobs, digest, &is_whole, scrub->error);
    if (result == 0 && !is_whole && !scrub->options->dry_run)
        result = blob_store_quarantine(blobs, digest, scrub->error);
    blob_store_unlock_digest(blobs, digest);
    if (result < 0 || is_whole)
        return result;
    log_error("a blob is damaged", "digest", digest, "quarantine",
              scrub->options->dry_run ? "no" : "yes");
    metrics_count(scrub->parts->metrics, COUNTER_CORRUPT_BLOBS, 1);
    return note_blob(scrub, &scrub->report->corrupt, digest);
}

/* One that the disk does not give ends nothing: that is what a scrub is for. A store that cannot be
 * reached ends it. */
static int take_unreadable(struct scrub *scrub, const char *digest, const struct error *why)
{
    if (why->code == ERROR_NOT_FOUND) /* deleted since it was listed */
        return 0;
    if (why->code == ERROR_UNAVAILABLE || why->code == ERROR_TIMEOUT)
        return error_copy(scrub->error, why);
    log_error("a blob cannot be read", "digest", digest, "error", why->message);
    return note_blob(scrub, &scrub->report->unreadable, digest);
}

static int check_blob(struct scrub *scrub, const struct blob_entry *entry)
{
    struct error why = ERROR_INIT;
    bool is_whole = false;
    if (task_check(scrub->progress, scrub->error) < 0)
        return -1;
    if (blob_store_verify(scrub->parts->blobs, entry->digest, &is_whole, &why) < 0)
        return take_unreadable(scrub, entry->digest, &why);
    scrub->report->blobs++;
    scrub->report->bytes += entry->size;
    task_advance(scrub->progress, entry->size);
    if (!is_whole && put_away(scrub, entry->digest) < 0)
        return -1;
    return keep_rate(scrub);
}

static bool take_blob(const struct blob_entry *entry, void *data)
{
    struct scrub *scrub = data;
    scrub->has_failed = check_blob(scrub, entry) < 0;
    return !scrub->has_failed;
}

static int check_blobs(struct scrub *scrub)
{
    if (blob_store_list(scrub->parts->blobs, take_blob, scrub, scrub->error) < 0)
        return -1;
    return scrub->has_failed ? -1 : 0;
}

/* --- what repositories hold and the store does not --- */

static int check_presence(const char *digest, void *data)
{
    struct scrub *scrub = data;
    struct error why = ERROR_INIT;
    uint64_t size;
    if (task_check(scrub->progress, scrub->error) < 0)
        return -1;
    if (blob_store_stat(scrub->parts->blobs, digest, &size, &why) == 0)
        return 0;
    if (why.code != ERROR_NOT_FOUND)
        return error_copy(scrub->error, &why);
    int held = metadata_holds_digest(scrub->parts->metadata, digest, scrub->error);
    if (held == 1 && !is_noted(&scrub->report->corrupt, digest)) {
        log_warn("a listed blob is not in the store", "digest", digest);
        return note_blob(scrub, &scrub->report->missing, digest);
    }
    return held < 0 ? -1 : 0;
}

static int check_manifests(struct scrub *scrub)
{
    struct metadata_check check = {0};
    int found;
    while ((found = metadata_check_manifest(scrub->parts->metadata, check.id, &check,
                                            scrub->error)) == 1) {
        if (task_check(scrub->progress, scrub->error) < 0)
            return -1;
        scrub->report->manifests++;
        if (check.is_whole)
            continue;
        AUTO_FREE char *name = xasprintf("%s@%s", check.repository, check.digest);
        log_error("a manifest is damaged", "manifest", name);
        note(&scrub->report->corrupt_manifests, name);
    }
    return found;
}

int scrub_run(const struct scrub_parts *parts, const struct scrub_options *options,
              struct task_progress *progress, struct scrub_report *ret_report, struct error *error)
{
    struct scrub scrub = {
        .parts = parts,
        .options = options,
        .progress = progress,
        .report = ret_report,
        .error = error,
        .started = clock_monotonic_ms(clock_system()),
    };
    *ret_report = (struct scrub_report){.dry_run = options->dry_run};
    int result = check_blobs(&scrub);
    if (result == 0)
        result = metadata_each_digest(parts->metadata, check_presence, &scrub, error);
    if (result == 0)
        result = check_manifests(&scrub);
    ret_report->duration = clock_monotonic_ms(clock_system()) - scrub.started;
    return result;
}
