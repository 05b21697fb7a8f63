/* Tags: exactly those of the distribution spec's grammar. */
#include "lib/image_reference.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static regex_t grammar;
    AUTO_FREE char *text = fuzz_text(bytes, length);
    EXPECT(tag_is_valid(text) ==
           fuzz_matches(&grammar, "^([a-zA-Z0-9_])[a-zA-Z0-9._-]{0,127}$", text));
    return 0;
}
