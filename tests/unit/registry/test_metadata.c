#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/metadata/metadata.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

struct place {
    char folder[64];
    struct metadata *metadata;
};

static void open_metadata(struct place *place)
{
    AUTO_FREE char *path = xasprintf("%s/metadata.db", place->folder);
    struct error error = ERROR_INIT;
    if (metadata_open(path, &place->metadata, &error) < 0)
        fail_msg("%s", error.message);
}

static int make_place(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/shoal-metadata-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    open_metadata(place);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    metadata_close(place->metadata);
    assert_int_equal(file_remove_tree(place->folder, NULL), 0);
    free(place);
    return 0;
}

static int put(struct place *place, const char *repository, const char *digest, const char *tag,
               const char *subject, const char *blob, char *missing)
{
    char type[] = "application/test", bytes[] = "{\"x\": 1}\n";
    struct metadata_manifest manifest = {
        .media_type = type, .bytes = bytes, .length = strlen(bytes), .subject = (char *)subject};
    struct metadata_references references = {0};
    struct error error = ERROR_INIT;
    snprintf(manifest.digest, sizeof manifest.digest, "%s", digest);
    if (blob != NULL)
        json_strings_add(&references.blobs, blob);
    int result = metadata_put_manifest(place->metadata, repository, &manifest, tag, &references,
                                       missing, &error);
    metadata_references_finish(&references);
    if (result < 0)
        fail_msg("%s", error.message);
    return result;
}

static int get(struct place *place, const char *repository, const char *reference, char *digest)
{
    struct metadata_manifest manifest = {0};
    int found = metadata_get_manifest(place->metadata, repository, reference, &manifest, NULL);
    if (found == 1) {
        assert_int_equal(manifest.length, 9);
        assert_memory_equal(manifest.bytes, "{\"x\": 1}\n", 9);
        assert_string_equal(manifest.media_type, "application/test");
        memcpy(digest, manifest.digest, DIGEST_TEXT_MAX);
    }
    metadata_manifest_finish(&manifest);
    return found;
}

static void a_blob_belongs_to_the_repositories_that_hold_it(void **state)
{
    struct place *place = *state;
    struct metadata *metadata = place->metadata;
    bool last = true;
    assert_int_equal(metadata_has_blob(metadata, "a", A, NULL), 0);
    assert_int_equal(metadata_add_blob(metadata, "a", A, NULL), 0);
    assert_int_equal(metadata_add_blob(metadata, "a", A, NULL), 0); /* again is fine */
    assert_int_equal(metadata_has_blob(metadata, "a", A, NULL), 1);
    assert_int_equal(metadata_has_blob(metadata, "b", A, NULL), 0);
    assert_int_equal(metadata_mount_blob(metadata, "b", "c", A, NULL), 0);
    assert_int_equal(metadata_has_repository(metadata, "c", NULL), 0);
    assert_int_equal(metadata_mount_blob(metadata, "a", "b", A, NULL), 1);
    assert_int_equal(metadata_has_blob(metadata, "b", A, NULL), 1);
    assert_int_equal(metadata_remove_blob(metadata, "a", A, &last, NULL), 1);
    assert_false(last);
    assert_int_equal(metadata_remove_blob(metadata, "a", A, &last, NULL), 0);
    assert_int_equal(metadata_remove_blob(metadata, "b", A, &last, NULL), 1);
    assert_true(last);
}

static void a_manifest_needs_what_it_refers_to(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_TEXT_MAX] = "", digest[DIGEST_TEXT_MAX] = "";
    assert_int_equal(put(place, "a", B, "v1", NULL, A, missing), 0);
    assert_string_equal(missing, A);
    assert_int_equal(metadata_has_repository(place->metadata, "a", NULL), 0);
    assert_int_equal(metadata_add_blob(place->metadata, "other", A, NULL), 0);
    assert_int_equal(put(place, "a", B, "v1", NULL, A, missing), 0); /* another's does not count */
    assert_int_equal(metadata_add_blob(place->metadata, "a", A, NULL), 0);
    assert_int_equal(put(place, "a", B, "v1", NULL, A, missing), 1);
    assert_int_equal(get(place, "a", "v1", digest), 1);
    assert_string_equal(digest, B);
    assert_int_equal(get(place, "a", B, digest), 1);
    assert_int_equal(get(place, "a", "v2", digest), 0);
    assert_int_equal(get(place, "b", B, digest), 0);
}

static void a_tag_moves_and_goes_with_its_manifest(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_TEXT_MAX], digest[DIGEST_TEXT_MAX] = "";
    assert_int_equal(put(place, "a", A, "v1", NULL, NULL, missing), 1);
    assert_int_equal(put(place, "a", B, "v1", NULL, NULL, missing), 1);
    assert_int_equal(get(place, "a", "v1", digest), 1);
    assert_string_equal(digest, B);
    assert_int_equal(get(place, "a", A, digest), 1); /* untagged, still there */
    assert_int_equal(metadata_remove_manifest(place->metadata, "a", "v1", NULL), 1);
    assert_int_equal(get(place, "a", "v1", digest), 0);
    assert_int_equal(get(place, "a", B, digest), 1);
    assert_int_equal(put(place, "a", B, "v2", NULL, NULL, missing), 1);
    assert_int_equal(metadata_remove_manifest(place->metadata, "a", B, NULL), 1);
    assert_int_equal(get(place, "a", "v2", digest), 0);
    assert_int_equal(metadata_remove_manifest(place->metadata, "a", B, NULL), 0);
}

static void lists_are_sorted_by_bytes_and_paged(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_TEXT_MAX];
    struct json_strings names = {0};
    const char *tags[] = {"b", "a", "B", "a1", "_"};
    for (size_t i = 0; i < ARRAY_LENGTH(tags); i++)
        assert_int_equal(put(place, "r", A, tags[i], NULL, NULL, missing), 1);
    assert_int_equal(metadata_list_tags(place->metadata, "r", "", 3, &names, NULL), 0);
    assert_int_equal(names.count, 3);
    assert_string_equal(names.items[0], "B");
    assert_string_equal(names.items[1], "_");
    assert_string_equal(names.items[2], "a");
    json_strings_release(&names);
    assert_int_equal(metadata_list_tags(place->metadata, "r", "a", 3, &names, NULL), 0);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[0], "a1");
    json_strings_release(&names);
    assert_int_equal(put(place, "q/x", A, NULL, NULL, NULL, missing), 1);
    assert_int_equal(metadata_list_repositories(place->metadata, "", 9, &names, NULL), 0);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[0], "q/x");
    json_strings_release(&names);
}

static bool note_digest(const struct metadata_manifest *manifest, void *data)
{
    json_strings_add(data, manifest->digest);
    return true;
}

static void referrers_are_found_by_their_subject(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_TEXT_MAX];
    struct json_strings found = {0};
    assert_int_equal(put(place, "r", B, NULL, A, NULL, missing), 1);
    assert_int_equal(put(place, "r", C, NULL, B, NULL, missing), 1);
    assert_int_equal(put(place, "other", C, NULL, A, NULL, missing), 1);
    assert_int_equal(metadata_list_referrers(place->metadata, "r", A, 0, note_digest, &found, NULL),
                     0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0], B);
    json_strings_release(&found);
}

static bool note_id(const struct metadata_manifest *manifest, void *data)
{
    *(uint64_t *)data = manifest->id;
    return false;
}

static void referrers_go_on_behind_the_one_that_was_enough(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_TEXT_MAX];
    uint64_t last = 0;
    struct json_strings found = {0};
    assert_int_equal(put(place, "r", C, NULL, A, NULL, missing), 1);
    assert_int_equal(put(place, "r", B, NULL, A, NULL, missing), 1);
    assert_int_equal(metadata_list_referrers(place->metadata, "r", A, 0, note_id, &last, NULL), 0);
    assert_int_not_equal(last, 0);
    assert_int_equal(
        metadata_list_referrers(place->metadata, "r", A, last, note_digest, &found, NULL), 0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0], B);
    json_strings_release(&found);
}

static void all_of_it_outlives_the_process(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_TEXT_MAX], digest[DIGEST_TEXT_MAX];
    assert_int_equal(metadata_add_blob(place->metadata, "r", A, NULL), 0);
    assert_int_equal(put(place, "r", B, "v1", NULL, A, missing), 1);
    assert_int_equal(metadata_add_upload(place->metadata, "id1", "r", NULL), 0);
    metadata_close(place->metadata);
    open_metadata(place);
    assert_int_equal(metadata_has_blob(place->metadata, "r", A, NULL), 1);
    assert_int_equal(get(place, "r", "v1", digest), 1);
    assert_int_equal(metadata_has_upload(place->metadata, "id1", "r", NULL), 1);
    assert_int_equal(metadata_has_upload(place->metadata, "id1", "other", NULL), 0);
    assert_int_equal(metadata_remove_upload(place->metadata, "id1", NULL), 0);
    assert_int_equal(metadata_has_upload(place->metadata, "id1", "r", NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_blob_belongs_to_the_repositories_that_hold_it),
        TEST(a_manifest_needs_what_it_refers_to),
        TEST(a_tag_moves_and_goes_with_its_manifest),
        TEST(lists_are_sorted_by_bytes_and_paged),
        TEST(referrers_are_found_by_their_subject),
        TEST(referrers_go_on_behind_the_one_that_was_enough),
        TEST(all_of_it_outlives_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
