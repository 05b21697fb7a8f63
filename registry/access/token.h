/* The registry's own tokens: JSON Web Tokens (RFC 7519) signed by ES256 (RFC 7518, section 3.4),
 * with the claims of docker's token authentication. The registry makes them and nobody but it reads
 * them, so the reader takes only what the writer writes. A key may be used by many threads. */
#pragma once

#include <stdint.h>

#include "lib/error.h"
#include "registry/access/authorization.h"
#include "registry/access/remembered.h"
#include "registry/access/scope.h"
#include "registry/access/users.h"

struct token_key;

/* A P-256 key in PEM form. With `make`, one that is not there is made, for its owner only. */
int token_key_load(const char *path, bool make, struct token_key **ret_key, struct error *error);
/* NULL is fine. */
void token_key_destroy(struct token_key *key);

struct token_claims {
    char user[USER_NAME_MAX];  /* "": nobody in particular */
    char mark[USERS_MARK_MAX]; /* the user's when it was made; "": nobody's */
    struct access_scopes grants;
};

/* Valid from `now_s` (Unix time) for `lifetime_s`; for the registry that `service` names. The
 * caller frees the text. */
int token_create(const struct token_key *key, const char *service,
                 const struct token_claims *claims, uint64_t now_s, uint64_t lifetime_s,
                 char **ret_token, struct error *error);
/* ERROR_DENIED: not made by this key for this service, changed, or not valid now (with a minute's
 * tolerance, where several registries share a key). The message may be shown to the client. A
 * signature that holds is put into `known` (NULL: none) and not computed again while it is there.
 */
int token_verify(const struct token_key *key, const char *service, const char *token, size_t length,
                 uint64_t now_s, struct remembered *known, struct token_claims *ret_claims,
                 struct error *error);
