/* Images that are fetched before they are needed, from a registry that has none of them. */
#include "tests/unit/lib/registry_fixture.h"

#include <stdlib.h>

#include "agent/image_prefetch.h"

#define REPO "default/hello"

struct fake_clock {
    struct clock clock; /* first */
    uint64_t now_ms;
};

struct world {
    struct scripted_registry *registry;
    struct fake_clock clock;
    char folder[32];
    struct image_downloads *downloads;
    struct image_prefetch *prefetch;
    struct trust trust;
    struct api_prefetch images[2];
    struct scripted *answers[2]; /* of their manifests: not found */
    bool is_busy;
};

static uint64_t read_clock(const struct clock *clock)
{
    return ((const struct fake_clock *)clock)->now_ms;
}

static bool is_busy(void *data)
{
    return ((struct world *)data)->is_busy;
}

static void add_image(struct world *world, size_t index)
{
    struct api_prefetch *image = &world->images[index];
    *image = (struct api_prefetch){.repository = REPO, .arch = "amd64"};
    digest_of_bytes(&index, sizeof index, image->digest);
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/manifests/%s", image->digest);
    world->answers[index] = script_add(world->registry, path, "text/plain", "", 0);
    world->answers[index]->status = 404;
}

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->registry = script_open(1);
    world->clock = (struct fake_clock){{read_clock, read_clock}, 1000};
    strcpy(world->folder, "/tmp/shoal-early-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    add_image(world, 0);
    add_image(world, 1);
    struct image_downloads_options downloads = {.loop = &world->registry->harness.loop,
                                                .http = world->registry->harness.client,
                                                .chains_directory = world->folder,
                                                .staging_directory = world->folder};
    world->downloads = image_downloads_create(&downloads);
    image_downloads_set_registry(world->downloads, world->registry->url);
    struct image_prefetch_options options = {.loop = &world->registry->harness.loop,
                                             .clock = &world->clock.clock,
                                             .downloads = world->downloads,
                                             .trust = &world->trust,
                                             .is_busy = is_busy,
                                             .data = world};
    world->prefetch = image_prefetch_create(&options);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    image_prefetch_destroy(world->prefetch);
    image_downloads_destroy(world->downloads);
    script_close(world->registry);
    assert_int_equal(file_remove_tree(world->folder, NULL), 0);
    free(world);
    return 0;
}

/* An assignment that names the first `count` of them. */
static void apply(struct world *world, size_t count)
{
    struct api_assignment assignment = {.prefetch = world->images, .prefetch_count = count};
    image_prefetch_apply(world->prefetch, &assignment);
}

static bool wants(const struct world *world, size_t index)
{
    return image_prefetch_wants(world->prefetch, world->images[index].digest, "amd64");
}

static void wait_for_request(struct world *world, size_t index)
{
    for (int i = 0; i < 1000 && world->answers[index]->requests == 0; i++)
        harness_idle(&world->registry->harness, 10);
    assert_int_equal(world->answers[index]->requests, 1);
}

static void images_of_instances_go_first_and_one_that_fails_is_left(void **state)
{
    struct world *world = *state;
    world->is_busy = true;
    apply(world, 2);
    harness_idle(&world->registry->harness, 100);
    assert_int_equal(world->answers[0]->requests, 0);
    world->is_busy = false;
    wait_for_request(world, 0);
    wait_for_request(world, 1);
    /* Named again it is not asked for again. */
    apply(world, 2);
    harness_idle(&world->registry->harness, 100);
    assert_int_equal(world->answers[0]->requests, 1);
    assert_int_equal(world->answers[1]->requests, 1);
}

static void what_is_named_no_more_is_not_fetched(void **state)
{
    struct world *world = *state;
    world->answers[0]->failures = 100; /* it is tried again and again */
    apply(world, 2);
    wait_for_request(world, 0);
    apply(world, 0);
    harness_idle(&world->registry->harness, 700); /* longer than until the next attempt */
    assert_int_equal(world->answers[0]->requests, 1);
    assert_int_equal(world->answers[1]->requests, 0);
}

static void what_is_named_stays_for_an_hour(void **state)
{
    struct world *world = *state;
    world->is_busy = true;
    apply(world, 1);
    assert_true(wants(world, 0));
    assert_false(wants(world, 1));
    assert_false(image_prefetch_wants(world->prefetch, world->images[0].digest, "arm64"));
    world->clock.now_ms += UINT64_C(3600) * 1000 + 1;
    assert_false(wants(world, 0));
    apply(world, 1);
    assert_true(wants(world, 0));
    apply(world, 0);
    assert_false(wants(world, 0));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(images_of_instances_go_first_and_one_that_fails_is_left),
        TEST(what_is_named_no_more_is_not_fetched),
        TEST(what_is_named_stays_for_an_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
