/* The token endpoint, by docker's token authentication: GET with Basic or without (docker's "Token
 * Authentication Specification"), POST with a form (its OAuth2 variant). The token grants what is
 * asked and allowed, be that nothing; the registry's 401 told the client what to ask. */
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "registry/access/access_internal.h"
#include "registry/access/form.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

static uint64_t now_s(void)
{
    return clock_wall_ms(clock_system()) / 1000;
}

static struct json_object *answer_of(const struct access *access, const char *token,
                                     uint64_t issued_s)
{
    char issued[32];
    time_t seconds = (time_t)issued_s;
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(issued, sizeof issued, "%Y-%m-%dT%H:%M:%SZ", &parts);
    struct json_object *answer = json_object_new_object();
    json_object_object_add(answer, "token", json_object_new_string(token));
    json_object_object_add(answer, "access_token", json_object_new_string(token));
    json_object_object_add(answer, "token_type", json_object_new_string("Bearer"));
    json_object_object_add(answer, "expires_in",
                           json_object_new_int64((int64_t)access->token_lifetime_s));
    json_object_object_add(answer, "issued_at", json_object_new_string(issued));
    return answer;
}

static void give_token(struct http_request *request, struct access *access, const char *user,
                       struct access_scopes *scopes)
{
    AUTO_FREE char *token = NULL;
    struct error error = ERROR_INIT;
    uint64_t issued_s = now_s();
    if (access_issue(access, user, scopes, issued_s, &token, &error) < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    http_request_add_header(request, "Cache-Control", "no-store");
    http_request_respond_json(request, 200, answer_of(access, token, issued_s));
}

/* --- GET --- */

static bool add_scope(const char *value, void *data)
{
    struct access_scopes **scopes = data;
    if (access_scopes_parse(value, strlen(value), *scopes) < 0)
        *scopes = NULL;
    return *scopes != NULL;
}

static void refuse_login(struct http_request *request, enum access_verdict verdict,
                         const struct error *error)
{
    if (verdict == ACCESS_BUSY) {
        http_request_add_header(request, "Retry-After", "1");
        oci_error_respond(request, OCI_TOOMANYREQUESTS, "too many log in at once: try again");
    } else if (verdict == ACCESS_FAILED) {
        oci_error_respond_failure(request, error);
    } else {
        http_request_add_header(request, "WWW-Authenticate", "Basic realm=\"shoal-registry\"");
        oci_error_respond(request, OCI_UNAUTHORIZED, "wrong name or password");
    }
}

/* True: there are tokens here, and it is this service's that is asked for. */
static bool service_is_ours(struct http_request *request, const struct access *access,
                            const char *service)
{
    if (access == NULL)
        oci_error_respond_status(request, OCI_UNSUPPORTED, 404,
                                 "this registry gives no tokens: it is open to everybody");
    else if (service != NULL && strcmp(service, access->service) != 0)
        oci_error_respond_status(request, OCI_UNSUPPORTED, 400, "tokens here are for service=%s",
                                 access->service);
    else
        return true;
    return false;
}

void route_token_get(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct access *access = registry->access;
    struct access_identity identity = {0};
    struct access_scopes scopes = {0}, *unbroken = &scopes;
    struct error error = ERROR_INIT;
    if (!service_is_ours(request, access, http_request_query(request, "service")))
        return;
    http_request_query_each(request, "scope", add_scope, &unbroken);
    if (unbroken == NULL) {
        oci_error_respond_status(request, OCI_UNSUPPORTED, 400,
                                 "a scope is repository:NAME:ACTION,... and there are %d at most",
                                 SCOPES_MAX);
        return;
    }
    enum access_verdict verdict = access_identify(
        access, http_request_header(request, "Authorization"), now_s(), &identity, &error);
    /* A token is no password: it cannot be made to live longer here. */
    if (verdict == ACCESS_ALLOWED && identity.has_token) {
        verdict = ACCESS_WRONG_TOKEN;
        error_set(&error, ERROR_DENIED, "a token gets no other token");
    }
    if (verdict != ACCESS_ALLOWED) {
        access_tell_refusal(access, http_request_peer(request), verdict, identity.tried, &error);
        refuse_login(request, verdict, &error);
        return;
    }
    if (identity.user[0] != '\0')
        http_request_set_user(request, identity.user);
    give_token(request, access, identity.user, &scopes);
}

/* --- POST: errors are OAuth's (RFC 6749, section 5.2) --- */

static void refuse_form(struct http_request *request, int status, const char *code,
                        const char *message)
{
    struct json_object *body = json_object_new_object();
    json_object_object_add(body, "error", json_object_new_string(code));
    json_object_object_add(body, "error_description", json_object_new_string(message));
    http_request_respond_json(request, status, body);
}

static void refuse_form_login(struct http_request *request, enum access_verdict verdict,
                              const struct error *error)
{
    if (verdict != ACCESS_WRONG_PASSWORD) {
        refuse_login(request, verdict, error);
        return;
    }
    http_request_add_header(request, "WWW-Authenticate", "Basic realm=\"shoal-registry\"");
    refuse_form(request, 401, "invalid_grant", "wrong name or password");
}

static void wipe(char **text)
{
    if (*text != NULL)
        explicit_bzero(*text, strlen(*text));
    free(*text);
}

static void login_by_form(struct http_request *request, struct access *access, const char *body,
                          size_t length)
{
    AUTO_FREE char *name = NULL;
    AUTO_FREE char *scope = NULL;
    __attribute__((cleanup(wipe))) char *password = NULL;
    struct access_scopes scopes = {0};
    struct error error = ERROR_INIT;
    if (form_get(body, length, "scope", &scope) &&
        access_scopes_parse(scope, strlen(scope), &scopes) < 0) {
        refuse_form(request, 400, "invalid_scope", "a scope is repository:NAME:ACTION,...");
        return;
    }
    if (!form_get(body, length, "username", &name) ||
        !form_get(body, length, "password", &password)) {
        refuse_form(request, 400, "invalid_request", "username and password are needed");
        return;
    }
    enum access_verdict verdict = access_check_password(access, name, password, &error);
    if (verdict != ACCESS_ALLOWED) {
        access_tell_refusal(access, http_request_peer(request), verdict, name, &error);
        refuse_form_login(request, verdict, &error);
        return;
    }
    http_request_set_user(request, name);
    give_token(request, access, name, &scopes);
}

void route_token_post(struct http_request *request, void *data)
{
    struct registry *registry = data;
    AUTO_FREE char *grant = NULL;
    AUTO_FREE char *service = NULL;
    size_t length;
    const char *body = http_request_body(request, &length);
    form_get(body, length, "service", &service);
    if (!service_is_ours(request, registry->access, service))
        return;
    if (!form_get(body, length, "grant_type", &grant))
        refuse_form(request, 400, "invalid_request", "grant_type is needed");
    else if (strcmp(grant, "password") != 0)
        refuse_form(request, 400, "unsupported_grant_type",
                    "only grant_type=password is offered, no refresh tokens");
    else
        login_by_form(request, registry->access, body, length);
}
