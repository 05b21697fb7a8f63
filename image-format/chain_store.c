/* Chains as values and as folders: the other half of image-format/chain.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image-format/chain.h"
#include "image-format/foreign.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define SIGNATURES_FILE_MAX (2 * IMAGE_SIGNATURES_BYTES_MAX) /* base64, and what is around it */

struct stored_signature {
    int kind;
    char *payload; /* base64 */
    char *signature;
    char signed_digest[DIGEST_TEXT_MAX];
    char key_id[KEY_ID_MAX];
};

struct stored_signatures {
    struct stored_signature *items;
    size_t count;
};

static const char *const kind_names[] = {"simple", "bundle", NULL};

/* What was stored before there were bundles has no kind. */
static const struct json_field stored_signature_fields[] = {
    JSON_FIELD(struct stored_signature, kind, "kind", JSON_ENUM, .names = kind_names),
    JSON_FIELD(struct stored_signature, payload, "payload", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stored_signature, signature, "signature", JSON_TEXT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct stored_signature, signed_digest, "signed", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_digest),
    JSON_FIELD(struct stored_signature, key_id, "key", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record stored_signature_record = {sizeof(struct stored_signature),
                                                           stored_signature_fields};
static const struct json_field stored_signatures_fields[] = {
    JSON_FIELD_LIST(struct stored_signatures, items, count, "signatures", &stored_signature_record,
                    .max = IMAGE_SIGNATURES_MAX),
    JSON_FIELD_END,
};
static const struct json_record stored_signatures_record = {sizeof(struct stored_signatures),
                                                            stored_signatures_fields};

/* With a NUL behind that the length does not count. */
static char *copy_bytes(const char *bytes, size_t length)
{
    char *copy = xmalloc(length + 1);
    if (length > 0)
        memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

static void add(struct image_signature **items, size_t *count,
                const struct image_signature *signature)
{
    *items = xreallocarray(*items, *count + 1, sizeof **items);
    struct image_signature *added = &(*items)[(*count)++];
    *added = *signature;
    added->payload = copy_bytes(signature->payload, signature->payload_length);
    added->signature = signature->signature != NULL ? xstrdup(signature->signature) : NULL;
}

void image_chain_add_signature(struct image_chain *chain, const char *payload,
                               size_t payload_length, const char *signature,
                               const char *signed_digest, const char *key_id)
{
    struct image_signature simple = {
        .kind = SIGNATURE_SIMPLE,
        .payload = (char *)payload,
        .payload_length = payload_length,
        .signature = (char *)signature,
    };
    snprintf(simple.signed_digest, sizeof simple.signed_digest, "%s", signed_digest);
    snprintf(simple.key_id, sizeof simple.key_id, "%s", key_id);
    add(&chain->signatures, &chain->signature_count, &simple);
}

void image_chain_add_bundle(struct image_chain *chain, const char *bundle, size_t length,
                            const char *signed_digest)
{
    struct bundle_claims claims = {0};
    struct image_signature added = {
        .kind = SIGNATURE_BUNDLE, .payload = (char *)bundle, .payload_length = length};
    snprintf(added.signed_digest, sizeof added.signed_digest, "%s", signed_digest);
    if (bundle_read_claims(bundle, length, &claims, NULL) == 0) {
        memcpy(added.key_id, claims.key_id, sizeof added.key_id);
        memcpy(added.predicate_type, claims.predicate_type, sizeof added.predicate_type);
    }
    if (claims.predicate_type[0] == '\0' || strcmp(claims.predicate_type, PREDICATE_SIGNATURE) == 0)
        add(&chain->signatures, &chain->signature_count, &added);
    else
        add(&chain->attestations, &chain->attestation_count, &added);
}

static size_t payload_bytes(const struct image_signature *items, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += items[i].payload_length;
    return bytes;
}

bool image_chain_has_room(const struct image_chain *chain, size_t length)
{
    size_t bytes = payload_bytes(chain->signatures, chain->signature_count) +
                   payload_bytes(chain->attestations, chain->attestation_count);
    return chain->signature_count + chain->attestation_count < IMAGE_SIGNATURES_MAX &&
           length <= IMAGE_SIGNATURES_BYTES_MAX && bytes <= IMAGE_SIGNATURES_BYTES_MAX - length;
}

void image_chain_copy(const struct image_chain *chain, struct image_chain *ret_copy)
{
    struct image_chain copy = {
        .index = chain->index != NULL ? copy_bytes(chain->index, chain->index_length) : NULL,
        .index_length = chain->index_length,
        .manifest = copy_bytes(chain->manifest, chain->manifest_length),
        .manifest_length = chain->manifest_length,
        .config = copy_bytes(chain->config, chain->config_length),
        .config_length = chain->config_length,
        .metadata =
            chain->metadata != NULL ? copy_bytes(chain->metadata, chain->metadata_length) : NULL,
        .metadata_length = chain->metadata_length,
    };
    memcpy(copy.pinned, chain->pinned, sizeof copy.pinned);
    for (size_t i = 0; i < chain->signature_count; i++)
        add(&copy.signatures, &copy.signature_count, &chain->signatures[i]);
    for (size_t i = 0; i < chain->attestation_count; i++)
        add(&copy.attestations, &copy.attestation_count, &chain->attestations[i]);
    *ret_copy = copy;
}

static void free_signatures(struct image_signature *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(items[i].payload);
        free(items[i].signature);
    }
    free(items);
}

void image_chain_release(struct image_chain *chain)
{
    free_signatures(chain->signatures, chain->signature_count);
    free_signatures(chain->attestations, chain->attestation_count);
    free(chain->index);
    free(chain->manifest);
    free(chain->config);
    free(chain->metadata);
    *chain = (struct image_chain){0};
}

static int write_part(const char *dir, const char *name, const char *bytes, size_t length,
                      struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    return file_write(path, bytes, length, 0600, error);
}

static void store(const struct image_signature *items, size_t count,
                  struct stored_signatures *stored)
{
    for (size_t i = 0; i < count; i++) {
        struct stored_signature *item = &stored->items[stored->count++];
        item->kind = (int)items[i].kind;
        item->payload = base64_encode(items[i].payload, items[i].payload_length);
        item->signature = xstrdup(items[i].signature != NULL ? items[i].signature : "");
        memcpy(item->signed_digest, items[i].signed_digest, sizeof item->signed_digest);
        memcpy(item->key_id, items[i].key_id, sizeof item->key_id);
    }
}

static int write_signatures(const struct image_chain *chain, const char *dir, struct error *error)
{
    struct stored_signatures stored = {
        .items =
            xcalloc(chain->signature_count + chain->attestation_count + 1, sizeof *stored.items),
    };
    store(chain->signatures, chain->signature_count, &stored);
    store(chain->attestations, chain->attestation_count, &stored);
    AUTO_FREE char *text = json_record_text(&stored_signatures_record, &stored);
    json_record_release(&stored_signatures_record, &stored);
    return write_part(dir, "signatures.json", text, strlen(text), error);
}

static int remove_part(const char *dir, const char *name, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove %s", path);
    return 0;
}

int image_chain_save(const struct image_chain *chain, const char *dir, struct error *error)
{
    if (chain->signature_count + chain->attestation_count > IMAGE_SIGNATURES_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "%zu signatures and attestations, at most %d are kept",
                         chain->signature_count + chain->attestation_count, IMAGE_SIGNATURES_MAX);
    if (file_make_directory(dir, 0700, error) < 0)
        return -1;
    /* `pinned` goes first and comes last: a chain without it was not saved whole. The folder may
     * have held another one. */
    if (remove_part(dir, "pinned", error) < 0 || remove_part(dir, "index", error) < 0 ||
        remove_part(dir, "metadata", error) < 0)
        return -1;
    if ((chain->index != NULL &&
         write_part(dir, "index", chain->index, chain->index_length, error) < 0) ||
        write_part(dir, "manifest", chain->manifest, chain->manifest_length, error) < 0 ||
        write_part(dir, "config", chain->config, chain->config_length, error) < 0 ||
        (chain->metadata != NULL &&
         write_part(dir, "metadata", chain->metadata, chain->metadata_length, error) < 0) ||
        write_signatures(chain, dir, error) < 0)
        return -1;
    return write_part(dir, "pinned", chain->pinned, strlen(chain->pinned), error);
}

static int read_part(const char *dir, const char *name, size_t limit, char **ret_bytes,
                     size_t *ret_length, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    return file_read(path, limit, ret_bytes, ret_length, error);
}

/* One that is not there leaves the outputs alone. */
static int read_optional_part(const char *dir, const char *name, size_t limit, char **ret_bytes,
                              size_t *ret_length, struct error *error)
{
    struct error missing = ERROR_INIT;
    if (read_part(dir, name, limit, ret_bytes, ret_length, &missing) == 0 ||
        missing.code == ERROR_NOT_FOUND)
        return 0;
    return error_copy(error, &missing);
}

static int read_signatures(const char *dir, struct image_chain *chain, struct error *error)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    struct stored_signatures stored = {0};
    if (read_part(dir, "signatures.json", SIGNATURES_FILE_MAX, &text, &length, error) < 0)
        return -1;
    if (json_parse_record(&stored_signatures_record, text, length, JSON_LENIENT, &stored, error) <
        0)
        return error_wrap(error, "%s/signatures.json", dir);
    int result = 0;
    for (size_t i = 0; i < stored.count && result == 0; i++) {
        const struct stored_signature *item = &stored.items[i];
        AUTO_FREE unsigned char *payload = NULL;
        size_t payload_length;
        if (!base64_decode(item->payload, &payload, &payload_length))
            result = error_set(error, ERROR_INVALID, "%s/signatures.json: not base64", dir);
        else if (item->kind == SIGNATURE_BUNDLE)
            image_chain_add_bundle(chain, (const char *)payload, payload_length,
                                   item->signed_digest);
        else if (item->signature == NULL)
            result = error_set(error, ERROR_INVALID,
                               "%s/signatures.json: a payload without its signature", dir);
        else
            image_chain_add_signature(chain, (const char *)payload, payload_length, item->signature,
                                      item->signed_digest, item->key_id);
    }
    json_record_release(&stored_signatures_record, &stored);
    return result;
}

static int read_pinned(const char *dir, struct image_chain *chain, struct error *error)
{
    AUTO_FREE char *text = NULL;
    if (read_part(dir, "pinned", DIGEST_TEXT_MAX, &text, NULL, error) < 0)
        return -1;
    if (!digest_is_valid(text))
        return error_set(error, ERROR_INVALID, "%s/pinned holds no digest", dir);
    snprintf(chain->pinned, sizeof chain->pinned, "%s", text);
    return 0;
}

static int read_parts(const char *dir, struct image_chain *chain, struct error *error)
{
    if (read_pinned(dir, chain, error) < 0 ||
        read_optional_part(dir, "index", OCI_MANIFEST_LIMIT, &chain->index, &chain->index_length,
                           error) < 0 ||
        read_optional_part(dir, "metadata", FOREIGN_METADATA_MAX, &chain->metadata,
                           &chain->metadata_length, error) < 0)
        return -1;
    if (read_part(dir, "manifest", OCI_MANIFEST_LIMIT, &chain->manifest, &chain->manifest_length,
                  error) < 0 ||
        read_part(dir, "config", OCI_CONFIG_LIMIT, &chain->config, &chain->config_length, error) <
            0)
        return -1;
    return read_signatures(dir, chain, error);
}

int image_chain_load(const char *dir, struct image_chain *ret_chain, struct error *error)
{
    struct image_chain chain = {0};
    if (read_parts(dir, &chain, error) < 0) {
        image_chain_release(&chain);
        return -1;
    }
    *ret_chain = chain;
    return 0;
}
