/* A growing run of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"

static void an_untouched_buffer_is_empty_text(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER buffer = {0};
    assert_string_equal(buffer_text(&buffer), "");
    buffer_clear(&buffer);
    buffer_consume(&buffer, 0);
    AUTO_FREE char *taken = buffer_take(&buffer);
    assert_string_equal(taken, "");
}

static void bytes_add_up_and_end_with_a_nul(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER buffer = {0};
    buffer_append(&buffer, "a\0b", 3);
    buffer_append_text(&buffer, "cd");
    buffer_printf(&buffer, "-%d-%s", 42, "");
    assert_int_equal(buffer.length, 9);
    assert_memory_equal(buffer.data, "a\0bcd-42-", 10);
    buffer_append(&buffer, NULL, 0);
    assert_int_equal(buffer.length, 9);
}

static void it_grows_far_beyond_its_first_room(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER buffer = {0};
    for (int i = 0; i < 10000; i++)
        buffer_printf(&buffer, "%04d", i);
    assert_int_equal(buffer.length, 40000);
    assert_int_equal(strlen(buffer.data), 40000);
    assert_string_equal(buffer.data + 39996, "9999");
}

static void consuming_drops_from_the_front(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER buffer = {0};
    buffer_append_text(&buffer, "one two");
    buffer_consume(&buffer, 4);
    assert_string_equal(buffer_text(&buffer), "two");
    buffer_consume(&buffer, 3);
    assert_string_equal(buffer_text(&buffer), "");
    assert_int_equal(buffer.length, 0);
}

static void taking_leaves_it_empty_and_usable(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER buffer = {0};
    buffer_append_text(&buffer, "mine");
    AUTO_FREE char *taken = buffer_take(&buffer);
    assert_string_equal(taken, "mine");
    buffer_append_text(&buffer, "again");
    assert_string_equal(buffer_text(&buffer), "again");
    assert_string_equal(taken, "mine");
}

static void clearing_keeps_the_memory(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER buffer = {0};
    buffer_append_text(&buffer, "text");
    char *data = buffer.data;
    buffer_clear(&buffer);
    assert_string_equal(buffer_text(&buffer), "");
    buffer_append_text(&buffer, "x");
    assert_ptr_equal(buffer.data, data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untouched_buffer_is_empty_text),
        cmocka_unit_test(bytes_add_up_and_end_with_a_nul),
        cmocka_unit_test(it_grows_far_beyond_its_first_room),
        cmocka_unit_test(consuming_drops_from_the_front),
        cmocka_unit_test(taking_leaves_it_empty_and_usable),
        cmocka_unit_test(clearing_keeps_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
