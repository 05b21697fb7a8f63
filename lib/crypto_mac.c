#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "lib/crypto.h"

void hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                 unsigned char ret_mac[HMAC_SHA256_LENGTH])
{
    unsigned mac_length = HMAC_SHA256_LENGTH;
    /* Fails only for want of memory. */
    if (HMAC(EVP_sha256(), key, (int)key_length, bytes, length, ret_mac, &mac_length) == NULL)
        abort();
}
