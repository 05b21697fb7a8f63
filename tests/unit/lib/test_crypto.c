/* Digests, keys, signatures, base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define SHA256_OF_ABC "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static const char rsa_public[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDAdE7PVMFrlaVIegpxYGPWo768\n"
    "2OoMyvferfYpDiXFAgyMQUqMV+SjcoxGt9am4Hefz98ZK1BZZk2u/6kDyLQvdSMM\n"
    "BjKTXvb1PtUj1zla/tisdJd8ONYFJLOKFLJPgQySF/Z+fF6jCDeN/M9ghc9vWKH7\n"
    "i72EjqlQGzbojdF0JwIDAQAB\n"
    "-----END PUBLIC KEY-----\n";

static void a_digest_of_bytes_is_sha256_in_hex(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes("abc", 3, digest);
    assert_string_equal(digest, SHA256_OF_ABC);
    digest_of_bytes(NULL, 0, digest);
    assert_string_equal(digest,
                        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void a_digest_is_exactly_sha256_and_64_lower_case_hex_digits(void **state)
{
    (void)state;
    assert_true(digest_is_valid(SHA256_OF_ABC));
    assert_string_equal(digest_hex(SHA256_OF_ABC), strchr(SHA256_OF_ABC, ':') + 1);
    assert_false(digest_is_valid(""));
    assert_false(digest_is_valid("sha256:"));
    assert_false(digest_is_valid(SHA256_OF_ABC "0"));
    assert_false(
        digest_is_valid("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"));
    assert_false(
        digest_is_valid("sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_false(
        digest_is_valid("sha256:../816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

static void a_stream_gives_the_digest_so_far_and_goes_on(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT_MAX];
    struct digest_stream *stream = digest_stream_create();
    digest_stream_update(stream, "ab", 2);
    digest_stream_text(stream, digest);
    assert_string_not_equal(digest, SHA256_OF_ABC);
    digest_stream_update(stream, "c", 1);
    digest_stream_text(stream, digest);
    assert_string_equal(digest, SHA256_OF_ABC);
    digest_stream_destroy(stream);
}

static void a_file_is_hashed_from_where_it_stands_to_its_end(void **state)
{
    (void)state;
    char path[] = "/tmp/shoal-crypto-XXXXXX";
    AUTO_CLOSE int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(file_write_all(descriptor, "--abc", 5, NULL), 0);
    assert_int_equal(lseek(descriptor, 2, SEEK_SET), 2);
    char digest[DIGEST_TEXT_MAX];
    uint64_t size = 0;
    assert_int_equal(digest_of_descriptor(descriptor, digest, &size, NULL), 0);
    unlink(path);
    assert_string_equal(digest, SHA256_OF_ABC);
    assert_int_equal(size, 3);
    struct error error = ERROR_INIT;
    assert_int_equal(digest_of_descriptor(-1, digest, &size, &error), -1);
    assert_int_equal(error.code, ERROR_IO);
}

static void keys_survive_pem_and_keep_their_id(void **state)
{
    (void)state;
    struct private_key *key = private_key_generate(NULL), *again = NULL;
    assert_non_null(key);
    AUTO_FREE char *private_pem = NULL;
    AUTO_FREE char *public_pem = NULL;
    assert_int_equal(private_key_to_pem(key, &private_pem, NULL), 0);
    assert_non_null(strstr(private_pem, "-----BEGIN PRIVATE KEY-----"));
    assert_int_equal(private_key_from_pem(private_pem, strlen(private_pem), &again, NULL), 0);
    struct public_key *first = private_key_public(key), *second = private_key_public(again);
    struct public_key *third = NULL;
    assert_int_equal(public_key_to_pem(second, &public_pem, NULL), 0);
    assert_non_null(strstr(public_pem, "-----BEGIN PUBLIC KEY-----"));
    assert_int_equal(public_key_from_pem(public_pem, strlen(public_pem), &third, NULL), 0);
    char first_id[KEY_ID_MAX], third_id[KEY_ID_MAX];
    public_key_id(first, first_id);
    public_key_id(third, third_id);
    assert_string_equal(first_id, third_id);
    assert_int_equal(strspn(first_id, "0123456789abcdef"), 16);
    public_key_destroy(first);
    public_key_destroy(second);
    public_key_destroy(third);
    private_key_destroy(key);
    private_key_destroy(again);
}

static void other_keys_are_refused_with_the_reason(void **state)
{
    (void)state;
    struct public_key *public_half = NULL;
    struct private_key *key = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(public_key_from_pem(rsa_public, strlen(rsa_public), &public_half, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_non_null(strstr(error.message, "P-256"));
    assert_int_equal(public_key_from_pem("hello", 5, &public_half, &error), -1);
    assert_non_null(strstr(error.message, "not a public key"));
    assert_int_equal(private_key_from_pem("", 0, &key, &error), -1);
    const char *encrypted = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
    assert_int_equal(private_key_from_pem(encrypted, strlen(encrypted), &key, &error), -1);
    assert_int_equal(error.code, ERROR_UNSUPPORTED);

    struct private_key *own = private_key_generate(NULL);
    AUTO_FREE char *pem = NULL;
    assert_int_equal(private_key_to_pem(own, &pem, NULL), 0);
    assert_int_equal(public_key_from_pem(pem, strlen(pem), &public_half, &error), -1);
    assert_non_null(strstr(error.message, "this is a private key"));
    assert_null(public_half);
    public_half = private_key_public(own);
    AUTO_FREE char *public_pem = NULL;
    assert_int_equal(public_key_to_pem(public_half, &public_pem, NULL), 0);
    assert_int_equal(private_key_from_pem(public_pem, strlen(public_pem), &key, &error), -1);
    assert_non_null(strstr(error.message, "this is a public key"));
    assert_null(key);
    public_key_destroy(public_half);
    private_key_destroy(own);
}

static void a_signature_holds_for_its_bytes_and_key_only(void **state)
{
    (void)state;
    struct private_key *key = private_key_generate(NULL), *other = private_key_generate(NULL);
    struct public_key *mine = private_key_public(key), *theirs = private_key_public(other);
    AUTO_FREE unsigned char *signature = NULL;
    size_t length = 0;
    assert_int_equal(signature_create(key, "abc", 3, &signature, &length, NULL), 0);
    assert_true(signature_verify(mine, "abc", 3, signature, length));
    assert_false(signature_verify(mine, "abd", 3, signature, length));
    assert_false(signature_verify(mine, "abc", 2, signature, length));
    assert_false(signature_verify(theirs, "abc", 3, signature, length));
    assert_false(signature_verify(mine, "abc", 3, signature, length - 1));
    assert_false(signature_verify(mine, "abc", 3, signature, 0));
    signature[length - 1] ^= 1;
    assert_false(signature_verify(mine, "abc", 3, signature, length));
    public_key_destroy(mine);
    public_key_destroy(theirs);
    private_key_destroy(key);
    private_key_destroy(other);
}

/* An encrypted key with `old` in its JSON replaced. */
static char *edited_key(const char *pem, const char *old, const char *new)
{
    AUTO_FREE char *body = xstrdup(strchr(pem, '\n') + 1);
    *strstr(body, "-----") = '\0';
    char *to = body;
    for (const char *from = body; *from != '\0'; from++) {
        if (*from != '\n')
            *to++ = *from;
    }
    *to = '\0';
    AUTO_FREE unsigned char *json = NULL;
    size_t length;
    assert_true(base64_decode(body, &json, &length));
    AUTO_FREE char *text = xstrndup((const char *)json, length);
    const char *at = strstr(text, old);
    assert_non_null(at);
    AUTO_FREE char *edited = xasprintf("%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    AUTO_FREE char *again = base64_encode(edited, strlen(edited));
    AUTO_BUFFER struct buffer lines = {0};
    for (size_t i = 0; i < strlen(again); i += 64)
        buffer_printf(&lines, "%.64s\n", again + i);
    return xasprintf("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n%s"
                     "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
                     buffer_text(&lines));
}

static void a_password_opens_an_encrypted_key_and_no_other_does(void **state)
{
    (void)state;
    struct private_key *key = private_key_generate(NULL), *read = NULL;
    struct error error = ERROR_INIT;
    AUTO_FREE char *pem = NULL;
    AUTO_FREE char *empty = NULL;
    assert_int_equal(private_key_to_encrypted_pem(key, "a\0b", 3, &pem, NULL), 0);
    assert_true(private_key_is_encrypted(pem, strlen(pem)));
    assert_int_equal(private_key_check_encrypted(pem, strlen(pem), NULL), 0);
    assert_int_equal(private_key_from_encrypted_pem(pem, strlen(pem), "a\0b", 3, &read, NULL), 0);
    struct public_key *first = private_key_public(key), *second = private_key_public(read);
    char ids[2][KEY_ID_MAX];
    public_key_id(first, ids[0]);
    public_key_id(second, ids[1]);
    assert_string_equal(ids[0], ids[1]);
    public_key_destroy(first);
    public_key_destroy(second);
    private_key_destroy(read);
    read = NULL;
    assert_int_equal(private_key_from_encrypted_pem(pem, strlen(pem), "a", 1, &read, &error), -1);
    assert_int_equal(error.code, ERROR_DENIED);
    assert_null(read);
    assert_int_equal(private_key_to_encrypted_pem(key, "", 0, &empty, NULL), 0);
    assert_int_equal(private_key_from_encrypted_pem(empty, strlen(empty), "", 0, &read, NULL), 0);
    private_key_destroy(read);
    private_key_destroy(key);
}

static void encrypted_keys_that_ask_for_too_much_or_lie_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"\"N\":65536", "\"N\":2097152", "out of range"},
        {"\"N\":65536", "\"N\":65537", "no power of two"},
        {"\"N\":65536", "\"N\":-1", "out of range"},
        {"\"N\":65536", "\"N\":\"65536\"", "expected a whole number"},
        {"\"N\":65536,\"r\":8", "\"N\":1048576,\"r\":8", "more memory or work"},
        {"\"p\":1", "\"p\":64", "more memory or work"},
        {"\"r\":8", "\"r\":0", "out of range"},
        {"\"r\":8", "\"r\":8,\"r\":8", "a key twice"},
        {"scrypt", "pbkdf2", "made by \"pbkdf2\""},
        {"nacl/secretbox", "aes-256-gcm", "and \"aes-256-gcm\""},
        {"\"salt\":\"", "\"salt\":\"*", "salt is not base64"},
        {"\"nonce\":\"", "\"nonce\":\"AAAA", "nonce"},
        {"\"ciphertext\":\"", "\"ciphertext\":\"AAAA\",\"x\":\"", "ciphertext is cut off"},
        {"{\"kdf\"", "[{\"kdf\"", "not valid JSON"},
    };
    struct private_key *key = private_key_generate(NULL), *read = NULL;
    AUTO_FREE char *pem = NULL;
    assert_int_equal(private_key_to_encrypted_pem(key, "x", 1, &pem, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct error error = ERROR_INIT;
        AUTO_FREE char *edited = edited_key(pem, cases[i][0], cases[i][1]);
        assert_int_equal(
            private_key_from_encrypted_pem(edited, strlen(edited), "x", 1, &read, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
        if (strstr(error.message, cases[i][2]) == NULL)
            fail_msg("expected \"%s\" in \"%s\"", cases[i][2], error.message);
    }
    /* Altered behind its seal. */
    struct error error = ERROR_INIT;
    AUTO_FREE char *altered = edited_key(pem, "\"ciphertext\":\"", "\"ciphertext\":\"AAAA");
    assert_int_equal(
        private_key_from_encrypted_pem(altered, strlen(altered), "x", 1, &read, &error), -1);
    assert_int_equal(error.code, ERROR_DENIED);
    private_key_destroy(key);
}

static void openssl_reads_our_keys_and_we_verify_its_signatures(void **state)
{
    (void)state;
    char folder[] = "/tmp/shoal-crypto-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct private_key *key = private_key_generate(NULL);
    struct public_key *public_half = private_key_public(key);
    AUTO_FREE char *pem = NULL;
    assert_int_equal(private_key_to_pem(key, &pem, NULL), 0);
    AUTO_FREE char *key_path = xasprintf("%s/key", folder);
    AUTO_FREE char *text_path = xasprintf("%s/text", folder);
    AUTO_FREE char *signature_path = xasprintf("%s/signature", folder);
    assert_int_equal(file_write(key_path, pem, strlen(pem), 0600, NULL), 0);
    assert_int_equal(file_write(text_path, "payload", 7, 0600, NULL), 0);
    AUTO_FREE char *command = xasprintf("openssl dgst -sha256 -sign '%s' -out '%s' '%s'", key_path,
                                        signature_path, text_path);
    assert_int_equal(system(command), 0);
    AUTO_FREE char *signature = NULL;
    size_t length = 0;
    assert_int_equal(file_read(signature_path, 1000, &signature, &length, NULL), 0);
    assert_true(
        signature_verify(public_half, "payload", 7, (const unsigned char *)signature, length));
    assert_int_equal(file_remove_tree(folder, NULL), 0);
    public_key_destroy(public_half);
    private_key_destroy(key);
}

static void base64_goes_both_ways(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
        AUTO_FREE char *text = base64_encode(pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(text, pairs[i][1]);
        AUTO_FREE unsigned char *bytes = NULL;
        size_t length = 99;
        assert_true(base64_decode(pairs[i][1], &bytes, &length));
        assert_int_equal(length, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], length);
    }
}

static void broken_base64_is_refused(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "Zg", "Zg=", "Z===", "=Zg=", "Zg==Zg==", "Zm9 ", "Zm\n=", " Zm9v", "Zm-_"};
    for (size_t i = 0; i < ARRAY_LENGTH(broken); i++) {
        unsigned char *bytes = NULL;
        size_t length;
        assert_false(base64_decode(broken[i], &bytes, &length));
        assert_null(bytes);
    }
}

/* RFC 4231, test cases 2 and 6. */
static void hmac_is_that_of_the_rfc(void **state)
{
    (void)state;
    static const char text[] = "what do ya want for nothing?";
    static const char long_text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    unsigned char mac[HMAC_SHA256_LENGTH], long_key[131];
    char hex[2 * HMAC_SHA256_LENGTH + 1];
    hmac_sha256("Jefe", 4, text, strlen(text), mac);
    text_format_hex(mac, sizeof mac, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(long_key, 0xaa, sizeof long_key);
    hmac_sha256(long_key, sizeof long_key, long_text, strlen(long_text), mac);
    text_format_hex(mac, sizeof mac, hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void base64url_goes_both_ways_in_one_form(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "-_8", "AA", "AAA", "AAAA", "_-7dug"};
    static const char *const broken[] = {"A", "+/8", "AA==", "AB", "AA A", "AAB", "AAAAA", "A\n"};
    unsigned char *bytes;
    size_t length;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        assert_true(base64url_decode(texts[i], strlen(texts[i]), &bytes, &length));
        AUTO_FREE char *again = base64url_encode(bytes, length);
        assert_string_equal(again, texts[i]);
        free(bytes);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(broken); i++)
        assert_false(base64url_decode(broken[i], strlen(broken[i]), &bytes, &length));
}

static void es256_is_that_of_the_rfc(void **state)
{
    (void)state;
    /* RFC 7515 appendix A.3. */
    static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                              "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                              "-----END PUBLIC KEY-----\n";
    static const char text[] =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlL"
        "mNvbS9pc19yb290Ijp0cnVlfQ";
    static const char signature[] = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8IS"
                                    "lSApmWQxfKTUJqPP3-Kg6NU1Q";
    struct public_key *key;
    unsigned char *bytes;
    size_t length;
    assert_int_equal(public_key_from_pem(pem, strlen(pem), &key, NULL), 0);
    assert_true(base64url_decode(signature, strlen(signature), &bytes, &length));
    assert_int_equal(length, ES256_SIGNATURE_LENGTH);
    assert_true(signature_verify_es256(key, text, strlen(text), bytes));
    for (size_t i = 0; i < length; i++) {
        bytes[i] ^= 1;
        assert_false(signature_verify_es256(key, text, strlen(text), bytes));
        bytes[i] ^= 1;
    }
    assert_false(signature_verify_es256(key, text, strlen(text) - 1, bytes));
    memset(bytes, 0, length);
    assert_false(signature_verify_es256(key, text, strlen(text), bytes));
    free(bytes);
    public_key_destroy(key);
}

static void our_es256_signatures_hold(void **state)
{
    (void)state;
    struct private_key *key = private_key_generate(NULL);
    struct public_key *public_half = private_key_public(key);
    /* Often enough for r and s that are shorter than their places. */
    for (unsigned i = 0; i < 600; i++) {
        unsigned char signature[ES256_SIGNATURE_LENGTH];
        assert_int_equal(signature_create_es256(key, &i, sizeof i, signature, NULL), 0);
        assert_true(signature_verify_es256(public_half, &i, sizeof i, signature));
    }
    public_key_destroy(public_half);
    private_key_destroy(key);
}

static void random_bytes_differ(void **state)
{
    (void)state;
    unsigned char first[16], second[16];
    random_bytes(first, sizeof first);
    random_bytes(second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_digest_of_bytes_is_sha256_in_hex),
        cmocka_unit_test(a_digest_is_exactly_sha256_and_64_lower_case_hex_digits),
        cmocka_unit_test(a_stream_gives_the_digest_so_far_and_goes_on),
        cmocka_unit_test(a_file_is_hashed_from_where_it_stands_to_its_end),
        cmocka_unit_test(keys_survive_pem_and_keep_their_id),
        cmocka_unit_test(other_keys_are_refused_with_the_reason),
        cmocka_unit_test(a_signature_holds_for_its_bytes_and_key_only),
        cmocka_unit_test(a_password_opens_an_encrypted_key_and_no_other_does),
        cmocka_unit_test(encrypted_keys_that_ask_for_too_much_or_lie_are_refused),
        cmocka_unit_test(openssl_reads_our_keys_and_we_verify_its_signatures),
        cmocka_unit_test(base64_goes_both_ways),
        cmocka_unit_test(broken_base64_is_refused),
        cmocka_unit_test(hmac_is_that_of_the_rfc),
        cmocka_unit_test(base64url_goes_both_ways_in_one_form),
        cmocka_unit_test(es256_is_that_of_the_rfc),
        cmocka_unit_test(our_es256_signatures_hold),
        cmocka_unit_test(random_bytes_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
