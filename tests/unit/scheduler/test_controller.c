/* Controller, reports and what agents fetch, together over a real store, without HTTP: what a node
 * says goes in, documents and assignments come out. */
#include "tests/unit/scheduler/controller_fixture.h"

static void a_deploy_is_placed_over_nodes_and_succeeds_when_healthy(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    join(fixture, "b");
    deploy(fixture, "A", 2);
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_non_null(model_instance(&fixture->core.model, "000100000001"));
    assert_int_equal(servers(fixture, API_SERVER_READY), 0);
    report(fixture, "a", INSTANCE_READY, 0, 0);
    report(fixture, "b", INSTANCE_READY, 0, 0);
    assert_int_equal(servers(fixture, API_SERVER_READY), 2);
    wake_at(fixture, 2999);
    assert_int_equal(phase(fixture), ROLLOUT_PROGRESSING);
    wake_at(fixture, 1);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void without_a_node_it_waits_for_room_and_goes_on_by_itself(void **state)
{
    struct fixture *fixture = *state;
    deploy(fixture, "A", 1);
    assert_non_null(service(fixture)->no_capacity);
    wake_at(fixture, 600000);
    assert_int_equal(phase(fixture), ROLLOUT_PROGRESSING);
    join(fixture, "a");
    assert_null(service(fixture)->no_capacity);
    assert_int_equal(running_on(fixture, "a"), 1);
}

static void addresses_that_are_held_are_handed_out_when_their_time_is_over(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    struct model_node *node = model_node(&fixture->core.model, "a");
    for (size_t i = 0; i < ARRAY_LENGTH(node->freed_ms); i++)
        node->freed_ms[i] = fixture->now_ms - ADDRESS_HOLD_MS + 3000;
    deploy(fixture, "A", 1);
    assert_non_null(service(fixture)->no_capacity);
    wake_at(fixture, 2000);
    assert_non_null(service(fixture)->no_capacity);
    wake_at(fixture, 2000);
    assert_null(service(fixture)->no_capacity);
    assert_int_equal(running_on(fixture, "a"), 1);
}

/* What was seen is written a second later than that it ended, and a crash may come between. */
static void what_is_known_to_have_ended_is_stopped_whatever_was_last_seen_of_it(void **state)
{
    struct fixture *fixture = *state;
    static const char id[] = "000100000001";
    struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
    text_copy(instance->id, sizeof instance->id, id);
    instance->wish = WISH_STOP;
    instance->ended_ms = 1;
    struct document_observed *observed = document_create(DOCUMENT_OBSERVED);
    text_copy(observed->id, sizeof observed->id, id);
    observed->state = INSTANCE_STOPPING;
    model_apply(&fixture->core.model, DOCUMENT_INSTANCE, instance, false, fixture->now_ms);
    const struct model_instance *known = model_instance(&fixture->core.model, id);
    assert_int_equal(model_instance_state(known), INSTANCE_STOPPED);
    model_apply(&fixture->core.model, DOCUMENT_OBSERVED, observed, false, fixture->now_ms);
    assert_int_equal(model_instance_state(known), INSTANCE_STOPPED);
}

/* As a store is read while somebody writes: the instance is seen first, and then again behind what
 * was written before it. */
static void what_is_read_before_its_revision_takes_its_room_all_the_same(void **state)
{
    struct fixture *fixture = *state;
    struct model *model = &fixture->core.model;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    const struct model_instance *first = model_instance(model, "000100000001");
    struct document_service *other = document_copy(DOCUMENT_SERVICE, service(fixture)->document);
    struct document_revision *revision =
        document_copy(DOCUMENT_REVISION, model_revision(service(fixture), 1));
    struct document_instance *instance = document_copy(DOCUMENT_INSTANCE, first->document);
    strcpy(other->service, "t");
    strcpy(revision->service, "t");
    strcpy(instance->service, "t");
    strcpy(instance->id, "000100000007");
    strcpy(instance->address, "10.64.0.77");
    other->uid = instance->service_uid = 7;
    uint64_t before = model_node(model, "a")->used.memory;
    model_apply(model, DOCUMENT_INSTANCE, document_copy(DOCUMENT_INSTANCE, instance), false, 0);
    model_apply(model, DOCUMENT_SERVICE, other, false, 0);
    model_apply(model, DOCUMENT_REVISION, revision, false, 0);
    model_apply(model, DOCUMENT_INSTANCE, instance, false, 0);
    assert_int_equal(model_node(model, "a")->used.memory, before + 32 * MIB);
}

static void an_upgrade_drains_before_it_stops(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    deploy(fixture, "B", 1);
    assert_int_equal(running_on(fixture, "a"), 2);
    fixture->lags = true;
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    const struct model_instance *old = model_instance(&fixture->core.model, "000100000001");
    assert_int_equal(old->document->wish, WISH_DRAIN);
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 1);
    fixture->lags = false;
    /* The data plane confirms, and has counted no connection yet: that is not none. */
    fixture->uncounted = true;
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(old->document->wish, WISH_DRAIN);
    fixture->uncounted = false;
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(old->document->wish, WISH_STOP);
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_true(model_instance_has_ended(old));
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 0);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void what_left_the_endpoints_stops_when_data_planes_know(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    const struct model_instance *old = model_instance(&fixture->core.model, "000100000001");
    /* It is not ready any more: out of the endpoints, which the data plane has not applied. */
    fixture->lags = true;
    report(fixture, "a", INSTANCE_RUNNING, 0, 0);
    assert_int_equal(servers(fixture, API_SERVER_READY), 0);
    deploy(fixture, "A", 0);
    assert_int_equal(old->document->wish, WISH_DRAIN);
    fixture->lags = false;
    report(fixture, "a", INSTANCE_RUNNING, 0, 0);
    assert_int_equal(old->document->wish, WISH_STOP);
}

static int decide_to_revoke(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct fixture *fixture = data;
    struct document_revision *revision =
        change_edit(change, DOCUMENT_REVISION, model_revision(service(fixture), 1));
    strcpy(revision->revoked, "key k was removed");
    return 0;
}

/* Canaries stand beside what worked last: where that may not run, they would wait for ever. */
static void beside_what_was_revoked_there_are_no_canaries(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    changes_decide(fixture->core.changes, decide_to_revoke, NULL, fixture);
    settle(fixture);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    fixture->settings = ", \"rollout\": {\"canary\": 1}";
    deploy(fixture, "B", 2);
    assert_int_equal(running_on(fixture, "a"), 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void three_failed_boots_roll_back_and_keep_the_old_one(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    deploy(fixture, "B", 1);
    struct model_instance *old = model_instance(&fixture->core.model, "000100000001");
    struct model_instance *broken = model_instance(&fixture->core.model, "000100000002");
    assert_non_null(broken);
    struct api_status status = {.sequence = ++fixture->sequence, .term = 1};
    status.instances = xcalloc(2, sizeof *status.instances);
    status.instance_count = 2;
    strcpy(status.instances[0].id, old->name);
    status.instances[0].state = INSTANCE_READY;
    status.instances[0].state_age_ms = 9000;
    strcpy(status.instances[1].id, broken->name);
    status.instances[1].state = INSTANCE_STARTING;
    status.instances[1].restarts = 3;
    strcpy(status.instances[1].cause, "guest_exit");
    observation_take(&fixture->core, model_node(&fixture->core.model, "a"), &status);
    json_record_release(&api_status_record, &status);
    settle(fixture);
    assert_int_equal(broken->document->wish, WISH_STOP);
    report(fixture, "a", INSTANCE_READY, 9000, 0);
    assert_int_equal(phase(fixture), ROLLOUT_ROLLED_BACK);
    assert_non_null(strstr(model_rollout(service(fixture))->reason, "guest_exit"));
    assert_int_equal(old->document->wish, WISH_RUN);
}

/* Given up in its first rollout, of the same template: the next rollout tries again. */
static void what_failed_before_is_tried_again_by_a_new_rollout(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_FAILED, 0, 3);
    assert_int_equal(phase(fixture), ROLLOUT_FAILED);
    struct model_instance *first = model_instance(&fixture->core.model, "000100000001");
    deploy(fixture, "A", 1);
    assert_int_equal(phase(fixture), ROLLOUT_PROGRESSING);
    assert_true(model_instance_has_ended(first));
    assert_int_equal(running_on(fixture, "a"), 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void a_published_port_that_is_named_anew_stays_served(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(servers(fixture, API_SERVER_READY), 1);
    text_copy(service(fixture)->document->spec.ports[0].name, NAME_MAX_TEXT, "web");
    assert_int_equal(servers(fixture, API_SERVER_READY), 1);
    service(fixture)->document->spec.ports[0].port = 9090;
    assert_int_equal(servers(fixture, API_SERVER_READY), 0);
}

static void one_that_has_ended_and_runs_again_is_to_stop(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    report(fixture, "a", INSTANCE_FAILED, 0, 0);
    wake_at(fixture, 5000);
    struct model_node *node = model_node(&fixture->core.model, "a");
    assert_true(model_instance_has_ended(model_instance(&fixture->core.model, "000100000001")));
    struct api_status status = {.sequence = ++fixture->sequence, .term = 1};
    status.instances = xcalloc(1, sizeof *status.instances);
    status.instance_count = 1;
    strcpy(status.instances[0].id, "000100000001");
    status.instances[0].state = INSTANCE_STARTING;
    observation_take(&fixture->core, node, &status);
    json_record_release(&api_status_record, &status);
    settle(fixture);
    assert_int_equal(node->orphans.count, 1);
    report(fixture, "a", INSTANCE_READY, 0, 0);
    assert_int_equal(node->orphans.count, 0);
}

static void a_silent_node_is_replaced_after_its_time_and_ends_its_own_when_back(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join(fixture, "b");
    struct model_instance *lost = model_instance(&fixture->core.model, "000100000001");
    fixture->now_ms += 10000;
    report(fixture, "b", INSTANCE_READY, 0, 0);
    assert_int_equal(model_instance_state(lost), INSTANCE_UNKNOWN);
    /* Its guests and data plane may be well: nothing is taken out before it is replaced. */
    assert_int_equal(servers(fixture, API_SERVER_READY), 1);
    assert_int_equal(running_on(fixture, "b"), 0);
    fixture->now_ms += 30000;
    report(fixture, "b", INSTANCE_READY, 0, 0);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_int_equal(lost->document->wish, WISH_DRAIN);
    for (int i = 0; i < 3; i++) {
        report(fixture, "b", INSTANCE_READY, 0, 0);
        report(fixture, "a", INSTANCE_READY, 9000, 0);
    }
    assert_true(model_instance_has_ended(lost));
}

static void a_failed_one_is_replaced_then_given_up_and_its_cause_kept(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    report(fixture, "a", INSTANCE_FAILED, 0, 1);
    fixture->now_ms += 5000;
    report(fixture, "a", INSTANCE_FAILED, 0, 1);
    struct model_instance *first = model_instance(&fixture->core.model, "000100000001");
    struct model_instance *second = model_instance(&fixture->core.model, "000100000002");
    assert_true(model_instance_has_ended(first));
    assert_string_equal(first->observed.cause, "guest_exit");
    assert_non_null(second);
    assert_string_not_equal(first->document->address, second->document->address);
    report(fixture, "a", INSTANCE_FAILED, 0, 1);
    assert_true(second->document->given_up);
    wake_at(fixture, 600000);
    assert_null(model_instance(&fixture->core.model, "000100000003"));
}

static void a_guest_that_is_nobodys_is_to_stop_and_one_of_a_later_term_is_not(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    fixture->core.model.counters.instances = 9;
    struct model_node *node = model_node(&fixture->core.model, "a");
    struct api_status status = {.sequence = ++fixture->sequence, .term = 1};
    status.instances = xcalloc(2, sizeof *status.instances);
    status.instance_count = 2;
    strcpy(status.instances[0].id, "000100000009");
    status.instances[0].state = INSTANCE_READY;
    strcpy(status.instances[1].id, "000200000001");
    status.instances[1].state = INSTANCE_READY;
    observation_take(&fixture->core, node, &status);
    json_record_release(&api_status_record, &status);
    settle(fixture);
    assert_int_equal(node->orphans.count, 1);
    assert_string_equal(node->orphans.items[0], "000100000009");
    AUTO_FREE char *assignment = assignment_of(fixture, "a", 0);
    assert_non_null(strstr(assignment, "\"000100000009\""));
    assert_null(strstr(assignment, "\"000200000001\""));
    /* An agent can read what it is told about it. */
    struct api_assignment read = {0};
    assert_int_equal(json_parse_record(&api_assignment_record, assignment, strlen(assignment),
                                       JSON_LENIENT, &read, NULL),
                     0);
    assert_int_equal(read.instances[read.instance_count - 1].wanted, API_WANTED_STOP);
    json_record_release(&api_assignment_record, &read);
}

static int decide_removal(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_remove(&fixture->core, change, "default", "s", &fixture->answer, error);
}

static void a_removed_service_is_gone_when_nothing_of_it_runs(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    changes_decide(fixture->core.changes, decide_removal, NULL, fixture);
    settle(fixture);
    assert_non_null(service(fixture));
    for (int i = 0; i < 3; i++)
        report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_null(service(fixture));
}

/* Else the store refused what many services with long manifests come to, again and again. */
static void a_change_is_full_before_long_manifests_are_too_large_for_the_store(void **state)
{
    (void)state;
    struct change change = {0};
    for (size_t i = 0; i < STORE_TRANSACTION_MAX / STORE_DOCUMENT_MAX - 1; i++) {
        assert_true(change_has_room(&change, 6));
        struct document_service *document = document_create(DOCUMENT_SERVICE);
        snprintf(document->service, sizeof document->service, "s%zu", i);
        change_put(&change, DOCUMENT_SERVICE, document);
    }
    assert_false(change_has_room(&change, 6));
    change_finish(&change);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_deploy_is_placed_over_nodes_and_succeeds_when_healthy),
        TEST(without_a_node_it_waits_for_room_and_goes_on_by_itself),
        TEST(addresses_that_are_held_are_handed_out_when_their_time_is_over),
        TEST(what_is_known_to_have_ended_is_stopped_whatever_was_last_seen_of_it),
        TEST(what_is_read_before_its_revision_takes_its_room_all_the_same),
        TEST(an_upgrade_drains_before_it_stops),
        TEST(what_left_the_endpoints_stops_when_data_planes_know),
        TEST(beside_what_was_revoked_there_are_no_canaries),
        TEST(three_failed_boots_roll_back_and_keep_the_old_one),
        TEST(what_failed_before_is_tried_again_by_a_new_rollout),
        TEST(a_published_port_that_is_named_anew_stays_served),
        TEST(one_that_has_ended_and_runs_again_is_to_stop),
        TEST(a_silent_node_is_replaced_after_its_time_and_ends_its_own_when_back),
        TEST(a_failed_one_is_replaced_then_given_up_and_its_cause_kept),
        TEST(a_guest_that_is_nobodys_is_to_stop_and_one_of_a_later_term_is_not),
        cmocka_unit_test(a_change_is_full_before_long_manifests_are_too_large_for_the_store),
        TEST(a_removed_service_is_gone_when_nothing_of_it_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
