/* Rollouts that people hold, judge and end, from the change to what the nodes are to run: the
 * controller over a real store. */
#include "scheduler/views.h"
#include "tests/unit/scheduler/controller_fixture.h"

typedef int steering(struct core *core, struct change *change, const char *namespace_name,
                     const char *service, struct api_change_answer *ret_answer,
                     struct error *error);

struct order {
    struct fixture *fixture;
    steering *how;
    uint32_t replicas;
};

static int decide_steering(struct change *change, void *data, struct error *error)
{
    struct order *order = data;
    struct fixture *fixture = order->fixture;
    if (order->how != NULL)
        return order->how(&fixture->core, change, "default", "s", &fixture->answer, error);
    return service_changes_scale(&fixture->core, change, "default", "s", order->replicas,
                                 &fixture->answer, error);
}

static void steer(struct fixture *fixture, steering *how)
{
    struct order order = {fixture, how, 0};
    changes_decide(fixture->core.changes, decide_steering, NULL, &order);
    settle(fixture);
}

static void scale(struct fixture *fixture, uint32_t replicas)
{
    struct order order = {fixture, NULL, replicas};
    changes_decide(fixture->core.changes, decide_steering, NULL, &order);
    settle(fixture);
}

/* Reports `rounds` times that everything is healthy. */
static void pass_healthy(struct fixture *fixture, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        fixture->now_ms += 1000;
        report(fixture, "a", INSTANCE_READY, 4000, 0);
    }
}

static size_t running_of(struct fixture *fixture, uint32_t revision)
{
    const struct model_node *node = model_node(&fixture->core.model, "a");
    size_t count = 0;
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        count += instance->document->wish == WISH_RUN && instance->document->revision == revision;
    }
    return count;
}

static void deploy_healthy(struct fixture *fixture, uint32_t replicas)
{
    join(fixture, "a");
    deploy(fixture, "A", replicas);
    pass_healthy(fixture, 8);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void a_paused_rollout_goes_on_where_it_was(void **state)
{
    struct fixture *fixture = *state;
    deploy_healthy(fixture, 3);
    deploy(fixture, "B", 3);
    assert_int_equal(running_of(fixture, 2), 1);
    steer(fixture, service_changes_pause);
    pass_healthy(fixture, 200); /* longer than the deadline */
    assert_int_equal(phase(fixture), ROLLOUT_PAUSED);
    assert_int_equal(running_of(fixture, 1), 3);
    assert_int_equal(running_of(fixture, 2), 1);
    steer(fixture, service_changes_resume);
    pass_healthy(fixture, 20);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    assert_int_equal(running_of(fixture, 1), 0);
    assert_int_equal(running_of(fixture, 2), 3);
}

static void what_fails_while_paused_is_replaced_by_its_own_revision(void **state)
{
    struct fixture *fixture = *state;
    deploy_healthy(fixture, 3);
    deploy(fixture, "B", 3);
    steer(fixture, service_changes_pause);
    size_t before = running_of(fixture, 1), new = running_of(fixture, 2);
    assert_true(before > 0 && new > 0);
    report(fixture, "a", INSTANCE_FAILED, 0, 0);
    wake_at(fixture, 6000);
    pass_healthy(fixture, 1);
    assert_int_equal(phase(fixture), ROLLOUT_PAUSED);
    assert_true(running_of(fixture, 1) >= before);
    assert_true(running_of(fixture, 2) >= new);
}

static void a_paused_rollout_is_scaled_with_what_worked(void **state)
{
    struct fixture *fixture = *state;
    deploy_healthy(fixture, 2);
    deploy(fixture, "B", 2);
    steer(fixture, service_changes_pause);
    scale(fixture, 3);
    pass_healthy(fixture, 4);
    assert_int_equal(running_of(fixture, 1), 3);
    assert_int_equal(running_of(fixture, 2), 1);
    scale(fixture, 1);
    pass_healthy(fixture, 4);
    assert_int_equal(running_of(fixture, 1), 1);
    steer(fixture, service_changes_resume);
    pass_healthy(fixture, 10);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    assert_int_equal(running_of(fixture, 2), 1);
}

static void an_aborted_rollout_is_back_at_what_worked(void **state)
{
    struct fixture *fixture = *state;
    deploy_healthy(fixture, 3);
    deploy(fixture, "B", 3);
    pass_healthy(fixture, 4);
    steer(fixture, service_changes_pause);
    steer(fixture, service_changes_abort);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLING_BACK);
    pass_healthy(fixture, 20);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLED_BACK);
    assert_int_equal(running_of(fixture, 1), 3);
    assert_int_equal(running_of(fixture, 2), 0);
    assert_non_null(strstr(model_rollout(service(fixture))->reason, "aborted"));
}

/* --- canaries --- */

/* The part of what is new that the canaries get, in percent. */
static uint32_t canary_percent(struct fixture *fixture, uint32_t revision)
{
    struct api_endpoints endpoints = {0};
    uint32_t canaries = 0, all = 0;
    assignment_fill_endpoints(&fixture->core.model, &endpoints);
    assert_int_equal(endpoints.frontend_count, 1);
    for (size_t i = 0; i < endpoints.frontends[0].server_count; i++) {
        const struct api_server *server = &endpoints.frontends[0].servers[i];
        const struct model_instance *instance = model_instance(&fixture->core.model, server->id);
        uint32_t weight = server->has_weight ? server->weight : 1;
        if (server->state != API_SERVER_READY)
            continue;
        all += weight;
        canaries += instance->document->revision == revision ? weight : 0;
    }
    json_record_release(&api_endpoints_record, &endpoints);
    return (canaries * 100 + all / 2) / all;
}

static void canaries_get_their_part_and_wait_to_be_promoted(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"rollout\": {\"canary\": 1, \"canary_weight\": 10}";
    deploy_healthy(fixture, 3);
    deploy(fixture, "B", 3);
    pass_healthy(fixture, 200);
    assert_int_equal(phase(fixture), ROLLOUT_AWAITING_PROMOTION);
    assert_int_equal(running_of(fixture, 1), 3);
    assert_int_equal(running_of(fixture, 2), 1);
    assert_int_equal(canary_percent(fixture, 2), 10);
    const struct model_node *node = model_node(&fixture->core.model, "a");
    const char *canary = ((struct model_instance *)node->instances.items[3])->name;
    steer(fixture, service_changes_promote);
    assert_true(canary_percent(fixture, 2) >= 25);
    pass_healthy(fixture, 20);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    assert_int_equal(running_of(fixture, 2), 3);
    assert_int_equal(model_instance(&fixture->core.model, canary)->document->wish, WISH_RUN);
}

static void canaries_that_stay_ready_are_promoted_without_being_asked(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"rollout\": {\"canary\": 1, \"canary_time\": \"30s\", "
                        "\"auto_promote\": true}";
    deploy_healthy(fixture, 2);
    deploy(fixture, "B", 2);
    for (uint64_t age = 0; age < 30; age++) {
        fixture->now_ms += 1000;
        report(fixture, "a", INSTANCE_READY, age * 1000, 0);
        if (age > 4)
            assert_int_equal(phase(fixture), ROLLOUT_AWAITING_PROMOTION);
    }
    fixture->now_ms += 1000;
    report(fixture, "a", INSTANCE_READY, 31000, 0);
    for (int i = 0; i < 10; i++) {
        fixture->now_ms += 1000;
        report(fixture, "a", INSTANCE_READY, 32000, 0);
    }
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void a_failing_canary_is_taken_back_without_canaries(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"rollout\": {\"canary\": 1, \"canary_weight\": 10}";
    deploy_healthy(fixture, 3);
    deploy(fixture, "B", 3);
    const struct model_node *node = model_node(&fixture->core.model, "a");
    struct model_instance *canary = node->instances.items[3];
    pass_healthy(fixture, 5);
    assert_int_equal(phase(fixture), ROLLOUT_AWAITING_PROMOTION);
    canary->observed.restarts = 3;
    model_touch_service(service(fixture));
    wake_at(fixture, 1000);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLING_BACK);
    pass_healthy(fixture, 10);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLED_BACK);
    assert_int_equal(running_of(fixture, 1), 3);
    assert_int_equal(running_of(fixture, 2), 0);
}

static void what_waits_is_scaled_superseded_and_aborted(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"rollout\": {\"canary\": 1, \"canary_weight\": 0}";
    deploy_healthy(fixture, 2);
    deploy(fixture, "B", 2);
    pass_healthy(fixture, 8);
    assert_int_equal(canary_percent(fixture, 2), 0);
    scale(fixture, 3);
    pass_healthy(fixture, 8);
    assert_int_equal(phase(fixture), ROLLOUT_AWAITING_PROMOTION);
    assert_int_equal(running_of(fixture, 1), 3);
    scale(fixture, 2);
    pass_healthy(fixture, 8);
    deploy(fixture, "C", 2);
    pass_healthy(fixture, 20);
    assert_int_equal(phase(fixture), ROLLOUT_AWAITING_PROMOTION);
    assert_int_equal(running_of(fixture, 1), 2);
    assert_int_equal(running_of(fixture, 2), 0);
    assert_int_equal(running_of(fixture, 3), 1);
    steer(fixture, service_changes_abort);
    pass_healthy(fixture, 8);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLED_BACK);
    assert_int_equal(running_of(fixture, 1), 2);
    assert_int_equal(running_of(fixture, 3), 0);
}

static void with_volumes_one_slot_after_the_other_is_upgraded_and_deploy_says_so(void **state)
{
    struct fixture *fixture = *state;
    deploy_healthy(fixture, 2);
    fixture->settings = ", \"volumes\": [{\"name\": \"data\", \"size\": 1048576}]";
    deploy(fixture, "B", 2);
    assert_non_null(strstr(fixture->answer.message, "stop-first"));
    /* Nowhere can volumes be attached. */
    pass_healthy(fixture, 4);
    assert_int_equal(running_of(fixture, 1), 1);
    assert_int_equal(running_of(fixture, 2), 0);
    assert_non_null(strstr(service(fixture)->no_capacity, "volumes"));
    steer(fixture, service_changes_abort);
    pass_healthy(fixture, 6);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLED_BACK);
    assert_int_equal(running_of(fixture, 1), 2);
}

static void a_revision_tells_what_changed_from_the_one_before(void **state)
{
    struct fixture *fixture = *state;
    deploy_healthy(fixture, 1);
    fixture->settings = ", \"volumes\": [{\"name\": \"data\", \"size\": 1048576}]";
    deploy(fixture, "B", 1);
    AUTO_JSON struct json_object *document = views_revisions(&fixture->core, service(fixture));
    struct json_object *list = json_object_object_get(document, "revisions");
    struct api_revision_view first = {0}, second = {0};
    assert_int_equal(json_object_array_length(list), 2);
    assert_int_equal(json_decode(&api_revision_view_record, json_object_array_get_idx(list, 0),
                                 JSON_STRICT, &first, NULL),
                     0);
    assert_int_equal(json_decode(&api_revision_view_record, json_object_array_get_idx(list, 1),
                                 JSON_STRICT, &second, NULL),
                     0);
    assert_int_equal(first.before, 0);
    assert_int_equal(first.change_count, 0);
    assert_int_equal(second.before, 1);
    assert_int_equal(second.change_count, 1);
    assert_string_equal(second.changes[0].path, "/volumes");
    assert_null(second.changes[0].before);
    assert_non_null(strstr(second.changes[0].after, "data"));
    json_record_release(&api_revision_view_record, &first);
    json_record_release(&api_revision_view_record, &second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_paused_rollout_goes_on_where_it_was),
        TEST(what_fails_while_paused_is_replaced_by_its_own_revision),
        TEST(a_paused_rollout_is_scaled_with_what_worked),
        TEST(an_aborted_rollout_is_back_at_what_worked),
        TEST(canaries_get_their_part_and_wait_to_be_promoted),
        TEST(canaries_that_stay_ready_are_promoted_without_being_asked),
        TEST(a_failing_canary_is_taken_back_without_canaries),
        TEST(what_waits_is_scaled_superseded_and_aborted),
        TEST(with_volumes_one_slot_after_the_other_is_upgraded_and_deploy_says_so),
        TEST(a_revision_tells_what_changed_from_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
