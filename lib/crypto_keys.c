/* Keys and signatures of lib/crypto.h. */
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define CURVE SN_X9_62_prime256v1

struct private_key {
    EVP_PKEY *key;
};

struct public_key {
    EVP_PKEY *key;
};

/* Sets an error from OpenSSL's queue and empties it. */
static int openssl_error(struct error *error, enum error_code code, const char *what)
{
    char reason[256] = "no reason given";
    unsigned long number = ERR_peek_last_error();
    if (number != 0)
        ERR_error_string_n(number, reason, sizeof reason);
    ERR_clear_error();
    return error_set(error, code, "%s: %s", what, reason);
}

/* Keys with a password are refused here instead of asking on a terminal. */
static int no_password(char *buffer, int size, int writing, void *data)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

static bool is_p256(const EVP_PKEY *key)
{
    char curve[64];
    size_t length;
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof curve,
                                       &length) != 1)
        return false;
    return strcmp(curve, CURVE) == 0;
}

struct private_key *private_key_generate(struct error *error)
{
    EVP_PKEY *made = EVP_EC_gen("P-256");
    if (made == NULL) {
        openssl_error(error, ERROR_INTERNAL, "generate an ECDSA P-256 key");
        return NULL;
    }
    struct private_key *key = xcalloc(1, sizeof *key);
    key->key = made;
    return key;
}

static char *bio_take_text(BIO *bio)
{
    char *data;
    long length = BIO_get_mem_data(bio, &data);
    char *text = xstrndup(data, (size_t)length);
    BIO_free(bio);
    return text;
}

int private_key_to_pem(const struct private_key *key, char **ret_pem, struct error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL ||
        PEM_write_bio_PKCS8PrivateKey(bio, key->key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(bio);
        return openssl_error(error, ERROR_INTERNAL, "write a private key");
    }
    *ret_pem = bio_take_text(bio);
    return 0;
}

/* Takes `read`, which may be NULL. */
static int keep_p256(EVP_PKEY *read, const char *form, struct private_key **ret_key,
                     struct error *error)
{
    ERR_clear_error();
    if (read == NULL)
        return error_set(error, ERROR_INVALID, "not a private key in %s form", form);
    if (!is_p256(read)) {
        EVP_PKEY_free(read);
        return error_set(error, ERROR_INVALID, "the private key is not an EC key on P-256");
    }
    *ret_key = xcalloc(1, sizeof **ret_key);
    (*ret_key)->key = read;
    return 0;
}

int private_key_from_pem(const char *pem, size_t length, struct private_key **ret_key,
                         struct error *error)
{
    if (private_key_is_encrypted(pem, length))
        return error_set(
            error, ERROR_UNSUPPORTED,
            "the private key is encrypted with a password: one without is needed here");
    if (memmem(pem, length, "ENCRYPTED", strlen("ENCRYPTED")) != NULL)
        return error_set(
            error, ERROR_UNSUPPORTED,
            "the private key is encrypted, and not in cosign's form: take the password "
            "off with `openssl pkey`, or make a key with `shoal keygen`");
    BIO *bio = length <= INT32_MAX ? BIO_new_mem_buf(pem, (int)length) : NULL;
    EVP_PKEY *read = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (read == NULL && memmem(pem, length, "PUBLIC KEY", strlen("PUBLIC KEY")) != NULL) {
        ERR_clear_error();
        return error_set(error, ERROR_INVALID,
                         "this is a public key: give its private half (the .key file)");
    }
    return keep_p256(read, "PEM", ret_key, error);
}

int private_key_to_der(const struct private_key *key, unsigned char **ret_der, size_t *ret_length,
                       struct error *error)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->key);
    unsigned char *made = NULL;
    int length = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &made) : -1;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (length <= 0)
        return openssl_error(error, ERROR_INTERNAL, "write a private key");
    *ret_der = xmemdup(made, (size_t)length);
    *ret_length = (size_t)length;
    OPENSSL_clear_free(made, (size_t)length);
    return 0;
}

int private_key_from_der(const unsigned char *der, size_t length, struct private_key **ret_key,
                         struct error *error)
{
    const unsigned char *at = der;
    PKCS8_PRIV_KEY_INFO *info =
        length <= INT32_MAX ? d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)length) : NULL;
    EVP_PKEY *read = info != NULL ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return keep_p256(read, "PKCS#8", ret_key, error);
}

struct public_key *private_key_public(const struct private_key *key)
{
    unsigned char *der = NULL;
    int length = i2d_PUBKEY(key->key, &der);
    const unsigned char *at = der;
    EVP_PKEY *copy = length > 0 ? d2i_PUBKEY(NULL, &at, length) : NULL;
    OPENSSL_free(der);
    if (copy == NULL)
        abort(); /* a P-256 key that was made or read has a public half */
    struct public_key *public_half = xcalloc(1, sizeof *public_half);
    public_half->key = copy;
    return public_half;
}

void private_key_destroy(struct private_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->key);
    free(key);
}

int public_key_to_pem(const struct public_key *key, char **ret_pem, struct error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_PUBKEY(bio, key->key) != 1) {
        BIO_free(bio);
        return openssl_error(error, ERROR_INTERNAL, "write a public key");
    }
    *ret_pem = bio_take_text(bio);
    return 0;
}

int public_key_from_pem(const char *pem, size_t length, struct public_key **ret_key,
                        struct error *error)
{
    if (memmem(pem, length, "PRIVATE KEY", strlen("PRIVATE KEY")) != NULL)
        return error_set(error, ERROR_INVALID,
                         "this is a private key: give the public one (the .pub file)");
    BIO *bio = length <= INT32_MAX ? BIO_new_mem_buf(pem, (int)length) : NULL;
    EVP_PKEY *read = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (read == NULL)
        return error_set(error, ERROR_INVALID,
                         "not a public key in PEM form (-----BEGIN PUBLIC KEY-----)");
    if (!is_p256(read)) {
        EVP_PKEY_free(read);
        return error_set(error, ERROR_INVALID, "the public key is not an EC key on P-256");
    }
    *ret_key = xcalloc(1, sizeof **ret_key);
    (*ret_key)->key = read;
    return 0;
}

void public_key_fingerprint(const struct public_key *key,
                            unsigned char ret_hash[KEY_FINGERPRINT_LENGTH])
{
    unsigned char *der = NULL;
    int length = i2d_PUBKEY(key->key, &der);
    if (length <= 0 || EVP_Digest(der, (size_t)length, ret_hash, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* as in private_key_public */
    OPENSSL_free(der);
}

void public_key_id(const struct public_key *key, char ret_id[KEY_ID_MAX])
{
    unsigned char hash[KEY_FINGERPRINT_LENGTH];
    public_key_fingerprint(key, hash);
    text_format_hex(hash, (KEY_ID_MAX - 1) / 2, ret_id);
}

void public_key_destroy(struct public_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->key);
    free(key);
}

int signature_create(const struct private_key *key, const void *bytes, size_t length,
                     unsigned char **ret_signature, size_t *ret_length, struct error *error)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *signature = NULL;
    size_t size = 0;
    bool done = context != NULL &&
                EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->key) == 1 &&
                EVP_DigestSign(context, NULL, &size, bytes, length) == 1;
    if (done) {
        signature = xmalloc(size);
        done = EVP_DigestSign(context, signature, &size, bytes, length) == 1;
    }
    EVP_MD_CTX_free(context);
    if (!done) {
        free(signature);
        return openssl_error(error, ERROR_INTERNAL, "sign");
    }
    *ret_signature = signature;
    *ret_length = size;
    return 0;
}

bool signature_verify(const struct public_key *key, const void *bytes, size_t length,
                      const unsigned char *signature, size_t signature_length)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL &&
                EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->key) == 1 &&
                EVP_DigestVerify(context, signature, signature_length, bytes, length) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}
