/* Reading guests' consoles while the other half writes and turns them over. */
#include "tests/unit/agent/console_log_fixture.h"

static void the_tail_is_whole_lines(void **state)
{
    struct place *place = *state;
    append(place->path, ONE TWO THREE);
    struct console_log log = open_log(place, 2);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

static void a_line_is_read_when_it_is_whole(void **state)
{
    struct place *place = *state;
    append(place->path, ONE "2026-11-26T02:00:02.0");
    struct console_log log = open_log(place, 2);
    assert_string_equal(buffer_text(&place->text), ONE);
    buffer_clear(&place->text);
    append(place->path, "00Z L tw");
    console_log_read(&log, &place->text);
    assert_int_equal(place->text.length, 0);
    append(place->path, "o\n" THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

static void a_line_that_was_taken_back_is_none(void **state)
{
    struct place *place = *state;
    append(place->path, ONE "2026-11-26T02:00:02.000Z L tw");
    struct console_log log = open_log(place, 0);
    assert_int_equal(truncate(place->path, sizeof ONE - 1), 0);
    console_log_read(&log, &place->text);
    assert_int_equal(place->text.length, 0);
    append(place->path, THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), THREE);
    console_log_close(&log);
}

/* Returns whether lines were left out for the limit. */
static bool read_with(struct place *place, uint64_t since_ms, uint64_t tail, size_t limit)
{
    struct kept kept;
    struct console_log_query query = {.tail = tail, .since_ms = since_ms, .limit = limit};
    buffer_clear(&place->text);
    struct console_log log = open_with(place, &query, &kept);
    console_log_close(&log);
    return kept.is_cut;
}

static void what_is_older_or_too_much_is_left_out(void **state)
{
    struct place *place = *state;
    uint64_t second;
    assert_true(api_log_time_parse("2026-11-26T02:00:02Z", &second));
    append(place->older, ONE TWO);
    append(place->path, THREE "no line of ours\n");
    read_with(place, second, 100, CONSOLE_PAST_MAX);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    read_with(place, second + 1, 100, CONSOLE_PAST_MAX);
    assert_string_equal(buffer_text(&place->text), THREE);
    read_with(place, 0, 100, strlen(THREE "no line of ours\n") + 40);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
}

/* The reader was away while the log was turned over twice. */
static void several_turn_overs_lose_nothing(void **state)
{
    struct place *place = *state;
    char oldest[100];
    snprintf(oldest, sizeof oldest, "%s.2", place->path);
    append(place->path, ONE);
    struct console_log log = open_log(place, 0);
    assert_int_equal(rename(place->path, oldest), 0);
    append(place->older, TWO);
    append(place->path, THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

static void who_falls_behind_what_is_kept_knows_it(void **state)
{
    struct place *place = *state;
    append(place->path, ONE);
    struct console_log log = open_log(place, 0);
    append(place->path, TWO);
    assert_int_equal(unlink(place->path), 0);
    append(place->path, THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO);
    assert_true(log.has_gap);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    assert_false(log.has_gap);
    console_log_close(&log);
}

/* The next one has its name already, and it has no other yet. */
static void a_turn_over_under_way_is_waited_for(void **state)
{
    struct place *place = *state;
    char aside[100], oldest[100];
    snprintf(aside, sizeof aside, "%s/aside", place->folder);
    snprintf(oldest, sizeof oldest, "%s.2", place->path);
    append(place->path, ONE);
    struct console_log log = open_log(place, 0);
    assert_int_equal(rename(place->path, aside), 0);
    append(place->older, TWO);
    append(place->path, THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), "");
    assert_int_equal(rename(aside, oldest), 0);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

/* From the oldest on: one number has no file for a moment. */
static void a_turn_over_half_done_hides_no_older_file(void **state)
{
    struct place *place = *state;
    char oldest[100];
    snprintf(oldest, sizeof oldest, "%s.2", place->path);
    append(place->path, ONE);
    struct console_log behind = open_log(place, 0);
    assert_int_equal(unlink(place->path), 0);
    append(oldest, TWO);
    append(place->path, THREE);
    struct console_log log = open_log(place, 10);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
    buffer_clear(&place->text);
    console_log_read(&behind, &place->text);
    assert_true(behind.has_gap);
    console_log_read(&behind, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO);
    assert_int_equal(rename(place->path, place->older), 0);
    console_log_read(&behind, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&behind);
}

static void the_tail_reaches_into_the_older_file(void **state)
{
    struct place *place = *state;
    append(place->older, ONE TWO);
    append(place->path, THREE);
    struct console_log log = open_log(place, 2);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

static void no_lines_is_nothing_of_the_past(void **state)
{
    struct place *place = *state;
    append(place->path, ONE);
    struct console_log log = open_log(place, 0);
    assert_string_equal(buffer_text(&place->text), "");
    console_log_close(&log);
}

static void what_comes_later_is_read_once(void **state)
{
    struct place *place = *state;
    append(place->path, ONE);
    struct console_log log = open_log(place, 10);
    buffer_clear(&place->text);
    append(place->path, TWO);
    console_log_read(&log, &place->text);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO);
    console_log_close(&log);
}

static void a_turn_over_loses_nothing(void **state)
{
    struct place *place = *state;
    append(place->path, ONE);
    struct console_log log = open_log(place, 10);
    buffer_clear(&place->text);
    append(place->path, TWO);
    assert_int_equal(rename(place->path, place->older), 0);
    append(place->path, THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

static void a_log_that_begins_later_is_followed(void **state)
{
    struct place *place = *state;
    struct console_log log = open_log(place, 10);
    assert_string_equal(buffer_text(&place->text), "");
    append(place->path, ONE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), ONE);
    console_log_close(&log);
}

static void what_a_forgotten_one_left_is_read(void **state)
{
    struct place *place = *state;
    char ended[96];
    snprintf(ended, sizeof ended, "%s/" ID ".ended", place->folder);
    assert_false(console_log_is_kept(place->folder, ID));
    append(ended, ONE TWO);
    assert_true(console_log_is_kept(place->folder, ID));
    struct console_log log = open_log(place, 1);
    assert_string_equal(buffer_text(&place->text), TWO);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO);
    console_log_close(&log);
}

static void a_link_in_its_place_is_refused(void **state)
{
    struct place *place = *state;
    struct console_log log;
    struct console_log_past past;
    struct error error = ERROR_INIT;
    assert_int_equal(symlink("/etc/hostname", place->path), 0);
    struct console_log_query query = {.tail = 10, .limit = CONSOLE_PAST_MAX};
    assert_int_equal(console_log_open(&log, place->folder, ID, &query, &past, &error), -1);
}

static void what_the_limit_leaves_out_is_told(void **state)
{
    struct place *place = *state;
    size_t two_lines = strlen(TWO THREE) + 5;
    uint64_t second, third;
    assert_true(api_log_time_parse("2026-11-26T02:00:02Z", &second));
    assert_true(api_log_time_parse("2026-11-26T02:00:03Z", &third));
    append(place->older, ONE);
    append(place->path, TWO THREE);
    assert_true(read_with(place, 0, 3, two_lines));
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    assert_true(read_with(place, 0, 100, strlen(TWO THREE))); /* a whole file is left out */
    /* Nothing that was asked for is. */
    assert_false(read_with(place, 0, 2, two_lines));
    assert_false(read_with(place, third, 100, two_lines));
    assert_false(read_with(place, 0, 100, CONSOLE_PAST_MAX));
    /* Older lines may be of that time too. */
    assert_true(read_with(place, second, 100, two_lines));
}

/* A clock that was set back: what was written then is newer all the same. */
static void since_a_time_is_all_from_there_on(void **state)
{
    struct place *place = *state;
    uint64_t second;
    assert_true(api_log_time_parse("2026-11-26T02:00:02Z", &second));
    append(place->path, ONE TWO ONE THREE);
    read_with(place, second, 100, CONSOLE_PAST_MAX);
    assert_string_equal(buffer_text(&place->text), TWO ONE THREE);
}

/* --- going on where a reader was --- */

static struct api_log_position position_of(struct place *place, uint64_t tail)
{
    struct kept kept;
    struct console_log_query query = {.tail = tail, .limit = CONSOLE_PAST_MAX};
    struct console_log log = open_with(place, &query, &kept);
    console_log_close(&log);
    buffer_clear(&place->text);
    return kept.start;
}

/* Returns whether the position is kept no more. */
static bool resume(struct place *place, const struct api_log_position *position)
{
    struct console_log log;
    bool is_lost;
    buffer_clear(&place->text);
    assert_int_equal(console_log_resume(&log, place->folder, ID, position, &is_lost, NULL), 0);
    console_log_read(&log, &place->text);
    console_log_close(&log);
    return is_lost;
}

static void lines_of_one_millisecond_are_told_apart(void **state)
{
    struct place *place = *state;
    append(place->path, AT(1, "a\n") AT(1, "b\n") AT(1, "c\n"));
    struct api_log_position position = position_of(place, 2);
    position.lines = 1; /* b was read */
    append(place->path, AT(1, "d\n"));
    assert_false(resume(place, &position));
    assert_string_equal(buffer_text(&place->text), AT(1, "c\n") AT(1, "d\n"));
}

static void a_position_survives_turn_overs(void **state)
{
    struct place *place = *state;
    char oldest[100];
    snprintf(oldest, sizeof oldest, "%s.2", place->path);
    append(place->path, ONE);
    struct api_log_position position = position_of(place, 0);
    append(place->path, TWO);
    assert_int_equal(rename(place->path, oldest), 0);
    append(place->older, AT(3, "later\n"));
    append(place->path, THREE);
    assert_false(resume(place, &position));
    assert_string_equal(buffer_text(&place->text), TWO AT(3, "later\n") THREE);
    position.lines = 2; /* that reach into the next file */
    assert_false(resume(place, &position));
    assert_string_equal(buffer_text(&place->text), THREE);
}

static void what_is_not_kept_any_more_is_told(void **state)
{
    struct place *place = *state;
    append(place->path, ONE);
    struct api_log_position position = position_of(place, 0);
    /* Another file, which may well have the number of the one that went. */
    assert_int_equal(unlink(place->path), 0);
    append(place->path, TWO THREE);
    assert_true(resume(place, &position));
    assert_string_equal(buffer_text(&place->text), TWO THREE);
}

static void before_the_first_line_is_a_position_too(void **state)
{
    struct place *place = *state;
    struct api_log_position position = position_of(place, 100);
    assert_true(position.is_known);
    append(place->path, ONE TWO);
    assert_false(resume(place, &position));
    assert_string_equal(buffer_text(&place->text), ONE TWO);
    position.lines = 1;
    assert_false(resume(place, &position));
    assert_string_equal(buffer_text(&place->text), TWO);
}

static void a_file_that_lost_its_end_is_read_from_there(void **state)
{
    struct place *place = *state;
    append(place->path, ONE TWO);
    struct api_log_position position = position_of(place, 0);
    position.lines = 1;
    assert_int_equal(truncate(place->path, (off_t)strlen(ONE)), 0);
    struct console_log log;
    bool is_lost;
    assert_int_equal(console_log_resume(&log, place->folder, ID, &position, &is_lost, NULL), 0);
    append(place->path, THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), THREE);
    console_log_close(&log);
}

static void where_it_stands_is_behind_whole_lines(void **state)
{
    struct place *place = *state;
    append(place->path, ONE "2026-11-26T02:00:02.0");
    struct console_log log = open_log(place, 10);
    struct api_log_position position = console_log_position(&log);
    append(place->path, "00Z L two\n" THREE);
    assert_false(resume(place, &position));
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

static void who_is_behind_when_it_is_forgotten_misses_nothing(void **state)
{
    struct place *place = *state;
    char ended[96], ended_older[100];
    snprintf(ended, sizeof ended, "%s/" ID ".ended", place->folder);
    snprintf(ended_older, sizeof ended_older, "%s.1", ended);
    append(place->path, ONE);
    struct console_log log = open_log(place, 0);
    append(place->path, TWO);
    assert_int_equal(rename(place->path, ended_older), 0);
    append(ended, THREE);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    console_log_close(&log);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        TEST(the_tail_is_whole_lines),
        TEST(a_line_is_read_when_it_is_whole),
        TEST(a_line_that_was_taken_back_is_none),
        TEST(what_is_older_or_too_much_is_left_out),
        TEST(several_turn_overs_lose_nothing),
        TEST(who_falls_behind_what_is_kept_knows_it),
        TEST(a_turn_over_under_way_is_waited_for),
        TEST(a_turn_over_half_done_hides_no_older_file),
        TEST(the_tail_reaches_into_the_older_file),
        TEST(no_lines_is_nothing_of_the_past),
        TEST(what_comes_later_is_read_once),
        TEST(a_turn_over_loses_nothing),
        TEST(a_log_that_begins_later_is_followed),
        TEST(what_a_forgotten_one_left_is_read),
        TEST(a_link_in_its_place_is_refused),
        TEST(what_the_limit_leaves_out_is_told),
        TEST(since_a_time_is_all_from_there_on),
        TEST(lines_of_one_millisecond_are_told_apart),
        TEST(a_position_survives_turn_overs),
        TEST(what_is_not_kept_any_more_is_told),
        TEST(before_the_first_line_is_a_position_too),
        TEST(a_file_that_lost_its_end_is_read_from_there),
        TEST(where_it_stands_is_behind_whole_lines),
        TEST(who_is_behind_when_it_is_forgotten_misses_nothing),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
