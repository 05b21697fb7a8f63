/* Tokens. An input that begins with '{' is what a token says, signed by the registry's key: only
 * claims for this service and time are taken, and grants are real names and actions. Any other
 * input is shown as it is, and changes a good token: neither is ever taken. */
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crypto.h"
#include "lib/file.h"
#include "registry/access/token.h"
#include "tests/fuzz/fuzz.h"

#define SERVICE "registry.example"
#define NOW     1800000000

struct maker {
    struct token_key *key;
    struct private_key *private_key; /* the same one */
    char *token;                     /* a good one */
    size_t header_length;
};

/* Makes the key once; the file of it goes at once. */
static void make_key(struct maker *maker)
{
    char folder[] = "/tmp/fuzz_token.XXXXXX";
    EXPECT(mkdtemp(folder) != NULL);
    AUTO_FREE char *path = xasprintf("%s/key", folder);
    AUTO_FREE char *pem = NULL;
    size_t length;
    EXPECT(token_key_load(path, true, &maker->key, NULL) == 0);
    EXPECT(file_read(path, 65536, &pem, &length, NULL) == 0);
    EXPECT(private_key_from_pem(pem, length, &maker->private_key, NULL) == 0);
    EXPECT(unlink(path) == 0 && rmdir(folder) == 0);
}

static const struct maker *maker(void)
{
    static struct maker maker;
    struct token_claims claims = {.user = "alice"};
    if (maker.token != NULL)
        return &maker;
    make_key(&maker);
    access_scopes_add(&claims.grants, "default/hello", 13, ACCESS_BIT(ACCESS_PULL));
    EXPECT(token_create(maker.key, SERVICE, &claims, NOW, 300, &maker.token, NULL) == 0);
    maker.header_length = strcspn(maker.token, ".");
    return &maker;
}

static int verify(const char *token, struct token_claims *ret_claims)
{
    AUTO_FREE char *exact = xmemdup(token, strlen(token)); /* without a NUL behind it */
    struct error error = ERROR_INIT;
    int result =
        token_verify(maker()->key, SERVICE, exact, strlen(token), NOW, NULL, ret_claims, &error);
    EXPECT(result == 0 || error.code == ERROR_DENIED);
    return result;
}

static void check_said(const uint8_t *bytes, size_t length)
{
    unsigned char signature[ES256_SIGNATURE_LENGTH];
    struct token_claims claims = {0};
    AUTO_FREE char *body = base64url_encode(bytes, length);
    AUTO_FREE char *text = xasprintf("%.*s.%s", (int)maker()->header_length, maker()->token, body);
    EXPECT(signature_create_es256(maker()->private_key, text, strlen(text), signature, NULL) == 0);
    AUTO_FREE char *third = base64url_encode(signature, sizeof signature);
    AUTO_FREE char *token = xasprintf("%s.%s", text, third);
    if (verify(token, &claims) < 0)
        return;
    AUTO_FREE char *said = fuzz_text(bytes, length);
    EXPECT(strstr(said, SERVICE) != NULL || strchr(said, '\\') != NULL);
    EXPECT(claims.grants.count <= SCOPES_MAX);
    for (size_t i = 0; i < claims.grants.count; i++) {
        EXPECT(repository_is_valid(claims.grants.repositories[i].repository));
        EXPECT((claims.grants.repositories[i].actions & ~ACCESS_REPOSITORY_BITS) == 0);
    }
}

/* The input's first byte says where another character comes into the good token. */
static void check_changed(const uint8_t *bytes, size_t length)
{
    struct token_claims claims = {0};
    AUTO_FREE char *token = xstrdup(maker()->token);
    EXPECT(verify(token, &claims) == 0 && strcmp(claims.user, "alice") == 0);
    for (size_t i = 0; i + 1 < length; i += 2) {
        char *at = token + bytes[i] * strlen(token) / 256;
        *at = bytes[i + 1] != '\0' ? (char)bytes[i + 1] : '.';
    }
    EXPECT(strcmp(token, maker()->token) == 0 || verify(token, &claims) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct token_claims claims;
    if (length > 0 && bytes[0] == '{') {
        check_said(bytes, length);
        return 0;
    }
    AUTO_FREE char *text = fuzz_text(bytes, length);
    EXPECT(verify(text, &claims) < 0);
    check_changed(bytes, length);
    return 0;
}
