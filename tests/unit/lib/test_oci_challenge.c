#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/oci_challenge.h"

static void a_bearer_challenge_is_read(void **state)
{
    (void)state;
    struct oci_challenge challenge;
    assert_true(oci_challenge_parse("Bearer realm=\"https://a.example/token\","
                                    "service=\"registry\",scope=\"repository:a/b:pull,push\"",
                                    &challenge));
    assert_int_equal(challenge.scheme, OCI_CHALLENGE_BEARER);
    assert_string_equal(challenge.realm, "https://a.example/token");
    assert_string_equal(challenge.service, "registry");
    assert_string_equal(challenge.scope, "repository:a/b:pull,push");
}

static void space_case_and_unknown_parameters_do_not_matter(void **state)
{
    (void)state;
    struct oci_challenge challenge;
    assert_true(oci_challenge_parse("  bEARER  Realm = \"r\\\"x\" , , error=insufficient_scope,"
                                    " service=plain",
                                    &challenge));
    assert_string_equal(challenge.realm, "r\"x");
    assert_string_equal(challenge.service, "plain");
    assert_string_equal(challenge.scope, "");
}

static void bearer_comes_before_basic(void **state)
{
    (void)state;
    struct oci_challenge challenge;
    assert_true(oci_challenge_parse("Basic realm=\"x\", Bearer realm=\"t\"", &challenge));
    assert_int_equal(challenge.scheme, OCI_CHALLENGE_BEARER);
    assert_string_equal(challenge.realm, "t");
    assert_true(oci_challenge_parse("Negotiate, Basic realm=\"x\"", &challenge));
    assert_int_equal(challenge.scheme, OCI_CHALLENGE_BASIC);
    assert_true(oci_challenge_parse("Basic", &challenge));
}

static void what_cannot_be_answered_is_refused(void **state)
{
    (void)state;
    struct oci_challenge challenge;
    char huge[4096];
    snprintf(huge, sizeof huge, "Bearer realm=\"%02000d\"", 1);
    static const char *const bad[] = {
        "",
        "Negotiate",
        "Bearer",
        "Bearer realm",
        "Bearer realm=",
        "Bearer realm=\"open",
        "Bearer realm=\"a\" service=\"b\"",
        "Bearer realm=\"a\\",
        "=",
        "Bearer realm=\"a\n\"",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(oci_challenge_parse(bad[i], &challenge));
    assert_false(oci_challenge_parse(huge, &challenge));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bearer_challenge_is_read),
        cmocka_unit_test(space_case_and_unknown_parameters_do_not_matter),
        cmocka_unit_test(bearer_comes_before_basic),
        cmocka_unit_test(what_cannot_be_answered_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
