/* What cosign signs, signed here so that it is read to the end, and the manifests that carry
 * signatures: one payload holds for one image, and entries are what their type promises. */
#include "image-format/signature.h"
#include "tests/fuzz/fuzz.h"

#define DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OTHER  "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct private_key *key;
static struct trusted_key trusted;

static void check_payload(const char *payload, size_t length)
{
    AUTO_FREE unsigned char *der = NULL;
    size_t der_length = 0;
    EXPECT(signature_create(key, payload, length, &der, &der_length, NULL) == 0);
    AUTO_FREE char *signature = base64_encode(der, der_length);
    int one = signature_check(payload, length, signature, &trusted, 1, DIGEST, NULL, NULL);
    int other = signature_check(payload, length, signature, &trusted, 1, OTHER, NULL, NULL);
    EXPECT(one == 0 || one == SIGNATURE_OF_ANOTHER);
    EXPECT(other == 0 || other == SIGNATURE_OF_ANOTHER);
    EXPECT(one != 0 || other != 0);
}

static void check_manifest(const char *manifest, size_t length)
{
    struct signature_entry *entries;
    size_t count;
    if (signature_entries_parse(manifest, length, &entries, &count, NULL) < 0)
        return;
    EXPECT(count <= SIGNATURES_MAX);
    for (size_t i = 0; i < count; i++) {
        EXPECT(digest_is_valid(entries[i].payload_digest));
        EXPECT(entries[i].payload_size <= SIGNATURE_PAYLOAD_MAX);
        EXPECT(entries[i].signature != NULL);
        EXPECT(strlen(entries[i].key_id) == 0 || strlen(entries[i].key_id) == KEY_ID_MAX - 1);
    }
    signature_entries_free(entries, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (key == NULL) {
        key = private_key_generate(NULL);
        trusted.key = private_key_public(key);
    }
    char *text = xmemdup(bytes, length); /* of its exact size */
    check_payload(text, length);
    check_manifest(text, length);
    free(text);
    return 0;
}
