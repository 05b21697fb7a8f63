/* The newest lines of several logs. */
#include "scheduler/log_tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ONE                        "0001000000a1"
#define OTHER                      "0001000000a2"
#define AT(second, instance, rest) "2026-11-26T02:00:0" #second ".000Z " instance " " rest "\n"

static void keep(const char *lines, uint64_t count, const char *wanted)
{
    AUTO_BUFFER struct buffer text = {0};
    buffer_append_text(&text, lines);
    log_tail_keep(&text, count);
    assert_string_equal(buffer_text(&text), wanted);
}

static void the_newest_of_all_are_kept(void **state)
{
    static const char lines[] =
        AT(1, ONE, "L a") AT(2, OTHER, "L b") AT(3, ONE, "M c") AT(4, OTHER, "P d");
    (void)state;
    keep(lines, 3, AT(2, OTHER, "L b") AT(3, ONE, "M c") AT(4, OTHER, "P d"));
    keep(lines, 1, AT(4, OTHER, "P d"));
    keep(lines, 0, "");
    keep(lines, 4, lines);
    keep(lines, 100, lines);
    keep("", 3, "");
}

static void failures_are_kept_and_not_counted(void **state)
{
    (void)state;
    keep(AT(1, ONE, "L a") AT(2, OTHER, "F gone") AT(3, ONE, "L b") AT(4, OTHER, "F gone"), 1,
         AT(2, OTHER, "F gone") AT(3, ONE, "L b") AT(4, OTHER, "F gone"));
}

/* Who breaks off right behind them goes on there, and is not sent what was left out. */
static void where_readers_are_is_kept(void **state)
{
    (void)state;
    keep(AT(1, ONE, "R 1-2-3-0") AT(1, ONE, "L a") AT(2, OTHER, "R 4-5-6-1") AT(2, ONE, "L b")
             AT(3, ONE, "L c") AT(4, ONE, "R 1-2-9-0"),
         1,
         AT(2, ONE, "R 1-2-3-2") AT(2, OTHER, "R 4-5-6-1") AT(3, ONE, "L c")
             AT(4, ONE, "R 1-2-9-0"));
    /* Without lines, nothing is left to count from but the last positions. */
    keep(AT(1, ONE, "R 1-2-3-0") AT(1, ONE, "L a") AT(4, ONE, "R 1-2-9-0"), 0,
         AT(4, ONE, "R 1-2-9-0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_of_all_are_kept),
        cmocka_unit_test(failures_are_kept_and_not_counted),
        cmocka_unit_test(where_readers_are_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
