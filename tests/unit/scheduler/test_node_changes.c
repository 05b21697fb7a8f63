/* Cordon, uncordon and drain over the real controller. */
#include "scheduler/agents.h"
#include "scheduler/node_changes.h"
#include "tests/unit/scheduler/controller_fixture.h"

struct asked {
    struct fixture *fixture;
    const char *node;
    enum node_eligibility eligibility;
    struct api_node_request request;
    struct error error;
};

static int decide_eligibility(struct change *change, void *data, struct error *error)
{
    struct asked *asked = data;
    return node_changes_set_eligibility(&asked->fixture->core, change, asked->node,
                                        asked->eligibility, &asked->request, error);
}

static void ignore_join(const struct error *error, const struct api_join_answer *answer, void *data)
{
    (void)data;
    assert_null(error);
    assert_non_null(answer);
}

static void keep_error(const struct error *error, void *data)
{
    if (error != NULL)
        ((struct asked *)data)->error = *error;
}

static void set_eligibility(struct fixture *fixture, const char *node,
                            enum node_eligibility eligibility, uint64_t deadline_ms)
{
    struct asked asked = {.fixture = fixture,
                          .node = node,
                          .eligibility = eligibility,
                          .request = {"disk is failing", deadline_ms}};
    changes_decide(fixture->core.changes, decide_eligibility, keep_error, &asked);
    settle(fixture);
    assert_int_equal(asked.error.code, ERROR_NONE);
}

static enum node_eligibility eligibility(struct fixture *fixture, const char *name)
{
    return model_node(&fixture->core.model, name)->document->eligibility;
}

static void report_both(struct fixture *fixture, enum instance_state state)
{
    report(fixture, "a", state, 3000, 0);
    report(fixture, "b", state, 3000, 0);
}

static void nothing_is_placed_on_a_cordoned_node_and_what_runs_there_stays(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    set_eligibility(fixture, "a", NODE_CORDONED, 0);
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_non_null(strstr(service(fixture)->no_capacity, "1 node: cordoned (a)"));
    set_eligibility(fixture, "a", NODE_ELIGIBLE, 0);
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_null(service(fixture)->no_capacity);
}

static void an_agent_that_starts_anew_does_not_take_its_node_out_of_a_cordon(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    set_eligibility(fixture, "a", NODE_CORDONED, 0);
    struct api_join join = {.epoch = "0123456789abcdef", .memory = 512 * MIB, .vcpus = 2};
    strcpy(join.node, "a");
    strcpy(join.address, "127.0.0.1:7001");
    agents_join(&fixture->core, &join, ignore_join, NULL);
    settle(fixture);
    assert_int_equal(model_node(&fixture->core.model, "a")->document->memory, 512 * MIB);
    assert_int_equal(eligibility(fixture, "a"), NODE_CORDONED);
}

static void a_drained_node_loses_nothing_before_its_replacements_are_healthy(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join(fixture, "b");
    set_eligibility(fixture, "a", NODE_DRAINING, 0);
    /* max_surge 1, max_unavailable 0: one at a time. */
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_int_equal(running_on(fixture, "b"), 1);
    report(fixture, "b", INSTANCE_STARTING, 0, 0);
    assert_int_equal(running_on(fixture, "a"), 2);
    for (int i = 0; i < 8; i++) {
        report_both(fixture, INSTANCE_READY);
        assert_true(service(fixture)->counts.ready >= 2);
    }
    assert_int_equal(running_on(fixture, "a"), 0);
    assert_int_equal(running_on(fixture, "b"), 2);
    assert_int_equal(eligibility(fixture, "a"), NODE_CORDONED);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void note_draining(const struct api_event *event, void *data)
{
    *(bool *)data = *(bool *)data || strcmp(event->what, "draining") == 0;
}

/* Its replacement becomes healthy in the very moment: the instance was drained then, which took
 * back that it is to stop, and others were ended as if it still served. */
static void what_a_deadline_stops_is_counted_on_no_more(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    join(fixture, "b");
    set_eligibility(fixture, "b", NODE_CORDONED, 0);
    deploy(fixture, "A", 1);
    report_both(fixture, INSTANCE_READY);
    set_eligibility(fixture, "b", NODE_ELIGIBLE, 0);
    set_eligibility(fixture, "a", NODE_DRAINING, 5000);
    report(fixture, "a", INSTANCE_READY, 6000, 0);
    report(fixture, "b", INSTANCE_READY, 0, 0);
    const struct model_instance *old = model_instance(&fixture->core.model, "000100000001");
    assert_int_equal(old->document->wish, WISH_RUN);
    assert_int_equal(running_on(fixture, "b"), 1);
    bool drained = false;
    fixture->core.model.on_event = note_draining;
    fixture->core.model.data = &drained;
    wake_at(fixture, 5000);
    fixture->core.model.on_event = NULL;
    assert_int_equal(old->document->wish, WISH_STOP);
    assert_false(drained);
}

static void a_drain_without_another_place_waits_and_stops_all_at_its_deadline(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    set_eligibility(fixture, "a", NODE_DRAINING, 60000);
    for (int i = 0; i < 6; i++) {
        fixture->now_ms += 9000;
        report(fixture, "a", INSTANCE_READY, 3000, 0);
    }
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_non_null(service(fixture)->no_capacity);
    fixture->now_ms += 6000;
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 0);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(eligibility(fixture, "a"), NODE_CORDONED);
    const struct model_instance *first = model_instance(&fixture->core.model, "000100000001");
    assert_true(model_instance_has_ended(first));
    assert_string_equal(first->document->cause, "drain_deadline");
}

static void a_drain_that_is_called_off_keeps_what_has_not_left(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join(fixture, "b");
    set_eligibility(fixture, "a", NODE_DRAINING, 0);
    set_eligibility(fixture, "a", NODE_ELIGIBLE, 0);
    for (int i = 0; i < 6; i++)
        report_both(fixture, INSTANCE_READY);
    assert_int_equal(running_on(fixture, "a"), 2);
    assert_int_equal(running_on(fixture, "b"), 0);
}

static void a_node_that_nobody_knows_cannot_be_drained(void **state)
{
    struct fixture *fixture = *state;
    struct asked asked = {.fixture = fixture, .node = "nobody", .eligibility = NODE_DRAINING};
    changes_decide(fixture->core.changes, decide_eligibility, keep_error, &asked);
    assert_int_equal(asked.error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(asked.error.message, "nobody"));
}

struct removal {
    struct fixture *fixture;
    const char *node;
    bool force;
    struct error error;
};

static int decide_removal(struct change *change, void *data, struct error *error)
{
    struct removal *removal = data;
    return node_changes_remove(&removal->fixture->core, change, removal->node, removal->force,
                               error);
}

static void keep_removal_error(const struct error *error, void *data)
{
    if (error != NULL)
        ((struct removal *)data)->error = *error;
}

static enum error_code remove_node(struct fixture *fixture, const char *node, bool force)
{
    struct removal removal = {.fixture = fixture, .node = node, .force = force};
    changes_decide(fixture->core.changes, decide_removal, keep_removal_error, &removal);
    settle(fixture);
    return removal.error.code;
}

static void a_node_that_reports_is_removed_when_it_is_drained_or_by_force(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    join(fixture, "b");
    deploy(fixture, "A", 2);
    report_both(fixture, INSTANCE_READY);
    assert_int_equal(remove_node(fixture, "a", false), ERROR_CONFLICT);
    assert_int_equal(remove_node(fixture, "nobody", false), ERROR_NOT_FOUND);
    set_eligibility(fixture, "a", NODE_DRAINING, 0);
    assert_int_equal(remove_node(fixture, "a", false), ERROR_CONFLICT);
    for (int i = 0; i < 6; i++)
        report_both(fixture, INSTANCE_READY);
    assert_int_equal(remove_node(fixture, "a", false), ERROR_NONE);
    assert_null(model_node(&fixture->core.model, "a"));
    assert_int_equal(running_on(fixture, "b"), 2);
    assert_int_equal(remove_node(fixture, "b", true), ERROR_NONE);
    assert_int_equal(fixture->core.model.nodes.count, 0);
    assert_non_null(service(fixture)->no_capacity);
}

static void who_removes_a_node_that_ended_just_now_is_told_how_long_to_wait(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    wake_at(fixture, 3000);
    struct removal removal = {.fixture = fixture, .node = "a"};
    changes_decide(fixture->core.changes, decide_removal, keep_removal_error, &removal);
    settle(fixture);
    assert_int_equal(removal.error.code, ERROR_CONFLICT);
    assert_non_null(strstr(removal.error.message, "its last status came 3s ago"));
    assert_non_null(strstr(removal.error.message, "can be removed, 10s after"));
}

static void what_a_removed_node_ran_is_replaced_and_its_record_ends(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join(fixture, "b");
    const struct model_instance *old = model_instance(&fixture->core.model, "000100000001");
    assert_int_equal(remove_node(fixture, "a", true), ERROR_NONE);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_true(model_instance_has_ended(old));
    assert_int_equal(servers(fixture, API_SERVER_READY), 0);
    report(fixture, "b", INSTANCE_READY, 3000, 0);
    assert_int_equal(servers(fixture, API_SERVER_READY), 1);
}

/* Else what it still runs and what is placed there anew had the same addresses. */
static void what_was_not_replaced_yet_is_there_again_when_the_node_comes_back(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(remove_node(fixture, "a", true), ERROR_NONE);
    assert_non_null(service(fixture)->no_capacity);
    join(fixture, "a");
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 1);
    const struct model_instance *instance = model_instance(&fixture->core.model, "000100000001");
    assert_int_equal(instance->document->wish, WISH_RUN);
    assert_int_equal(model_instance_state(instance), INSTANCE_READY);
    assert_null(model_instance(&fixture->core.model, "000100000002"));
}

/* Else a rollout that waits for it stood still for ever: for what is lost no deadline runs. */
static void what_had_failed_on_a_removed_node_has_failed(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_FAILED, 0, 1);
    const struct model_instance *failed = model_instance(&fixture->core.model, "000100000001");
    assert_int_equal(remove_node(fixture, "a", true), ERROR_NONE);
    assert_null(failed->node);
    assert_false(model_instance_is_lost(failed));
    assert_true(model_instance_is_gone(failed));
}

struct joined {
    enum error_code code;
    char subnet[24];
};

static void keep_join(const struct error *error, const struct api_join_answer *answer, void *data)
{
    struct joined *joined = data;
    joined->code = error != NULL ? error->code : ERROR_NONE;
    if (answer != NULL)
        memcpy(joined->subnet, answer->subnet, sizeof joined->subnet);
}

static struct joined join_by(struct fixture *fixture, const char *node, const char *epoch)
{
    struct api_join join = {.memory = 512 * MIB, .vcpus = 2};
    struct joined joined = {0};
    text_copy(join.node, sizeof join.node, node);
    text_copy(join.epoch, sizeof join.epoch, epoch);
    agents_join(&fixture->core, &join, keep_join, &joined);
    settle(fixture);
    return joined;
}

static void the_agent_of_a_removed_node_stays_away_until_it_is_started_anew(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(join_by(fixture, "a", "1").code, ERROR_NONE);
    uint64_t applied = model_node(&fixture->core.model, "a")->assignment_revision;
    assert_true(applied > 0);
    assert_int_equal(remove_node(fixture, "a", true), ERROR_NONE);
    assert_int_equal(join_by(fixture, "a", "1").code, ERROR_DENIED);
    assert_int_equal(join_by(fixture, "a", "2").code, ERROR_NONE);
    assert_null(model_removed_node(&fixture->core.model, "a"));
    /* It goes on from what the agent has applied, which refuses anything older. */
    assert_true(model_node(&fixture->core.model, "a")->assignment_revision > applied);
    /* What its guests were given may still be theirs. */
    assert_true(model_node(&fixture->core.model, "a")->freed_ms[7] > 0);
}

static void the_subnet_of_a_removed_node_is_given_back_after_its_time(void **state)
{
    struct fixture *fixture = *state;
    struct joined first = join_by(fixture, "a", "1");
    assert_int_equal(remove_node(fixture, "a", true), ERROR_NONE);
    assert_string_not_equal(join_by(fixture, "b", "1").subnet, first.subnet);
    wake_at(fixture, NODE_SUBNET_HOLD_MS);
    assert_null(model_removed_node(&fixture->core.model, "a"));
    assert_string_equal(join_by(fixture, "c", "1").subnet, first.subnet);
}

static struct joined join_with(struct fixture *fixture, uint64_t memory)
{
    struct api_join join = {.memory = memory, .vcpus = 4};
    struct joined joined = {0};
    strcpy(join.node, "a");
    strcpy(join.epoch, "1");
    join.machines = xcalloc(1, sizeof *join.machines);
    join.machine_count = 1;
    strcpy(join.machines[0].arch, "amd64");
    strcpy(join.machines[0].accel, "tcg");
    agents_join(&fixture->core, &join, keep_join, &joined);
    settle(fixture);
    return joined;
}

static void a_node_with_less_than_it_promised_keeps_what_it_runs_and_gets_nothing_new(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(join_with(fixture, 128 * MIB).code, ERROR_NONE);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    deploy(fixture, "A", 3);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 3);
    assert_int_equal(join_with(fixture, 64 * MIB).code, ERROR_NONE);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    deploy(fixture, "A", 4);
    assert_int_equal(running_on(fixture, "a"), 3);
    assert_non_null(service(fixture)->no_capacity);
    /* More than before: what waits is placed. */
    assert_int_equal(join_with(fixture, 256 * MIB).code, ERROR_NONE);
    assert_int_equal(running_on(fixture, "a"), 4);
    assert_null(service(fixture)->no_capacity);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_placed_on_a_cordoned_node_and_what_runs_there_stays),
        TEST(an_agent_that_starts_anew_does_not_take_its_node_out_of_a_cordon),
        TEST(a_drained_node_loses_nothing_before_its_replacements_are_healthy),
        TEST(what_a_deadline_stops_is_counted_on_no_more),
        TEST(a_drain_without_another_place_waits_and_stops_all_at_its_deadline),
        TEST(a_drain_that_is_called_off_keeps_what_has_not_left),
        TEST(a_node_that_nobody_knows_cannot_be_drained),
        TEST(a_node_that_reports_is_removed_when_it_is_drained_or_by_force),
        TEST(who_removes_a_node_that_ended_just_now_is_told_how_long_to_wait),
        TEST(what_a_removed_node_ran_is_replaced_and_its_record_ends),
        TEST(what_was_not_replaced_yet_is_there_again_when_the_node_comes_back),
        TEST(what_had_failed_on_a_removed_node_has_failed),
        TEST(the_agent_of_a_removed_node_stays_away_until_it_is_started_anew),
        TEST(the_subnet_of_a_removed_node_is_given_back_after_its_time),
        TEST(a_node_with_less_than_it_promised_keeps_what_it_runs_and_gets_nothing_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
