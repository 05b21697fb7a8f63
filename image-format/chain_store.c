/* Chains as values and as folders: the other half of image-format/chain.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image-format/chain.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* Signatures of the index and of one manifest. */
#define STORED_SIGNATURES_MAX (2 * SIGNATURES_MAX)
#define SIGNATURES_FILE_MAX   (16u << 20)

struct stored_signature {
    char *payload; /* base64 */
    char *signature;
    char signed_digest[DIGEST_TEXT_MAX];
    char key_id[KEY_ID_MAX];
};

struct stored_signatures {
    struct stored_signature *items;
    size_t count;
};

static const struct json_field stored_signature_fields[] = {
    JSON_FIELD(struct stored_signature, payload, "payload", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stored_signature, signature, "signature", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stored_signature, signed_digest, "signed", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_digest),
    JSON_FIELD(struct stored_signature, key_id, "key", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record stored_signature_record = {sizeof(struct stored_signature),
                                                           stored_signature_fields};
static const struct json_field stored_signatures_fields[] = {
    JSON_FIELD_LIST(struct stored_signatures, items, count, "signatures", &stored_signature_record,
                    .max = STORED_SIGNATURES_MAX),
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

void image_chain_add_signature(struct image_chain *chain, const char *payload,
                               size_t payload_length, const char *signature,
                               const char *signed_digest, const char *key_id)
{
    chain->signatures =
        xreallocarray(chain->signatures, chain->signature_count + 1, sizeof *chain->signatures);
    struct image_signature *added = &chain->signatures[chain->signature_count++];
    *added = (struct image_signature){
        .payload = copy_bytes(payload, payload_length),
        .payload_length = payload_length,
        .signature = xstrdup(signature),
    };
    snprintf(added->signed_digest, sizeof added->signed_digest, "%s", signed_digest);
    snprintf(added->key_id, sizeof added->key_id, "%s", key_id);
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
    };
    memcpy(copy.pinned, chain->pinned, sizeof copy.pinned);
    for (size_t i = 0; i < chain->signature_count; i++) {
        const struct image_signature *signature = &chain->signatures[i];
        image_chain_add_signature(&copy, signature->payload, signature->payload_length,
                                  signature->signature, signature->signed_digest,
                                  signature->key_id);
    }
    *ret_copy = copy;
}

void image_chain_release(struct image_chain *chain)
{
    for (size_t i = 0; i < chain->signature_count; i++) {
        free(chain->signatures[i].payload);
        free(chain->signatures[i].signature);
    }
    free(chain->signatures);
    free(chain->index);
    free(chain->manifest);
    free(chain->config);
    *chain = (struct image_chain){0};
}

static int write_part(const char *dir, const char *name, const char *bytes, size_t length,
                      struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    return file_write(path, bytes, length, 0600, error);
}

static int write_signatures(const struct image_chain *chain, const char *dir, struct error *error)
{
    struct stored_signatures stored = {
        .items = xcalloc(chain->signature_count + 1, sizeof *stored.items),
        .count = chain->signature_count,
    };
    for (size_t i = 0; i < chain->signature_count; i++) {
        const struct image_signature *signature = &chain->signatures[i];
        struct stored_signature *item = &stored.items[i];
        item->payload = base64_encode(signature->payload, signature->payload_length);
        item->signature = xstrdup(signature->signature);
        memcpy(item->signed_digest, signature->signed_digest, sizeof item->signed_digest);
        memcpy(item->key_id, signature->key_id, sizeof item->key_id);
    }
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
    if (chain->signature_count > STORED_SIGNATURES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "%zu signatures, at most %d are kept",
                         chain->signature_count, STORED_SIGNATURES_MAX);
    if (file_make_directory(dir, 0700, error) < 0)
        return -1;
    /* `pinned` goes first and comes last: a chain without it was not saved whole. The folder may
     * have held another one. */
    if (remove_part(dir, "pinned", error) < 0 || remove_part(dir, "index", error) < 0)
        return -1;
    if ((chain->index != NULL &&
         write_part(dir, "index", chain->index, chain->index_length, error) < 0) ||
        write_part(dir, "manifest", chain->manifest, chain->manifest_length, error) < 0 ||
        write_part(dir, "config", chain->config, chain->config_length, error) < 0 ||
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
    struct error missing = ERROR_INIT;
    if (read_pinned(dir, chain, error) < 0)
        return -1;
    if (read_part(dir, "index", OCI_MANIFEST_LIMIT, &chain->index, &chain->index_length, &missing) <
            0 &&
        missing.code != ERROR_NOT_FOUND)
        return error_copy(error, &missing);
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
