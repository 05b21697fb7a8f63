/* What becomes of a guest's console: lines with times, floods, long lines, full disks. */
#include "agent/host/console_lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/console_file.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define ID   "0001000000a7"
#define NOON UINT64_C(1795600800000) /* 2026-11-25T10:00:00Z */

struct world {
    struct clock clock; /* first */
    uint64_t now_ms;
    char folder[64];
    struct console_file_options options;
    struct console_lines lines;
    struct buffer text;
};

static uint64_t read_monotonic(const struct clock *clock)
{
    return ((const struct world *)clock)->now_ms;
}

static uint64_t read_wall(const struct clock *clock)
{
    return NOON + ((const struct world *)clock)->now_ms;
}

static void keep(void *context, const char *lines, size_t length)
{
    struct world *world = context;
    assert_in_range(length, 1, 64 << 10);
    assert_int_equal(lines[length - 1], '\n');
    buffer_append(&world->text, lines, length);
}

static int make_world(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->clock = (struct clock){.monotonic_ms = read_monotonic, .wall_ms = read_wall};
    strcpy(world->folder, "/tmp/shoal-unit.XXXXXX");
    if (mkdtemp(world->folder) == NULL)
        return -1;
    world->options = (struct console_file_options){.folder = world->folder,
                                                   .size = CONSOLE_LOG_SIZE_MIN,
                                                   .files = 3,
                                                   .reader = getegid(),
                                                   .clock = &world->clock};
    console_lines_init(&world->lines, &world->clock, keep, world);
    *state = world;
    return 0;
}

static int end_world(void **state)
{
    struct world *world = *state;
    console_lines_finish(&world->lines);
    buffer_finish(&world->text);
    int result = file_remove_tree(world->folder, NULL);
    free(world);
    return result;
}

static void feed(struct world *world, const char *text)
{
    console_lines_feed(&world->lines, text, strlen(text));
}

#define AT(time, text) "2026-11-25T10:00:" time "Z " text "\n"

static void each_line_has_the_time_it_was_read(void **state)
{
    struct world *world = *state;
    feed(world, "one\r\ntw");
    world->now_ms = 250;
    feed(world, "o\n\nthree");
    assert_string_equal(buffer_text(&world->text),
                        AT("00.000", "L one") AT("00.250", "L two") AT("00.250", "L "));
    assert_true(console_lines_tick(&world->lines));
}

static void a_line_that_does_not_end_is_shown_after_a_while(void **state)
{
    struct world *world = *state;
    feed(world, "login: ");
    world->now_ms = 999;
    assert_true(console_lines_tick(&world->lines));
    assert_int_equal(world->text.length, 0);
    world->now_ms = 1000;
    assert_false(console_lines_tick(&world->lines));
    feed(world, "root\n");
    assert_string_equal(buffer_text(&world->text),
                        AT("01.000", "P login: ") AT("01.000", "L root"));
}

static void a_long_line_comes_in_pieces(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *bytes = xmalloc(2 * CONSOLE_LINE_MAX + 1);
    memset(bytes, 0xff, 2 * CONSOLE_LINE_MAX + 1);
    console_lines_feed(&world->lines, bytes, 2 * CONSOLE_LINE_MAX + 1);
    feed(world, "\n");
    struct api_log_line line;
    size_t sizes[] = {CONSOLE_LINE_MAX, CONSOLE_LINE_MAX, 1}, at = 0;
    for (int i = 0; i < 3; i++) {
        const char *end = memchr(world->text.data + at, '\n', world->text.length - at);
        assert_non_null(end);
        size_t length = (size_t)(end - world->text.data) - at;
        assert_true(api_log_line_parse(world->text.data + at, length, false, &line));
        assert_int_equal(line.length, sizes[i]);
        assert_int_equal(line.kind, i < 2 ? API_LOG_PIECE : API_LOG_LINE);
        at += length + 1;
    }
    assert_int_equal(at, world->text.length);
}

static void a_guest_cannot_speak_as_the_agent(void **state)
{
    struct world *world = *state;
    feed(world, "half");
    console_lines_mark(&world->lines, "ended: %s", "a\nb");
    feed(world, "\n2026-11-25T10:00:00.000Z M ended\n");
    assert_string_equal(buffer_text(&world->text),
                        AT("00.000", "P half") AT("00.000", "M ended: a?b") AT("00.000", "L ")
                            AT("00.000", "L 2026-11-25T10:00:00.000Z M ended"));
}

/* Ten minutes of 10 MB a second: the log gets its burst and then its rate, and says the rest. */
static void a_flood_is_cut_and_counted(void **state)
{
    struct world *world = *state;
    uint64_t written = 0, said = 0, logged = 0, lines = 0;
    AUTO_FREE char *bytes = xmalloc(100000);
    memset(bytes, 'x', 100000);
    for (size_t i = 99; i < 100000; i += 100)
        bytes[i] = '\n';
    for (int i = 0; i < 600; i++) {
        console_lines_feed(&world->lines, bytes, 100000);
        written += 100000;
        world->now_ms += 10;
    }
    world->now_ms += 10000;
    assert_false(console_lines_tick(&world->lines));
    feed(world, "and on\n");
    assert_in_range(world->text.length, CONSOLE_BURST, CONSOLE_BURST + 7 * CONSOLE_RATE);
    for (char *at = world->text.data; *at != '\0'; at = strchr(at, '\n') + 1, lines++) {
        struct api_log_line line;
        unsigned long long count;
        assert_true(api_log_line_parse(at, strcspn(at, "\n"), false, &line));
        if (line.kind == API_LOG_MARK && sscanf(line.text, "%llu bytes", &count) == 1)
            said += count;
        else if (line.text[0] == 'x')
            logged += line.length + 1;
    }
    assert_int_equal(said + logged, written);
    assert_non_null(strstr(world->text.data, "L and on\n"));
}

static void newlines_cost_what_they_take(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *bytes = xmalloc(1 << 20);
    memset(bytes, '\n', 1 << 20);
    console_lines_feed(&world->lines, bytes, 1 << 20);
    assert_in_range(world->text.length, 1, CONSOLE_BURST);
}

/* --- on disk --- */

static char *read_file(const struct world *world, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", world->folder, name);
    char *text = NULL;
    return file_read(path, 1 << 20, &text, NULL, NULL) == 0 ? text : NULL;
}

static void files_are_turned_over_by_size_and_count(void **state)
{
    struct world *world = *state;
    struct console_file file;
    char line[8192];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    console_file_init(&file, &world->options, ID);
    for (char number = 'a'; number <= 'z'; number++) {
        line[0] = number;
        console_file_append(&file, line, sizeof line); /* eight of them fill a file */
    }
    console_file_finish(&file);
    AUTO_FREE char *newest = read_file(world, ID ".log"), *older = read_file(world, ID ".log.1"),
                   *oldest = read_file(world, ID ".log.2"), *gone = read_file(world, ID ".log.3");
    assert_int_equal(newest[0], 'y');
    assert_int_equal(older[0], 'q');
    assert_int_equal(oldest[0], 'i');
    assert_null(gone);
}

/* The limit of a file's size stands for a full disk: a write ends in the middle, the next fails. */
static void a_full_disk_costs_lines_and_is_said(void **state)
{
    struct world *world = *state;
    struct console_file file;
    struct rlimit limit, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 10;
    console_file_init(&file, &world->options, ID);
    console_file_append(&file, "first\n", 6);
    setrlimit(RLIMIT_FSIZE, &small);
    console_file_append(&file, "second\n", 7);
    console_file_append(&file, "third\n", 6);
    setrlimit(RLIMIT_FSIZE, &limit);
    world->now_ms += 500;
    console_file_append(&file, "fourth\n", 7); /* too early to try again */
    world->now_ms += 500;
    console_file_append(&file, "fifth\n", 6);
    console_file_finish(&file);
    AUTO_FREE char *text = read_file(world, ID ".log");
    assert_string_equal(text, "first\n" AT("01.000", "M 20 bytes of this log could not be written: "
                                                     "File too large") "fifth\n");
}

/* The agent was killed in the middle of a write: what it says of that stands in a line of its own.
 */
static void what_comes_after_a_cut_line_is_no_part_of_it(void **state)
{
    struct world *world = *state;
    struct console_file file;
    AUTO_FREE char *path = xasprintf("%s/" ID ".log", world->folder);
    const struct timespec then[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct stat status;
    assert_int_equal(file_write(path, "whole\ncut o", 11, 0600, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    console_file_init(&file, &world->options, ID);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mtim.tv_sec, 1000); /* since when something may be missing */
    console_file_append(&file, "mark\n", 5);
    assert_int_equal(file.size, 17);
    console_file_finish(&file);
    console_file_init(&file, &world->options, ID);
    console_file_append(&file, "more\n", 5);
    console_file_finish(&file);
    AUTO_FREE char *text = read_file(world, ID ".log");
    assert_string_equal(text, "whole\ncut o\nmark\nmore\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)
    const struct CMUnitTest tests[] = {
        TEST(each_line_has_the_time_it_was_read),
        TEST(a_line_that_does_not_end_is_shown_after_a_while),
        TEST(a_long_line_comes_in_pieces),
        TEST(a_guest_cannot_speak_as_the_agent),
        TEST(a_flood_is_cut_and_counted),
        TEST(newlines_cost_what_they_take),
        TEST(files_are_turned_over_by_size_and_count),
        TEST(a_full_disk_costs_lines_and_is_said),
        TEST(what_comes_after_a_cut_line_is_no_part_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
