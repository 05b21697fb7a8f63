#include "lib/database.h"

#include <errno.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define BUSY_TIMEOUT_MS 10000

struct database {
    sqlite3 *handle;
    char *path;
};

struct database_statement {
    struct database *database;
    sqlite3_stmt *handle;
};

static enum error_code code_of_sqlite(int result)
{
    switch (result & 0xff) {
    case SQLITE_CONSTRAINT:
        return ERROR_CONFLICT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERROR_UNAVAILABLE;
    case SQLITE_FULL:
        return ERROR_STORAGE_FULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERROR_IO;
    case SQLITE_TOOBIG:
        return ERROR_TOO_LARGE;
    default:
        return ERROR_INTERNAL;
    }
}

static int set_error(struct database *database, struct error *error)
{
    int result = sqlite3_extended_errcode(database->handle);
    return error_set(error, code_of_sqlite(result), "database %s: %s", database->path,
                     sqlite3_errmsg(database->handle));
}

int database_execute(struct database *database, const char *sql, struct error *error)
{
    if (sqlite3_exec(database->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        return set_error(database, error);
    return 0;
}

int database_begin(struct database *database, struct error *error)
{
    return database_execute(database, "BEGIN IMMEDIATE", error);
}

int database_commit(struct database *database, struct error *error)
{
    return database_execute(database, "COMMIT", error);
}

void database_rollback(struct database *database)
{
    /* SQLite rolls back by itself after some errors; then there is nothing left to end. */
    if (!sqlite3_get_autocommit(database->handle))
        sqlite3_exec(database->handle, "ROLLBACK", NULL, NULL, NULL);
}

bool database_is_in_transaction(struct database *database)
{
    return !sqlite3_get_autocommit(database->handle);
}

int database_savepoint(struct database *database, struct error *error)
{
    return database_execute(database, "SAVEPOINT step", error);
}

int database_release(struct database *database, struct error *error)
{
    return database_execute(database, "RELEASE step", error);
}

int database_undo(struct database *database, struct error *error)
{
    return database_execute(database, "ROLLBACK TO step; RELEASE step", error);
}

int database_set_durable(struct database *database, bool durable, struct error *error)
{
    return database_execute(
        database, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", error);
}

int64_t database_changes(struct database *database)
{
    return sqlite3_changes64(database->handle);
}

/* --- opening and migrating --- */

static int read_format(struct database *database, int64_t *ret_format, struct error *error)
{
    struct database_statement *statement = NULL;
    if (database_prepare(database, "PRAGMA user_version", &statement, error) < 0)
        return -1;
    int result = database_step(statement, error);
    if (result == 1)
        *ret_format = database_column_int(statement, 0);
    database_statement_destroy(statement);
    return result == 1 ? 0 : -1;
}

static int sync_folder_of(const char *path, struct error *error)
{
    AUTO_FREE char *copy = xstrdup(path);
    return file_sync_directory(dirname(copy), error);
}

/* Made beside it and renamed. */
int database_back_up(struct database *database, const char *path, struct error *error)
{
    AUTO_FREE char *partial = xasprintf("%s.partial", path);
    struct database_statement *statement = NULL;
    if (unlink(partial) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove %s", partial);
    if (database_prepare(database, "VACUUM INTO ?1", &statement, error) < 0)
        return -1;
    database_bind_text(statement, 1, partial);
    int result = database_run(statement, error);
    database_statement_destroy(statement);
    if (result < 0) {
        unlink(partial);
        return error_wrap(error, "back up to %s", path);
    }
    if (rename(partial, path) < 0)
        return error_set_errno(error, errno, "rename %s to %s", partial, path);
    return sync_folder_of(path, error);
}

static int back_up_format(struct database *database, int64_t format, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s.format-%lld.backup", database->path, (long long)format);
    return database_back_up(database, path, error);
}

static int migrate_step(struct database *database, const char *sql, int64_t next,
                        struct error *error)
{
    AUTO_FREE char *set_format = xasprintf("PRAGMA user_version = %lld", (long long)next);
    if (database_begin(database, error) < 0)
        return -1;
    if (database_execute(database, sql, error) < 0 ||
        database_execute(database, set_format, error) < 0 || database_commit(database, error) < 0) {
        database_rollback(database);
        return error_wrap(error, "migrate to format %lld", (long long)next);
    }
    return 0;
}

static int migrate(struct database *database, const char *const *migrations, struct error *error)
{
    int64_t known = 0, format = 0;
    while (migrations[known] != NULL)
        known++;
    if (read_format(database, &format, error) < 0)
        return -1;
    if (format > known)
        return error_set(error, ERROR_PROTOCOL,
                         "%s has format %lld, and this version knows formats up to %lld: use a "
                         "newer version, or restore a backup of an older format",
                         database->path, (long long)format, (long long)known);
    if (format > 0 && format < known && back_up_format(database, format, error) < 0)
        return -1;
    for (; format < known; format++) {
        if (migrate_step(database, migrations[format], format + 1, error) < 0)
            return -1;
    }
    return sync_folder_of(database->path, error);
}

static int open_handle(struct database *database, int flags, struct error *error)
{
    if (sqlite3_open_v2(database->path, &database->handle, flags, NULL) != SQLITE_OK) {
        if (database->handle == NULL)
            return error_set(error, ERROR_IO, "open database %s: no memory", database->path);
        return set_error(database, error);
    }
    sqlite3_extended_result_codes(database->handle, 1);
    sqlite3_busy_timeout(database->handle, BUSY_TIMEOUT_MS);
    return database_execute(database, "PRAGMA trusted_schema = OFF", error);
}

static int open_writer(struct database *database, struct error *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    if (open_handle(database, flags, error) < 0)
        return -1;
    return database_execute(database,
                            "PRAGMA journal_mode = WAL;"
                            "PRAGMA synchronous = FULL;"
                            "PRAGMA foreign_keys = ON;",
                            error);
}

int database_open(const char *path, const char *const *migrations, struct database **ret_database,
                  struct error *error)
{
    struct database *database = xcalloc(1, sizeof *database);
    database->path = xstrdup(path);
    if (open_writer(database, error) < 0 || migrate(database, migrations, error) < 0) {
        database_close(database);
        return -1;
    }
    *ret_database = database;
    return 0;
}

int database_open_reader(const char *path, struct database **ret_database, struct error *error)
{
    struct database *database = xcalloc(1, sizeof *database);
    database->path = xstrdup(path);
    if (open_handle(database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, error) < 0) {
        database_close(database);
        return -1;
    }
    *ret_database = database;
    return 0;
}

void database_close(struct database *database)
{
    if (database == NULL)
        return;
    /* _v2 waits for statements that are still to be destroyed. */
    sqlite3_close_v2(database->handle);
    free(database->path);
    free(database);
}

/* --- statements --- */

int database_prepare(struct database *database, const char *sql,
                     struct database_statement **ret_statement, struct error *error)
{
    sqlite3_stmt *handle = NULL;
    if (sqlite3_prepare_v3(database->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL) !=
        SQLITE_OK)
        return set_error(database, error);
    struct database_statement *statement = xcalloc(1, sizeof *statement);
    statement->database = database;
    statement->handle = handle;
    *ret_statement = statement;
    return 0;
}

void database_statement_destroy(struct database_statement *statement)
{
    if (statement == NULL)
        return;
    sqlite3_finalize(statement->handle);
    free(statement);
}

void database_bind_text(struct database_statement *statement, int index, const char *text)
{
    sqlite3_bind_text(statement->handle, index, text, -1, SQLITE_TRANSIENT);
}

void database_bind_blob(struct database_statement *statement, int index, const void *bytes,
                        size_t length)
{
    if (bytes == NULL)
        sqlite3_bind_null(statement->handle, index);
    else
        sqlite3_bind_blob64(statement->handle, index, bytes, length, SQLITE_TRANSIENT);
}

void database_bind_int(struct database_statement *statement, int index, int64_t value)
{
    sqlite3_bind_int64(statement->handle, index, value);
}

void database_reset(struct database_statement *statement)
{
    sqlite3_reset(statement->handle);
    sqlite3_clear_bindings(statement->handle);
}

int database_step(struct database_statement *statement, struct error *error)
{
    int result = sqlite3_step(statement->handle);
    if (result == SQLITE_ROW)
        return 1;
    if (result != SQLITE_DONE)
        set_error(statement->database, error);
    database_reset(statement);
    return result == SQLITE_DONE ? 0 : -1;
}

int database_run(struct database_statement *statement, struct error *error)
{
    int result;
    do {
        result = database_step(statement, error);
    } while (result == 1);
    return result;
}

const char *database_column_text(struct database_statement *statement, int index)
{
    return (const char *)sqlite3_column_text(statement->handle, index);
}

const void *database_column_blob(struct database_statement *statement, int index,
                                 size_t *ret_length)
{
    const void *bytes = sqlite3_column_blob(statement->handle, index);
    if (ret_length != NULL)
        *ret_length = (size_t)sqlite3_column_bytes(statement->handle, index);
    return bytes;
}

int64_t database_column_int(struct database_statement *statement, int index)
{
    return sqlite3_column_int64(statement->handle, index);
}
