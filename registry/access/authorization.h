/* The Authorization header: Basic (RFC 7617) and Bearer (RFC 6750, section 2.1). Text from outside;
 * pure functions. */
#pragma once

#include <stddef.h>

#include "registry/access/rules.h"

enum { PASSWORD_MAX = 1024, TOKEN_TEXT_MAX = 8192 };

enum authorization_kind {
    AUTHORIZATION_NONE, /* no header */
    AUTHORIZATION_BASIC,
    AUTHORIZATION_BEARER,
    AUTHORIZATION_MALFORMED, /* or of a scheme that is not known here */
};

struct authorization {
    char name[USER_NAME_MAX];    /* Basic */
    char password[PASSWORD_MAX]; /* Basic; authorization_finish wipes it */
    const char *token;           /* Bearer: a part of the header */
    size_t token_length;
};

/* `header` may be NULL. */
enum authorization_kind authorization_parse(const char *header, size_t length,
                                            struct authorization *ret_authorization);
void authorization_finish(struct authorization *authorization);
