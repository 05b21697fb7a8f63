#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/storage/blob_backend.h"

/* sha256 of "hello". */
#define HELLO "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define OTHER "sha256:0000000000000000000000000000000000000000000000000000000000000000"

struct place {
    char folder[64];
    struct blob_store *store;
};

static void open_store(struct place *place)
{
    struct error error = ERROR_INIT;
    struct blob_backend *backend = NULL;
    if (blob_files_open(place->folder, &backend, &error) < 0 ||
        blob_store_open(place->folder, backend, &place->store, &error) < 0)
        fail_msg("%s", error.message);
}

static int make_place(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/shoal-blobs-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    open_store(place);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    blob_store_close(place->store);
    assert_int_equal(file_remove_tree(place->folder, NULL), 0);
    free(place);
    return 0;
}

static int count_uploads(const struct place *place)
{
    AUTO_FREE char *path = xasprintf("%s/uploads", place->folder);
    DIR *folder = opendir(path);
    int count = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static struct blob_upload *start(const struct place *place, const char *bytes)
{
    struct blob_upload *upload = NULL;
    assert_int_equal(blob_upload_create(place->store, DIGEST_SHA256, &upload, NULL), 0);
    assert_int_equal(blob_upload_write(upload, bytes, strlen(bytes), NULL), 0);
    return upload;
}

static bool has_hello(const struct place *place)
{
    struct blob_source source = {.descriptor = -1};
    char bytes[8] = "";
    if (blob_store_fetch(place->store, HELLO, BLOB_FETCH_ANSWER, &source, NULL) < 0)
        return false;
    assert_int_equal(source.size, 5);
    assert_int_equal(pread(source.descriptor, bytes, sizeof bytes, 0), 5);
    assert_string_equal(bytes, "hello");
    blob_source_release(&source);
    return true;
}

static void a_blob_is_there_after_it_is_published(void **state)
{
    struct place *place = *state;
    struct blob_upload *upload = start(place, "hel");
    assert_int_equal(blob_upload_write(upload, "lo", 2, NULL), 0);
    assert_int_equal(blob_upload_size(upload), 5);
    assert_int_equal(blob_upload_seal(upload, HELLO, NULL), 0);
    assert_false(has_hello(place));
    assert_int_equal(blob_upload_publish(upload, HELLO, NULL), 0);
    blob_upload_close(upload);
    assert_true(has_hello(place));
    assert_int_equal(count_uploads(place), 0);
    blob_store_close(place->store);
    open_store(place);
    assert_true(has_hello(place));
}

static void a_blob_may_be_published_twice(void **state)
{
    struct place *place = *state;
    for (int i = 0; i < 2; i++) {
        struct blob_upload *upload = start(place, "hello");
        assert_int_equal(blob_upload_seal(upload, HELLO, NULL), 0);
        assert_int_equal(blob_upload_publish(upload, HELLO, NULL), 0);
        blob_upload_close(upload);
    }
    assert_true(has_hello(place));
}

static void other_bytes_never_become_the_blob(void **state)
{
    struct place *place = *state;
    struct error error = ERROR_INIT;
    struct blob_upload *upload = start(place, "hullo");
    assert_int_equal(blob_upload_seal(upload, HELLO, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_non_null(strstr(error.message, HELLO));
    assert_int_equal(blob_upload_remove(upload, NULL), 0);
    blob_upload_close(upload);
    assert_false(has_hello(place));
    assert_int_equal(count_uploads(place), 0);
}

static void an_interrupted_upload_goes_on_after_a_reopen(void **state)
{
    struct place *place = *state;
    char id[UPLOAD_ID_MAX];
    uint64_t size = 0;
    struct blob_upload *upload = start(place, "hel");
    memcpy(id, blob_upload_id(upload), sizeof id);
    blob_upload_close(upload);
    blob_store_close(place->store);
    open_store(place);
    assert_int_equal(blob_store_upload_size(place->store, id, &size, NULL), 0);
    assert_int_equal(size, 3);
    assert_int_equal(blob_upload_open(place->store, id, &upload, NULL), 0);
    assert_int_equal(blob_upload_size(upload), 3);
    assert_int_equal(blob_upload_write(upload, "lo", 2, NULL), 0);
    assert_int_equal(blob_upload_seal(upload, HELLO, NULL), 0);
    assert_int_equal(blob_upload_publish(upload, HELLO, NULL), 0);
    blob_upload_close(upload);
    assert_true(has_hello(place));
    assert_int_equal(blob_upload_open(place->store, id, &upload, NULL), -1);
}

static void a_chunk_can_be_taken_back(void **state)
{
    struct place *place = *state;
    struct blob_upload *upload = start(place, "helXXX");
    assert_int_equal(blob_upload_truncate(upload, 3, NULL), 0);
    assert_int_equal(blob_upload_truncate(upload, 9, NULL), 0); /* never grows */
    assert_int_equal(blob_upload_size(upload), 3);
    assert_int_equal(blob_upload_write(upload, "lo", 2, NULL), 0);
    assert_int_equal(blob_upload_seal(upload, HELLO, NULL), 0);
    blob_upload_close(upload);
}

static void an_upload_belongs_to_one_request_at_a_time(void **state)
{
    struct place *place = *state;
    struct error error = ERROR_INIT;
    struct blob_upload *upload = start(place, "x"), *second = NULL;
    assert_int_equal(blob_upload_open(place->store, blob_upload_id(upload), &second, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_null(second);
    blob_upload_close(upload);
}

static void names_that_are_not_ids_never_become_paths(void **state)
{
    struct place *place = *state;
    AUTO_FREE char *secret = xasprintf("%s/secret", place->folder);
    assert_int_equal(file_write(secret, "x", 1, 0600, NULL), 0);
    const char *ids[] = {"",
                         "..",
                         "../secret",
                         "../../etc/passwd",
                         "0123456789abcdef0123456789abcde/",
                         "0123456789ABCDEF0123456789ABCDEF",
                         "0123456789abcdef0123456789abcdef"};
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        struct error error = ERROR_INIT;
        struct blob_upload *upload = NULL;
        uint64_t size;
        assert_int_equal(blob_upload_open(place->store, ids[i], &upload, &error), -1);
        assert_int_equal(error.code, ERROR_NOT_FOUND);
        assert_int_equal(blob_store_upload_size(place->store, ids[i], &size, &error), -1);
        assert_int_equal(error.code, ERROR_NOT_FOUND);
    }
    const char *digests[] = {"", "sha256:", "sha256:../../secret", "sha512:00", "../secret"};
    for (size_t i = 0; i < ARRAY_LENGTH(digests); i++) {
        struct error error = ERROR_INIT;
        struct blob_source source = {.descriptor = -1};
        assert_int_equal(
            blob_store_fetch(place->store, digests[i], BLOB_FETCH_ANSWER, &source, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
        assert_int_equal(blob_store_remove_blob(place->store, digests[i], &error), -1);
    }
}

static void a_removed_blob_is_gone_and_removing_none_is_fine(void **state)
{
    struct place *place = *state;
    struct error error = ERROR_INIT;
    uint64_t size;
    struct blob_upload *upload = start(place, "hello");
    assert_int_equal(blob_upload_seal(upload, HELLO, NULL), 0);
    assert_int_equal(blob_upload_publish(upload, HELLO, NULL), 0);
    blob_upload_close(upload);
    assert_int_equal(blob_store_remove_blob(place->store, HELLO, NULL), 0);
    assert_int_equal(blob_store_stat(place->store, HELLO, &size, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_false(has_hello(place));
    assert_int_equal(blob_store_remove_blob(place->store, OTHER, NULL), 0);
}

/* --- hashes that run along --- */

#define HELLO_512                                                                                  \
    "sha512:9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7"                      \
    "2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043"

static void finish(struct blob_upload *upload, const char *digest)
{
    struct error error = ERROR_INIT;
    if (blob_upload_seal(upload, digest, &error) < 0 ||
        blob_upload_publish(upload, digest, &error) < 0)
        fail_msg("%s", error.message);
    blob_upload_close(upload);
}

/* The hash follows the upload from one request to the next, and a file that grew behind its back
 * is read again: a hash that did not see all bytes never counts. */
static void a_hash_is_kept_between_requests(void **state)
{
    struct place *place = *state;
    struct blob_upload *upload = start(place, "hel");
    char id[UPLOAD_ID_MAX];
    strcpy(id, blob_upload_id(upload));
    blob_upload_close(upload);
    assert_int_equal(blob_upload_open(place->store, id, &upload, NULL), 0);
    assert_int_equal(blob_upload_write(upload, "lo", 2, NULL), 0);
    blob_upload_close(upload);
    assert_int_equal(blob_upload_open(place->store, id, &upload, NULL), 0);
    finish(upload, HELLO);
    assert_true(has_hello(place));

    upload = start(place, "hel");
    strcpy(id, blob_upload_id(upload));
    blob_upload_close(upload);
    AUTO_FREE char *path = xasprintf("%s/uploads/%s", place->folder, id);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("lo", file);
    fclose(file);
    assert_int_equal(blob_upload_open(place->store, id, &upload, NULL), 0);
    finish(upload, HELLO);
    assert_true(has_hello(place));
}

static void more_uploads_than_hashes_are_kept_all_end_well(void **state)
{
    struct place *place = *state;
    enum { COUNT = 300 };
    static char ids[COUNT][UPLOAD_ID_MAX];
    for (int i = 0; i < COUNT; i++) {
        struct blob_upload *upload = start(place, "hel");
        strcpy(ids[i], blob_upload_id(upload));
        blob_upload_close(upload);
    }
    for (int i = 0; i < COUNT; i++) {
        struct blob_upload *upload = NULL;
        assert_int_equal(blob_upload_open(place->store, ids[i], &upload, NULL), 0);
        assert_int_equal(blob_upload_write(upload, "lo", 2, NULL), 0);
        assert_int_equal(blob_upload_seal(upload, HELLO, NULL), 0);
        assert_int_equal(blob_upload_remove(upload, NULL), 0);
        blob_upload_close(upload);
    }
    assert_int_equal(count_uploads(place), 0);
}

static void a_digest_may_be_of_sha512(void **state)
{
    struct place *place = *state;
    struct blob_upload *upload = NULL;
    uint64_t size = 0;
    assert_int_equal(blob_upload_create(place->store, DIGEST_SHA512, &upload, NULL), 0);
    assert_int_equal(blob_upload_write(upload, "hello", 5, NULL), 0);
    finish(upload, HELLO_512);
    assert_int_equal(blob_store_stat(place->store, HELLO_512, &size, NULL), 0);
    assert_int_equal(size, 5);
    /* Begun for the one, ended by the other. */
    finish(start(place, "hello"), HELLO_512);
    assert_int_equal(blob_upload_create(place->store, DIGEST_SHA512, &upload, NULL), 0);
    assert_int_equal(blob_upload_write(upload, "hello", 5, NULL), 0);
    finish(upload, HELLO);
    assert_true(has_hello(place));
}

/* --- lists and damage --- */

struct seen {
    int count;
    char last[DIGEST_ANY_MAX];
    uint64_t size;
};

static bool see_blob(const struct blob_entry *entry, void *data)
{
    struct seen *seen = data;
    seen->count++;
    seen->size = entry->size;
    strcpy(seen->last, entry->digest);
    return true;
}

static bool see_upload(const struct blob_upload_entry *entry, void *data)
{
    struct seen *seen = data;
    seen->count++;
    seen->size = entry->size;
    strcpy(seen->last, entry->id);
    return true;
}

static void all_blobs_and_uploads_are_listed(void **state)
{
    struct place *place = *state;
    struct seen seen = {0};
    finish(start(place, "hello"), HELLO);
    assert_int_equal(blob_store_list(place->store, see_blob, &seen, NULL), 0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.last, HELLO);
    assert_int_equal(seen.size, 5);
    finish(start(place, "hello"), HELLO_512);
    seen = (struct seen){0};
    assert_int_equal(blob_store_list(place->store, see_blob, &seen, NULL), 0);
    assert_int_equal(seen.count, 2);

    struct blob_upload *upload = start(place, "hel");
    seen = (struct seen){0};
    assert_int_equal(blob_store_list_uploads(place->store, see_upload, &seen, NULL), 0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.size, 3);
    assert_string_equal(seen.last, blob_upload_id(upload));
    blob_upload_close(upload);
}

static void a_damaged_blob_is_found_and_put_away(void **state)
{
    struct place *place = *state;
    struct seen seen = {0};
    bool whole = false;
    finish(start(place, "hello"), HELLO);
    assert_int_equal(blob_store_verify(place->store, HELLO, &whole, NULL), 0);
    assert_true(whole);
    assert_true(has_hello(place));
    AUTO_FREE char *path = xasprintf("%s/blobs/sha256/2c/%s", place->folder, digest_hex(HELLO));
    assert_int_equal(file_write(path, "hullo", 5, 0600, NULL), 0);
    assert_int_equal(blob_store_verify(place->store, HELLO, &whole, NULL), 0);
    assert_false(whole);
    assert_int_equal(blob_store_quarantine(place->store, HELLO, NULL), 0);
    assert_false(has_hello(place));
    assert_int_equal(blob_store_list(place->store, see_blob, &seen, NULL), 0);
    assert_int_equal(seen.count, 0);
    finish(start(place, "hello"), HELLO); /* pushed again, it is whole again */
    assert_true(has_hello(place));
}

/* A folder in its place stands for a disk that gives no bytes back: that may pass, so it is not
 * said to be damaged. */
static void what_cannot_be_read_is_an_error(void **state)
{
    struct place *place = *state;
    struct error error = ERROR_INIT;
    bool whole = true;
    finish(start(place, "hello"), HELLO);
    AUTO_FREE char *path = xasprintf("%s/blobs/sha256/2c/%s", place->folder, digest_hex(HELLO));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(blob_store_verify(place->store, HELLO, &whole, &error), -1);
    assert_int_equal(error.code, ERROR_IO);
    assert_int_equal(blob_store_quarantine(place->store, HELLO, NULL), 0);
    finish(start(place, "hello"), HELLO);
    assert_true(has_hello(place));
}

static int fetch(const struct place *place)
{
    struct blob_source source = {.descriptor = -1};
    if (blob_store_fetch(place->store, HELLO, BLOB_FETCH_ANSWER, &source, NULL) < 0)
        return -1;
    return source.descriptor;
}

static ino_t file_of(int descriptor)
{
    struct stat status;
    assert_int_equal(fstat(descriptor, &status), 0);
    close(descriptor);
    return status.st_ino;
}

static void a_blob_that_was_read_is_gone_once_it_is_removed(void **state)
{
    struct place *place = *state;
    finish(start(place, "hello"), HELLO);
    int reading = fetch(place);
    assert_true(has_hello(place));
    assert_int_equal(blob_store_remove_blob(place->store, HELLO, NULL), 0);
    assert_int_equal(fetch(place), -1);
    char bytes[5];
    assert_int_equal(pread(reading, bytes, sizeof bytes, 0), 5); /* who reads it reads on */
    close(reading);
    /* Taken away by somebody else. */
    finish(start(place, "hello"), HELLO);
    assert_true(has_hello(place));
    AUTO_FREE char *path = xasprintf("%s/blobs/sha256/2c/%s", place->folder, digest_hex(HELLO));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fetch(place), -1);
}

static void a_blob_that_is_stored_again_is_read_from_its_new_file(void **state)
{
    struct place *place = *state;
    finish(start(place, "hello"), HELLO);
    int reading = fetch(place); /* the old file stays, and with it its number */
    finish(start(place, "hello"), HELLO);
    int again = fetch(place);
    assert_int_not_equal(file_of(again), file_of(reading));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_blob_is_there_after_it_is_published),
        TEST(a_blob_may_be_published_twice),
        TEST(other_bytes_never_become_the_blob),
        TEST(an_interrupted_upload_goes_on_after_a_reopen),
        TEST(a_chunk_can_be_taken_back),
        TEST(an_upload_belongs_to_one_request_at_a_time),
        TEST(names_that_are_not_ids_never_become_paths),
        TEST(a_removed_blob_is_gone_and_removing_none_is_fine),
        TEST(a_hash_is_kept_between_requests),
        TEST(more_uploads_than_hashes_are_kept_all_end_well),
        TEST(a_digest_may_be_of_sha512),
        TEST(all_blobs_and_uploads_are_listed),
        TEST(a_damaged_blob_is_found_and_put_away),
        TEST(what_cannot_be_read_is_an_error),
        TEST(a_blob_that_was_read_is_gone_once_it_is_removed),
        TEST(a_blob_that_is_stored_again_is_read_from_its_new_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
