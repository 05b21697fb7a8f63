/* Policies as anybody may send them, and the judge: what is read is written and read alike, and no
 * document makes less of a signature count for more. The first line is the repository, its first
 * byte says who signed. */
#include "image-format/policy.h"
#include "tests/fuzz/fuzz.h"

static const struct trusted_key keys[] = {
    {.name = "ci", .id = "c1"}, {.name = "release", .id = "e1"}, {.name = "twin", .id = "c1"}};

enum { NOW_S = 1800000000 };

/* Bits 0 to 2: whose; bit 3: long ago; bit 4: an attestation as well. */
static void make_evidence(uint8_t bits, struct policy_evidence *evidence)
{
    uint64_t signed_at = (bits & 8) != 0 ? 1 : NOW_S;
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        if ((bits & (1u << i)) != 0)
            policy_evidence_add_signature(evidence, &keys[i], signed_at);
        if ((bits & (1u << i)) != 0 && (bits & 16) != 0)
            policy_evidence_add_statement(evidence, &keys[i], "https://slsa.dev/provenance/v1");
    }
}

static enum policy_outcome judge(const struct api_policy *policy, const char *repository,
                                 uint8_t bits, size_t key_count)
{
    struct policy_evidence evidence = {0};
    struct policy_verdict verdict;
    make_evidence(bits, &evidence);
    struct policy_question question = {.policies = policy,
                                       .policy_count = 1,
                                       .keys = keys,
                                       .key_count = key_count,
                                       .registry = "127.0.0.1:5000",
                                       .repository = repository,
                                       .family = "shoal",
                                       .evidence = &evidence,
                                       .now_ms = NOW_S * UINT64_C(1000)};
    policy_judge(&question, &verdict);
    AUTO_FREE char *text = policy_verdict_text(&verdict);
    EXPECT(verdict.policy[0] == '\0' || strstr(text, verdict.policy) != NULL);
    enum policy_outcome outcome = verdict.outcome;
    EXPECT((outcome == POLICY_ALLOWED) == (verdict.reasons.count == 0));
    EXPECT(outcome != POLICY_WARNED || policy->mode == API_POLICY_WARN);
    policy_verdict_release(&verdict);
    policy_evidence_release(&evidence);
    return outcome;
}

static void check_judge(const struct api_policy *policy, const char *repository, uint8_t bits)
{
    size_t ids = ((bits & 5) != 0) + ((bits & 2) != 0);
    enum policy_outcome outcome = judge(policy, repository, bits, ARRAY_LENGTH(keys));
    EXPECT(outcome != POLICY_ALLOWED || ids >= policy->require);
    EXPECT(outcome != POLICY_ALLOWED || policy_find(policy, 1, repository, NULL) == policy);
    EXPECT(judge(policy, repository, bits & 24, ARRAY_LENGTH(keys)) != POLICY_ALLOWED);
    EXPECT(judge(policy, repository, bits, 0) != POLICY_ALLOWED);
    /* More signatures, and more trusted keys, never make it worse. */
    EXPECT(outcome >= judge(policy, repository, bits | 7, ARRAY_LENGTH(keys)));
    EXPECT(outcome <= judge(policy, repository, bits, 1));
}

static void check_read_again(const struct api_policy *policy)
{
    AUTO_FREE char *text = json_record_text(&api_policy_record, policy);
    AUTO_JSON struct json_object *object = NULL;
    struct api_policy again;
    EXPECT(json_parse(text, strlen(text), &object, NULL) == 0);
    EXPECT(api_policy_decode(object, &again, NULL) == 0);
    AUTO_FREE char *second = json_record_text(&api_policy_record, &again);
    EXPECT(strcmp(text, second) == 0);
    json_record_release(&api_policy_record, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *repository = fuzz_line(&bytes, &length);
    AUTO_FREE char *text = xmemdup(bytes, length);
    AUTO_JSON struct json_object *object = NULL;
    struct error error = ERROR_INIT;
    struct api_policy policy;
    if (json_parse(text, length, &object, &error) < 0)
        return 0;
    if (api_policy_decode(object, &policy, &error) < 0) {
        EXPECT(error.message[0] != '\0');
        return 0;
    }
    EXPECT(policy.match.count > 0 && policy.require > 0 && policy.name[0] != '\0');
    check_read_again(&policy);
    policy_check(&policy, &error);
    check_judge(&policy, repository[0] != '\0' ? repository + 1 : "", (uint8_t)repository[0]);
    json_record_release(&api_policy_record, &policy);
    return 0;
}
