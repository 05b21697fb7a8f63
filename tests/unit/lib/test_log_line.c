/* Lines of guests' logs, and times as people write them. */
#include "lib/api/log_line.h"
#include "lib/api/log_position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"

#define TIME UINT64_C(1795659290123)

static void what_is_written_is_read(void **state)
{
    (void)state;
    AUTO_BUFFER struct buffer text = {0};
    struct api_log_line line = {
        .time_ms = TIME, .kind = API_LOG_PIECE, .text = "a\0b", .length = 3};
    struct api_log_line read;
    api_log_line_write(&line, &text);
    assert_memory_equal(text.data, "2026-11-26T02:14:50.123Z P a\0b\n", text.length);
    assert_true(api_log_line_parse(text.data, text.length - 1, false, &read));
    assert_int_equal(read.time_ms, TIME);
    assert_int_equal(read.kind, API_LOG_PIECE);
    assert_int_equal(read.length, 3);
    assert_memory_equal(read.text, "a\0b", 3);
    buffer_clear(&text);
    strcpy(line.instance, "0001000003f2");
    api_log_line_write(&line, &text);
    assert_true(api_log_line_parse(text.data, text.length - 1, true, &read));
    assert_string_equal(read.instance, "0001000003f2");
    assert_false(api_log_line_parse(text.data, text.length - 1, false, &read));
}

static void what_is_no_line_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "hello",
        "2026-11-26T02:14:50.123Z",
        "2026-11-26T02:14:50.123Z L",
        "2026-11-26T02:14:50.123Z X text",
        "2026-13-26T02:14:50.123Z L text",
        "2026-11-26T02:14:50.12Z  L text",
        "2026-11-26 02:14:50.123Z L text",
    };
    struct api_log_line line;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        assert_false(api_log_line_parse(texts[i], strlen(texts[i]), false, &line));
}

static void a_position_is_read_as_it_was_written(void **state)
{
    static const char *const wrong[] = {
        "",        "1-2-3",  "1-2-3-",  "-1-2-3",   "1-2-3-4-5",
        "1-2-3-x", "1--3-4", "A-2-3-4", "1-2-3-4 ", "00000000000000001-2-3-4"};
    const struct api_log_position position = {
        .is_known = true, .file = UINT64_MAX, .begun_ms = TIME, .offset = 0, .lines = 17};
    struct api_log_position read = {0};
    char text[API_LOG_POSITION_MAX];
    (void)state;
    api_log_position_write(&position, text);
    assert_string_equal(text, "ffffffffffffffff-1a215a2560b-0-11");
    assert_true(api_log_position_parse(text, strlen(text), &read));
    assert_true(read.is_known);
    assert_true(read.file == position.file);
    assert_true(read.begun_ms == position.begun_ms);
    assert_true(read.offset == position.offset);
    assert_true(read.lines == position.lines);
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        assert_false(api_log_position_parse(wrong[i], strlen(wrong[i]), &read));
}

static void a_line_moves_a_position_on(void **state)
{
    struct api_log_position position = {0};
    struct api_log_line line = {.kind = API_LOG_LINE};
    (void)state;
    api_log_position_move(&position, &line);
    assert_false(position.is_known);
    line = (struct api_log_line){.kind = API_LOG_POSITION, .text = "7-8-9-2", .length = 7};
    api_log_position_move(&position, &line);
    line.kind = API_LOG_MARK;
    api_log_position_move(&position, &line);
    line.kind = API_LOG_FAILURE; /* is not in the log */
    api_log_position_move(&position, &line);
    assert_int_equal(position.file, 7);
    assert_int_equal(position.lines, 3);
    line = (struct api_log_line){.kind = API_LOG_POSITION, .text = "", .length = 0};
    api_log_position_move(&position, &line);
    assert_false(position.is_known);
}

static void times_are_read_in_the_forms_that_people_write(void **state)
{
    uint64_t time;
    (void)state;
    assert_true(api_log_time_parse("2026-11-26T02:14:50.123Z", &time));
    assert_int_equal(time, TIME);
    assert_true(api_log_time_parse("2026-11-26T02:14:50Z", &time));
    assert_int_equal(time, TIME - 123);
    assert_true(api_log_time_parse("2026-11-26T02:14Z", &time));
    assert_int_equal(time, TIME - 50123);
    assert_false(api_log_time_parse("2026-11-26T02:14", &time));
    assert_false(api_log_time_parse("2026-11-26", &time));
    assert_true(api_log_since_parse("10m", TIME, &time));
    assert_int_equal(time, TIME - 600000);
    assert_true(api_log_since_parse("365d", 1000, &time));
    assert_int_equal(time, 0);
    assert_false(api_log_since_parse("yesterday", TIME, &time));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_no_line_is_refused),
        cmocka_unit_test(a_position_is_read_as_it_was_written),
        cmocka_unit_test(a_line_moves_a_position_on),
        cmocka_unit_test(times_are_read_in_the_forms_that_people_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
