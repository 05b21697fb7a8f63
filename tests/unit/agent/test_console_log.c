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
    if (console_log_open(&log, place->folder, ID, lines, &place->text, &error) < 0)
        fail_msg("%s", error.message);
    return log;
}

static void the_tail_is_whole_lines(void **state)
{
    struct place *place = *state;
    append(place->path, "one\ntwo\nthree\n");
    struct console_log log = open_log(place, 2);
    assert_string_equal(buffer_text(&place->text), "two\nthree\n");
    console_log_close(&log);
}

static void an_unfinished_line_counts(void **state)
{
    struct place *place = *state;
    append(place->path, "one\ntwo\nthr");
    struct console_log log = open_log(place, 2);
    assert_string_equal(buffer_text(&place->text), "two\nthr");
    console_log_close(&log);
}

static void the_tail_reaches_into_the_older_file(void **state)
{
    struct place *place = *state;
    append(place->older, "one\ntwo\n");
    append(place->path, "three\n");
    struct console_log log = open_log(place, 2);
    assert_string_equal(buffer_text(&place->text), "two\nthree\n");
    console_log_close(&log);
}

static void no_lines_is_nothing_of_the_past(void **state)
{
    struct place *place = *state;
    append(place->path, "one\n");
    struct console_log log = open_log(place, 0);
    assert_string_equal(buffer_text(&place->text), "");
    console_log_close(&log);
}

static void what_comes_later_is_read_once(void **state)
{
    struct place *place = *state;
    append(place->path, "one\n");
    struct console_log log = open_log(place, 10);
    buffer_clear(&place->text);
    append(place->path, "two\n");
    console_log_read(&log, &place->text);
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), "two\n");
    console_log_close(&log);
}

static void a_turn_over_loses_nothing(void **state)
{
    struct place *place = *state;
    append(place->path, "one\n");
    struct console_log log = open_log(place, 10);
    buffer_clear(&place->text);
    append(place->path, "two\n");
    assert_int_equal(rename(place->path, place->older), 0);
    append(place->path, "three\n");
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), "two\nthree\n");
    console_log_close(&log);
}

static void a_log_that_begins_later_is_followed(void **state)
{
    struct place *place = *state;
    struct console_log log = open_log(place, 10);
    assert_string_equal(buffer_text(&place->text), "");
    append(place->path, "one\n");
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), "one\n");
    console_log_close(&log);
}

static void what_a_forgotten_one_left_is_read(void **state)
{
    struct place *place = *state;
    char ended[96];
    snprintf(ended, sizeof ended, "%s/" ID ".ended", place->folder);
    assert_false(console_log_is_kept(place->folder, ID));
    append(ended, "one\ntwo\n");
    assert_true(console_log_is_kept(place->folder, ID));
    struct console_log log = open_log(place, 1);
    assert_string_equal(buffer_text(&place->text), "two\n");
    console_log_read(&log, &place->text);
    assert_string_equal(buffer_text(&place->text), "two\n");
    console_log_close(&log);
}

static void a_link_in_its_place_is_refused(void **state)
{
    struct place *place = *state;
    struct console_log log;
    struct error error = ERROR_INIT;
    assert_int_equal(symlink("/etc/hostname", place->path), 0);
    assert_int_equal(console_log_open(&log, place->folder, ID, 10, &place->text, &error), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        TEST(the_tail_is_whole_lines),
        TEST(an_unfinished_line_counts),
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
