/* What a registry asks of a client that it does not know: the WWW-Authenticate header of a 401
 * (RFC 9110, 11.6.1; the Bearer form is that of docker's token authentication, which OCI registries
 * share). Text from outside; pure functions. */
#pragma once

#include <stdbool.h>

enum oci_challenge_scheme {
    OCI_CHALLENGE_BEARER, /* a token from `realm` */
    OCI_CHALLENGE_BASIC,  /* name and password with each request */
};

struct oci_challenge {
    enum oci_challenge_scheme scheme;
    char realm[1024];  /* Bearer: the URL that gives tokens */
    char service[256]; /* "" when absent, as all below */
    char scope[1024];  /* "repository:default/hello:pull" */
};

/* The first challenge of the header that this client can answer, Bearer before Basic. False: none,
 * or the header is malformed, or a part is longer than its place. */
bool oci_challenge_parse(const char *header, struct oci_challenge *ret_challenge);
