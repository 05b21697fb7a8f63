/* Readers of a log that is written fast and turned over all the time. */
#include "tests/unit/agent/console_log_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* A guest that writes many lines in a millisecond, a log that is turned over, and a reader that
 * breaks off wherever it likes, told where it is only now and then. */
struct reader {
    struct console_log log;
    struct api_log_position position;
    unsigned next; /* the number of the line that comes next */
    uint32_t random;
};

static uint32_t draw(struct reader *reader, uint32_t below)
{
    reader->random = reader->random * 1664525 + 1013904223;
    return (reader->random >> 8) % below;
}

static void turn_over(const char *path)
{
    char from[100], to[100];
    for (unsigned number = 20; number-- > 0;) {
        snprintf(from, sizeof from, number > 0 ? "%s.%u" : "%s", path, number);
        snprintf(to, sizeof to, "%s.%u", path, number + 1);
        rename(from, to);
    }
}

static void write_some(struct place *place, struct reader *reader, unsigned *written)
{
    AUTO_BUFFER struct buffer lines = {0};
    for (uint32_t count = draw(reader, 30); count > 0; count--)
        buffer_printf(&lines, AT(1, "%u\n"), (*written)++);
    if (lines.length > 0)
        append(place->path, buffer_text(&lines));
    if (draw(reader, 4) == 0 && access(place->path, F_OK) == 0)
        turn_over(place->path);
}

/* Takes lines of what came up to some place in it; false: all of it. */
static bool take_lines(struct reader *reader, const struct buffer *text, size_t most)
{
    struct api_log_line line;
    size_t at = 0;
    while (at < text->length) {
        size_t end =
            (size_t)((char *)memchr(text->data + at, '\n', text->length - at) - text->data);
        if (most-- == 0)
            return true;
        assert_true(api_log_line_parse(text->data + at, end - at, false, &line));
        assert_int_equal(strtoul(line.text, NULL, 10), reader->next++);
        api_log_position_move(&reader->position, &line);
        at = end + 1;
    }
    return false;
}

static void wherever_a_reader_breaks_off_each_line_comes_once(void **state)
{
    struct place *place = *state;
    struct reader reader = {.log = open_log(place, 0), .random = 7};
    unsigned written = 0;
    bool is_lost = false;
    reader.position = console_log_position(&reader.log);
    for (int turn = 0; turn < 800; turn++) {
        write_some(place, &reader, &written);
        buffer_clear(&place->text);
        console_log_read(&reader.log, &place->text);
        if (take_lines(&reader, &place->text, draw(&reader, 60))) {
            console_log_close(&reader.log);
            assert_int_equal(console_log_resume(&reader.log, place->folder, ID, &reader.position,
                                                &is_lost, NULL),
                             0);
            assert_false(is_lost);
        }
        struct api_log_position position = console_log_position(&reader.log);
        if (position.is_known && draw(&reader, 2) == 0)
            reader.position = position;
    }
    assert_true(reader.next > 4000);
    console_log_close(&reader.log);
}

struct flood {
    const char *path;
    atomic_bool is_over;
};

static void *write_flood(void *data)
{
    struct flood *flood = data;
    char line[64];
    for (unsigned number = 1; number < 1500; number++) {
        snprintf(line, sizeof line, AT(1, "%u\n"), number);
        append(flood->path, line);
        turn_over(flood->path);
    }
    flood->is_over = true;
    return NULL;
}

/* While the files change their names under the reader's hands. */
static void who_misses_lines_is_always_told(void **state)
{
    struct place *place = *state;
    struct flood flood = {.path = place->path};
    append(place->path, AT(1, "0\n"));
    struct console_log log = open_log(place, 0);
    pthread_t writer;
    unsigned next = 1;
    bool was_told = false, is_last = false;
    assert_int_equal(pthread_create(&writer, NULL, write_flood, &flood), 0);
    while (!is_last) {
        is_last = flood.is_over;
        buffer_clear(&place->text);
        console_log_read(&log, &place->text);
        for (size_t at = 0; at < place->text.length;) {
            unsigned number = (unsigned)strtoul(place->text.data + at + 27, NULL, 10);
            assert_true(number == next || (number > next && was_told));
            was_told = false;
            next = number + 1;
            at += strcspn(place->text.data + at, "\n") + 1;
        }
        was_told = was_told || log.has_gap;
    }
    pthread_join(writer, NULL);
    assert_true(next > 1);
    console_log_close(&log);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        TEST(wherever_a_reader_breaks_off_each_line_comes_once),
        TEST(who_misses_lines_is_always_told),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
