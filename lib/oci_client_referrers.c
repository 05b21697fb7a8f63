/* Referrers of lib/oci_client.h. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/image_reference.h"
#include "lib/json.h"
#include "lib/oci.h"
#include "lib/oci_client_internal.h"
#include "lib/xalloc.h"

struct referrers {
    struct oci_operation base;
    char *repository;
    char digest[DIGEST_TEXT_MAX];
    char *next;  /* URL of the page to fetch */
    bool is_tag; /* the tag that stands in for the list is being asked for */
    struct json_object *list;
};

static void referrers_release(struct oci_operation *operation)
{
    struct referrers *referrers = (struct referrers *)operation;
    free(referrers->repository);
    free(referrers->next);
    json_object_put(referrers->list);
}

static void finish(struct referrers *referrers)
{
    AUTO_JSON struct json_object *index = json_object_new_object();
    json_object_object_add(index, "schemaVersion", json_object_new_int(2));
    json_object_object_add(index, "mediaType", json_object_new_string(OCI_INDEX_TYPE));
    json_object_object_add(index, "manifests", json_object_get(referrers->list));
    AUTO_FREE char *text = json_text(index);
    struct oci_result result = {.bytes = text, .size = strlen(text), .media_type = OCI_INDEX_TYPE};
    oci_operation_succeed(&referrers->base, &result);
}

static int take_page(struct referrers *referrers, const struct http_client_response *response,
                     struct error *error)
{
    AUTO_JSON struct json_object *page = NULL;
    struct json_object *manifests = NULL;
    if (json_parse(response->body, response->body_length, &page, error) < 0)
        return -1;
    if (referrers->is_tag && !json_object_object_get_ex(page, "manifests", NULL))
        return 0; /* the tag is something else */
    if (!json_object_is_type(page, json_type_object) ||
        !json_object_object_get_ex(page, "manifests", &manifests) ||
        (manifests != NULL && !json_object_is_type(manifests, json_type_array)))
        return error_set(error, ERROR_PROTOCOL, "the answer has no list of manifests");
    size_t count = manifests != NULL ? json_object_array_length(manifests) : 0;
    if (json_object_array_length(referrers->list) + count > OCI_REFERRERS_MAX)
        return error_set(error, ERROR_TOO_LARGE, "more than %d referrers", OCI_REFERRERS_MAX);
    for (size_t i = 0; i < count; i++)
        json_object_array_add(referrers->list,
                              json_object_get(json_object_array_get_idx(manifests, i)));
    free(referrers->next);
    /* An empty page ends the list, or a registry could let us ask for ever. */
    referrers->next = count > 0 ? oci_client_next_page(referrers->base.client, response) : NULL;
    return 0;
}

static void ask_for_tag(struct referrers *referrers)
{
    referrers->is_tag = true;
    free(referrers->next);
    referrers->next = oci_client_url(referrers->base.client, "%s/manifests/sha256-%s",
                                     referrers->repository, digest_hex(referrers->digest));
    referrers->base.attempt(&referrers->base);
}

static void on_page(const struct http_client_response *response, void *data)
{
    struct referrers *referrers = data;
    struct error error = ERROR_INIT;
    bool missing = !response->failed && (response->status == 404 || response->status == 405);
    if (missing)
        referrers->base.call = NULL;
    if (missing && referrers->is_tag) {
        finish(referrers);
        return;
    }
    if (missing) {
        ask_for_tag(referrers);
        return;
    }
    if (response->failed || response->status != 200) {
        oci_operation_fail(&referrers->base, response);
        return;
    }
    referrers->base.call = NULL;
    referrers->base.failures = 0;
    if (take_page(referrers, response, &error) < 0)
        oci_operation_fail_with(&referrers->base, &error);
    else if (referrers->next != NULL && !referrers->is_tag)
        referrers->base.attempt(&referrers->base);
    else
        finish(referrers);
}

static void attempt(struct oci_operation *operation)
{
    static const char *const headers[] = {"Accept: " OCI_INDEX_TYPE, NULL};
    struct http_client_request request = {
        .url = ((struct referrers *)operation)->next,
        .headers = headers,
        .response_limit = OCI_MANIFEST_LIMIT,
        .follow_redirects = true,
    };
    oci_operation_send(operation, &request, on_page);
}

void oci_client_list_referrers(struct oci_client *client, const char *repository,
                               const char *digest, const char *artifact_type,
                               oci_callback *callback, void *data)
{
    bool valid = repository_is_valid(repository) && digest_is_valid(digest);
    char *label =
        xasprintf("referrers of %.*s@%.*s", REPOSITORY_MAX, repository, DIGEST_TEXT_MAX, digest);
    struct referrers *referrers = oci_operation_create(client, sizeof *referrers, label,
                                                       valid ? attempt : oci_operation_refuse,
                                                       referrers_release, callback, data);
    AUTO_FREE char *type = artifact_type != NULL ? http_encode_segment(artifact_type) : NULL;
    referrers->repository = xstrdup(repository);
    snprintf(referrers->digest, sizeof referrers->digest, "%s", digest);
    referrers->list = json_object_new_array();
    referrers->next =
        oci_client_url(client, "%s/referrers/%s%s%s", repository, digest,
                       type != NULL ? "?artifactType=" : "", type != NULL ? type : "");
}
