#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/settings.h"

static char folder[] = "/tmp/shoal-settings.XXXXXX";
static char *path;

static int load(const char *text, struct registry_settings *ret_settings, struct error *error)
{
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
    if (registry_settings_load(path, ret_settings, error) < 0)
        return -1;
    if (registry_settings_check(ret_settings, error) == 0)
        return 0;
    registry_settings_release(ret_settings);
    return -1;
}

static void without_a_file_there_are_defaults(void **state)
{
    (void)state;
    struct registry_settings settings;
    assert_int_equal(registry_settings_load(NULL, &settings, NULL), 0);
    assert_string_equal(settings.state, "/var/lib/shoal/registry");
    assert_string_equal(settings.listen.address, "127.0.0.1");
    assert_int_equal(settings.listen.port, 5000);
    assert_null(settings.tls.certificate);
    assert_int_equal(registry_settings_check(&settings, NULL), 0);
    registry_settings_release(&settings);
}

static void a_file_changes_what_it_names(void **state)
{
    (void)state;
    struct registry_settings settings;
    assert_int_equal(load("{\"state\": \"/x\", \"listen\": {\"port\": 0},"
                          " \"limits\": {\"requests_per_second\": 10, \"burst\": 20},"
                          " \"policies\": [{\"repositories\": [\"**\"], \"quota\": \"1Gi\"}]}",
                          &settings, NULL),
                     0);
    assert_string_equal(settings.state, "/x");
    assert_string_equal(settings.listen.address, "127.0.0.1");
    assert_int_equal(settings.listen.port, 0);
    assert_int_equal(settings.limits.connections, 512);
    assert_int_equal(settings.policy_count, 1);
    registry_settings_release(&settings);
}

static void a_mistake_is_named_with_its_place(void **state)
{
    (void)state;
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    assert_int_equal(load("{\"listen\": {\"prot\": 1}}", &settings, &error), -1);
    assert_non_null(strstr(error.message, "/listen/prot"));
    assert_non_null(strstr(error.message, path));
    assert_int_equal(load("{\"policies\": [{\"quota\": \"1Gi\"}]}", &settings, &error), -1);
    assert_non_null(strstr(error.message, "repositories"));
    assert_int_equal(load("{\"listen\": ", &settings, &error), -1);
    assert_int_equal(registry_settings_load("/nowhere/at/all", &settings, &error), -1);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
}

static void what_belongs_together_is_asked_for(void **state)
{
    (void)state;
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    assert_int_equal(load("{\"tls\": {\"certificate\": \"c\"}}", &settings, &error), -1);
    assert_non_null(strstr(error.message, "tls.key (--tls-key)"));
    assert_int_equal(load("{\"tls\": {\"certificate\": \"c\", \"key\": \"k\","
                          " \"client_certificates\": \"required\"}}",
                          &settings, &error),
                     -1);
    assert_non_null(strstr(error.message, "tls.client_ca (--tls-client-ca)"));
    assert_int_equal(
        load("{\"tls\": {\"certificate\": \"c\", \"key\": \"k\", \"client_ca\": \"a\"}}", &settings,
             &error),
        -1);
    assert_non_null(strstr(error.message, "\"required\""));
    assert_int_equal(load("{\"limits\": {\"burst\": 1}}", &settings, &error), -1);
    assert_non_null(strstr(error.message, "requests_per_second"));
}

static char *pending(const char *running, const char *loaded)
{
    struct registry_settings before, after, copy;
    assert_int_equal(load(running, &before, NULL), 0);
    assert_int_equal(load(loaded, &after, NULL), 0);
    registry_settings_copy(&before, &copy);
    registry_settings_release(&before);
    char *names = registry_settings_pending(&copy, &after);
    registry_settings_release(&copy);
    registry_settings_release(&after);
    return names;
}

static void what_waits_for_the_next_start_is_named(void **state)
{
    (void)state;
    AUTO_FREE char *changed =
        pending("{\"limits\": {\"requests_per_second\": 10}, \"log\": {\"level\": \"info\"}}",
                "{\"listen\": {\"port\": 5001}, \"limits\": {\"requests_per_second\": 20},"
                " \"log\": {\"level\": \"debug\", \"access\": \"/a\"},"
                " \"tls\": {\"certificate\": \"c\", \"key\": \"k\"},"
                " \"access\": {\"htpasswd\": \"/u\", \"realm\": \"https://r/token\"}}");
    assert_string_equal(changed, "listen.port, tls.certificate, tls.key, access.htpasswd,"
                                 " access.realm, limits.requests_per_second, log.access,"
                                 " log.level");
}

static void what_is_taken_over_does_not_wait(void **state)
{
    (void)state;
    assert_null(pending("{\"limits\": {\"burst\": 0}}", "{}"));
    assert_null(pending("{\"tls\": {\"certificate\": \"c\", \"key\": \"k\"},"
                        " \"log\": {\"access\": \"/a\"}}",
                        "{\"tls\": {\"certificate\": \"d\", \"key\": \"l\"},"
                        " \"log\": {\"access\": \"/b\"},"
                        " \"policies\": [{\"repositories\": [\"**\"], \"quota\": \"1Gi\"}]}"));
}

static void assert_all_refused(const char *const (*cases)[2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct registry_settings settings;
        struct error error = ERROR_INIT;
        if (load(cases[i][0], &settings, &error) == 0)
            fail_msg("taken: %s", cases[i][0]);
        if (strstr(error.message, cases[i][1]) == NULL)
            fail_msg("%s: no \"%s\" in: %s", cases[i][0], cases[i][1], error.message);
    }
}

static void an_empty_section_or_list_opens_nothing(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"tls\": {}}", "plain HTTP"},
        {"{\"access\": {}}", "open to everybody"},
        {"{\"access\": {\"token_lifetime\": \"5m\"}}", "open to everybody"},
        {"{\"access\": {\"rules\": []}}", "\"rules\" is empty"},
        {"{\"access\": {\"htpasswd\": \"u\", \"rules\": []}}", "\"rules\" is empty"},
    };
    assert_all_refused(cases, ARRAY_LENGTH(cases));
}

static void what_could_never_match_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"policies\": [{\"repositories\": [\"a\", \"Team/**\"]}]}",
         "/policies/0/repositories/1"},
        {"{\"policies\": [{\"repositories\": [\"/team/x\"]}]}", "/policies/0/repositories/0"},
        {"{\"policies\": [{\"repositories\": [\"team/x/\"]}]}", "/policies/0/repositories/0"},
        {"{\"policies\": [{\"repositories\": [\"team//x\"]}]}", "/policies/0/repositories/0"},
        {"{\"policies\": [{\"repositories\": [\"localhost:5000/x\"]}]}", "no host"},
        {"{\"policies\": [{\"repositories\": []}]}", "/policies/0/repositories"},
        {"{\"policies\": [{\"repositories\": [\"**\"], \"immutable\": [\"[v\"]}]}",
         "/policies/0/immutable/0"},
        {"{\"policies\": [{\"repositories\": [\"**\"], \"retention\": {\"keep_tags\": "
         "[\"a/b\"]}}]}",
         "/policies/0/retention/keep_tags/0"},
        {"{\"access\": {\"rules\": [{\"users\": [], \"actions\": [\"catalog\"]}]}}",
         "/access/rules/0/users"},
        {"{\"access\": {\"rules\": [{\"users\": [\"a\"], \"actions\": []}]}}",
         "/access/rules/0/actions"},
        {"{\"access\": {\"rules\": [{\"users\": [\"a\"], \"repositories\": [\"Team\"],"
         " \"actions\": [\"pull\"]}]}}",
         "/access/rules/0/repositories/0"},
        {"{\"access\": {\"rules\": [{\"users\": [\"a\"], \"actions\": [\"catalog\"]},"
         " {\"users\": [\"a\"], \"actions\": [\"catalog\", \"pull\"]}]}}",
         "/access/rules/1: \"pull\""},
    };
    assert_all_refused(cases, ARRAY_LENGTH(cases));
}

static void patterns_that_can_match_are_taken(void **state)
{
    (void)state;
    struct registry_settings settings;
    assert_int_equal(
        load("{\"policies\": [{\"repositories\": [\"**\", \"*/x\", \"a__b.c-d/?\", \"te**am\"],"
             " \"immutable\": [\"v*\", \"?.0\", \"_X-1\"]}],"
             " \"access\": {\"rules\": [{\"users\": [\"a\"], \"actions\": [\"catalog\"]}]}}",
             &settings, NULL),
        0);
    registry_settings_release(&settings);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    path = xasprintf("%s/settings.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    free(path);
    return file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_file_there_are_defaults),
        cmocka_unit_test(a_file_changes_what_it_names),
        cmocka_unit_test(a_mistake_is_named_with_its_place),
        cmocka_unit_test(what_belongs_together_is_asked_for),
        cmocka_unit_test(what_waits_for_the_next_start_is_named),
        cmocka_unit_test(what_is_taken_over_does_not_wait),
        cmocka_unit_test(an_empty_section_or_list_opens_nothing),
        cmocka_unit_test(what_could_never_match_is_refused_with_its_place),
        cmocka_unit_test(patterns_that_can_match_are_taken),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
