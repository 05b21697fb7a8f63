/* Who the OCI client says it is: docker's token authentication (the registry's 401 names a place
 * that gives tokens for a scope) and Basic. Tokens are kept by what they were for, until they end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "lib/oci_challenge.h"
#include "lib/oci_client_internal.h"
#include "lib/xalloc.h"

#define TOKEN_LIFE_MS   60000 /* of a token that does not say (docker's token specification) */
#define TOKEN_MARGIN_MS 5000
#define TOKEN_LIMIT     ((size_t)64 << 10)
/* Of one call: a long download may meet the end of some tokens. */
#define INTRODUCTIONS_MAX 32

struct oci_token {
    char *area; /* "default/hello", or "_catalog" */
    char *text;
    uint64_t ends_ms; /* of the loop's clock */
    LIST_ENTRY(oci_token) link;
};

static void token_destroy(struct oci_token *token)
{
    LIST_REMOVE(token, link);
    free(token->area);
    free(token->text);
    free(token);
}

static struct oci_token *find_token(const struct oci_client *client, const char *area)
{
    struct oci_token *token;
    LIST_FOREACH(token, &client->tokens, link)
    {
        if (strcmp(token->area, area) == 0)
            return token;
    }
    return NULL;
}

void oci_auth_set_login(struct oci_client *client, const char *username, const char *password)
{
    if (username == NULL)
        return;
    AUTO_FREE char *plain = xasprintf("%s:%s", username, password != NULL ? password : "");
    AUTO_FREE char *encoded = base64_encode(plain, strlen(plain));
    client->basic = xasprintf("Basic %s", encoded);
}

void oci_auth_finish(struct oci_client *client)
{
    while (!LIST_EMPTY(&client->tokens))
        token_destroy(LIST_FIRST(&client->tokens));
    free(client->basic);
}

/* "default/hello" of ".../v2/default/hello/blobs/sha256:..."; NULL when it is not this registry:
 * somebody else is told nothing. */
static char *area_of(const struct oci_client *client, const char *url)
{
    static const char *const ends[] = {"/blobs/", "/manifests/", "/tags/", "/referrers/", "?"};
    size_t prefix = strlen(client->url);
    if (strncmp(url, client->url, prefix) != 0 || strncmp(url + prefix, "/v2/", 4) != 0)
        return NULL;
    const char *path = url + prefix + 4;
    for (size_t i = 0; i < ARRAY_LENGTH(ends); i++) {
        const char *end = strstr(path, ends[i]);
        if (end != NULL)
            return xstrndup(path, (size_t)(end - path));
    }
    return xstrdup(path);
}

char *oci_auth_header(const struct oci_client *client, const char *url, char **ret_area)
{
    char *area = area_of(client, url);
    *ret_area = area;
    if (area == NULL)
        return NULL;
    const struct oci_token *token = find_token(client, area);
    if (token != NULL && token->ends_ms > uv_now(http_client_loop(client->http)))
        return xasprintf("Authorization: Bearer %s", token->text);
    if (client->wants_basic && client->basic != NULL)
        return xasprintf("Authorization: %s", client->basic);
    return NULL;
}

/* --- a token --- */

static bool is_plain_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

static int keep_token(struct oci_operation *operation, struct json_object *answer,
                      struct error *error)
{
    struct oci_client *client = operation->client;
    struct json_object *seconds;
    const char *text = text_of(answer, "token");
    if (text == NULL)
        text = text_of(answer, "access_token");
    if (text == NULL || text[0] == '\0' || !is_plain_text(text))
        return error_set(error, ERROR_PROTOCOL, "the token server's answer has no token");
    uint64_t life = TOKEN_LIFE_MS;
    if (json_object_object_get_ex(answer, "expires_in", &seconds) &&
        json_object_get_int64(seconds) > 0 && json_object_get_int64(seconds) < 1000000)
        life = (uint64_t)json_object_get_int64(seconds) * 1000;
    struct oci_token *token = find_token(client, operation->area);
    if (token != NULL)
        token_destroy(token);
    token = xcalloc(1, sizeof *token);
    token->area = xstrdup(operation->area);
    token->text = xstrdup(text);
    token->ends_ms = uv_now(http_client_loop(client->http)) + life -
                     (life > 2 * TOKEN_MARGIN_MS ? TOKEN_MARGIN_MS : life / 2);
    LIST_INSERT_HEAD(&client->tokens, token, link);
    return 0;
}

static void on_token(const struct http_client_response *response, void *data)
{
    struct oci_operation *operation = data;
    struct error error = ERROR_INIT;
    AUTO_JSON struct json_object *answer = NULL;
    operation->call = NULL;
    if (response->failed || response->status != 200) {
        bool is_refused = !response->failed && response->status == 401;
        if (http_response_check(response, &error) == 0)
            error_set(&error, ERROR_PROTOCOL, "unexpected status %d", response->status);
        if (is_refused)
            error.code = ERROR_DENIED;
        error_wrap(&error, "log in");
    } else if (json_parse(response->body, response->body_length, &answer, &error) < 0 ||
               keep_token(operation, answer, &error) < 0) {
        error_wrap(&error, "log in");
    } else {
        operation->attempt(operation);
        return;
    }
    oci_operation_fail_with(operation, &error);
}

/* Where a registry speaks TLS, its tokens do too. */
static bool realm_is_fine(const struct oci_client *client, const char *realm)
{
    return strncmp(realm, "https://", 8) == 0 ||
           (strncmp(realm, "http://", 7) == 0 && strncmp(client->url, "http://", 7) == 0);
}

static char *token_url(const struct oci_challenge *challenge)
{
    struct buffer url = {0};
    const struct {
        const char *name, *value;
    } parts[] = {{"service", challenge->service}, {"scope", challenge->scope}};
    char glue = strchr(challenge->realm, '?') != NULL ? '&' : '?';
    buffer_append_text(&url, challenge->realm);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        if (parts[i].value[0] == '\0')
            continue;
        AUTO_FREE char *value = http_encode_segment(parts[i].value);
        buffer_printf(&url, "%c%s=%s", glue, parts[i].name, value);
        glue = '&';
    }
    return buffer_take(&url);
}

static void fetch_token(struct oci_operation *operation, const struct oci_challenge *challenge)
{
    const struct oci_client *client = operation->client;
    struct error error = ERROR_INIT;
    AUTO_FREE char *url = token_url(challenge);
    AUTO_FREE char *header =
        client->basic != NULL ? xasprintf("Authorization: %s", client->basic) : NULL;
    const char *const headers[] = {header, NULL};
    struct http_client_request request = {
        .url = url, .headers = headers, .response_limit = TOKEN_LIMIT};
    operation->call = http_client_start(client->http, &request, on_token, operation, &error);
    if (operation->call == NULL)
        oci_operation_fail_with(operation, &error);
}

static void refuse(struct oci_operation *operation, const char *why)
{
    struct error error = ERROR_INIT;
    operation->call = NULL;
    error_set(&error, ERROR_DENIED, "%s", why);
    oci_operation_fail_with(operation, &error);
}

/* Whether this 401 is worth an introduction: not when the same request had one just now. */
static bool may_introduce(struct oci_operation *operation)
{
    bool again =
        operation->refused_url != NULL && strcmp(operation->refused_url, operation->sent_url) == 0;
    free(operation->refused_url);
    operation->refused_url = xstrdup(operation->sent_url);
    return !again && ++operation->introductions <= INTRODUCTIONS_MAX;
}

static void forget_refusal(struct oci_operation *operation)
{
    if (operation->refused_url == NULL || strcmp(operation->refused_url, operation->sent_url) != 0)
        return;
    free(operation->refused_url);
    operation->refused_url = NULL;
}

bool oci_auth_answer(struct oci_operation *operation, const struct http_client_response *response)
{
    static const char no_login[] = "the registry wants a login: give the name and password of a "
                                   "user";
    struct oci_client *client = operation->client;
    struct oci_challenge challenge;
    const char *header =
        response->failed ? NULL : http_response_header(response, "WWW-Authenticate");
    if (response->failed || response->status != 401 || operation->area == NULL || header == NULL) {
        forget_refusal(operation);
        return false;
    }
    if (!may_introduce(operation) || !oci_challenge_parse(header, &challenge)) {
        refuse(operation, client->basic == NULL ? no_login
                                                : "the registry does not allow this to the user "
                                                  "it was given");
        return true;
    }
    operation->call = NULL;
    if (challenge.scheme == OCI_CHALLENGE_BEARER && realm_is_fine(client, challenge.realm)) {
        fetch_token(operation, &challenge);
    } else if (challenge.scheme == OCI_CHALLENGE_BEARER) {
        refuse(operation, "the registry speaks TLS and asks for a login without it");
    } else if (client->basic == NULL) {
        refuse(operation, no_login);
    } else {
        client->wants_basic = true;
        operation->attempt(operation);
    }
    return true;
}
