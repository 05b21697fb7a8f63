#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/counters.h"

static void ids_of_ours_are_known(void **state)
{
    (void)state;
    struct document_counters counters = {0};
    counters_begin(&counters, 1);
    counters.instances = 5;
    assert_true(counters_know(&counters, 1, "000100000005"));
    assert_false(counters_know(&counters, 1, "000100000006"));
    assert_false(counters_know(&counters, 1, "000200000001"));
}

static void what_was_made_after_the_backup_is_not_known(void **state)
{
    (void)state;
    struct document_counters counters = {.instances = 5, .starts = 2, .term = 1};
    counters_begin(&counters, 2);
    assert_true(counters.starts > 3);
    counters.instances = 9;
    assert_true(counters_know(&counters, 2, "000100000005"));
    assert_false(counters_know(&counters, 2, "000100000006"));
    assert_true(counters_know(&counters, 2, "000200000009"));
}

/* The backup was made before the first instance: nothing that runs is known, however many are
 * made later. */
static void an_empty_backup_knows_nothing(void **state)
{
    (void)state;
    struct document_counters counters = {.starts = 1, .term = 1};
    counters_begin(&counters, 2);
    counters.instances = 3;
    assert_false(counters_know(&counters, 2, "000100000001"));
    counters_begin(&counters, 2);
    assert_false(counters_know(&counters, 2, "000100000001"));
}

static void the_oldest_of_several_backups_counts(void **state)
{
    (void)state;
    struct document_counters counters = {.starts = 1, .term = 1};
    counters_begin(&counters, 2);
    counters.instances = 7;
    counters_begin(&counters, 3);
    assert_false(counters_know(&counters, 3, "000100000004"));
    assert_true(counters_know(&counters, 3, "000300000007"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_ours_are_known),
        cmocka_unit_test(what_was_made_after_the_backup_is_not_known),
        cmocka_unit_test(an_empty_backup_knows_nothing),
        cmocka_unit_test(the_oldest_of_several_backups_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
