/* Packed layers on a thread of their own: what comes out, and an unpack that nobody waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/image_unpack.h"
#include "image-format/packing.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

struct world {
    uv_loop_t loop;
    char folder[64];
    char *layers, *staging;
    struct image_verified image; /* an initrd in a zstd layer */
    int calls;
    enum error_code code;
    struct image_part part; /* as it was told */
};

static const char content[] = "what is packed";

static char *path_in(const char *folder, const char *name)
{
    return xasprintf("%s/%s", folder, name);
}

/* Writes `content` packed as the image's only layer. */
static void pack(struct world *world)
{
    AUTO_FREE char *plain = path_in(world->folder, "plain");
    AUTO_FREE char *packed = path_in(world->folder, "packed");
    assert_int_equal(file_write(plain, content, strlen(content), 0600, NULL), 0);
    AUTO_CLOSE int from = open(plain, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int to = open(packed, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(packing_compress_zstd(from, to, NULL), 0);
    assert_int_equal(lseek(to, 0, SEEK_SET), 0);
    struct image_layer *layer = &world->image.layers[0];
    assert_int_equal(digest_of_descriptor(to, layer->digest, NULL, NULL), 0);
    AUTO_FREE char *path = path_in(world->layers, digest_hex(layer->digest));
    assert_int_equal(rename(packed, path), 0);
    world->image.layer_count = 1;
    struct image_part *part = &world->image.parts[0];
    *part = (struct image_part){.kind = IMAGE_PART_INITRD, .packing = IMAGE_PACKING_ZSTD};
    part->size = strlen(content);
    digest_of_bytes(content, strlen(content), part->digest);
    world->image.part_count = 1;
    strcpy(world->image.made_for, "shoal");
}

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    strcpy(world->folder, "/tmp/shoal-unpack-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->layers = path_in(world->folder, "layers");
    world->staging = path_in(world->folder, "staging");
    assert_int_equal(file_make_directory(world->layers, 0700, NULL), 0);
    assert_int_equal(file_make_directory(world->staging, 0700, NULL), 0);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    pack(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    assert_int_equal(uv_loop_close(&world->loop), 0);
    file_remove_tree(world->folder, NULL);
    free(world->layers);
    free(world->staging);
    free(world);
    return 0;
}

static void on_unpacked(const struct image_unpack_result *result, void *data)
{
    struct world *world = data;
    world->calls++;
    world->code = result->error != NULL ? result->error->code : ERROR_NONE;
    world->part = result->parts[0];
}

static struct image_unpack *start(struct world *world)
{
    const struct image_unpack_options options = {.loop = &world->loop,
                                                 .image = &world->image,
                                                 .layers = world->layers,
                                                 .staging = world->staging};
    return image_unpack_start(&options, on_unpacked, world);
}

static void what_comes_out_is_staged_by_its_digest(void **state)
{
    struct world *world = *state;
    start(world);
    assert_int_equal(world->calls, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 1);
    assert_int_equal(world->code, ERROR_NONE);
    assert_int_equal(world->part.size, strlen(content));
    AUTO_FREE char *path = path_in(world->staging, digest_hex(world->part.digest));
    AUTO_FREE char *text = NULL;
    assert_int_equal(file_read(path, 1000, &text, NULL, NULL), 0);
    assert_string_equal(text, content);
}

static void a_layer_that_was_altered_is_not_looked_into(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *path = path_in(world->layers, digest_hex(world->image.layers[0].digest));
    assert_int_equal(file_write(path, content, strlen(content), 0600, NULL), 0);
    start(world);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 1);
    assert_int_equal(world->code, ERROR_SIGNATURE);
}

static void bytes_of_another_digest_are_refused(void **state)
{
    struct world *world = *state;
    char *digit = &world->image.parts[0].digest[20];
    *digit = *digit == '0' ? '1' : '0';
    start(world);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->code, ERROR_INVALID);
}

/* A layer that takes minutes to hash: nobody waits for that at an end. */
static void one_that_is_abandoned_stops(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *path = path_in(world->layers, digest_hex(world->image.layers[0].digest));
    assert_int_equal(truncate(path, (off_t)1 << 40), 0);
    image_unpack_abandon(start(world));
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->calls, 0);
    AUTO_FREE char *part = path_in(world->layers, "part-0");
    assert_int_equal(access(part, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_out_is_staged_by_its_digest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_layer_that_was_altered_is_not_looked_into, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(bytes_of_another_digest_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_abandoned_stops, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
