#include "cli/registry.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/image_client.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* One call under way. */
struct call {
    struct registry *registry;
    bool done;
    struct error error;
    struct registry_manifest manifest;
    struct image_chain chain;
    char architecture[16];
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
    return session_fetch(cli_session(registry->cli), "DELETE", url, NULL, error);
}

static void on_resolved(const struct image_resolved *resolved, void *data)
{
    struct call *call = data;
    call->done = true;
    if (resolved->error != NULL) {
        call->error = *resolved->error;
        return;
    }
    snprintf(call->manifest.digest, sizeof call->manifest.digest, "%s", resolved->digest);
    if (resolved->architecture_count > 0)
        snprintf(call->architecture, sizeof call->architecture, "%s", resolved->architectures[0]);
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

int registry_fetch_chain(struct registry *registry, char architecture[16],
                         struct image_chain *ret_chain, struct error *error)
{
    struct call resolve = {.registry = registry}, fetch = {.registry = registry};
    image_client_resolve(registry->client, registry->image.repository, registry_reference(registry),
                         on_resolved, &resolve);
    if (finish(&resolve, error) < 0)
        return -1;
    if (resolve.architecture[0] == '\0')
        return error_set(error, ERROR_INVALID, "%s is no unikernel image: it has no architecture",
                         registry->doing);
    image_client_fetch_chain(registry->client, registry->image.repository, resolve.manifest.digest,
                             resolve.architecture, on_chain, &fetch);
    if (finish(&fetch, error) < 0)
        return -1;
    strcpy(architecture, resolve.architecture);
    *ret_chain = fetch.chain;
    return 0;
}

/* The signature manifest that is there already; none is no error. */
static int existing_signatures(struct registry *registry, const char *tag,
                               struct registry_manifest *ret_manifest, struct error *error)
{
    struct error reason = ERROR_INIT;
    if (registry_get_manifest(registry, tag, ret_manifest, &reason) == 0 ||
        reason.code == ERROR_NOT_FOUND)
        return 0;
    return error_copy(error, &reason);
}

static int push_signature(struct registry *registry, const char *tag,
                          const struct signature_image *image, struct error *error)
{
    if (registry_push_blob(registry, image->payload_digest, image->payload_length, NULL,
                           image->payload, error) < 0 ||
        registry_push_blob(registry, image->config_digest, image->config_length, NULL,
                           image->config, error) < 0)
        return -1;
    return registry_push_manifest(registry, tag, OCI_MANIFEST_TYPE, image->manifest,
                                  image->manifest_length, error);
}

int registry_sign(struct registry *registry, const struct private_key *key, const char *digest,
                  struct error *error)
{
    char tag[SIGNATURE_TAG_MAX];
    struct registry_manifest existing = {0};
    struct signature_image image;
    AUTO_FREE char *reference = registry_docker_reference(registry);
    signature_tag(digest, tag);
    if (existing_signatures(registry, tag, &existing, error) < 0)
        return -1;
    int result = signature_image_create(key, reference, digest, existing.bytes, existing.length,
                                        &image, error);
    free(existing.bytes);
    if (result < 0)
        return error_wrap(error, "sign %s", digest);
    result = push_signature(registry, tag, &image, error);
    signature_image_release(&image);
    return result;
}
