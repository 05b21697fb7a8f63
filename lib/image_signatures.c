#include "lib/image_signatures.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define RESERVED_FOR_SIGNATURES BUNDLE_MAX /* of the room for payloads, in bytes */

/* The .sig tag's payloads one by one; then, of the referrers that are bundles, those that may be
 * signatures, and at last the attestations: however many and large, they push no signature out. */
struct signatures_fetch {
    struct oci_client_hook hook; /* first: freed by it */
    struct oci_client *client;
    char *repository;
    char digest[DIGEST_TEXT_MAX];
    struct image_chain *chain;
    struct signature_entry *entries; /* of the .sig tag */
    size_t entry_count;
    size_t entry;
    struct oci_index referrers;
    size_t referrer;
    bool attestations; /* whether the second pass is on */
    size_t bundles;    /* asked for in this pass */
    image_signatures_callback *callback;
    void *data;
};

static void fetch_free(struct oci_client_hook *hook)
{
    struct signatures_fetch *fetch = (struct signatures_fetch *)hook;
    signature_entries_free(fetch->entries, fetch->entry_count);
    json_record_release(&oci_index_record, &fetch->referrers);
    free(fetch->repository);
    free(fetch);
}

static void fetch_end(struct signatures_fetch *fetch, const struct error *error)
{
    oci_client_remove_hook(&fetch->hook);
    fetch->callback(error, fetch->data);
    fetch_free(&fetch->hook);
}

static void fetch_fail(struct signatures_fetch *fetch, struct error *error, const char *what)
{
    error_wrap(error, "%s of image %s@%s", what, fetch->repository, fetch->digest);
    fetch_end(fetch, error);
}

/* Whether the call worked. One whose object is gone leaves the others; any other ends all. */
static bool is_there(struct signatures_fetch *fetch, const struct oci_result *result, bool *ret_end)
{
    *ret_end = result->error != NULL && result->error->code != ERROR_NOT_FOUND;
    if (*ret_end)
        fetch_end(fetch, result->error);
    return result->error == NULL;
}

/* --- bundles --- */

static void next_referrer(struct signatures_fetch *fetch);

static void on_bundle(const struct oci_result *result, void *data)
{
    struct signatures_fetch *fetch = data;
    size_t reserved = fetch->attestations ? RESERVED_FOR_SIGNATURES : 0;
    bool ended;
    if (is_there(fetch, result, &ended) &&
        image_chain_has_room(fetch->chain, result->size + reserved))
        image_chain_add_bundle(fetch->chain, result->bytes, result->size, fetch->digest);
    if (!ended)
        next_referrer(fetch);
}

static bool is_bundle_type(const char *type)
{
    return strncmp(type, BUNDLE_TYPE_PREFIX, strlen(BUNDLE_TYPE_PREFIX)) == 0;
}

/* The layer that is the bundle; false when the manifest has none that would be read. */
static bool find_bundle(const struct oci_result *result, char ret_digest[DIGEST_TEXT_MAX])
{
    struct oci_manifest manifest = {0};
    bool found = false;
    if (json_parse_unique_record(&oci_manifest_record, result->bytes, result->size, JSON_LENIENT,
                                 &manifest, NULL) < 0)
        return false;
    for (size_t i = 0; i < manifest.layer_count && !found; i++) {
        found =
            is_bundle_type(manifest.layers[i].media_type) && manifest.layers[i].size <= BUNDLE_MAX;
        if (found)
            memcpy(ret_digest, manifest.layers[i].digest, DIGEST_TEXT_MAX);
    }
    json_record_release(&oci_manifest_record, &manifest);
    return found;
}

static void on_referrer(const struct oci_result *result, void *data)
{
    struct signatures_fetch *fetch = data;
    char digest[DIGEST_TEXT_MAX];
    bool ended;
    bool found = is_there(fetch, result, &ended) && find_bundle(result, digest);
    if (ended)
        return;
    if (found)
        oci_client_get_blob(fetch->client, fetch->repository, digest, BUNDLE_MAX, on_bundle, fetch);
    else
        next_referrer(fetch);
}

/* By the annotation, which only orders them: what a bundle is, its statement says. A registry, or
 * who kept the list by hand, may have dropped it. */
static bool is_attestation(const struct oci_descriptor *referrer)
{
    const char *type = json_map_get(&referrer->annotations, BUNDLE_PREDICATE_ANNOTATION);
    return type != NULL && strcmp(type, PREDICATE_SIGNATURE) != 0;
}

static void next_referrer(struct signatures_fetch *fetch)
{
    const struct oci_index *index = &fetch->referrers;
    while (fetch->referrer < index->manifest_count && fetch->bundles < SIGNATURES_MAX) {
        const struct oci_descriptor *referrer = &index->manifests[fetch->referrer++];
        if (!is_bundle_type(referrer->artifact_type) ||
            is_attestation(referrer) != fetch->attestations)
            continue;
        fetch->bundles++;
        oci_client_get_manifest(fetch->client, fetch->repository, referrer->digest, on_referrer,
                                fetch);
        return;
    }
    if (fetch->attestations) {
        fetch_end(fetch, NULL);
        return;
    }
    fetch->attestations = true;
    fetch->referrer = fetch->bundles = 0;
    next_referrer(fetch);
}

static void on_referrers(const struct oci_result *result, void *data)
{
    struct signatures_fetch *fetch = data;
    struct error error = ERROR_INIT;
    if (result->error != NULL)
        fetch_end(fetch, result->error);
    else if (json_parse_unique_record(&oci_index_record, result->bytes, result->size, JSON_LENIENT,
                                      &fetch->referrers, &error) < 0)
        fetch_fail(fetch, &error, "referrers");
    else
        next_referrer(fetch);
}

/* --- payloads under the .sig tag --- */

static void next_payload(struct signatures_fetch *fetch);

static void on_payload(const struct oci_result *result, void *data)
{
    struct signatures_fetch *fetch = data;
    const struct signature_entry *entry = &fetch->entries[fetch->entry++];
    bool ended;
    if (is_there(fetch, result, &ended) && image_chain_has_room(fetch->chain, result->size))
        image_chain_add_signature(fetch->chain, result->bytes, result->size, entry->signature,
                                  fetch->digest, entry->key_id);
    if (!ended)
        next_payload(fetch);
}

static void next_payload(struct signatures_fetch *fetch)
{
    if (fetch->entry < fetch->entry_count)
        oci_client_get_blob(fetch->client, fetch->repository,
                            fetch->entries[fetch->entry].payload_digest, SIGNATURE_PAYLOAD_MAX,
                            on_payload, fetch);
    else
        oci_client_list_referrers(fetch->client, fetch->repository, fetch->digest, NULL,
                                  on_referrers, fetch);
}

static void on_tag(const struct oci_result *result, void *data)
{
    struct signatures_fetch *fetch = data;
    struct error error = ERROR_INIT;
    bool ended;
    bool found = is_there(fetch, result, &ended);
    if (ended)
        return;
    if (found && signature_entries_parse(result->bytes, result->size, &fetch->entries,
                                         &fetch->entry_count, &error) < 0)
        fetch_fail(fetch, &error, "signatures");
    else
        next_payload(fetch);
}

void image_signatures_fetch(struct oci_client *client, const char *repository, const char *digest,
                            struct image_chain *chain, image_signatures_callback *callback,
                            void *data)
{
    char tag[SIGNATURE_TAG_MAX];
    struct signatures_fetch *fetch = xcalloc(1, sizeof *fetch);
    fetch->hook.on_destroy = fetch_free;
    fetch->client = client;
    fetch->repository = xstrdup(repository);
    fetch->chain = chain;
    fetch->callback = callback;
    fetch->data = data;
    snprintf(fetch->digest, sizeof fetch->digest, "%s", digest);
    oci_client_add_hook(client, &fetch->hook);
    signature_tag(digest, tag);
    oci_client_get_manifest(client, repository, tag, on_tag, fetch);
}
