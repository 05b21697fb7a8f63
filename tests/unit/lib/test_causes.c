/* The causes that agents report. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/agent.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static void every_cause_has_a_name_that_fits_and_a_meaning(void **state)
{
    const struct instance_cause *cause;
    (void)state;
    for (size_t i = 0; (cause = instance_cause_at(i)) != NULL; i++) {
        assert_true(strlen(cause->name) < CAUSE_MAX);
        assert_int_equal(strspn(cause->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(cause->name));
        assert_true(strlen(cause->meaning) > 0);
        /* Each name once. */
        assert_string_equal(instance_cause_meaning(cause->name), cause->meaning);
    }
    assert_string_equal(instance_cause_meaning("of_another_version"), "");
}

static void every_cause_stands_in_the_manual(void **state)
{
    AUTO_FREE char *manual = NULL;
    struct error error = ERROR_INIT;
    const struct instance_cause *cause;
    (void)state;
    if (file_read("docs/agent.md", 1 << 20, &manual, NULL, &error) < 0)
        fail_msg("%s", error.message);
    for (size_t i = 0; (cause = instance_cause_at(i)) != NULL; i++) {
        AUTO_FREE char *quoted = xasprintf("`%s`", cause->name);
        if (strstr(manual, quoted) == NULL)
            fail_msg("docs/agent.md does not tell of the cause %s", cause->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cause_has_a_name_that_fits_and_a_meaning),
        cmocka_unit_test(every_cause_stands_in_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
