#include "registry/upkeep/retention.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define PAGE       256
#define LISTED_MAX 10000 /* in a report */

static const struct json_field report_fields[] = {
    JSON_FIELD(struct retention_report, dry_run, "dry_run", JSON_BOOL, .flags = 0),
    JSON_FIELD(struct retention_report, repositories, "repositories", JSON_UINT, .flags = 0),
    JSON_FIELD(struct retention_report, kept, "kept", JSON_UINT, .flags = 0),
    JSON_FIELD(struct retention_report, tags, "tags", JSON_UINT, .flags = 0),
    JSON_FIELD(struct retention_report, manifests, "manifests", JSON_OBJECT,
               .record = &sweep_count_record),
    JSON_FIELD(struct retention_report, removed, "removed", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct retention_report, duration, "duration", JSON_DURATION, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record retention_report_record = {sizeof(struct retention_report), report_fields};

/* One repository's tags, as they were read. */
struct tags {
    struct retention_tag *items; /* names are the strings below */
    struct json_map names;       /* tag -> digest */
    uint64_t *ages;
    uint64_t now;
};

static bool add_tag(const struct metadata_tag *tag, void *data)
{
    struct tags *tags = data;
    size_t count = tags->names.count;
    tags->ages = xreallocarray(tags->ages, count + 1, sizeof *tags->ages);
    tags->ages[count] = tags->now > tag->set_at ? tags->now - tag->set_at : 0;
    tags->names.items = xreallocarray(tags->names.items, count + 1, sizeof *tags->names.items);
    tags->names.items[tags->names.count++] =
        (struct json_map_entry){xstrdup(tag->name), xstrdup(tag->digest)};
    return true;
}

static void decide(const struct retention_parts *parts, const char *repository, struct tags *tags)
{
    tags->items = xcalloc(tags->names.count + 1, sizeof *tags->items);
    for (size_t i = 0; i < tags->names.count; i++)
        tags->items[i] =
            (struct retention_tag){.name = tags->names.items[i].key,
                                   .digest = tags->names.items[i].value,
                                   .age_ms = tags->ages[i],
                                   .immutable = policies_tag_is_immutable(
                                       parts->policies, repository, tags->names.items[i].key)};
    retention_decide(policies_retention(parts->policies, repository), tags->items,
                     tags->names.count);
}

static void release(struct tags *tags)
{
    json_map_release(&tags->names);
    free(tags->items);
    free(tags->ages);
}

static int remove_tag(const struct retention_parts *parts, const char *repository, const char *tag,
                      const char *digest, struct retention_report *report, struct error *error)
{
    if (!report->dry_run) {
        uint64_t before = report->manifests.count;
        int result = metadata_retire_tag(parts->metadata, parts->leases, repository, tag, digest,
                                         &report->manifests, error);
        if (result != 1)
            return result;
        metrics_count(parts->metrics, COUNTER_EXPIRED_TAGS, 1);
        metrics_count(parts->metrics, COUNTER_COLLECTED_MANIFESTS,
                      report->manifests.count - before);
    }
    report->tags++;
    if (report->removed.count < LISTED_MAX) {
        AUTO_FREE char *name = xasprintf("%s:%s", repository, tag);
        json_strings_add(&report->removed, name);
    }
    if (!report->dry_run)
        log_info("tag expired", "repository", repository, "tag", tag, "digest", digest);
    return 0;
}

static int retain_repository(const struct retention_parts *parts, const char *repository,
                             struct task_progress *progress, struct retention_report *report,
                             struct error *error)
{
    struct tags tags = {.now = clock_wall_ms(clock_system())};
    int result = metadata_each_tag(parts->metadata, repository, add_tag, &tags, error);
    if (result == 0)
        decide(parts, repository, &tags);
    for (size_t i = 0; result == 0 && i < tags.names.count; i++) {
        const struct retention_tag *tag = &tags.items[i];
        if (tag->kept)
            report->kept++;
        else if ((result = task_check(progress, error)) == 0)
            result = remove_tag(parts, repository, tag->name, tag->digest, report, error);
    }
    release(&tags);
    report->repositories++;
    return result;
}

static int retain_page(const struct retention_parts *parts, const struct json_strings *names,
                       struct task_progress *progress, struct retention_report *report,
                       struct error *error)
{
    for (size_t i = 0; i < names->count; i++) {
        if (policies_retention(parts->policies, names->items[i]) != NULL &&
            retain_repository(parts, names->items[i], progress, report, error) < 0)
            return -1;
        task_advance(progress, 1);
    }
    return 0;
}

int retention_run(const struct retention_parts *parts, bool dry_run, struct task_progress *progress,
                  struct retention_report *ret_report, struct error *error)
{
    uint64_t started = clock_monotonic_ms(clock_system());
    AUTO_FREE char *last = xstrdup("");
    bool is_end = false;
    int result = 0;
    *ret_report = (struct retention_report){.dry_run = dry_run};
    while (result == 0 && !is_end) {
        struct json_strings names = {0};
        result = metadata_list_repositories(parts->metadata, last, PAGE, &names, error);
        if (result == 0)
            result = retain_page(parts, &names, progress, ret_report, error);
        if (names.count > 0) {
            free(last);
            last = xstrdup(names.items[names.count - 1]);
        }
        is_end = names.count < PAGE;
        json_strings_release(&names);
    }
    ret_report->duration = clock_monotonic_ms(clock_system()) - started;
    return result;
}
