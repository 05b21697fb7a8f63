#include "registry/command_report.h"

#include <stdio.h>

#include "lib/cleanup.h"
#include "registry/command.h"

uint64_t report_number(struct json_object *object, const char *key)
{
    struct json_object *value;
    return json_object_object_get_ex(object, key, &value) ? json_object_get_uint64(value) : 0;
}

void report_format_bytes(uint64_t bytes, char ret_text[BYTES_TEXT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < ARRAY_LENGTH(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(ret_text, BYTES_TEXT_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void print_count(struct json_object *report, const char *key, const char *what)
{
    struct json_object *count;
    char bytes[BYTES_TEXT_MAX];
    if (!json_object_object_get_ex(report, key, &count))
        return;
    report_format_bytes(report_number(count, "bytes"), bytes);
    printf("  %-54s %8llu  %10s\n", what, (unsigned long long)report_number(count, "count"), bytes);
}

static void print_collect(struct json_object *report, bool dry_run)
{
    printf("%-56s %8s  %10s\n", dry_run ? "Would remove" : "Removed", "count", "size");
    print_count(report, "manifests", "manifests that no tag leads to");
    print_count(report, "blobs", "blobs that no manifest of their repository needs");
    print_count(report, "files", "of these blobs, the ones that no repository holds now");
    print_count(report, "orphans", "bytes in the store that no repository lists");
    print_count(report, "uploads", "uploads that nobody ended");
    struct json_object *waiting;
    if (!json_object_object_get_ex(report, "waiting", &waiting) ||
        report_number(waiting, "count") == 0)
        return;
    puts("Left for a later collection:");
    print_count(report, "waiting", "blobs pushed or asked for within the grace");
}

/* How many there were. */
static size_t print_list(struct json_object *report, const char *key, const char *what)
{
    struct json_object *list;
    if (!json_object_object_get_ex(report, key, &list))
        return 0;
    size_t count = json_object_array_length(list);
    if (count > 0)
        printf("%s:\n", what);
    for (size_t i = 0; i < count; i++)
        printf("  %s\n", json_object_get_string(json_object_array_get_idx(list, i)));
    return count;
}

static void print_retain(struct json_object *report, bool dry_run)
{
    printf("%s %llu tags, kept %llu, in %llu repositories with a rule.\n",
           dry_run ? "Would remove" : "Removed", (unsigned long long)report_number(report, "tags"),
           (unsigned long long)report_number(report, "kept"),
           (unsigned long long)report_number(report, "repositories"));
    if (!dry_run)
        print_count(report, "manifests", "manifests that went with them");
    print_list(report, "removed", dry_run ? "Not kept" : "These");
}

static size_t print_scrub(struct json_object *report, bool dry_run)
{
    char bytes[BYTES_TEXT_MAX];
    report_format_bytes(report_number(report, "bytes"), bytes);
    printf("Read %llu blobs (%s) and %llu manifests.\n",
           (unsigned long long)report_number(report, "blobs"), bytes,
           (unsigned long long)report_number(report, "manifests"));
    size_t bad = print_list(report, "corrupt",
                            dry_run ? "Damaged (left in place)" : "Damaged, now in quarantine");
    bad += print_list(report, "missing", "Held by repositories and not in the store");
    bad += print_list(report, "unreadable", "Not to be read (the log says why)");
    bad += print_list(report, "corrupt_manifests", "Damaged manifests: push them again");
    print_list(report, "images", "Images that need one of these: push them again");
    if (bad == 0)
        puts("All is as it should be.");
    return bad;
}

static size_t print_copy(struct json_object *report, const char *what)
{
    char bytes[BYTES_TEXT_MAX], copied[BYTES_TEXT_MAX];
    report_format_bytes(report_number(report, "bytes"), bytes);
    report_format_bytes(report_number(report, "copied_bytes"), copied);
    printf("%s: %llu blobs (%s), of which %llu (%s) were copied now.\n", what,
           (unsigned long long)report_number(report, "blobs"), bytes,
           (unsigned long long)report_number(report, "copied"), copied);
    return print_list(report, "missing", "Not copied, since they are gone or damaged");
}

static size_t print_for_people(enum upkeep_task task, bool dry_run, struct json_object *report)
{
    switch (task) {
    case UPKEEP_COLLECT:
        print_collect(report, dry_run);
        return 0;
    case UPKEEP_RETAIN:
        print_retain(report, dry_run);
        return 0;
    case UPKEEP_SCRUB:
        return print_scrub(report, dry_run);
    case UPKEEP_BACKUP:
        break;
    }
    return print_copy(report, "Backup");
}

/* How much of what was looked at is damaged or missing. */
static size_t count_bad(struct json_object *report)
{
    static const char *const lists[] = {"corrupt", "missing", "unreadable", "corrupt_manifests"};
    struct json_object *list;
    size_t bad = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        if (json_object_object_get_ex(report, lists[i], &list))
            bad += json_object_array_length(list);
    }
    return bad;
}

static int print_json(struct json_object *report)
{
    puts(json_object_to_json_string_ext(report, JSON_C_TO_STRING_PRETTY));
    return count_bad(report) > 0 ? EXIT_FOUND : EXIT_DONE;
}

int report_print(enum upkeep_task task, bool dry_run, bool json, struct json_object *report)
{
    if (json)
        return print_json(report);
    return print_for_people(task, dry_run, report) > 0 ? EXIT_FOUND : EXIT_DONE;
}

int report_print_restore(bool json, struct json_object *report)
{
    if (json)
        return print_json(report);
    return print_copy(report, "Restored") > 0 ? EXIT_FOUND : EXIT_DONE;
}
