/* Digests: only what may become a file's name. */
#include "lib/crypto.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static regex_t grammar;
    AUTO_FREE char *text = fuzz_text(bytes, length);
    bool is_valid = digest_is_valid(text);
    EXPECT(is_valid == fuzz_matches(&grammar, "^sha256:([0-9a-f]{64})$", text));
    EXPECT(!is_valid || strcmp(digest_hex(text), strchr(text, ':') + 1) == 0);
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(bytes, length, digest);
    EXPECT(digest_is_valid(digest));
    return 0;
}
