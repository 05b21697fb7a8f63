/* Encrypted private keys: the JSON inside the PEM block, or the whole file when it begins with a
 * dash. A password opens none of them, and what is opened is cheap here. */
#include "lib/crypto.h"
#include "tests/fuzz/fuzz.h"

#define BLOCK "ENCRYPTED SIGSTORE PRIVATE KEY"

static void check_file(const char *pem, size_t length, bool is_cheap)
{
    struct private_key *key = NULL;
    int form = private_key_check_encrypted(pem, length, NULL);
    if (!is_cheap)
        return;
    int opened = private_key_from_encrypted_pem(pem, length, "no", 2, &key, NULL);
    EXPECT(form == 0 || opened == -1);
    EXPECT(opened == -1 && key == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *text = fuzz_text(bytes, length);
    bool is_cheap = strstr(text, "\"N\":16,\"r\":1,\"p\":1}") != NULL;
    if (text[0] == '-') {
        check_file(text, strlen(text), false);
        return 0;
    }
    AUTO_FREE char *body = base64_encode(text, strlen(text));
    AUTO_FREE char *pem = xmalloc(2 * strlen(body) + 200);
    char *at = pem + sprintf(pem, "-----BEGIN " BLOCK "-----\n");
    for (size_t i = 0; i < strlen(body); i += 64)
        at += sprintf(at, "%.64s\n", body + i);
    sprintf(at, "-----END " BLOCK "-----\n");
    EXPECT(private_key_is_encrypted(pem, strlen(pem)));
    check_file(pem, strlen(pem), is_cheap);
    return 0;
}
