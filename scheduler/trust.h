/* By what the scheduler judges images: the keys and policies of the model as they are now, or as
 * they would be. Loop thread only. */
#pragma once

#include "image-format/chain.h"
#include "scheduler/core.h"

/* Lends from the model: to be used and released before it changes. */
struct trust_rules {
    struct image_rules rules;
    struct trusted_key *keys;
    struct api_policy *policies;
};

/* For an image of `repository` (kept by reference). `without`: a key's name that does not count, as
 * if it had been removed; NULL: all count. */
void trust_rules_init(const struct core *core, const char *repository, const char *without,
                      struct trust_rules *ret_rules);
void trust_rules_finish(struct trust_rules *rules);

/* The verdict about what was proven when a revision was deployed, for one of its platforms. Release
 * it. */
void trust_judge_evidence(const struct trust_rules *rules, const char *family,
                          const struct policy_evidence *evidence,
                          struct policy_verdict *ret_verdict);
