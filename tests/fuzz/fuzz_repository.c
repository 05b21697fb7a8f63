/* Names of repositories: exactly those of the distribution spec's grammar. */
#include "lib/image_reference.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static regex_t grammar;
    AUTO_FREE char *text = fuzz_text(bytes, length);
    bool is_valid = repository_is_valid(text);
    EXPECT(is_valid ==
           (strlen(text) < REPOSITORY_MAX && fuzz_matches(&grammar,
                                                          "^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
                                                          "(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*$",
                                                          text)));
    EXPECT(!is_valid || (strstr(text, "..") == NULL && text[0] != '/'));
    return 0;
}
