/* A copy of the SQLite store: by a reader of its own, which sees what was committed before it began
 * and keeps nobody from writing. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/store_sqlite_internal.h"

static int read_revision(struct database *database, uint64_t *ret_revision, struct error *error)
{
    struct database_statement *statement;
    if (database_prepare(database, "SELECT value FROM meta WHERE name = 'revision'", &statement,
                         error) < 0)
        return -1;
    int row = database_step(statement, error);
    if (row > 0 && !text_parse_u64(database_column_text(statement, 0), INT64_MAX, ret_revision))
        *ret_revision = 0;
    database_statement_destroy(statement);
    return row < 0 ? -1 : 0;
}

static int copy_documents(struct database *database, struct store_copy *copy,
                          const atomic_bool *cancelled, struct error *error)
{
    struct database_statement *statement;
    int row;
    if (database_prepare(database, "SELECT key, value FROM documents ORDER BY key", &statement,
                         error) < 0)
        return -1;
    while ((row = database_step(statement, error)) > 0) {
        row = atomic_load(cancelled)
                  ? error_set(error, ERROR_UNAVAILABLE, "the store was closed meanwhile")
                  : store_copy_add(copy, database_column_text(statement, 0),
                                   database_column_text(statement, 1), error);
        if (row < 0)
            break;
    }
    database_statement_destroy(statement);
    return row;
}

int store_sqlite_copy(const struct store *base, struct store_copy *copy,
                      const atomic_bool *cancelled, struct error *error)
{
    const struct store_sqlite *store = (const struct store_sqlite *)base;
    AUTO_FREE char *path = xasprintf("%s/store.db", store->directory);
    struct database *database;
    uint64_t revision = 0;
    if (database_open_reader(path, &database, error) < 0)
        return -1;
    int result = database_execute(database, "BEGIN", error);
    if (result == 0 && (read_revision(database, &revision, error) < 0 ||
                        store_copy_begin(copy, &base->identity, revision, error) < 0 ||
                        copy_documents(database, copy, cancelled, error) < 0))
        result = -1;
    database_close(database);
    return result;
}
