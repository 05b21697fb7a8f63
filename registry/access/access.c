#include "registry/access/access.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "registry/access/access_internal.h"
#include "registry/oci_error.h"

enum { RULES_MAX = 1000, REMEMBERED_MS = 60000 };

#define DEFAULT_SERVICE "shoal-registry"

/* Both go into quoted strings of headers. */
static const char *check_service(const char *value)
{
    size_t length = strlen(value);
    bool is_plain = true;
    for (size_t i = 0; i < length; i++)
        is_plain =
            is_plain && value[i] > ' ' && value[i] < 0x7f && strchr("\"\\,", value[i]) == NULL;
    return length > 0 && length < 256 && is_plain ? NULL : "a word of 1 to 255 ASCII characters";
}

static const char *check_realm(const char *value)
{
    bool is_url = strncasecmp(value, "http://", 7) == 0 || strncasecmp(value, "https://", 8) == 0;
    return is_url && check_service(value) == NULL
               ? NULL
               : "an absolute URL (https://registry.example/token)";
}

static const struct json_field settings_fields[] = {
    JSON_FIELD(struct access_settings, htpasswd, "htpasswd", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct access_settings, service, "service", JSON_TEXT, .check = check_service),
    JSON_FIELD(struct access_settings, realm, "realm", JSON_TEXT, .check = check_realm),
    JSON_FIELD(struct access_settings, token_lifetime, "token_lifetime", JSON_DURATION,
               .min = 60000, .max = 86400000),
    JSON_FIELD(struct access_settings, token_key, "token_key", JSON_TEXT, .flags = 0),
    JSON_FIELD_LIST(struct access_settings, rules, rule_count, "rules", &access_rule_record,
                    .max = RULES_MAX,
                    .present_offset = offsetof(struct access_settings, has_rules)),
    JSON_FIELD_END,
};
const struct json_record access_settings_record = {sizeof(struct access_settings), settings_fields};

void access_settings_set_defaults(struct access_settings *settings)
{
    *settings = (struct access_settings){.token_lifetime = 300000};
}

bool access_settings_are_used(const struct access_settings *settings)
{
    return settings->htpasswd != NULL || settings->rule_count > 0;
}

int access_settings_check(const struct access_settings *settings, bool is_there,
                          struct error *error)
{
    if (is_there && !settings->has_rules && !access_settings_are_used(settings))
        return error_set(error, ERROR_INVALID,
                         "access: without \"htpasswd\" or \"rules\" the registry would be open to "
                         "everybody: give one, or leave all of \"access\" out");
    /* Who takes out the last rule does not mean that users may do everything from then on. */
    if (settings->has_rules && settings->rule_count == 0)
        return error_set(error, ERROR_INVALID,
                         "access: \"rules\" is empty, so that nobody could do anything: give a "
                         "rule, or leave \"rules\" out to let every user do everything");
    return access_rules_check(settings->rules, settings->rule_count, error);
}

/* A misspelt name allows nobody anything, which is safe and hard to see. */
static void warn_of_strangers(struct access *access, const struct access_settings *settings)
{
    char mark[USERS_MARK_MAX];
    for (size_t i = 0; i < settings->rule_count; i++) {
        const struct json_strings *names = &settings->rules[i].users;
        for (size_t j = 0; j < names->count; j++) {
            bool is_name = user_name_is_valid(names->items[j]);
            if (is_name &&
                (access->users == NULL || !users_mark(access->users, names->items[j], mark)))
                log_warn("a rule names a user who is not in the file of users", "user",
                         names->items[j]);
        }
    }
}

static int open_parts(struct access *access, const struct access_settings *settings,
                      const char *state, struct error *error)
{
    AUTO_FREE char *key = settings->token_key != NULL ? xstrdup(settings->token_key)
                                                      : xasprintf("%s/token.key", state);
    if (token_key_load(key, settings->token_key == NULL, &access->key, error) < 0)
        return -1;
    if (settings->htpasswd == NULL)
        return 0;
    return users_htpasswd_open(settings->htpasswd, &access->users, error);
}

int access_create(const struct access_settings *settings, const char *state, bool is_tls,
                  atomic_ullong *refused, struct access **ret_access, struct error *error)
{
    struct access *access = xcalloc(1, sizeof *access);
    access->service = xstrdup(settings->service != NULL ? settings->service : DEFAULT_SERVICE);
    access->realm = xstrdup(settings->realm);
    access->scheme = is_tls ? "https" : "http";
    access->token_lifetime_s = settings->token_lifetime / 1000;
    access->users_path = xstrdup(settings->htpasswd);
    access->signatures = remembered_create(REMEMBERED_MS);
    access->refusals = refusals_create(refused);
    pthread_rwlock_init(&access->lock, NULL);
    access_rules_copy(settings->rules, settings->rule_count, &access->rules);
    if (open_parts(access, settings, state, error) < 0) {
        access_destroy(access);
        return -1;
    }
    warn_of_strangers(access, settings);
    *ret_access = access;
    return 0;
}

int access_reload(struct access *access, const struct access_settings *settings,
                  struct error *error)
{
    const char *path = settings->htpasswd != NULL ? settings->htpasswd : "";
    if (strcmp(path, access->users_path != NULL ? access->users_path : "") != 0)
        return error_set(error, ERROR_UNSUPPORTED,
                         "access: another \"htpasswd\" file counts at the next start only");
    if (access->users != NULL && users_reload(access->users, error) < 0)
        return -1;
    struct access_rules rules;
    access_rules_copy(settings->rules, settings->rule_count, &rules);
    pthread_rwlock_wrlock(&access->lock);
    struct access_rules before = access->rules;
    access->rules = rules;
    pthread_rwlock_unlock(&access->lock);
    access_rules_release(&before);
    warn_of_strangers(access, settings);
    return 0;
}

void access_destroy(struct access *access)
{
    if (access == NULL)
        return;
    users_destroy(access->users);
    token_key_destroy(access->key);
    remembered_destroy(access->signatures);
    refusals_destroy(access->refusals);
    pthread_rwlock_destroy(&access->lock);
    access_rules_release(&access->rules);
    free(access->service);
    free(access->realm);
    free(access->users_path);
    free(access);
}

/* --- requests --- */

static void refuse(struct http_request *request, const struct access *access,
                   enum access_verdict verdict, const struct error *why)
{
    enum access_action action = (enum access_action)http_request_tag(request);
    const char *message = verdict == ACCESS_WRONG_PASSWORD ? "wrong name or password"
                          : verdict == ACCESS_WRONG_TOKEN  ? why->message
                          : verdict == ACCESS_NOT_GRANTED
                              ? "the token does not allow this: ask for one that does, or log in"
                              : "log in first";
    AUTO_FREE char *challenge =
        access_challenge(access, http_request_header(request, "Host"), verdict, action,
                         http_request_parameter(request, "name"));
    http_request_add_header(request, "WWW-Authenticate", challenge);
    http_request_add_header(request, "Docker-Distribution-Api-Version", "registry/2.0");
    oci_error_respond(request, OCI_UNAUTHORIZED, "%s", message);
}

static void respond(struct http_request *request, const struct access *access,
                    enum access_verdict verdict, const struct error *error)
{
    const char *repository = http_request_parameter(request, "name");
    const char *action = access_action_name((enum access_action)http_request_tag(request));
    switch (verdict) {
    case ACCESS_FORBIDDEN:
        oci_error_respond(request, OCI_DENIED,
                          "user \"%s\" may not do this: no rule allows \"%s\"%s%s",
                          http_request_user(request) != NULL ? http_request_user(request) : "",
                          action != NULL ? action : "catalog", repository != NULL ? " in " : "",
                          repository != NULL ? repository : "");
        break;
    case ACCESS_BUSY:
        http_request_add_header(request, "Retry-After", "1");
        oci_error_respond(request, OCI_TOOMANYREQUESTS, "too many log in at once: try again");
        break;
    case ACCESS_FAILED:
        oci_error_respond_failure(request, error);
        break;
    default:
        refuse(request, access, verdict, error);
        break;
    }
}

static enum access_verdict judge(struct http_request *request, struct access *access,
                                 enum access_action action, const char *repository,
                                 struct access_identity *ret_identity, struct error *error)
{
    enum access_verdict verdict =
        access_identify(access, http_request_header(request, "Authorization"),
                        clock_wall_ms(clock_system()) / 1000, ret_identity, error);
    return verdict == ACCESS_ALLOWED ? access_decide(access, ret_identity, action, repository)
                                     : verdict;
}

int access_admit(struct http_request *request, struct access *access)
{
    enum access_action action = (enum access_action)http_request_tag(request);
    struct access_identity identity = {0};
    struct error error = ERROR_INIT;
    if (access == NULL || action == ACCESS_OPEN)
        return 0;
    enum access_verdict verdict =
        judge(request, access, action, http_request_parameter(request, "name"), &identity, &error);
    if (identity.user[0] != '\0')
        http_request_set_user(request, identity.user);
    if (verdict == ACCESS_ALLOWED)
        return 0;
    access_tell_refusal(access, http_request_peer(request), verdict, identity.tried, &error);
    respond(request, access, verdict, &error);
    return -1;
}

bool access_allows(struct http_request *request, struct access *access, const char *repository,
                   enum access_action action)
{
    struct access_identity identity = {0};
    struct error error = ERROR_INIT;
    return access == NULL ||
           judge(request, access, action, repository, &identity, &error) == ACCESS_ALLOWED;
}
