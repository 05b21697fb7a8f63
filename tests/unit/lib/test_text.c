/* Small text forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/text.h"

static void names_are_dns_labels(void **state)
{
    (void)state;
    assert_true(text_is_name("a"));
    assert_true(text_is_name("hello-2"));
    assert_true(text_is_name("0123456789-0123456789-0123456789-0123456789-0123456789-01234567"));
    assert_false(text_is_name("0123456789-0123456789-0123456789-0123456789-0123456789-012345678"));
    assert_false(text_is_name(""));
    assert_false(text_is_name("-a"));
    assert_false(text_is_name("a-"));
    assert_false(text_is_name("A"));
    assert_false(text_is_name("a_b"));
    assert_false(text_is_name("a.b"));
}

static void numbers_are_digits_within_their_limit(void **state)
{
    (void)state;
    uint64_t value = 1;
    assert_true(text_parse_u64("0", 5, &value));
    assert_int_equal(value, 0);
    assert_true(text_parse_u64("18446744073709551615", UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_false(text_parse_u64("18446744073709551616", UINT64_MAX, &value));
    assert_false(text_parse_u64("6", 5, &value));
    assert_false(text_parse_u64("65536", 65535, &value));
    assert_false(text_parse_u64("", 5, &value));
    assert_false(text_parse_u64("+1", 5, &value));
    assert_false(text_parse_u64("-1", 5, &value));
    assert_false(text_parse_u64("1 ", 5, &value));
    assert_false(text_parse_u64("0x1", 5, &value));
    assert_true(value == UINT64_MAX);
}

static void assert_duration(const char *text, uint64_t expected)
{
    uint64_t ms;
    assert_true(text_parse_duration(text, &ms));
    assert_int_equal(ms, expected);
}

static void durations_are_numbers_with_units(void **state)
{
    (void)state;
    uint64_t ms;
    assert_duration("500ms", 500);
    assert_duration("1s", 1000);
    assert_duration("1m30s", 90000);
    assert_duration("2h", 7200000);
    assert_duration("1d12h", UINT64_C(36) * 3600000);
    assert_duration("0s", 0);
    assert_duration("8784h", UINT64_C(366) * 86400000);
    assert_false(text_parse_duration("8785h", &ms));
    assert_false(text_parse_duration("99999999999999999999s", &ms));
    assert_false(text_parse_duration("", &ms));
    assert_false(text_parse_duration("5", &ms));
    assert_false(text_parse_duration("5 s", &ms));
    assert_false(text_parse_duration("1.5s", &ms));
    assert_false(text_parse_duration("1w", &ms));
    assert_false(text_parse_duration("367d", &ms));
    assert_false(text_parse_duration("-1s", &ms));
}

static void a_formatted_duration_reads_back(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 999, 1000, 90000, 3600000, 3661001, 86400000};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[TEXT_DURATION_MAX];
        text_format_duration(values[i], text, sizeof text);
        assert_duration(text, values[i]);
    }
    char text[TEXT_DURATION_MAX];
    text_format_duration(90000, text, sizeof text);
    assert_string_equal(text, "1m30s");
}

static void sizes_have_binary_units(void **state)
{
    (void)state;
    uint64_t bytes;
    assert_true(text_parse_size("4096", &bytes) && bytes == 4096);
    assert_true(text_parse_size("512Ki", &bytes) && bytes == 524288);
    assert_true(text_parse_size("32Mi", &bytes) && bytes == 33554432);
    assert_true(text_parse_size("1024Ti", &bytes) && bytes == UINT64_C(1) << 50);
    assert_false(text_parse_size("1025Ti", &bytes));
    assert_false(text_parse_size("32M", &bytes));
    assert_false(text_parse_size("32MiB", &bytes));
    assert_false(text_parse_size("Mi", &bytes));
    assert_false(text_parse_size("", &bytes));
    char text[TEXT_SIZE_MAX];
    text_format_size(33554432, text, sizeof text);
    assert_string_equal(text, "32Mi");
    text_format_size(33554433, text, sizeof text);
    assert_string_equal(text, "33554433");
    text_format_size(0, text, sizeof text);
    assert_string_equal(text, "0");
}

static void assert_age(uint64_t ms, const char *expected)
{
    char text[24];
    text_format_age(ms, text, sizeof text);
    assert_string_equal(text, expected);
}

static void ages_have_one_unit(void **state)
{
    (void)state;
    assert_age(0, "0s");
    assert_age(119999, "119s");
    assert_age(120000, "2m");
    assert_age(UINT64_C(7199999), "119m");
    assert_age(UINT64_C(7200000), "2h");
    assert_age(UINT64_C(172800000), "2d");
}

static void hex_is_lower_case_and_of_exact_length(void **state)
{
    (void)state;
    unsigned char bytes[2] = {0};
    char text[5];
    text_format_hex("\x0a\xff", 2, text);
    assert_string_equal(text, "0aff");
    assert_true(text_parse_hex("0aff", bytes, 2));
    assert_int_equal(bytes[0], 0x0a);
    assert_int_equal(bytes[1], 0xff);
    assert_false(text_parse_hex("0AFF", bytes, 2));
    assert_false(text_parse_hex("0af", bytes, 2));
    assert_false(text_parse_hex("0aff0", bytes, 2));
    assert_false(text_parse_hex("0agf", bytes, 2));
}

static void a_copy_that_does_not_fit_writes_nothing(void **state)
{
    (void)state;
    char text[4] = "abc";
    assert_false(text_copy(text, sizeof text, "long"));
    assert_string_equal(text, "abc");
    assert_true(text_copy(text, sizeof text, "xyz"));
    assert_string_equal(text, "xyz");
}

static void characters_are_whole_and_no_controls(void **state)
{
    (void)state;
    assert_int_equal(text_character_length("a"), 1);
    assert_int_equal(text_character_length("\xc3\xa9"), 2);
    assert_int_equal(text_character_length("\xe2\x82\xac"), 3);
    assert_int_equal(text_character_length("\xf0\x9f\x8c\x8a"), 4);
    static const char *const refused[] = {"",
                                          "\n",
                                          "\x7f",
                                          "\x80",
                                          "\xc3",
                                          "\xc0\xaf",
                                          "\xc2\x85",
                                          "\xe2\x82",
                                          "\xf0\x9f",
                                          "\xed\xa0\x80",
                                          "\xf5\x80\x80\x80"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_int_equal(text_character_length(refused[i]), 0);
}

static void a_quoted_value_stays_one_line(void **state)
{
    (void)state;
    char text[] = "a\nb\tc\x1b\xff \xc3\xa9";
    text_make_line(text);
    assert_string_equal(text, "a?b?c?? \xc3\xa9");
}

static void a_path_that_climbs_is_told(void **state)
{
    (void)state;
    static const char *const climbing[] = {"..", "../a", "a/..", "a/../b", "/../a", "a//..//b"};
    static const char *const others[] = {"", "a", "...", "..a", "a..", "a/b..c/d", "./a", "/a"};
    for (size_t i = 0; i < sizeof climbing / sizeof *climbing; i++)
        assert_true(text_path_climbs(climbing[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(text_path_climbs(others[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_that_climbs_is_told),
        cmocka_unit_test(a_quoted_value_stays_one_line),
        cmocka_unit_test(names_are_dns_labels),
        cmocka_unit_test(numbers_are_digits_within_their_limit),
        cmocka_unit_test(durations_are_numbers_with_units),
        cmocka_unit_test(a_formatted_duration_reads_back),
        cmocka_unit_test(sizes_have_binary_units),
        cmocka_unit_test(ages_have_one_unit),
        cmocka_unit_test(hex_is_lower_case_and_of_exact_length),
        cmocka_unit_test(a_copy_that_does_not_fit_writes_nothing),
        cmocka_unit_test(characters_are_whole_and_no_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
