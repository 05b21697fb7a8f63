/* Controller, reports and what agents fetch, together over a real store, without HTTP: what a node
 * says goes in, documents and assignments come out. */
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
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/assignment.h"
#include "scheduler/capacity.h"
#include "scheduler/controller.h"
#include "scheduler/observation.h"
#include "scheduler/publication.h"
#include "scheduler/service_changes.h"
#include "scheduler/store_sqlite.h"

#define MIB (UINT64_C(1) << 20)

struct fixture {
    struct core core;
    struct clock clock;
    uint64_t now_ms;
    uv_loop_t loop;
    char directory[64];
    struct scheduler_options options;
    uint64_t sequence;
    bool lags; /* the data plane has not applied the latest endpoints */
    struct document_revision *revision;
    struct api_service_spec spec;
    struct api_change_answer answer;
};

static uint64_t test_now(const struct clock *clock)
{
    const struct fixture *fixture =
        (const void *)((const char *)clock - offsetof(struct fixture, clock));
    return fixture->now_ms;
}

static void on_applied(void *data)
{
    struct fixture *fixture = data;
    publication_update(fixture->core.publication);
    controller_wake(fixture->core.controller);
}

/* Until nothing is on its way any more: every commit that a step causes has come back. */
static void settle(struct fixture *fixture)
{
    for (int i = 0; i < 60; i++) {
        uv_sleep(1);
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    struct core *core = &fixture->core;
    strcpy(fixture->directory, "/tmp/shoal-controller.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    uv_loop_init(&fixture->loop);
    fixture->now_ms = 1000000;
    fixture->clock = (struct clock){test_now, test_now};
    fixture->options = (struct scheduler_options){.registry = "http://127.0.0.1:5000",
                                                  .network = "10.64.0.0/10",
                                                  .lease_ms = 10000,
                                                  .replace_after_ms = 30000};
    struct store_sqlite_options store = {fixture->directory, false};
    core->options = &fixture->options;
    core->loop = &fixture->loop;
    core->clock = &fixture->clock;
    core->revision_base = UINT64_C(1) << 32;
    assert_int_equal(store_sqlite_open(&fixture->loop, &store, &core->store, NULL), 0);
    model_init(&core->model);
    core->changes = changes_create(
        &(struct changes_options){core->store, &core->model, core->clock, on_applied, fixture});
    core->publication = publication_create(core);
    core->controller = controller_create(core);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    controller_stop(fixture->core.controller);
    settle(fixture);
    controller_destroy(fixture->core.controller);
    store_destroy(fixture->core.store);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    publication_destroy(fixture->core.publication);
    changes_destroy(fixture->core.changes);
    model_finish(&fixture->core.model);
    document_free(DOCUMENT_REVISION, fixture->revision);
    api_service_spec_release(&fixture->spec);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

static int decide_node(struct change *change, void *data, struct error *error)
{
    (void)error;
    const char *name = data;
    struct document_node *node = document_create(DOCUMENT_NODE);
    text_copy(node->name, sizeof node->name, name);
    snprintf(node->subnet, sizeof node->subnet, "10.64.%d.0/24", name[0] - 'a');
    node->machines = xcalloc(1, sizeof *node->machines);
    node->machine_count = 1;
    strcpy(node->machines[0].arch, "amd64");
    strcpy(node->machines[0].accel, "tcg");
    node->memory = 1024 * MIB;
    node->vcpus = 4;
    change_put(change, DOCUMENT_NODE, node);
    return 0;
}

/* A status that says `state` of every instance that the node is to run, and stopped of the rest. */
static void report(struct fixture *fixture, const char *name, enum instance_state state,
                   uint64_t age_ms, uint32_t restarts)
{
    struct model_node *node = model_node(&fixture->core.model, name);
    struct api_status status = {.sequence = ++fixture->sequence,
                                .term = 1,
                                .assignment_revision = node->assignment_revision,
                                .endpoints_revision = fixture->lags ? 0 : UINT64_MAX};
    status.instances = xcalloc(node->instances.count + 1, sizeof *status.instances);
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        struct api_observed_instance *seen = &status.instances[status.instance_count];
        if (model_instance_has_ended(instance))
            continue;
        bool stops = instance->document->wish == WISH_STOP;
        text_copy(seen->id, sizeof seen->id, instance->name);
        seen->state = stops ? INSTANCE_STOPPED : state;
        seen->state_age_ms = age_ms;
        seen->restarts = restarts;
        if (restarts > 0)
            strcpy(seen->cause, "guest_exit");
        status.instance_count++;
    }
    observation_take(&fixture->core, node, &status);
    json_record_release(&api_status_record, &status);
    settle(fixture);
}

static void join(struct fixture *fixture, const char *name)
{
    changes_decide(fixture->core.changes, decide_node, NULL, (void *)name);
    settle(fixture);
    report(fixture, name, INSTANCE_READY, 0, 0);
}

static int decide_deploy(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    struct service_apply apply = {&fixture->spec, fixture->revision};
    return service_changes_apply(&fixture->core, change, &apply, &fixture->answer, error);
}

static void deploy(struct fixture *fixture, const char *digest, uint32_t replicas)
{
    static const char json[] =
        "{\"service\": \"s\", \"image\": \"i\", \"reschedule\": {\"attempts\": 1},"
        " \"ports\": [{\"name\": \"http\", \"port\": 8080, \"publish\": 80}]}";
    AUTO_JSON struct json_object *object = NULL;
    document_free(DOCUMENT_REVISION, fixture->revision);
    api_service_spec_release(&fixture->spec);
    json_parse(json, strlen(json), &object, NULL);
    assert_int_equal(api_service_spec_decode(object, &fixture->spec, NULL), 0);
    fixture->spec.has_replicas = true;
    fixture->spec.replicas = replicas;
    struct document_revision *revision = document_create(DOCUMENT_REVISION);
    strcpy(revision->namespace_name, "default");
    strcpy(revision->service, "s");
    text_copy(revision->template_digest, sizeof revision->template_digest, digest);
    revision->template.resources = (struct api_resources){32 * MIB, 1};
    revision->template.stop = fixture->spec.stop;
    revision->template.ports = xcalloc(1, sizeof *revision->template.ports);
    revision->template.port_count = 1;
    revision->template.ports[0] = (struct api_port){.name = "http", .port = 8080};
    revision->platforms = xcalloc(1, sizeof *revision->platforms);
    revision->platform_count = 1;
    strcpy(revision->platforms[0].arch, "amd64");
    fixture->revision = revision;
    changes_decide(fixture->core.changes, decide_deploy, NULL, fixture);
    settle(fixture);
}

static struct model_service *service(struct fixture *fixture)
{
    return model_service(&fixture->core.model, "default", "s");
}

static size_t running_on(struct fixture *fixture, const char *name)
{
    const struct model_node *node = model_node(&fixture->core.model, name);
    size_t count = 0;
    for (size_t i = 0; i < node->instances.count; i++)
        count += ((struct model_instance *)node->instances.items[i])->document->wish == WISH_RUN;
    return count;
}

static size_t servers(struct fixture *fixture, enum api_server_state state)
{
    struct api_endpoints endpoints = {0};
    size_t count = 0;
    assignment_fill_endpoints(&fixture->core.model, &endpoints);
    for (size_t i = 0; i < endpoints.frontend_count; i++) {
        for (size_t j = 0; j < endpoints.frontends[i].server_count; j++)
            count += endpoints.frontends[i].servers[j].state == state;
    }
    json_record_release(&api_endpoints_record, &endpoints);
    return count;
}

static void wake_at(struct fixture *fixture, uint64_t later_ms)
{
    fixture->now_ms += later_ms;
    controller_wake(fixture->core.controller);
    settle(fixture);
}

static enum rollout_phase phase(struct fixture *fixture)
{
    return model_rollout(service(fixture))->phase;
}

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
    /* The data plane confirms, and shows no connection. */
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(old->document->wish, WISH_STOP);
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_true(model_instance_has_ended(old));
    assert_int_equal(servers(fixture, API_SERVER_DRAIN), 0);
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
    assert_int_equal(lost->document->wish, WISH_STOP);
    report(fixture, "a", INSTANCE_READY, 9000, 0);
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
    assert_non_null(strstr(node->assignment, "\"000100000009\""));
    assert_null(strstr(node->assignment, "\"000200000001\""));
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
        TEST(an_upgrade_drains_before_it_stops),
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
