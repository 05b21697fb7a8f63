#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/metadata/metadata.h"
#include "registry/metadata/schema.h"

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

/* The manifest "{"x": 1}" under any digest: what it refers to is said by the caller. */
struct pushed {
    const char *repository, *digest, *tag, *subject, *type, *annotations;
    const char *blob, *child, *elsewhere;
    const struct metadata_rules *rules;
    struct metadata_refusal refusal;
};

static int push(struct place *place, struct pushed *pushed)
{
    char type[] = "application/test", bytes[] = "{\"x\": 1}\n";
    struct metadata_manifest manifest = {.media_type = type,
                                         .bytes = bytes,
                                         .length = strlen(bytes),
                                         .subject = (char *)pushed->subject,
                                         .artifact_type = (char *)pushed->type,
                                         .annotations = (char *)pushed->annotations};
    struct metadata_references references = {0};
    struct json_strings tags = {0};
    struct error error = ERROR_INIT;
    snprintf(manifest.digest, sizeof manifest.digest, "%s", pushed->digest);
    if (pushed->tag != NULL)
        json_strings_add(&tags, pushed->tag);
    if (pushed->blob != NULL)
        json_strings_add(&references.blobs, pushed->blob);
    if (pushed->child != NULL)
        json_strings_add(&references.manifests, pushed->child);
    if (pushed->elsewhere != NULL)
        json_strings_add(&references.elsewhere, pushed->elsewhere);
    int result = metadata_put_manifest(place->metadata, pushed->repository, &manifest, &tags,
                                       &references, pushed->rules, &pushed->refusal, &error);
    metadata_references_finish(&references);
    json_strings_release(&tags);
    if (result < 0)
        fail_msg("%s", error.message);
    return result;
}

static int put(struct place *place, const char *repository, const char *digest, const char *tag,
               const char *subject, const char *blob, char *missing)
{
    struct pushed pushed = {
        .repository = repository, .digest = digest, .tag = tag, .subject = subject, .blob = blob};
    int result = push(place, &pushed);
    if (result == 0) {
        assert_int_equal(pushed.refusal.reason, METADATA_MISSING);
        memcpy(missing, pushed.refusal.name, DIGEST_ANY_MAX);
    }
    return result;
}

static int get(struct place *place, const char *repository, const char *reference, char *digest)
{
    const struct metadata_manifest *manifest = NULL;
    int found = metadata_get_manifest(place->metadata, repository, reference, &manifest, NULL);
    if (found == 1) {
        assert_int_equal(manifest->length, 9);
        assert_memory_equal(manifest->bytes, "{\"x\": 1}\n", 9);
        assert_string_equal(manifest->media_type, "application/test");
        memcpy(digest, manifest->digest, DIGEST_ANY_MAX);
    }
    metadata_manifest_release(manifest);
    return found;
}

static int add(struct place *place, const char *repository, const char *digest)
{
    struct error error = ERROR_INIT;
    int result = metadata_add_blob(place->metadata, repository, digest, 100, NULL, &error);
    if (result < 0)
        fail_msg("%s", error.message);
    return result;
}

static int remove_reference(struct place *place, const char *repository, const char *reference)
{
    struct metadata_refusal refusal = {0};
    int result =
        metadata_remove_manifest(place->metadata, repository, reference, NULL, &refusal, NULL);
    assert_int_equal(refusal.reason, METADATA_NOT_REFUSED);
    return result;
}

static uint64_t used(struct place *place, const char *repository)
{
    uint64_t bytes = 1;
    assert_int_equal(metadata_get_used(place->metadata, repository, &bytes, NULL), 0);
    return bytes;
}

static void a_blob_belongs_to_the_repositories_that_hold_it(void **state)
{
    struct place *place = *state;
    struct metadata *metadata = place->metadata;
    bool last = true;
    assert_int_equal(metadata_has_blob(metadata, "a", A, NULL), 0);
    assert_int_equal(add(place, "a", A), 1);
    assert_int_equal(add(place, "a", A), 1); /* again is fine */
    assert_int_equal(metadata_has_blob(metadata, "a", A, NULL), 1);
    assert_int_equal(metadata_has_blob(metadata, "b", A, NULL), 0);
    assert_int_equal(metadata_mount_blob(metadata, "b", "c", A, NULL, NULL), 0);
    assert_int_equal(metadata_has_repository(metadata, "c", NULL), 0);
    assert_int_equal(metadata_mount_blob(metadata, "a", "b", A, NULL, NULL), 1);
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
    char missing[DIGEST_ANY_MAX] = "", digest[DIGEST_ANY_MAX] = "";
    assert_int_equal(put(place, "a", B, "v1", NULL, A, missing), 0);
    assert_string_equal(missing, A);
    assert_int_equal(metadata_has_repository(place->metadata, "a", NULL), 0);
    assert_int_equal(add(place, "other", A), 1);
    assert_int_equal(put(place, "a", B, "v1", NULL, A, missing), 0); /* another's does not count */
    assert_int_equal(add(place, "a", A), 1);
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
    char missing[DIGEST_ANY_MAX], digest[DIGEST_ANY_MAX] = "";
    assert_int_equal(put(place, "a", A, "v1", NULL, NULL, missing), 1);
    assert_int_equal(put(place, "a", B, "v1", NULL, NULL, missing), 1);
    assert_int_equal(get(place, "a", "v1", digest), 1);
    assert_string_equal(digest, B);
    assert_int_equal(get(place, "a", A, digest), 1); /* untagged, still there */
    assert_int_equal(remove_reference(place, "a", "v1"), 1);
    assert_int_equal(get(place, "a", "v1", digest), 0);
    assert_int_equal(get(place, "a", B, digest), 1);
    assert_int_equal(put(place, "a", B, "v2", NULL, NULL, missing), 1);
    assert_int_equal(remove_reference(place, "a", B), 1);
    assert_int_equal(get(place, "a", "v2", digest), 0);
    assert_int_equal(remove_reference(place, "a", B), 0);
}

static void lists_are_sorted_by_bytes_and_paged(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_ANY_MAX];
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

static bool note_digest(const struct metadata_referrer *manifest, void *data)
{
    json_strings_add(data, manifest->digest);
    return true;
}

static void referrers_are_found_by_their_subject(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_ANY_MAX];
    struct json_strings found = {0};
    assert_int_equal(put(place, "r", B, NULL, A, NULL, missing), 1);
    assert_int_equal(put(place, "r", C, NULL, B, NULL, missing), 1);
    assert_int_equal(put(place, "other", C, NULL, A, NULL, missing), 1);
    assert_int_equal(
        metadata_list_referrers(place->metadata, "r", A, NULL, 0, note_digest, &found, NULL), 0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0], B);
    json_strings_release(&found);
}

static bool note_id(const struct metadata_referrer *manifest, void *data)
{
    *(uint64_t *)data = manifest->id;
    return false;
}

static void referrers_go_on_behind_the_one_that_was_enough(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_ANY_MAX];
    uint64_t last = 0;
    struct json_strings found = {0};
    assert_int_equal(put(place, "r", C, NULL, A, NULL, missing), 1);
    assert_int_equal(put(place, "r", B, NULL, A, NULL, missing), 1);
    assert_int_equal(
        metadata_list_referrers(place->metadata, "r", A, NULL, 0, note_id, &last, NULL), 0);
    assert_int_not_equal(last, 0);
    assert_int_equal(
        metadata_list_referrers(place->metadata, "r", A, NULL, last, note_digest, &found, NULL), 0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0], B);
    json_strings_release(&found);
}

static void all_of_it_outlives_the_process(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_ANY_MAX], digest[DIGEST_ANY_MAX];
    assert_int_equal(add(place, "r", A), 1);
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

static void an_upload_ends_when_its_blob_is_listed(void **state)
{
    struct place *place = *state;
    struct metadata *metadata = place->metadata;
    struct metadata_rules rules = {.quota = 150};
    assert_int_equal(metadata_add_upload(metadata, "id1", "r", NULL), 0);
    assert_int_equal(metadata_add_upload(metadata, "id2", "r", NULL), 0);
    assert_int_equal(metadata_end_upload(metadata, "id1", "r", A, 100, &rules, NULL), 1);
    assert_int_equal(metadata_has_blob(metadata, "r", A, NULL), 1);
    assert_int_equal(metadata_has_upload(metadata, "id1", "r", NULL), 0);
    /* Over the quota, both stay as they were. */
    assert_int_equal(metadata_end_upload(metadata, "id2", "r", B, 51, &rules, NULL), 0);
    assert_int_equal(metadata_has_blob(metadata, "r", B, NULL), 0);
    assert_int_equal(metadata_has_upload(metadata, "id2", "r", NULL), 1);
}

static bool note_referrer(const struct metadata_referrer *referrer, void *data)
{
    assert_int_equal(referrer->size, 9);
    assert_string_equal(referrer->media_type, "application/test");
    assert_string_equal(referrer->artifact_type, "type/b");
    assert_string_equal(referrer->annotations, "{\"k\":\"v\"}");
    json_strings_add(data, referrer->digest);
    return true;
}

static void referrers_are_chosen_by_their_artifact_type(void **state)
{
    struct place *place = *state;
    struct json_strings found = {0};
    struct pushed one = {.repository = "r", .digest = B, .subject = A, .type = "type/a"};
    struct pushed other = {.repository = "r",
                           .digest = C,
                           .subject = A,
                           .type = "type/b",
                           .annotations = "{\"k\":\"v\"}"};
    assert_int_equal(push(place, &one), 1);
    assert_int_equal(push(place, &other), 1);
    assert_int_equal(
        metadata_list_referrers(place->metadata, "r", A, "type/b", 0, note_referrer, &found, NULL),
        0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0], C);
    json_strings_release(&found);
}

static void a_repository_knows_its_bytes(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_ANY_MAX];
    bool last;
    assert_int_equal(used(place, "r"), 0);
    assert_int_equal(add(place, "r", A), 1);
    assert_int_equal(add(place, "r", A), 1); /* counted once */
    assert_int_equal(used(place, "r"), 100);
    assert_int_equal(metadata_mount_blob(place->metadata, "r", "s", A, NULL, NULL), 1);
    assert_int_equal(used(place, "s"), 100);
    assert_int_equal(put(place, "r", B, "v1", NULL, A, missing), 1);
    assert_int_equal(put(place, "r", B, "v2", NULL, A, missing), 1);
    assert_int_equal(used(place, "r"), 109);
    assert_int_equal(metadata_remove_blob(place->metadata, "r", A, &last, NULL), 1);
    assert_int_equal(used(place, "r"), 9);
    assert_int_equal(remove_reference(place, "r", B), 1);
    assert_int_equal(used(place, "r"), 0);
}

static void what_is_over_the_quota_is_not_stored(void **state)
{
    struct place *place = *state;
    struct metadata *metadata = place->metadata;
    struct metadata_rules rules = {.quota = 150};
    struct pushed pushed = {.repository = "r", .digest = C, .tag = "v1", .rules = &rules};
    assert_int_equal(metadata_add_blob(metadata, "r", A, 100, &rules, NULL), 1);
    assert_int_equal(metadata_add_blob(metadata, "r", B, 51, &rules, NULL), 0);
    assert_int_equal(metadata_has_blob(metadata, "r", B, NULL), 0);
    assert_int_equal(used(place, "r"), 100);
    rules.quota = 105;
    assert_int_equal(push(place, &pushed), 0);
    assert_int_equal(pushed.refusal.reason, METADATA_OVER_QUOTA);
    rules.quota = 50; /* lowered: what is there may come again */
    assert_int_equal(metadata_add_blob(metadata, "r", A, 100, &rules, NULL), 1);
    rules.quota = UINT64_MAX;
    assert_int_equal(push(place, &pushed), 1);
}

static bool is_fixed(const char *repository, const char *tag, void *data)
{
    (void)data;
    assert_string_equal(repository, "r");
    return strcmp(tag, "fixed") == 0;
}

static void an_immutable_tag_neither_moves_nor_goes(void **state)
{
    struct place *place = *state;
    struct metadata *metadata = place->metadata;
    struct metadata_rules rules = {.quota = UINT64_MAX, .is_immutable = is_fixed};
    struct metadata_refusal refusal = {0};
    struct pushed first = {.repository = "r", .digest = A, .tag = "fixed", .rules = &rules};
    struct pushed second = {.repository = "r", .digest = B, .tag = "fixed", .rules = &rules};
    char digest[DIGEST_ANY_MAX];
    assert_int_equal(push(place, &first), 1);
    assert_int_equal(push(place, &first), 1); /* the same again */
    assert_int_equal(push(place, &second), 0);
    assert_int_equal(second.refusal.reason, METADATA_IMMUTABLE);
    assert_string_equal(second.refusal.name, "fixed");
    assert_int_equal(get(place, "r", B, digest), 0);
    assert_int_equal(metadata_remove_manifest(metadata, "r", "fixed", &rules, &refusal, NULL), 0);
    assert_int_equal(refusal.reason, METADATA_IMMUTABLE);
    refusal.reason = METADATA_NOT_REFUSED;
    assert_int_equal(metadata_remove_manifest(metadata, "r", A, &rules, &refusal, NULL), 0);
    assert_int_equal(refusal.reason, METADATA_IMMUTABLE);
    assert_int_equal(get(place, "r", "fixed", digest), 1);
}

static void a_manifest_stays_while_an_index_lists_it(void **state)
{
    struct place *place = *state;
    struct metadata_refusal refusal = {0};
    struct pushed child = {.repository = "r", .digest = A};
    struct pushed index = {.repository = "r", .digest = B, .tag = "v1", .child = A};
    char digest[DIGEST_ANY_MAX];
    assert_int_equal(push(place, &index), 0);
    assert_string_equal(index.refusal.name, A);
    assert_int_equal(push(place, &child), 1);
    assert_int_equal(push(place, &index), 1);
    assert_int_equal(metadata_remove_manifest(place->metadata, "r", A, NULL, &refusal, NULL), 0);
    assert_int_equal(refusal.reason, METADATA_LISTED);
    assert_string_equal(refusal.name, B);
    assert_int_equal(get(place, "r", A, digest), 1);
    assert_int_equal(remove_reference(place, "r", B), 1);
    assert_int_equal(remove_reference(place, "r", A), 1);
}

static void a_reader_sees_what_was_acknowledged(void **state)
{
    struct place *place = *state;
    char missing[DIGEST_ANY_MAX], digest[DIGEST_ANY_MAX];
    bool last;
    for (int i = 0; i < 100; i++) {
        const char *next = i % 2 == 0 ? A : B;
        assert_int_equal(put(place, "r", next, "v1", NULL, NULL, missing), 1);
        for (int again = 0; again < 2; again++) { /* from the file, then from memory */
            assert_int_equal(get(place, "r", "v1", digest), 1);
            assert_string_equal(digest, next);
        }
        assert_int_equal(add(place, "r", C), 1);
        assert_int_equal(metadata_has_blob(place->metadata, "r", C, NULL), 1);
        assert_int_equal(metadata_has_blob(place->metadata, "r", C, NULL), 1);
        assert_int_equal(metadata_remove_blob(place->metadata, "r", C, &last, NULL), 1);
        assert_int_equal(metadata_has_blob(place->metadata, "r", C, NULL), 0);
    }
    assert_int_equal(remove_reference(place, "r", B), 1);
    assert_int_equal(get(place, "r", "v1", digest), 0);
}

static void a_damaged_manifest_is_found_and_mended_by_a_push(void **state)
{
    struct place *place = *state;
    AUTO_FREE char *path = xasprintf("%s/metadata.db", place->folder);
    char digest[DIGEST_TEXT_MAX], missing[DIGEST_ANY_MAX];
    struct metadata_check check = {0};
    struct database *database = NULL;
    digest_of_bytes("{\"x\": 1}\n", 9, digest);
    assert_int_equal(put(place, "r", digest, "v1", NULL, NULL, missing), 1);
    assert_int_equal(metadata_check_manifest(place->metadata, 0, &check, NULL), 1);
    assert_true(check.is_whole);
    assert_int_equal(database_open(path, schema_migrations, &database, NULL), 0);
    assert_int_equal(database_execute(database, "UPDATE manifests SET bytes = 'broken'", NULL), 0);
    database_close(database);
    assert_int_equal(metadata_check_manifest(place->metadata, 0, &check, NULL), 1);
    assert_false(check.is_whole);
    assert_string_equal(check.repository, "r");
    assert_string_equal(check.digest, digest);
    assert_int_equal(put(place, "r", digest, NULL, NULL, NULL, missing), 1);
    assert_int_equal(metadata_check_manifest(place->metadata, 0, &check, NULL), 1);
    assert_true(check.is_whole);
    assert_int_equal(metadata_check_manifest(place->metadata, check.id, &check, NULL), 0);
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
        TEST(referrers_are_chosen_by_their_artifact_type),
        TEST(a_repository_knows_its_bytes),
        TEST(what_is_over_the_quota_is_not_stored),
        TEST(an_upload_ends_when_its_blob_is_listed),
        TEST(an_immutable_tag_neither_moves_nor_goes),
        TEST(a_manifest_stays_while_an_index_lists_it),
        TEST(a_reader_sees_what_was_acknowledged),
        TEST(a_damaged_manifest_is_found_and_mended_by_a_push),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
