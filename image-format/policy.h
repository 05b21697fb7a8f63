/* Whether an image may boot, by the cluster's policies and what was proven about it.
 *
 * The rule: with no policy at all, an image boots when any trusted key signed it. As soon as there
 * is one policy, exactly one of them decides about a repository: the one whose matching glob is the
 * most specific, which is the one with the most characters other than `*` and `?`; of equals the
 * shorter glob; of equals the policy whose name comes first. What no policy matches does not boot.
 *
 * Keys are counted by their ids: a key that signed twice, in two forms or under two names is one.
 * Pure: knows no chain, no store and no clock; scheduler and agents come to the same verdict from
 * the same values. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image-format/signature.h"
#include "lib/api/policy.h"

/* A signature that holds. */
struct policy_signature {
    char key[KEY_ID_MAX];
    char name[64];      /* of the key when it was checked; for people */
    uint64_t signed_at; /* seconds since 1970, as the signed text says; 0: it does not */
};

/* An attestation whose signature holds. */
struct policy_statement {
    char key[KEY_ID_MAX];
    char type[API_PREDICATE_TYPE_MAX];
};

/* What was proven about an image, by keys that were trusted then. Zeroed: nothing. */
struct policy_evidence {
    struct policy_signature *signatures;
    size_t signature_count;
    struct policy_statement *statements;
    size_t statement_count;
};
extern const struct json_record policy_evidence_record;

/* What is there already is not added again. */
void policy_evidence_add_signature(struct policy_evidence *evidence, const struct trusted_key *key,
                                   uint64_t signed_at);
void policy_evidence_add_statement(struct policy_evidence *evidence, const struct trusted_key *key,
                                   const char *type);
void policy_evidence_release(struct policy_evidence *evidence);

/* What only this room knows about a policy: that its families exist. ERROR_INVALID with the place.
 */
int policy_check(const struct api_policy *policy, struct error *error);

struct policy_question {
    const struct api_policy *policies;
    size_t policy_count;
    const struct trusted_key *keys; /* only what they made counts */
    size_t key_count;
    const char *registry;   /* "host:port" */
    const char *repository; /* "default/hello" */
    const char *family;     /* NULL: not known yet, so not judged */
    const struct policy_evidence *evidence;
    uint64_t now_ms;        /* wall clock, since 1970 */
    bool needs_trusted_key; /* a policy that only warns is not enough without one */
    bool ignores_age;       /* what runs already is judged so when a key goes */
};

/* Named by api_verdict_names. */
enum policy_outcome {
    POLICY_ALLOWED,
    POLICY_WARNED, /* refused, by a policy that only warns */
    POLICY_REFUSED,
};

struct policy_verdict {
    enum policy_outcome outcome;
    char policy[NAME_MAX_TEXT]; /* that decided; "": there are none, or none matches */
    enum api_on_revoke on_revoke;
    struct json_strings reasons; /* sentences: what it demands, what the image has */
};

/* The policy that decides about a repository, NULL when none matches. `ret_glob` may be NULL. */
const struct api_policy *policy_find(const struct api_policy *policies, size_t count,
                                     const char *repository, const char **ret_glob);
void policy_judge(const struct policy_question *question, struct policy_verdict *ret_verdict);
/* "policy prod: <reason>; <reason>", or only the reasons; the caller frees it. */
char *policy_verdict_text(const struct policy_verdict *verdict);
void policy_verdict_release(struct policy_verdict *verdict);
