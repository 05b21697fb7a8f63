#include "lib/api/policy.h"

#include <stdio.h>
#include <string.h>

#include "lib/api/service_spec.h"
#include "lib/glob.h"

#define MATCHES_MAX  64
#define FAMILIES_MAX 32
#define SECOND       UINT64_C(1000)

const char *const api_policy_mode_names[] = {"enforce", "warn", NULL};
const char *const api_on_revoke_names[] = {"keep", "stop", NULL};

static const char *check_type(const char *value)
{
    bool is_short =
        strcmp(value, "spdx") == 0 || strcmp(value, "cyclonedx") == 0 || strcmp(value, "slsa") == 0;
    bool is_uri = strstr(value, "://") != NULL;
    for (const char *at = value; *at != '\0'; at++)
        is_uri = is_uri && *at > ' ' && *at < 0x7f;
    return is_short || is_uri ? NULL
                              : "spdx, cyclonedx, slsa, or the whole URI of a predicate type "
                                "(https://slsa.dev/provenance/v1)";
}

static const char *check_registry(const char *value)
{
    size_t length = strlen(value);
    bool fine = length > 0 && length < 256 &&
                strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]*?") == length;
    return fine ? NULL
                : "a registry as images name it, host or host:port in lower case, without scheme "
                  "or path; * and ? stand for any characters and for one";
}

static const struct json_field attestation_fields[] = {
    JSON_FIELD(struct api_policy_attestation, type, "type", JSON_STRING, .flags = JSON_REQUIRED,
               .check = check_type),
    JSON_FIELD(struct api_policy_attestation, keys, "keys", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .max = API_POLICY_SIGNERS_MAX, .check = api_check_name),
    JSON_FIELD_END,
};
static const struct json_record attestation_record = {sizeof(struct api_policy_attestation),
                                                      attestation_fields};

static const struct json_field policy_fields[] = {
    JSON_FIELD(struct api_policy, name, "name", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_policy, match, "match", JSON_STRINGS, .flags = JSON_REQUIRED, .min = 1,
               .max = MATCHES_MAX, .check = glob_check_repositories),
    JSON_FIELD(struct api_policy, keys, "keys", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .max = API_POLICY_SIGNERS_MAX, .check = api_check_name),
    JSON_FIELD(struct api_policy, require, "require", JSON_UINT, .min = 1,
               .max = API_POLICY_SIGNERS_MAX),
    JSON_FIELD_LIST(struct api_policy, attestations, attestation_count, "attestations",
                    &attestation_record, .flags = JSON_OMIT_EMPTY,
                    .max = API_POLICY_ATTESTATIONS_MAX),
    JSON_FIELD(struct api_policy, max_age_ms, "max_age", JSON_DURATION, .flags = JSON_OMIT_EMPTY,
               .min = SECOND),
    JSON_FIELD(struct api_policy, families, "families", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .min = 1, .max = FAMILIES_MAX, .check = api_check_name),
    JSON_FIELD(struct api_policy, registries, "registries", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .min = 1, .max = FAMILIES_MAX, .check = check_registry),
    JSON_FIELD(struct api_policy, mode, "mode", JSON_ENUM, .names = api_policy_mode_names),
    JSON_FIELD(struct api_policy, on_revoke, "on_revoke", JSON_ENUM, .names = api_on_revoke_names),
    JSON_FIELD_END,
};
const struct json_record api_policy_record = {sizeof(struct api_policy), policy_fields};

static const struct json_field affected_fields[] = {
    JSON_FIELD(struct api_affected, namespace_name, "namespace", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_affected, service, "service", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_affected, revision, "revision", JSON_UINT, .flags = 0),
    JSON_FIELD(struct api_affected, image, "image", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_affected, instances, "instances", JSON_UINT, .flags = 0),
    JSON_FIELD(struct api_affected, is_unknown, "unknown", JSON_BOOL, .flags = 0),
    JSON_FIELD(struct api_affected, policy, "policy", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_affected, on_revoke, "on_revoke", JSON_ENUM,
               .names = api_on_revoke_names),
    JSON_FIELD(struct api_affected, reason, "reason", JSON_STRING, .flags = 0),
    JSON_FIELD_END,
};
static const struct json_record affected_record = {sizeof(struct api_affected), affected_fields};
static const struct json_field trust_answer_fields[] = {
    JSON_FIELD(struct api_trust_answer, changed, "changed", JSON_BOOL, .flags = 0),
    JSON_FIELD(struct api_trust_answer, dry_run, "dry_run", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct api_trust_answer, services, service_count, "services", &affected_record,
                    .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_trust_answer_record = {sizeof(struct api_trust_answer),
                                                    trust_answer_fields};

static const struct json_field verdict_request_fields[] = {
    JSON_FIELD(struct api_verdict_request, image, "image", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_verdict_request, namespace_name, "namespace", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_name),
    JSON_FIELD_END,
};
const struct json_record api_verdict_request_record = {sizeof(struct api_verdict_request),
                                                       verdict_request_fields};

const char *const api_verdict_names[] = {"allowed", "warned", "refused", NULL};

static const struct json_field platform_verdict_fields[] = {
    JSON_FIELD(struct api_platform_verdict, arch, "arch", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_platform_verdict, family, "family", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_platform_verdict, outcome, "verdict", JSON_ENUM,
               .names = api_verdict_names),
    JSON_FIELD(struct api_platform_verdict, policy, "policy", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_platform_verdict, reasons, "reasons", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct api_platform_verdict, signed_by, "signed_by", JSON_STRINGS, .flags = 0),
    JSON_FIELD(struct api_platform_verdict, attestations, "attestations", JSON_STRINGS, .flags = 0),
    JSON_FIELD_END,
};
static const struct json_record platform_verdict_record = {sizeof(struct api_platform_verdict),
                                                           platform_verdict_fields};
static const struct json_field verdict_fields[] = {
    JSON_FIELD(struct api_verdict, image, "image", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_verdict, repository, "repository", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_verdict, digest, "digest", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_verdict, outcome, "verdict", JSON_ENUM, .names = api_verdict_names),
    JSON_FIELD_LIST(struct api_verdict, platforms, platform_count, "platforms",
                    &platform_verdict_record, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_verdict_record = {sizeof(struct api_verdict), verdict_fields};

void api_policy_set_defaults(struct api_policy *policy)
{
    policy->require = 1;
}

/* `attestations: [slsa]` is short for `[{type: slsa}]`. */
static void write_out_attestations(struct json_object *object)
{
    struct json_object *list;
    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, "attestations", &list) ||
        !json_object_is_type(list, json_type_array))
        return;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        if (!json_object_is_type(item, json_type_string))
            continue;
        struct json_object *whole = json_object_new_object();
        json_object_object_add(whole, "type", json_object_get(item));
        json_object_array_put_idx(list, i, whole);
    }
}

/* A name twice would look like two keys. */
static int check_twice(const struct json_strings *list, const char *pointer, struct error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < i; j++) {
            char place[ERROR_POINTER_MAX];
            snprintf(place, sizeof place, "%s/%zu", pointer, i);
            if (strcmp(list->items[i], list->items[j]) == 0)
                return error_set_at(error, ERROR_INVALID, place,
                                    "\"%.100s\" stands in the list twice", list->items[i]);
        }
    }
    return 0;
}

static int check_policy(const struct api_policy *policy, struct error *error)
{
    if (check_twice(&policy->keys, "/keys", error) < 0 ||
        check_twice(&policy->match, "/match", error) < 0)
        return -1;
    if (policy->keys.count > 0 && policy->require > policy->keys.count)
        return error_set_at(error, ERROR_INVALID, "/require",
                            "%u keys must sign, but only %zu are named: nothing could boot",
                            policy->require, policy->keys.count);
    for (size_t i = 0; i < policy->match.count; i++) {
        const char *glob = policy->match.items[i];
        char place[ERROR_POINTER_MAX];
        snprintf(place, sizeof place, "/match/%zu", i);
        if (strchr(glob, '/') == NULL && strstr(glob, "**") == NULL)
            return error_set_at(
                error, ERROR_INVALID, place,
                "\"%s\" matches nothing: repositories here begin with a namespace, as in "
                "\"default/%s\"",
                glob, glob);
    }
    for (size_t i = 0; i < policy->attestation_count; i++) {
        char place[ERROR_POINTER_MAX];
        snprintf(place, sizeof place, "/attestations/%zu/keys", i);
        if (check_twice(&policy->attestations[i].keys, place, error) < 0)
            return -1;
    }
    return 0;
}

int api_policy_decode(struct json_object *object, struct api_policy *ret_policy,
                      struct error *error)
{
    struct api_policy policy = {0};
    api_policy_set_defaults(&policy);
    write_out_attestations(object);
    if (json_decode(&api_policy_record, object, JSON_STRICT, &policy, error) < 0)
        return -1;
    if (check_policy(&policy, error) < 0) {
        json_record_release(&api_policy_record, &policy);
        return -1;
    }
    *ret_policy = policy;
    return 0;
}
