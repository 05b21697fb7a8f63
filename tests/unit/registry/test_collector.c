/* What garbage collection takes and what it leaves. */
#include "tests/unit/registry/collection.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/clock.h"

#define A              "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B              "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C              "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define D              "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
#define E              "sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
#define SIGNATURE_OF_B "sha256-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.sig"

static const struct collector_options all_old = {.orphans = true, .uploads = 1000};
static const struct collector_options with_untagged = {.untagged = true, .uploads = 1000};

static int make_store(void **state)
{
    struct store *store = xcalloc(1, sizeof *store);
    store_open(store, "/dev/shm"); /* thousands of syncs take time elsewhere */
    *state = store;
    return 0;
}

static int remove_store(void **state)
{
    store_close(*state);
    free(*state);
    return 0;
}

/* Things are told apart by milliseconds: what was just stored is old a moment later. */
static void grow_old(void)
{
    const struct timespec moment = {.tv_nsec = 3000000};
    nanosleep(&moment, NULL);
}

static struct collector_report collect(struct store *store, const struct collector_options *options)
{
    grow_old();
    return store_collect(store, options);
}

static void blobs_stay_while_a_manifest_refers_to_them(void **state)
{
    struct store *store = *state;
    struct metadata_refusal refusal;
    char used[DIGEST_TEXT_MAX], unused[DIGEST_TEXT_MAX];
    store_push_blob(store, "r", "used", false, used);
    store_push_blob(store, "r", "unused", false, unused);
    assert_int_equal(store_push_manifest(store, "r", A, &(struct wanted){.blob = used}), 1);
    struct collector_report report = collect(store, &all_old);
    assert_int_equal(report.blobs.count, 1);
    assert_int_equal(report.blobs.bytes, strlen("unused"));
    assert_int_equal(report.files.count, 1);
    assert_int_equal(report.orphans.count, 0);
    assert_true(store_has_blob(store, "r", used));
    assert_int_equal(metadata_has_blob(store->metadata, "r", unused, NULL), 0);
    assert_false(store_has_bytes(store, unused));
    assert_int_equal(metadata_remove_manifest(store->metadata, "r", A, NULL, &refusal, NULL), 1);
    report = collect(store, &all_old);
    assert_int_equal(report.files.count, 1);
    assert_false(store_has_bytes(store, used));
}

static void another_repositorys_blob_keeps_the_bytes(void **state)
{
    struct store *store = *state;
    char digest[DIGEST_TEXT_MAX];
    store_push_blob(store, "r", "shared", false, digest);
    store_push_blob(store, "s", "shared", false, digest);
    assert_int_equal(store_push_manifest(store, "s", A, &(struct wanted){.blob = digest}), 1);
    struct collector_report report = collect(store, &all_old);
    assert_int_equal(report.blobs.count, 1);
    assert_int_equal(report.files.count, 0);
    assert_int_equal(metadata_has_blob(store->metadata, "r", digest, NULL), 0);
    assert_true(store_has_blob(store, "s", digest));
}

static void the_young_and_the_leased_stay(void **state)
{
    struct store *store = *state;
    const struct collector_options an_hour = {.orphans = true, .grace = 3600000, .uploads = 1000};
    char digest[DIGEST_TEXT_MAX];
    store_push_blob(store, "r", "young", false, digest);
    assert_int_equal(collect(store, &an_hour).blobs.count, 0);
    leases_take(store->leases, "r", digest);
    assert_int_equal(collect(store, &all_old).blobs.count, 0);
    assert_true(store_has_blob(store, "r", digest));
    store->now += 2000; /* the lease ends */
    assert_int_equal(collect(store, &all_old).blobs.count, 1);
}

static void a_push_may_take_longer_than_the_grace(void **state)
{
    struct store *store = *state;
    const struct collector_options patient = {.uploads = 3600000};
    char digest[DIGEST_TEXT_MAX], other[DIGEST_TEXT_MAX];
    store_push_blob(store, "r", "the first layer", false, digest);
    store_push_blob(store, "s", "of no push", false, other);
    leases_take(store->leases, "r", LEASE_PUSH);
    assert_int_equal(collect(store, &patient).blobs.count, 1);
    assert_true(store_has_blob(store, "r", digest));
    assert_false(store_has_bytes(store, other));
    /* But not for ever, in a repository that is pushed to day and night. */
    assert_int_equal(collect(store, &(struct collector_options){.uploads = 0}).blobs.count, 1);
    assert_false(store_has_bytes(store, digest));
}

static void a_repository_that_holds_nothing_is_forgotten(void **state)
{
    struct store *store = *state;
    struct collector_options options = with_untagged;
    char digest[DIGEST_TEXT_MAX];
    store_push_blob(store, "emptied", "a blob", false, digest);
    assert_int_equal(store_push_manifest(store, "emptied", A, &(struct wanted){.blob = digest}), 1);
    assert_int_equal(store_push_manifest(store, "tagged", B, &(struct wanted){.tag = "v1"}), 1);
    options.dry_run = true;
    assert_int_equal(collect(store, &options).repositories, 1);
    assert_int_equal(metadata_has_repository(store->metadata, "emptied", NULL), 1);
    assert_int_equal(collect(store, &with_untagged).repositories, 1);
    assert_int_equal(metadata_has_repository(store->metadata, "emptied", NULL), 0);
    assert_int_equal(metadata_has_repository(store->metadata, "tagged", NULL), 1);
}

static void untagged_manifests_stay_unless_asked_for(void **state)
{
    struct store *store = *state;
    assert_int_equal(store_push_manifest(store, "r", A, &(struct wanted){.tag = "v1"}), 1);
    assert_int_equal(store_push_manifest(store, "r", B, &(struct wanted){.tag = "v1"}), 1);
    assert_int_equal(collect(store, &all_old).manifests.count, 0);
    assert_true(store_has_manifest(store, "r", A));
    assert_int_equal(collect(store, &with_untagged).manifests.count, 1);
    assert_false(store_has_manifest(store, "r", A));
    assert_true(store_has_manifest(store, "r", B));
}

/* A lists B, B is the subject of C, C of D; cosign's tag for B is on E. */
static void push_family(struct store *store, const char *tag)
{
    assert_int_equal(store_push_manifest(store, "r", B, &(struct wanted){0}), 1);
    assert_int_equal(store_push_manifest(store, "r", A, &(struct wanted){.child = B, .tag = tag}),
                     1);
    assert_int_equal(store_push_manifest(store, "r", C, &(struct wanted){.subject = B}), 1);
    assert_int_equal(store_push_manifest(store, "r", D, &(struct wanted){.subject = C}), 1);
    assert_int_equal(store_push_manifest(store, "r", E, &(struct wanted){.tag = SIGNATURE_OF_B}),
                     1);
}

static void what_a_live_manifest_leads_to_lives(void **state)
{
    struct store *store = *state;
    struct metadata_refusal refusal;
    push_family(store, "v1");
    assert_int_equal(collect(store, &with_untagged).manifests.count, 0);
    assert_int_equal(metadata_remove_manifest(store->metadata, "r", "v1", NULL, &refusal, NULL), 1);
    assert_int_equal(collect(store, &with_untagged).manifests.count, 5);
    assert_false(store_has_manifest(store, "r", SIGNATURE_OF_B));
}

static void what_a_leased_manifest_leads_to_lives(void **state)
{
    struct store *store = *state;
    push_family(store, NULL);
    leases_take(store->leases, "r", A);
    assert_int_equal(collect(store, &with_untagged).manifests.count, 0);
    store->now += 2000;
    leases_take(store->leases, "r", C);
    assert_int_equal(collect(store, &with_untagged).manifests.count, 3);
    assert_true(store_has_manifest(store, "r", C));
    assert_true(store_has_manifest(store, "r", D));
}

static void more_than_a_batch_goes_in_one_collection(void **state)
{
    struct store *store = *state;
    const struct collector_options dry = {.dry_run = true, .untagged = true, .uploads = 1000};
    for (unsigned i = 0; i < 1100; i++) {
        char text[32], blob[DIGEST_TEXT_MAX], digest[DIGEST_TEXT_MAX];
        snprintf(text, sizeof text, "blob %u", i);
        store_push_blob(store, "r", text, false, blob);
        snprintf(digest, sizeof digest, "sha256:%064u", i);
        assert_int_equal(store_push_manifest(store, "r", digest, &(struct wanted){.blob = blob}),
                         1);
    }
    struct collector_report report = collect(store, &dry);
    assert_int_equal(report.manifests.count, 1100);
    assert_int_equal(report.blobs.count, 1100);
    assert_int_equal(report.files.count, 1100);
    report = collect(store, &with_untagged);
    assert_int_equal(report.manifests.count, 1100);
    assert_int_equal(report.blobs.count, 1100);
    assert_int_equal(report.files.count, 1100);
    assert_int_equal(store->metrics.counters[COUNTER_COLLECTED_BLOBS], 1100);
}

static void a_dry_run_says_what_a_real_one_does(void **state)
{
    struct store *store = *state;
    struct collector_options options = {.dry_run = true, .untagged = true, .orphans = true};
    char one[DIGEST_TEXT_MAX], other[DIGEST_TEXT_MAX], shared[DIGEST_TEXT_MAX];
    struct blob_upload *upload = NULL;
    store_push_blob(store, "r", "one", false, one);
    store_push_blob(store, "r", "the other", false, other);
    store_push_blob(store, "r", "shared by all", false, shared);
    store_push_blob(store, "s", "shared by all", false, shared);
    assert_int_equal(store_push_manifest(store, "r", A, &(struct wanted){.blob = one}), 1);
    assert_int_equal(
        store_push_manifest(store, "r", B, &(struct wanted){.blob = other, .tag = "v1"}), 1);
    assert_int_equal(blob_upload_create(store->blobs, DIGEST_SHA256, &upload, NULL), 0);
    assert_int_equal(blob_upload_write(upload, "abc", 3, NULL), 0);
    blob_upload_close(upload);
    struct collector_report dry = collect(store, &options);
    assert_true(store_has_manifest(store, "r", A));
    assert_true(store_has_blob(store, "r", one));
    assert_true(store_has_blob(store, "s", shared));
    options.dry_run = false;
    struct collector_report real = collect(store, &options);
    assert_int_equal(dry.manifests.count, 1);
    assert_int_equal(dry.blobs.count, 3);
    assert_int_equal(dry.files.count, 2);
    assert_int_equal(dry.uploads.bytes, 3);
    assert_true(dry.dry_run);
    dry.dry_run = false;
    dry.duration = real.duration;
    assert_memory_equal(&dry.manifests, &real.manifests, sizeof dry.manifests);
    assert_memory_equal(&dry.blobs, &real.blobs, sizeof dry.blobs);
    assert_memory_equal(&dry.files, &real.files, sizeof dry.files);
    assert_memory_equal(&dry.orphans, &real.orphans, sizeof dry.orphans);
    assert_memory_equal(&dry.uploads, &real.uploads, sizeof dry.uploads);
}

static void bytes_without_an_entry_go_after_the_grace(void **state)
{
    struct store *store = *state;
    const struct collector_options an_hour = {.orphans = true, .grace = 3600000, .uploads = 1000};
    char digest[DIGEST_TEXT_MAX];
    bool last;
    store_push_blob(store, "r", "left by a crash", false, digest);
    assert_int_equal(metadata_remove_blob(store->metadata, "r", digest, &last, NULL), 1);
    assert_int_equal(collect(store, &an_hour).orphans.count, 0);
    assert_true(store_has_bytes(store, digest));
    struct collector_report report = collect(store, &all_old);
    assert_int_equal(report.orphans.count, 1);
    assert_int_equal(report.orphans.bytes, strlen("left by a crash"));
    assert_false(store_has_bytes(store, digest));
}

static struct blob_upload *start_upload(struct store *store, char ret_id[UPLOAD_ID_MAX])
{
    struct blob_upload *upload = NULL;
    assert_int_equal(blob_upload_create(store->blobs, DIGEST_SHA256, &upload, NULL), 0);
    memcpy(ret_id, blob_upload_id(upload), UPLOAD_ID_MAX);
    assert_int_equal(metadata_add_upload(store->metadata, ret_id, "r", NULL), 0);
    assert_int_equal(blob_upload_write(upload, "abc", 3, NULL), 0);
    return upload;
}

static void make_older(struct store *store, const char *id)
{
    AUTO_FREE char *path = xasprintf("%s/uploads/%s", store->folder, id);
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void abandoned_uploads_expire(void **state)
{
    struct store *store = *state;
    const struct collector_options a_minute = {.uploads = 60000};
    char fresh[UPLOAD_ID_MAX], old[UPLOAD_ID_MAX], busy[UPLOAD_ID_MAX];
    blob_upload_close(start_upload(store, fresh));
    blob_upload_close(start_upload(store, old));
    struct blob_upload *upload = start_upload(store, busy);
    make_older(store, old);
    make_older(store, busy);
    struct collector_report report = collect(store, &a_minute);
    assert_int_equal(report.uploads.count, 1);
    assert_int_equal(report.uploads.bytes, 3);
    assert_int_equal(metadata_has_upload(store->metadata, old, "r", NULL), 0);
    assert_int_equal(metadata_has_upload(store->metadata, fresh, "r", NULL), 1);
    assert_int_equal(metadata_has_upload(store->metadata, busy, "r", NULL), 1);
    assert_int_equal(blob_upload_write(upload, "d", 1, NULL), 0);
    blob_upload_close(upload);
    assert_int_equal(blob_upload_open(store->blobs, fresh, &upload, NULL), 0);
    blob_upload_close(upload);
    assert_int_equal(blob_upload_open(store->blobs, old, &upload, NULL), -1);
}

static void an_entry_without_an_upload_is_forgotten(void **state)
{
    struct store *store = *state;
    const char *id = "00112233445566778899aabbccddeeff";
    const struct collector_options now = {.uploads = 0};
    assert_int_equal(metadata_add_upload(store->metadata, id, "r", NULL), 0);
    assert_int_equal(collect(store, &all_old).uploads.count, 0);
    assert_int_equal(metadata_has_upload(store->metadata, id, "r", NULL), 1);
    collect(store, &now);
    assert_int_equal(metadata_has_upload(store->metadata, id, "r", NULL), 0);
}

static void nothing_goes_while_a_backup_is_made(void **state)
{
    struct store *store = *state;
    AUTO_FREE char *path = xasprintf("%s/collect.lock", store->folder);
    AUTO_CLOSE int descriptor = open(path, O_RDWR | O_CLOEXEC);
    struct collector_report report;
    struct error error = ERROR_INIT;
    char digest[DIGEST_TEXT_MAX];
    store_push_blob(store, "r", "in the backup", false, digest);
    grow_old();
    assert_int_equal(flock(descriptor, LOCK_SH | LOCK_NB), 0);
    assert_int_equal(collector_run(store->collector, &all_old, &report, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, "backup"));
    assert_true(store_has_blob(store, "r", digest));
    assert_int_equal(flock(descriptor, LOCK_UN), 0);
    assert_int_equal(store_collect(store, &all_old).blobs.count, 1);
}

/* `number` of them, the oldest first. */
static void push_many(struct store *store, unsigned number)
{
    for (unsigned i = 0; i < number; i++) {
        char digest[DIGEST_TEXT_MAX];
        snprintf(digest, sizeof digest, "sha256:%064x", i);
        assert_int_equal(store_push_manifest(store, "r", digest, &(struct wanted){0}), 1);
    }
}

static void what_is_kept_while_manifests_are_collected_stays(void **state)
{
    struct store *store = *state;
    const struct sweep_limits limits = {.young = UINT64_MAX >> 1, .young_in_push = UINT64_MAX >> 1};
    char tagged[DIGEST_TEXT_MAX], listed[DIGEST_TEXT_MAX], leased[DIGEST_TEXT_MAX];
    struct sweep_count count = {0};
    struct sweep *sweep = NULL;
    snprintf(tagged, sizeof tagged, "sha256:%064x", 0);
    snprintf(listed, sizeof listed, "sha256:%064x", 1);
    snprintf(leased, sizeof leased, "sha256:%064x", 2);
    push_many(store, 100);
    assert_int_equal(sweep_begin(store->metadata, store->leases, &limits, false, &sweep, NULL), 0);
    assert_int_equal(sweep_manifests(sweep, "r", &count, NULL), 1);
    /* They are on the list by now, and not removed yet. */
    assert_int_equal(store_push_manifest(store, "r", tagged, &(struct wanted){.tag = "v1"}), 1);
    assert_int_equal(
        store_push_manifest(store, "r", A, &(struct wanted){.tag = "v2", .child = listed}), 1);
    leases_take(store->leases, "r", leased);
    assert_int_equal(sweep_manifests(sweep, "r", &count, NULL), 0);
    sweep_end(sweep);
    assert_int_equal(count.count, 97);
    assert_true(store_has_manifest(store, "r", tagged));
    assert_true(store_has_manifest(store, "r", listed));
    assert_true(store_has_manifest(store, "r", leased));
}

static void its_thread_collects_and_ends(void **state)
{
    struct store *store = *state;
    const struct timespec moment = {.tv_nsec = 5000000};
    const struct collector_settings settings = {.every = 10, .grace = 0, .uploads = 1000};
    const struct collector_parts parts = {.metadata = store->metadata,
                                          .blobs = store->blobs,
                                          .leases = store->leases,
                                          .metrics = &store->metrics,
                                          .state = store->folder};
    struct collector *collector = NULL;
    char digest[DIGEST_TEXT_MAX];
    store_push_blob(store, "r", "in nobody's use", false, digest);
    assert_int_equal(collector_create(&parts, &settings, &collector, NULL), 0);
    assert_int_equal(collector_start(collector, NULL), 0);
    for (unsigned i = 0; i < 4000 && store_has_bytes(store, digest); i++)
        nanosleep(&moment, NULL);
    assert_false(store_has_bytes(store, digest));
    collector_destroy(collector);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_store, remove_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blobs_stay_while_a_manifest_refers_to_them),
        TEST(another_repositorys_blob_keeps_the_bytes),
        TEST(the_young_and_the_leased_stay),
        TEST(a_push_may_take_longer_than_the_grace),
        TEST(a_repository_that_holds_nothing_is_forgotten),
        TEST(untagged_manifests_stay_unless_asked_for),
        TEST(what_a_live_manifest_leads_to_lives),
        TEST(what_a_leased_manifest_leads_to_lives),
        TEST(more_than_a_batch_goes_in_one_collection),
        TEST(a_dry_run_says_what_a_real_one_does),
        TEST(bytes_without_an_entry_go_after_the_grace),
        TEST(abandoned_uploads_expire),
        TEST(an_entry_without_an_upload_is_forgotten),
        TEST(nothing_goes_while_a_backup_is_made),
        TEST(what_is_kept_while_manifests_are_collected_stays),
        TEST(its_thread_collects_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
