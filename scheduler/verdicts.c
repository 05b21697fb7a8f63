#include "scheduler/verdicts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_client.h"
#include "lib/image_reference.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/trust.h"

struct verdict_inquiry {
    LIST_ENTRY(verdict_inquiry) link;
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    struct image_reference reference;
    char architectures[IMAGE_ARCHITECTURES_MAX][16];
    size_t architecture_count;
    size_t next;
    struct api_verdict answer;
};

static void inquiry_free(struct verdict_inquiry *inquiry)
{
    LIST_REMOVE(inquiry, link);
    json_record_release(&api_verdict_record, &inquiry->answer);
    free(inquiry);
}

void verdicts_cancel_all(struct core *core)
{
    while (!LIST_EMPTY(&core->inquiries))
        inquiry_free(LIST_FIRST(&core->inquiries));
}

static void end(struct verdict_inquiry *inquiry, const struct error *error)
{
    if (inquiry->request != NULL && error != NULL)
        http_request_respond_error(inquiry->request, error);
    else if (inquiry->request != NULL)
        http_request_respond_json(inquiry->request, 200,
                                  json_encode(&api_verdict_record, &inquiry->answer));
    inquiry_free(inquiry);
}

static struct api_platform_verdict *add_platform(struct verdict_inquiry *inquiry)
{
    struct api_verdict *answer = &inquiry->answer;
    answer->platforms =
        xreallocarray(answer->platforms, answer->platform_count + 1, sizeof *answer->platforms);
    struct api_platform_verdict *platform = &answer->platforms[answer->platform_count++];
    *platform = (struct api_platform_verdict){0};
    text_copy(platform->arch, sizeof platform->arch, inquiry->architectures[inquiry->next]);
    return platform;
}

static void tell_evidence(const struct policy_evidence *evidence,
                          struct api_platform_verdict *platform)
{
    for (size_t i = 0; i < evidence->signature_count; i++) {
        const struct policy_signature *signature = &evidence->signatures[i];
        AUTO_FREE char *text = xasprintf("%s (%s)", signature->name, signature->key);
        json_strings_add(&platform->signed_by, text);
    }
    for (size_t i = 0; i < evidence->statement_count; i++)
        json_strings_add(&platform->attestations, evidence->statements[i].type);
}

/* The answer is the worst of the platforms'. */
static void take_outcome(struct verdict_inquiry *inquiry, struct api_platform_verdict *platform,
                         enum policy_outcome outcome)
{
    if ((int)outcome > inquiry->answer.outcome)
        inquiry->answer.outcome = (int)outcome;
    platform->outcome = (int)outcome;
}

/* Anything passes: what an image is, is looked for before it is judged. */
static int look_inside(const struct image_chain *chain, const struct trust_rules *rules,
                       const char *architecture, struct image_verified *ret_verified,
                       struct error *error)
{
    char every[] = "**";
    char *match[] = {every};
    struct api_policy all = {.match = {match, 1}, .require = 1, .mode = API_POLICY_WARN};
    struct image_rules lenient = rules->rules;
    lenient.policies = &all;
    lenient.policy_count = 1;
    return image_chain_verify(chain, &lenient, architecture, ret_verified, error);
}

static void judge(struct verdict_inquiry *inquiry, const struct image_chain *chain)
{
    struct api_platform_verdict *platform = add_platform(inquiry);
    struct error error = ERROR_INIT;
    struct image_verified verified;
    struct policy_verdict verdict;
    struct trust_rules rules;
    trust_rules_init(inquiry->core, inquiry->reference.repository, NULL, &rules);
    if (look_inside(chain, &rules, platform->arch, &verified, &error) < 0) {
        json_strings_add(&platform->reasons, error.message);
        take_outcome(inquiry, platform, POLICY_REFUSED);
    } else {
        trust_judge_evidence(&rules, verified.config.family, &verified.evidence, &verdict);
        text_copy(platform->family, sizeof platform->family, verified.config.family);
        text_copy(platform->policy, sizeof platform->policy, verdict.policy);
        platform->reasons = verdict.reasons;
        verdict.reasons = (struct json_strings){0};
        tell_evidence(&verified.evidence, platform);
        take_outcome(inquiry, platform, verdict.outcome);
        image_verified_release(&verified);
    }
    trust_rules_finish(&rules);
}

static void fetch_next(struct verdict_inquiry *inquiry);

static void on_chain(const struct error *error, struct image_chain *chain, void *data)
{
    struct verdict_inquiry *inquiry = data;
    if (error != NULL) {
        end(inquiry, error);
        return;
    }
    judge(inquiry, chain);
    inquiry->next++;
    fetch_next(inquiry);
}

static void fetch_next(struct verdict_inquiry *inquiry)
{
    if (inquiry->next == inquiry->architecture_count)
        end(inquiry, NULL);
    else
        image_client_fetch_chain(inquiry->core->registry, inquiry->reference.repository,
                                 inquiry->answer.digest, inquiry->architectures[inquiry->next],
                                 on_chain, inquiry);
}

static void on_resolved(const struct image_resolved *resolved, void *data)
{
    struct verdict_inquiry *inquiry = data;
    if (resolved->error != NULL) {
        struct error error = *resolved->error;
        error_wrap(&error, "image %s", inquiry->answer.image);
        end(inquiry, &error);
        return;
    }
    text_copy(inquiry->answer.digest, sizeof inquiry->answer.digest, resolved->digest);
    memcpy(inquiry->architectures, resolved->architectures, sizeof inquiry->architectures);
    inquiry->architecture_count = resolved->architecture_count;
    fetch_next(inquiry);
}

static int read_request(struct http_request *request, struct verdict_inquiry *inquiry,
                        struct error *error)
{
    struct api_verdict_request asked = {0};
    struct image_reference *reference = &inquiry->reference;
    const char *own = image_registry_host(inquiry->core->options->registry);
    size_t length;
    const char *body = http_request_body(request, &length);
    if (json_parse_record(&api_verdict_request_record, body, length, JSON_STRICT, &asked, error) <
            0 ||
        image_reference_parse(asked.image, asked.namespace_name, reference, error) < 0)
        return -1;
    if (reference->host[0] != '\0' && strcmp(reference->host, own) != 0)
        return error_set(error, ERROR_UNSUPPORTED,
                         "image %s is in the registry %s: policies are about the cluster's, %s",
                         asked.image, reference->host, own);
    text_copy(inquiry->answer.image, sizeof inquiry->answer.image, asked.image);
    text_copy(inquiry->answer.repository, sizeof inquiry->answer.repository, reference->repository);
    return 0;
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct verdict_inquiry *)data)->request = NULL;
}

void verdicts_handle(struct http_request *request, void *data)
{
    struct verdict_inquiry *inquiry = xcalloc(1, sizeof *inquiry);
    struct error error = ERROR_INIT;
    inquiry->core = data;
    inquiry->request = request;
    LIST_INSERT_HEAD(&inquiry->core->inquiries, inquiry, link);
    if (read_request(request, inquiry, &error) < 0) {
        end(inquiry, &error);
        return;
    }
    http_request_on_abandoned(request, on_abandoned, inquiry);
    const struct image_reference *reference = &inquiry->reference;
    image_client_resolve(inquiry->core->registry, reference->repository,
                         reference->digest[0] != '\0' ? reference->digest : reference->tag,
                         on_resolved, inquiry);
}
