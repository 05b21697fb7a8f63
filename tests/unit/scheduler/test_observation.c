/* Statuses as agents post them: whole ones, changes, repetitions, and what no agent should send. */
#include "scheduler/agents.h"
#include "scheduler/observation.h"
#include "tests/unit/scheduler/controller_fixture.h"

#define EPOCH "0123456789abcdef"

static void ignore_join(const struct error *error, const struct api_join_answer *answer, void *data)
{
    (void)data;
    assert_null(error);
    assert_true(answer->takes_changes);
}

static void join_as(struct fixture *fixture, const char *name, const char *epoch)
{
    struct api_join join = {.memory = 1024 * MIB, .vcpus = 4};
    text_copy(join.node, sizeof join.node, name);
    text_copy(join.epoch, sizeof join.epoch, epoch);
    strcpy(join.address, "127.0.0.1:7001");
    join.machines = xcalloc(1, sizeof *join.machines);
    join.machine_count = 1;
    strcpy(join.machines[0].arch, "amd64");
    strcpy(join.machines[0].accel, "tcg");
    agents_join(&fixture->core, &join, ignore_join, NULL);
    settle(fixture);
}

static struct api_status status_of(struct fixture *fixture, const char *name, uint64_t sequence)
{
    const struct model_node *node = model_node(&fixture->core.model, name);
    struct api_status status = {.sequence = sequence,
                                .term = 1,
                                .assignment_revision = node != NULL ? node->assignment_revision : 0,
                                .endpoints_revision = UINT64_MAX};
    text_copy(status.cluster, sizeof status.cluster, store_identity(fixture->core.store)->cluster);
    text_copy(status.node, sizeof status.node, name);
    strcpy(status.epoch, EPOCH);
    return status;
}

static void list(struct api_status *status, const char *id, enum instance_state state)
{
    status->instances =
        xreallocarray(status->instances, status->instance_count + 1, sizeof *status->instances);
    struct api_observed_instance *seen = &status->instances[status->instance_count++];
    *seen = (struct api_observed_instance){.state = state};
    text_copy(seen->id, sizeof seen->id, id);
}

/* Releases the status. */
static enum error_code post(struct fixture *fixture, struct api_status *status, bool *ret_whole)
{
    struct error error = ERROR_INIT;
    struct api_status_answer answer = {0};
    int result = agents_take_status(&fixture->core, status, &answer, &error);
    json_record_release(&api_status_record, status);
    settle(fixture);
    if (ret_whole != NULL)
        *ret_whole = answer.whole;
    assert_int_equal(result < 0, error.code != ERROR_NONE);
    assert_int_equal(result < 0, error.message[0] != '\0');
    return error.code;
}

static int set_up_joined(void **state)
{
    set_up(state);
    struct fixture *fixture = *state;
    join_as(fixture, "a", EPOCH);
    struct api_status status = status_of(fixture, "a", 1);
    assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
    deploy(fixture, "A", 2);
    assert_int_equal(running_on(fixture, "a"), 2);
    status = status_of(fixture, "a", 2);
    list(&status, "000100000001", INSTANCE_READY);
    list(&status, "000100000002", INSTANCE_STARTING);
    assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
    return 0;
}

static enum instance_state seen(struct fixture *fixture, const char *id)
{
    return model_instance_state(model_instance(&fixture->core.model, id));
}

static void a_change_leaves_the_rest_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct api_status status = status_of(fixture, "a", 3);
    status.base = 2;
    status.same_data_plane = true;
    list(&status, "000100000002", INSTANCE_READY);
    bool whole;
    assert_int_equal(post(fixture, &status, &whole), ERROR_NONE);
    assert_false(whole);
    assert_int_equal(seen(fixture, "000100000001"), INSTANCE_READY);
    assert_int_equal(seen(fixture, "000100000002"), INSTANCE_READY);
}

static void a_heartbeat_renews_the_lease_and_confirms_what_was_applied(void **state)
{
    struct fixture *fixture = *state;
    fixture->now_ms += 9000;
    struct api_status status = status_of(fixture, "a", 3);
    status.base = 2;
    status.same_data_plane = true;
    status.endpoints_revision = 77;
    assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
    fixture->now_ms += 9000;
    wake_at(fixture, 0);
    const struct model_node *node = model_node(&fixture->core.model, "a");
    assert_int_equal(model_node_state(node), NODE_READY);
    assert_int_equal(node->endpoints_applied, 77);
}

static void a_base_that_was_not_taken_is_answered_by_asking_for_everything(void **state)
{
    struct fixture *fixture = *state;
    struct api_status status = status_of(fixture, "a", 9);
    bool whole;
    status.base = 8;
    list(&status, "000100000001", INSTANCE_FAILED);
    assert_int_equal(post(fixture, &status, &whole), ERROR_NONE);
    assert_true(whole);
    assert_int_equal(seen(fixture, "000100000001"), INSTANCE_READY);
    /* Its sequence does not count as taken either. */
    assert_int_equal(model_node(&fixture->core.model, "a")->sequence, 2);
}

static void note_ready(const struct api_event *event, void *data)
{
    if (strcmp(event->what, "ready") == 0)
        strcpy(data, event->message);
}

static void a_boot_is_told_of_once_and_a_wake_as_what_it_is(void **state)
{
    struct fixture *fixture = *state;
    char told[REASON_MAX] = "";
    fixture->core.model.on_event = note_ready;
    fixture->core.model.data = told;
    static const struct {
        enum instance_state state;
        uint64_t boot_ms, wake_ms;
        const char *tells;
    } looks[] = {
        {INSTANCE_READY, 98, 0, "on node a, 98 ms after its start"},
        {INSTANCE_STANDBY, 98, 0, NULL},
        {INSTANCE_RUNNING, 98, 0, NULL},
        {INSTANCE_READY, 98, 4, "on node a, woken, 4 ms after it was resumed"},
        {INSTANCE_RUNNING, 98, 0, NULL},
        {INSTANCE_READY, 98, 0, "on node a, again"},
        {INSTANCE_STANDBY, 98, 0, NULL},
        {INSTANCE_READY, 98, 0, "on node a, woken"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(looks); i++) {
        struct api_status status = status_of(fixture, "a", 3 + i);
        status.base = 2 + i;
        status.same_data_plane = true;
        list(&status, "000100000002", looks[i].state);
        status.instances[0].boot_ms = looks[i].boot_ms;
        status.instances[0].wake_ms = looks[i].wake_ms;
        assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
        if (looks[i].tells != NULL)
            assert_string_equal(told, looks[i].tells);
    }
    fixture->core.model.on_event = NULL;
}

static void a_silent_node_says_everything_before_it_is_back(void **state)
{
    struct fixture *fixture = *state;
    wake_at(fixture, 10000);
    struct api_status status = status_of(fixture, "a", 3);
    bool whole;
    status.base = 2;
    assert_int_equal(post(fixture, &status, &whole), ERROR_NONE);
    assert_true(whole);
    assert_int_equal(model_node_state(model_node(&fixture->core.model, "a")), NODE_SUSPECT);
    status = status_of(fixture, "a", 4);
    assert_int_equal(post(fixture, &status, &whole), ERROR_NONE);
    assert_false(whole);
    assert_int_equal(model_node_state(model_node(&fixture->core.model, "a")), NODE_READY);
}

static void orphans_stay_orphans_when_nothing_is_said_of_them(void **state)
{
    struct fixture *fixture = *state;
    fixture->core.model.counters.instances = 9;
    struct model_node *node = model_node(&fixture->core.model, "a");
    struct api_status status = status_of(fixture, "a", 3);
    list(&status, "000100000007", INSTANCE_READY);
    list(&status, "000100000005", INSTANCE_READY);
    list(&status, "000100000007", INSTANCE_READY);
    assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
    assert_int_equal(node->orphans.count, 2);
    status = status_of(fixture, "a", 4);
    status.base = 3;
    list(&status, "000100000005", INSTANCE_STOPPED);
    assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
    assert_int_equal(node->orphans.count, 1);
    assert_string_equal(node->orphans.items[0], "000100000007");
}

static void what_no_agent_should_send_is_refused_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct api_status status = status_of(fixture, "nobody", 3);
    assert_int_equal(post(fixture, &status, NULL), ERROR_NOT_FOUND);
    status = status_of(fixture, "a", 3);
    strcpy(status.epoch, "fedcba9876543210");
    assert_int_equal(post(fixture, &status, NULL), ERROR_STALE);
    status = status_of(fixture, "a", 1);
    assert_int_equal(post(fixture, &status, NULL), ERROR_STALE);
    status = status_of(fixture, "a", 3);
    strcpy(status.cluster, "another");
    assert_int_equal(post(fixture, &status, NULL), ERROR_CONFLICT);
    status = status_of(fixture, "a", 3);
    for (int i = 0; i <= STATUS_ENTRIES_MAX; i++)
        list(&status, "000100000001", INSTANCE_READY);
    assert_int_equal(post(fixture, &status, NULL), ERROR_TOO_LARGE);
    status = status_of(fixture, "a", 3);
    list(&status, "000100000001", INSTANCE_UNKNOWN);
    assert_int_equal(post(fixture, &status, NULL), ERROR_INVALID);
    status = status_of(fixture, "a", 3);
    list(&status, "000100000001", INSTANCE_READY);
    status.instances[0].state_age_ms = UINT64_MAX;
    assert_int_equal(post(fixture, &status, NULL), ERROR_INVALID);
    status = status_of(fixture, "a", 3);
    status.base = 3;
    assert_int_equal(post(fixture, &status, NULL), ERROR_INVALID);
    assert_int_equal(model_node(&fixture->core.model, "a")->sequence, 2);
    assert_int_equal(seen(fixture, "000100000001"), INSTANCE_READY);
}

static void the_same_status_again_is_answered_and_not_taken_twice(void **state)
{
    struct fixture *fixture = *state;
    struct api_status status = status_of(fixture, "a", 2);
    list(&status, "000100000001", INSTANCE_FAILED);
    bool whole;
    assert_int_equal(post(fixture, &status, &whole), ERROR_NONE);
    assert_false(whole);
    assert_int_equal(seen(fixture, "000100000001"), INSTANCE_READY);
}

/* An agent cannot speak for what runs elsewhere. */
static void what_another_node_runs_is_not_changed_by_a_lie(void **state)
{
    struct fixture *fixture = *state;
    join_as(fixture, "b", EPOCH);
    struct api_status status = status_of(fixture, "b", 1);
    list(&status, "000100000001", INSTANCE_FAILED);
    list(&status, "000100000002", INSTANCE_READY);
    assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
    assert_int_equal(seen(fixture, "000100000001"), INSTANCE_READY);
    assert_int_equal(seen(fixture, "000100000002"), INSTANCE_STARTING);
    /* And it is told to stop it: an id runs on one node. */
    assert_int_equal(model_node(&fixture->core.model, "b")->orphans.count, 1);
}

/* One change of 3000 after the other, and none of them is taken back. */
static void an_agent_cannot_make_up_orphans_without_end(void **state)
{
    struct fixture *fixture = *state;
    fixture->core.model.counters.instances = 100000;
    for (uint32_t i = 0; i < 3; i++) {
        struct api_status status = status_of(fixture, "a", 3 + i);
        status.base = 2 + i;
        for (uint32_t j = 0; j < 3000; j++) {
            char id[INSTANCE_ID_MAX];
            snprintf(id, sizeof id, "0001%08x", 10000 + 3000 * i + j);
            list(&status, id, INSTANCE_READY);
        }
        assert_int_equal(post(fixture, &status, NULL), ERROR_NONE);
    }
    assert_int_equal(model_node(&fixture->core.model, "a")->orphans.count, STATUS_ENTRIES_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_joined, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_change_leaves_the_rest_as_it_was),
        TEST(a_boot_is_told_of_once_and_a_wake_as_what_it_is),
        TEST(a_heartbeat_renews_the_lease_and_confirms_what_was_applied),
        TEST(a_base_that_was_not_taken_is_answered_by_asking_for_everything),
        TEST(a_silent_node_says_everything_before_it_is_back),
        TEST(orphans_stay_orphans_when_nothing_is_said_of_them),
        TEST(what_no_agent_should_send_is_refused_and_changes_nothing),
        TEST(the_same_status_again_is_answered_and_not_taken_twice),
        TEST(what_another_node_runs_is_not_changed_by_a_lie),
        TEST(an_agent_cannot_make_up_orphans_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
