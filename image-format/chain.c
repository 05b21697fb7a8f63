#include "image-format/chain.h"

#include <stdio.h>
#include <string.h>

#include "image-format/chain_content.h"
#include "image-format/platforms.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* Everything one verification works on. */
struct verification {
    const struct image_chain *chain;
    const struct image_rules *rules;
    const char *architecture;
    char manifest_digest[DIGEST_TEXT_MAX]; /* of the bytes at hand */
    struct error *error;
};

/* " (signed by key 3f…, 4b…)" by what the signatures claim; nothing when they claim nothing. */
static void list_claims(const struct image_chain *chain, struct buffer *text)
{
    for (size_t i = 0; i < chain->signature_count; i++) {
        if (chain->signatures[i].key_id[0] != '\0')
            buffer_printf(text, "%s%s", text->length > 0 ? ", " : " (signed by key ",
                          chain->signatures[i].key_id);
    }
    if (text->length > 0)
        buffer_append_text(text, ")");
}

static int check_bytes(const struct verification *verification, const char *part,
                       const char *expected, const char *bytes, size_t length)
{
    char got[DIGEST_TEXT_MAX];
    digest_of_bytes(bytes, length, got);
    if (strcmp(got, expected) == 0)
        return 0;
    AUTO_BUFFER struct buffer claims = {0};
    list_claims(verification->chain, &claims);
    return error_set(verification->error, ERROR_SIGNATURE,
                     "image %s has an altered %s: expected %s, got %s%.400s",
                     verification->chain->pinned, part, expected, got, buffer_text(&claims));
}

/* A document of no type that is an index to one reader and a manifest to another would be two
 * images under one signature. */
static int check_one_kind(const struct verification *verification, const char *bytes, size_t length,
                          const char *other, const char *another)
{
    AUTO_JSON struct json_object *document = NULL;
    if (json_parse(bytes, length, &document, verification->error) < 0)
        return error_wrap(verification->error, "image %s", verification->chain->pinned);
    if (json_object_is_type(document, json_type_object) &&
        (json_object_object_get_ex(document, other, NULL) ||
         json_object_object_get_ex(document, another, NULL)))
        return error_set(verification->error, ERROR_INVALID,
                         "image %s: a document has manifests beside a config or layers: it would "
                         "be an index and a manifest at once",
                         verification->chain->pinned);
    return 0;
}

static int check_index(const struct verification *verification)
{
    const struct image_chain *chain = verification->chain;
    struct oci_index index = {0};
    if (check_bytes(verification, "index", chain->pinned, chain->index, chain->index_length) < 0 ||
        check_one_kind(verification, chain->index, chain->index_length, "config", "layers") < 0)
        return -1;
    if (json_parse_unique_record(&oci_index_record, chain->index, chain->index_length, JSON_LENIENT,
                                 &index, verification->error) < 0)
        return error_wrap(verification->error, "image %s: index", chain->pinned);
    /* A document that is an index to us and a manifest to others would be two images under one
     * signature. */
    if (index.media_type[0] != '\0' && strcmp(index.media_type, OCI_INDEX_TYPE) != 0) {
        error_set(verification->error, ERROR_INVALID,
                  "image %s: expected an index of type %s, found \"%s\"", chain->pinned,
                  OCI_INDEX_TYPE, index.media_type);
        json_record_release(&oci_index_record, &index);
        return -1;
    }
    const struct oci_descriptor *child =
        platforms_find(&index, verification->architecture, verification->error);
    int result = child == NULL ? error_wrap(verification->error, "image %s", chain->pinned)
                               : check_bytes(verification, "manifest", child->digest,
                                             chain->manifest, chain->manifest_length);
    json_record_release(&oci_index_record, &index);
    return result;
}

/* Pinned digest -> index -> manifest. */
static int check_top(const struct verification *verification)
{
    const struct image_chain *chain = verification->chain;
    if (!digest_is_valid(chain->pinned))
        return error_set(verification->error, ERROR_SIGNATURE,
                         "the image is not pinned to a digest");
    if (chain->manifest == NULL || chain->config == NULL)
        return error_set(verification->error, ERROR_SIGNATURE,
                         "image %s: its manifest or config is missing", chain->pinned);
    if (chain->index != NULL ? check_index(verification) < 0
                             : check_bytes(verification, "manifest", chain->pinned, chain->manifest,
                                           chain->manifest_length) < 0)
        return -1;
    return check_one_kind(verification, chain->manifest, chain->manifest_length, "manifests",
                          "manifests");
}

/* Manifest -> config -> layers. */
static int check_content(const struct verification *verification,
                         const struct oci_manifest *manifest, struct image_verified *verified)
{
    const struct image_chain *chain = verification->chain;
    if (manifest->has_config && check_bytes(verification, "config", manifest->config.digest,
                                            chain->config, chain->config_length) < 0)
        return -1;
    if (image_content_read(manifest, chain->config, chain->config_length, chain->metadata,
                           chain->metadata_length, verified, verification->error) < 0)
        return error_wrap(verification->error, "image %s", chain->pinned);
    if (strcmp(verified->config.architecture, verification->architecture) != 0) {
        error_set(verification->error, ERROR_NOT_FOUND, "image %s is for %s, not for %s",
                  chain->pinned, verified->config.architecture, verification->architecture);
        image_config_release(&verified->config);
        return -1;
    }
    return 0;
}

/* Judged before anything inside is read, and once more when the family is known. */
static int check_rules(const struct verification *verification, const char *family,
                       struct image_verified *verified)
{
    policy_verdict_release(&verified->verdict);
    return image_chain_judge(verification->chain, verification->rules, family, &verified->evidence,
                             &verified->verdict, verification->error);
}

static int check_inside(const struct verification *verification, struct image_verified *verified)
{
    const struct image_chain *chain = verification->chain;
    struct oci_manifest manifest = {0};
    if (json_parse_unique_record(&oci_manifest_record, chain->manifest, chain->manifest_length,
                                 JSON_LENIENT, &manifest, verification->error) < 0)
        return error_wrap(verification->error, "image %s: manifest", chain->pinned);
    int result = check_content(verification, &manifest, verified);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

int image_chain_verify(const struct image_chain *chain, const struct image_rules *rules,
                       const char *architecture, struct image_verified *ret_verified,
                       struct error *error)
{
    struct verification verification = {chain, rules, architecture, "", error};
    struct image_verified verified = {0};
    if (check_top(&verification) < 0)
        return -1;
    digest_of_bytes(chain->manifest, chain->manifest_length, verification.manifest_digest);
    image_chain_collect_evidence(chain, rules, &verified.evidence);
    if (check_rules(&verification, NULL, &verified) < 0 ||
        check_inside(&verification, &verified) < 0 ||
        check_rules(&verification, verified.config.family, &verified) < 0) {
        image_verified_release(&verified);
        return -1;
    }
    memcpy(verified.manifest_digest, verification.manifest_digest, sizeof verified.manifest_digest);
    if (verified.evidence.signature_count > 0) {
        const struct policy_signature *signature = &verified.evidence.signatures[0];
        memcpy(verified.key_name, signature->name, sizeof verified.key_name);
        memcpy(verified.key_id, signature->key, sizeof verified.key_id);
    }
    *ret_verified = verified;
    return 0;
}

void image_verified_release(struct image_verified *verified)
{
    image_config_release(&verified->config);
    policy_evidence_release(&verified->evidence);
    policy_verdict_release(&verified->verdict);
    *verified = (struct image_verified){0};
}

int trusted_key_parse(const char *name, const char *pem, size_t length, struct trusted_key *ret_key,
                      struct error *error)
{
    struct trusted_key key = {0};
    if (strlen(name) >= sizeof key.name)
        return error_set(error, ERROR_INVALID, "key \"%.100s\": the name is longer than %zu", name,
                         sizeof key.name - 1);
    strcpy(key.name, name);
    if (public_key_from_pem(pem, length, &key.key, error) < 0)
        return error_wrap(error, "key %s", name);
    public_key_id(key.key, key.id);
    *ret_key = key;
    return 0;
}

void trusted_keys_free(struct trusted_key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        public_key_destroy(keys[i].key);
    free(keys);
}
