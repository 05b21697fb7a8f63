#include "lib/image_client.h"

#include <string.h>

#include "image-format/chain_content.h"
#include "image-format/foreign.h"
#include "image-format/platforms.h"
#include "lib/image_metadata.h"
#include "lib/image_signatures.h"
#include "lib/xalloc.h"

static void keep(const struct oci_result *result, char **ret_bytes, size_t *ret_length)
{
    char *bytes = xmalloc(result->size + 1);
    if (result->size > 0)
        memcpy(bytes, result->bytes, result->size);
    bytes[result->size] = '\0';
    *ret_bytes = bytes;
    *ret_length = result->size;
}

/* --- resolving a name --- */

struct resolution {
    struct oci_client_hook hook; /* first: freed by it */
    struct oci_client *client;
    char *repository;
    char *manifest; /* where there is no index */
    size_t manifest_length;
    struct image_resolved resolved;
    image_resolve_callback *callback;
    void *data;
};

static void resolution_free(struct oci_client_hook *hook)
{
    struct resolution *resolution = (struct resolution *)hook;
    free(resolution->repository);
    free(resolution->manifest);
    free(resolution);
}

static void resolution_end(struct resolution *resolution, const struct error *error)
{
    oci_client_remove_hook(&resolution->hook);
    resolution->resolved.error = error;
    resolution->callback(&resolution->resolved, resolution->data);
    resolution_free(&resolution->hook);
}

static void add_architecture(struct image_resolved *resolved, const char *architecture)
{
    if (resolved->architecture_count == IMAGE_ARCHITECTURES_MAX)
        return;
    for (size_t i = 0; i < resolved->architecture_count; i++) {
        if (strcmp(resolved->architectures[i], architecture) == 0)
            return;
    }
    char *place = resolved->architectures[resolved->architecture_count];
    if (strlen(architecture) < sizeof resolved->architectures[0]) {
        strcpy(place, architecture);
        resolved->architecture_count++;
    }
}

static int read_index(const struct oci_result *result, struct image_resolved *resolved,
                      struct error *error)
{
    struct oci_index index = {0};
    if (json_parse_unique_record(&oci_index_record, result->bytes, result->size, JSON_LENIENT,
                                 &index, error) < 0)
        return -1;
    for (size_t i = 0; i < index.manifest_count; i++) {
        const char *architecture = platforms_architecture(&index.manifests[i]);
        if (architecture != NULL)
            add_architecture(resolved, architecture);
    }
    json_record_release(&oci_index_record, &index);
    if (resolved->architecture_count == 0)
        return error_set(error, ERROR_INVALID, "not a unikernel image: its index lists none");
    return 0;
}

/* The digest of the config of a manifest; whether it is a unikernel's, the config tells. */
static int read_manifest(const struct oci_result *result, char ret_config[DIGEST_TEXT_MAX],
                         struct error *error)
{
    struct oci_manifest manifest = {0};
    if (json_parse_unique_record(&oci_manifest_record, result->bytes, result->size, JSON_LENIENT,
                                 &manifest, error) < 0)
        return -1;
    int outcome = 0;
    const char *type = manifest.config.media_type;
    if (manifest.has_config &&
        (strcmp(type, SHOAL_CONFIG_TYPE) == 0 || strcmp(type, FOREIGN_CONFIG_TYPE) == 0))
        memcpy(ret_config, manifest.config.digest, DIGEST_TEXT_MAX);
    else
        outcome = error_set(error, ERROR_INVALID,
                            "not a unikernel image: expected a config of type %s or %s, found "
                            "\"%s\"",
                            SHOAL_CONFIG_TYPE, FOREIGN_CONFIG_TYPE, type);
    json_record_release(&oci_manifest_record, &manifest);
    return outcome;
}

static int read_architecture(const struct resolution *resolution, const struct oci_result *config,
                             char ret_architecture[16], struct error *error)
{
    struct oci_manifest manifest = {0};
    if (json_parse_unique_record(&oci_manifest_record, resolution->manifest,
                                 resolution->manifest_length, JSON_LENIENT, &manifest, error) < 0)
        return -1;
    int result =
        image_content_architecture(&manifest, config->bytes, config->size, ret_architecture, error);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

static void on_resolved_config(const struct oci_result *result, void *data)
{
    struct resolution *resolution = data;
    char architecture[16];
    struct error error = ERROR_INIT;
    if (result->error != NULL) {
        resolution_end(resolution, result->error);
        return;
    }
    if (read_architecture(resolution, result, architecture, &error) < 0) {
        error_wrap(&error, "image %s@%s", resolution->repository, resolution->resolved.digest);
        resolution_end(resolution, &error);
        return;
    }
    add_architecture(&resolution->resolved, architecture);
    resolution_end(resolution, NULL);
}

static void on_resolved(const struct oci_result *result, void *data)
{
    struct resolution *resolution = data;
    struct error error = ERROR_INIT;
    char config[DIGEST_TEXT_MAX];
    if (result->error != NULL) {
        resolution_end(resolution, result->error);
        return;
    }
    memcpy(resolution->resolved.digest, result->digest, sizeof resolution->resolved.digest);
    bool is_index = strcmp(result->media_type, OCI_INDEX_TYPE) == 0;
    if ((is_index ? read_index(result, &resolution->resolved, &error)
                  : read_manifest(result, config, &error)) < 0) {
        error_wrap(&error, "image %s@%s", resolution->repository, result->digest);
        resolution_end(resolution, &error);
    } else if (is_index) {
        resolution_end(resolution, NULL);
    } else {
        keep(result, &resolution->manifest, &resolution->manifest_length);
        oci_client_get_blob(resolution->client, resolution->repository, config, OCI_CONFIG_LIMIT,
                            on_resolved_config, resolution);
    }
}

void image_client_resolve(struct oci_client *client, const char *repository, const char *reference,
                          image_resolve_callback *callback, void *data)
{
    struct resolution *resolution = xcalloc(1, sizeof *resolution);
    resolution->hook.on_destroy = resolution_free;
    resolution->client = client;
    resolution->repository = xstrdup(repository);
    resolution->callback = callback;
    resolution->data = data;
    oci_client_add_hook(client, &resolution->hook);
    oci_client_get_manifest(client, repository, reference, on_resolved, resolution);
}

/* --- fetching a chain ---
 *
 * top -> (child) -> config -> signatures of the top -> (signatures of the child) */

struct chain_fetch {
    struct oci_client_hook hook; /* first: freed by it */
    struct oci_client *client;
    char *repository;
    char *architecture;
    struct image_chain chain;
    char manifest_digest[DIGEST_TEXT_MAX];
    image_chain_callback *callback;
    void *data;
};

static void chain_fetch_free(struct oci_client_hook *hook)
{
    struct chain_fetch *fetch = (struct chain_fetch *)hook;
    image_chain_release(&fetch->chain);
    free(fetch->repository);
    free(fetch->architecture);
    free(fetch);
}

static void chain_fetch_end(struct chain_fetch *fetch, const struct error *error)
{
    oci_client_remove_hook(&fetch->hook);
    fetch->callback(error, error == NULL ? &fetch->chain : NULL, fetch->data);
    chain_fetch_free(&fetch->hook);
}

static void chain_fetch_fail(struct chain_fetch *fetch, struct error *error)
{
    error_wrap(error, "image %s@%s", fetch->repository, fetch->chain.pinned);
    chain_fetch_end(fetch, error);
}

static void on_child_signatures(const struct error *error, void *data)
{
    chain_fetch_end(data, error);
}

static void on_top_signatures(const struct error *error, void *data)
{
    struct chain_fetch *fetch = data;
    if (error != NULL || fetch->chain.index == NULL)
        chain_fetch_end(fetch, error);
    else
        image_signatures_fetch(fetch->client, fetch->repository, fetch->manifest_digest,
                               &fetch->chain, on_child_signatures, fetch);
}

static void on_metadata(const struct error *error, void *data)
{
    struct chain_fetch *fetch = data;
    if (error != NULL)
        chain_fetch_end(fetch, error);
    else
        image_signatures_fetch(fetch->client, fetch->repository, fetch->chain.pinned, &fetch->chain,
                               on_top_signatures, fetch);
}

static void on_config(const struct oci_result *result, void *data)
{
    struct chain_fetch *fetch = data;
    if (result->error != NULL) {
        chain_fetch_end(fetch, result->error);
        return;
    }
    keep(result, &fetch->chain.config, &fetch->chain.config_length);
    if (image_metadata_is_needed(&fetch->chain))
        image_metadata_fetch(fetch->client, fetch->repository, &fetch->chain, on_metadata, fetch);
    else
        on_metadata(NULL, fetch);
}

static void take_manifest(struct chain_fetch *fetch, const struct oci_result *result)
{
    struct error error = ERROR_INIT;
    char config[DIGEST_TEXT_MAX];
    keep(result, &fetch->chain.manifest, &fetch->chain.manifest_length);
    memcpy(fetch->manifest_digest, result->digest, sizeof fetch->manifest_digest);
    if (read_manifest(result, config, &error) < 0)
        chain_fetch_fail(fetch, &error);
    else
        oci_client_get_blob(fetch->client, fetch->repository, config, OCI_CONFIG_LIMIT, on_config,
                            fetch);
}

static void on_child(const struct oci_result *result, void *data)
{
    if (result->error != NULL)
        chain_fetch_end(data, result->error);
    else
        take_manifest(data, result);
}

static void take_index(struct chain_fetch *fetch, const struct oci_result *result)
{
    struct error error = ERROR_INIT;
    struct oci_index index = {0};
    const struct oci_descriptor *child = NULL;
    keep(result, &fetch->chain.index, &fetch->chain.index_length);
    if (json_parse_unique_record(&oci_index_record, result->bytes, result->size, JSON_LENIENT,
                                 &index, &error) == 0)
        child = platforms_find(&index, fetch->architecture, &error);
    if (child != NULL)
        oci_client_get_manifest(fetch->client, fetch->repository, child->digest, on_child, fetch);
    else
        chain_fetch_fail(fetch, &error);
    json_record_release(&oci_index_record, &index);
}

static void on_top(const struct oci_result *result, void *data)
{
    if (result->error != NULL)
        chain_fetch_end(data, result->error);
    else if (strcmp(result->media_type, OCI_INDEX_TYPE) == 0)
        take_index(data, result);
    else
        take_manifest(data, result);
}

void image_client_fetch_chain(struct oci_client *client, const char *repository,
                              const char *pinned_digest, const char *architecture,
                              image_chain_callback *callback, void *data)
{
    struct chain_fetch *fetch = xcalloc(1, sizeof *fetch);
    fetch->hook.on_destroy = chain_fetch_free;
    fetch->client = client;
    fetch->repository = xstrdup(repository);
    fetch->architecture = xstrdup(architecture);
    fetch->callback = callback;
    fetch->data = data;
    snprintf(fetch->chain.pinned, sizeof fetch->chain.pinned, "%s", pinned_digest);
    oci_client_add_hook(client, &fetch->hook);
    oci_client_get_manifest(client, repository, pinned_digest, on_top, fetch);
}
