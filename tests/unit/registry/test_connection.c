/* Group commit: many threads, one writer. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/metadata/connection.h"

#define THREADS 8
#define ROUNDS  50

struct place {
    char folder[64];
    char *path;
    struct writer *writer;
};

static int make_place(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    struct database *database = NULL;
    snprintf(place->folder, sizeof place->folder, "/tmp/shoal-writer-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    place->path = xasprintf("%s/metadata.db", place->folder);
    assert_int_equal(database_open(place->path, schema_migrations, &database, NULL), 0);
    place->writer = writer_create(database);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    writer_destroy(place->writer);
    assert_int_equal(file_remove_tree(place->folder, NULL), 0);
    free(place->path);
    free(place);
    return 0;
}

/* Adds a repository and then does what its name says. */
enum intent { STAY, FIND_NOTHING, FAIL, LOSE_TRANSACTION };

struct step {
    char name[64];
    enum intent intent;
    unsigned runs;
};

static int run_step(struct connection *connection, void *data, struct error *error)
{
    struct step *step = data;
    struct database *database = connection_database(connection);
    step->runs++;
    if (connection_run(connection, ADD_REPOSITORY, step->name, NULL, error) < 0)
        return -1;
    switch (step->intent) {
    case STAY:
        return 1;
    case FIND_NOTHING:
        return 0;
    case FAIL:
        return database_execute(database, "INSERT INTO repositories (id) VALUES (1)", error);
    case LOSE_TRANSACTION: /* as SQLite does by itself when the disk is full */
        database_rollback(database);
        return error_set(error, ERROR_STORAGE_FULL, "full");
    }
    return -1;
}

struct worker {
    pthread_t thread;
    struct place *place;
    unsigned number;
    unsigned losses;
};

static bool is_there(struct place *place, const char *name)
{
    struct database *database = NULL;
    struct database_statement *look = NULL;
    assert_int_equal(database_open_reader(place->path, &database, NULL), 0);
    assert_int_equal(database_prepare(database, schema_statements[HAS_REPOSITORY], &look, NULL), 0);
    database_bind_text(look, 1, name);
    int found = database_step(look, NULL);
    database_statement_destroy(look);
    database_close(database);
    assert_int_not_equal(found, -1);
    return found == 1;
}

/* Every intent in turn; each answer must be its own, and true in the file. */
static void *work(void *data)
{
    struct worker *worker = data;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct step step = {.intent = (i + worker->number) % (worker->losses ? 4 : 3)};
        struct error error = ERROR_INIT;
        snprintf(step.name, sizeof step.name, "r%u-%u", worker->number, i);
        int result = writer_run(worker->place->writer, run_step, &step, &error);
        assert_int_equal(result, step.intent == STAY ? 1 : step.intent == FIND_NOTHING ? 0 : -1);
        assert_true(is_there(worker->place, step.name) == (step.intent == STAY));
        assert_true(step.runs >= 1);
        if (step.intent == FAIL)
            assert_int_equal(error.code, ERROR_CONFLICT);
        if (step.intent == LOSE_TRANSACTION)
            assert_int_equal(error.code, ERROR_STORAGE_FULL);
    }
    return NULL;
}

static void run_workers(struct place *place, bool with_losses)
{
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.place = place, .number = i, .losses = with_losses};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
}

static void one_that_fails_fails_alone(void **state)
{
    run_workers(*state, false);
}

static void a_lost_transaction_loses_only_whose_fault_it_was(void **state)
{
    run_workers(*state, true);
}

/* The first operation stays in its transaction until all others wait: they share the next. */
struct gate {
    struct place *place;
    atomic_bool has_begun;
    atomic_uint waiting;
    atomic_uint transactions;
    pthread_t threads[THREADS];
};

static int run_slow(struct connection *connection, void *data, struct error *error)
{
    struct gate *gate = data;
    atomic_store(&gate->has_begun, true);
    while (atomic_load(&gate->waiting) < THREADS)
        sched_yield();
    const struct timespec moment = {.tv_nsec = 200000000};
    nanosleep(&moment, NULL); /* from their last step to the queue */
    return connection_run(connection, ADD_REPOSITORY, "slow", NULL, error) < 0 ? -1 : 1;
}

static int run_quick(struct connection *connection, void *data, struct error *error)
{
    struct gate *gate = data;
    /* The first in a transaction finds nothing of its fellows. */
    int found = connection_look(connection, HAS_REPOSITORY, "mark", NULL, error);
    if (found == 0)
        atomic_fetch_add(&gate->transactions, 1);
    return found < 0 || connection_run(connection, ADD_REPOSITORY, "mark", NULL, error) < 0 ? -1
                                                                                            : 1;
}

static void *work_quick(void *data)
{
    struct gate *gate = data;
    atomic_fetch_add(&gate->waiting, 1);
    assert_int_equal(writer_run(gate->place->writer, run_quick, gate, NULL), 1);
    return NULL;
}

static void *work_slow(void *data)
{
    struct gate *gate = data;
    assert_int_equal(writer_run(gate->place->writer, run_slow, gate, NULL), 1);
    return NULL;
}

static void those_that_wait_are_committed_together(void **state)
{
    struct gate gate = {.place = *state};
    pthread_t slow;
    assert_int_equal(pthread_create(&slow, NULL, work_slow, &gate), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&gate.threads[i], NULL, work_quick, &gate), 0);
    pthread_join(slow, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(gate.threads[i], NULL);
    assert_int_equal(atomic_load(&gate.transactions), 1);
    assert_true(is_there(gate.place, "slow"));
    assert_true(is_there(gate.place, "mark"));
}

/* Notes what PRAGMA synchronous says: 1 normal, 2 full. */
static int note_durability(struct connection *connection, void *data, struct error *error)
{
    struct database_statement *statement = NULL;
    int64_t *ret_level = data;
    if (database_prepare(connection_database(connection), "PRAGMA synchronous", &statement, error) <
        0)
        return -1;
    int result = database_step(statement, error);
    *ret_level = result == 1 ? database_column_int(statement, 0) : -1;
    database_statement_destroy(statement);
    return result;
}

static void what_may_be_lost_with_the_power_is_not_waited_for(void **state)
{
    struct place *place = *state;
    int64_t level = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(writer_run(place->writer, note_durability, &level, NULL), 1);
        assert_int_equal(level, 2);
        assert_int_equal(writer_run_unsynced(place->writer, note_durability, &level, NULL), 1);
        assert_int_equal(level, 1);
    }
    struct step step = {.name = "kept"};
    assert_int_equal(writer_run_unsynced(place->writer, run_step, &step, NULL), 1);
    assert_true(is_there(place, "kept"));
}

struct noting {
    struct gate *gate;
    pthread_t thread;
    bool is_durable;
    int64_t level;
};

static void *work_noting(void *data)
{
    struct noting *noting = data;
    struct writer *writer = noting->gate->place->writer;
    atomic_fetch_add(&noting->gate->waiting, 1);
    int result = noting->is_durable
                     ? writer_run(writer, note_durability, &noting->level, NULL)
                     : writer_run_unsynced(writer, note_durability, &noting->level, NULL);
    assert_int_equal(result, 1);
    return NULL;
}

static void one_that_must_not_be_lost_makes_its_group_durable(void **state)
{
    struct gate gate = {.place = *state};
    struct noting noting[THREADS] = {0};
    pthread_t slow;
    assert_int_equal(pthread_create(&slow, NULL, work_slow, &gate), 0);
    while (!atomic_load(&gate.has_begun))
        sched_yield();
    for (unsigned i = 0; i < THREADS; i++) {
        noting[i].gate = &gate;
        noting[i].is_durable = i == THREADS / 2;
        assert_int_equal(pthread_create(&noting[i].thread, NULL, work_noting, &noting[i]), 0);
    }
    pthread_join(slow, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(noting[i].thread, NULL);
        assert_int_equal(noting[i].level, 2);
    }
}

/* --- readers --- */

static void *take_and_give(void *data)
{
    struct readers *readers = data;
    for (unsigned i = 0; i < 1000; i++) {
        struct connection *connection = readers_take(readers, NULL);
        assert_non_null(connection);
        assert_int_equal(connection_look(connection, HAS_REPOSITORY, "r", NULL, NULL), 0);
        readers_give(readers, connection);
    }
    return NULL;
}

static void readers_wait_for_a_free_connection(void **state)
{
    struct place *place = *state;
    struct readers *readers = readers_create(place->path, 2);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, readers), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    readers_destroy(readers);
}

static void a_reader_that_cannot_be_opened_costs_no_place(void **state)
{
    (void)state;
    struct readers *readers = readers_create("/nowhere/at/all.db", 1);
    struct error error = ERROR_INIT;
    for (int i = 0; i < 3; i++)
        assert_null(readers_take(readers, &error));
    assert_int_equal(error.code, ERROR_IO);
    readers_destroy(readers);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_fails_fails_alone),
        TEST(a_lost_transaction_loses_only_whose_fault_it_was),
        TEST(those_that_wait_are_committed_together),
        TEST(what_may_be_lost_with_the_power_is_not_waited_for),
        TEST(one_that_must_not_be_lost_makes_its_group_durable),
        TEST(readers_wait_for_a_free_connection),
        TEST(a_reader_that_cannot_be_opened_costs_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
