#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/affected.h"
#include "scheduler/routes.h"
#include "scheduler/views.h"

void routes_list_policies(struct http_request *request, void *data)
{
    http_request_respond_json(request, 200, views_policies(data));
}

static int refuse_unknown(const char *name, struct error *error)
{
    return error_set(error, ERROR_NOT_FOUND, "there is no policy %.64s: `shoal policy list` tells",
                     name);
}

void routes_get_policy(struct http_request *request, void *data)
{
    const struct core *core = data;
    const char *name = http_request_parameter(request, "policy");
    const struct model_policy *policy = sorted_find(&core->model.policies, name);
    struct error error;
    if (policy != NULL) {
        http_request_respond_json(request, 200, json_encode(&api_policy_record, policy->document));
        return;
    }
    refuse_unknown(name, &error);
    http_request_respond_error(request, &error);
}

struct policy_request {
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    bool remove;
    struct api_policy policy; /* only its name when it is to be removed */
    bool changed;
};

static int check_keys(const struct core *core, const struct json_strings *names,
                      const char *pointer, struct error *error)
{
    for (size_t i = 0; i < names->count; i++) {
        if (sorted_find(&core->model.keys, names->items[i]) != NULL)
            continue;
        error_set(error, ERROR_INVALID,
                  "no key \"%s\" is trusted: add it first (`shoal trust add FILE --name %s`), or "
                  "name one of `shoal trust list`",
                  names->items[i], names->items[i]);
        if (error != NULL)
            snprintf(error->pointer, sizeof error->pointer, "%s/%zu", pointer, i);
        return -1;
    }
    return 0;
}

/* A name that nobody has would look like a demand that is met one day. */
static int check_all_keys(const struct core *core, const struct api_policy *policy,
                          struct error *error)
{
    if (check_keys(core, &policy->keys, "/keys", error) < 0)
        return -1;
    for (size_t i = 0; i < policy->attestation_count; i++) {
        char pointer[ERROR_POINTER_MAX];
        snprintf(pointer, sizeof pointer, "/attestations/%zu/keys", i);
        if (check_keys(core, &policy->attestations[i].keys, pointer, error) < 0)
            return -1;
    }
    return 0;
}

static bool is_same(const struct api_policy *one, const struct api_policy *other)
{
    AUTO_FREE char *first = json_record_text(&api_policy_record, one);
    AUTO_FREE char *second = json_record_text(&api_policy_record, other);
    return strcmp(first, second) == 0;
}

static int decide_removal(struct policy_request *asked, struct change *change, struct error *error)
{
    struct core *core = asked->core;
    const char *name = asked->policy.name;
    const struct model_policy *known = sorted_find(&core->model.policies, name);
    if (known == NULL)
        return refuse_unknown(name, error);
    change_remove(change, DOCUMENT_POLICY, known->document);
    bool last = core->model.policies.count == 1;
    changes_event(core->changes, change, "policy", "", name, NULL, "removed", NULL, "%s",
                  last ? "the last policy is gone: one signature by any trusted key is enough"
                       : "its repositories fall to the other policies, or to none");
    asked->changed = true;
    return 0;
}

static int decide(struct change *change, void *data, struct error *error)
{
    struct policy_request *asked = data;
    struct core *core = asked->core;
    const struct api_policy *policy = &asked->policy;
    if (asked->remove)
        return decide_removal(asked, change, error);
    const struct model_policy *known = sorted_find(&core->model.policies, policy->name);
    if (check_all_keys(core, policy, error) < 0)
        return -1;
    if (known != NULL && is_same(known->document, policy))
        return 0;
    if (known == NULL && core->model.policies.count >= API_POLICIES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "there are %d policies, more are not kept",
                         API_POLICIES_MAX);
    change_put(change, DOCUMENT_POLICY, document_copy(DOCUMENT_POLICY, policy));
    changes_event(core->changes, change, "policy", "", policy->name, NULL,
                  known != NULL ? "changed" : "applied", NULL, "%s, matches %s%s",
                  api_policy_mode_names[policy->mode], policy->match.items[0],
                  policy->match.count > 1 ? " and more" : "");
    asked->changed = true;
    return 0;
}

static void on_decided(const struct error *error, void *data)
{
    struct policy_request *asked = data;
    if (asked->request != NULL && error != NULL) {
        http_request_respond_error(asked->request, error);
    } else if (asked->request != NULL) {
        struct affected affected;
        affected_by_rules(asked->core, &affected);
        http_request_respond_json(asked->request, 200,
                                  affected_answer(&affected, asked->changed, false));
        affected_release(&affected);
    }
    json_record_release(&api_policy_record, &asked->policy);
    free(asked);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct policy_request *)data)->request = NULL;
}

/* Takes the policy. */
static void change_policy(struct http_request *request, struct core *core, bool remove,
                          const struct api_policy *policy)
{
    struct policy_request *asked = xcalloc(1, sizeof *asked);
    *asked = (struct policy_request){
        .core = core, .request = request, .remove = remove, .policy = *policy};
    http_request_on_abandoned(request, on_abandoned, asked);
    changes_decide(core->changes, decide, on_decided, asked);
}

static int read_policy(struct http_request *request, struct api_policy *ret_policy,
                       struct error *error)
{
    const char *name = http_request_parameter(request, "policy");
    AUTO_JSON struct json_object *object = NULL;
    size_t length;
    const char *body = http_request_body(request, &length);
    if (json_parse(body, length, &object, error) < 0 ||
        api_policy_decode(object, ret_policy, error) < 0)
        return -1;
    int result = policy_check(ret_policy, error);
    if (result == 0 && strcmp(ret_policy->name, name) != 0) {
        result = error_set(error, ERROR_INVALID, "name \"%s\" is not what the path says: %.64s",
                           ret_policy->name, name);
        if (error != NULL)
            strcpy(error->pointer, "/name");
    }
    if (result < 0)
        json_record_release(&api_policy_record, ret_policy);
    return result;
}

void routes_put_policy(struct http_request *request, void *data)
{
    struct api_policy policy;
    struct error error = ERROR_INIT;
    if (read_policy(request, &policy, &error) < 0)
        http_request_respond_error(request, &error);
    else
        change_policy(request, data, false, &policy);
}

void routes_delete_policy(struct http_request *request, void *data)
{
    struct api_policy policy = {0};
    text_copy(policy.name, sizeof policy.name, http_request_parameter(request, "policy"));
    change_policy(request, data, true, &policy);
}
