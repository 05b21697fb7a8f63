/* Uploads that nobody comes back to, and many threads at the store at once. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/storage/blob_backend.h"

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
    snprintf(place->folder, sizeof place->folder, "/tmp/shoal-uploads-XXXXXX");
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

static int count_files(const struct place *place)
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

static bool count_entry(const struct blob_upload_entry *entry, void *data)
{
    (void)entry;
    (*(int *)data)++;
    return true;
}

/* --- temporary ones --- */

static struct blob_upload *start_temporary(struct place *place, const char *bytes)
{
    struct blob_upload *upload = NULL;
    assert_int_equal(blob_upload_create_temporary(place->store, DIGEST_SHA256, &upload, NULL), 0);
    assert_int_equal(blob_upload_write(upload, bytes, strlen(bytes), NULL), 0);
    return upload;
}

static void a_temporary_upload_is_not_found_by_others(void **state)
{
    struct place *place = *state;
    struct blob_upload *upload = start_temporary(place, "hel"), *second = NULL;
    struct error error = ERROR_INIT;
    uint64_t size;
    int listed = 0;
    const char *id = blob_upload_id(upload);
    assert_int_equal(blob_upload_open(place->store, id, &second, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(blob_store_upload_size(place->store, id, &size, &error), -1);
    assert_int_equal(blob_store_list_uploads(place->store, count_entry, &listed, NULL), 0);
    assert_int_equal(listed, 0);
    assert_int_equal(blob_upload_remove(upload, NULL), 0);
    blob_upload_close(upload);
    assert_int_equal(count_files(place), 0);
}

static void a_temporary_upload_becomes_a_blob_as_others_do(void **state)
{
    struct place *place = *state;
    char digest[DIGEST_ANY_MAX];
    uint64_t size = 0;
    digest_of_bytes("hello", 5, digest);
    struct blob_upload *upload = start_temporary(place, "hello");
    assert_int_equal(blob_upload_seal(upload, digest, NULL), 0);
    assert_int_equal(blob_upload_publish(upload, digest, NULL), 0);
    blob_upload_close(upload);
    assert_int_equal(blob_store_stat(place->store, digest, &size, NULL), 0);
    assert_int_equal(size, 5);
    assert_int_equal(count_files(place), 0);
}

/* Closed as when the process dies: the file stays, the lock does not. */
static void what_a_dead_process_was_receiving_goes_and_what_can_go_on_stays(void **state)
{
    struct place *place = *state;
    struct blob_upload *lasting = NULL;
    uint64_t size = 0;
    char id[UPLOAD_ID_MAX];
    blob_upload_close(start_temporary(place, "hel"));
    assert_int_equal(blob_upload_create(place->store, DIGEST_SHA256, &lasting, NULL), 0);
    assert_int_equal(blob_upload_write(lasting, "hel", 3, NULL), 0);
    strcpy(id, blob_upload_id(lasting));
    blob_upload_close(lasting);
    assert_int_equal(count_files(place), 2);
    blob_store_close(place->store);
    open_store(place);
    assert_int_equal(count_files(place), 1);
    assert_int_equal(blob_store_upload_size(place->store, id, &size, NULL), 0);
    assert_int_equal(size, 3);
}

static void what_a_living_process_is_receiving_stays(void **state)
{
    struct place *place = *state;
    struct place second = *place;
    struct blob_upload *upload = start_temporary(place, "hel");
    open_store(&second);
    blob_store_close(second.store);
    assert_int_equal(count_files(place), 1);
    assert_int_equal(blob_upload_remove(upload, NULL), 0);
    blob_upload_close(upload);
}

/* --- one after the other --- */

struct latecomer {
    struct blob_store *store;
    const char *id;
    int result;
    struct error error;
    struct blob_upload *upload;
};

static void *open_late(void *data)
{
    struct latecomer *latecomer = data;
    latecomer->result =
        blob_upload_open(latecomer->store, latecomer->id, &latecomer->upload, &latecomer->error);
    return NULL;
}

static void who_waited_for_an_upload_that_became_a_blob_does_not_write_to_it(void **state)
{
    struct place *place = *state;
    struct blob_upload *upload = NULL;
    char digest[DIGEST_ANY_MAX], id[64];
    pthread_t thread;
    digest_of_bytes("hello", 5, digest);
    assert_int_equal(blob_upload_create(place->store, DIGEST_SHA256, &upload, NULL), 0);
    assert_int_equal(blob_upload_write(upload, "hello", 5, NULL), 0);
    snprintf(id, sizeof id, "%s", blob_upload_id(upload));
    struct latecomer latecomer = {.store = place->store, .id = id};
    assert_int_equal(pthread_create(&thread, NULL, open_late, &latecomer), 0);
    usleep(300 * 1000); /* it has the file open, and waits */
    assert_int_equal(blob_upload_seal(upload, digest, NULL), 0);
    assert_int_equal(blob_upload_publish(upload, digest, NULL), 0);
    blob_upload_close(upload);
    pthread_join(thread, NULL);
    assert_int_equal(latecomer.result, -1);
    assert_int_equal(latecomer.error.code, ERROR_NOT_FOUND);
}

/* --- digests that are locked --- */

#define THREADS 8
#define ROUNDS  200

struct counter {
    struct blob_store *store;
    char digest[DIGEST_ANY_MAX];
    unsigned count; /* under the digest's lock */
};

static void *count_up(void *data)
{
    struct counter *counter = data;
    for (unsigned i = 0; i < ROUNDS; i++) {
        blob_store_lock_digest(counter->store, counter->digest);
        unsigned before = counter->count;
        sched_yield();
        counter->count = before + 1;
        blob_store_unlock_digest(counter->store, counter->digest);
    }
    return NULL;
}

static void one_thread_at_a_time_holds_a_digest(void **state)
{
    struct place *place = *state;
    struct counter counters[2] = {{.store = place->store}, {.store = place->store}};
    pthread_t threads[THREADS];
    digest_of_bytes("one", 3, counters[0].digest);
    digest_of_bytes("two", 3, counters[1].digest);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &counters[i % 2]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counters[0].count, THREADS / 2 * ROUNDS);
    assert_int_equal(counters[1].count, THREADS / 2 * ROUNDS);
}

static void *lock_many(void *data)
{
    struct blob_store *store = data;
    for (unsigned i = 0; i < 1000; i++) {
        char digest[DIGEST_ANY_MAX];
        digest_of_bytes(&i, sizeof i, digest);
        blob_store_lock_digest(store, digest);
        blob_store_unlock_digest(store, digest);
    }
    return NULL;
}

/* It would hang here if digests shared locks. */
static void who_holds_a_digest_is_in_nobody_elses_way(void **state)
{
    struct place *place = *state;
    char digest[DIGEST_ANY_MAX];
    pthread_t thread;
    digest_of_bytes("held", 4, digest);
    blob_store_lock_digest(place->store, digest);
    assert_int_equal(pthread_create(&thread, NULL, lock_many, place->store), 0);
    pthread_join(thread, NULL);
    blob_store_unlock_digest(place->store, digest);
}

/* --- pushes at once --- */

struct pusher {
    struct blob_store *store;
    unsigned number;
    atomic_uint *failures;
};

/* Every other blob is the same in all threads. */
static void *push_blobs(void *data)
{
    struct pusher *pusher = data;
    for (unsigned i = 0; i < 20; i++) {
        unsigned content[2] = {i % 2 == 0 ? 0 : pusher->number + 1, i};
        char digest[DIGEST_ANY_MAX];
        bool whole = false;
        struct blob_upload *upload = NULL;
        digest_of_bytes(content, sizeof content, digest);
        if (blob_upload_create(pusher->store, DIGEST_SHA256, &upload, NULL) < 0 ||
            blob_upload_write(upload, content, sizeof content, NULL) < 0 ||
            blob_upload_seal(upload, digest, NULL) < 0) {
            atomic_fetch_add(pusher->failures, 1);
            blob_upload_close(upload);
            continue;
        }
        blob_store_lock_digest(pusher->store, digest);
        int result = blob_upload_publish(upload, digest, NULL);
        blob_store_unlock_digest(pusher->store, digest);
        blob_upload_close(upload);
        if (result < 0 || blob_store_verify(pusher->store, digest, &whole, NULL) < 0 || !whole)
            atomic_fetch_add(pusher->failures, 1);
    }
    return NULL;
}

static bool count_blob(const struct blob_entry *entry, void *data)
{
    (void)entry;
    (*(int *)data)++;
    return true;
}

static void pushes_at_once_all_end_in_whole_blobs(void **state)
{
    struct place *place = *state;
    atomic_uint failures = 0;
    struct pusher pushers[THREADS];
    pthread_t threads[THREADS];
    int blobs = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pushers[i] = (struct pusher){place->store, i, &failures};
        assert_int_equal(pthread_create(&threads[i], NULL, push_blobs, &pushers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failures, 0);
    assert_int_equal(blob_store_list(place->store, count_blob, &blobs, NULL), 0);
    assert_int_equal(blobs, 10 + 10 * THREADS);
    assert_int_equal(count_files(place), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_temporary_upload_is_not_found_by_others),
        TEST(who_waited_for_an_upload_that_became_a_blob_does_not_write_to_it),
        TEST(a_temporary_upload_becomes_a_blob_as_others_do),
        TEST(what_a_dead_process_was_receiving_goes_and_what_can_go_on_stays),
        TEST(what_a_living_process_is_receiving_stays),
        TEST(one_thread_at_a_time_holds_a_digest),
        TEST(who_holds_a_digest_is_in_nobody_elses_way),
        TEST(pushes_at_once_all_end_in_whole_blobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
