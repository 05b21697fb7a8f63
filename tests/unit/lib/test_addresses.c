/* Lists of addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/addresses.h"
#include "lib/buffer.h"

static void one_address_is_a_list_too(void **state)
{
    (void)state;
    struct addresses addresses;
    assert_int_equal(addresses_parse("there:7000/", "--address", &addresses, NULL), 0);
    assert_int_equal(addresses.count, 1);
    assert_string_equal(addresses_current(&addresses), "http://there:7000");
    addresses_move(&addresses);
    assert_string_equal(addresses_current(&addresses), "http://there:7000");
}

static void each_is_asked_in_turn_and_the_same_only_once(void **state)
{
    (void)state;
    struct addresses addresses;
    char text[ADDRESSES_TEXT_MAX];
    assert_int_equal(
        addresses_parse("http://a:1,https://b:2/,a:1,c", "--address", &addresses, NULL), 0);
    assert_int_equal(addresses.count, 3);
    addresses_move(&addresses);
    assert_string_equal(addresses_current(&addresses), "https://b:2");
    addresses_move(&addresses);
    assert_string_equal(addresses_current(&addresses), "http://c");
    addresses_move(&addresses);
    assert_string_equal(addresses_current(&addresses), "http://a:1");
    addresses_format(&addresses, text);
    assert_string_equal(text, "http://a:1,https://b:2,http://c");
}

static void a_list_with_a_gap_or_a_wrong_one_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", ",", "http://a:1,", ",http://a:1", "http://a:1,,b", "http://a:1,b c"};
    struct addresses addresses = {.count = 7};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct error error = ERROR_INIT;
        assert_int_equal(addresses_parse(texts[i], "--address", &addresses, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.message, "--address: "));
        assert_int_equal(addresses.count, 7);
    }
}

static void what_is_too_long_or_too_many_is_refused(void **state)
{
    (void)state;
    struct addresses addresses;
    char text[4096];
    struct error error = ERROR_INIT;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(addresses_parse(text, "--address", &addresses, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    AUTO_BUFFER struct buffer list = {0};
    for (int i = 0; i <= ADDRESSES_MAX; i++)
        buffer_printf(&list, "%shost%d", i > 0 ? "," : "", i);
    assert_int_equal(addresses_parse(buffer_text(&list), "--address", &addresses, &error), -1);
    assert_int_equal(error.code, ERROR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_address_is_a_list_too),
        cmocka_unit_test(each_is_asked_in_turn_and_the_same_only_once),
        cmocka_unit_test(a_list_with_a_gap_or_a_wrong_one_is_refused),
        cmocka_unit_test(what_is_too_long_or_too_many_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
