#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/glob.h"

static void globs_match_whole_texts(void **state)
{
    (void)state;
    assert_true(glob_matches("team/app", "team/app"));
    assert_false(glob_matches("team/app", "team/app2"));
    assert_false(glob_matches("team/app", "team/ap"));
    assert_true(glob_matches("", ""));
    assert_false(glob_matches("", "a"));
    assert_true(glob_matches("v?", "v1"));
    assert_false(glob_matches("v?", "v"));
    assert_false(glob_matches("a?b", "a/b"));
}

static void one_star_stays_within_a_component(void **state)
{
    (void)state;
    assert_true(glob_matches("team/*", "team/app"));
    assert_false(glob_matches("team/*", "team/app/sub"));
    assert_true(glob_matches("*", "app"));
    assert_false(glob_matches("*", "team/app"));
    assert_true(glob_matches("v*.*", "v1.2"));
    assert_true(glob_matches("*-rc*", "v1-rc-rc2"));
    assert_true(glob_matches("a*b*c", "aXbXbc"));
    assert_false(glob_matches("a*b*c", "aXbXb"));
}

static void two_stars_cross_components(void **state)
{
    (void)state;
    assert_true(glob_matches("**", ""));
    assert_true(glob_matches("**", "a/b/c"));
    assert_true(glob_matches("team/**", "team/a/b"));
    assert_false(glob_matches("team/**", "team"));
    assert_true(glob_matches("**/app", "a/b/app"));
    assert_false(glob_matches("**/app", "app"));
    assert_true(glob_matches("**/x*/end", "a/xb/c/xd/end"));
    assert_true(glob_matches("a**z", "a/b/z"));
    assert_true(glob_matches("*/**", "a/b/c"));
    assert_true(glob_matches("a*/**/z", "ab/c/d/z"));
}

/* A pattern that would take a naive matcher for ever. */
static void many_stars_end_in_time(void **state)
{
    (void)state;
    char text[241];
    memset(text, 'a', 240);
    text[240] = '\0';
    assert_false(glob_matches("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
    assert_false(glob_matches("a**a**a**a**a**a**a**a**a**a**a**a**a**a**b", text));
    assert_true(glob_matches("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a", text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_whole_texts),
        cmocka_unit_test(one_star_stays_within_a_component),
        cmocka_unit_test(two_stars_cross_components),
        cmocka_unit_test(many_stars_end_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
