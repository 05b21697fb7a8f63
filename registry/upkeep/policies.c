#include "registry/upkeep/policies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/xalloc.h"

#define GLOBS_MAX 100

#define LOWER_AND_DIGITS "abcdefghijklmnopqrstuvwxyz0123456789"
#define UPPER            "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define GLOB_MARKS       "._-*?"

static bool consists_of(const char *value, const char *allowed)
{
    size_t length = strlen(value);
    return length > 0 && length < 256 && strspn(value, allowed) == length;
}

const char *glob_check_tags(const char *value)
{
    bool can_match =
        consists_of(value, LOWER_AND_DIGITS UPPER GLOB_MARKS) && value[0] != '.' && value[0] != '-';
    return can_match ? NULL
                     : "a pattern that a tag can match: 1 to 255 letters, digits and . _ - * ? "
                       "that begin with neither . nor -";
}

static const struct json_field retention_fields[] = {
    JSON_FIELD(struct retention, keep_last, "keep_last", JSON_UINT, .max = 1000000),
    JSON_FIELD(struct retention, keep_newer, "keep_newer", JSON_DURATION, .min = 1000),
    JSON_FIELD(struct retention, keep_tags, "keep_tags", JSON_STRINGS, .max = GLOBS_MAX,
               .check = glob_check_tags),
    JSON_FIELD_END,
};
static const struct json_record retention_record = {sizeof(struct retention), retention_fields};

static const struct json_field policy_fields[] = {
    JSON_FIELD(struct policy, repositories, "repositories", JSON_STRINGS, .flags = JSON_REQUIRED,
               .min = 1, .max = GLOBS_MAX, .check = glob_check_repositories),
    JSON_FIELD(struct policy, quota, "quota", JSON_SIZE,
               .present_offset = offsetof(struct policy, has_quota)),
    JSON_FIELD(struct policy, immutable, "immutable", JSON_STRINGS, .max = GLOBS_MAX,
               .check = glob_check_tags, .present_offset = offsetof(struct policy, has_immutable)),
    JSON_FIELD(struct policy, retention, "retention", JSON_OBJECT, .record = &retention_record,
               .present_offset = offsetof(struct policy, has_retention)),
    JSON_FIELD_END,
};
const struct json_record policy_settings_record = {sizeof(struct policy), policy_fields};

/* Whoever wrote that meant something else. */
int policies_check(const struct policy *items, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct retention *retention = &items[i].retention;
        if (items[i].has_retention && retention->keep_last == 0 && retention->keep_newer == 0 &&
            retention->keep_tags.count == 0)
            return error_set(error, ERROR_INVALID,
                             "policies: /policies/%zu/retention keeps nothing, so that every tag "
                             "would go: give keep_last, keep_newer or keep_tags",
                             i);
    }
    return 0;
}

void policies_copy(const struct policy *items, size_t count, struct policies *ret_policies)
{
    ret_policies->items = count > 0 ? xcalloc(count, sizeof *items) : NULL;
    ret_policies->count = count;
    for (size_t i = 0; i < count; i++)
        json_record_copy(&policy_settings_record, &items[i], &ret_policies->items[i]);
}

void policies_release(struct policies *policies)
{
    for (size_t i = 0; i < policies->count; i++)
        json_record_release(&policy_settings_record, &policies->items[i]);
    free(policies->items);
    *policies = (struct policies){0};
}

bool policies_quota(const struct policies *policies, const char *repository, uint64_t *ret_bytes)
{
    for (size_t i = 0; i < policies->count; i++) {
        const struct policy *policy = &policies->items[i];
        if (policy->has_quota && globs_match(&policy->repositories, repository)) {
            *ret_bytes = policy->quota;
            return true;
        }
    }
    return false;
}

bool policies_tag_is_immutable(const struct policies *policies, const char *repository,
                               const char *tag)
{
    for (size_t i = 0; i < policies->count; i++) {
        const struct policy *policy = &policies->items[i];
        if (policy->has_immutable && globs_match(&policy->repositories, repository))
            return globs_match(&policy->immutable, tag);
    }
    return false;
}

const struct retention *policies_retention(const struct policies *policies, const char *repository)
{
    for (size_t i = 0; i < policies->count; i++) {
        const struct policy *policy = &policies->items[i];
        if (policy->has_retention && globs_match(&policy->repositories, repository))
            return &policy->retention;
    }
    return NULL;
}

/* --- retention --- */

bool tag_is_companion(const char *tag, char *ret_digest, size_t size)
{
    static const char *const endings[] = {".sig", ".att", ".sbom"};
    char digest[DIGEST_TEXT_MAX];
    if (strncmp(tag, "sha256-", 7) != 0 || strlen(tag) < 71)
        return false;
    snprintf(digest, sizeof digest, "sha256:%.64s", tag + 7);
    if (!digest_is_valid(digest))
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(endings); i++) {
        if (strcmp(tag + 71, endings[i]) == 0) {
            snprintf(ret_digest, size, "%s", digest);
            return true;
        }
    }
    return false;
}

/* The youngest first; of the same age, by name, so that the answer is always the same. */
static int compare_ages(const void *first, const void *second)
{
    const struct retention_tag *one = first, *other = second;
    if (one->age_ms != other->age_ms)
        return one->age_ms < other->age_ms ? -1 : 1;
    return strcmp(one->name, other->name);
}

void retention_decide(const struct retention *retention, struct retention_tag *tags, size_t count)
{
    char digest[DIGEST_TEXT_MAX];
    uint64_t rank = 0;
    qsort(tags, count, sizeof *tags, compare_ages);
    for (size_t i = 0; i < count; i++) {
        struct retention_tag *tag = &tags[i];
        if (tag_is_companion(tag->name, digest, sizeof digest)) {
            tag->kept = true;
            continue;
        }
        tag->kept = rank++ < retention->keep_last || tag->immutable ||
                    (retention->keep_newer > 0 && tag->age_ms < retention->keep_newer) ||
                    globs_match(&retention->keep_tags, tag->name);
    }
}
