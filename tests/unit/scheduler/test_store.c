#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "scheduler/store_sqlite.h"

struct fixture {
    uv_loop_t loop;
    char directory[64];
    struct store *store;
    bool done;
    bool failed;
    struct error error;
    uint64_t revision;
    bool more;
    bool leads;
    uint64_t listed; /* revision of a list */
    char keys[512];  /* "key=value@revision ..." of a list or watch */
};

static void on_lead(bool leading, void *data)
{
    struct fixture *fixture = data;
    fixture->leads = leading;
}

static void lead(struct fixture *fixture)
{
    fixture->leads = false;
    store_lead(fixture->store, "{\"address\": \"http://here\"}", on_lead, fixture);
    while (!fixture->leads)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

static void open_store(struct fixture *fixture, bool restored)
{
    struct store_sqlite_options options = {fixture->directory, restored};
    struct error error = ERROR_INIT;
    if (store_sqlite_open(&fixture->loop, &options, &fixture->store, &error) < 0)
        fail_msg("%s", error.message);
}

static void open_and_lead(struct fixture *fixture, bool restored)
{
    open_store(fixture, restored);
    lead(fixture);
}

static void close_store(struct fixture *fixture)
{
    store_destroy(fixture->store);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    fixture->store = NULL;
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    uv_loop_init(&fixture->loop);
    strcpy(fixture->directory, "/tmp/shoal-store.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    open_and_lead(fixture, false);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

static void wait_until_done(struct fixture *fixture)
{
    while (!fixture->done)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    fixture->done = false;
}

static void on_commit(const struct error *error, uint64_t revision, void *data)
{
    struct fixture *fixture = data;
    fixture->done = true;
    fixture->failed = error != NULL;
    if (error != NULL)
        fixture->error = *error;
    fixture->revision = revision;
}

static int commit(struct fixture *fixture, const struct store_comparison *comparison,
                  const char *key, const char *value)
{
    struct store_write write = {key, value};
    struct store_transaction transaction = {comparison, comparison != NULL, &write, 1, false};
    store_commit(fixture->store, &transaction, on_commit, fixture);
    wait_until_done(fixture);
    return fixture->failed ? -1 : 0;
}

static void note(struct fixture *fixture, const struct store_document *documents, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(fixture->keys);
        snprintf(fixture->keys + used, sizeof fixture->keys - used, "%s%s=%s", used > 0 ? " " : "",
                 documents[i].key, documents[i].value != NULL ? documents[i].value : "gone");
    }
}

static void on_list(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    struct fixture *fixture = data;
    fixture->listed = revision;
    assert_null(error);
    note(fixture, documents, count);
    fixture->more = more;
    fixture->done = true;
}

static const char *list(struct fixture *fixture, const char *prefix, const char *after,
                        size_t limit)
{
    fixture->keys[0] = '\0';
    store_list(fixture->store, prefix, after, limit, on_list, fixture);
    wait_until_done(fixture);
    return fixture->keys;
}

static void what_was_written_is_read_after_a_restart(void **state)
{
    struct fixture *fixture = *state;
    struct store_identity before = *store_identity(fixture->store);
    assert_int_equal(commit(fixture, NULL, "a/1", "\"one\""), 0);
    close_store(fixture);
    open_store(fixture, false);
    assert_string_equal(list(fixture, "a/", NULL, 10), "a/1=\"one\"");
    assert_string_equal(store_identity(fixture->store)->cluster, before.cluster);
    assert_int_equal(strlen(before.cluster), 32);
    assert_int_equal(store_identity(fixture->store)->term, 1);
}

static void a_restored_store_begins_a_new_term(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    open_store(fixture, true);
    assert_int_equal(store_identity(fixture->store)->term, 2);
    close_store(fixture);
    open_store(fixture, false);
    assert_int_equal(store_identity(fixture->store)->term, 2);
}

static void two_schedulers_cannot_share_a_folder(void **state)
{
    struct fixture *fixture = *state;
    struct store_sqlite_options options = {fixture->directory, false};
    struct store *second;
    struct error error = ERROR_INIT;
    assert_int_equal(store_sqlite_open(&fixture->loop, &options, &second, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, "another scheduler"));
}

static void a_comparison_that_does_not_hold_writes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct store_comparison absent = {"a", 0};
    assert_int_equal(commit(fixture, &absent, "a", "1"), 0);
    struct store_comparison present = {"a", fixture->revision};
    assert_int_equal(commit(fixture, &absent, "b", "1"), -1);
    assert_int_equal(fixture->error.code, ERROR_CONFLICT);
    assert_string_equal(list(fixture, "", NULL, 10), "a=1");
    assert_int_equal(commit(fixture, &present, "a", "2"), 0);
    assert_int_equal(commit(fixture, &present, "a", "3"), -1);
    assert_string_equal(list(fixture, "", NULL, 10), "a=2");
}

static void lists_come_in_pages_of_one_prefix(void **state)
{
    struct fixture *fixture = *state;
    const char *const keys[] = {"a/1", "a/2", "a/3", "b/1"};
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++)
        commit(fixture, NULL, keys[i], "0");
    assert_string_equal(list(fixture, "a/", NULL, 2), "a/1=0 a/2=0");
    assert_true(fixture->more);
    assert_string_equal(list(fixture, "a/", "a/2", 2), "a/3=0");
    assert_false(fixture->more);
    assert_string_equal(list(fixture, "c/", NULL, 2), "");
}

static void deleted_documents_are_gone(void **state)
{
    struct fixture *fixture = *state;
    commit(fixture, NULL, "a", "1");
    commit(fixture, NULL, "a", NULL);
    assert_string_equal(list(fixture, "", NULL, 10), "");
}

static void a_transaction_over_a_limit_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct store_write writes[STORE_WRITES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LENGTH(writes); i++)
        writes[i] = (struct store_write){"same", "1"};
    struct store_transaction many = {NULL, 0, writes, ARRAY_LENGTH(writes), false};
    store_commit(fixture->store, &many, on_commit, fixture);
    wait_until_done(fixture);
    assert_true(fixture->failed);
    assert_int_equal(fixture->error.code, ERROR_TOO_LARGE);
    AUTO_FREE char *large = xcalloc(STORE_DOCUMENT_MAX + 2, 1);
    memset(large, '1', STORE_DOCUMENT_MAX + 1);
    assert_int_equal(commit(fixture, NULL, "a", large), -1);
    assert_int_equal(fixture->error.code, ERROR_TOO_LARGE);
    assert_string_equal(list(fixture, "", NULL, 10), "");
}

static void on_watch(const struct error *error, const struct store_document *changes, size_t count,
                     uint64_t revision, void *data)
{
    struct fixture *fixture = data;
    (void)revision;
    assert_null(error);
    note(fixture, changes, count);
}

static void a_watch_tells_what_was_missed_and_then_what_comes(void **state)
{
    struct fixture *fixture = *state;
    commit(fixture, NULL, "a/old", "1");
    uint64_t from = fixture->revision;
    commit(fixture, NULL, "a/new", "1");
    commit(fixture, NULL, "a/old", NULL);
    commit(fixture, NULL, "b/other", "1");
    list(fixture, "none", NULL, 1);
    struct store_watch *watch = store_watch_start(fixture->store, "a/", from, on_watch, fixture);
    commit(fixture, NULL, "a/next", "2");
    commit(fixture, NULL, "b/next", "2");
    assert_string_equal(fixture->keys, "a/new=1 a/old=gone a/next=2");
    store_watch_stop(watch);
    commit(fixture, NULL, "a/later", "3");
    assert_null(strstr(fixture->keys, "later"));
}

struct neighbours {
    struct store_watch *watches[2];
    int calls;
};

/* Stops itself and its neighbour while the store tells of a change. */
static void on_watch_stop_both(const struct error *error, const struct store_document *changes,
                               size_t count, uint64_t revision, void *data)
{
    struct neighbours *neighbours = data;
    (void)error;
    (void)changes;
    (void)count;
    (void)revision;
    neighbours->calls++;
    for (size_t i = 0; i < ARRAY_LENGTH(neighbours->watches); i++) {
        if (neighbours->watches[i] != NULL)
            store_watch_stop(neighbours->watches[i]);
        neighbours->watches[i] = NULL;
    }
}

static void watches_may_be_stopped_while_one_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct neighbours neighbours = {0};
    commit(fixture, NULL, "b/before", "1");
    for (size_t i = 0; i < ARRAY_LENGTH(neighbours.watches); i++)
        neighbours.watches[i] = store_watch_start(fixture->store, "a/", fixture->revision,
                                                  on_watch_stop_both, &neighbours);
    list(fixture, "none", NULL, 1); /* both have caught up */
    commit(fixture, NULL, "a/one", "1");
    commit(fixture, NULL, "a/two", "1");
    assert_int_equal(neighbours.calls, 1);
}

static void commits_that_wait_together_end_in_order(void **state)
{
    struct fixture *fixture = *state;
    char key[16];
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        struct store_write write = {key, "1"};
        struct store_transaction transaction = {NULL, 0, &write, 1, false};
        store_commit(fixture->store, &transaction, on_commit, fixture);
    }
    while (fixture->revision < 50)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(fixture->revision, 50);
    fixture->done = false;
    list(fixture, "k49", NULL, 1);
    assert_string_equal(fixture->keys, "k49=1");
}

static void a_list_says_the_revision_it_is_of(void **state)
{
    struct fixture *fixture = *state;
    commit(fixture, NULL, "a/1", "1");
    list(fixture, "none", NULL, 1);
    assert_int_equal(fixture->listed, fixture->revision);
}

static void who_does_not_lead_writes_nothing(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    open_store(fixture, false);
    assert_int_equal(commit(fixture, NULL, "a", "1"), -1);
    assert_int_equal(fixture->error.code, ERROR_CONFLICT);
    assert_non_null(strstr(fixture->error.message, "does not lead"));
    assert_string_equal(list(fixture, "", NULL, 10), "");
    lead(fixture);
    assert_int_equal(commit(fixture, NULL, "a", "1"), 0);
}

static void on_leader(const char *document, void *data)
{
    struct fixture *fixture = data;
    snprintf(fixture->keys, sizeof fixture->keys, "%s", document);
}

static void who_leads_can_be_read(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    open_store(fixture, false);
    assert_null(store_leader(fixture->store));
    store_follow_leader(fixture->store, on_leader, fixture);
    lead(fixture);
    assert_string_equal(store_leader(fixture->store), "{\"address\": \"http://here\"}");
    assert_string_equal(fixture->keys, "{\"address\": \"http://here\"}");
}

/* --- commits that belong together --- */

struct chain {
    struct fixture *fixture;
    size_t ended;
    enum error_code codes[4];
};

static void on_piece(const struct error *error, uint64_t revision, void *data)
{
    struct chain *chain = data;
    (void)revision;
    chain->codes[chain->ended++] = error != NULL ? error->code : ERROR_NONE;
}

static void hand_in_piece(struct chain *chain, const struct store_comparison *comparison,
                          const char *key, bool chained)
{
    struct store_write write = {key, "1"};
    struct store_transaction transaction = {comparison, comparison != NULL, &write, 1, chained};
    store_commit(chain->fixture->store, &transaction, on_piece, chain);
}

static void a_chained_commit_fails_with_the_one_before_it(void **state)
{
    struct fixture *fixture = *state;
    struct chain chain = {.fixture = fixture};
    struct store_comparison wrong = {"a", 77};
    hand_in_piece(&chain, &wrong, "a", false);
    hand_in_piece(&chain, NULL, "b", true);
    hand_in_piece(&chain, NULL, "c", true);
    hand_in_piece(&chain, NULL, "d", false);
    while (chain.ended < 4)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(chain.codes[0], ERROR_CONFLICT);
    assert_int_equal(chain.codes[1], ERROR_CONFLICT);
    assert_int_equal(chain.codes[2], ERROR_CONFLICT);
    assert_int_equal(chain.codes[3], ERROR_NONE);
    assert_string_equal(list(fixture, "", NULL, 10), "d=1");
}

static void a_chained_commit_fails_with_one_that_was_refused(void **state)
{
    struct fixture *fixture = *state;
    struct chain chain = {.fixture = fixture};
    hand_in_piece(&chain, NULL, "", false);
    hand_in_piece(&chain, NULL, "b", true);
    while (chain.ended < 2)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(chain.codes[1], ERROR_TOO_LARGE);
    assert_string_equal(list(fixture, "", NULL, 10), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read_after_a_restart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_restored_store_begins_a_new_term, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_schedulers_cannot_share_a_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_comparison_that_does_not_hold_writes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(lists_come_in_pages_of_one_prefix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deleted_documents_are_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_transaction_over_a_limit_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watches_may_be_stopped_while_one_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_watch_tells_what_was_missed_and_then_what_comes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(commits_that_wait_together_end_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_says_the_revision_it_is_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_lead_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_leads_can_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_chained_commit_fails_with_the_one_before_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_chained_commit_fails_with_one_that_was_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
