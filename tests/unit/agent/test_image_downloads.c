/* What a node remembers of images whose parts lie in tar archives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/image_downloads_internal.h"

#define HELD "{\"com.urunc.unikernel.cmdline\":\"hello\"}"

static struct image_verified image_of(size_t part_count)
{
    struct image_verified image = {.manifest_digest = "sha256:aa", .part_count = part_count};
    for (size_t i = 0; i < part_count; i++)
        image.parts[i] = (struct image_part){.kind = IMAGE_PART_DISK, .packing = IMAGE_PACKING_TAR};
    return image;
}

static bool recalls(size_t part_count, const char *metadata)
{
    struct image_contents contents = {.manifest_digest = "sha256:aa", .part_count = 2};
    struct image_downloads store = {0};
    struct image_verified image = image_of(part_count);
    struct image_chain chain = {.metadata = (char *)metadata,
                                .metadata_length = metadata != NULL ? strlen(metadata) : 0};
    digest_of_bytes(HELD, strlen(HELD), contents.metadata_digest);
    for (size_t i = 0; i < contents.part_count; i++) {
        contents.parts[i] = image.parts[0];
        contents.parts[i].size = 1 + i;
        snprintf(contents.parts[i].digest, sizeof contents.parts[i].digest, "sha256:%zu", i);
    }
    TAILQ_INIT(&store.contents);
    TAILQ_INSERT_HEAD(&store.contents, &contents, link);
    bool known = image_downloads_recall(&store, &chain, &image);
    if (known)
        assert_string_equal(image.parts[1].digest, "sha256:1");
    image_verified_release(&image);
    return known;
}

static void parts_are_recalled_for_the_metadata_that_the_layers_held(void **state)
{
    (void)state;
    assert_true(recalls(2, HELD));
}

/* A file of the node's state, with another command line or other parts. */
static void altered_metadata_recalls_nothing(void **state)
{
    (void)state;
    assert_false(recalls(2, "{\"com.urunc.unikernel.cmdline\":\"evil\"}"));
    assert_false(recalls(2, NULL));
    assert_false(recalls(1, HELD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_recalled_for_the_metadata_that_the_layers_held),
        cmocka_unit_test(altered_metadata_recalls_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
