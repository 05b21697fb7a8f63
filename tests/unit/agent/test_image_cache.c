/* What a node keeps of images and what goes, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/image_cache.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define DAY_MS UINT64_C(86400000)

struct fake_clock {
    struct clock clock; /* first */
    uint64_t monotonic_ms, wall_ms;
};

struct fixture {
    struct fake_clock clock;
    struct image_cache *cache;
    const char *used;      /* the one image that an instance uses; NULL: none */
    struct buffer removed; /* what was, in order */
};

static uint64_t read_monotonic(const struct clock *clock)
{
    return ((const struct fake_clock *)clock)->monotonic_ms;
}

static uint64_t read_wall(const struct clock *clock)
{
    return ((const struct fake_clock *)clock)->wall_ms;
}

static void pass(struct fixture *fixture, uint64_t ms)
{
    fixture->clock.monotonic_ms += ms;
    fixture->clock.wall_ms += ms;
}

static bool is_used(const char *digest, const char *architecture, void *data)
{
    const struct fixture *fixture = data;
    assert_string_equal(architecture, "amd64");
    return fixture->used != NULL && strcmp(fixture->used, digest) == 0;
}

static void remove_chain(const char *digest, const char *architecture, void *data)
{
    struct fixture *fixture = data;
    assert_string_equal(architecture, "amd64");
    buffer_printf(&fixture->removed, "chain %s\n", digest);
}

static void remove_file(const char *digest, void *data)
{
    struct fixture *fixture = data;
    buffer_printf(&fixture->removed, "file %s\n", digest);
}

static void create(struct fixture *fixture, uint64_t limit)
{
    struct image_cache_options options = {.clock = &fixture->clock.clock,
                                          .limit = limit,
                                          .age_ms = 7 * DAY_MS,
                                          .is_used = is_used,
                                          .remove_chain = remove_chain,
                                          .remove_file = remove_file,
                                          .data = fixture};
    image_cache_destroy(fixture->cache);
    fixture->cache = image_cache_create(&options);
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    fixture->clock = (struct fake_clock){{read_monotonic, read_wall}, 1000, 50 * DAY_MS};
    create(fixture, 1000);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    image_cache_destroy(fixture->cache);
    buffer_finish(&fixture->removed);
    free(fixture);
    return 0;
}

/* An image of a chain of 10 bytes, a kernel of its own, and a disk that may be shared. */
static void use(struct fixture *fixture, const char *image, const char *kernel, const char *disk)
{
    struct image_part parts[2] = {{.kind = IMAGE_PART_KERNEL}, {.kind = IMAGE_PART_DISK}};
    strcpy(parts[0].digest, kernel);
    strcpy(parts[1].digest, disk);
    image_cache_use(fixture->cache, &(struct image_cache_name){"r", image, "amd64"}, 10, parts, 2);
    image_cache_found_file(fixture->cache, kernel, 300, 0);
    if (disk[0] != '\0')
        image_cache_found_file(fixture->cache, disk, 100, 0);
    pass(fixture, 1000);
}

static void expect_removed(struct fixture *fixture, const char *text)
{
    assert_string_equal(buffer_text(&fixture->removed), text);
    buffer_finish(&fixture->removed);
}

static void the_least_recently_used_go_until_all_fits(void **state)
{
    struct fixture *fixture = *state;
    use(fixture, "one", "k1", "");
    use(fixture, "two", "k2", "");
    use(fixture, "three", "k3", "");
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "");
    use(fixture, "one", "k1", "");
    use(fixture, "four", "k4", "");
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "file k2\nchain two\n");
    struct image_cache_figures figures = image_cache_observe(fixture->cache);
    assert_int_equal(figures.bytes, 3 * 310);
    assert_int_equal(figures.images, 3);
    assert_int_equal(figures.files, 3);
    assert_int_equal(figures.evictions, 1);
    assert_int_equal(figures.evicted_bytes, 310);
}

static void what_an_instance_uses_stays(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, 0);
    fixture->used = "one";
    use(fixture, "one", "k1", "");
    use(fixture, "two", "k2", "");
    pass(fixture, 30 * DAY_MS);
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "file k2\nchain two\n");
    assert_int_equal(image_cache_make_room(fixture->cache, 1), 0);
    /* It counts as used until its last instance was gone. */
    create(fixture, 1000);
    use(fixture, "one", "k1", "");
    pass(fixture, 30 * DAY_MS);
    image_cache_collect(fixture->cache);
    fixture->used = NULL;
    pass(fixture, 7 * DAY_MS);
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "");
    pass(fixture, 1);
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "file k1\nchain one\n");
}

static void a_file_goes_with_the_last_image_that_names_it(void **state)
{
    struct fixture *fixture = *state;
    use(fixture, "one", "k1", "shared");
    use(fixture, "two", "k2", "shared");
    assert_int_equal(image_cache_make_room(fixture->cache, 300), 310);
    expect_removed(fixture, "file k1\nchain one\n");
    assert_int_equal(image_cache_make_room(fixture->cache, 1000), 410);
    expect_removed(fixture, "file k2\nfile shared\nchain two\n");
    assert_int_equal(image_cache_observe(fixture->cache).bytes, 0);
}

static void a_part_that_was_unpacked_later_belongs_to_its_image(void **state)
{
    struct fixture *fixture = *state;
    fixture->used = "one";
    struct image_part part = {.kind = IMAGE_PART_KERNEL};
    image_cache_use(fixture->cache, &(struct image_cache_name){"r", "one", "amd64"}, 10, &part, 1);
    use(fixture, "one", "k1", "");
    create(fixture, 0);
    use(fixture, "one", "k1", "");
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "");
}

static void files_of_no_image_are_as_old_as_the_disk_says(void **state)
{
    struct fixture *fixture = *state;
    image_cache_found_file(fixture->cache, "young", 1, DAY_MS);
    image_cache_found_file(fixture->cache, "old", 1, 8 * DAY_MS);
    image_cache_found_chain(fixture->cache, "stray", "amd64", 1, 9 * DAY_MS);
    image_cache_settle(fixture->cache);
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "chain stray\nfile old\n");
}

static void look(struct fixture *fixture, size_t images, size_t files)
{
    image_cache_collect(fixture->cache);
    struct image_cache_figures figures = image_cache_observe(fixture->cache);
    assert_int_equal(figures.images, images);
    assert_int_equal(figures.files, files);
    buffer_finish(&fixture->removed);
}

/* The host half is asked to remove each: not of all at once. */
static void of_very_many_some_go_at_a_look(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    create(fixture, UINT64_MAX);
    for (int i = 0; i < 1200; i++) {
        snprintf(name, sizeof name, "old-%d", i);
        image_cache_found_file(fixture->cache, name, 1, 8 * DAY_MS);
    }
    look(fixture, 0, 1200 - 512);
    assert_int_equal(image_cache_make_room(fixture->cache, 1000), 512);
    look(fixture, 0, 0);
    /* However small they are. */
    for (int i = 0; i < IMAGE_CACHE_IMAGES_MAX + 3; i++) {
        char kernel[32];
        snprintf(name, sizeof name, "image-%d", i);
        snprintf(kernel, sizeof kernel, "kernel-%d", i);
        use(fixture, name, kernel, "");
    }
    look(fixture, IMAGE_CACHE_IMAGES_MAX, IMAGE_CACHE_IMAGES_MAX);
    look(fixture, IMAGE_CACHE_IMAGES_MAX, IMAGE_CACHE_IMAGES_MAX);
}

static void a_start_knows_when_what_was_used(void **state)
{
    struct fixture *fixture = *state;
    use(fixture, "one", "k1", "");
    pass(fixture, DAY_MS);
    use(fixture, "two", "k2", "");
    use(fixture, "gone", "k3", "");
    assert_true(image_cache_is_changed(fixture->cache));
    AUTO_FREE char *text = image_cache_save(fixture->cache);
    assert_false(image_cache_is_changed(fixture->cache));
    /* The machine starts again, with another monotonic clock, two days later. */
    fixture->clock.monotonic_ms = 5;
    fixture->clock.wall_ms += 2 * DAY_MS;
    create(fixture, 700);
    assert_int_equal(image_cache_load(fixture->cache, text, NULL), 0);
    image_cache_found_chain(fixture->cache, "two", "amd64", 10, 0);
    image_cache_found_chain(fixture->cache, "one", "amd64", 10, 0);
    image_cache_settle(fixture->cache);
    image_cache_found_file(fixture->cache, "k1", 300, 0);
    image_cache_found_file(fixture->cache, "k2", 300, 0);
    image_cache_found_file(fixture->cache, "k3", 300, 3 * DAY_MS);
    image_cache_collect(fixture->cache);
    /* The chain of "gone" is gone, so its file is nobody's; it is as old as "one". */
    expect_removed(fixture, "file k1\nchain one\n");
    pass(fixture, 5 * DAY_MS);
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "file k3\nfile k2\nchain two\n");
}

static void a_wall_clock_that_is_set_back_makes_nothing_old(void **state)
{
    struct fixture *fixture = *state;
    use(fixture, "one", "k1", "");
    AUTO_FREE char *text = image_cache_save(fixture->cache);
    fixture->clock.wall_ms -= 40 * DAY_MS;
    create(fixture, 1000);
    assert_int_equal(image_cache_load(fixture->cache, text, NULL), 0);
    image_cache_found_chain(fixture->cache, "one", "amd64", 10, 0);
    image_cache_settle(fixture->cache);
    image_cache_collect(fixture->cache);
    expect_removed(fixture, "");
}

static void a_record_that_cannot_be_read_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error error = ERROR_INIT;
    assert_int_equal(image_cache_load(fixture->cache, "{\"images\": 7}", &error), -1);
    assert_non_null(strstr(error.message, "the stored list of images"));
    assert_int_equal(image_cache_observe(fixture->cache).images, 0);
}

static void note_entry(const struct image_cache_entry *entry, void *data)
{
    buffer_printf(data, "%s/%s %llu %llu %s\n", entry->name.repository, entry->name.digest,
                  (unsigned long long)entry->bytes, (unsigned long long)entry->age_ms,
                  entry->is_used ? "used" : "unused");
}

static void images_are_listed_from_the_last_used(void **state)
{
    struct fixture *fixture = *state;
    AUTO_BUFFER struct buffer text = {0};
    use(fixture, "one", "k1", "shared");
    use(fixture, "two", "k2", "shared");
    use(fixture, "three", "k3", "");
    fixture->used = "one";
    image_cache_each(fixture->cache, note_entry, &text);
    assert_string_equal(buffer_text(&text),
                        "r/one 410 0 used\nr/three 310 1000 unused\nr/two 410 2000 unused\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_least_recently_used_go_until_all_fits),
        TEST(what_an_instance_uses_stays),
        TEST(a_file_goes_with_the_last_image_that_names_it),
        TEST(a_part_that_was_unpacked_later_belongs_to_its_image),
        TEST(files_of_no_image_are_as_old_as_the_disk_says),
        TEST(of_very_many_some_go_at_a_look),
        TEST(a_start_knows_when_what_was_used),
        TEST(a_wall_clock_that_is_set_back_makes_nothing_old),
        TEST(a_record_that_cannot_be_read_is_refused),
        TEST(images_are_listed_from_the_last_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
