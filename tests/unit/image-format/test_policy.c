/* The judge of policies, by tables: policies and evidence in, verdict and reasons out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image-format/policy.h"
#include "lib/cleanup.h"

#define NOW_S    UINT64_C(1800000000)
#define HOUR_S   3600
#define SLSA     "https://slsa.dev/provenance/v1"
#define SLSA_OLD "https://slsa.dev/provenance/v0.2"
#define SPDX     "https://spdx.dev/Document"

/* Ids say whose key it is. "twin" is the key ci under another name. */
static const struct trusted_key cluster_keys[] = {
    {.name = "ci", .id = "c1"},
    {.name = "release", .id = "e1"},
    {.name = "audit", .id = "a1"},
    {.name = "twin", .id = "c1"},
};

enum { POLICIES_MAX = 4, EVIDENCE_ITEMS_MAX = 4 };

struct row {
    const char *what;
    const char *policies[POLICIES_MAX];
    const char *repository; /* NULL: default/hello */
    struct policy_signature signatures[EVIDENCE_ITEMS_MAX];
    struct policy_statement statements[EVIDENCE_ITEMS_MAX];
    size_t key_count; /* of cluster_keys; 0: all */
    bool needs_trusted_key;
    const char *family; /* NULL: shoal */
    enum policy_outcome outcome;
    const char *policy;  /* that decided */
    const char *reason;  /* a part of the reasons; NULL: there are none */
    const char *another; /* part */
};

static void decode(const char *text, struct api_policy *ret_policy)
{
    AUTO_JSON struct json_object *object = NULL;
    struct error error = ERROR_INIT;
    if (json_parse(text, strlen(text), &object, &error) < 0 ||
        api_policy_decode(object, ret_policy, &error) < 0)
        fail_msg("%s: %s at %s", text, error.message, error.pointer);
}

static void judge(const struct row *row)
{
    struct api_policy policies[POLICIES_MAX] = {0};
    struct policy_evidence evidence = {.signatures = (struct policy_signature *)row->signatures,
                                       .statements = (struct policy_statement *)row->statements};
    struct policy_question question = {
        .policies = policies,
        .keys = cluster_keys,
        .key_count = row->key_count > 0 ? row->key_count : ARRAY_LENGTH(cluster_keys),
        .registry = "registry.local:5000",
        .repository = row->repository != NULL ? row->repository : "default/hello",
        .family = row->family != NULL ? row->family : "shoal",
        .evidence = &evidence,
        .now_ms = NOW_S * 1000,
        .needs_trusted_key = row->needs_trusted_key,
    };
    while (question.policy_count < POLICIES_MAX && row->policies[question.policy_count] != NULL) {
        decode(row->policies[question.policy_count], &policies[question.policy_count]);
        question.policy_count++;
    }
    while (row->signatures[evidence.signature_count].key[0] != '\0')
        evidence.signature_count++;
    while (row->statements[evidence.statement_count].key[0] != '\0')
        evidence.statement_count++;
    struct policy_verdict verdict;
    policy_judge(&question, &verdict);
    AUTO_FREE char *text = policy_verdict_text(&verdict);
    bool told = row->reason == NULL
                    ? verdict.reasons.count == 0
                    : strstr(text, row->reason) != NULL &&
                          (row->another == NULL || strstr(text, row->another) != NULL);
    if (verdict.outcome != row->outcome || !told ||
        strcmp(verdict.policy, row->policy != NULL ? row->policy : "") != 0)
        fail_msg("%s: %s \"%s\"", row->what, api_verdict_names[verdict.outcome], text);
    policy_verdict_release(&verdict);
    for (size_t i = 0; i < question.policy_count; i++)
        json_record_release(&api_policy_record, &policies[i]);
}

static void judge_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        judge(&rows[i]);
}

static void without_a_policy_one_trusted_signature_is_enough(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"signed", .signatures = {{.key = "a1"}}},
        {"unsigned", .outcome = POLICY_REFUSED, .reason = "no trusted key signed it"},
        {"by a stranger", .signatures = {{.key = "ff"}}, .outcome = POLICY_REFUSED,
         .reason = "no trusted key"},
    };
    judge_all(rows, ARRAY_LENGTH(rows));
}

static void keys_are_counted_by_their_ids(void **state)
{
    (void)state;
    static const char two[] =
        "{\"name\":\"two\",\"match\":[\"**\"],\"keys\":[\"ci\",\"release\"],\"require\":2}";
    static const char any_two[] = "{\"name\":\"two\",\"match\":[\"**\"],\"require\":2}";
    static const char twins[] =
        "{\"name\":\"two\",\"match\":[\"**\"],\"keys\":[\"ci\",\"twin\"],\"require\":2}";
    static const char one[] = "{\"name\":\"one\",\"match\":[\"**\"],\"keys\":[\"release\"]}";
    static const struct row rows[] = {
        {"both", {two}, .signatures = {{.key = "c1"}, {.key = "e1"}}, .policy = "two"},
        {"one of two",
         {two},
         .signatures = {{.key = "c1"}},
         .policy = "two",
         .outcome = POLICY_REFUSED,
         .reason = "2 of the keys ci, release must have signed it; only 1 did: ci"},
        {"the same one twice",
         {two},
         .signatures = {{.key = "c1"}, {.key = "c1"}},
         .policy = "two",
         .outcome = POLICY_REFUSED,
         .reason = "only 1 did: ci"},
        {"one key under two names",
         {twins},
         .signatures = {{.key = "c1"}, {.key = "c1"}},
         .policy = "two",
         .outcome = POLICY_REFUSED,
         .reason = "only 1 did"},
        {"any two", {any_two}, .signatures = {{.key = "a1"}, {.key = "e1"}}, .policy = "two"},
        {"any two, one there",
         {any_two},
         .signatures = {{.key = "a1"}},
         .policy = "two",
         .outcome = POLICY_REFUSED,
         .reason = "2 different trusted keys"},
        {"another key",
         {one},
         .signatures = {{.key = "c1"}},
         .policy = "one",
         .outcome = POLICY_REFUSED,
         .reason = "the key release must have signed it; none did that counts, ci did, which it "
                   "does not ask"},
        {"a key that is no longer trusted",
         {two},
         .signatures = {{.key = "c1"}, {.key = "e1", .name = "release"}},
         .key_count = 1,
         .policy = "two",
         .outcome = POLICY_REFUSED,
         .reason = "release (e1) did, which is not trusted",
         .another = "no key release is trusted here"},
    };
    judge_all(rows, ARRAY_LENGTH(rows));
}

static void age_counts_from_a_signed_time_only(void **state)
{
    (void)state;
    static const char day[] =
        "{\"name\":\"day\",\"match\":[\"**\"],\"keys\":[\"ci\"],\"max_age\":\"1d\"}";
    static const struct row rows[] = {
        {"new",
         {day},
         .signatures = {{.key = "c1", .signed_at = NOW_S - 23 * HOUR_S}},
         .policy = "day"},
        {"to the second",
         {day},
         .signatures = {{.key = "c1", .signed_at = NOW_S - 24 * HOUR_S}},
         .policy = "day"},
        {"old",
         {day},
         .signatures = {{.key = "c1", .signed_at = NOW_S - 24 * HOUR_S - 1}},
         .policy = "day",
         .outcome = POLICY_REFUSED,
         .reason = "max_age is 24h"},
        {"old and signed again",
         {day},
         .signatures = {{.key = "c1", .signed_at = NOW_S - 99 * HOUR_S},
                        {.key = "c1", .signed_at = NOW_S}},
         .policy = "day"},
        {"no time",
         {day},
         .signatures = {{.key = "c1"}},
         .policy = "day",
         .outcome = POLICY_REFUSED,
         .reason = "does not say when it was made"},
        {"a clock a little ahead",
         {day},
         .signatures = {{.key = "c1", .signed_at = NOW_S + 200}},
         .policy = "day"},
        {"from the future",
         {day},
         .signatures = {{.key = "c1", .signed_at = NOW_S + HOUR_S}},
         .policy = "day",
         .outcome = POLICY_REFUSED,
         .reason = "in the future"},
        {"the end of time",
         {day},
         .signatures = {{.key = "c1", .signed_at = UINT64_MAX}},
         .policy = "day",
         .outcome = POLICY_REFUSED,
         .reason = "in the future"},
    };
    judge_all(rows, ARRAY_LENGTH(rows));
}

static void attestations_count_by_type_and_by_who_signed_them(void **state)
{
    (void)state;
    static const char slsa[] =
        "{\"name\":\"p\",\"match\":[\"**\"],\"keys\":[\"ci\"],\"attestations\":[\"slsa\"]}";
    static const char own[] = "{\"name\":\"p\",\"match\":[\"**\"],\"keys\":[\"ci\"],"
                              "\"attestations\":[{\"type\":\"" SPDX "\",\"keys\":[\"audit\"]}]}";
    static const struct row rows[] = {
        {"there",
         {slsa},
         .signatures = {{.key = "c1"}},
         .statements = {{"c1", SLSA}},
         .policy = "p"},
        {"an older version",
         {slsa},
         .signatures = {{.key = "c1"}},
         .statements = {{"c1", SLSA_OLD}},
         .policy = "p"},
        {"none",
         {slsa},
         .signatures = {{.key = "c1"}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "it needs an attestation slsa by ci; it has none"},
        {"of another type",
         {slsa},
         .signatures = {{.key = "c1"}},
         .statements = {{"c1", SPDX}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "it has " SPDX " by ci"},
        {"of a longer name",
         {slsa},
         .signatures = {{.key = "c1"}},
         .statements = {{"c1", "https://slsa.dev/provenances"}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "slsa"},
        {"by another key",
         {slsa},
         .signatures = {{.key = "c1"}},
         .statements = {{"a1", SLSA}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "by audit"},
        {"by a stranger",
         {slsa},
         .signatures = {{.key = "c1"}},
         .statements = {{"ff", SLSA}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "a key that is not trusted"},
        {"keys of its own",
         {own},
         .signatures = {{.key = "c1"}},
         .statements = {{"a1", SPDX}},
         .policy = "p"},
        {"keys of its own, not the policy's",
         {own},
         .signatures = {{.key = "c1"}},
         .statements = {{"c1", SPDX}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "by audit"},
        {"an attestation is no signature",
         {slsa},
         .statements = {{"c1", SLSA}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "the key ci must have signed it; none did"},
    };
    judge_all(rows, ARRAY_LENGTH(rows));
}

static void families_and_registries_are_lists_of_what_may(void **state)
{
    (void)state;
    static const char place[] =
        "{\"name\":\"p\",\"match\":[\"**\"],\"families\":[\"shoal\",\"solo5\"],"
        "\"registries\":[\"registry.*:5000\"]}";
    static const char elsewhere[] =
        "{\"name\":\"p\",\"match\":[\"**\"],\"registries\":[\"other:5000\"]}";
    static const struct row rows[] = {
        {"allowed", {place}, .signatures = {{.key = "c1"}}, .policy = "p"},
        {"another family",
         {place},
         .signatures = {{.key = "c1"}},
         .family = "linux",
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "its family is linux, allowed are shoal, solo5"},
        {"another registry",
         {elsewhere},
         .signatures = {{.key = "c1"}},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "it comes from the registry registry.local:5000, allowed are other:5000"},
        {"all that is wrong is told",
         {elsewhere},
         .policy = "p",
         .outcome = POLICY_REFUSED,
         .reason = "must have signed it",
         .another = "registry"},
    };
    judge_all(rows, ARRAY_LENGTH(rows));
}

static void the_most_specific_policy_decides_alone(void **state)
{
    (void)state;
    static const char all[] = "{\"name\":\"all\",\"match\":[\"**\"],\"keys\":[\"audit\"]}";
    static const char space[] =
        "{\"name\":\"space\",\"match\":[\"default/*\"],\"keys\":[\"release\"]}";
    static const char exact[] =
        "{\"name\":\"exact\",\"match\":[\"other/x\",\"default/hello\"],\"keys\":[\"ci\"]}";
    static const char star[] =
        "{\"name\":\"a-star\",\"match\":[\"default/hello*\"],\"keys\":[\"audit\"]}";
    static const char first[] =
        "{\"name\":\"a-first\",\"match\":[\"default/*\"],\"keys\":[\"ci\"]}";
    static const struct row rows[] = {
        {"exact", {all, space, exact, star}, .signatures = {{.key = "c1"}}, .policy = "exact"},
        {"in any order",
         {star, exact, space, all},
         .signatures = {{.key = "c1"}},
         .policy = "exact"},
        {"more literal characters", {all, space}, .signatures = {{.key = "e1"}}, .policy = "space"},
        {"a weaker policy does not help",
         {all, space},
         .signatures = {{.key = "a1"}},
         .policy = "space",
         .outcome = POLICY_REFUSED,
         .reason = "the key release"},
        {"of equals the first name",
         {space, first},
         .signatures = {{.key = "c1"}},
         .policy = "a-first"},
        {"the rest falls to the widest",
         {all, space},
         .repository = "team/x",
         .signatures = {{.key = "a1"}},
         .policy = "all"},
        {"nothing matches",
         {space, exact},
         .repository = "team/x",
         .signatures = {{.key = "c1"}},
         .outcome = POLICY_REFUSED,
         .reason = "no policy matches the repository team/x",
         .another = "`shoal policy apply -f FILE`"},
    };
    judge_all(rows, ARRAY_LENGTH(rows));
}

static void a_policy_that_warns_lets_boot_and_says_why(void **state)
{
    (void)state;
    static const char warn[] =
        "{\"name\":\"w\",\"match\":[\"**\"],\"keys\":[\"release\"],\"mode\":\"warn\"}";
    static const struct row rows[] = {
        {"fine", {warn}, .signatures = {{.key = "e1"}}, .policy = "w"},
        {"another key",
         {warn},
         .signatures = {{.key = "c1"}},
         .policy = "w",
         .outcome = POLICY_WARNED,
         .reason = "the key release must have signed it"},
        {"unsigned", {warn}, .policy = "w", .outcome = POLICY_WARNED, .reason = "none did"},
        {"unsigned, where the node insists",
         {warn},
         .needs_trusted_key = true,
         .policy = "w",
         .outcome = POLICY_REFUSED,
         .reason = "trust folder"},
        {"another key, where the node insists",
         {warn},
         .signatures = {{.key = "c1"}},
         .needs_trusted_key = true,
         .policy = "w",
         .outcome = POLICY_WARNED,
         .reason = "release"},
    };
    judge_all(rows, ARRAY_LENGTH(rows));
}

static void a_family_that_is_not_known_yet_is_not_judged(void **state)
{
    (void)state;
    struct api_policy policy;
    decode("{\"name\":\"p\",\"match\":[\"**\"],\"families\":[\"solo5\"],\"on_revoke\":\"stop\"}",
           &policy);
    struct policy_signature signature = {.key = "c1"};
    struct policy_evidence evidence = {.signatures = &signature, .signature_count = 1};
    struct policy_question question = {.policies = &policy,
                                       .policy_count = 1,
                                       .keys = cluster_keys,
                                       .key_count = 1,
                                       .registry = "r",
                                       .repository = "a/b",
                                       .evidence = &evidence};
    struct policy_verdict verdict;
    policy_judge(&question, &verdict);
    assert_int_equal(verdict.outcome, POLICY_ALLOWED);
    assert_int_equal(verdict.on_revoke, API_ON_REVOKE_STOP);
    policy_verdict_release(&verdict);
    json_record_release(&api_policy_record, &policy);
}

static void bad_policies_are_refused_where_they_are_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *pointer, *message;
    } rows[] = {
        {"{\"match\":[\"**\"]}", "", "name"},
        {"{\"name\":\"p\"}", "", "match"},
        {"{\"name\":\"p\",\"match\":[]}", "/match", ""},
        {"{\"name\":\"P!\",\"match\":[\"**\"]}", "/name", "a-z"},
        {"{\"name\":\"p\",\"match\":[\"Hello\"]}", "/match/0", "lower case"},
        {"{\"name\":\"p\",\"match\":[\"a\",\"127.0.0.1:5000/a\"]}", "/match/1", "no host"},
        {"{\"name\":\"p\",\"match\":[\"a\",\"a\"]}", "/match/1", "twice"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"require\":0}", "/require", "1"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"require\":-1}", "/require", ""},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"require\":2,\"keys\":[\"a\"]}", "/require",
         "nothing could boot"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"keys\":[\"a\",\"a\"]}", "/keys/1", "twice"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"families\":[]}", "/families", ""},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"registries\":[\"http://x\"]}", "/registries/0",
         "without scheme"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"attestations\":[\"sbom\"]}", "/attestations/0/type",
         "spdx"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"attestations\":[3]}", "/attestations/0", ""},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"attestations\":\"slsa\"}", "/attestations", ""},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"max_age\":\"0s\"}", "/max_age", ""},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"max_age\":90}", "/max_age", "duration"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"mode\":\"off\"}", "/mode", "enforce"},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"on_revoke\":true}", "/on_revoke", ""},
        {"{\"name\":\"p\",\"match\":[\"a\"],\"allow\":\"all\"}", "/allow", ""},
        {"{\"name\":\"p\",\"match\":{\"a\":1}}", "/match", ""},
        {"{\"name\":\"p\",\"match\":[\"a/b\",\"hello\"]}", "/match/1", "\"default/hello\""},
        {"{\"name\":\"p\",\"match\":[\"a/b\"],\"keys\":[\"\\u0000\"]}", "/keys/0", ""},
        {"[]", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        AUTO_JSON struct json_object *object = NULL;
        struct api_policy policy;
        struct error error = ERROR_INIT;
        assert_int_equal(json_parse(rows[i].text, strlen(rows[i].text), &object, &error), 0);
        if (api_policy_decode(object, &policy, &error) == 0 ||
            strcmp(error.pointer, rows[i].pointer) != 0 ||
            strstr(error.message, rows[i].message) == NULL)
            fail_msg("%s: \"%s\" at %s", rows[i].text, error.message, error.pointer);
    }
}

static void a_family_has_to_exist(void **state)
{
    (void)state;
    struct api_policy policy;
    struct error error = ERROR_INIT;
    decode("{\"name\":\"p\",\"match\":[\"**\"],\"families\":[\"shoal\",\"unicorn\"]}", &policy);
    assert_int_equal(policy_check(&policy, &error), -1);
    assert_string_equal(error.pointer, "/families/1");
    assert_non_null(strstr(error.message, "\"unicorn\" is no family: there are shoal"));
    json_record_release(&api_policy_record, &policy);
}

static void evidence_is_kept_as_json(void **state)
{
    (void)state;
    struct policy_evidence evidence = {0}, copy;
    policy_evidence_add_signature(&evidence, &cluster_keys[0], NOW_S);
    policy_evidence_add_statement(&evidence, &cluster_keys[1], SLSA);
    json_record_copy(&policy_evidence_record, &evidence, &copy);
    assert_int_equal(copy.signature_count, 1);
    assert_string_equal(copy.signatures[0].key, "c1");
    assert_string_equal(copy.signatures[0].name, "ci");
    assert_int_equal(copy.signatures[0].signed_at, NOW_S);
    assert_int_equal(copy.statement_count, 1);
    assert_string_equal(copy.statements[0].key, "e1");
    assert_string_equal(copy.statements[0].type, SLSA);
    policy_evidence_release(&evidence);
    policy_evidence_release(&copy);
}

static void of_many_signatures_the_newest_are_kept(void **state)
{
    (void)state;
    struct policy_evidence evidence = {0};
    uint64_t newest = 0;
    policy_evidence_add_signature(&evidence, &cluster_keys[1], 0);
    for (uint64_t i = 1; i <= 1000; i++)
        policy_evidence_add_signature(&evidence, &cluster_keys[0], NOW_S + i);
    for (size_t i = 0; i < evidence.signature_count; i++) {
        if (evidence.signatures[i].signed_at > newest)
            newest = evidence.signatures[i].signed_at;
    }
    assert_true(evidence.signature_count < 100);
    assert_int_equal(newest, NOW_S + 1000);
    assert_string_equal(evidence.signatures[0].key, "e1");
    policy_evidence_release(&evidence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_policy_one_trusted_signature_is_enough),
        cmocka_unit_test(keys_are_counted_by_their_ids),
        cmocka_unit_test(age_counts_from_a_signed_time_only),
        cmocka_unit_test(attestations_count_by_type_and_by_who_signed_them),
        cmocka_unit_test(families_and_registries_are_lists_of_what_may),
        cmocka_unit_test(the_most_specific_policy_decides_alone),
        cmocka_unit_test(a_policy_that_warns_lets_boot_and_says_why),
        cmocka_unit_test(a_family_that_is_not_known_yet_is_not_judged),
        cmocka_unit_test(bad_policies_are_refused_where_they_are_bad),
        cmocka_unit_test(a_family_has_to_exist),
        cmocka_unit_test(evidence_is_kept_as_json),
        cmocka_unit_test(of_many_signatures_the_newest_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
