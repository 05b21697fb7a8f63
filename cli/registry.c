#include "cli/registry.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/image_signatures.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* One call under way. */
struct call {
    struct registry *registry;
    bool done;
    struct error error;
    struct registry_manifest manifest;
    struct image_resolved resolved;
    struct image_chain chain;
};

static bool is_local(const char *host)
{
    struct in_addr address;
    if (strncmp(host, "[::1]", 5) == 0)
        return host[5] == '\0' || host[5] == ':';
    AUTO_FREE char *name = xstrndup(host, strcspn(host, ":"));
    return strcmp(name, "localhost") == 0 ||
           (inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

/* Hosts other than this machine are spoken to in TLS. */
void registry_url_of_host(const char *host, char ret_url[ADDRESS_TEXT_MAX])
{
    snprintf(ret_url, ADDRESS_TEXT_MAX, "%s://%.*s", is_local(host) ? "http" : "https",
             ADDRESS_TEXT_MAX - 10, host);
}

int registry_init(struct registry *registry, struct cli *cli, const char *name, struct error *error)
{
    *registry = (struct registry){.cli = cli, .doing = name};
    if (name[0] != '\0' &&
        image_reference_parse(name, cli->settings.namespace_name, &registry->image, error) < 0)
        return -1;
    if (registry->image.host[0] != '\0')
        registry_url_of_host(registry->image.host, registry->url);
    else
        strcpy(registry->url, cli->settings.registry);
    progress_init(&registry->progress);
    return session_registry(cli_session(cli), registry->url, &registry->client, error);
}

const char *registry_reference(const struct registry *registry)
{
    return registry->image.digest[0] != '\0' ? registry->image.digest : registry->image.tag;
}

char *registry_docker_reference(const struct registry *registry)
{
    return xasprintf("%s/%s", strstr(registry->url, "://") + 3, registry->image.repository);
}

/* The end of the message: why the connection failed, without the calls that led there. */
static const char *reason_of(const struct error *error, const char *url)
{
    const char *reason = error->message;
    for (const char *at = reason; (at = strstr(at, url)) != NULL;) {
        at += strlen(url);
        const char *colon = strstr(at, ": ");
        reason = colon != NULL ? colon + 2 : reason;
    }
    return reason;
}

/* Waits for the call; a registry that does not answer is named with the remedy. */
static int finish(struct call *call, struct error *error)
{
    struct registry *registry = call->registry;
    session_run_until(cli_session(registry->cli), &call->done);
    if (!call->done)
        return error_set(error, ERROR_TIMEOUT, "interrupted");
    if (call->error.code == ERROR_NONE)
        return 0;
    progress_finish(&registry->progress);
    if (call->error.code == ERROR_UNAVAILABLE)
        return error_set(error, ERROR_UNAVAILABLE,
                         "the registry at %s cannot be reached: %s\n"
                         "Start one on this machine with `shoal up`, or name another with "
                         "--registry or SHOAL_REGISTRY.",
                         registry->url, reason_of(&call->error, registry->url));
    if (call->error.code == ERROR_DENIED && strstr(call->error.message, "certificate") != NULL)
        return error_set(error, ERROR_DENIED,
                         "%s\n"
                         "Its authority must be one of this machine's: copy its PEM file to "
                         "/usr/local/share/ca-certificates and run update-ca-certificates.",
                         call->error.message);
    if (call->error.code == ERROR_DENIED)
        return error_set(
            error, ERROR_DENIED,
            "%s\n"
            "Log in with `skopeo login %s`, podman or docker: shoal uses their logins.",
            call->error.message, strstr(registry->url, "://") + 3);
    return error_copy(error, &call->error);
}

static void take_result(struct call *call, const struct oci_result *result)
{
    call->done = true;
    if (result->error != NULL) {
        call->error = *result->error;
        return;
    }
    snprintf(call->manifest.digest, sizeof call->manifest.digest, "%s", result->digest);
    snprintf(call->manifest.media_type, sizeof call->manifest.media_type, "%s",
             result->media_type != NULL ? result->media_type : "");
    if (result->bytes != NULL) {
        call->manifest.length = (size_t)result->size;
        call->manifest.bytes = xstrndup("", 0);
        call->manifest.bytes = xreallocarray(call->manifest.bytes, call->manifest.length + 1, 1);
        memcpy(call->manifest.bytes, result->bytes, call->manifest.length);
        call->manifest.bytes[call->manifest.length] = '\0';
    }
}

static void on_result(const struct oci_result *result, void *data)
{
    take_result(data, result);
}

static void on_progress(uint64_t done, uint64_t total, void *data)
{
    struct call *call = data;
    char part[FORMAT_MAX], whole[FORMAT_MAX];
    format_bytes(done, part);
    format_bytes(total, whole);
    progress_show_fast(&call->registry->progress, "%s: %s of %s", call->registry->doing, part,
                       whole);
}

int registry_get_manifest(struct registry *registry, const char *reference,
                          struct registry_manifest *ret_manifest, struct error *error)
{
    struct call call = {.registry = registry};
    oci_client_get_manifest(registry->client, registry->image.repository, reference, on_result,
                            &call);
    if (finish(&call, error) < 0)
        return -1;
    *ret_manifest = call.manifest;
    return 0;
}

/* For calls whose answer's bytes nobody wants. */
static int finish_and_forget(struct call *call, struct error *error)
{
    int result = finish(call, error);
    free(call->manifest.bytes);
    return result;
}

int registry_push_manifest(struct registry *registry, const char *reference, const char *media_type,
                           const void *bytes, size_t length, struct error *error)
{
    struct call call = {.registry = registry};
    oci_client_push_manifest(registry->client, registry->image.repository, reference, media_type,
                             bytes, length, on_result, &call);
    return finish_and_forget(&call, error);
}

int registry_push_blob(struct registry *registry, const char *digest, uint64_t size,
                       const char *path, const void *bytes, struct error *error)
{
    struct call call = {.registry = registry};
    oci_client_push_blob(registry->client, registry->image.repository, digest, size, path, bytes,
                         on_progress, on_result, &call);
    return finish_and_forget(&call, error);
}

int registry_pull_blob(struct registry *registry, const char *digest, uint64_t size,
                       const char *path, struct error *error)
{
    struct call call = {.registry = registry};
    oci_client_pull_blob(registry->client, registry->image.repository, digest, size, path,
                         on_progress, on_result, &call);
    return finish_and_forget(&call, error);
}

static int finish_document(struct call *call, struct json_object **ret_document,
                           struct error *error)
{
    if (finish(call, error) < 0)
        return -1;
    AUTO_FREE char *bytes = call->manifest.bytes;
    return json_parse(bytes != NULL ? bytes : "", call->manifest.length, ret_document, error);
}

int registry_list_repositories(struct registry *registry, struct json_object **ret_document,
                               struct error *error)
{
    struct call call = {.registry = registry};
    oci_client_list_repositories(registry->client, on_result, &call);
    return finish_document(&call, ret_document, error);
}

int registry_list_tags(struct registry *registry, const char *repository,
                       struct json_object **ret_document, struct error *error)
{
    struct call call = {.registry = registry};
    oci_client_list_tags(registry->client, repository, on_result, &call);
    return finish_document(&call, ret_document, error);
}

int registry_delete(struct registry *registry, struct error *error)
{
    AUTO_FREE char *url = xasprintf("%s/v2/%s/manifests/%s", registry->url,
                                    registry->image.repository, registry_reference(registry));
    return session_fetch(cli_session(registry->cli), "DELETE", url, 0, NULL, error);
}

static void on_resolved(const struct image_resolved *resolved, void *data)
{
    struct call *call = data;
    call->done = true;
    if (resolved->error != NULL)
        call->error = *resolved->error;
    else
        call->resolved = *resolved;
}

int registry_resolve(struct registry *registry, struct image_resolved *ret_resolved,
                     struct error *error)
{
    struct call call = {.registry = registry};
    image_client_resolve(registry->client, registry->image.repository, registry_reference(registry),
                         on_resolved, &call);
    if (finish(&call, error) < 0)
        return -1;
    if (call.resolved.architecture_count == 0)
        return error_set(error, ERROR_INVALID, "%s is no unikernel image: it has no architecture",
                         registry->doing);
    *ret_resolved = call.resolved;
    return 0;
}

static void on_chain(const struct error *error, struct image_chain *chain, void *data)
{
    struct call *call = data;
    call->done = true;
    if (error != NULL) {
        call->error = *error;
        return;
    }
    call->chain = *chain;
    *chain = (struct image_chain){0};
}

int registry_fetch_chain(struct registry *registry, const char *digest, const char *architecture,
                         struct image_chain *ret_chain, struct error *error)
{
    struct call call = {.registry = registry};
    image_client_fetch_chain(registry->client, registry->image.repository, digest, architecture,
                             on_chain, &call);
    if (finish(&call, error) < 0)
        return -1;
    *ret_chain = call.chain;
    return 0;
}

static void on_signatures(const struct error *error, void *data)
{
    struct call *call = data;
    call->done = true;
    if (error != NULL)
        call->error = *error;
}

int registry_fetch_signatures(struct registry *registry, const char *digest,
                              struct image_chain *chain, struct error *error)
{
    struct call call = {.registry = registry};
    image_signatures_fetch(registry->client, registry->image.repository, digest, chain,
                           on_signatures, &call);
    return finish(&call, error);
}

int registry_list_referrers(struct registry *registry, const char *digest,
                            struct oci_index *ret_index, struct error *error)
{
    struct call call = {.registry = registry};
    struct oci_index index = {0};
    oci_client_list_referrers(registry->client, registry->image.repository, digest, NULL, on_result,
                              &call);
    if (finish(&call, error) < 0)
        return -1;
    AUTO_FREE char *bytes = call.manifest.bytes;
    if (json_parse_record(&oci_index_record, bytes, call.manifest.length, JSON_LENIENT, &index,
                          error) < 0)
        return error_wrap(error, "referrers of %s", digest);
    *ret_index = index;
    return 0;
}

/* A registry without the list of referrers: they are told by an index under a tag, which whoever
 * adds one writes anew (distribution spec 1.1, "Referrers Tag Schema"). */
static int add_to_tag(struct registry *registry, const char *subject,
                      const struct oci_descriptor *referrer, struct oci_index *index,
                      struct error *error)
{
    AUTO_FREE char *tag = xasprintf("sha256-%s", digest_hex(subject));
    index->manifests =
        xreallocarray(index->manifests, index->manifest_count + 1, sizeof *index->manifests);
    json_record_copy(&oci_descriptor_record, referrer, &index->manifests[index->manifest_count++]);
    AUTO_FREE char *text = json_record_text(&oci_index_record, index);
    return registry_push_manifest(registry, tag, OCI_INDEX_TYPE, text, strlen(text), error);
}

static int ensure_listed(struct registry *registry, const char *subject,
                         const struct oci_descriptor *referrer, struct error *error)
{
    struct oci_index index = {0};
    bool listed = false;
    if (registry_list_referrers(registry, subject, &index, error) < 0)
        return -1;
    for (size_t i = 0; i < index.manifest_count && !listed; i++)
        listed = strcmp(index.manifests[i].digest, referrer->digest) == 0;
    int result = listed ? 0 : add_to_tag(registry, subject, referrer, &index, error);
    json_record_release(&oci_index_record, &index);
    return result;
}

/* As the registry lists it: the type and the annotations stand in the manifest (distribution spec
 * 1.1, "Listing Referrers"). */
static void describe_referrer(const struct oci_manifest *manifest, struct oci_descriptor *referrer)
{
    const char *type =
        manifest->artifact_type[0] != '\0' ? manifest->artifact_type : manifest->config.media_type;
    snprintf(referrer->artifact_type, sizeof referrer->artifact_type, "%s", type);
    for (size_t i = 0; i < manifest->annotations.count; i++)
        json_map_set(&referrer->annotations, manifest->annotations.items[i].key,
                     manifest->annotations.items[i].value);
}

int registry_push_referrer_manifest(struct registry *registry, const char *media_type,
                                    const char *bytes, size_t length, struct error *error)
{
    struct oci_manifest manifest = {0};
    struct oci_descriptor referrer = {.size = length};
    snprintf(referrer.media_type, sizeof referrer.media_type, "%s", media_type);
    digest_of_bytes(bytes, length, referrer.digest);
    if (json_parse_record(&oci_manifest_record, bytes, length, JSON_LENIENT, &manifest, error) < 0)
        return error_wrap(error, "manifest %s", referrer.digest);
    describe_referrer(&manifest, &referrer);
    int result =
        registry_push_manifest(registry, referrer.digest, media_type, bytes, length, error);
    if (result == 0)
        result = ensure_listed(registry, manifest.subject.digest, &referrer, error);
    json_map_release(&referrer.annotations);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

int registry_push_referrer(struct registry *registry, const struct oci_descriptor *subject,
                           const char *media_type, const char *bytes, size_t length,
                           const char *predicate_type, char ret_digest[DIGEST_TEXT_MAX],
                           struct error *error)
{
    struct oci_descriptor content = {.size = length};
    snprintf(content.media_type, sizeof content.media_type, "%s", media_type);
    digest_of_bytes(bytes, length, content.digest);
    AUTO_FREE char *manifest = bundle_referrer(subject, &content, predicate_type);
    if (registry_push_blob(registry, content.digest, length, NULL, bytes, error) < 0 ||
        registry_push_blob(registry, OCI_EMPTY_DIGEST, strlen(OCI_EMPTY), NULL, OCI_EMPTY, error) <
            0 ||
        registry_push_referrer_manifest(registry, OCI_MANIFEST_TYPE, manifest, strlen(manifest),
                                        error) < 0)
        return -1;
    digest_of_bytes(manifest, strlen(manifest), ret_digest);
    return 0;
}
