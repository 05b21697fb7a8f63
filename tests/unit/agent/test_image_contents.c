/* What a node knows of images whose parts lie in tar archives: in memory, and over its restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/image_contents.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define HELD     "{\"com.urunc.unikernel.cmdline\":\"hello\"}"
#define MANIFEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KERNEL   "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define DISK     "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define OTHER    "sha256:3333333333333333333333333333333333333333333333333333333333333333"

static int make_folder(void **state)
{
    char *folder = xstrdup("/tmp/shoal-contents-XXXXXX");
    *state = folder;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    int result = file_remove_tree(*state, NULL);
    free(*state);
    return result;
}

/* A kernel, an initrd that need not be there, and a disk: as the manifest tells of them. */
static struct image_verified image(void)
{
    struct image_verified image = {.manifest_digest = MANIFEST, .part_count = 3};
    static const char *const paths[] = {"/kernel", "/initrd", "/disk"};
    for (size_t i = 0; i < image.part_count; i++) {
        image.parts[i] =
            (struct image_part){.kind = (enum image_part_kind)i, .packing = IMAGE_PACKING_TAR};
        snprintf(image.parts[i].path, sizeof image.parts[i].path, "%s", paths[i]);
    }
    image.parts[1].is_optional = true;
    return image;
}

/* What came out of its archives: it has no initrd. */
static void keep(const char *folder)
{
    struct image_contents *contents = image_contents_create(true);
    struct image_verified asked = image(), found = image();
    strcpy(found.parts[0].digest, KERNEL);
    found.parts[0].size = 1000;
    strcpy(found.parts[2].digest, DISK);
    found.parts[2].size = (uint64_t)5 << 30;
    image_contents_keep(contents, folder, &asked, HELD, strlen(HELD), found.parts);
    image_contents_destroy(contents);
}

static bool recalls(const char *folder, bool reads_records, const char *metadata,
                    struct image_verified *asked)
{
    struct image_contents *contents = image_contents_create(reads_records);
    struct image_chain chain = {.metadata = (char *)metadata,
                                .metadata_length = metadata != NULL ? strlen(metadata) : 0};
    bool known = image_contents_recall(contents, folder, &chain, asked);
    image_contents_destroy(contents);
    return known;
}

static bool recalls_as_it_was(const char *folder)
{
    struct image_verified asked = image();
    bool known = recalls(folder, true, HELD, &asked);
    image_verified_release(&asked);
    return known;
}

static void what_was_unpacked_is_known_after_a_restart(void **state)
{
    struct image_verified asked = image();
    keep(*state);
    assert_true(recalls(*state, true, HELD, &asked));
    assert_int_equal(asked.part_count, 2);
    assert_string_equal(asked.parts[0].digest, KERNEL);
    assert_int_equal(asked.parts[0].size, 1000);
    assert_int_equal(asked.parts[1].kind, IMAGE_PART_DISK);
    assert_string_equal(asked.parts[1].digest, DISK);
    assert_int_equal(asked.parts[1].size, (uint64_t)5 << 30);
    image_verified_release(&asked);
}

/* With keys that only a folder of root's can name, no file of the node's state says what boots. */
static void no_record_counts_where_none_is_to_be_believed(void **state)
{
    struct image_verified asked = image();
    keep(*state);
    assert_false(recalls(*state, false, HELD, &asked));
}

/* A file of the node's state, with another command line or other parts. */
static void another_image_recalls_nothing(void **state)
{
    keep(*state);
    struct image_verified asked = image();
    assert_false(recalls(*state, true, "{\"com.urunc.unikernel.cmdline\":\"evil\"}", &asked));
    asked = image();
    assert_false(recalls(*state, true, NULL, &asked));
    asked = image();
    asked.part_count = 2;
    assert_false(recalls(*state, true, HELD, &asked));
    asked = image();
    strcpy(asked.parts[0].path, "/other-kernel");
    assert_false(recalls(*state, true, HELD, &asked));
    asked = image();
    asked.parts[1].is_optional = false;
    assert_false(recalls(*state, true, HELD, &asked));
    asked = image();
    memcpy(asked.manifest_digest, OTHER, sizeof OTHER);
    assert_false(recalls(*state, true, HELD, &asked));
}

static void what_the_manifest_names_no_record_changes(void **state)
{
    struct image_verified asked = image();
    keep(*state);
    strcpy(asked.parts[0].digest, OTHER);
    assert_true(recalls(*state, true, HELD, &asked));
    assert_string_equal(asked.parts[0].digest, OTHER);
    assert_string_equal(asked.parts[1].digest, DISK);
    image_verified_release(&asked);
}

static void a_broken_record_is_none(void **state)
{
    const char *folder = *state;
    AUTO_FREE char *path = xasprintf("%s/unpacked.json", folder);
    AUTO_FREE char *text = NULL;
    size_t length;
    keep(folder);
    assert_int_equal(file_read(path, 10000, &text, &length, NULL), 0);
    for (size_t cut = 0; cut < length; cut += 7) {
        assert_int_equal(file_write(path, text, cut, 0600, NULL), 0);
        assert_false(recalls_as_it_was(folder));
    }
    /* One of another version, and one whose digest is a path. */
    AUTO_FREE char *other = xstrdup(text);
    *(strstr(other, "\"format\":1") + strlen("\"format\":")) = '2';
    assert_int_equal(file_write(path, other, length, 0600, NULL), 0);
    assert_false(recalls_as_it_was(folder));
    memcpy(other, text, length);
    memcpy(strstr(other, KERNEL), "sha256:../../", strlen("sha256:../../"));
    assert_int_equal(file_write(path, other, length, 0600, NULL), 0);
    assert_false(recalls_as_it_was(folder));
    assert_int_equal(file_write(path, text, length, 0600, NULL), 0);
    assert_true(recalls_as_it_was(folder));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(what_was_unpacked_is_known_after_a_restart),
        TEST(no_record_counts_where_none_is_to_be_believed),
        TEST(another_image_recalls_nothing),
        TEST(what_the_manifest_names_no_record_changes),
        TEST(a_broken_record_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
