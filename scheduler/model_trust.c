/* Keys and policies in the model. */
#include <stdlib.h>

#include "lib/xalloc.h"
#include "scheduler/model.h"

struct api_policy *model_policies(const struct model *model, size_t *ret_count)
{
    struct api_policy *list = xcalloc(model->policies.count + 1, sizeof *list);
    for (size_t i = 0; i < model->policies.count; i++)
        list[i] = *((const struct model_policy *)model->policies.items[i])->document;
    *ret_count = model->policies.count;
    return list;
}

static void free_key(struct model_key *key)
{
    document_free(DOCUMENT_KEY, key->document);
    free(key);
}

static void free_policy(struct model_policy *policy)
{
    document_free(DOCUMENT_POLICY, policy->document);
    free(policy);
}

void model_free_trust(struct model *model)
{
    for (size_t i = 0; i < model->keys.count; i++)
        free_key(model->keys.items[i]);
    for (size_t i = 0; i < model->policies.count; i++)
        free_policy(model->policies.items[i]);
    sorted_finish(&model->keys);
    sorted_finish(&model->policies);
}

void model_apply_key(struct model *model, struct api_key *document, bool removed)
{
    struct model_key *key = sorted_find(&model->keys, document->name);
    model->trust_dirty = true;
    if (removed) {
        if (key != NULL) {
            sorted_remove(&model->keys, key);
            free_key(key);
        }
        document_free(DOCUMENT_KEY, document);
        return;
    }
    if (key == NULL) {
        key = xcalloc(1, sizeof *key);
        key->name = document->name;
        key->document = document;
        sorted_insert(&model->keys, key);
        return;
    }
    key->name = document->name;
    document_free(DOCUMENT_KEY, key->document);
    key->document = document;
}

void model_apply_policy(struct model *model, struct api_policy *document, bool removed)
{
    struct model_policy *policy = sorted_find(&model->policies, document->name);
    model->trust_dirty = true;
    if (removed) {
        if (policy != NULL) {
            sorted_remove(&model->policies, policy);
            free_policy(policy);
        }
        document_free(DOCUMENT_POLICY, document);
        return;
    }
    if (policy == NULL) {
        policy = xcalloc(1, sizeof *policy);
        policy->name = document->name;
        policy->document = document;
        sorted_insert(&model->policies, policy);
        return;
    }
    policy->name = document->name;
    document_free(DOCUMENT_POLICY, policy->document);
    policy->document = document;
}
