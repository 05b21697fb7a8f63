/* Whether the rules let an image boot: the half of image-format/chain.h that is about policies. */
#include <string.h>

#include "image-format/chain.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

void image_chain_collect_evidence(const struct image_chain *chain, const struct image_rules *rules,
                                  struct policy_evidence *ret_evidence)
{
    struct policy_evidence evidence = {0};
    struct image_proofs proofs;
    image_chain_prove(chain, rules->keys, rules->key_count, &proofs);
    for (size_t i = 0; i < proofs.count; i++) {
        const struct image_proof *proof = &proofs.items[i];
        const struct trusted_key *key = &rules->keys[proof->key];
        if (strcmp(proof->predicate_type, PREDICATE_SIGNATURE) == 0)
            policy_evidence_add_signature(&evidence, key, proof->signed_at);
        else
            policy_evidence_add_statement(&evidence, key, proof->predicate_type);
    }
    image_proofs_release(&proofs);
    *ret_evidence = evidence;
}

/* Nothing that is there counts: whose the signatures are says more than what the policy asks. */
static int refuse_unsigned(const struct image_chain *chain, const struct image_rules *rules,
                           const struct policy_verdict *verdict, struct error *error)
{
    size_t key;
    if (image_chain_check_signatures(chain, rules->keys, rules->key_count, &key, error) == 0)
        return error_set(error, ERROR_INTERNAL, "image %s: signed and unsigned at once",
                         chain->pinned);
    if (verdict->policy[0] != '\0')
        error_wrap(error, "policy %s", verdict->policy);
    return -1;
}

int image_chain_judge(const struct image_chain *chain, const struct image_rules *rules,
                      const char *family, const struct policy_evidence *evidence,
                      struct policy_verdict *ret_verdict, struct error *error)
{
    struct policy_question question = {
        .policies = rules->policies,
        .policy_count = rules->policy_count,
        .keys = rules->keys,
        .key_count = rules->key_count,
        .registry = rules->registry != NULL ? rules->registry : "",
        .repository = rules->repository != NULL ? rules->repository : "",
        .family = family,
        .evidence = evidence,
        .now_ms = rules->now_ms,
        .needs_trusted_key = rules->needs_trusted_key,
        .ignores_age = rules->ignores_age,
    };
    struct policy_verdict verdict;
    policy_judge(&question, &verdict);
    if (verdict.outcome != POLICY_REFUSED) {
        *ret_verdict = verdict;
        return 0;
    }
    bool is_matched = verdict.policy[0] != '\0' || rules->policy_count == 0;
    if (is_matched && evidence->signature_count == 0) {
        refuse_unsigned(chain, rules, &verdict, error);
    } else {
        AUTO_FREE char *text = policy_verdict_text(&verdict);
        error_set(error, ERROR_POLICY, "image %s is refused by %s", chain->pinned, text);
    }
    policy_verdict_release(&verdict);
    return -1;
}
