#include "lib/oci_challenge.h"

#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"

/* RFC 9110, 5.6.2. */
static size_t token_length(const char *at)
{
    return strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                      "!#$%&'*+-.^_`|~");
}

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t");
}

/* A token or a quoted string behind "="; what it says goes to `ret_value`. NULL: malformed, or it
 * does not fit. */
static const char *read_value(const char *at, char *ret_value, size_t size)
{
    size_t used = 0;
    if (*at != '"') {
        size_t length = token_length(at);
        if (length == 0 || length >= size)
            return NULL;
        memcpy(ret_value, at, length);
        ret_value[length] = '\0';
        return at + length;
    }
    for (at++; *at != '"'; at++) {
        if (*at == '\\')
            at++;
        if (*at == '\0' || (unsigned char)*at < ' ' || used + 1 >= size)
            return NULL;
        ret_value[used++] = *at;
    }
    ret_value[used] = '\0';
    return at + 1;
}

struct parameter {
    const char *name;
    char *value;
    size_t size;
};

/* One `name = value` of a challenge. NULL: malformed. */
static const char *read_parameter(const char *at, struct oci_challenge *challenge)
{
    char other[1024];
    const struct parameter known[] = {
        {"realm", challenge->realm, sizeof challenge->realm},
        {"service", challenge->service, sizeof challenge->service},
        {"scope", challenge->scope, sizeof challenge->scope},
    };
    struct parameter taken = {NULL, other, sizeof other};
    size_t length = token_length(at);
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        if (strlen(known[i].name) == length && strncasecmp(known[i].name, at, length) == 0)
            taken = known[i];
    }
    at = skip_space(at + length);
    if (*at != '=')
        return NULL;
    return read_value(skip_space(at + 1), taken.value, taken.size);
}

/* Whether a parameter begins here; else it is the next challenge's scheme. */
static bool is_parameter(const char *at)
{
    size_t length = token_length(at);
    const char *behind = skip_space(at + length);
    /* "token68==" of another scheme is no parameter; no scheme that is known here has one. */
    return length > 0 && *behind == '=';
}

static const char *read_parameters(const char *at, struct oci_challenge *challenge)
{
    for (;;) {
        at = skip_space(at);
        if (*at == ',') {
            at++;
            continue;
        }
        if (*at == '\0' || !is_parameter(at))
            return at;
        at = read_parameter(at, challenge);
        if (at == NULL)
            return NULL;
        at = skip_space(at);
        if (*at != ',' && *at != '\0')
            return NULL;
    }
}

/* The name of a challenge's scheme, with its parameters in `challenge`. */
static const char *read_challenge(const char *at, struct oci_challenge *challenge,
                                  size_t *ret_scheme_length)
{
    *ret_scheme_length = token_length(at);
    if (*ret_scheme_length == 0)
        return NULL;
    *challenge = (struct oci_challenge){0};
    return read_parameters(at + *ret_scheme_length, challenge);
}

static bool is_scheme(const char *at, size_t length, const char *name)
{
    return strlen(name) == length && strncasecmp(at, name, length) == 0;
}

bool oci_challenge_parse(const char *header, struct oci_challenge *ret_challenge)
{
    bool found = false;
    const char *at = header + strspn(header, " \t,");
    while (*at != '\0') {
        struct oci_challenge challenge;
        const char *scheme = at;
        size_t length;
        at = read_challenge(at, &challenge, &length);
        if (at == NULL)
            return false;
        if (is_scheme(scheme, length, "Bearer") && challenge.realm[0] != '\0') {
            challenge.scheme = OCI_CHALLENGE_BEARER;
            *ret_challenge = challenge;
            return true;
        }
        if (is_scheme(scheme, length, "Basic") && !found) {
            challenge.scheme = OCI_CHALLENGE_BASIC;
            *ret_challenge = challenge;
            found = true;
        }
        at += strspn(at, " \t,");
    }
    return found;
}
