#include "registry/access/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

enum { KEY_FILE_MAX = 16384, LEEWAY_S = 60, ID_LENGTH = 16, SERVICE_MAX = 256 };

struct token_key {
    struct private_key *private_half;
    struct public_key *public_half;
    char *header; /* the first part of each token */
};

static int make_key(const char *path, struct error *error)
{
    AUTO_FREE char *pem = NULL;
    struct private_key *key = private_key_generate(error);
    if (key == NULL)
        return -1;
    int result = private_key_to_pem(key, &pem, error);
    private_key_destroy(key);
    if (result == 0)
        result = file_write(path, pem, strlen(pem), 0600, error);
    if (pem != NULL)
        explicit_bzero(pem, strlen(pem));
    return result;
}

static char *make_header(const struct public_key *key)
{
    char id[KEY_ID_MAX];
    public_key_id(key, id);
    AUTO_FREE char *text = xasprintf("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", id);
    return base64url_encode(text, strlen(text));
}

int token_key_load(const char *path, bool make, struct token_key **ret_key, struct error *error)
{
    AUTO_FREE char *pem = NULL;
    size_t length;
    if (make && access(path, F_OK) < 0 && errno == ENOENT && make_key(path, error) < 0)
        return error_wrap(error, "make the key for tokens");
    if (file_read(path, KEY_FILE_MAX, &pem, &length, error) < 0)
        return error_wrap(error, "the key for tokens (`openssl genpkey -algorithm EC -pkeyopt "
                                 "ec_paramgen_curve:P-256` makes one)");
    struct private_key *private_half;
    int result = private_key_from_pem(pem, length, &private_half, error);
    explicit_bzero(pem, length);
    if (result < 0)
        return error_wrap(error, "the key for tokens, %s", path);
    struct token_key *key = xcalloc(1, sizeof *key);
    key->private_half = private_half;
    key->public_half = private_key_public(private_half);
    key->header = make_header(key->public_half);
    *ret_key = key;
    return 0;
}

void token_key_destroy(struct token_key *key)
{
    if (key == NULL)
        return;
    private_key_destroy(key->private_half);
    public_key_destroy(key->public_half);
    free(key->header);
    free(key);
}

/* --- the claims --- */

struct token_access {
    char type[16];
    char name[REPOSITORY_MAX];
    struct json_strings actions;
};

static const struct json_field access_fields[] = {
    JSON_FIELD(struct token_access, type, "type", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_access, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_access, actions, "actions", JSON_STRINGS, .max = 8),
    JSON_FIELD_END,
};
static const struct json_record access_record = {sizeof(struct token_access), access_fields};

struct token_body {
    char issuer[SERVICE_MAX];
    char subject[USER_NAME_MAX];
    char audience[SERVICE_MAX];
    uint64_t expires, not_before, issued;
    char id[2 * ID_LENGTH + 1];
    char mark[USERS_MARK_MAX];
    struct token_access *access;
    size_t access_count;
};

static const struct json_field body_fields[] = {
    JSON_FIELD(struct token_body, issuer, "iss", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_body, subject, "sub", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_body, audience, "aud", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_body, expires, "exp", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_body, not_before, "nbf", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_body, issued, "iat", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_body, id, "jti", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct token_body, mark, "mark", JSON_STRING, .flags = 0),
    JSON_FIELD_LIST(struct token_body, access, access_count, "access", &access_record,
                    .flags = JSON_REQUIRED, .max = SCOPES_MAX + 1),
    JSON_FIELD_END,
};
static const struct json_record body_record = {sizeof(struct token_body), body_fields};

/* --- making one --- */

static void write_access(const struct access_scopes *grants, struct token_body *body)
{
    body->access = xcalloc(grants->count + 1, sizeof *body->access);
    for (size_t i = 0; i < grants->count; i++) {
        struct token_access *entry = &body->access[body->access_count++];
        text_copy(entry->type, sizeof entry->type, "repository");
        text_copy(entry->name, sizeof entry->name, grants->repositories[i].repository);
        for (int action = ACCESS_PULL; action <= ACCESS_DELETE; action++) {
            if (grants->repositories[i].actions & ACCESS_BIT(action))
                json_strings_add(&entry->actions, access_action_name((enum access_action)action));
        }
    }
    if (grants->has_catalog) {
        struct token_access *entry = &body->access[body->access_count++];
        text_copy(entry->type, sizeof entry->type, "registry");
        text_copy(entry->name, sizeof entry->name, "catalog");
        json_strings_add(&entry->actions, "*");
    }
}

int token_create(const struct token_key *key, const char *service,
                 const struct token_claims *claims, uint64_t now_s, uint64_t lifetime_s,
                 char **ret_token, struct error *error)
{
    struct token_body body = {.expires = now_s + lifetime_s, .not_before = now_s, .issued = now_s};
    unsigned char id[ID_LENGTH], signature[ES256_SIGNATURE_LENGTH];
    random_bytes(id, sizeof id);
    text_format_hex(id, sizeof id, body.id);
    text_copy(body.subject, sizeof body.subject, claims->user);
    text_copy(body.mark, sizeof body.mark, claims->mark);
    if (!text_copy(body.issuer, sizeof body.issuer, service) ||
        !text_copy(body.audience, sizeof body.audience, service))
        return error_set(error, ERROR_INVALID, "the name of the service is too long");
    write_access(&claims->grants, &body);
    AUTO_FREE char *plain = json_record_text(&body_record, &body);
    AUTO_FREE char *second = base64url_encode(plain, strlen(plain));
    json_record_release(&body_record, &body);
    AUTO_FREE char *text = xasprintf("%s.%s", key->header, second);
    if (signature_create_es256(key->private_half, text, strlen(text), signature, error) < 0)
        return error_wrap(error, "sign a token");
    AUTO_FREE char *third = base64url_encode(signature, sizeof signature);
    *ret_token = xasprintf("%s.%s", text, third);
    return 0;
}

/* --- reading one --- */

static int deny(struct error *error, const char *why)
{
    return error_set(error, ERROR_DENIED, "the token is not valid: %s", why);
}

static int decode_body(const char *text, size_t length, struct token_body *ret_body)
{
    AUTO_FREE unsigned char *bytes = NULL;
    size_t byte_count;
    if (!base64url_decode(text, length, &bytes, &byte_count))
        return -1;
    return json_parse_record(&body_record, (char *)bytes, byte_count, JSON_STRICT, ret_body, NULL);
}

/* There is one header that this key's tokens have: no other is looked into. */
static bool header_is_ours(const struct token_key *key, const char *text, size_t length)
{
    return length == strlen(key->header) && memcmp(text, key->header, length) == 0;
}

static bool signature_holds(const struct token_key *key, const char *token, size_t signed_length,
                            const char *text, size_t length)
{
    AUTO_FREE unsigned char *signature = NULL;
    size_t signature_length;
    return base64url_decode(text, length, &signature, &signature_length) &&
           signature_length == ES256_SIGNATURE_LENGTH &&
           signature_verify_es256(key->public_half, token, signed_length, signature);
}

/* The first `signed_length` bytes of the token are signed by what is behind their dot. */
static bool is_signed(const struct token_key *key, const char *token, size_t length,
                      size_t signed_length, struct remembered *known)
{
    uint64_t now_ms = clock_monotonic_ms(clock_system());
    const char *signature = token + signed_length + 1;
    struct proof proof;
    if (known != NULL) {
        remembered_proof(known, token, length, &proof);
        if (remembered_has(known, &proof, now_ms))
            return true;
    }
    if (!signature_holds(key, token, signed_length, signature, length - signed_length - 1))
        return false;
    if (known != NULL)
        remembered_add(known, &proof, now_ms);
    return true;
}

static int read_access(const struct token_body *body, struct access_scopes *ret_grants)
{
    for (size_t i = 0; i < body->access_count; i++) {
        const struct token_access *entry = &body->access[i];
        unsigned actions = 0;
        for (size_t j = 0; j < entry->actions.count; j++)
            actions |= access_action_bits(entry->actions.items[j], strlen(entry->actions.items[j]));
        if (strcmp(entry->type, "registry") == 0)
            ret_grants->has_catalog = true;
        else if (access_scopes_add(ret_grants, entry->name, strlen(entry->name), actions) < 0)
            return -1;
    }
    return 0;
}

static int check_body(const struct token_body *body, const char *service, uint64_t now_s,
                      struct error *error)
{
    if (strcmp(body->issuer, service) != 0 || strcmp(body->audience, service) != 0)
        return deny(error, "it is for another service");
    if (body->expires <= now_s && now_s - body->expires >= LEEWAY_S)
        return deny(error, "it has expired");
    if (body->not_before > now_s && body->not_before - now_s > LEEWAY_S)
        return deny(error, "its time has not come");
    return 0;
}

int token_verify(const struct token_key *key, const char *service, const char *token, size_t length,
                 uint64_t now_s, struct remembered *known, struct token_claims *ret_claims,
                 struct error *error)
{
    const char *end = token + length;
    const char *first = length <= TOKEN_TEXT_MAX ? memchr(token, '.', length) : NULL;
    const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (second == NULL)
        return deny(error, "it has not the form of one");
    if (!header_is_ours(key, token, (size_t)(first - token)))
        return deny(error, "it was not made here");
    /* What the claims say is not looked at before. */
    if (!is_signed(key, token, length, (size_t)(second - token), known))
        return deny(error, "its signature does not hold");
    struct token_body body = {0};
    if (decode_body(first + 1, (size_t)(second - first - 1), &body) < 0)
        return deny(error, "it has not the form of one");
    struct token_claims claims = {0};
    int result = check_body(&body, service, now_s, error);
    if (result == 0 && read_access(&body, &claims.grants) < 0)
        result = deny(error, "it grants too much");
    text_copy(claims.user, sizeof claims.user, body.subject);
    text_copy(claims.mark, sizeof claims.mark, body.mark);
    json_record_release(&body_record, &body);
    if (result == 0)
        *ret_claims = claims;
    return result;
}
