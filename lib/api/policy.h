/* A policy: which images of which repositories may boot (docs/trust.md, "Policies").
 *
 * The JSON form has the keys that people write, so a JSON pointer into it is a place in their YAML.
 * CLI and scheduler decode it strictly; the store and the agents' trust document hold the same
 * form. Judging by it is the business of image-format/policy.h. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/api/protocol.h"
#include "lib/crypto.h"
#include "lib/json.h"

#define API_POLICIES_MAX            256 /* of a cluster */
#define API_POLICY_SIGNERS_MAX      64  /* keys that a policy names, or asks for */
#define API_PREDICATE_TYPE_MAX      256
#define API_POLICY_ATTESTATIONS_MAX 16

enum api_policy_mode {
    API_POLICY_ENFORCE,
    API_POLICY_WARN, /* boots anyway, and says so */
};
extern const char *const api_policy_mode_names[];

/* What happens to instances that the removal of a key makes untrusted. */
enum api_on_revoke {
    API_ON_REVOKE_KEEP, /* they go on; nothing new boots */
    API_ON_REVOKE_STOP,
};
extern const char *const api_on_revoke_names[];

struct api_policy_attestation {
    char type[API_PREDICATE_TYPE_MAX]; /* spdx | cyclonedx | slsa, or a predicate type's URI */
    struct json_strings keys;          /* names; empty: those of the policy */
};

struct api_policy {
    char name[NAME_MAX_TEXT];
    struct json_strings match; /* globs of repositories, at least one */
    struct json_strings keys;  /* names of trusted keys; empty: any trusted key */
    uint32_t require;          /* so many different ones must have signed */
    struct api_policy_attestation *attestations;
    size_t attestation_count;
    uint64_t max_age_ms;            /* of the signatures that count; 0: any age */
    struct json_strings families;   /* empty: any */
    struct json_strings registries; /* globs of "host:port"; empty: any */
    enum api_policy_mode mode;
    enum api_on_revoke on_revoke;
};

extern const struct json_record api_policy_record;

/* A service whose image what is trusted now, or would be, does not let boot any more. */
struct api_affected {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t revision;
    char image[768];            /* as the user wrote it */
    uint32_t instances;         /* of that revision, not over */
    bool is_unknown;            /* it could not be found out */
    char policy[NAME_MAX_TEXT]; /* that decides; "": none does */
    enum api_on_revoke on_revoke;
    char reason[REASON_MAX];
};

/* What DELETE of a key, and PUT and DELETE of a policy, answer. */
struct api_trust_answer {
    bool changed;
    bool dry_run; /* nothing was changed, but it would be */
    struct api_affected *services;
    size_t service_count;
};
extern const struct json_record api_trust_answer_record;

/* POST /v1/verdicts: what the rules of now say about an image. */
struct api_verdict_request {
    char image[768];
    char namespace_name[NAME_MAX_TEXT];
};
extern const struct json_record api_verdict_request_record;

/* "allowed", "warned" (refused by a policy that only warns), "refused"; the worse ones behind. */
extern const char *const api_verdict_names[];

struct api_platform_verdict {
    char arch[16];
    char family[32]; /* "" when the image could not be read */
    int outcome;     /* index into api_verdict_names */
    char policy[NAME_MAX_TEXT];
    struct json_strings reasons;
    struct json_strings signed_by;    /* trusted keys: "name (id)" */
    struct json_strings attestations; /* predicate types that trusted keys signed */
};

struct api_verdict {
    char image[768];
    char repository[256];
    char digest[DIGEST_TEXT_MAX];
    int outcome; /* the worst of the platforms' */
    struct api_platform_verdict *platforms;
    size_t platform_count;
};
extern const struct json_record api_verdict_record;

void api_policy_set_defaults(struct api_policy *policy);
/* Strictly, a person's document. An attestation may be a text, its type: `object` is changed to the
 * long form. `ret_policy` is overwritten; release it by the record. */
int api_policy_decode(struct json_object *object, struct api_policy *ret_policy,
                      struct error *error);
