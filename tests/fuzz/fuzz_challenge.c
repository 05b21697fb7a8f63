/* A registry's challenge, as the client reads it: its parts written again are read alike. */
#include "lib/buffer.h"
#include "lib/oci_challenge.h"
#include "tests/fuzz/fuzz.h"

static void append_quoted(struct buffer *header, const char *name, const char *value)
{
    buffer_printf(header, "%s=\"", name);
    for (; *value != '\0'; value++)
        buffer_printf(header, "\\%c", *value);
    buffer_append_text(header, "\"");
}

static void read_again(const struct oci_challenge *challenge)
{
    struct buffer header AUTO_BUFFER = {0};
    struct oci_challenge again;
    buffer_append_text(&header, challenge->scheme == OCI_CHALLENGE_BEARER ? "bearer " : "bAsIc\t");
    append_quoted(&header, "Realm", challenge->realm);
    append_quoted(&header, ", service", challenge->service);
    append_quoted(&header, " , scope", challenge->scope);
    EXPECT(oci_challenge_parse(buffer_text(&header), &again));
    EXPECT(again.scheme == challenge->scheme);
    EXPECT(strcmp(again.realm, challenge->realm) == 0);
    EXPECT(strcmp(again.service, challenge->service) == 0);
    EXPECT(strcmp(again.scope, challenge->scope) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *header = fuzz_text(bytes, length);
    struct oci_challenge challenge;
    if (!oci_challenge_parse(header, &challenge))
        return 0;
    EXPECT(challenge.scheme == OCI_CHALLENGE_BASIC || challenge.realm[0] != '\0');
    read_again(&challenge);
    return 0;
}
