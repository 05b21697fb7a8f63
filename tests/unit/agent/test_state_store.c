/* What an agent knows again after a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/state_store.h"
#include "lib/cleanup.h"
#include "lib/database.h"
#include "lib/file.h"
#include "lib/log.h"

/* The wall clock is put back by so many seconds, from whoever's view that has looked at it. */
static time_t put_back_later;

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    long result = syscall(SYS_clock_gettime, clock, ret_time);
    if (clock == CLOCK_REALTIME)
        ret_time->tv_sec += put_back_later;
    return (int)result;
}

struct place {
    char folder[64];
    char path[96];
};

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->folder, "/tmp/shoal-unit.XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    snprintf(place->path, sizeof place->path, "%s/agent.db", place->folder);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    int status = file_remove_tree(place->folder, NULL);
    free(place);
    return status;
}

static struct state_store *open_store(const struct place *place)
{
    struct state_store *store = NULL;
    struct error error = ERROR_INIT;
    if (state_store_open(place->path, &store, &error) < 0)
        fail_msg("%s", error.message);
    return store;
}

static void join_ids(const char *id, const char *text, void *data)
{
    char *joined = data;
    strcat(joined, id);
    strcat(joined, text);
}

static void documents_and_instances_come_back(void **state)
{
    struct state_store *store = open_store(*state);
    state_store_put(store, STATE_TRUST, "{\"a\":1}");
    state_store_put_instance(store, "000100000002", "two");
    state_store_put_instance(store, "000100000001", "one");
    state_store_close(store);

    store = open_store(*state);
    AUTO_FREE char *text = NULL;
    assert_int_equal(state_store_get(store, STATE_TRUST, &text, NULL), 0);
    assert_string_equal(text, "{\"a\":1}");
    char joined[128] = "";
    assert_int_equal(state_store_each_instance(store, join_ids, joined, NULL), 0);
    assert_string_equal(joined, "000100000001one000100000002two");
    state_store_close(store);
}

static void the_last_word_counts(void **state)
{
    struct state_store *store = open_store(*state);
    for (int i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        state_store_put_instance(store, "000100000001", text);
    }
    state_store_put_instance(store, "000100000002", "gone");
    state_store_flush(store);
    state_store_remove_instance(store, "000100000002");
    state_store_close(store);

    store = open_store(*state);
    char joined[128] = "";
    assert_int_equal(state_store_each_instance(store, join_ids, joined, NULL), 0);
    assert_string_equal(joined, "000100000001999");
    state_store_close(store);
}

static void what_was_never_written_is_not_there(void **state)
{
    struct state_store *store = open_store(*state);
    char *text = (char *)"untouched";
    assert_int_equal(state_store_get(store, STATE_CLUSTER, &text, NULL), 0);
    assert_null(text);
    state_store_close(store);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    const struct place *place = *state;
    char noise[4096];
    memset(noise, 'x', sizeof noise);
    assert_int_equal(file_write(place->path, noise, sizeof noise, 0600, NULL), 0);
    struct state_store *store = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(state_store_open(place->path, &store, &error), -1);
    assert_null(store);
    assert_non_null(strstr(error.message, place->path));
}

static void run_elsewhere(const struct place *place, const char *sql)
{
    static const char *const migrations[] = {"", NULL};
    struct database *database;
    assert_int_equal(database_open(place->path, migrations, &database, NULL), 0);
    assert_int_equal(database_execute(database, sql, NULL), 0);
    database_close(database);
}

static void what_could_not_be_written_is_written_later(void **state)
{
    struct state_store *store = open_store(*state);
    put_back_later = 3600;
    alarm(60); /* or it would wait for an hour */
    run_elsewhere(*state, "ALTER TABLE instance RENAME TO away");
    state_store_put_instance(store, "000100000001", "old");
    state_store_put_instance(store, "000100000002", "kept");
    usleep(200000); /* for the first, failing try */
    state_store_put_instance(store, "000100000001", "new");
    run_elsewhere(*state, "ALTER TABLE away RENAME TO instance");
    state_store_flush(store);
    alarm(0);
    put_back_later = 0;
    state_store_close(store);

    store = open_store(*state);
    char joined[128] = "";
    assert_int_equal(state_store_each_instance(store, join_ids, joined, NULL), 0);
    assert_string_equal(joined, "000100000001new000100000002kept");
    state_store_close(store);
}

static void a_store_that_cannot_be_written_can_be_closed(void **state)
{
    struct state_store *store = open_store(*state);
    run_elsewhere(*state, "ALTER TABLE instance RENAME TO away");
    state_store_put_instance(store, "000100000001", "lost");
    state_store_close(store);
}

int main(void)
{
    log_open("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(documents_and_instances_come_back, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(the_last_word_counts, make_place, remove_place),
        cmocka_unit_test_setup_teardown(what_was_never_written_is_not_there, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(what_could_not_be_written_is_written_later, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(a_store_that_cannot_be_written_can_be_closed, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_database_is_refused, make_place,
                                        remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
