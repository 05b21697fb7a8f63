#include "scheduler/trust.h"

#include <stdlib.h>
#include <string.h>

#include "lib/image_reference.h"
#include "lib/xalloc.h"

void trust_rules_init(const struct core *core, const char *repository, const char *without,
                      struct trust_rules *ret_rules)
{
    const struct sorted *keys = &core->model.keys;
    struct trust_rules rules = {.keys = xcalloc(keys->count + 1, sizeof *rules.keys)};
    for (size_t i = 0; i < keys->count; i++) {
        const struct api_key *key = ((const struct model_key *)keys->items[i])->document;
        if (without != NULL && strcmp(key->name, without) == 0)
            continue;
        /* They were read before they were stored. */
        if (trusted_key_parse(key->name, key->pem, strlen(key->pem),
                              &rules.keys[rules.rules.key_count], NULL) == 0)
            rules.rules.key_count++;
    }
    rules.policies = model_policies(&core->model, &rules.rules.policy_count);
    rules.rules.keys = rules.keys;
    rules.rules.policies = rules.policies;
    rules.rules.registry = image_registry_host(core->options->registry);
    rules.rules.repository = repository;
    rules.rules.now_ms = core_wall(core);
    *ret_rules = rules;
}

void trust_rules_finish(struct trust_rules *rules)
{
    trusted_keys_free(rules->keys, rules->rules.key_count);
    free(rules->policies);
    *rules = (struct trust_rules){0};
}

void trust_judge_evidence(const struct trust_rules *rules, const char *family,
                          const struct policy_evidence *evidence,
                          struct policy_verdict *ret_verdict)
{
    struct policy_question question = {
        .policies = rules->rules.policies,
        .policy_count = rules->rules.policy_count,
        .keys = rules->rules.keys,
        .key_count = rules->rules.key_count,
        .registry = rules->rules.registry,
        .repository = rules->rules.repository,
        .family = family,
        .evidence = evidence,
        .now_ms = rules->rules.now_ms,
        .ignores_age = rules->rules.ignores_age,
    };
    policy_judge(&question, ret_verdict);
}
