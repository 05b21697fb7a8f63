/* What a change of keys or policies does to what is deployed: the revisions that are wanted or run,
 * and whose images the rules would not let boot any more. Judged from what was proven about each
 * image when it was deployed, so without the registry. Loop thread only. */
#pragma once

#include "scheduler/trust.h"

struct affected_item {
    struct api_affected view;
    char repository[REPOSITORY_TEXT_MAX];
    char digest[DIGEST_TEXT_MAX];
    char architectures[8][16];
    size_t architecture_count;
    bool is_doubtful; /* refused with the key too, by what was kept: the registry may have more now
                       */
};

struct affected {
    struct affected_item *items;
    size_t count;
    size_t doubtful; /* behind those: as many that only the registry can tell of */
};

/* By the rules of now: what would be refused at its next boot. */
void affected_by_rules(const struct core *core, struct affected *ret_affected);
/* What would be refused without the key `name` and is not with it; behind that, what is refused
 * either way. Ages do not count: they pass by themselves. An item of which nothing was kept
 * `is_unknown`. */
void affected_by_key(const struct core *core, const char *name, struct affected *ret_affected);
void affected_release(struct affected *affected);
/* Notes in a view why its image is refused. */
void affected_note(struct api_affected *view, const char *policy, enum api_on_revoke on_revoke,
                   const char *reason);
/* {"changed", "dry_run", "services"}; the caller owns it. */
struct json_object *affected_answer(const struct affected *affected, bool changed, bool dry_run);
