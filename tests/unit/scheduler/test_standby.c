/* Standbys: how many there are to be, and what becomes of them when a replica is wanted: the
 * decision by itself, then the controller over a real store. */
#include "scheduler/look.h"
#include "scheduler/standby.h"
#include "scheduler/views.h"
#include "tests/unit/scheduler/controller_fixture.h"

/* --- the decision --- */

static struct standby_input input_of(const struct standby_instance *instances, size_t count,
                                     uint32_t wanted)
{
    return (struct standby_input){.wanted = wanted,
                                  .may_start = true,
                                  .reschedule = {2, 1000, 8000},
                                  .instances = instances,
                                  .instance_count = count,
                                  .now_ms = 100000};
}

/* "c" create, "s3" stop the fourth, "g0" give up the first. */
static void expect_actions(const struct standby_input *input, const char *expected)
{
    static const char letters[] = {
        [STANDBY_CREATE] = 'c', [STANDBY_STOP] = 's', [STANDBY_GIVE_UP] = 'g'};
    struct standby_result result;
    char text[64] = "";
    standby_decide(input, &result);
    for (size_t i = 0; i < result.action_count; i++) {
        const struct standby_action *action = &result.actions[i];
        size_t length = strlen(text);
        if (action->kind == STANDBY_CREATE)
            snprintf(text + length, sizeof text - length, "c ");
        else
            snprintf(text + length, sizeof text - length, "%c%zu ", letters[action->kind],
                     action->instance);
    }
    standby_result_release(&result);
    assert_string_equal(text, expected);
}

static void as_many_are_started_as_are_wanted(void **state)
{
    (void)state;
    struct standby_instance one = {.matches = true, .state = INSTANCE_STARTING};
    struct standby_input input = input_of(&one, 1, 3);
    expect_actions(&input, "c c ");
    input.may_start = false;
    expect_actions(&input, "");
}

static void the_newest_go_when_fewer_are_wanted(void **state)
{
    (void)state;
    struct standby_instance three[3] = {{.matches = true, .state = INSTANCE_STANDBY},
                                        {.matches = true, .state = INSTANCE_STANDBY},
                                        {.matches = true, .state = INSTANCE_STARTING}};
    struct standby_input input = input_of(three, 3, 1);
    expect_actions(&input, "s1 s2 ");
}

static void those_of_another_revision_or_place_are_replaced(void **state)
{
    (void)state;
    struct standby_instance three[3] = {
        {.matches = false, .state = INSTANCE_STANDBY},
        {.matches = true, .state = INSTANCE_STANDBY, .leaving = true},
        {.matches = true, .state = INSTANCE_STANDBY, .lost = true}};
    struct standby_input input = input_of(three, 3, 2);
    expect_actions(&input, "s0 s1 s2 c c ");
}

/* As all are after a reboot of their node. */
static void one_that_was_restarted_is_replaced_once_it_waits_again(void **state)
{
    (void)state;
    struct standby_instance one = {.matches = true, .state = INSTANCE_STARTING, .is_worn = true};
    struct standby_input input = input_of(&one, 1, 1);
    expect_actions(&input, "");
    one.state = INSTANCE_STANDBY;
    expect_actions(&input, "s0 c ");
}

static void one_that_stops_is_not_counted(void **state)
{
    (void)state;
    struct standby_instance one = {.matches = true, .stopping = true, .state = INSTANCE_STOPPING};
    struct standby_input input = input_of(&one, 1, 1);
    expect_actions(&input, "c ");
}

static void one_that_failed_is_tried_again_later_and_not_for_ever(void **state)
{
    (void)state;
    struct standby_result result;
    struct standby_instance one = {
        .matches = true, .state = INSTANCE_FAILED, .over_ms = 99500, .attempt = 0};
    struct standby_input input = input_of(&one, 1, 1);
    standby_decide(&input, &result);
    assert_int_equal(result.action_count, 0);
    assert_int_equal(result.next_ms, 100500);
    standby_result_release(&result);
    one.over_ms = 99000;
    expect_actions(&input, "s0 c ");
    one.attempt = 2;
    expect_actions(&input, "g0 ");
    one.given_up = true;
    expect_actions(&input, "");
}

/* --- the controller --- */

static int decide_feature(struct change *change, void *data, struct error *error)
{
    const struct model_node *known = data;
    (void)error;
    struct document_node *node = change_edit(change, DOCUMENT_NODE, known->document);
    json_strings_add(&node->features, API_FEATURE_STANDBY);
    return 0;
}

static void join_with_standbys(struct fixture *fixture, const char *name)
{
    join(fixture, name);
    changes_decide(fixture->core.changes, decide_feature, NULL,
                   model_node(&fixture->core.model, name));
    settle(fixture);
}

/* The node says that replicas are ready and standbys paused. */
static void report_all(struct fixture *fixture, const char *name)
{
    struct model_node *node = model_node(&fixture->core.model, name);
    struct api_status status = {.sequence = ++fixture->sequence,
                                .term = 1,
                                .assignment_revision = node->assignment_revision,
                                .endpoints_revision = UINT64_MAX};
    fixture->now_ms += 1000;
    status.instances = xcalloc(node->instances.count + 1, sizeof *status.instances);
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        struct api_observed_instance *seen = &status.instances[status.instance_count];
        if (model_instance_has_ended(instance))
            continue;
        text_copy(seen->id, sizeof seen->id, instance->name);
        seen->state = instance->document->wish == WISH_STOP ? INSTANCE_STOPPED
                      : instance->document->standby         ? INSTANCE_STANDBY
                                                            : INSTANCE_READY;
        seen->state_age_ms = 4000;
        status.instance_count++;
    }
    count_draining(fixture, &status);
    observation_take(&fixture->core, node, &status);
    json_record_release(&api_status_record, &status);
    settle(fixture);
}

static void report_rounds(struct fixture *fixture, int rounds)
{
    for (int i = 0; i < rounds; i++)
        report_all(fixture, "a");
}

static size_t count(struct fixture *fixture, bool standby)
{
    size_t found = 0;
    for (size_t i = 0; i < service(fixture)->instances.count; i++) {
        const struct model_instance *instance = service(fixture)->instances.items[i];
        found += instance->document->wish == WISH_RUN && !model_instance_has_ended(instance) &&
                 instance->document->standby == standby;
    }
    return found;
}

static const struct model_instance *first(struct fixture *fixture, bool standby)
{
    for (size_t i = 0; i < service(fixture)->instances.count; i++) {
        const struct model_instance *instance = service(fixture)->instances.items[i];
        if (instance->document->wish == WISH_RUN && !model_instance_has_ended(instance) &&
            instance->document->standby == standby)
            return instance;
    }
    return NULL;
}

static void deploy_with_standby(struct fixture *fixture, const char *digest, uint32_t replicas)
{
    fixture->settings = ", \"standby\": 1";
    deploy(fixture, digest, replicas);
    report_rounds(fixture, 8);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static int decide_scale(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_scale(&fixture->core, change, "default", "s", fixture->spec.replicas,
                                 &fixture->answer, error);
}

static int decide_wake(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_wake(&fixture->core, change, "default", "s", 1, &fixture->answer, error);
}

static void scale(struct fixture *fixture, uint32_t replicas)
{
    fixture->spec.replicas = replicas;
    changes_decide(fixture->core.changes, decide_scale, NULL, fixture);
    settle(fixture);
}

static void a_standby_comes_once_something_has_worked_and_gets_no_traffic(void **state)
{
    struct fixture *fixture = *state;
    join_with_standbys(fixture, "a");
    fixture->settings = ", \"standby\": 1";
    deploy(fixture, "A", 1);
    assert_int_equal(count(fixture, true), 0);
    report_rounds(fixture, 8);
    assert_int_equal(count(fixture, true), 1);
    assert_int_equal(count(fixture, false), 1);
    assert_int_equal(servers(fixture, API_SERVER_READY), 1);
    AUTO_FREE char *told = assignment_of(fixture, "a", 0);
    assert_non_null(strstr(told, "\"wanted\":\"standby\""));
}

static void no_node_that_keeps_none_gets_one(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy_with_standby(fixture, "A", 1);
    assert_int_equal(count(fixture, true), 0);
    assert_true(service(fixture)->standby_has_no_room);
    assert_null(service(fixture)->no_capacity);
}

static void one_more_replica_is_the_standby_resumed(void **state)
{
    struct fixture *fixture = *state;
    join_with_standbys(fixture, "a");
    deploy_with_standby(fixture, "A", 1);
    char id[INSTANCE_ID_MAX];
    text_copy(id, sizeof id, first(fixture, true)->name);
    scale(fixture, 2);
    const struct model_instance *resumed = model_instance(&fixture->core.model, id);
    assert_false(resumed->document->standby);
    assert_int_equal(resumed->document->slot, 1);
    assert_int_equal(count(fixture, false), 2);
    report_rounds(fixture, 2);
    assert_int_equal(servers(fixture, API_SERVER_READY), 2);
    assert_int_equal(count(fixture, true), 1); /* another one waits by now */
    assert_string_not_equal(first(fixture, true)->name, id);
}

static void what_failed_for_good_is_replaced_by_the_standby(void **state)
{
    struct fixture *fixture = *state;
    join_with_standbys(fixture, "a");
    join_with_standbys(fixture, "b");
    deploy_with_standby(fixture, "A", 1);
    report_all(fixture, "b");
    report_rounds(fixture, 2);
    report_all(fixture, "b");
    char id[INSTANCE_ID_MAX];
    const struct model_instance *replica = first(fixture, false);
    text_copy(id, sizeof id, first(fixture, true)->name);
    assert_string_not_equal(replica->document->node, first(fixture, true)->document->node);
    report(fixture, replica->document->node, INSTANCE_FAILED, 0, 0);
    wake_at(fixture, 6000);
    assert_false(model_instance(&fixture->core.model, id)->document->standby);
    assert_int_equal(model_instance(&fixture->core.model, id)->document->attempt, 1);
}

static void a_new_revision_replaces_standbys_after_it_succeeded(void **state)
{
    struct fixture *fixture = *state;
    join_with_standbys(fixture, "a");
    deploy_with_standby(fixture, "A", 1);
    deploy(fixture, "B", 1);
    assert_int_equal(first(fixture, true)->document->revision, 1);
    report_rounds(fixture, 8);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    assert_int_equal(count(fixture, true), 1);
    assert_int_equal(first(fixture, true)->document->revision, 2);
}

static void a_service_of_none_is_woken_by_its_standby(void **state)
{
    struct fixture *fixture = *state;
    join_with_standbys(fixture, "a");
    deploy_with_standby(fixture, "A", 0);
    assert_int_equal(count(fixture, true), 1);
    assert_int_equal(count(fixture, false), 0);
    changes_decide(fixture->core.changes, decide_wake, NULL, fixture);
    settle(fixture);
    assert_int_equal(fixture->answer.replicas, 1);
    assert_int_equal(count(fixture, false), 1);
    assert_int_equal(first(fixture, false)->observed.state, INSTANCE_STANDBY);
    scale(fixture, 0);
    report_rounds(fixture, 3);
    assert_int_equal(count(fixture, false), 0);
    assert_int_equal(count(fixture, true), 1);
}

static void fewer_standbys_are_wanted_and_the_rest_end(void **state)
{
    struct fixture *fixture = *state;
    join_with_standbys(fixture, "a");
    deploy_with_standby(fixture, "A", 1);
    fixture->settings = NULL;
    deploy(fixture, "A", 1);
    report_rounds(fixture, 2);
    assert_int_equal(count(fixture, true), 0);
    assert_int_equal(count(fixture, false), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_are_started_as_are_wanted),
        cmocka_unit_test(the_newest_go_when_fewer_are_wanted),
        cmocka_unit_test(those_of_another_revision_or_place_are_replaced),
        cmocka_unit_test(one_that_was_restarted_is_replaced_once_it_waits_again),
        cmocka_unit_test(one_that_stops_is_not_counted),
        cmocka_unit_test(one_that_failed_is_tried_again_later_and_not_for_ever),
        cmocka_unit_test_setup_teardown(
            a_standby_comes_once_something_has_worked_and_gets_no_traffic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_node_that_keeps_none_gets_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_more_replica_is_the_standby_resumed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_failed_for_good_is_replaced_by_the_standby, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_new_revision_replaces_standbys_after_it_succeeded, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_service_of_none_is_woken_by_its_standby, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(fewer_standbys_are_wanted_and_the_rest_end, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
