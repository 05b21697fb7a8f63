/* The registry's tokens: what is written is read; nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/access/token.h"

#define SERVICE "registry.test"
#define NOW     ((uint64_t)1800000000)

static char folder[] = "/tmp/shoal-token.XXXXXX";
static char *path;
static struct token_key *key;

static struct token_claims some_claims(void)
{
    struct token_claims claims = {.user = "ann"};
    access_scopes_add(&claims.grants, "team/web", 8,
                      ACCESS_BIT(ACCESS_PULL) | ACCESS_BIT(ACCESS_PUSH));
    access_scopes_add(&claims.grants, "other", 5, ACCESS_BIT(ACCESS_DELETE));
    claims.grants.has_catalog = true;
    return claims;
}

static char *make_token(void)
{
    struct token_claims claims = some_claims();
    char *token;
    assert_int_equal(token_create(key, SERVICE, &claims, NOW, 300, &token, NULL), 0);
    return token;
}

static int verify(const char *token, uint64_t now, struct token_claims *ret_claims,
                  struct error *error)
{
    return token_verify(key, SERVICE, token, strlen(token), now, NULL, ret_claims, error);
}

/* Signs header and claims as they are given. */
static char *sign(const char *header, const char *body)
{
    AUTO_FREE char *pem = NULL;
    size_t length;
    struct private_key *private_half;
    unsigned char signature[ES256_SIGNATURE_LENGTH];
    assert_int_equal(file_read(path, 10000, &pem, &length, NULL), 0);
    assert_int_equal(private_key_from_pem(pem, length, &private_half, NULL), 0);
    AUTO_FREE char *first = base64url_encode(header, strlen(header));
    AUTO_FREE char *second = base64url_encode(body, strlen(body));
    AUTO_FREE char *text = xasprintf("%s.%s", first, second);
    assert_int_equal(signature_create_es256(private_half, text, strlen(text), signature, NULL), 0);
    private_key_destroy(private_half);
    AUTO_FREE char *third = base64url_encode(signature, sizeof signature);
    return xasprintf("%s.%s", text, third);
}

/* The nth part of a token, decoded. */
static char *part_of(const char *token, unsigned number)
{
    unsigned char *bytes;
    size_t length;
    while (number-- > 0)
        token = strchr(token, '.') + 1;
    assert_true(base64url_decode(token, strcspn(token, "."), &bytes, &length));
    char *text = xstrndup((char *)bytes, length);
    free(bytes);
    return text;
}

static void a_token_says_what_went_in(void **state)
{
    (void)state;
    AUTO_FREE char *token = make_token();
    struct token_claims claims;
    assert_int_equal(verify(token, NOW, &claims, NULL), 0);
    assert_string_equal(claims.user, "ann");
    assert_int_equal(claims.grants.count, 2);
    assert_int_equal(access_scopes_find(&claims.grants, "team/web"),
                     ACCESS_BIT(ACCESS_PULL) | ACCESS_BIT(ACCESS_PUSH));
    assert_int_equal(access_scopes_find(&claims.grants, "other"), ACCESS_BIT(ACCESS_DELETE));
    assert_true(claims.grants.has_catalog);
    AUTO_FREE char *again = make_token();
    assert_string_not_equal(token, again);
}

static void it_ends_with_its_time(void **state)
{
    (void)state;
    AUTO_FREE char *token = make_token();
    struct token_claims claims;
    struct error error = ERROR_INIT;
    assert_int_equal(verify(token, NOW + 300, &claims, NULL), 0);
    assert_int_equal(verify(token, NOW + 359, &claims, NULL), 0);
    assert_int_equal(verify(token, NOW + 360, &claims, &error), -1);
    assert_non_null(strstr(error.message, "expired"));
    assert_int_equal(verify(token, NOW - 60, &claims, NULL), 0);
    assert_int_equal(verify(token, NOW - 61, &claims, &error), -1);
    assert_int_equal(verify(token, 0, &claims, &error), -1);
    assert_int_equal(verify(token, UINT64_MAX, &claims, &error), -1);
}

static void every_changed_character_is_seen(void **state)
{
    (void)state;
    AUTO_FREE char *token = make_token();
    struct token_claims claims;
    size_t length = strlen(token);
    for (size_t i = 0; i < length; i++) {
        char before = token[i];
        token[i] = before == 'A' ? 'B' : 'A';
        assert_int_equal(verify(token, NOW, &claims, NULL), -1);
        token[i] = before;
    }
    for (size_t i = 0; i < length; i++)
        assert_int_equal(token_verify(key, SERVICE, token, i, NOW, NULL, &claims, NULL), -1);
    AUTO_FREE char *longer = xasprintf("%sA", token);
    AUTO_FREE char *padded = xasprintf("%s==", token);
    AUTO_FREE char *four = xasprintf("%s.AAAA", token);
    assert_int_equal(verify(longer, NOW, &claims, NULL), -1);
    assert_int_equal(verify(padded, NOW, &claims, NULL), -1);
    assert_int_equal(verify(four, NOW, &claims, NULL), -1);
    assert_int_equal(verify(token, NOW, &claims, NULL), 0);
}

static void other_algorithms_types_and_keys_are_refused(void **state)
{
    (void)state;
    AUTO_FREE char *token = make_token();
    AUTO_FREE char *header = part_of(token, 0);
    AUTO_FREE char *body = part_of(token, 1);
    AUTO_FREE char *same = sign(header, body);
    struct token_claims claims;
    assert_int_equal(verify(same, NOW, &claims, NULL), 0);
    const char *id = strstr(header, "\"kid\":\"") + 7;
    static const char *const forms[] = {
        "{\"alg\":\"none\",\"typ\":\"JWT\",\"kid\":\"%.16s\"}",
        "{\"alg\":\"es256\",\"typ\":\"JWT\",\"kid\":\"%.16s\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%.16s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"JOSE\",\"kid\":\"%.16s\"}",
        "{\"alg\":\"ES256\",\"kid\":\"%.16s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%.15s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\"}%.0s",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%.16s\",\"crit\":[\"b64\"]}",
        "[]%.0s",
        "%.0s",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(forms); i++) {
        AUTO_FREE char *changed = xasprintf(forms[i], id);
        AUTO_FREE char *forged = sign(changed, body);
        assert_int_equal(verify(forged, NOW, &claims, NULL), -1);
    }
    /* Without a signature at all. */
    AUTO_FREE char *bare = xasprintf("eyJhbGciOiJub25lIn0.%s", strchr(token, '.') + 1);
    *strrchr(bare, '.') = '\0';
    AUTO_FREE char *unsigned_one = xasprintf("%s.", bare);
    assert_int_equal(verify(unsigned_one, NOW, &claims, NULL), -1);
}

static void only_our_claims_are_taken(void **state)
{
    (void)state;
    AUTO_FREE char *token = make_token();
    AUTO_FREE char *header = part_of(token, 0);
    static const char *const bodies[] = {
        "{}",
        "[]",
        "null",
        "",
        "{\"iss\":\"registry.test\",\"sub\":\"a\",\"aud\":\"other\",\"exp\":1800000300,\"nbf\":"
        "1800000000,\"iat\":1800000000,\"jti\":\"x\",\"access\":[]}",
        "{\"iss\":\"other\",\"sub\":\"a\",\"aud\":\"registry.test\",\"exp\":1800000300,\"nbf\":"
        "1800000000,\"iat\":1800000000,\"jti\":\"x\",\"access\":[]}",
        "{\"iss\":\"registry.test\",\"sub\":\"a\",\"aud\":\"registry.test\",\"nbf\":"
        "1800000000,\"iat\":1800000000,\"jti\":\"x\",\"access\":[]}",
        "{\"iss\":\"registry.test\",\"sub\":\"a\",\"aud\":\"registry.test\",\"exp\":\"1800000300\","
        "\"nbf\":1800000000,\"iat\":1800000000,\"jti\":\"x\",\"access\":[]}",
        "{\"iss\":\"registry.test\",\"sub\":\"a\",\"aud\":\"registry.test\",\"exp\":-1,"
        "\"nbf\":1800000000,\"iat\":1800000000,\"jti\":\"x\",\"access\":[]}",
    };
    struct token_claims claims;
    for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++) {
        AUTO_FREE char *forged = sign(header, bodies[i]);
        assert_int_equal(verify(forged, NOW, &claims, NULL), -1);
    }
    AUTO_FREE char *good = sign(
        header,
        "{\"iss\":\"registry.test\",\"sub\":\"a\",\"aud\":\"registry.test\",\"exp\":1800000300,"
        "\"nbf\":1800000000,\"iat\":1800000000,\"jti\":\"x\",\"access\":[]}");
    assert_int_equal(verify(good, NOW, &claims, NULL), 0);
    assert_int_equal(claims.grants.count, 0);
    assert_int_equal(token_verify(key, "other", good, strlen(good), NOW, NULL, &claims, NULL), -1);
}

static void what_is_remembered_is_the_whole_token(void **state)
{
    (void)state;
    struct remembered *known = remembered_create(60000);
    AUTO_FREE char *token = make_token();
    struct token_claims claims;
    size_t length = strlen(token);
    for (int i = 0; i < 2; i++)
        assert_int_equal(token_verify(key, SERVICE, token, length, NOW, known, &claims, NULL), 0);
    assert_int_equal(token_verify(key, SERVICE, token, length, NOW + 400, known, &claims, NULL),
                     -1);
    token[length - 10] ^= 1;
    assert_int_equal(token_verify(key, SERVICE, token, length, NOW, known, &claims, NULL), -1);
    assert_int_equal(token_verify(key, SERVICE, token, length, NOW, known, &claims, NULL), -1);
    remembered_destroy(known);
}

static void the_largest_token_fits(void **state)
{
    (void)state;
    struct token_claims claims = {.user = ""}, read;
    AUTO_FREE char *token = NULL;
    char name[REPOSITORY_MAX];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < SCOPES_MAX; i++) {
        name[0] = (char)('a' + i);
        assert_int_equal(
            access_scopes_add(&claims.grants, name, strlen(name), ACCESS_REPOSITORY_BITS), 0);
    }
    claims.grants.has_catalog = true;
    assert_int_equal(token_create(key, SERVICE, &claims, NOW, 300, &token, NULL), 0);
    assert_int_equal(verify(token, NOW, &read, NULL), 0);
    assert_int_equal(read.grants.count, SCOPES_MAX);
    assert_string_equal(read.user, "");
}

static void a_key_is_made_once_for_its_owner_only(void **state)
{
    (void)state;
    struct stat status;
    struct token_key *again, *none;
    struct token_claims claims;
    struct error error = ERROR_INIT;
    AUTO_FREE char *other = xasprintf("%s/other.key", folder);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    AUTO_FREE char *token = make_token();
    assert_int_equal(token_key_load(path, true, &again, NULL), 0);
    assert_int_equal(token_verify(again, SERVICE, token, strlen(token), NOW, NULL, &claims, NULL),
                     0);
    token_key_destroy(again);
    assert_int_equal(token_key_load(other, false, &none, &error), -1);
    assert_non_null(strstr(error.message, "openssl genpkey"));
    /* Another registry's token. */
    assert_int_equal(token_key_load(other, true, &again, NULL), 0);
    assert_int_equal(token_verify(again, SERVICE, token, strlen(token), NOW, NULL, &claims, &error),
                     -1);
    token_key_destroy(again);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    path = xasprintf("%s/token.key", folder);
    return token_key_load(path, true, &key, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    free(path);
    token_key_destroy(key);
    return file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_what_went_in),
        cmocka_unit_test(it_ends_with_its_time),
        cmocka_unit_test(every_changed_character_is_seen),
        cmocka_unit_test(other_algorithms_types_and_keys_are_refused),
        cmocka_unit_test(only_our_claims_are_taken),
        cmocka_unit_test(what_is_remembered_is_the_whole_token),
        cmocka_unit_test(the_largest_token_fits),
        cmocka_unit_test(a_key_is_made_once_for_its_owner_only),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
