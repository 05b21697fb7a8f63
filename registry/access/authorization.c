#include "registry/access/authorization.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/xalloc.h"

/* Base64 of the longest name and password. */
#define BASIC_MAX ((size_t)(USER_NAME_MAX + PASSWORD_MAX) * 4 / 3)

static void wipe(unsigned char **bytes)
{
    if (*bytes != NULL)
        explicit_bzero(*bytes, strlen((char *)*bytes));
    free(*bytes);
}

static enum authorization_kind parse_basic(const char *text, size_t text_length,
                                           struct authorization *ret_authorization)
{
    __attribute__((cleanup(wipe))) unsigned char *bytes = NULL;
    size_t length;
    if (text_length > BASIC_MAX)
        return AUTHORIZATION_MALFORMED;
    AUTO_FREE char *encoded = xstrndup(text, text_length);
    if (!base64_decode(encoded, &bytes, &length) || memchr(bytes, '\0', length) != NULL)
        return AUTHORIZATION_MALFORMED;
    const char *name = (const char *)bytes, *colon = strchr(name, ':');
    if (colon == NULL || colon - name >= USER_NAME_MAX || strlen(colon + 1) >= PASSWORD_MAX)
        return AUTHORIZATION_MALFORMED;
    memcpy(ret_authorization->name, name, (size_t)(colon - name));
    ret_authorization->name[colon - name] = '\0';
    strcpy(ret_authorization->password, colon + 1);
    return AUTHORIZATION_BASIC;
}

enum authorization_kind authorization_parse(const char *header, size_t length,
                                            struct authorization *ret_authorization)
{
    if (header == NULL)
        return AUTHORIZATION_NONE;
    const char *space = memchr(header, ' ', length);
    if (space == NULL)
        return AUTHORIZATION_MALFORMED;
    const char *end = header + length, *value = space;
    while (value < end && *value == ' ')
        value++;
    size_t scheme_length = (size_t)(space - header), value_length = (size_t)(end - value);
    if (scheme_length == 5 && strncasecmp(header, "Basic", 5) == 0)
        return parse_basic(value, value_length, ret_authorization);
    if (scheme_length != 6 || strncasecmp(header, "Bearer", 6) != 0 || value_length == 0 ||
        value_length > TOKEN_TEXT_MAX)
        return AUTHORIZATION_MALFORMED;
    ret_authorization->token = value;
    ret_authorization->token_length = value_length;
    return AUTHORIZATION_BEARER;
}

void authorization_finish(struct authorization *authorization)
{
    explicit_bzero(authorization->password, sizeof authorization->password);
}
