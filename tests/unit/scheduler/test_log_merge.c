/* Lines of several logs in the order of their times. */
#include "scheduler/log_merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void add(struct log_merge *merge, uint64_t time_ms, uint64_t arrived_ms, const char *text)
{
    log_merge_add(merge, time_ms, arrived_ms, text, 1);
}

static void all_are_put_in_order(void **state)
{
    (void)state;
    struct log_merge merge = {0};
    AUTO_BUFFER struct buffer text = {0};
    add(&merge, 10, 1, "b");
    add(&merge, 30, 1, "d");
    add(&merge, 5, 2, "a");
    add(&merge, 30, 2, "e"); /* as it came */
    add(&merge, 20, 2, "c");
    log_merge_take(&merge, UINT64_MAX, &text);
    assert_string_equal(buffer_text(&text), "abcde");
    assert_int_equal(merge.bytes, 0);
    log_merge_finish(&merge);
}

static void a_line_waits_for_older_ones_of_others(void **state)
{
    (void)state;
    struct log_merge merge = {0};
    AUTO_BUFFER struct buffer text = {0};
    add(&merge, 20, 1, "b");
    add(&merge, 40, 5, "d");
    log_merge_take(&merge, 1, &text);
    assert_string_equal(buffer_text(&text), "");
    add(&merge, 10, 6, "a");
    add(&merge, 30, 6, "c");
    log_merge_take(&merge, 2, &text);
    assert_string_equal(buffer_text(&text), "ab");
    log_merge_take(&merge, 6, &text);
    assert_string_equal(buffer_text(&text), "abcd");
    log_merge_finish(&merge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_put_in_order),
        cmocka_unit_test(a_line_waits_for_older_ones_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
