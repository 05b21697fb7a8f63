#include "image-format/bundle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define PAYLOAD_TYPE       "application/vnd.in-toto+json"
#define STATEMENT_TYPE     "https://in-toto.io/Statement/v1"
#define STATEMENT_TYPE_OLD "https://in-toto.io/Statement/v0.1" /* cosign attest up to 2.x */
#define BUNDLE_TYPE_OLD    "application/vnd.dev.sigstore.bundle+json;version=0.3"
#define SUBJECTS_MAX       64
#define CONTENT_ANNOTATION "dev.sigstore.bundle.content"

/* --- the documents --- */

struct envelope_signature {
    char *bytes; /* base64 */
};

struct envelope {
    char *payload; /* base64 */
    char payload_type[128];
    struct envelope_signature *signatures;
    size_t signature_count;
};

struct public_key_hint {
    char hint[256];
};

struct material {
    struct json_object *certificate, *chain;
    bool has_key;
    struct public_key_hint key;
};

struct document {
    char media_type[128];
    struct material material;
    bool has_envelope;
    struct envelope envelope;
    struct json_object *message;
};

static const struct json_field signature_fields[] = {
    JSON_FIELD(struct envelope_signature, bytes, "sig", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record signature_record = {sizeof(struct envelope_signature),
                                                    signature_fields};
static const struct json_field envelope_fields[] = {
    JSON_FIELD(struct envelope, payload, "payload", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct envelope, payload_type, "payloadType", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_LIST(struct envelope, signatures, signature_count, "signatures", &signature_record,
                    .flags = JSON_REQUIRED, .min = 1, .max = 1),
    JSON_FIELD_END,
};
static const struct json_record envelope_record = {sizeof(struct envelope), envelope_fields};
static const struct json_field hint_fields[] = {
    JSON_FIELD(struct public_key_hint, hint, "hint", JSON_STRING),
    JSON_FIELD_END,
};
static const struct json_record hint_record = {sizeof(struct public_key_hint), hint_fields};
static const struct json_field material_fields[] = {
    JSON_FIELD(struct material, certificate, "certificate", JSON_ANY),
    JSON_FIELD(struct material, chain, "x509CertificateChain", JSON_ANY),
    JSON_FIELD(struct material, key, "publicKey", JSON_OBJECT, .record = &hint_record,
               .present_offset = offsetof(struct material, has_key)),
    JSON_FIELD_END,
};
static const struct json_record material_record = {sizeof(struct material), material_fields};
static const struct json_field document_fields[] = {
    JSON_FIELD(struct document, media_type, "mediaType", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct document, material, "verificationMaterial", JSON_OBJECT,
               .flags = JSON_REQUIRED, .record = &material_record),
    JSON_FIELD(struct document, envelope, "dsseEnvelope", JSON_OBJECT, .record = &envelope_record,
               .present_offset = offsetof(struct document, has_envelope)),
    JSON_FIELD(struct document, message, "messageSignature", JSON_ANY),
    JSON_FIELD_END,
};
static const struct json_record document_record = {sizeof(struct document), document_fields};

struct subject {
    struct json_map digests; /* {"sha256": "<hex>"} */
    struct json_object *annotations;
};

struct statement {
    char type[128];
    char predicate_type[PREDICATE_TYPE_MAX];
    struct subject *subjects;
    size_t subject_count;
};

static const struct json_field subject_fields[] = {
    JSON_FIELD(struct subject, digests, "digest", JSON_MAP, .flags = JSON_REQUIRED, .max = 16),
    JSON_FIELD(struct subject, annotations, "annotations", JSON_ANY),
    JSON_FIELD_END,
};
static const struct json_record subject_record = {sizeof(struct subject), subject_fields};
static const struct json_field statement_fields[] = {
    JSON_FIELD(struct statement, type, "_type", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct statement, predicate_type, "predicateType", JSON_STRING,
               .flags = JSON_REQUIRED),
    JSON_FIELD_LIST(struct statement, subjects, subject_count, "subject", &subject_record,
                    .flags = JSON_REQUIRED, .min = 1, .max = SUBJECTS_MAX),
    JSON_FIELD_END,
};
static const struct json_record statement_record = {sizeof(struct statement), statement_fields};

/* --- reading --- */

/* A bundle taken apart. */
struct bundle {
    struct document document;
    unsigned char *payload; /* of the envelope, decoded */
    size_t payload_length;
    unsigned char *signature; /* DER */
    size_t signature_length;
    struct statement statement;
};

static void bundle_release(struct bundle *bundle)
{
    json_record_release(&document_record, &bundle->document);
    json_record_release(&statement_record, &bundle->statement);
    free(bundle->payload);
    free(bundle->signature);
    *bundle = (struct bundle){0};
}

static int check_document(const struct document *document, struct error *error)
{
    if (strcmp(document->media_type, BUNDLE_TYPE) != 0 &&
        strcmp(document->media_type, BUNDLE_TYPE_OLD) != 0)
        return error_set(error, ERROR_INVALID,
                         "the bundle is of type \"%s\": supported is %s (cosign 2.5 and later)",
                         document->media_type, BUNDLE_TYPE);
    if (document->material.certificate != NULL || document->material.chain != NULL)
        return error_set(error, ERROR_INVALID,
                         "the bundle is signed with a certificate (keyless): only keys count here");
    if (document->message != NULL || !document->has_envelope)
        return error_set(error, ERROR_INVALID,
                         "the bundle holds no DSSE envelope: that is the form of an image's "
                         "signature");
    if (strcmp(document->envelope.payload_type, PAYLOAD_TYPE) != 0)
        return error_set(error, ERROR_INVALID, "the envelope's payload is \"%s\", not %s",
                         document->envelope.payload_type, PAYLOAD_TYPE);
    return 0;
}

static int decode_envelope(struct bundle *bundle, struct error *error)
{
    const struct envelope *envelope = &bundle->document.envelope;
    if (!base64_decode(envelope->payload, &bundle->payload, &bundle->payload_length))
        return error_set(error, ERROR_INVALID, "the envelope's payload is not base64");
    if (!base64_decode(envelope->signatures[0].bytes, &bundle->signature,
                       &bundle->signature_length))
        return error_set(error, ERROR_INVALID, "the envelope's signature is not base64");
    return 0;
}

static int check_statement(const struct statement *statement, struct error *error)
{
    if (strcmp(statement->type, STATEMENT_TYPE) != 0 &&
        strcmp(statement->type, STATEMENT_TYPE_OLD) != 0)
        return error_set(error, ERROR_INVALID, "the statement is of type \"%s\", not %s",
                         statement->type, STATEMENT_TYPE);
    if (strcmp(statement->predicate_type, PREDICATE_SIGNATURE) == 0 &&
        statement->subject_count != 1)
        return error_set(error, ERROR_INVALID,
                         "the statement has %zu subjects: a signature is about one image",
                         statement->subject_count);
    return 0;
}

static int bundle_parse(const char *bytes, size_t length, struct bundle *ret_bundle,
                        struct error *error)
{
    struct bundle bundle = {0};
    if (length > BUNDLE_MAX)
        return error_set(error, ERROR_TOO_LARGE, "the bundle has %zu bytes, at most %u are read",
                         length, BUNDLE_MAX);
    if (json_parse_unique_record(&document_record, bytes, length, JSON_LENIENT, &bundle.document,
                                 error) < 0)
        return error_wrap(error, "bundle");
    int result = check_document(&bundle.document, error);
    if (result == 0)
        result = decode_envelope(&bundle, error);
    if (result == 0 &&
        json_parse_unique_record(&statement_record, (const char *)bundle.payload,
                                 bundle.payload_length, JSON_LENIENT, &bundle.statement, error) < 0)
        result = error_wrap(error, "the bundle's statement");
    if (result == 0)
        result = check_statement(&bundle.statement, error);
    if (result == 0)
        *ret_bundle = bundle;
    else
        bundle_release(&bundle);
    return result;
}

/* The hint is what sigstore-go writes: the SHA-256 of the key's DER form, base64. Ours goes by the
 * beginning of the same hash. */
static void read_hint(const struct document *document, char ret_id[KEY_ID_MAX])
{
    AUTO_FREE unsigned char *hash = NULL;
    size_t length;
    ret_id[0] = '\0';
    if (document->material.has_key && base64_decode(document->material.key.hint, &hash, &length) &&
        length == KEY_FINGERPRINT_LENGTH)
        text_format_hex(hash, (KEY_ID_MAX - 1) / 2, ret_id);
}

static void read_claims(const struct bundle *bundle, struct bundle_claims *ret_claims)
{
    struct bundle_claims claims = {0};
    memcpy(claims.predicate_type, bundle->statement.predicate_type, sizeof claims.predicate_type);
    read_hint(&bundle->document, claims.key_id);
    claims.signed_at = signature_timestamp(bundle->statement.subjects[0].annotations);
    *ret_claims = claims;
}

int bundle_read_claims(const char *bundle, size_t length, struct bundle_claims *ret_claims,
                       struct error *error)
{
    struct bundle parsed;
    if (bundle_parse(bundle, length, &parsed, error) < 0)
        return -1;
    read_claims(&parsed, ret_claims);
    bundle_release(&parsed);
    return 0;
}

/* --- checking --- */

/* What is signed: the payload and its type, each with its length (DSSE, "PAE"). */
static void append_pae(struct buffer *buffer, const void *payload, size_t length)
{
    buffer_printf(buffer, "DSSEv1 %zu %s %zu ", strlen(PAYLOAD_TYPE), PAYLOAD_TYPE, length);
    buffer_append(buffer, payload, length);
}

static int check_subject(const struct statement *statement, const char *what, const char *digest,
                         struct error *error)
{
    const char *found = NULL;
    for (size_t i = 0; i < statement->subject_count; i++) {
        const char *hex = json_map_get(&statement->subjects[i].digests, "sha256");
        if (hex != NULL && strcmp(hex, digest_hex(digest)) == 0)
            return 0;
        found = found == NULL ? hex : found;
    }
    return error_set(error, ERROR_SIGNATURE, "the %s is for sha256:%.64s, not for %s", what,
                     found != NULL ? found : " (none)", digest);
}

int bundle_check_statement(const char *statement, size_t length, const char *digest,
                           struct bundle_claims *ret_claims, struct error *error)
{
    struct statement parsed = {0};
    if (json_parse_unique_record(&statement_record, statement, length, JSON_LENIENT, &parsed,
                                 error) < 0)
        return error_wrap(error, "in-toto statement");
    int result = check_statement(&parsed, error);
    if (result == 0 && check_subject(&parsed, "statement", digest, error) < 0) {
        if (error != NULL)
            error->code = ERROR_INVALID;
        result = -1;
    }
    if (result == 0) {
        struct bundle_claims claims = {.signed_at = 0};
        memcpy(claims.predicate_type, parsed.predicate_type, sizeof claims.predicate_type);
        *ret_claims = claims;
    }
    json_record_release(&statement_record, &parsed);
    return result;
}

static int check_parsed(const struct bundle *bundle, const struct trusted_key *keys,
                        size_t key_count, const char *digest, struct error *error)
{
    AUTO_BUFFER struct buffer signed_bytes = {0};
    append_pae(&signed_bytes, bundle->payload, bundle->payload_length);
    for (size_t i = 0; i < key_count; i++) {
        if (!signature_verify(keys[i].key, signed_bytes.data, signed_bytes.length,
                              bundle->signature, bundle->signature_length))
            continue;
        return check_subject(&bundle->statement, "signature", digest, error) < 0
                   ? SIGNATURE_OF_ANOTHER
                   : (int)i;
    }
    error_set(error, ERROR_SIGNATURE, "the signature is by none of the %zu trusted keys",
              key_count);
    return SIGNATURE_BY_NONE;
}

int bundle_check(const char *bundle, size_t length, const struct trusted_key *keys,
                 size_t key_count, const char *digest, struct bundle_claims *ret_claims,
                 struct error *error)
{
    struct bundle parsed;
    if (bundle_parse(bundle, length, &parsed, error) < 0) {
        if (error != NULL)
            error->code = ERROR_SIGNATURE;
        return SIGNATURE_BY_NONE;
    }
    int key = check_parsed(&parsed, keys, key_count, digest, error);
    if (key >= 0 && ret_claims != NULL)
        read_claims(&parsed, ret_claims);
    bundle_release(&parsed);
    return key;
}

/* --- writing --- */

char *bundle_statement(const char *digest, const char *predicate_type, const char *predicate,
                       uint64_t signed_at)
{
    AUTO_JSON struct json_object *type = json_object_new_string(predicate_type);
    AUTO_FREE char *quoted = json_text(type);
    AUTO_FREE char *annotations =
        signed_at == 0 ? xstrdup("")
                       : xasprintf(",\"annotations\":{\"timestamp\":%" PRIu64 "}", signed_at);
    return xasprintf("{\"_type\":\"" STATEMENT_TYPE
                     "\",\"subject\":[{\"digest\":{\"sha256\":\"%s\"}"
                     "%s}],\"predicateType\":%s,\"predicate\":%s}",
                     digest_hex(digest), annotations, quoted, predicate);
}

static char *key_hint(const struct private_key *key)
{
    unsigned char hash[KEY_FINGERPRINT_LENGTH];
    struct public_key *public_half = private_key_public(key);
    public_key_fingerprint(public_half, hash);
    public_key_destroy(public_half);
    return base64_encode(hash, sizeof hash);
}

int bundle_create(const struct private_key *key, const char *statement, char **ret_bundle,
                  struct error *error)
{
    AUTO_BUFFER struct buffer signed_bytes = {0};
    AUTO_FREE unsigned char *der = NULL;
    size_t length = 0;
    append_pae(&signed_bytes, statement, strlen(statement));
    if (signature_create(key, signed_bytes.data, signed_bytes.length, &der, &length, error) < 0)
        return -1;
    AUTO_FREE char *hint = key_hint(key);
    AUTO_FREE char *payload = base64_encode(statement, strlen(statement));
    AUTO_FREE char *signature = base64_encode(der, length);
    *ret_bundle = xasprintf(
        "{\"mediaType\":\"" BUNDLE_TYPE "\",\"verificationMaterial\":{\"publicKey\":{\"hint\":"
        "\"%s\"}},\"dsseEnvelope\":{\"payload\":\"%s\",\"payloadType\":\"" PAYLOAD_TYPE
        "\",\"signatures\":[{\"sig\":\"%s\"}]}}",
        hint, payload, signature);
    return 0;
}

void bundle_annotate(struct json_map *annotations, const char *predicate_type)
{
    if (predicate_type == NULL)
        return;
    json_map_set(annotations, CONTENT_ANNOTATION, "dsse-envelope");
    json_map_set(annotations, BUNDLE_PREDICATE_ANNOTATION, predicate_type);
}

char *bundle_referrer(const struct oci_descriptor *subject, const struct oci_descriptor *content,
                      const char *predicate_type)
{
    struct oci_descriptor layer = {.size = content->size};
    struct oci_manifest manifest = {
        .schema_version = 2,
        .media_type = OCI_MANIFEST_TYPE,
        .has_config = true,
        .config = {.media_type = OCI_EMPTY_TYPE, .digest = OCI_EMPTY_DIGEST, .size = 2},
        .layers = &layer,
        .layer_count = 1,
        .has_subject = true,
        .subject = {.size = subject->size},
    };
    memcpy(layer.digest, content->digest, sizeof layer.digest);
    memcpy(layer.media_type, content->media_type, sizeof layer.media_type);
    memcpy(manifest.artifact_type, content->media_type, sizeof manifest.artifact_type);
    memcpy(manifest.subject.digest, subject->digest, sizeof manifest.subject.digest);
    memcpy(manifest.subject.media_type, subject->media_type, sizeof manifest.subject.media_type);
    bundle_annotate(&manifest.annotations, predicate_type);
    char *text = json_record_text(&oci_manifest_record, &manifest);
    json_map_release(&manifest.annotations);
    return text;
}
