/* Rules about repositories: how much one may hold, which of its tags never change, which tags are
 * kept. The rules come from the settings, in order; for each question the first rule counts that
 * matches the repository and answers it. Pure functions; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/glob.h"
#include "lib/json.h"

struct retention {
    uint64_t keep_last;            /* so many tags, those set last */
    uint64_t keep_newer;           /* milliseconds since the tag was set; 0: not by age */
    struct json_strings keep_tags; /* globs */
};

struct policy {
    struct json_strings repositories; /* globs */
    bool has_quota;
    uint64_t quota; /* bytes */
    bool has_immutable;
    struct json_strings immutable; /* globs of tags that are set once */
    bool has_retention;
    struct retention retention;
};

extern const struct json_record policy_settings_record;

/* What a json_record cannot say. ERROR_INVALID names the place. */
int policies_check(const struct policy *items, size_t count, struct error *error);

/* A list of policies as it was loaded; a copy of its own. */
struct policies {
    struct policy *items;
    size_t count;
};

void policies_copy(const struct policy *items, size_t count, struct policies *ret_policies);
void policies_release(struct policies *policies);

/* NULL; or what is allowed, for a pattern that no tag could ever match. */
const char *glob_check_tags(const char *value);

/* False: no limit. */
bool policies_quota(const struct policies *policies, const char *repository, uint64_t *ret_bytes);
bool policies_tag_is_immutable(const struct policies *policies, const char *repository,
                               const char *tag);
/* NULL: every tag is kept. */
const struct retention *policies_retention(const struct policies *policies, const char *repository);

/* A tag as retention sees it. */
struct retention_tag {
    const char *name;
    const char *digest; /* what it points at; the caller's own */
    uint64_t age_ms;    /* since it was set */
    bool immutable;
    bool kept; /* the answer */
};

/* Decides for all the tags of a repository, given in any order. Tags by which cosign attaches
 * signatures ("sha256-<hex>.sig") count for nothing here: they are kept as long as what they
 * belong to, which the caller knows. */
void retention_decide(const struct retention *retention, struct retention_tag *tags, size_t count);
/* Whether a tag is one of those; the digest it belongs to goes to ret_digest. */
bool tag_is_companion(const char *tag, char *ret_digest, size_t size);
