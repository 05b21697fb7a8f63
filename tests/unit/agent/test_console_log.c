/* Reading guests' consoles while the other half writes and turns them over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/console_log.h"
#include "lib/api/log_line.h"
#include "lib/file.h"

#define ID "0001000000a7"

struct place {
    char folder[64];
    char path[96], older[96];
    struct buffer text;
};

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->folder, "/tmp/shoal-unit.XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    snprintf(place->path, sizeof place->path, "%s/" ID ".log", place->folder);
    snprintf(place->older, sizeof place->older, "%s/" ID ".log.1", place->folder);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    int status = file_remove_tree(place->folder, NULL);
    buffer_finish(&place->text);
    free(place);
    return status;
}

/* Lines of 02:00:01, 02:00:02 and so on, by what they say. */
#define AT(second, text) "2026-11-26T02:00:0" #second ".000Z L " text
#define ONE              AT(1, "one\n")
#define TWO              AT(2, "two\n")
#define THREE            AT(3, "three\n")

static void append(const char *path, const char *text)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
    close(descriptor);
}

static struct console_log open_log(struct place *place, uint64_t lines)
{
    struct console_log log;
    struct error error = ERROR_INIT;
    struct console_log_query query = {.tail = lines, .limit = CONSOLE_PAST_MAX};
    if (console_log_open(&log, place->folder, ID, &query, &place->text, &error) < 0)
        fail_msg("%s", error.message);
    return log;
}

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

static void read_with(struct place *place, uint64_t since_ms, size_t limit)
{
    struct console_log log;
    struct console_log_query query = {.tail = 100, .since_ms = since_ms, .limit = limit};
    buffer_clear(&place->text);
    assert_int_equal(console_log_open(&log, place->folder, ID, &query, &place->text, NULL), 0);
    console_log_close(&log);
}

static void what_is_older_or_too_much_is_left_out(void **state)
{
    struct place *place = *state;
    uint64_t second;
    assert_true(api_log_time_parse("2026-11-26T02:00:02Z", &second));
    append(place->older, ONE TWO);
    append(place->path, THREE "no line of ours\n");
    read_with(place, second, CONSOLE_PAST_MAX);
    assert_string_equal(buffer_text(&place->text), TWO THREE);
    read_with(place, second + 1, CONSOLE_PAST_MAX);
    assert_string_equal(buffer_text(&place->text), THREE);
    read_with(place, 0, strlen(THREE "no line of ours\n") + 40);
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
    struct error error = ERROR_INIT;
    assert_int_equal(symlink("/etc/hostname", place->path), 0);
    struct console_log_query query = {.tail = 10, .limit = CONSOLE_PAST_MAX};
    assert_int_equal(console_log_open(&log, place->folder, ID, &query, &place->text, &error), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        TEST(the_tail_is_whole_lines),
        TEST(a_line_is_read_when_it_is_whole),
        TEST(what_is_older_or_too_much_is_left_out),
        TEST(several_turn_overs_lose_nothing),
        TEST(the_tail_reaches_into_the_older_file),
        TEST(no_lines_is_nothing_of_the_past),
        TEST(what_comes_later_is_read_once),
        TEST(a_turn_over_loses_nothing),
        TEST(a_log_that_begins_later_is_followed),
        TEST(what_a_forgotten_one_left_is_read),
        TEST(a_link_in_its_place_is_refused),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
