/* Packed layers on their way from a registry to the host half's store. */
#include "tests/unit/agent/pulls_fixture.h"

#include "image-format/packing.h"

/* The blob as a layer that holds an initrd. */
static void pack(struct world *world, struct image_verified *ret_image)
{
    AUTO_FREE char *plain = xasprintf("%s/plain", world->folder);
    AUTO_FREE char *packed = xasprintf("%s/packed", world->folder);
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    struct image_layer *layer = &ret_image->layers[0];
    assert_int_equal(file_write(plain, world->bytes, SIZE, 0600, NULL), 0);
    AUTO_CLOSE int from = open(plain, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int to = open(packed, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(packing_compress_zstd(from, to, NULL), 0);
    assert_int_equal(file_read(packed, SIZE, &bytes, &length, NULL), 0);
    digest_of_bytes(bytes, length, layer->digest);
    layer->size = length;
    ret_image->layer_count = 1;
    ret_image->parts[0] =
        (struct image_part){.kind = IMAGE_PART_INITRD, .packing = IMAGE_PACKING_ZSTD, .size = SIZE};
    memcpy(ret_image->parts[0].digest, world->digest, sizeof world->digest);
    ret_image->part_count = 1;
    strcpy(ret_image->made_for, "shoal");
    strcpy(ret_image->config.architecture, "amd64");
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", layer->digest);
    world->answer = script_add(world->registry, path, "application/zstd", bytes, length);
}

static void import(struct world *world, size_t count)
{
    begin(world, count);
    for (size_t i = 0; i < count; i++)
        image_downloads_import_part(world->downloads, world->digest, SIZE, &world->waiters[i]);
    wait_for(world, &world->all_done);
}

/* The same kernel in two images: packed in one, as it is in the other. */
static void what_is_only_looked_for_here_takes_no_download_along(void **state)
{
    struct world *world = *state;
    begin(world, 2);
    image_downloads_import_part(world->downloads, world->digest, SIZE, &world->waiters[0]);
    image_downloads_fetch_part(world->downloads, REPO, world->digest, SIZE, &world->waiters[1]);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
}

static void a_packed_layer_is_unpacked_once(void **state)
{
    struct world *world = *state;
    struct image_verified image = {0};
    struct image_chain chain = {0};
    pack(world, &image);
    import(world, WAITERS);
    assert_int_equal(world->code, ERROR_NOT_FOUND);
    begin(world, WAITERS);
    for (size_t i = 0; i < WAITERS; i++)
        image_downloads_unpack(world->downloads, REPO, image.layers[0].digest, &image, &chain,
                               &world->waiters[i]);
    wait_for(world, &world->all_done);
    assert_int_equal(world->code, ERROR_NONE);
    import(world, WAITERS);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
    /* After a restart too: the host half has what came out, so nothing is unpacked again. */
    open_downloads(world, world->registry->url);
    import(world, WAITERS);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
}

/* The blob as an initrd in a tar archive, which alone tells its digest. */
static void pack_tar(struct world *world, struct image_verified *ret_image)
{
    AUTO_FREE char *packed = xasprintf("%s/packed", world->folder);
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    struct image_layer *layer = &ret_image->layers[0];
    const struct packing_file file = {.name = "initrd", .bytes = world->bytes, .size = SIZE};
    AUTO_CLOSE int to = open(packed, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(packing_write_tar(to, &file, 1, NULL), 0);
    assert_int_equal(file_read(packed, 2 * SIZE, &bytes, &length, NULL), 0);
    digest_of_bytes(bytes, length, layer->digest);
    layer->size = length;
    ret_image->layer_count = 1;
    ret_image->parts[0] =
        (struct image_part){.kind = IMAGE_PART_INITRD, .packing = IMAGE_PACKING_TAR};
    strcpy(ret_image->parts[0].path, "/initrd");
    ret_image->part_count = 1;
    strcpy(ret_image->manifest_digest, layer->digest); /* any */
    strcpy(ret_image->made_for, "shoal");
    strcpy(ret_image->config.architecture, "amd64");
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", layer->digest);
    world->answer = script_add(world->registry, path, "application/x-tar", bytes, length);
}

static void what_a_tar_held_is_known_after_a_restart(void **state)
{
    struct world *world = *state;
    struct image_verified image = {0}, asked;
    struct image_chain chain = {0};
    pack_tar(world, &image);
    strcpy(chain.pinned, image.layers[0].digest);
    asked = image;
    assert_false(image_downloads_recall(world->downloads, &chain, &asked));
    begin(world, 1);
    image_downloads_unpack(world->downloads, REPO, chain.pinned, &image, &chain,
                           &world->waiters[0]);
    wait_for(world, &world->all_done);
    if (world->code != ERROR_NONE)
        fail_msg("%s", world->message);
    import(world, 1);
    expect_here(world);
    open_downloads(world, world->registry->url);
    assert_true(image_downloads_recall(world->downloads, &chain, &asked));
    assert_string_equal(asked.parts[0].digest, world->digest);
    assert_int_equal(asked.parts[0].size, SIZE);
    image_verified_release(&asked);
    import(world, 1);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
    /* It goes with the chain. */
    image_downloads_remove_chain(world->downloads, chain.pinned, "amd64");
    open_downloads(world, world->registry->url);
    asked = image;
    assert_false(image_downloads_recall(world->downloads, &chain, &asked));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_only_looked_for_here_takes_no_download_along),
        TEST(a_packed_layer_is_unpacked_once),
        TEST(what_a_tar_held_is_known_after_a_restart),
    };
    return geteuid() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
