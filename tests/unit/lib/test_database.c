#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/database.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static const char *const first_format[] = {
    "CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER, bytes BLOB)", NULL};
static const char *const second_format[] = {
    "CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER, bytes BLOB)",
    "ALTER TABLE things ADD COLUMN colour TEXT DEFAULT 'red'", NULL};
static const char *const broken_format[] = {
    "CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER, bytes BLOB)",
    "CREATE TABLE halfway (x); INSERT INTO nowhere VALUES (1)", NULL};

struct place {
    char folder[64];
    char *path;
    char *backup;
};

static int make_place(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/shoal-database-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    place->path = xasprintf("%s/test.db", place->folder);
    place->backup = xasprintf("%s.format-1.backup", place->path);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    assert_int_equal(file_remove_tree(place->folder, NULL), 0);
    free(place->path);
    free(place->backup);
    free(place);
    return 0;
}

static struct database *must_open(const char *path, const char *const *migrations)
{
    struct database *database = NULL;
    struct error error = ERROR_INIT;
    if (database_open(path, migrations, &database, &error) < 0)
        fail_msg("%s", error.message);
    return database;
}

static int64_t ask(struct database *database, const char *sql)
{
    struct database_statement *statement = NULL;
    struct error error = ERROR_INIT;
    if (database_prepare(database, sql, &statement, &error) < 0 ||
        database_step(statement, &error) != 1)
        fail_msg("%s: %s", sql, error.message);
    int64_t value = database_column_int(statement, 0);
    database_statement_destroy(statement);
    return value;
}

static void values_come_back_as_they_went(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format);
    struct database_statement *insert = NULL, *select = NULL;
    assert_int_equal(
        database_prepare(database, "INSERT INTO things VALUES (?1, ?2, ?3)", &insert, NULL), 0);
    assert_int_equal(database_prepare(database,
                                      "SELECT name, size, bytes FROM things ORDER BY size", &select,
                                      NULL),
                     0);
    database_bind_text(insert, 1, "it's");
    database_bind_int(insert, 2, INT64_MIN);
    database_bind_blob(insert, 3, "a\0b", 3);
    assert_int_equal(database_run(insert, NULL), 0);
    assert_int_equal(database_changes(database), 1);
    database_bind_text(insert, 1, "empty"); /* what is not bound again is NULL */
    assert_int_equal(database_run(insert, NULL), 0);

    size_t length = 9;
    assert_int_equal(database_step(select, NULL), 1);
    assert_string_equal(database_column_text(select, 0), "empty");
    assert_null(database_column_blob(select, 2, &length));
    assert_int_equal(length, 0);
    assert_int_equal(database_step(select, NULL), 1);
    assert_string_equal(database_column_text(select, 0), "it's");
    assert_true(database_column_int(select, 1) == INT64_MIN);
    assert_memory_equal(database_column_blob(select, 2, &length), "a\0b", 3);
    assert_int_equal(length, 3);
    assert_int_equal(database_step(select, NULL), 0);
    assert_int_equal(database_step(select, NULL), 1); /* from the start again */
    database_reset(select);
    database_statement_destroy(select);
    database_statement_destroy(insert);
    database_close(database);
}

static void the_settings_hold(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format);
    struct database_statement *mode = NULL;
    assert_int_equal(ask(database, "PRAGMA synchronous"), 2); /* FULL */
    assert_int_equal(ask(database, "PRAGMA foreign_keys"), 1);
    assert_int_equal(ask(database, "PRAGMA user_version"), 1);
    assert_int_equal(database_prepare(database, "PRAGMA journal_mode", &mode, NULL), 0);
    assert_int_equal(database_step(mode, NULL), 1);
    assert_string_equal(database_column_text(mode, 0), "wal");
    database_statement_destroy(mode);
    database_close(database);
}

static void a_rollback_leaves_nothing_and_a_commit_stays(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format);
    assert_int_equal(database_begin(database, NULL), 0);
    assert_int_equal(database_execute(database, "INSERT INTO things (name) VALUES ('a')", NULL), 0);
    database_rollback(database);
    database_rollback(database); /* nothing to roll back is fine */
    assert_int_equal(database_begin(database, NULL), 0);
    assert_int_equal(database_execute(database, "INSERT INTO things (name) VALUES ('b')", NULL), 0);
    assert_int_equal(database_commit(database, NULL), 0);
    database_close(database);
    database = must_open(place->path, first_format);
    assert_int_equal(ask(database, "SELECT count(*) FROM things"), 1);
    assert_int_equal(ask(database, "SELECT count(*) FROM things WHERE name = 'b'"), 1);
    database_close(database);
}

static void a_broken_constraint_is_a_conflict(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format);
    struct error error = ERROR_INIT;
    const char *insert = "INSERT INTO things (name) VALUES ('a')";
    assert_int_equal(database_execute(database, insert, &error), 0);
    assert_int_equal(database_execute(database, insert, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, place->path));
    assert_int_equal(database_execute(database, "nonsense", &error), -1);
    assert_int_equal(error.code, ERROR_INTERNAL);
    database_close(database);
}

static void an_older_file_is_migrated_after_a_backup(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format);
    assert_int_equal(database_execute(database, "INSERT INTO things (name) VALUES ('a')", NULL), 0);
    assert_int_not_equal(access(place->backup, F_OK), 0); /* a new file needs none */
    database_close(database);

    database = must_open(place->path, second_format);
    assert_int_equal(ask(database, "PRAGMA user_version"), 2);
    assert_int_equal(ask(database, "SELECT count(*) FROM things WHERE colour = 'red'"), 1);
    database_close(database);

    database = must_open(place->backup, first_format);
    assert_int_equal(ask(database, "PRAGMA user_version"), 1);
    assert_int_equal(ask(database, "SELECT count(*) FROM things WHERE name = 'a'"), 1);
    database_close(database);
}

static void a_failed_migration_changes_nothing(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format);
    struct error error = ERROR_INIT;
    database_close(database);
    database = NULL;
    assert_int_equal(database_open(place->path, broken_format, &database, &error), -1);
    assert_null(database);
    assert_non_null(strstr(error.message, "migrate to format 2"));
    database = must_open(place->path, first_format);
    assert_int_equal(ask(database, "SELECT count(*) FROM sqlite_schema WHERE name = 'halfway'"), 0);
    database_close(database);
}

static void a_newer_file_is_refused(void **state)
{
    struct place *place = *state;
    struct error error = ERROR_INIT;
    database_close(must_open(place->path, second_format));
    struct database *database = NULL;
    assert_int_equal(database_open(place->path, first_format, &database, &error), -1);
    assert_null(database);
    assert_int_equal(error.code, ERROR_PROTOCOL);
    assert_non_null(strstr(error.message, "has format 2"));
    assert_non_null(strstr(error.message, "up to 1"));
}

static void what_is_no_database_is_refused(void **state)
{
    struct place *place = *state;
    struct error error = ERROR_INIT;
    struct database *database = NULL;
    AUTO_FREE char *text = xcalloc(1, 8192);
    memset(text, 'x', 8191);
    assert_int_equal(file_write(place->path, text, 8191, 0600, &error), 0);
    assert_int_equal(database_open(place->path, first_format, &database, &error), -1);
    assert_non_null(strstr(error.message, place->path));
    assert_int_equal(database_open("/nowhere/at/all.db", first_format, &database, &error), -1);
    assert_int_equal(error.code, ERROR_IO);
    assert_null(database);
}

static void a_reader_sees_what_is_committed_and_changes_nothing(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format), *reader = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(database_open_reader(place->path, &reader, NULL), 0);
    assert_int_equal(database_begin(database, NULL), 0);
    assert_int_equal(database_execute(database, "INSERT INTO things (name) VALUES ('a')", NULL), 0);
    assert_int_equal(ask(reader, "SELECT count(*) FROM things"), 0);
    assert_int_equal(database_commit(database, NULL), 0);
    assert_int_equal(ask(reader, "SELECT count(*) FROM things"), 1);
    assert_int_equal(database_execute(reader, "DELETE FROM things", &error), -1);
    assert_int_equal(error.code, ERROR_IO);
    database_close(reader);
    database_close(database);
}

static void a_step_of_a_transaction_can_be_undone_alone(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format);
    assert_int_equal(database_begin(database, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(database_savepoint(database, NULL), 0);
        assert_int_equal(
            database_execute(database, "INSERT INTO things (size) VALUES (random())", NULL), 0);
        assert_int_equal(i == 1 ? database_undo(database, NULL) : database_release(database, NULL),
                         0);
    }
    assert_true(database_is_in_transaction(database));
    assert_int_equal(database_commit(database, NULL), 0);
    assert_false(database_is_in_transaction(database));
    assert_int_equal(ask(database, "SELECT count(*) FROM things"), 2);
    database_close(database);
}

static void a_backup_is_a_whole_database(void **state)
{
    struct place *place = *state;
    struct database *database = must_open(place->path, first_format), *reader = NULL;
    assert_int_equal(database_execute(database, "INSERT INTO things (name) VALUES ('a')", NULL), 0);
    assert_int_equal(database_open_reader(place->path, &reader, NULL), 0);
    assert_int_equal(database_back_up(reader, place->backup, NULL), 0);
    assert_int_equal(database_execute(database, "INSERT INTO things (name) VALUES ('b')", NULL), 0);
    assert_int_equal(database_back_up(database, place->backup, NULL), 0); /* replaced */
    database_close(reader);
    database_close(database);
    database = must_open(place->backup, first_format);
    assert_int_equal(ask(database, "SELECT count(*) FROM things"), 2);
    database_close(database);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_come_back_as_they_went),
        TEST(the_settings_hold),
        TEST(a_rollback_leaves_nothing_and_a_commit_stays),
        TEST(a_broken_constraint_is_a_conflict),
        TEST(an_older_file_is_migrated_after_a_backup),
        TEST(a_failed_migration_changes_nothing),
        TEST(a_newer_file_is_refused),
        TEST(what_is_no_database_is_refused),
        TEST(a_reader_sees_what_is_committed_and_changes_nothing),
        TEST(a_step_of_a_transaction_can_be_undone_alone),
        TEST(a_backup_is_a_whole_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
