#include "scheduler/deployment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/image_client.h"
#include "lib/image_reference.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/plan.h"
#include "scheduler/revocation.h"
#include "scheduler/service_changes.h"
#include "scheduler/template.h"
#include "scheduler/trust.h"

/* One request on its way. */
struct deployment {
    LIST_ENTRY(deployment) link;
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    bool dry_run;
    bool plan; /* tell what would happen; dry too */
    struct api_service_spec spec;
    struct image_reference reference;
    char digest[DIGEST_TEXT_MAX];
    char architectures[IMAGE_ARCHITECTURES_MAX][16];
    size_t architecture_count;
    size_t next; /* architecture to look at */
    struct image_verified verified[IMAGE_ARCHITECTURES_MAX];
    size_t verified_count;
    struct error unsupported; /* of an architecture that was passed over */
    struct document_revision *revision;
    struct api_change_answer answer;
    struct api_plan planned;
};

static void deployment_free(struct deployment *deployment)
{
    LIST_REMOVE(deployment, link);
    for (size_t i = 0; i < deployment->verified_count; i++)
        image_verified_release(&deployment->verified[i]);
    document_free(DOCUMENT_REVISION, deployment->revision);
    api_service_spec_release(&deployment->spec);
    json_record_release(&api_plan_record, &deployment->planned);
    free(deployment);
}

void deployment_cancel_all(struct core *core)
{
    while (!LIST_EMPTY(&core->deployments))
        deployment_free(LIST_FIRST(&core->deployments));
}

static void end_with_error(struct deployment *deployment, const struct error *error)
{
    if (deployment->request != NULL)
        http_request_respond_error(deployment->request, error);
    deployment_free(deployment);
}

/* An error about the image, where its name stands in the manifest. */
static void end_with_image_error(struct deployment *deployment, const struct error *cause)
{
    struct error error = *cause;
    if (cause->code == ERROR_UNAVAILABLE || cause->code == ERROR_TIMEOUT)
        error_set(&error, cause->code,
                  "image %s: the registry does not answer: %s\n"
                  "Start it (`shoal up` on this machine) and deploy again; what runs is untouched.",
                  deployment->spec.image, cause->message);
    else
        error_wrap(&error, "image %s", deployment->spec.image);
    snprintf(error.pointer, sizeof error.pointer, "/image");
    end_with_error(deployment, &error);
}

/* --- the decision, last --- */

/* Keys and policies may have changed while the image was fetched. */
static int judge_without(const struct deployment *deployment, const char *key, struct error *error)
{
    struct trust_rules rules;
    int result = 0;
    trust_rules_init(deployment->core, deployment->reference.repository, key, &rules);
    for (size_t i = 0; i < deployment->verified_count && result == 0; i++) {
        const struct image_verified *verified = &deployment->verified[i];
        struct policy_verdict verdict;
        trust_judge_evidence(&rules, verified->config.family, &verified->evidence, &verdict);
        AUTO_FREE char *text = policy_verdict_text(&verdict);
        if (verdict.outcome == POLICY_REFUSED)
            result = error_set(error, ERROR_POLICY, "image %s is refused by now: %s",
                               deployment->spec.image, text);
        policy_verdict_release(&verdict);
    }
    trust_rules_finish(&rules);
    return result;
}

/* By the keys and policies of now, and without any key that is about to go. */
static int judge_again(const struct deployment *deployment, struct error *error)
{
    const char *key = NULL;
    if (judge_without(deployment, NULL, error) < 0)
        return -1;
    for (size_t i = 0; (key = revocation_key_at(deployment->core, i)) != NULL; i++) {
        if (judge_without(deployment, key, error) < 0)
            return error_wrap(error, "key %s is being removed", key);
    }
    return 0;
}

static int decide(struct change *change, void *data, struct error *error)
{
    struct deployment *deployment = data;
    struct service_apply apply = {&deployment->spec, deployment->revision};
    if (judge_again(deployment, error) < 0)
        return -1;
    if (deployment->plan)
        return plan_make(deployment->core, &apply, &deployment->planned, error);
    if (!deployment->dry_run)
        return service_changes_apply(deployment->core, change, &apply, &deployment->answer, error);
    struct change never = {0};
    int result =
        service_changes_apply(deployment->core, &never, &apply, &deployment->answer, error);
    change_finish(&never);
    return result;
}

static void on_decided(const struct error *error, void *data)
{
    struct deployment *deployment = data;
    if (error != NULL) {
        end_with_error(deployment, error);
        return;
    }
    if (deployment->request != NULL && deployment->plan)
        http_request_respond_json(deployment->request, 200,
                                  json_encode(&api_plan_record, &deployment->planned));
    else if (deployment->request != NULL)
        http_request_respond_json(deployment->request, 200,
                                  json_encode(&api_change_answer_record, &deployment->answer));
    deployment_free(deployment);
}

/* What a policy that only warns has against the image: the first architecture's reasons. */
static void note_warning(struct deployment *deployment, struct document_revision *revision)
{
    for (size_t i = 0; i < deployment->verified_count && revision->warning[0] == '\0'; i++) {
        const struct policy_verdict *verdict = &deployment->verified[i].verdict;
        if (verdict->outcome != POLICY_WARNED)
            continue;
        AUTO_FREE char *text = policy_verdict_text(verdict);
        snprintf(revision->warning, sizeof revision->warning, "%.*s",
                 (int)sizeof revision->warning - 1, text);
        text_make_printable(revision->warning);
        log_warn("an image is deployed that its policy would refuse: the policy only warns",
                 "service", revision->service, "image", revision->image, "reason", text);
    }
}

static void make_revision(struct deployment *deployment)
{
    struct error error = ERROR_INIT;
    struct template_image image = {deployment->verified, deployment->verified_count,
                                   deployment->digest};
    if (deployment->verified_count == 0) {
        end_with_image_error(deployment, &deployment->unsupported);
        return;
    }
    struct document_revision *revision = document_create(DOCUMENT_REVISION);
    if (template_make(&deployment->spec, &image, revision, &error) < 0) {
        free(revision);
        end_with_error(deployment, &error);
        return;
    }
    const struct api_service_spec *spec = &deployment->spec;
    text_copy(revision->namespace_name, sizeof revision->namespace_name, spec->namespace_name);
    text_copy(revision->service, sizeof revision->service, spec->service);
    text_copy(revision->image, sizeof revision->image, spec->image);
    text_copy(revision->repository, sizeof revision->repository, deployment->reference.repository);
    note_warning(deployment, revision);
    deployment->revision = revision;
    changes_decide(deployment->core->changes, decide, on_decided, deployment);
}

/* --- the image --- */

static int verify(struct deployment *deployment, const struct image_chain *chain,
                  struct error *error)
{
    struct trust_rules rules;
    trust_rules_init(deployment->core, deployment->reference.repository, NULL, &rules);
    int result =
        image_chain_verify(chain, &rules.rules, deployment->architectures[deployment->next],
                           &deployment->verified[deployment->verified_count], error);
    trust_rules_finish(&rules);
    if (result == 0)
        deployment->verified_count++;
    return result;
}

static void fetch_next(struct deployment *deployment);

static void on_chain(const struct error *error, struct image_chain *chain, void *data)
{
    struct deployment *deployment = data;
    struct error found = ERROR_INIT;
    int result = error != NULL ? error_copy(&found, error) : verify(deployment, chain, &found);
    /* An architecture that cannot boot yet does not spoil the others. */
    if (result < 0 && found.code != ERROR_UNSUPPORTED) {
        end_with_image_error(deployment, &found);
        return;
    }
    if (result < 0)
        deployment->unsupported = found;
    deployment->next++;
    fetch_next(deployment);
}

static void fetch_next(struct deployment *deployment)
{
    if (deployment->next == deployment->architecture_count) {
        make_revision(deployment);
        return;
    }
    image_client_fetch_chain(deployment->core->registry, deployment->reference.repository,
                             deployment->digest, deployment->architectures[deployment->next],
                             on_chain, deployment);
}

static int choose_architectures(struct deployment *deployment,
                                const struct image_resolved *resolved, struct error *error)
{
    const char *wanted = deployment->spec.arch;
    AUTO_BUFFER struct buffer has = {0};
    for (size_t i = 0; i < resolved->architecture_count; i++) {
        const char *arch = resolved->architectures[i];
        buffer_printf(&has, "%s%s", i > 0 ? ", " : "", arch);
        if (wanted[0] == '\0' || strcmp(wanted, arch) == 0)
            strcpy(deployment->architectures[deployment->architecture_count++], arch);
    }
    if (deployment->architecture_count > 0)
        return 0;
    error_set(error, ERROR_INVALID, "image %s has nothing for %s: it has %s",
              deployment->spec.image, wanted[0] != '\0' ? wanted : "any architecture",
              has.length > 0 ? buffer_text(&has) : "no architecture at all");
    snprintf(error->pointer, sizeof error->pointer, wanted[0] != '\0' ? "/arch" : "/image");
    return -1;
}

static void on_resolved(const struct image_resolved *resolved, void *data)
{
    struct deployment *deployment = data;
    struct error error = ERROR_INIT;
    if (resolved->error != NULL) {
        end_with_image_error(deployment, resolved->error);
        return;
    }
    text_copy(deployment->digest, sizeof deployment->digest, resolved->digest);
    if (choose_architectures(deployment, resolved, &error) < 0) {
        end_with_error(deployment, &error);
        return;
    }
    fetch_next(deployment);
}

/* --- the request --- */

static int read_reference(struct deployment *deployment, struct error *error)
{
    const struct api_service_spec *spec = &deployment->spec;
    struct image_reference *reference = &deployment->reference;
    if (image_reference_parse(spec->image, spec->namespace_name, reference, error) < 0) {
        snprintf(error->pointer, sizeof error->pointer, "/image");
        return -1;
    }
    if (reference->host[0] == '\0' ||
        strcmp(reference->host, image_registry_host(deployment->core->options->registry)) == 0)
        return 0;
    error_set(error, ERROR_UNSUPPORTED,
              "image %s is in the registry %s, services run images of the cluster's registry %s: "
              "push it there and name it without a host",
              spec->image, reference->host,
              image_registry_host(deployment->core->options->registry));
    snprintf(error->pointer, sizeof error->pointer, "/image");
    return -1;
}

static int check_place(const char *key, const char *found, const char *path, struct error *error)
{
    if (strcmp(found, path) == 0)
        return 0;
    error_set(error, ERROR_INVALID, "%s \"%s\" is not what the path says: %s", key, found, path);
    snprintf(error->pointer, sizeof error->pointer, "/%s", key);
    return -1;
}

static int read_spec(struct http_request *request, struct deployment *deployment,
                     struct error *error)
{
    const char *namespace_name = http_request_parameter(request, "namespace");
    const char *service = http_request_parameter(request, "service");
    AUTO_JSON struct json_object *object = NULL;
    size_t length;
    const char *body = http_request_body(request, &length);
    if (json_parse(body, length, &object, error) < 0)
        return -1;
    if (json_object_is_type(object, json_type_object) &&
        !json_object_object_get_ex(object, "namespace", NULL))
        json_object_object_add(object, "namespace", json_object_new_string(namespace_name));
    if (api_service_spec_decode(object, &deployment->spec, error) < 0 ||
        check_place("namespace", deployment->spec.namespace_name, namespace_name, error) < 0 ||
        check_place("service", deployment->spec.service, service, error) < 0 ||
        service_changes_check(deployment->core, &deployment->spec, error) < 0)
        return -1;
    return read_reference(deployment, error);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct deployment *)data)->request = NULL;
}

static bool is_asked(struct http_request *request, const char *option)
{
    const char *value = http_request_query(request, option);
    return value != NULL && strcmp(value, "0") != 0;
}

void deployment_handle(struct http_request *request, void *data)
{
    struct deployment *deployment = xcalloc(1, sizeof *deployment);
    struct error error = ERROR_INIT;
    deployment->core = data;
    LIST_INSERT_HEAD(&deployment->core->deployments, deployment, link);
    deployment->request = request;
    deployment->dry_run = is_asked(request, "dry_run");
    deployment->plan = is_asked(request, "plan");
    if (read_spec(request, deployment, &error) < 0) {
        end_with_error(deployment, &error);
        return;
    }
    http_request_on_abandoned(request, on_abandoned, deployment);
    const struct image_reference *reference = &deployment->reference;
    image_client_resolve(deployment->core->registry, reference->repository,
                         reference->digest[0] != '\0' ? reference->digest : reference->tag,
                         on_resolved, deployment);
}
