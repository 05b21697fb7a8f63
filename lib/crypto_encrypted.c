/* Private keys as cosign keeps them, under a password (lib/crypto.h). */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define BLOCK_NAME     "ENCRYPTED SIGSTORE PRIVATE KEY"
#define BLOCK_NAME_OLD "ENCRYPTED COSIGN PRIVATE KEY"
#define KDF_NAME       "scrypt"
#define CIPHER_NAME    "nacl/secretbox"

#define SALT_LENGTH     32
#define SALT_MAX        1024
#define SEALED_MAX      65536
#define COST_N          65536 /* what cosign writes since 2.0 */
#define COST_R          8
#define COST_P          1
#define COST_N_MAX      (1u << 20)
#define COST_MEMORY_MAX (256u << 20) /* bytes */
#define COST_WORK_MAX   (1u << 24)   /* N * r * p: about ten seconds */

struct kdf_cost {
    uint32_t n, r, p;
};

struct kdf {
    char name[32];
    struct kdf_cost cost;
    char *salt; /* base64 */
};

struct cipher {
    char name[32];
    char nonce[64]; /* base64 */
};

struct sealed_key {
    struct kdf kdf;
    struct cipher cipher;
    char *ciphertext; /* base64 */
};

static const struct json_field cost_fields[] = {
    JSON_FIELD(struct kdf_cost, n, "N", JSON_UINT, .flags = JSON_REQUIRED, .min = 2,
               .max = COST_N_MAX),
    JSON_FIELD(struct kdf_cost, r, "r", JSON_UINT, .flags = JSON_REQUIRED, .min = 1, .max = 64),
    JSON_FIELD(struct kdf_cost, p, "p", JSON_UINT, .flags = JSON_REQUIRED, .min = 1, .max = 64),
    JSON_FIELD_END,
};
static const struct json_record cost_record = {sizeof(struct kdf_cost), cost_fields};
static const struct json_field kdf_fields[] = {
    JSON_FIELD(struct kdf, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct kdf, cost, "params", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &cost_record),
    JSON_FIELD(struct kdf, salt, "salt", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record kdf_record = {sizeof(struct kdf), kdf_fields};
static const struct json_field cipher_fields[] = {
    JSON_FIELD(struct cipher, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct cipher, nonce, "nonce", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record cipher_record = {sizeof(struct cipher), cipher_fields};
static const struct json_field sealed_key_fields[] = {
    JSON_FIELD(struct sealed_key, kdf, "kdf", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &kdf_record),
    JSON_FIELD(struct sealed_key, cipher, "cipher", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &cipher_record),
    JSON_FIELD(struct sealed_key, ciphertext, "ciphertext", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record sealed_key_record = {sizeof(struct sealed_key), sealed_key_fields};

void secret_wipe(void *bytes, size_t length)
{
    OPENSSL_cleanse(bytes, length);
}

bool private_key_is_encrypted(const char *pem, size_t length)
{
    return memmem(pem, length, BLOCK_NAME, strlen(BLOCK_NAME)) != NULL ||
           memmem(pem, length, BLOCK_NAME_OLD, strlen(BLOCK_NAME_OLD)) != NULL;
}

/* Base64 of at most `max` bytes. */
static int decode(const char *text, size_t max, const char *what, unsigned char **ret_bytes,
                  size_t *ret_length, struct error *error)
{
    if (strlen(text) > max / 3 * 4 + 4 || !base64_decode(text, ret_bytes, ret_length))
        return error_set(error, ERROR_INVALID,
                         "the encrypted key's %s is not base64 of at most %zu bytes", what, max);
    return 0;
}

static int check_cost(const struct kdf_cost *cost, struct error *error)
{
    uint64_t memory = (uint64_t)128 * cost->n * cost->r,
             work = (uint64_t)cost->n * cost->r * cost->p;
    if ((cost->n & (cost->n - 1)) != 0)
        return error_set(error, ERROR_INVALID, "the encrypted key's N=%u is no power of two",
                         cost->n);
    if (memory > COST_MEMORY_MAX || work > COST_WORK_MAX)
        return error_set(error, ERROR_INVALID,
                         "the encrypted key asks for scrypt with N=%u, r=%u, p=%u: that is more "
                         "memory or work than a key may cost (cosign uses N=65536, r=8, p=1)",
                         cost->n, cost->r, cost->p);
    return 0;
}

static int derive(const struct kdf_cost *cost, const char *password, size_t password_length,
                  const unsigned char *salt, size_t salt_length,
                  unsigned char ret_key[crypto_secretbox_KEYBYTES], struct error *error)
{
    /* The same sum as OpenSSL's, and a little over. */
    uint64_t memory = (uint64_t)128 * cost->n * cost->r + (uint64_t)128 * cost->r * cost->p + 65536;
    if (sodium_init() < 0 ||
        EVP_PBE_scrypt(password, password_length, salt, salt_length, cost->n, cost->r, cost->p,
                       memory, ret_key, crypto_secretbox_KEYBYTES) != 1)
        return error_set(error, ERROR_INTERNAL, "scrypt failed: not enough memory?");
    return 0;
}

/* --- reading --- */

static int read_block(const char *pem, size_t length, struct sealed_key *ret_sealed,
                      struct error *error)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long size = 0;
    BIO *bio = length <= INT32_MAX ? BIO_new_mem_buf(pem, (int)length) : NULL;
    bool read = bio != NULL && PEM_read_bio(bio, &name, &header, &data, &size) == 1;
    BIO_free(bio);
    int result;
    if (!read || (strcmp(name, BLOCK_NAME) != 0 && strcmp(name, BLOCK_NAME_OLD) != 0))
        result = error_set(error, ERROR_INVALID, "not a PEM block \"%s\"", BLOCK_NAME);
    else if (json_parse_unique_record(&sealed_key_record, (const char *)data, (size_t)size,
                                      JSON_LENIENT, ret_sealed, error) < 0)
        result = error_wrap(error, "encrypted key");
    else
        result = 0;
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    return result;
}

static int check_names(const struct sealed_key *sealed, struct error *error)
{
    if (strcmp(sealed->kdf.name, KDF_NAME) != 0 || strcmp(sealed->cipher.name, CIPHER_NAME) != 0)
        return error_set(error, ERROR_INVALID,
                         "the encrypted key is made by \"%s\" and \"%s\": supported are " KDF_NAME
                         " and " CIPHER_NAME,
                         sealed->kdf.name, sealed->cipher.name);
    return check_cost(&sealed->kdf.cost, error);
}

/* What is decoded of it, all of lengths that fit. */
struct key_box {
    struct kdf_cost cost;
    unsigned char *salt;
    size_t salt_length;
    unsigned char *nonce;
    unsigned char *sealed;
    size_t sealed_length;
};

static void key_box_release(struct key_box *box)
{
    free(box->salt);
    free(box->nonce);
    free(box->sealed);
}

static int decode_box(const struct sealed_key *sealed, struct key_box *box, struct error *error)
{
    size_t nonce_length;
    box->cost = sealed->kdf.cost;
    if (check_names(sealed, error) < 0 ||
        decode(sealed->kdf.salt, SALT_MAX, "salt", &box->salt, &box->salt_length, error) < 0 ||
        decode(sealed->cipher.nonce, crypto_secretbox_NONCEBYTES, "nonce", &box->nonce,
               &nonce_length, error) < 0 ||
        decode(sealed->ciphertext, SEALED_MAX, "ciphertext", &box->sealed, &box->sealed_length,
               error) < 0)
        return -1;
    if (nonce_length != crypto_secretbox_NONCEBYTES)
        return error_set(error, ERROR_INVALID, "the encrypted key's nonce has %zu bytes, not %u",
                         nonce_length, crypto_secretbox_NONCEBYTES);
    if (box->sealed_length <= crypto_secretbox_MACBYTES)
        return error_set(error, ERROR_INVALID, "the encrypted key's ciphertext is cut off");
    return 0;
}

static int read_box(const char *pem, size_t length, struct key_box *ret_box, struct error *error)
{
    struct sealed_key sealed = {0};
    struct key_box box = {0};
    if (read_block(pem, length, &sealed, error) < 0)
        return -1;
    int result = decode_box(&sealed, &box, error);
    json_record_release(&sealed_key_record, &sealed);
    if (result == 0)
        *ret_box = box;
    else
        key_box_release(&box);
    return result;
}

static int open_box(const struct key_box *box, const unsigned char key[crypto_secretbox_KEYBYTES],
                    struct private_key **ret_key, struct error *error)
{
    size_t length = box->sealed_length - crypto_secretbox_MACBYTES;
    AUTO_FREE unsigned char *plain = xmalloc(length);
    int result =
        crypto_secretbox_open_easy(plain, box->sealed, box->sealed_length, box->nonce, key) == 0
            ? private_key_from_der(plain, length, ret_key, error)
            : error_set(error, ERROR_DENIED,
                        "the password does not open the key, or its file was altered");
    secret_wipe(plain, length);
    return result;
}

int private_key_check_encrypted(const char *pem, size_t length, struct error *error)
{
    struct key_box box;
    if (read_box(pem, length, &box, error) < 0)
        return -1;
    key_box_release(&box);
    return 0;
}

int private_key_from_encrypted_pem(const char *pem, size_t length, const char *password,
                                   size_t password_length, struct private_key **ret_key,
                                   struct error *error)
{
    struct key_box box;
    unsigned char key[crypto_secretbox_KEYBYTES];
    if (read_box(pem, length, &box, error) < 0)
        return -1;
    int result =
        derive(&box.cost, password, password_length, box.salt, box.salt_length, key, error);
    if (result == 0)
        result = open_box(&box, key, ret_key, error);
    secret_wipe(key, sizeof key);
    key_box_release(&box);
    return result;
}

/* --- writing --- */

static char *write_block(const char *text)
{
    char *data;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL ||
        PEM_write_bio(bio, BLOCK_NAME, "", (const unsigned char *)text, (long)strlen(text)) <= 0)
        abort(); /* for want of memory */
    long length = BIO_get_mem_data(bio, &data);
    char *pem = xstrndup(data, (size_t)length);
    BIO_free(bio);
    return pem;
}

int private_key_to_encrypted_pem(const struct private_key *key, const char *password,
                                 size_t password_length, char **ret_pem, struct error *error)
{
    static const struct kdf_cost cost = {COST_N, COST_R, COST_P};
    unsigned char salt[SALT_LENGTH], nonce[crypto_secretbox_NONCEBYTES];
    unsigned char box_key[crypto_secretbox_KEYBYTES];
    AUTO_FREE unsigned char *der = NULL;
    size_t length = 0;
    random_bytes(salt, sizeof salt);
    random_bytes(nonce, sizeof nonce);
    if (derive(&cost, password, password_length, salt, sizeof salt, box_key, error) < 0 ||
        private_key_to_der(key, &der, &length, error) < 0)
        return -1;
    AUTO_FREE unsigned char *box = xmalloc(length + crypto_secretbox_MACBYTES);
    crypto_secretbox_easy(box, der, length, nonce, box_key);
    secret_wipe(der, length);
    secret_wipe(box_key, sizeof box_key);
    AUTO_FREE char *salt_text = base64_encode(salt, sizeof salt);
    AUTO_FREE char *nonce_text = base64_encode(nonce, sizeof nonce);
    AUTO_FREE char *box_text = base64_encode(box, length + crypto_secretbox_MACBYTES);
    AUTO_FREE char *text = xasprintf("{\"kdf\":{\"name\":\"" KDF_NAME
                                     "\",\"params\":{\"N\":%u,\"r\":%u,\"p\":%u},\"salt\":\"%s\"},"
                                     "\"cipher\":{\"name\":\"" CIPHER_NAME
                                     "\",\"nonce\":\"%s\"},\"ciphertext\":\"%s\"}",
                                     cost.n, cost.r, cost.p, salt_text, nonce_text, box_text);
    *ret_pem = write_block(text);
    return 0;
}
