/* How the database finds what the statements ask for. A step that goes through all that a
 * repository has is no matter in a test's repository and stops the registry in a large one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/metadata/schema.h"

struct place {
    char folder[64];
    struct database *database;
};

/* Steps that go through a whole repository; where none is named, none is fine. */
static const unsigned whole_repositories[STATEMENT_COUNT] = {
    [EACH_TAG] = 1,
    [FIND_DEAD] = 2,    /* its manifests, and which of them keep themselves */
    [LIST_EMPTY] = 2,   /* ends at the first blob, and at the first manifest */
    [REMOVE_EMPTY] = 5, /* as well, and the checks of its keys */
};

static int make_place(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    strcpy(place->folder, "/tmp/shoal-schema-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    AUTO_FREE char *path = xasprintf("%s/metadata.db", place->folder);
    assert_int_equal(database_open(path, schema_migrations, &place->database, NULL), 0);
    assert_int_equal(database_execute(place->database,
                                      "CREATE TEMP TABLE kept (manifest INTEGER PRIMARY KEY);"
                                      "CREATE TEMP TABLE dead (manifest INTEGER PRIMARY KEY);"
                                      "CREATE TEMP TABLE gone (repository INTEGER, digest TEXT,"
                                      " PRIMARY KEY (repository, digest)) WITHOUT ROWID;",
                                      NULL),
                     0);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    database_close(place->database);
    assert_int_equal(file_remove_tree(place->folder, NULL), 0);
    free(place);
    return 0;
}

/* Counts the steps of the statement's plan that hold the text. */
static unsigned count_steps(struct place *place, enum statement which, const char *text)
{
    AUTO_FREE char *sql = xasprintf("EXPLAIN QUERY PLAN %s", schema_statements[which]);
    struct database_statement *plan = NULL;
    unsigned count = 0;
    int found;
    assert_int_equal(database_prepare(place->database, sql, &plan, NULL), 0);
    while ((found = database_step(plan, NULL)) == 1) {
        const char *step = database_column_text(plan, 3);
        if (strstr(step, text) != NULL)
            count++;
    }
    assert_int_equal(found, 0);
    database_statement_destroy(plan);
    return count;
}

static void no_statement_goes_through_a_whole_repository(void **state)
{
    for (int which = 0; which < STATEMENT_COUNT; which++) {
        unsigned count = count_steps(*state, (enum statement)which, "(repository=?)");
        if (count > whole_repositories[which])
            fail_msg("%u steps through a whole repository: %s", count, schema_statements[which]);
    }
}

static void companions_are_found_by_their_index(void **state)
{
    static const enum statement statements[] = {FIND_DEAD, LIST_HELD, REMOVE_COMPANIONS};
    for (size_t i = 0; i < ARRAY_LENGTH(statements); i++)
        assert_int_equal(
            count_steps(*state, statements[i], "tags_by_companion (repository=? AND companion=?)"),
            1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_statement_goes_through_a_whole_repository),
        TEST(companions_are_found_by_their_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
