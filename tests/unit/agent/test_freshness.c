/* Which word of a scheduler an agent takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/freshness.h"

static const struct freshness applied = {"c1", 3, 40};

static int judge(const char *cluster, uint64_t term, uint64_t revision, struct error *error)
{
    struct freshness offered = {.term = term, .revision = revision};
    strncpy(offered.cluster, cluster, sizeof offered.cluster - 1);
    return freshness_judge(&applied, &offered, "assignment", error);
}

static void a_newer_revision_is_taken(void **state)
{
    (void)state;
    assert_int_equal(judge("c1", 3, 41, NULL), 1);
}

static void a_newer_term_is_taken_whatever_its_revision(void **state)
{
    (void)state;
    assert_int_equal(judge("c1", 4, 1, NULL), 1);
}

static void the_same_again_is_known(void **state)
{
    (void)state;
    assert_int_equal(judge("c1", 3, 40, NULL), 0);
}

static void an_older_revision_is_refused_with_both_numbers(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    assert_int_equal(judge("c1", 3, 39, &error), -1);
    assert_int_equal(error.code, ERROR_STALE);
    assert_non_null(strstr(error.message, "term 3 revision 39"));
    assert_non_null(strstr(error.message, "term 3 revision 40"));
}

static void an_older_term_is_refused_whatever_its_revision(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    assert_int_equal(judge("c1", 2, 4000, &error), -1);
    assert_int_equal(error.code, ERROR_STALE);
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    assert_int_equal(judge("c2", 9, 9, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, "c2"));
}

static void a_new_agent_takes_anything(void **state)
{
    (void)state;
    struct freshness nothing = {0};
    assert_int_equal(freshness_judge(&nothing, &applied, "assignment", NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newer_revision_is_taken),
        cmocka_unit_test(a_newer_term_is_taken_whatever_its_revision),
        cmocka_unit_test(the_same_again_is_known),
        cmocka_unit_test(an_older_revision_is_refused_with_both_numbers),
        cmocka_unit_test(an_older_term_is_refused_whatever_its_revision),
        cmocka_unit_test(another_cluster_is_refused),
        cmocka_unit_test(a_new_agent_takes_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
