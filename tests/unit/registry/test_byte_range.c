#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "registry/byte_range.h"

static void expect_part(const char *header, uint64_t size, uint64_t offset, uint64_t length)
{
    uint64_t got_offset = 0, got_length = 0;
    assert_int_equal(byte_range_parse(header, size, &got_offset, &got_length), BYTE_RANGE_PART);
    assert_int_equal(got_offset, offset);
    assert_int_equal(got_length, length);
}

static void expect_kind(const char *header, uint64_t size, enum byte_range kind)
{
    uint64_t offset = 77, length = 78;
    assert_int_equal(byte_range_parse(header, size, &offset, &length), kind);
    assert_int_equal(offset, 77);
    assert_int_equal(length, 78);
}

static void parts_are_cut_at_the_end(void **state)
{
    (void)state;
    expect_part("bytes=0-0", 10, 0, 1);
    expect_part("bytes=3-5", 10, 3, 3);
    expect_part("bytes=3-", 10, 3, 7);
    expect_part("bytes=3-99", 10, 3, 7);
    expect_part("bytes=-4", 10, 6, 4);
    expect_part("bytes=-40", 10, 0, 10);
    expect_part("bytes=0-9223372036854775807", 10, 0, 10);
}

static void what_is_not_there_is_unsatisfiable(void **state)
{
    (void)state;
    expect_kind("bytes=10-", 10, BYTE_RANGE_UNSATISFIABLE);
    expect_kind("bytes=10-20", 10, BYTE_RANGE_UNSATISFIABLE);
    expect_kind("bytes=-0", 10, BYTE_RANGE_UNSATISFIABLE);
    expect_kind("bytes=5-3", 10, BYTE_RANGE_UNSATISFIABLE);
    expect_kind("bytes=0-", 0, BYTE_RANGE_UNSATISFIABLE);
}

static void what_is_not_understood_is_ignored(void **state)
{
    (void)state;
    const char *headers[] = {NULL,
                             "",
                             "bytes",
                             "bytes=",
                             "bytes=-",
                             "bytes=1-2,4-5",
                             "items=0-1",
                             "bytes=a-b",
                             "bytes=+1-2",
                             "bytes= 1-2",
                             "bytes=99999999999999999999-"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        expect_kind(headers[i], 10, BYTE_RANGE_WHOLE);
}

static void chunks_say_first_and_last(void **state)
{
    (void)state;
    uint64_t start = 9, end = 9;
    assert_true(byte_range_parse_chunk("0-99", &start, &end));
    assert_int_equal(start, 0);
    assert_int_equal(end, 100);
    assert_true(byte_range_parse_chunk("bytes 100-100", &start, &end));
    assert_int_equal(start, 100);
    assert_int_equal(end, 101);
    const char *wrong[] = {"", "-", "5-", "-5", "5-4", "a-b", "0-99/100", "0--1", "1-2-3"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(byte_range_parse_chunk(wrong[i], &start, &end));
    assert_int_equal(end, 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_cut_at_the_end),
        cmocka_unit_test(what_is_not_there_is_unsatisfiable),
        cmocka_unit_test(what_is_not_understood_is_ignored),
        cmocka_unit_test(chunks_say_first_and_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
