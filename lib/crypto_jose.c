/* The forms of JSON Web Signatures: base64url, signatures as r and s (lib/crypto.h). */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/xalloc.h"

enum { NUMBER_LENGTH = ES256_SIGNATURE_LENGTH / 2, DER_MAX = 80 };

char *base64url_encode(const void *bytes, size_t length)
{
    char *text = base64_encode(bytes, length);
    text[strcspn(text, "=")] = '\0';
    for (char *at = text; *at != '\0'; at++)
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
    return text;
}

bool base64url_decode(const char *text, size_t text_length, unsigned char **ret_bytes,
                      size_t *ret_length)
{
    static const char padding[][3] = {"", "", "==", "="};
    if (text_length > INT32_MAX / 2 || text_length % 4 == 1)
        return false;
    AUTO_FREE char *plain = xasprintf("%.*s%s", (int)text_length, text, padding[text_length % 4]);
    for (char *at = plain; at < plain + text_length; at++) {
        if (*at == '-')
            *at = '+';
        else if (*at == '_')
            *at = '/';
        else if (*at == '\0' || *at == '+' || *at == '/' || *at == '=')
            return false;
    }
    unsigned char *bytes;
    size_t length;
    if (!base64_decode(plain, &bytes, &length))
        return false;
    /* One text for each run of bytes: the bits that are left over are zero. */
    AUTO_FREE char *again = base64url_encode(bytes, length);
    if (strlen(again) != text_length || memcmp(again, text, text_length) != 0) {
        free(bytes);
        return false;
    }
    *ret_bytes = bytes;
    *ret_length = length;
    return true;
}

int signature_create_es256(const struct private_key *key, const void *bytes, size_t length,
                           unsigned char ret_signature[ES256_SIGNATURE_LENGTH], struct error *error)
{
    AUTO_FREE unsigned char *der = NULL;
    size_t der_length;
    if (signature_create(key, bytes, length, &der, &der_length, error) < 0)
        return -1;
    const unsigned char *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)der_length);
    if (signature == NULL)
        abort(); /* OpenSSL reads what it has written */
    BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_signature, NUMBER_LENGTH);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_signature + NUMBER_LENGTH, NUMBER_LENGTH);
    ECDSA_SIG_free(signature);
    return 0;
}

bool signature_verify_es256(const struct public_key *key, const void *bytes, size_t length,
                            const unsigned char signature[ES256_SIGNATURE_LENGTH])
{
    ECDSA_SIG *numbers = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, NUMBER_LENGTH, NULL);
    BIGNUM *s = BN_bin2bn(signature + NUMBER_LENGTH, NUMBER_LENGTH, NULL);
    if (numbers == NULL || ECDSA_SIG_set0(numbers, r, s) != 1)
        abort(); /* fails only for want of memory */
    unsigned char der[DER_MAX], *end = der;
    int der_length = i2d_ECDSA_SIG(numbers, NULL);
    bool good = der_length > 0 && der_length <= DER_MAX;
    if (good)
        i2d_ECDSA_SIG(numbers, &end);
    ECDSA_SIG_free(numbers);
    return good && signature_verify(key, bytes, length, der, (size_t)der_length);
}

bool bytes_equal_constant_time(const void *one, const void *other, size_t length)
{
    return CRYPTO_memcmp(one, other, length) == 0;
}
