#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/api/constraint.h"
#include "lib/cleanup.h"

/* Read, and written again. */
static void expect_text(const char *text, const char *written)
{
    struct api_constraint constraint;
    struct error error = ERROR_INIT;
    if (api_constraint_parse(text, &constraint, &error) < 0)
        fail_msg("%s", error.message);
    AUTO_FREE char *again = api_constraint_text(&constraint);
    assert_string_equal(again, written);
    api_constraint_release(&constraint);
}

static void expect_refusal(const char *text, const char *part)
{
    struct api_constraint constraint;
    struct error error = ERROR_INIT;
    assert_int_equal(api_constraint_parse(text, &constraint, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    if (strstr(error.message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void reads_all_forms(void **state)
{
    (void)state;
    expect_text("label.zone == a", "label.zone == a");
    expect_text("  label.zone==a ", "label.zone == a");
    expect_text("label.a/b.c-d_e != x", "label.a/b.c-d_e != x");
    expect_text("label.zone in a,b", "label.zone in (a, b)");
    expect_text("label.zone in (a, \"b c\")", "label.zone in (a, \"b c\")");
    expect_text("node ~ rack1-*", "node ~ rack1-*");
    expect_text("arch == arm64", "arch == arm64");
    expect_text("accel != tcg", "accel != tcg");
    expect_text("family in (shoal)", "family in (shoal)");
    expect_text("service == cache", "service == cache");
    expect_text("label.x == \"in\"", "label.x == in");
}

static void refuses_the_rest_and_says_where(void **state)
{
    (void)state;
    expect_refusal("", "it ends at character 1");
    expect_refusal("zone == a", "found \"zone\" at character 1: allowed is what is asked about");
    expect_refusal("label. == a", "found \"label.\" at character 1");
    expect_refusal("label.zone", "it ends at character 11: allowed are ==, !=, in, ~");
    expect_refusal("label.zone = a", "found \"=\" at character 12");
    expect_refusal("label.zone inside a", "found \"inside\"");
    expect_refusal("label.zone ==", "it ends at character 14: allowed is a value");
    expect_refusal("label.zone == a b", "found \"b\" at character 17: allowed is one value");
    expect_refusal("label.zone == a, b", "several are asked for with in (a, b)");
    expect_refusal("label.zone in (a, b", "allowed are , and )");
    expect_refusal("label.zone in (a b)", "allowed are , and )");
    expect_refusal("label.zone in a,", "allowed is a value");
    expect_refusal("label.zone == \"a", "allowed is a value");
    expect_refusal("label.zone == a\nb", "no control characters: found one at character 16");
}

static bool holds(const char *text, const char *value)
{
    struct api_constraint constraint;
    assert_int_equal(api_constraint_parse(text, &constraint, NULL), 0);
    bool result = api_constraint_holds(&constraint, value);
    api_constraint_release(&constraint);
    return result;
}

static void of_a_label_that_is_not_there_only_unequal_holds(void **state)
{
    (void)state;
    assert_true(holds("label.x != a", NULL));
    assert_false(holds("label.x == a", NULL));
    assert_false(holds("label.x in a, b", NULL));
    assert_false(holds("label.x ~ **", NULL));
    assert_true(holds("label.x ~ **", ""));
    assert_true(holds("label.x in a, b", "b"));
    assert_false(holds("label.x in a, b", "ab"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_forms),
        cmocka_unit_test(refuses_the_rest_and_says_where),
        cmocka_unit_test(of_a_label_that_is_not_there_only_unequal_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
