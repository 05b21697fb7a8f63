/* By what this node judges images: the scheduler's keys and policies, and on a node started with a
 * trust folder only those of the keys that are found there too. No policy widens that: such a node
 * boots nothing without a signature by one of them. Loop thread only. */
#pragma once

#include "image-format/chain.h"
#include "lib/api/agent.h"

struct trust {
    struct trusted_key *keys;
    size_t key_count;
    struct api_policy *policies;
    size_t policy_count;
    uint64_t term, revision; /* of the scheduler's document; 0: none yet */
    bool has_local;          /* only keys of `local_ids` count */
    char (*local_ids)[KEY_ID_MAX];
    size_t local_count;
};

/* `directory` (NULL: none): every file in it is a public key in PEM; one that is not is an error.
 */
int trust_init(struct trust *ret_trust, const char *directory, struct error *error);
/* A key that cannot be read is left out and named in the log. */
void trust_apply(struct trust *trust, const struct api_trust *document);
/* The rules for an image, lent until the next trust_apply. `registry` ("host:port") and
 * `repository` are kept by reference. */
struct image_rules trust_rules(const struct trust *trust, const char *registry,
                               const char *repository);
/* Whether the document is the one of (term, revision), or newer. */
bool trust_is_since(const struct trust *trust, uint64_t term, uint64_t revision);
void trust_finish(struct trust *trust);
