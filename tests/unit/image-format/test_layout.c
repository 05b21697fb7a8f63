/* The local store of images. */
#include "tests/unit/image-format/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image-format/layout_store.h"

static int set_up(void **state)
{
    *state = temporary_folder();
    return 0;
}

static int tear_down(void **state)
{
    remove_folder(*state);
    return 0;
}

static size_t count_blobs(const char *folder)
{
    AUTO_FREE char *path = xasprintf("%s/blobs/sha256", folder);
    DIR *blobs = opendir(path);
    size_t count = 0;
    assert_non_null(blobs);
    for (struct dirent *entry; (entry = readdir(blobs)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(blobs);
    return count;
}

static void add(const char *folder, const char *name, unsigned char code, bool with_index)
{
    struct packed_image image = packed_fixture(code);
    struct error error = ERROR_INIT;
    if (with_index)
        packed_image_add_index(&image);
    if (layout_add(folder, name, &image, &error) < 0)
        fail_msg("%s", error.message);
    packed_image_release(&image);
}

static void an_image_is_found_again_with_its_blobs_as_files(void **state)
{
    AUTO_FREE char *folder = xasprintf("%s/a/store", (char *)*state);
    struct packed_image image = packed_fixture(1), found;
    assert_int_equal(layout_add(folder, "default/hello:1.0", &image, NULL), 0);
    assert_int_equal(layout_find(folder, "default/hello:1.0", &found, NULL), 0);
    assert_false(found.has_index);
    assert_int_equal(found.manifest_count, 1);
    assert_string_equal(found.manifests[0].bytes, image.manifests[0].bytes);
    assert_string_equal(found.manifests[0].digest, image.manifests[0].digest);
    assert_string_equal(found.manifests[0].architecture, "amd64");
    assert_int_equal(found.blob_count, 2);
    const struct packed_blob *kernel = fixture_blob(&found, SHOAL_KERNEL_TYPE);
    assert_null(kernel->bytes);
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(file_read(kernel->path, 100000, &bytes, &length, NULL), 0);
    assert_int_equal(length, kernel->size);
    assert_memory_equal(bytes, fixture_blob(&image, SHOAL_KERNEL_TYPE)->bytes, length);

    /* What was found can be added under another name. */
    assert_int_equal(layout_add(folder, "default/again:1", &found, NULL), 0);
    packed_image_release(&found);
    packed_image_release(&image);
}

static void an_index_is_found_with_its_children(void **state)
{
    struct packed_image image = packed_fixture(1), found;
    packed_image_add_index(&image);
    assert_int_equal(layout_add(*state, "default/hello:1.0", &image, NULL), 0);
    assert_int_equal(layout_find(*state, "default/hello:1.0", &found, NULL), 0);
    assert_true(found.has_index);
    assert_string_equal(packed_image_top(&found)->digest, packed_image_top(&image)->digest);
    assert_string_equal(found.index.bytes, image.index.bytes);
    assert_int_equal(found.manifest_count, 1);
    packed_image_release(&found);
    packed_image_release(&image);
}

static void images_are_listed_by_name_with_their_size(void **state)
{
    struct layout_entry *entries;
    size_t count;
    assert_int_equal(layout_list("/nowhere/at/all", &entries, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(entries);
    add(*state, "default/b:1", 1, false);
    add(*state, "default/a:2", 2, true);
    add(*state, "default/a:1", 1, false);
    assert_int_equal(layout_list(*state, &entries, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_string_equal(entries[0].name, "default/a:1");
    assert_string_equal(entries[1].name, "default/a:2");
    assert_string_equal(entries[2].name, "default/b:1");
    assert_string_equal(entries[0].digest, entries[2].digest);
    assert_string_equal(entries[1].media_type, OCI_INDEX_TYPE);

    struct packed_image image = packed_fixture(1);
    uint64_t size = image.manifests[0].length + image.blobs[0].size + image.blobs[1].size;
    assert_int_equal(entries[0].size, size);
    packed_image_release(&image);
    free(entries);
}

static void a_name_that_exists_moves_and_its_old_blobs_go(void **state)
{
    struct packed_image first = packed_fixture(1), found;
    add(*state, "default/hello:1", 2, false);
    assert_int_equal(count_blobs(*state), 3);
    assert_int_equal(layout_add(*state, "default/hello:1", &first, NULL), 0);
    assert_int_equal(count_blobs(*state), 3);
    assert_int_equal(layout_find(*state, "default/hello:1", &found, NULL), 0);
    assert_string_equal(packed_image_top(&found)->digest, packed_image_top(&first)->digest);
    packed_image_release(&found);
    packed_image_release(&first);
}

static void removing_keeps_what_others_use(void **state)
{
    struct packed_image found;
    struct error error = ERROR_INIT;
    add(*state, "default/a:1", 1, true);
    add(*state, "default/b:1", 1, false);
    add(*state, "default/c:1", 2, false);
    assert_int_equal(count_blobs(*state), 4 + 3);
    assert_int_equal(layout_remove(*state, "default/a:1", NULL), 0);
    assert_int_equal(count_blobs(*state), 3 + 3);
    assert_int_equal(layout_remove(*state, "default/c:1", NULL), 0);
    assert_int_equal(count_blobs(*state), 3);
    assert_int_equal(layout_find(*state, "default/b:1", &found, NULL), 0);
    packed_image_release(&found);
    assert_int_equal(layout_remove(*state, "default/a:1", &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(layout_find(*state, "default/a:1", &found, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "default/a:1"));
    assert_int_equal(layout_remove("/nowhere", "a", &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
}

static void altered_blobs_are_noticed_and_mended_by_adding_again(void **state)
{
    struct packed_image image = packed_fixture(1), found;
    struct error error = ERROR_INIT;
    assert_int_equal(layout_add(*state, "a/b:1", &image, NULL), 0);
    AUTO_FREE char *manifest = xasprintf("blobs/sha256/%s", digest_hex(image.manifests[0].digest));
    AUTO_FREE char *kernel =
        xasprintf("blobs/sha256/%s", digest_hex(fixture_blob(&image, SHOAL_KERNEL_TYPE)->digest));
    write_file(*state, manifest, "{}", 2);
    assert_int_equal(layout_find(*state, "a/b:1", &found, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_non_null(strstr(error.message, "was altered"));
    assert_int_equal(layout_add(*state, "a/b:1", &image, NULL), 0);
    write_file(*state, kernel, "", 0);
    assert_int_equal(layout_find(*state, "a/b:1", &found, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_int_equal(layout_add(*state, "a/b:1", &image, NULL), 0);
    assert_int_equal(layout_find(*state, "a/b:1", &found, NULL), 0);
    packed_image_release(&found);
    packed_image_release(&image);
}

static void entries_of_other_tools_are_kept(void **state)
{
    static const char index[] =
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" OCI_MANIFEST_TYPE "\",\"digest\":"
        "\"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"size\":3,"
        "\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}}]}";
    write_file(*state, "index.json", index, strlen(index));
    add(*state, "a/b:1", 1, false);
    AUTO_FREE char *path = xasprintf("%s/index.json", (char *)*state);
    AUTO_FREE char *text = NULL;
    assert_int_equal(file_read(path, 100000, &text, NULL, NULL), 0);
    assert_non_null(strstr(text, "\"os\":\"linux\""));
    assert_non_null(strstr(text, "\"org.opencontainers.image.ref.name\":\"a/b:1\""));
    struct layout_entry *entries;
    size_t count;
    assert_int_equal(layout_list(*state, &entries, &count, NULL), 0);
    assert_int_equal(count, 1);
    free(entries);
}

/* Adds a manifest that is about `subject`, with a blob of its own. */
static char *add_referrer(struct packed_image *image, const char *subject, const char *content)
{
    struct packed_blob blob = {.size = strlen(content), .media_type = "text/plain"};
    blob.bytes = xstrdup(content);
    digest_of_bytes(content, blob.size, blob.digest);
    char *text = xasprintf("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST_TYPE
                           "\",\"layers\":[{\"mediaType\":\"text/plain\",\"digest\":\"%s\","
                           "\"size\":%zu}],\"subject\":{\"mediaType\":\"" OCI_MANIFEST_TYPE
                           "\",\"digest\":\"%s\",\"size\":2}}",
                           blob.digest, strlen(content), subject);
    packed_image_add_blob(image, &blob);
    packed_image_add_referrer(image, OCI_MANIFEST_TYPE, text, strlen(text));
    return image->referrers[image->referrer_count - 1].digest;
}

static void what_is_about_an_image_is_found_and_removed_with_it(void **state)
{
    struct packed_image image = packed_fixture(1), found;
    char first[DIGEST_TEXT_MAX], second[DIGEST_TEXT_MAX];
    strcpy(first, add_referrer(&image, packed_image_top(&image)->digest, "an SBOM"));
    strcpy(second, add_referrer(&image, first, "a signature of the SBOM"));
    assert_int_equal(layout_add(*state, "default/hello:1.0", &image, NULL), 0);
    add(*state, "default/hello:2.0", 2, false);
    assert_int_equal(layout_add(*state, "default/hello:1.0", &image, NULL), 0);
    assert_int_equal(layout_find(*state, "default/hello:1.0", &found, NULL), 0);
    assert_int_equal(found.referrer_count, 2);
    assert_string_equal(found.referrers[0].digest, first);
    assert_string_equal(found.referrers[1].digest, second);
    assert_int_equal(found.blob_count, 4);
    packed_image_release(&found);
    assert_int_equal(layout_find(*state, "default/hello:2.0", &found, NULL), 0);
    assert_int_equal(found.referrer_count, 0);
    packed_image_release(&found);

    struct layout_entry *entries;
    size_t count;
    assert_int_equal(layout_list(*state, &entries, &count, NULL), 0);
    assert_int_equal(count, 2);
    free(entries);
    assert_int_equal(layout_remove(*state, "default/hello:1.0", NULL), 0);
    assert_int_equal(count_blobs(*state), 3); /* of hello:2.0 */
    packed_image_release(&image);
}

/* A sparse file of the image's own: one letter in front, one behind `size` zeros. */
static struct packed_blob *add_file(struct packed_image *image, const char *folder, off_t size)
{
    struct packed_blob blob = {.size = (uint64_t)size + 1, .media_type = SHOAL_DISK_TYPE};
    blob.path = xasprintf("%s/disk", folder);
    int descriptor = open(blob.path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(pwrite(descriptor, "a", 1, 0), 1);
    assert_int_equal(pwrite(descriptor, "b", 1, size), 1);
    assert_int_equal(lseek(descriptor, 0, SEEK_SET), 0);
    assert_int_equal(digest_of_descriptor(descriptor, blob.digest, NULL, NULL), 0);
    close(descriptor);
    image->blobs = xreallocarray(image->blobs, image->blob_count + 1, sizeof *image->blobs);
    image->blobs[image->blob_count++] = blob;
    return &image->blobs[image->blob_count - 1];
}

static void a_large_file_is_copied_with_its_holes(void **state)
{
    enum { SIZE = 48 << 20 };
    AUTO_FREE char *folder = xasprintf("%s/store", (char *)*state);
    struct packed_image image = packed_fixture(1);
    const struct packed_blob *disk = add_file(&image, *state, SIZE);
    assert_int_equal(layout_create(folder, NULL), 0);
    assert_int_equal(layout_copy_blob(folder, disk, NULL), 0);
    AUTO_FREE char *path = layout_blob_path(folder, disk->digest);
    struct stat status;
    char found[DIGEST_TEXT_MAX];
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, SIZE + 1);
    assert_true(status.st_blocks < (4 << 20) / 512);
    AUTO_CLOSE int descriptor = open(path, O_RDONLY);
    assert_int_equal(digest_of_descriptor(descriptor, found, NULL, NULL), 0);
    assert_string_equal(found, disk->digest);
    packed_image_release(&image);
}

static void a_file_that_changed_meanwhile_is_refused(void **state)
{
    static const char *const changes[] = {"same length", "longer", "a fifo", "gone"};
    for (size_t i = 0; i < ARRAY_LENGTH(changes); i++) {
        AUTO_FREE char *folder = xasprintf("%s/store", (char *)*state);
        struct packed_image image = packed_fixture(1), found;
        struct error error = ERROR_INIT;
        const char *path = add_file(&image, *state, 4096)->path;
        if (i < 2) {
            AUTO_CLOSE int descriptor = open(path, O_WRONLY);
            assert_int_equal(pwrite(descriptor, "x", 1, i == 0 ? 100 : 5000), 1);
        } else {
            assert_int_equal(unlink(path), 0);
            assert_true(i == 3 || mkfifo(path, 0600) == 0);
        }
        assert_int_equal(layout_add(folder, "default/hello:1.0", &image, &error), -1);
        assert_int_equal(error.code, i == 3 ? ERROR_NOT_FOUND : ERROR_CONFLICT);
        assert_non_null(strstr(error.message, "/disk"));
        assert_int_equal(layout_find(folder, "default/hello:1.0", &found, NULL), -1);
        unlink(path);
        packed_image_release(&image);
    }
}

static void what_a_killed_writer_left_goes(void **state)
{
    AUTO_FREE char *left = xasprintf("%s/blobs/sha256/%064d.AbC123", (char *)*state, 7);
    AUTO_FREE char *others = xasprintf("%s/blobs/sha256/oci-put-blob123", (char *)*state);
    AUTO_FREE char *blobs = xasprintf("%s/blobs/sha256", (char *)*state);
    assert_int_equal(file_make_directory(blobs, 0700, NULL), 0);
    assert_int_equal(file_write(left, "x", 1, 0600, NULL), 0);
    assert_int_equal(file_write(others, "x", 1, 0600, NULL), 0);
    add(*state, "default/hello:1.0", 1, false);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(others, F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_image_is_found_again_with_its_blobs_as_files),
        TEST(an_index_is_found_with_its_children),
        TEST(images_are_listed_by_name_with_their_size),
        TEST(a_name_that_exists_moves_and_its_old_blobs_go),
        TEST(removing_keeps_what_others_use),
        TEST(altered_blobs_are_noticed_and_mended_by_adding_again),
        TEST(entries_of_other_tools_are_kept),
        TEST(what_is_about_an_image_is_found_and_removed_with_it),
        TEST(a_large_file_is_copied_with_its_holes),
        TEST(a_file_that_changed_meanwhile_is_refused),
        TEST(what_a_killed_writer_left_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
