/* The store in etcd where something fails: real etcds that stop, end and come back, connections
 * that lose what they carry, and schedulers that stand still. */
#include "scheduler/etcd_client.h"
#include "tests/unit/scheduler/lossy_proxy.h"
#include "tests/unit/scheduler/store_fixture.h"

/* Beside the stores: what others do to etcd. Releases the answer. */
static bool ask_etcd(struct fixture *fixture, const char *url, const char *path, char *body)
{
    struct etcd_client *client;
    struct etcd_answer answer = {0};
    assert_int_equal(etcd_client_create(&fixture->loop, url, &client, NULL), 0);
    int result = etcd_call_blocking(client, path, body, 5000, &answer, NULL);
    etcd_answer_release(&answer);
    etcd_client_destroy(client);
    return result == 0;
}

/* What failed may cost the lease, on a slow machine any time: then once more. */
static void insist(struct fixture *fixture, const char *key, const char *value)
{
    for (int tries = 0; tries < 200; tries++) {
        if (!fixture->leads)
            lead(fixture);
        if (commit(fixture, NULL, key, value) == 0)
            return;
        run_for(fixture, 50);
    }
    fail_msg("%s", fixture->error.message);
}

/* A second scheduler, on a loop of its own. */
static void set_up_beside(struct fixture *first, struct fixture *second)
{
    *second = (struct fixture){.flavour = first->flavour};
    uv_loop_init(&second->loop);
    memcpy(second->prefix, first->prefix, sizeof second->prefix);
    open_store(second, false);
}

static void tear_down_beside(struct fixture *second)
{
    close_store(second);
    assert_int_equal(uv_loop_close(&second->loop), 0);
}

/* --- who leads --- */

static void a_standby_knows_who_leads_and_follows_it(void **state)
{
    struct fixture *first = *state, second;
    set_up_beside(first, &second);
    ask_for_lead(&second);
    while (store_leader(second.store) == NULL)
        uv_run(&second.loop, UV_RUN_ONCE);
    assert_string_equal(store_leader(second.store), HERE);
    assert_false(second.leads);
    assert_string_equal(store_identity(first->store)->cluster,
                        store_identity(second.store)->cluster);
    struct store_watch *watch = store_watch_start(second.store, "", 0, on_watch, &second);
    assert_int_equal(commit(first, NULL, "a", "1"), 0);
    wait_for_keys(&second, "a=1");
    /* What is handed in before the end is written, and told to the next one before it leads. */
    hand_in_one(first, NULL, "b", "2");
    close_store(first);
    while (!second.leads)
        uv_run(&second.loop, UV_RUN_ONCE);
    assert_string_equal(second.keys, "a=1 b=2");
    store_watch_stop(watch);
    assert_int_equal(commit(&second, NULL, "a", "3"), 0);
    tear_down_beside(&second);
}

static void a_leader_that_stood_still_writes_nothing(void **state)
{
    struct fixture *first = *state, second;
    set_up_beside(first, &second);
    /* The first one's loop does not run meanwhile. */
    lead(&second);
    assert_int_equal(commit(&second, NULL, "a", "second"), 0);
    assert_int_equal(commit(first, NULL, "a", "first"), -1);
    assert_int_equal(first->lost, 1);
    assert_int_equal(commit(first, NULL, "b", "first"), -1);
    assert_non_null(strstr(first->error.message, "does not lead"));
    assert_string_equal(list(&second, "", NULL, 10), "a=second");
    assert_string_equal(list(first, "", NULL, 10), "a=second");
    assert_string_equal(store_leader(second.store), HERE);
    tear_down_beside(&second);
}

static void a_leader_whose_key_is_gone_writes_nothing(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *key = xasprintf("%sleader", fixture->prefix);
    struct etcd_txn txn = {0};
    etcd_txn_delete(&txn, key);
    assert_int_equal(commit(fixture, NULL, "a", "1"), 0);
    assert_true(ask_etcd(fixture, fixture->flavour->etcd->url, "kv/txn", etcd_txn_take(&txn)));
    assert_int_equal(commit(fixture, NULL, "a", "2"), -1);
    assert_int_equal(fixture->lost, 1);
    assert_string_equal(list(fixture, "", NULL, 10), "a=1");
    lead(fixture);
    assert_int_equal(commit(fixture, NULL, "a", "3"), 0);
}

/* --- answers that are lost --- */

struct proxied {
    struct fixture *fixture;
    struct lossy_proxy proxy;
    char url[64];
};

static void set_up_proxied(struct fixture *fixture, struct proxied *proxied)
{
    *proxied = (struct proxied){.fixture = fixture};
    const char *port = strrchr(fixture->flavour->etcd->url, ':') + 1;
    lossy_proxy_start(&proxied->proxy, (unsigned)strtoul(port, NULL, 10));
    snprintf(proxied->url, sizeof proxied->url, "http://127.0.0.1:%u", proxied->proxy.port);
    fixture->endpoints = proxied->url;
    open_store(fixture, false);
    lead(fixture);
}

static void tear_down_proxied(struct proxied *proxied)
{
    close_store(proxied->fixture);
    lossy_proxy_stop(&proxied->proxy);
}

/* SEED=N from the environment for other fates. A counter: each commit compares the last one's
 * revision, so that one done twice, or done though it was said to have failed, makes the next one
 * fail. */
static void a_commit_is_done_once_whatever_is_lost(void **state)
{
    struct fixture *fixture = *state;
    struct proxied proxied;
    char value[16];
    set_up_proxied(fixture, &proxied);
    struct store_comparison last = {"counter", 0};
    const char *seed = getenv("SEED");
    srand(seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : 5);
    for (int i = 0; i < 60; i++) {
        enum lossy_fate fate = (enum lossy_fate)(rand() % FATE_DELAY);
        lossy_proxy_set(&proxied.proxy, fate, (unsigned)(rand() % 4));
        snprintf(value, sizeof value, "%d", i);
        if (commit(fixture, &last, "counter", value) < 0)
            fail_msg("commit %d, fate %d: %s", i, fate, fixture->error.message);
        last.revision = fixture->revision;
    }
    lossy_proxy_set(&proxied.proxy, FATE_PASS, 0);
    assert_string_equal(list(fixture, "", NULL, 10), "counter=59");
    assert_int_equal(fixture->lost, 0);
    tear_down_proxied(&proxied);
}

static void a_commit_that_arrives_too_late_is_not_done(void **state)
{
    struct fixture *fixture = *state;
    struct proxied proxied;
    set_up_proxied(fixture, &proxied);
    atomic_store(&proxied.proxy.delay_ms, 3800);
    lossy_proxy_set(&proxied.proxy, FATE_DELAY, 1);
    uint64_t begin = uv_hrtime() / 1000000;
    assert_int_equal(commit(fixture, NULL, "a", "1"), 0);
    assert_int_equal(commit(fixture, NULL, "a", "2"), 0);
    assert_int_equal(atomic_load(&proxied.proxy.met), 1);
    uint64_t gone = uv_hrtime() / 1000000 - begin;
    run_for(fixture, gone < 4500 ? 4500 - gone : 0);
    assert_string_equal(list(fixture, "", NULL, 10), "a=2");
    tear_down_proxied(&proxied);
}

/* --- an etcd that stops, ends, and comes back --- */

static void an_etcd_that_stops_for_a_moment_costs_nothing(void **state)
{
    struct fixture *fixture = *state;
    kill(fixture->flavour->etcd->pid, SIGSTOP);
    hand_in_one(fixture, NULL, "a", "1");
    run_for(fixture, 1200);
    assert_false(fixture->done);
    kill(fixture->flavour->etcd->pid, SIGCONT);
    wait_until_done(fixture);
    assert_false(fixture->failed);
    assert_int_equal(fixture->lost, 0);
}

static void an_etcd_that_stops_for_long_costs_the_lead(void **state)
{
    struct fixture *fixture = *state;
    kill(fixture->flavour->etcd->pid, SIGSTOP);
    hand_in_one(fixture, NULL, "a", "1");
    wait_for_loss(fixture);
    wait_until_done(fixture);
    kill(fixture->flavour->etcd->pid, SIGCONT);
    assert_true(fixture->failed);
    assert_int_equal(fixture->error.code, ERROR_UNKNOWN);
    assert_non_null(strstr(fixture->error.message, "not known"));
    lead(fixture);
    assert_int_equal(commit(fixture, NULL, "b", "1"), 0);
}

static void a_watch_goes_on_when_etcd_comes_back(void **state)
{
    struct fixture *fixture = *state;
    struct etcd_process *etcd = fixture->flavour->etcd;
    struct store_watch *watch = store_watch_start(fixture->store, "w/", 0, on_watch, fixture);
    assert_int_equal(commit(fixture, NULL, "w/1", "1"), 0);
    wait_for_keys(fixture, "w/1=1");
    etcd_process_kill(etcd);
    etcd_process_start(etcd);
    assert_int_equal(etcd_process_wait(etcd), 0);
    insist(fixture, "w/2", "2");
    insist(fixture, "w/1", NULL);
    wait_for_keys(fixture, "w/1=gone");
    assert_string_equal(fixture->keys, "w/1=1 w/2=2 w/1=gone");
    store_watch_stop(watch);
}

static void what_is_compacted_cannot_be_watched(void **state)
{
    struct fixture *fixture = *state;
    char value[16];
    fixture->compact_ms = 100;
    open_store(fixture, false);
    lead(fixture);
    for (int i = 0; i < 10; i++) {
        snprintf(value, sizeof value, "%d", i);
        commit(fixture, NULL, "a", value);
        run_for(fixture, 40);
    }
    run_for(fixture, 500);
    fixture->failed = false;
    store_watch_start(fixture->store, "", 0, on_watch, fixture);
    while (!fixture->failed)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(fixture->error.code, ERROR_STALE);
}

/* --- opening --- */

static void the_addresses_are_tried_in_turn(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *endpoints =
        xasprintf("http://127.0.0.1:1,%s/,http://127.0.0.1:1", fixture->flavour->etcd->url);
    fixture->endpoints = endpoints;
    open_store(fixture, false);
    lead(fixture);
    assert_int_equal(commit(fixture, NULL, "a", "1"), 0);
    fixture->endpoints = NULL;
}

static void an_address_that_is_none_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const char *const wrong[] = {"", "10.0.0.1:2379", "http://", "http://a:2379,", "http://[:1"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct error error = ERROR_INIT;
        fixture->endpoints = wrong[i];
        assert_int_equal(try_to_open(fixture, false, &fixture->store, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
        uv_run(&fixture->loop, UV_RUN_DEFAULT);
    }
}

static void a_newer_format_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error error = ERROR_INIT;
    AUTO_FREE char *key = xasprintf("%smeta", fixture->prefix);
    struct etcd_txn txn = {0};
    etcd_txn_put(
        &txn, key,
        "{\"format\":99,\"cluster\":\"00112233445566778899aabbccddeeff\",\"term\":1,\"more\":true}",
        NULL);
    assert_true(ask_etcd(fixture, fixture->flavour->etcd->url, "kv/txn", etcd_txn_take(&txn)));
    assert_int_equal(try_to_open(fixture, false, &fixture->store, &error), -1);
    assert_int_equal(error.code, ERROR_PROTOCOL);
    assert_non_null(strstr(error.message, "use a newer version"));
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
}

/* --- etcds of another kind --- */

static int set_up_full(void **state)
{
    static struct etcd_process process;
    static struct flavour flavour = {.name = "a small etcd", .etcd = &process};
    process.quota = "6000000";
    assert_int_equal(etcd_process_create(&process), 0);
    *state = &flavour;
    return set_up(state);
}

static int tear_down_with_etcd(void **state)
{
    struct flavour *flavour = ((struct fixture *)*state)->flavour;
    tear_down(state);
    etcd_process_destroy(flavour->etcd);
    return 0;
}

static void a_full_etcd_refuses_changes_until_there_is_room(void **state)
{
    struct fixture *fixture = *state;
    const char *url = fixture->flavour->etcd->url;
    AUTO_FREE char *large = xcalloc(STORE_DOCUMENT_MAX + 1, 1);
    memset(large, '1', STORE_DOCUMENT_MAX);
    int taken = 0;
    while (taken < 100 && commit(fixture, NULL, "large", large) == 0)
        taken++;
    assert_true(taken > 0 && taken < 100);
    assert_int_equal(fixture->error.code, ERROR_STORAGE_FULL);
    assert_non_null(strstr(fixture->error.message, "alarm disarm"));
    list(fixture, "large", NULL, 1);
    assert_false(fixture->failed);
    char *compaction =
        xasprintf("{\"revision\":\"%llu\",\"physical\":true}", (unsigned long long)fixture->listed);
    assert_true(ask_etcd(fixture, url, "kv/compaction", compaction));
    AUTO_FREE char *make_room =
        xasprintf("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=%s; etcdctl defrag >/dev/null && "
                  "etcdctl alarm disarm >/dev/null",
                  url);
    assert_int_equal(system(make_room), 0);
    insist(fixture, "small", "1");
}

static void a_member_may_end_but_not_most_of_them(void **state)
{
    struct fixture *fixture = *state;
    struct etcd_process members[3] = {0};
    assert_int_equal(etcd_process_create_cluster(members, 3), 0);
    AUTO_FREE char *endpoints =
        xasprintf("%s,%s,%s", members[0].url, members[1].url, members[2].url);
    fixture->endpoints = endpoints;
    open_store(fixture, false);
    lead(fixture);
    struct store_watch *watch = store_watch_start(fixture->store, "w/", 0, on_watch, fixture);
    assert_int_equal(commit(fixture, NULL, "w/1", "1"), 0);
    /* The one that was asked so far. Its end may cost an election, and that the lease. */
    etcd_process_kill(&members[0]);
    insist(fixture, "w/2", "2");
    unsigned lost = fixture->lost;
    etcd_process_kill(&members[1]);
    hand_in_one(fixture, NULL, "a", "1");
    while (fixture->lost == lost)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    wait_until_done(fixture);
    assert_true(fixture->failed);
    assert_int_equal(fixture->error.code, ERROR_UNKNOWN);
    etcd_process_start(&members[1]);
    insist(fixture, "w/3", "3");
    wait_for_keys(fixture, "w/3=3");
    assert_string_equal(fixture->keys, "w/1=1 w/2=2 w/3=3");
    store_watch_stop(watch);
    close_store(fixture);
    for (size_t i = 0; i < ARRAY_LENGTH(members); i++)
        etcd_process_destroy(&members[i]);
}

int main(void)
{
    struct etcd_process process = {0};
    struct flavour flavour = {.name = "etcd", .etcd = &process};
    if (etcd_process_create(&process) < 0)
        fail_msg("etcd does not start: see %s/log, and that etcd-server is installed",
                 process.directory);
#define TEST(function, up, down)                                                                   \
    {                                                                                              \
#function, function, up, down, &flavour                                                    \
    }
    const struct CMUnitTest tests[] = {
        TEST(a_standby_knows_who_leads_and_follows_it, set_up, tear_down),
        TEST(a_leader_that_stood_still_writes_nothing, set_up, tear_down),
        TEST(a_leader_whose_key_is_gone_writes_nothing, set_up, tear_down),
        TEST(a_commit_is_done_once_whatever_is_lost, set_up_closed, tear_down),
        TEST(a_commit_that_arrives_too_late_is_not_done, set_up_closed, tear_down),
        TEST(an_etcd_that_stops_for_a_moment_costs_nothing, set_up, tear_down),
        TEST(an_etcd_that_stops_for_long_costs_the_lead, set_up, tear_down),
        TEST(a_watch_goes_on_when_etcd_comes_back, set_up, tear_down),
        TEST(what_is_compacted_cannot_be_watched, set_up_closed, tear_down),
        TEST(the_addresses_are_tried_in_turn, set_up_closed, tear_down),
        TEST(an_address_that_is_none_is_refused, set_up_closed, tear_down),
        TEST(a_newer_format_is_refused, set_up_closed, tear_down),
        TEST(a_full_etcd_refuses_changes_until_there_is_room, set_up_full, tear_down_with_etcd),
        TEST(a_member_may_end_but_not_most_of_them, set_up_closed, tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    etcd_process_destroy(&process);
    return failed;
}
