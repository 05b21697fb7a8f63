/* Sigstore bundles, and behind a '!' statements, which are signed here so that they are read to the
 * end: what nobody signed never holds, and a signature holds for one image only. */
#include "image-format/bundle.h"
#include "tests/fuzz/fuzz.h"

#define DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OTHER  "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct private_key *key;
static struct trusted_key trusted;

static void check_signed(const char *statement)
{
    AUTO_FREE char *bundle = NULL;
    struct bundle_claims claims, read;
    EXPECT(bundle_create(key, statement, &bundle, NULL) == 0);
    size_t length = strlen(bundle);
    if (bundle_check(bundle, length, &trusted, 1, DIGEST, &claims, NULL) < 0)
        return;
    EXPECT(bundle_read_claims(bundle, length, &read, NULL) == 0);
    EXPECT(strcmp(read.predicate_type, claims.predicate_type) == 0);
    EXPECT(strcmp(read.key_id, trusted.id) == 0);
    EXPECT(read.signed_at == claims.signed_at);
    if (strcmp(claims.predicate_type, PREDICATE_SIGNATURE) == 0)
        EXPECT(bundle_check(bundle, length, &trusted, 1, OTHER, NULL, NULL) ==
               SIGNATURE_OF_ANOTHER);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (key == NULL) {
        key = private_key_generate(NULL);
        trusted.key = private_key_public(key);
        public_key_id(trusted.key, trusted.id);
    }
    if (length > 0 && bytes[0] == '!') {
        AUTO_FREE char *statement = fuzz_text(bytes + 1, length - 1);
        check_signed(statement);
        return 0;
    }
    struct bundle_claims claims;
    char *text = xmemdup(bytes, length); /* of its exact size */
    bundle_read_claims(text, length, &claims, NULL);
    EXPECT(bundle_check(text, length, &trusted, 1, DIGEST, NULL, NULL) == SIGNATURE_BY_NONE);
    free(text);
    return 0;
}
