/* Backups of a store that is written meanwhile, and what is restored from them, into either kind.
 */
#include "scheduler/store_backup.h"
#include "scheduler/store_copy.h"
#include "scheduler/store_open.h"
#include "scheduler/store_restore.h"
#include "tests/unit/scheduler/store_fixture.h"

static void on_backup(const struct error *error, void *data)
{
    struct fixture *fixture = data;
    fixture->done = true;
    fixture->failed = error != NULL;
    if (error != NULL)
        fixture->error = *error;
}

static void back_up(struct fixture *fixture, const char *path)
{
    fixture->done = false;
    store_back_up(fixture->store, &fixture->loop, path, on_backup, fixture);
    wait_until_done(fixture);
    if (fixture->failed)
        fail_msg("%s", fixture->error.message);
}

static char *path_in(const struct fixture *fixture, const char *name)
{
    return xasprintf("%s/%s", fixture->directory, name);
}

/* --- as of one moment --- */

struct pair_writer {
    struct fixture *fixture;
    unsigned written;
    bool stops, stopped;
};

static void write_pair(struct pair_writer *writer);

static void on_pair(const struct error *error, uint64_t revision, void *data)
{
    struct pair_writer *writer = data;
    (void)revision;
    assert_null(error);
    writer->written++;
    if (writer->stops)
        writer->stopped = true;
    else
        write_pair(writer);
}

/* Far apart in the order of keys: etcd's pages have one each. */
static void write_pair(struct pair_writer *writer)
{
    char value[16];
    snprintf(value, sizeof value, "%u", writer->written);
    struct store_write writes[] = {{"a", value}, {"z", value}};
    struct store_transaction transaction = {.writes = writes, .write_count = 2};
    store_commit(writer->fixture->store, &transaction, on_pair, writer);
}

static void fill(struct fixture *fixture, unsigned count)
{
    struct store_write writes[STORE_WRITES_MAX];
    for (unsigned i = 0; i < count; i += STORE_WRITES_MAX) {
        for (unsigned j = 0; j < STORE_WRITES_MAX; j++)
            writes[j] =
                (struct store_write){xasprintf("m/%08u", i + j), "{\"n\":\"\xc3\xa9 \\\"\"}"};
        struct store_transaction transaction = {.writes = writes, .write_count = STORE_WRITES_MAX};
        store_commit(fixture->store, &transaction, on_commit, fixture);
        wait_until_done(fixture);
        assert_false(fixture->failed);
        for (unsigned j = 0; j < STORE_WRITES_MAX; j++)
            free((char *)writes[j].key);
    }
}

static void a_backup_is_of_one_moment_and_commits_go_on(void **state)
{
    struct fixture *fixture = *state;
    struct pair_writer writer = {.fixture = fixture};
    struct store_copy_reader *reader;
    struct store_copy_header header;
    const char *key, *document;
    char first[16] = "none", last[16] = "";
    AUTO_FREE char *path = path_in(fixture, "backup");
    fill(fixture, 3000);
    write_pair(&writer);
    while (writer.written < 3)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    back_up(fixture, path);
    writer.stops = true;
    while (!writer.stopped)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(store_copy_open(path, &reader, &header, NULL), 0);
    assert_string_equal(header.identity.cluster, store_identity(fixture->store)->cluster);
    unsigned count = 0;
    while (store_copy_next(reader, &key, &document, NULL) > 0) {
        count++;
        if (strcmp(key, "a") == 0)
            snprintf(first, sizeof first, "%s", document);
        snprintf(last, sizeof last, "%s", document);
    }
    store_copy_close(reader);
    assert_int_equal(count, 3002);
    assert_string_equal(first, last);
}

static void a_second_backup_at_once_is_refused(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = path_in(fixture, "backup"), *other = path_in(fixture, "other");
    fill(fixture, 100);
    struct fixture second = {0};
    store_back_up(fixture->store, &fixture->loop, path, on_backup, fixture);
    store_back_up(fixture->store, &fixture->loop, other, on_backup, &second);
    while (!fixture->done || !second.done)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_false(fixture->failed);
    assert_true(second.failed);
    assert_int_equal(second.error.code, ERROR_CONFLICT);
}

static void a_store_may_be_closed_while_it_is_backed_up(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = path_in(fixture, "backup");
    fill(fixture, 1000);
    fixture->done = false;
    store_back_up(fixture->store, &fixture->loop, path, on_backup, fixture);
    close_store(fixture);
    assert_true(fixture->done);
    assert_true(fixture->failed || access(path, R_OK) == 0);
}

static void a_backup_that_cannot_be_written_says_so(void **state)
{
    struct fixture *fixture = *state;
    fixture->done = false;
    store_back_up(fixture->store, &fixture->loop, "/nowhere/backup", on_backup, fixture);
    wait_until_done(fixture);
    assert_true(fixture->failed);
    assert_non_null(strstr(fixture->error.message, "/nowhere/backup"));
}

/* --- restoring --- */

static void check_restored(struct fixture *fixture, const char *place, const char *backup)
{
    struct store_restored restored;
    struct error error = ERROR_INIT;
    if (store_restore(place, backup, &restored, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(restored.documents, 202);
    assert_string_equal(restored.identity.cluster, store_identity(fixture->store)->cluster);
    assert_true(restored.identity.term > store_identity(fixture->store)->term);
    AUTO_FREE char *before = xstrdup(list(fixture, "", NULL, 1000));
    struct fixture second = {.flavour = fixture->flavour};
    uv_loop_init(&second.loop);
    if (store_open(&second.loop, place, false, &second.store, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(store_identity(second.store)->term, restored.identity.term);
    assert_string_equal(list(&second, "", NULL, 1000), before);
    close_store(&second);
    uv_loop_close(&second.loop);
    assert_int_equal(store_restore(place, backup, &restored, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, "documents already"));
}

static void what_is_restored_is_what_was_backed_up(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *backup = path_in(fixture, "backup");
    AUTO_FREE char *sqlite = xasprintf("sqlite:%s/restored", fixture->directory);
    fill(fixture, 200);
    assert_int_equal(commit(fixture, NULL, "a", "{\"b\":[1,2.5,null]}"), 0);
    assert_int_equal(commit(fixture, NULL, "z \"quoted\"", "true"), 0);
    back_up(fixture, backup);
    check_restored(fixture, sqlite, backup);
    if (fixture->flavour->etcd == NULL)
        return;
    AUTO_FREE char *etcd = xasprintf("etcd:%s", fixture->flavour->etcd->url);
    check_restored(fixture, etcd, backup);
}

static void half_a_backup_is_refused_before_anything_is_written(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *backup = path_in(fixture, "backup");
    AUTO_FREE char *place = xasprintf("sqlite:%s/restored", fixture->directory);
    AUTO_FREE char *folder = path_in(fixture, "restored");
    AUTO_FREE char *text = NULL;
    size_t length;
    fill(fixture, 100);
    back_up(fixture, backup);
    assert_int_equal(file_read(backup, 1 << 20, &text, &length, NULL), 0);
    for (size_t cut = 1; cut < length; cut += 97) {
        struct store_restored restored;
        struct error error = ERROR_INIT;
        assert_int_equal(file_write(backup, text, length - cut, 0600, NULL), 0);
        assert_int_equal(store_restore(place, backup, &restored, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
    }
    assert_int_not_equal(access(folder, F_OK), 0);
}

int main(void)
{
    struct etcd_process process = {0};
    struct flavour sqlite = {.name = "SQLite"}, etcd = {.name = "etcd", .etcd = &process};
#define TEST(function, flavour)                                                                    \
    {                                                                                              \
#flavour "_" #function, function, set_up, tear_down, &flavour                              \
    }
#define TESTS(flavour)                                                                             \
    TEST(a_backup_is_of_one_moment_and_commits_go_on, flavour),                                    \
        TEST(a_second_backup_at_once_is_refused, flavour),                                         \
        TEST(a_store_may_be_closed_while_it_is_backed_up, flavour),                                \
        TEST(a_backup_that_cannot_be_written_says_so, flavour),                                    \
        TEST(what_is_restored_is_what_was_backed_up, flavour),                                     \
        TEST(half_a_backup_is_refused_before_anything_is_written, flavour)
    const struct CMUnitTest tests[] = {TESTS(sqlite), TESTS(etcd)};
    if (etcd_process_create(&process) < 0)
        fail_msg("etcd does not start: see %s/log, and that etcd-server is installed",
                 process.directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    etcd_process_destroy(&process);
    return failed;
}
