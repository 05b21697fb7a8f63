/* Digests: only what may become a file's name, of the two algorithms that a registry takes. */
#include "lib/crypto.h"
#include "tests/fuzz/fuzz.h"

static void check_made(enum digest_algorithm algorithm, const uint8_t *bytes, size_t length)
{
    char digest[DIGEST_ANY_MAX];
    enum digest_algorithm parsed;
    digest_of_bytes_as(algorithm, bytes, length, digest);
    EXPECT(digest_parse(digest, &parsed) && parsed == algorithm);
    EXPECT(digest_is_valid(digest) == (algorithm == DIGEST_SHA256));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static regex_t sha256, sha512;
    AUTO_FREE char *text = fuzz_text(bytes, length);
    enum digest_algorithm algorithm = DIGEST_SHA256;
    bool is_sha256 = fuzz_matches(&sha256, "^sha256:([0-9a-f]{64})$", text);
    bool is_sha512 = fuzz_matches(&sha512, "^sha512:([0-9a-f]{128})$", text);
    bool is_any = digest_parse(text, &algorithm);
    EXPECT(digest_is_valid(text) == is_sha256);
    EXPECT(is_any == (is_sha256 || is_sha512) && digest_is_any(text) == is_any);
    EXPECT(!is_any || (algorithm == DIGEST_SHA512) == is_sha512);
    EXPECT(!is_any || strcmp(digest_hex(text), strchr(text, ':') + 1) == 0);
    check_made(DIGEST_SHA256, bytes, length);
    check_made(DIGEST_SHA512, bytes, length);
    return 0;
}
