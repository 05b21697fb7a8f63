/* What a store promises, checked of both implementations. */
#include "tests/unit/scheduler/store_fixture.h"

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
    struct store *second;
    struct error error = ERROR_INIT;
    assert_int_equal(try_to_open(fixture, false, &second, &error), -1);
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

struct crowd {
    unsigned ended;
    uint64_t revision;
};

static void on_one_of_crowd(const struct error *error, uint64_t revision, void *data)
{
    struct crowd *crowd = data;
    assert_null(error);
    assert_true(revision >= crowd->revision);
    crowd->revision = revision;
    crowd->ended++;
}

struct pages {
    struct fixture *fixture;
    unsigned documents;
    bool done;
};

static void on_large_page(const struct error *error, const struct store_document *documents,
                          size_t count, bool more, uint64_t revision, void *data)
{
    struct pages *pages = data;
    (void)revision;
    assert_null(error);
    assert_true(count > 0);
    pages->documents += (unsigned)count;
    pages->done = !more;
    if (more)
        store_list(pages->fixture->store, "large/", documents[count - 1].key, 500, on_large_page,
                   pages);
}

/* More of them than one answer of etcd may have. */
static void lists_of_large_documents_come_in_pages_too(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {0};
    AUTO_FREE char *large = xcalloc(STORE_DOCUMENT_MAX + 1, 1);
    memset(large, '1', STORE_DOCUMENT_MAX);
    char key[32];
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "large/%02d", i);
        struct store_write write = {key, large};
        struct store_transaction transaction = {NULL, 0, &write, 1, false};
        store_commit(fixture->store, &transaction, on_one_of_crowd, &crowd);
    }
    while (crowd.ended < 40)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    struct pages pages = {.fixture = fixture};
    store_list(fixture->store, "large/", NULL, 500, on_large_page, &pages);
    while (!pages.done)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(pages.documents, 40);
}

static void deleted_documents_are_gone(void **state)
{
    struct fixture *fixture = *state;
    commit(fixture, NULL, "a", "1");
    commit(fixture, NULL, "a", NULL);
    assert_string_equal(list(fixture, "", NULL, 10), "");
}

/* 100 writes and 100 comparisons, with 1 MiB of keys and values, one document as large as it may
 * be. */
static void a_transaction_at_the_limits_is_taken(void **state)
{
    struct fixture *fixture = *state;
    struct store_write writes[STORE_WRITES_MAX];
    struct store_comparison comparisons[STORE_COMPARISONS_MAX];
    AUTO_FREE char *largest = xcalloc(STORE_DOCUMENT_MAX + 1, 1);
    memset(largest, '1', STORE_DOCUMENT_MAX);
    size_t rest = (STORE_TRANSACTION_MAX - STORE_DOCUMENT_MAX) / STORE_WRITES_MAX - 10;
    AUTO_FREE char *value = xcalloc(rest + 1, 1);
    memset(value, '2', rest);
    for (size_t i = 0; i < STORE_WRITES_MAX; i++) {
        writes[i].key = xasprintf("limit/%03zu", i);
        writes[i].value = i == 0 ? largest : value;
        comparisons[i] = (struct store_comparison){writes[i].key, 0};
    }
    struct store_transaction transaction = {comparisons, STORE_COMPARISONS_MAX, writes,
                                            STORE_WRITES_MAX, false};
    store_commit(fixture->store, &transaction, on_commit, fixture);
    wait_until_done(fixture);
    assert_false(fixture->failed);
    list(fixture, "limit/", NULL, 99);
    assert_true(fixture->more);
    for (size_t i = 0; i < STORE_WRITES_MAX; i++)
        free((char *)writes[i].key);
}

static void a_key_is_written_once_in_a_transaction(void **state)
{
    struct fixture *fixture = *state;
    struct store_write writes[] = {{"b", "1"}, {"a", "1"}, {"b", NULL}};
    struct store_transaction twice = {NULL, 0, writes, ARRAY_LENGTH(writes), false};
    store_commit(fixture->store, &twice, on_commit, fixture);
    wait_until_done(fixture);
    assert_true(fixture->failed);
    assert_int_equal(fixture->error.code, ERROR_INVALID);
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
    wait_for_keys(fixture, "a/next=2");
    assert_string_equal(fixture->keys, "a/new=1 a/old=gone a/next=2");
    store_watch_stop(watch);
    commit(fixture, NULL, "a/later", "3");
    list(fixture, "none", NULL, 1);
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
    while (neighbours.calls == 0)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    run_for(fixture, 100);
    assert_int_equal(neighbours.calls, 1);
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

static void commits_that_wait_together_end_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {0};
    char key[16];
    for (int i = 0; i < 250; i++) {
        snprintf(key, sizeof key, "k%03d", i / 2);
        struct store_write write = {key, i % 2 == 0 ? "first" : "second"};
        struct store_transaction transaction = {NULL, 0, &write, 1, false};
        store_commit(fixture->store, &transaction, on_one_of_crowd, &crowd);
    }
    while (crowd.ended < 250)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_string_equal(list(fixture, "k124", NULL, 1), "k124=second");
}

static void of_commits_that_wait_together_only_those_fail_that_must(void **state)
{
    struct fixture *fixture = *state;
    struct chain chain = {.fixture = fixture};
    struct store_comparison absent = {"b", 0}, wrong = {"c", 77};
    hand_in_piece(&chain, NULL, "a", false);
    hand_in_piece(&chain, &absent, "b", false);
    hand_in_piece(&chain, &wrong, "c", false);
    hand_in_piece(&chain, &absent, "d", false);
    while (chain.ended < 4)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(chain.codes[0], ERROR_NONE);
    assert_int_equal(chain.codes[1], ERROR_NONE);
    assert_int_equal(chain.codes[2], ERROR_CONFLICT);
    assert_int_equal(chain.codes[3], ERROR_CONFLICT);
    assert_string_equal(list(fixture, "", NULL, 10), "a=1 b=1");
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

/* --- a watch against the store itself --- */

#define KEYS 8

struct replay {
    char *values[KEYS];
    uint64_t revision;
};

static void on_replay(const struct error *error, const struct store_document *changes, size_t count,
                      uint64_t revision, void *data)
{
    struct replay *replay = data;
    assert_null(error);
    assert_true(revision > replay->revision);
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)(changes[i].key[2] - '0');
        assert_true(changes[i].revision > replay->revision && changes[i].revision <= revision);
        free(replay->values[at]);
        replay->values[at] = xstrdup(changes[i].value);
    }
    replay->revision = revision;
}

static void what_a_watch_told_is_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct replay replay = {0};
    struct crowd crowd = {0};
    struct store_watch *watch = NULL;
    char key[8], value[16];
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "r/%d", (i * 7 + i / 3) % KEYS);
        snprintf(value, sizeof value, "%d", i);
        if (i == 60)
            watch = store_watch_start(fixture->store, "r/", 0, on_replay, &replay);
        struct store_write write = {key, i % 5 == 0 ? NULL : value};
        struct store_transaction transaction = {NULL, 0, &write, 1, false};
        store_commit(fixture->store, &transaction, on_one_of_crowd, &crowd);
    }
    while (crowd.ended < 200)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    commit(fixture, NULL, "r/0", "last");
    while (replay.revision < fixture->revision)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    store_watch_stop(watch);
    AUTO_FREE char *listed = xstrdup(list(fixture, "r/", NULL, 100));
    fixture->keys[0] = '\0';
    for (size_t i = 0; i < KEYS; i++) {
        struct store_document document = {key, replay.values[i], 0};
        snprintf(key, sizeof key, "r/%zu", i);
        if (replay.values[i] != NULL)
            note(fixture, &document, 1);
        free(replay.values[i]);
    }
    assert_string_equal(fixture->keys, listed);
}

/* --- only SQLite --- */

static void what_was_forgotten_cannot_be_watched(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {0};
    struct store_write write = {"a", "1"};
    struct store_transaction transaction = {NULL, 0, &write, 1, false};
    for (unsigned i = 0; i <= STORE_SQLITE_REMEMBERED; i++)
        store_commit(fixture->store, &transaction, on_one_of_crowd, &crowd);
    fixture->failed = false;
    store_watch_start(fixture->store, "", 0, on_watch, fixture);
    while (!fixture->failed)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(fixture->error.code, ERROR_STALE);
}

/* --- the same promises of both --- */

struct promise {
    const char *name;
    CMUnitTestFunction function;
};
#define PROMISE(function)                                                                          \
    {                                                                                              \
#function, function                                                                        \
    }

static const struct promise promises[] = {
    PROMISE(what_was_written_is_read_after_a_restart),
    PROMISE(a_restored_store_begins_a_new_term),
    PROMISE(a_comparison_that_does_not_hold_writes_nothing),
    PROMISE(lists_come_in_pages_of_one_prefix),
    PROMISE(lists_of_large_documents_come_in_pages_too),
    PROMISE(deleted_documents_are_gone),
    PROMISE(a_transaction_at_the_limits_is_taken),
    PROMISE(a_key_is_written_once_in_a_transaction),
    PROMISE(a_transaction_over_a_limit_is_refused),
    PROMISE(a_watch_tells_what_was_missed_and_then_what_comes),
    PROMISE(watches_may_be_stopped_while_one_is_told),
    PROMISE(commits_that_wait_together_end_in_order),
    PROMISE(of_commits_that_wait_together_only_those_fail_that_must),
    PROMISE(a_list_says_the_revision_it_is_of),
    PROMISE(who_does_not_lead_writes_nothing),
    PROMISE(who_leads_can_be_read),
    PROMISE(a_chained_commit_fails_with_the_one_before_it),
    PROMISE(a_chained_commit_fails_with_one_that_was_refused),
    PROMISE(what_a_watch_told_is_what_is_there),
};
static const struct promise sqlite_promises[] = {
    PROMISE(two_schedulers_cannot_share_a_folder),
    PROMISE(what_was_forgotten_cannot_be_watched),
};

/* Each is named by what it is checked of: "etcd_deleted_documents_are_gone". */
static int run(struct flavour *flavour, const struct promise *list, size_t count)
{
    struct CMUnitTest *tests = xcalloc(count, sizeof *tests);
    for (size_t i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){xasprintf("%s_%s", flavour->name, list[i].name),
                                       list[i].function, set_up, tear_down, flavour};
    int failed = _cmocka_run_group_tests(flavour->name, tests, count, NULL, NULL);
    for (size_t i = 0; i < count; i++)
        free((char *)tests[i].name);
    free(tests);
    return failed;
}

int main(void)
{
    struct flavour sqlite = {.name = "sqlite"};
    struct etcd_process process = {0};
    struct flavour etcd = {.name = "etcd", .etcd = &process};
    int failed = run(&sqlite, promises, ARRAY_LENGTH(promises));
    failed += run(&sqlite, sqlite_promises, ARRAY_LENGTH(sqlite_promises));
    if (etcd_process_create(&process) < 0)
        fail_msg("etcd does not start: see %s/log, and that etcd-server is installed",
                 process.directory);
    failed += run(&etcd, promises, ARRAY_LENGTH(promises));
    etcd_process_destroy(&process);
    return failed;
}
