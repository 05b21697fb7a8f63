/* The store in SQLite where its disk fails: full, read-only, or broken, as SQLite sees it by what
 * its writes return; and files of other formats. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/database.h"
#include "tests/unit/scheduler/store_fixture.h"

/* What every write to a file returns: 0, or an error's number. The store writes on a thread. */
static atomic_int disk_error;

/* SQLite's calls come here, in front of the C library's. */
ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset);
ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset)
{
    if (atomic_load(&disk_error) != 0) {
        errno = atomic_load(&disk_error);
        return -1;
    }
    return syscall(SYS_pwrite64, descriptor, bytes, length, offset);
}

static int set_up_sqlite(void **state)
{
    static struct flavour flavour = {.name = "SQLite"};
    *state = &flavour;
    atomic_store(&disk_error, 0);
    return set_up(state);
}

/* --- disks --- */

static void check_disk(struct fixture *fixture, int number, enum error_code code, const char *said)
{
    commit(fixture, NULL, "a/1", "1");
    uint64_t from = fixture->revision;
    commit(fixture, NULL, "a/2", "2");
    atomic_store(&disk_error, number);
    assert_int_equal(commit(fixture, NULL, "b", "1"), -1);
    assert_int_equal(fixture->error.code, code);
    assert_non_null(strstr(fixture->error.message, said));
    assert_non_null(strstr(fixture->error.message, fixture->directory));
    assert_string_equal(list(fixture, "", NULL, 10), "a/1=1 a/2=2");
    fixture->keys[0] = '\0';
    struct store_watch *watch = store_watch_start(fixture->store, "", from, on_watch, fixture);
    wait_for_keys(fixture, "a/2=2");
    /* Nothing is left of what was refused, also not in what SQLite takes with the next one. */
    atomic_store(&disk_error, 0);
    assert_int_equal(commit(fixture, NULL, "c", "1"), 0);
    wait_for_keys(fixture, "c=1");
    assert_string_equal(fixture->keys, "a/2=2 c=1");
    store_watch_stop(watch);
    close_store(fixture);
    open_store(fixture, false);
    assert_string_equal(list(fixture, "", NULL, 10), "a/1=1 a/2=2 c=1");
}

static void a_full_disk_refuses_changes_and_goes_on_reading(void **state)
{
    check_disk(*state, ENOSPC, ERROR_STORAGE_FULL, "full");
}

static void a_read_only_disk_refuses_changes_and_goes_on_reading(void **state)
{
    check_disk(*state, EROFS, ERROR_IO, "disk I/O error");
}

static void a_broken_disk_refuses_changes_and_goes_on_reading(void **state)
{
    check_disk(*state, EIO, ERROR_IO, "disk I/O error");
}

struct together {
    struct fixture *fixture;
    unsigned refused;
    unsigned ended;
};

static void on_refused(const struct error *error, uint64_t revision, void *data)
{
    struct together *together = data;
    (void)revision;
    together->ended++;
    together->refused += error != NULL && error->code == ERROR_STORAGE_FULL;
}

static void on_read(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    struct together *together = data;
    (void)documents;
    (void)more;
    (void)revision;
    assert_null(error);
    assert_int_equal(count, 1);
    together->ended++;
}

static void reads_that_wait_with_changes_are_answered(void **state)
{
    struct fixture *fixture = *state;
    struct together together = {.fixture = fixture};
    struct store_write write = {"b", "1"};
    struct store_transaction transaction = {NULL, 0, &write, 1, false};
    commit(fixture, NULL, "a", "1");
    atomic_store(&disk_error, ENOSPC);
    for (int i = 0; i < 50; i++) {
        store_commit(fixture->store, &transaction, on_refused, &together);
        store_list(fixture->store, "", NULL, 10, on_read, &together);
    }
    while (together.ended < 100)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(together.refused, 50);
    atomic_store(&disk_error, 0);
}

/* --- formats --- */

static void set_format(const struct fixture *fixture, int format)
{
    struct database *database;
    AUTO_FREE char *path = xasprintf("%s/store.db", fixture->directory);
    AUTO_FREE char *sql = xasprintf("PRAGMA user_version = %d", format);
    const char *const none[] = {"", NULL};
    assert_int_equal(database_open(path, none, &database, NULL), 0);
    assert_int_equal(database_execute(database, sql, NULL), 0);
    database_close(database);
}

static void a_newer_format_is_refused_and_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct error error = ERROR_INIT;
    commit(fixture, NULL, "a", "1");
    close_store(fixture);
    set_format(fixture, 1);
    const char *const newer[] = {"", "CREATE TABLE later (name TEXT)", NULL};
    AUTO_FREE char *path = xasprintf("%s/store.db", fixture->directory);
    AUTO_FREE char *backup = xasprintf("%s.format-1.backup", path);
    struct database *database;
    /* What a later version does: a copy beside it, then its own format. */
    assert_int_equal(database_open(path, newer, &database, NULL), 0);
    database_close(database);
    assert_int_equal(try_to_open(fixture, false, &fixture->store, &error), -1);
    assert_int_equal(error.code, ERROR_PROTOCOL);
    assert_non_null(strstr(error.message, "use a newer version"));
    /* And back with the copy. */
    assert_int_equal(rename(backup, path), 0);
    open_store(fixture, false);
    assert_string_equal(list(fixture, "", NULL, 10), "a=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_changes_and_goes_on_reading,
                                        set_up_sqlite, tear_down),
        cmocka_unit_test_setup_teardown(a_read_only_disk_refuses_changes_and_goes_on_reading,
                                        set_up_sqlite, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_disk_refuses_changes_and_goes_on_reading,
                                        set_up_sqlite, tear_down),
        cmocka_unit_test_setup_teardown(reads_that_wait_with_changes_are_answered, set_up_sqlite,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused_and_left_alone, set_up_sqlite,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
