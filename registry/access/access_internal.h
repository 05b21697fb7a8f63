/* Between the files of registry/access/: the decision apart from requests, and what the token
 * endpoint needs. */
#pragma once

#include <pthread.h>

#include "registry/access/access.h"
#include "registry/access/refusals.h"
#include "registry/access/token.h"
#include "registry/access/users.h"

struct access {
    char *service;
    char *realm; /* NULL: from the request's Host */
    const char *scheme;
    uint64_t token_lifetime_s;
    char *users_path;
    struct users *users; /* NULL: none */
    struct token_key *key;
    struct remembered *signatures; /* of tokens */
    struct refusals *refusals;
    pthread_rwlock_t lock;
    struct access_rules rules; /* under lock */
};

enum access_verdict {
    ACCESS_ALLOWED,
    ACCESS_UNKNOWN,        /* who is that? */
    ACCESS_WRONG_PASSWORD, /* or a header that cannot be read */
    ACCESS_WRONG_TOKEN,
    ACCESS_NOT_GRANTED, /* the token does not have it; another one might */
    ACCESS_FORBIDDEN,   /* the user may not, whatever it shows */
    ACCESS_BUSY,
    ACCESS_FAILED, /* and the error says why */
};

/* Who a request comes from. */
struct access_identity {
    char user[USER_NAME_MAX];  /* "": nobody in particular */
    char tried[USER_NAME_MAX]; /* the name that was given, be it wrong: for the log alone */
    bool has_password;
    bool has_token;
    struct access_scopes grants; /* of the token */
};

/* Reads the Authorization header (NULL: none). ACCESS_ALLOWED: `ret_identity` is set, be it to
 * nobody; else only the name that was tried, and one of WRONG_PASSWORD, WRONG_TOKEN (with an error
 * for the client), BUSY, FAILED. */
enum access_verdict access_identify(struct access *access, const char *header, uint64_t now_s,
                                    struct access_identity *ret_identity, struct error *error);
/* Counts and logs a login that was refused by one of WRONG_PASSWORD, WRONG_TOKEN (`why` has the
 * error) and BUSY; other verdicts are none. */
void access_tell_refusal(struct access *access, const char *client, enum access_verdict verdict,
                         const char *tried, const struct error *why);
/* `repository` counts for pull, push and delete. */
enum access_verdict access_decide(struct access *access, const struct access_identity *identity,
                                  enum access_action action, const char *repository);
/* ALLOWED, WRONG_PASSWORD, BUSY or FAILED (with an error). */
enum access_verdict access_check_password(struct access *access, const char *name,
                                          const char *password, struct error *error);
/* A token for what is asked and allowed; `scopes` becomes what it grants. The caller frees it. */
int access_issue(struct access *access, const char *user, struct access_scopes *scopes,
                 uint64_t now_s, char **ret_token, struct error *error);
/* The WWW-Authenticate header of a 401. `host` is the request's (may be NULL). The caller frees it.
 */
char *access_challenge(const struct access *access, const char *host, enum access_verdict verdict,
                       enum access_action action, const char *repository);
