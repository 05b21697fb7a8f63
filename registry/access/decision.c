/* Who a request comes from and whether it may be; apart from requests themselves. */
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/access/access_internal.h"

enum access_verdict access_check_password(struct access *access, const char *name,
                                          const char *password, struct error *error)
{
    if (access->users == NULL || !user_name_is_valid(name))
        return ACCESS_WRONG_PASSWORD;
    switch (users_check(access->users, name, password, error)) {
    case USERS_GOOD:
        return ACCESS_ALLOWED;
    case USERS_BUSY:
        return ACCESS_BUSY;
    case USERS_FAILED:
        return ACCESS_FAILED;
    case USERS_WRONG:
        break;
    }
    return ACCESS_WRONG_PASSWORD;
}

static enum access_verdict identify_token(struct access *access,
                                          const struct authorization *authorization, uint64_t now_s,
                                          struct access_identity *identity, struct error *error)
{
    struct token_claims claims;
    if (token_verify(access->key, access->service, authorization->token,
                     authorization->token_length, now_s, access->signatures, &claims, error) < 0)
        return ACCESS_WRONG_TOKEN;
    text_copy(identity->tried, sizeof identity->tried, claims.user);
    char mark[USERS_MARK_MAX] = "";
    if (claims.user[0] != '\0' &&
        (access->users == NULL || !users_mark(access->users, claims.user, mark))) {
        error_set(error, ERROR_DENIED, "the token is not valid: its user is gone");
        return ACCESS_WRONG_TOKEN;
    }
    if (strcmp(mark, claims.mark) != 0) {
        error_set(error, ERROR_DENIED, "the token is not valid: its user has another password now");
        return ACCESS_WRONG_TOKEN;
    }
    identity->has_token = true;
    identity->grants = claims.grants;
    text_copy(identity->user, sizeof identity->user, claims.user);
    return ACCESS_ALLOWED;
}

enum access_verdict access_identify(struct access *access, const char *header, uint64_t now_s,
                                    struct access_identity *ret_identity, struct error *error)
{
    struct access_identity identity = {0};
    struct authorization authorization = {0};
    enum access_verdict verdict = ACCESS_ALLOWED;
    switch (authorization_parse(header, header != NULL ? strlen(header) : 0, &authorization)) {
    case AUTHORIZATION_NONE:
        break;
    case AUTHORIZATION_BASIC:
        verdict = access_check_password(access, authorization.name, authorization.password, error);
        identity.has_password = true;
        text_copy(identity.user, sizeof identity.user, authorization.name);
        text_copy(identity.tried, sizeof identity.tried, authorization.name);
        break;
    case AUTHORIZATION_BEARER:
        verdict = identify_token(access, &authorization, now_s, &identity, error);
        break;
    case AUTHORIZATION_MALFORMED:
        verdict = ACCESS_WRONG_PASSWORD;
        break;
    }
    authorization_finish(&authorization);
    if (verdict == ACCESS_ALLOWED)
        *ret_identity = identity;
    else
        text_copy(ret_identity->tried, sizeof ret_identity->tried, identity.tried);
    return verdict;
}

void access_tell_refusal(struct access *access, const char *client, enum access_verdict verdict,
                         const char *tried, const struct error *why)
{
    char mark[USERS_MARK_MAX];
    const char *reason = NULL;
    if (verdict == ACCESS_WRONG_TOKEN)
        reason = why->message;
    else if (verdict == ACCESS_BUSY)
        reason = "too many log in at once";
    else if (verdict == ACCESS_WRONG_PASSWORD && tried[0] == '\0')
        reason = "credentials that cannot be read";
    else if (verdict == ACCESS_WRONG_PASSWORD)
        reason = access->users != NULL && users_mark(access->users, tried, mark) ? "wrong password"
                                                                                 : "no such user";
    if (reason != NULL)
        refusals_tell(access->refusals, client, tried, reason);
}

static bool rules_allow(struct access *access, const char *user, enum access_action action,
                        const char *repository)
{
    pthread_rwlock_rdlock(&access->lock);
    bool allowed =
        action == ACCESS_CATALOG
            ? access_rules_catalog(&access->rules, user)
            : access_rules_repository(&access->rules, user, repository) & ACCESS_BIT(action);
    pthread_rwlock_unlock(&access->lock);
    return allowed;
}

enum access_verdict access_decide(struct access *access, const struct access_identity *identity,
                                  enum access_action action, const char *repository)
{
    const char *user = identity->user[0] != '\0' ? identity->user : NULL;
    bool has_shown = identity->has_password || identity->has_token;
    bool is_about_repository = ACCESS_BIT(action) & ACCESS_REPOSITORY_BITS;
    if (action == ACCESS_OPEN)
        return ACCESS_ALLOWED;
    if (action == ACCESS_UNDECLARED)
        return ACCESS_FORBIDDEN;
    if (action == ACCESS_USER)
        return user != NULL ? ACCESS_ALLOWED : ACCESS_UNKNOWN;
    /* There is nothing to allow about a name that no repository can have: the route says so. */
    if (action == ACCESS_BASE || (is_about_repository && !repository_is_valid(repository)))
        return has_shown ? ACCESS_ALLOWED : ACCESS_UNKNOWN;
    /* A token lives on for some minutes: the rules as they are now count, too. */
    if (!rules_allow(access, user, action, repository))
        return user != NULL ? ACCESS_FORBIDDEN : has_shown ? ACCESS_NOT_GRANTED : ACCESS_UNKNOWN;
    if (!identity->has_token)
        return ACCESS_ALLOWED;
    bool is_granted = is_about_repository
                          ? access_scopes_find(&identity->grants, repository) & ACCESS_BIT(action)
                          : identity->grants.has_catalog;
    return is_granted ? ACCESS_ALLOWED : ACCESS_NOT_GRANTED;
}

int access_issue(struct access *access, const char *user, struct access_scopes *scopes,
                 uint64_t now_s, char **ret_token, struct error *error)
{
    struct token_claims claims = {0};
    pthread_rwlock_rdlock(&access->lock);
    access_scopes_restrict(scopes, &access->rules, user[0] != '\0' ? user : NULL);
    pthread_rwlock_unlock(&access->lock);
    text_copy(claims.user, sizeof claims.user, user);
    if (user[0] != '\0' && access->users != NULL)
        users_mark(access->users, user, claims.mark);
    claims.grants = *scopes;
    return token_create(access->key, access->service, &claims, now_s, access->token_lifetime_s,
                        ret_token, error);
}

/* --- the challenge --- */

/* It goes into a quoted string, and is the client's. */
static bool host_is_plain(const char *host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]%";
    return host != NULL && host[0] != '\0' && strlen(host) < 300 &&
           strspn(host, allowed) == strlen(host);
}

static char *scope_of(enum access_action action, const char *repository)
{
    if (action == ACCESS_CATALOG)
        return xstrdup("registry:catalog:*");
    if (access_action_name(action) == NULL || !repository_is_valid(repository))
        return xstrdup("");
    return xasprintf("repository:%s:%s%s", repository, action == ACCESS_PULL ? "" : "pull,",
                     access_action_name(action));
}

char *access_challenge(const struct access *access, const char *host, enum access_verdict verdict,
                       enum access_action action, const char *repository)
{
    const char *why = verdict == ACCESS_WRONG_TOKEN   ? ",error=\"invalid_token\""
                      : verdict == ACCESS_NOT_GRANTED ? ",error=\"insufficient_scope\""
                                                      : "";
    AUTO_FREE char *scope = scope_of(action, repository);
    AUTO_FREE char *realm = access->realm != NULL ? xstrdup(access->realm)
                            : host_is_plain(host) ? xasprintf("%s://%s/token", access->scheme, host)
                                                  : xstrdup("/token");
    return xasprintf("Bearer realm=\"%s\",service=\"%s\"%s%s%s%s", realm, access->service,
                     scope[0] != '\0' ? ",scope=\"" : "", scope, scope[0] != '\0' ? "\"" : "", why);
}
