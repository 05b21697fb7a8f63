/* Who may do what: rules, scopes, the Authorization header, the decision and its challenge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/access/access_internal.h"
#include "registry/access/form.h"
#include "registry/access/htpasswd.h"

#define PULL   ACCESS_BIT(ACCESS_PULL)
#define PUSH   ACCESS_BIT(ACCESS_PUSH)
#define DELETE ACCESS_BIT(ACCESS_DELETE)
#define NOW    ((uint64_t)1800000000)

static char folder[] = "/tmp/shoal-access.XXXXXX";

static void decode_settings(const char *json, struct access_settings *ret_settings)
{
    struct error error = ERROR_INIT;
    access_settings_set_defaults(ret_settings);
    if (json_parse_record(&access_settings_record, json, strlen(json), JSON_STRICT, ret_settings,
                          &error) < 0)
        fail_msg("%s: %s", json, error.message);
}

static const char some_rules[] =
    "{\"rules\": ["
    "{\"users\": [\"ann\"], \"repositories\": [\"**\"], \"actions\": [\"*\", \"catalog\"]},"
    "{\"users\": [\"ci\"], \"repositories\": [\"team/**\"], \"actions\": [\"push\"]},"
    "{\"users\": [\"ci\"], \"repositories\": [\"team/old\"], \"actions\": [\"delete\"]},"
    "{\"users\": [\"*\"], \"repositories\": [\"team/*\"], \"actions\": [\"pull\"]},"
    "{\"users\": [\"anonymous\"], \"repositories\": [\"public/**\"], \"actions\": [\"pull\"]}]}";

/* --- rules --- */

static void allowed_is_what_any_rule_allows(void **state)
{
    (void)state;
    static const struct {
        const char *user, *repository;
        unsigned allowed;
    } cases[] = {
        {"ann", "anything/at/all", PULL | PUSH | DELETE},
        {"ci", "team/web", PULL | PUSH},
        {"ci", "team/web/deep", PULL | PUSH},
        {"ci", "team/old", PULL | PUSH | DELETE},
        {"ci", "team", 0},
        {"ci", "public/x", PULL},
        {"ci", "private", 0},
        {"eve", "team/web", PULL},
        {"eve", "team/web/deep", 0},
        {"eve", "public/a/b", PULL},
        {NULL, "public/a/b", PULL},
        {NULL, "team/web", 0},
    };
    struct access_settings settings;
    decode_settings(some_rules, &settings);
    const struct access_rules rules = {settings.rules, settings.rule_count};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        assert_int_equal(access_rules_repository(&rules, cases[i].user, cases[i].repository),
                         cases[i].allowed);
    assert_true(access_rules_catalog(&rules, "ann"));
    assert_false(access_rules_catalog(&rules, "ci"));
    assert_false(access_rules_catalog(&rules, NULL));
    json_record_release(&access_settings_record, &settings);
}

static void without_rules_users_may_everything_and_others_nothing(void **state)
{
    (void)state;
    const struct access_rules none = {0};
    assert_int_equal(access_rules_repository(&none, "ann", "a"), PULL | PUSH | DELETE);
    assert_int_equal(access_rules_repository(&none, NULL, "a"), 0);
    assert_true(access_rules_catalog(&none, "ann"));
    assert_false(access_rules_catalog(&none, NULL));
}

static void settings_with_mistakes_are_refused(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "{\"rules\": [{\"users\": [\"a:b\"], \"actions\": [\"pull\"]}]}",
        "{\"rules\": [{\"users\": [\"a\"], \"actions\": [\"admin\"]}]}",
        "{\"rules\": [{\"users\": [\"a\"]}]}",
        "{\"rules\": [{\"actions\": [\"pull\"]}]}",
        "{\"rules\": [{\"users\": [\"a\"], \"actions\": [\"pull\"], \"deny\": true}]}",
        "{\"service\": \"a\\\"b\"}",
        "{\"service\": \"\"}",
        "{\"realm\": \"/token\"}",
        "{\"realm\": \"https://a/\\\"\"}",
        "{\"token_lifetime\": \"5s\"}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(broken); i++) {
        struct access_settings settings = {0};
        if (json_parse_record(&access_settings_record, broken[i], strlen(broken[i]), JSON_STRICT,
                              &settings, NULL) == 0)
            fail_msg("taken: %s", broken[i]);
    }
}

/* --- scopes --- */

static int parse(const char *text, struct access_scopes *ret_scopes)
{
    *ret_scopes = (struct access_scopes){0};
    return access_scopes_parse(text, strlen(text), ret_scopes);
}

static void a_scope_is_type_name_and_actions(void **state)
{
    (void)state;
    struct access_scopes scopes;
    assert_int_equal(parse("repository:team/web:pull,push", &scopes), 0);
    assert_int_equal(scopes.count, 1);
    assert_int_equal(access_scopes_find(&scopes, "team/web"), PULL | PUSH);
    assert_int_equal(access_scopes_find(&scopes, "team"), 0);
    assert_false(scopes.has_catalog);
    assert_int_equal(
        parse("repository:a:pull repository:b:* registry:catalog:* repository:a:delete", &scopes),
        0);
    assert_int_equal(scopes.count, 2);
    assert_int_equal(access_scopes_find(&scopes, "a"), PULL | DELETE);
    assert_int_equal(access_scopes_find(&scopes, "b"), PULL | PUSH | DELETE);
    assert_true(scopes.has_catalog);
    assert_int_equal(parse("", &scopes), 0);
    assert_int_equal(scopes.count, 0);
}

static void what_is_not_known_is_left_out(void **state)
{
    (void)state;
    struct access_scopes scopes;
    assert_int_equal(parse("repository(plugin):a:pull image:a:pull registry:other:* "
                           "registry:catalog:pull repository:Bad:pull repository:host:5000/a:pull "
                           "repository::pull",
                           &scopes),
                     0);
    assert_int_equal(scopes.count, 0);
    assert_false(scopes.has_catalog);
    assert_int_equal(parse("repository:a:pull,fly,", &scopes), 0);
    assert_int_equal(access_scopes_find(&scopes, "a"), PULL);
    assert_int_equal(parse("repository:a:", &scopes), 0);
    assert_int_equal(access_scopes_find(&scopes, "a"), 0);
}

static void scopes_of_no_form_or_too_many_are_refused(void **state)
{
    (void)state;
    struct access_scopes scopes;
    char many[1024] = "";
    char large[SCOPE_TEXT_MAX + 2];
    assert_int_equal(parse("repository", &scopes), -1);
    assert_int_equal(parse("repository:a", &scopes), -1);
    assert_int_equal(parse(":a:pull", &scopes), -1);
    for (int i = 0; i <= SCOPES_MAX; i++) {
        assert_int_equal(parse(many, &scopes), 0);
        snprintf(many + strlen(many), sizeof many - strlen(many), "repository:r%d:pull ", i);
    }
    assert_int_equal(parse(many, &scopes), -1);
    memset(large, ' ', sizeof large);
    large[sizeof large - 1] = '\0';
    assert_int_equal(parse(large, &scopes), -1);
}

/* --- the header --- */

static enum authorization_kind read_header(const char *header, struct authorization *ret)
{
    memset(ret, 0, sizeof *ret);
    return authorization_parse(header, header != NULL ? strlen(header) : 0, ret);
}

static void a_header_is_basic_or_bearer(void **state)
{
    (void)state;
    struct authorization authorization;
    assert_int_equal(read_header(NULL, &authorization), AUTHORIZATION_NONE);
    /* RFC 7617, section 2. */
    assert_int_equal(read_header("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", &authorization),
                     AUTHORIZATION_BASIC);
    assert_string_equal(authorization.name, "Aladdin");
    assert_string_equal(authorization.password, "open sesame");
    assert_int_equal(read_header("basic  YTpiOmM=", &authorization), AUTHORIZATION_BASIC);
    assert_string_equal(authorization.name, "a");
    assert_string_equal(authorization.password, "b:c");
    authorization_finish(&authorization);
    assert_string_equal(authorization.password, "");
    assert_int_equal(read_header("Bearer a.b.c", &authorization), AUTHORIZATION_BEARER);
    assert_int_equal(authorization.token_length, 5);
    assert_memory_equal(authorization.token, "a.b.c", 5);
}

static void other_headers_are_malformed(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "",
        " ",
        "Basic",
        "Basic ",
        "Bearer",
        "Bearer ",
        "Digest x",
        "BasicYTpi",
        "Basic YTpi=",
        "Basic YQ==" /* no colon */,
        "Basic YQA6Yg==" /* a NUL */,
        "Basic YTpi YTpi",
    };
    struct authorization authorization;
    for (size_t i = 0; i < ARRAY_LENGTH(broken); i++)
        assert_int_equal(read_header(broken[i], &authorization), AUTHORIZATION_MALFORMED);
    char plain[USER_NAME_MAX + PASSWORD_MAX + 8];
    memset(plain, 'a', sizeof plain);
    plain[USER_NAME_MAX] = ':'; /* one too many in front */
    AUTO_FREE char *encoded = base64_encode(plain, USER_NAME_MAX + 10);
    AUTO_FREE char *header = xasprintf("Basic %s", encoded);
    assert_int_equal(read_header(header, &authorization), AUTHORIZATION_MALFORMED);
    plain[USER_NAME_MAX] = 'a';
    plain[1] = ':';
    AUTO_FREE char *long_one = base64_encode(plain, 2 + PASSWORD_MAX);
    AUTO_FREE char *long_header = xasprintf("Basic %s", long_one);
    assert_int_equal(read_header(long_header, &authorization), AUTHORIZATION_MALFORMED);
}

static void a_form_gives_its_values(void **state)
{
    (void)state;
    static const char form[] = "a=1&bb=x%20y+z%3d&empty=&bad=%4&nul=%00&a=2&last=%C3%A9";
    char *value = NULL;
    static const struct {
        const char *key, *value;
    } cases[] = {{"a", "1"},    {"bb", "x y z="}, {"empty", ""}, {"last", "\xc3\xa9"},
                 {"bad", NULL}, {"nul", NULL},    {"b", NULL},   {"", NULL}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        bool found = form_get(form, strlen(form), cases[i].key, &value);
        assert_int_equal(found, cases[i].value != NULL);
        if (found) {
            assert_string_equal(value, cases[i].value);
            free(value);
        }
    }
    assert_false(form_get("", 0, "a", &value));
}

/* --- the decision --- */

static struct access *open_access(const char *more)
{
    AUTO_FREE char *file = xasprintf("%s/users", folder);
    AUTO_FREE char *json =
        xasprintf("{\"htpasswd\": \"%s\"%s%s}", file, more[0] != '\0' ? ", " : "", more);
    struct access_settings settings;
    struct access *access;
    decode_settings(json, &settings);
    assert_int_equal(access_create(&settings, folder, false, NULL, &access, NULL), 0);
    json_record_release(&access_settings_record, &settings);
    return access;
}

/* The rules of `some_rules`, as a member. */
static struct access *open_with_rules(void)
{
    AUTO_FREE char *rules = xstrndup(some_rules + 1, strlen(some_rules) - 2);
    return open_access(rules);
}

static char *basic(const char *user, const char *password)
{
    AUTO_FREE char *plain = xasprintf("%s:%s", user, password);
    AUTO_FREE char *encoded = base64_encode(plain, strlen(plain));
    return xasprintf("Basic %s", encoded);
}

static char *bearer(struct access *access, const char *user, const char *scope)
{
    struct access_scopes scopes = {0};
    AUTO_FREE char *token = NULL;
    assert_int_equal(access_scopes_parse(scope, strlen(scope), &scopes), 0);
    assert_int_equal(access_issue(access, user, &scopes, NOW, &token, NULL), 0);
    return xasprintf("Bearer %s", token);
}

/* Takes the header. */
static enum access_verdict judge(struct access *access, char *header, enum access_action action,
                                 const char *repository)
{
    struct access_identity identity = {0};
    struct error error = ERROR_INIT;
    enum access_verdict verdict = access_identify(access, header, NOW, &identity, &error);
    free(header);
    return verdict == ACCESS_ALLOWED ? access_decide(access, &identity, action, repository)
                                     : verdict;
}

static void a_password_opens_what_the_rules_allow(void **state)
{
    (void)state;
    struct access *access = open_with_rules();
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_PUSH, "team/web"), ACCESS_ALLOWED);
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_DELETE, "team/web"),
                     ACCESS_FORBIDDEN);
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_CATALOG, NULL), ACCESS_FORBIDDEN);
    assert_int_equal(judge(access, basic("ann", "ann!"), ACCESS_CATALOG, NULL), ACCESS_ALLOWED);
    assert_int_equal(judge(access, basic("ci", "ann!"), ACCESS_PUSH, "team/web"),
                     ACCESS_WRONG_PASSWORD);
    assert_int_equal(judge(access, basic("eve", "eve!"), ACCESS_PULL, "public/a"),
                     ACCESS_WRONG_PASSWORD);
    assert_int_equal(judge(access, xstrdup("Nonsense"), ACCESS_PULL, "public/a"),
                     ACCESS_WRONG_PASSWORD);
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_BASE, NULL), ACCESS_ALLOWED);
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_USER, NULL), ACCESS_ALLOWED);
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_UNDECLARED, NULL), ACCESS_FORBIDDEN);
    access_destroy(access);
}

static void everybody_may_pull_and_must_log_in_to_push(void **state)
{
    (void)state;
    struct access *access = open_with_rules();
    assert_int_equal(judge(access, NULL, ACCESS_BASE, NULL), ACCESS_UNKNOWN);
    assert_int_equal(judge(access, NULL, ACCESS_OPEN, NULL), ACCESS_ALLOWED);
    assert_int_equal(judge(access, NULL, ACCESS_USER, NULL), ACCESS_UNKNOWN);
    assert_int_equal(judge(access, NULL, ACCESS_PULL, "public/a"), ACCESS_ALLOWED);
    assert_int_equal(judge(access, NULL, ACCESS_PUSH, "public/a"), ACCESS_UNKNOWN);
    assert_int_equal(judge(access, NULL, ACCESS_PULL, "team/web"), ACCESS_UNKNOWN);
    const char *scope = "repository:public/a:pull,push";
    assert_int_equal(judge(access, bearer(access, "", scope), ACCESS_BASE, NULL), ACCESS_ALLOWED);
    assert_int_equal(judge(access, bearer(access, "", scope), ACCESS_PULL, "public/a"),
                     ACCESS_ALLOWED);
    assert_int_equal(judge(access, bearer(access, "", scope), ACCESS_PUSH, "public/a"),
                     ACCESS_NOT_GRANTED);
    assert_int_equal(judge(access, bearer(access, "", scope), ACCESS_USER, NULL), ACCESS_UNKNOWN);
    access_destroy(access);
}

static void a_token_opens_what_it_grants_while_the_rules_allow_it(void **state)
{
    (void)state;
    struct access *access = open_with_rules();
    const char *scope = "repository:team/web:pull,push,delete registry:catalog:*";
    assert_int_equal(judge(access, bearer(access, "ci", scope), ACCESS_PUSH, "team/web"),
                     ACCESS_ALLOWED);
    assert_int_equal(judge(access, bearer(access, "ci", scope), ACCESS_PUSH, "team/other"),
                     ACCESS_NOT_GRANTED);
    assert_int_equal(judge(access, bearer(access, "ci", scope), ACCESS_DELETE, "team/web"),
                     ACCESS_FORBIDDEN);
    assert_int_equal(judge(access, bearer(access, "ci", scope), ACCESS_CATALOG, NULL),
                     ACCESS_FORBIDDEN);
    assert_int_equal(judge(access, bearer(access, "ann", scope), ACCESS_CATALOG, NULL),
                     ACCESS_ALLOWED);
    assert_int_equal(judge(access, bearer(access, "ann", ""), ACCESS_CATALOG, NULL),
                     ACCESS_NOT_GRANTED);
    assert_int_equal(judge(access, bearer(access, "gone", ""), ACCESS_BASE, NULL),
                     ACCESS_WRONG_TOKEN);
    assert_int_equal(judge(access, xstrdup("Bearer a.b.c"), ACCESS_PULL, "public/a"),
                     ACCESS_WRONG_TOKEN);
    /* The rules change while it lives. */
    char *header = bearer(access, "ci", scope);
    AUTO_FREE char *json = xasprintf("{\"htpasswd\": \"%s\", \"rules\": [{\"users\": [\"ann\"], "
                                     "\"repositories\": [\"**\"], \"actions\": [\"*\"]}]}",
                                     access->users_path);
    struct access_settings settings;
    decode_settings(json, &settings);
    assert_int_equal(access_reload(access, &settings, NULL), 0);
    assert_int_equal(judge(access, header, ACCESS_PUSH, "team/web"), ACCESS_FORBIDDEN);
    json_record_release(&access_settings_record, &settings);
    access_destroy(access);
}

static void a_token_ends_with_the_password_it_was_made_for(void **state)
{
    (void)state;
    struct access *access = open_with_rules();
    char *of_ann = bearer(access, "ann", ""), *of_ci = bearer(access, "ci", "");
    char *of_nobody = bearer(access, "", "");
    char hash[HTPASSWD_HASH_MAX];
    assert_int_equal(htpasswd_make("another", 4, hash, NULL), 0);
    assert_int_equal(htpasswd_update(access->users_path, "ann", hash, NULL, NULL), 0);
    assert_int_equal(users_reload(access->users, NULL), 0);
    assert_int_equal(judge(access, of_ann, ACCESS_BASE, NULL), ACCESS_WRONG_TOKEN);
    assert_int_equal(judge(access, bearer(access, "ann", ""), ACCESS_BASE, NULL), ACCESS_ALLOWED);
    assert_int_equal(judge(access, of_ci, ACCESS_BASE, NULL), ACCESS_ALLOWED);
    assert_int_equal(judge(access, of_nobody, ACCESS_BASE, NULL), ACCESS_ALLOWED);
    access_destroy(access);
}

static void a_name_that_no_repository_has_is_for_the_route(void **state)
{
    (void)state;
    struct access *access = open_with_rules();
    assert_int_equal(judge(access, NULL, ACCESS_PULL, "Bad"), ACCESS_UNKNOWN);
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_PULL, "Bad"), ACCESS_ALLOWED);
    access_destroy(access);
}

static void a_reload_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct access *access = open_access("");
    struct access_settings settings;
    struct error error = ERROR_INIT;
    AUTO_FREE char *json = xasprintf("{\"htpasswd\": \"%s.other\"}", access->users_path);
    decode_settings(json, &settings);
    assert_int_equal(access_reload(access, &settings, &error), -1);
    assert_int_equal(judge(access, basic("ci", "ci!"), ACCESS_DELETE, "a"), ACCESS_ALLOWED);
    json_record_release(&access_settings_record, &settings);
    access_destroy(access);
}

enum { ROUNDS = 300 };

/* Known good all the time, whatever is read again meanwhile. */
static void *ask_often(void *data)
{
    struct access *access = data;
    size_t wrong = 0;
    for (int i = 0; i < ROUNDS; i++) {
        wrong += judge(access, basic("ci", "ci!"), ACCESS_PUSH, "team/web") != ACCESS_ALLOWED;
        wrong += judge(access, bearer(access, "ann", "repository:a:push"), ACCESS_PUSH, "a") !=
                 ACCESS_ALLOWED;
        wrong += judge(access, NULL, ACCESS_PULL, "public/a") != ACCESS_ALLOWED;
    }
    return (void *)wrong;
}

static void many_threads_ask_while_it_is_read_again(void **state)
{
    (void)state;
    struct access *access = open_with_rules();
    struct access_settings settings;
    AUTO_FREE char *json =
        xasprintf("{\"htpasswd\": \"%s\", %s", access->users_path, some_rules + 1);
    pthread_t threads[4];
    void *wrong;
    decode_settings(json, &settings);
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, access), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(access_reload(access, &settings, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    json_record_release(&access_settings_record, &settings);
    access_destroy(access);
}

static void a_challenge_says_where_and_what(void **state)
{
    (void)state;
    struct access *access = open_access("\"service\": \"s.test\"");
    struct access *named = open_access("\"realm\": \"https://r.test/token\"");
    const struct {
        struct access *access;
        const char *host;
        enum access_verdict verdict;
        enum access_action action;
        const char *repository, *text;
    } cases[] = {
        {access, "a.test:5000", ACCESS_UNKNOWN, ACCESS_BASE, NULL,
         "Bearer realm=\"http://a.test:5000/token\",service=\"s.test\""},
        {access, "[::1]:5000", ACCESS_UNKNOWN, ACCESS_PULL, "a/b",
         "Bearer "
         "realm=\"http://[::1]:5000/token\",service=\"s.test\",scope=\"repository:a/b:pull\""},
        {access, "a\",x=\"", ACCESS_WRONG_TOKEN, ACCESS_PUSH, "a",
         "Bearer realm=\"/token\",service=\"s.test\",scope=\"repository:a:pull,push\","
         "error=\"invalid_token\""},
        {access, NULL, ACCESS_NOT_GRANTED, ACCESS_DELETE, "a",
         "Bearer realm=\"/token\",service=\"s.test\",scope=\"repository:a:pull,delete\","
         "error=\"insufficient_scope\""},
        {access, "h", ACCESS_UNKNOWN, ACCESS_PULL, "Bad\"",
         "Bearer realm=\"http://h/token\",service=\"s.test\""},
        {named, "h", ACCESS_NOT_GRANTED, ACCESS_CATALOG, NULL,
         "Bearer "
         "realm=\"https://r.test/token\",service=\"shoal-registry\",scope=\"registry:catalog:*\""
         ",error=\"insufficient_scope\""},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        AUTO_FREE char *text = access_challenge(cases[i].access, cases[i].host, cases[i].verdict,
                                                cases[i].action, cases[i].repository);
        assert_string_equal(text, cases[i].text);
    }
    access_destroy(access);
    access_destroy(named);
}

static int set_up(void **state)
{
    (void)state;
    char hash[HTPASSWD_HASH_MAX];
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *file = xasprintf("%s/users", folder);
    static const char *const users[][2] = {{"ann", "ann!"}, {"ci", "ci!"}};
    for (size_t i = 0; i < ARRAY_LENGTH(users); i++) {
        if (htpasswd_make(users[i][1], 4, hash, NULL) < 0 ||
            htpasswd_update(file, users[i][0], hash, NULL, NULL) < 0)
            return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allowed_is_what_any_rule_allows),
        cmocka_unit_test(without_rules_users_may_everything_and_others_nothing),
        cmocka_unit_test(settings_with_mistakes_are_refused),
        cmocka_unit_test(a_scope_is_type_name_and_actions),
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(scopes_of_no_form_or_too_many_are_refused),
        cmocka_unit_test(a_header_is_basic_or_bearer),
        cmocka_unit_test(other_headers_are_malformed),
        cmocka_unit_test(a_form_gives_its_values),
        cmocka_unit_test(a_password_opens_what_the_rules_allow),
        cmocka_unit_test(everybody_may_pull_and_must_log_in_to_push),
        cmocka_unit_test(a_token_opens_what_it_grants_while_the_rules_allow_it),
        cmocka_unit_test(a_token_ends_with_the_password_it_was_made_for),
        cmocka_unit_test(a_name_that_no_repository_has_is_for_the_route),
        cmocka_unit_test(a_reload_that_fails_changes_nothing),
        cmocka_unit_test(many_threads_ask_while_it_is_read_again),
        cmocka_unit_test(a_challenge_says_where_and_what),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
