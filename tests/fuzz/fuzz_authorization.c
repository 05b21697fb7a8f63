/* The Authorization header: what Basic yields is what the header has, and fits its place. */
#include "lib/crypto.h"
#include "registry/access/authorization.h"
#include "tests/fuzz/fuzz.h"

static void check_basic(const struct authorization *authorization)
{
    struct authorization again = {0};
    EXPECT(strchr(authorization->name, ':') == NULL);
    AUTO_FREE char *both = xasprintf("%s:%s", authorization->name, authorization->password);
    AUTO_FREE char *encoded = base64_encode(both, strlen(both));
    AUTO_FREE char *header = xasprintf("basic  %s", encoded);
    EXPECT(authorization_parse(header, strlen(header), &again) == AUTHORIZATION_BASIC);
    EXPECT(strcmp(again.name, authorization->name) == 0);
    EXPECT(strcmp(again.password, authorization->password) == 0);
    authorization_finish(&again);
    EXPECT(again.password[0] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *header = xmemdup(bytes, length);
    struct authorization authorization = {0};
    enum authorization_kind kind = authorization_parse(header, length, &authorization);
    EXPECT(kind != AUTHORIZATION_NONE);
    if (kind == AUTHORIZATION_BASIC)
        check_basic(&authorization);
    else if (kind == AUTHORIZATION_BEARER)
        EXPECT(authorization.token > header && authorization.token_length > 0 &&
               authorization.token + authorization.token_length == header + length);
    authorization_finish(&authorization);
    return 0;
}
