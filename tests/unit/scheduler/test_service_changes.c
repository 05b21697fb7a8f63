/* Promise 7, and what else people do to services: each change is decided on a model in memory and
 * applied to it as after a commit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/service_changes.h"

struct fixture {
    struct core core;
    struct change change;
    struct api_change_answer answer;
    struct error error;
};

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    struct changes_options options = {.model = &fixture->core.model, .clock = clock_system()};
    model_init(&fixture->core.model);
    fixture->core.clock = clock_system();
    fixture->core.changes = changes_create(&options);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    model_finish(&fixture->core.model);
    changes_destroy(fixture->core.changes);
    free(fixture);
    return 0;
}

static int apply_change(struct fixture *fixture, int result)
{
    for (size_t i = 0; i < fixture->change.count && result == 0; i++) {
        struct change_write *write = &fixture->change.writes[i];
        model_apply(&fixture->core.model, write->kind, write->document, write->removed, 1);
        write->document = NULL;
    }
    change_finish(&fixture->change);
    return result;
}

/* Deploys `name` with the template `digest`; `settings` is further JSON. */
static int deploy(struct fixture *fixture, const char *name, const char *digest,
                  const char *settings)
{
    AUTO_FREE char *json = xasprintf("{\"service\": \"%s\", \"image\": \"i\"%s}", name, settings);
    AUTO_JSON struct json_object *object = NULL;
    struct api_service_spec spec = {0};
    struct document_revision revision = {0};
    assert_int_equal(json_parse(json, strlen(json), &object, NULL), 0);
    assert_int_equal(api_service_spec_decode(object, &spec, &fixture->error), 0);
    text_copy(revision.namespace_name, sizeof revision.namespace_name, "default");
    text_copy(revision.service, sizeof revision.service, name);
    text_copy(revision.template_digest, sizeof revision.template_digest, digest);
    struct service_apply apply = {&spec, &revision};
    int result = service_changes_apply(&fixture->core, &fixture->change, &apply, &fixture->answer,
                                       &fixture->error);
    api_service_spec_release(&spec);
    return apply_change(fixture, result);
}

static int rollback(struct fixture *fixture, uint32_t to)
{
    return apply_change(fixture,
                        service_changes_rollback(&fixture->core, &fixture->change, "default", "s",
                                                 to, &fixture->answer, &fixture->error));
}

static const struct document_rollout *last_rollout(struct fixture *fixture)
{
    return model_rollout(model_service(&fixture->core.model, "default", "s"));
}

/* As the controller does when a rollout ends. */
static void end_rollout(struct fixture *fixture, enum rollout_phase phase)
{
    struct model_service *service = model_service(&fixture->core.model, "default", "s");
    struct document_rollout *rollout =
        change_edit(&fixture->change, DOCUMENT_ROLLOUT, last_rollout(fixture));
    rollout->phase = phase;
    if (phase == ROLLOUT_SUCCEEDED) {
        struct document_service *document =
            change_edit(&fixture->change, DOCUMENT_SERVICE, service->document);
        document->good = rollout->to;
    }
    apply_change(fixture, 0);
}

static void deploy_ok(struct fixture *fixture, const char *digest)
{
    assert_int_equal(deploy(fixture, "s", digest, ""), 0);
    end_rollout(fixture, ROLLOUT_SUCCEEDED);
}

static void a_first_deploy_has_nothing_to_return_to(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(deploy(fixture, "s", "A", ""), 0);
    assert_true(fixture->answer.changed);
    assert_int_equal(fixture->answer.revision, 1);
    assert_int_equal(fixture->answer.replicas, 1);
    assert_int_equal(last_rollout(fixture)->from, 0);
}

static void the_same_spec_again_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    assert_int_equal(deploy(fixture, "s", "A", ""), 0);
    assert_false(fixture->answer.changed);
    assert_int_equal(fixture->answer.rollout, 0);
}

static void settings_apply_in_place(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    assert_int_equal(deploy(fixture, "s", "A", ", \"history\": 7"), 0);
    assert_true(fixture->answer.changed);
    assert_int_equal(fixture->answer.rollout, 0);
    assert_int_equal(fixture->answer.revision, 1);
    assert_int_equal(model_service(&fixture->core.model, "default", "s")->document->spec.history,
                     7);
}

static void another_template_is_a_new_revision_and_a_rollout(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    assert_int_equal(deploy(fixture, "s", "B", ""), 0);
    assert_int_equal(fixture->answer.revision, 2);
    assert_int_equal(last_rollout(fixture)->from, 1);
    assert_int_equal(last_rollout(fixture)->to, 2);
}

static void replicas_left_out_stay_as_they_were_scaled(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    assert_int_equal(
        apply_change(fixture, service_changes_scale(&fixture->core, &fixture->change, "default",
                                                    "s", 5, &fixture->answer, NULL)),
        0);
    assert_int_equal(deploy(fixture, "s", "B", ""), 0);
    assert_int_equal(fixture->answer.replicas, 5);
    assert_int_equal(deploy(fixture, "s", "B", ", \"replicas\": 2"), 0);
    assert_int_equal(fixture->answer.replicas, 2);
}

static void deploying_over_a_running_rollout_supersedes_it(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    deploy(fixture, "s", "B", "");
    assert_int_equal(deploy(fixture, "s", "C", ""), 0);
    const struct model_service *service = model_service(&fixture->core.model, "default", "s");
    assert_int_equal(service->rollouts[1]->phase, ROLLOUT_SUPERSEDED);
    assert_string_equal(service->rollouts[1]->reason, "superseded by rollout 3");
    /* Back goes to what worked, not to what was being tried. */
    assert_int_equal(last_rollout(fixture)->from, 1);
}

static void what_was_rolled_back_can_be_deployed_again(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    deploy(fixture, "s", "B", "");
    end_rollout(fixture, ROLLOUT_ROLLED_BACK);
    assert_int_equal(model_target(model_service(&fixture->core.model, "default", "s")), 1);
    assert_int_equal(deploy(fixture, "s", "B", ""), 0);
    assert_int_equal(fixture->answer.revision, 3);
    end_rollout(fixture, ROLLOUT_FAILED);
    assert_int_equal(deploy(fixture, "s", "B", ""), 0);
    assert_int_equal(fixture->answer.revision, 3);
    assert_int_not_equal(fixture->answer.rollout, 0);
}

static void rollback_takes_the_newest_other_that_succeeded(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    deploy_ok(fixture, "B");
    deploy(fixture, "s", "C", "");
    end_rollout(fixture, ROLLOUT_FAILED);
    deploy_ok(fixture, "D");
    assert_int_equal(rollback(fixture, 0), 0);
    assert_int_equal(last_rollout(fixture)->to, 2);
    assert_string_equal(last_rollout(fixture)->kind, "rollback");
    end_rollout(fixture, ROLLOUT_SUCCEEDED);
    assert_int_equal(rollback(fixture, 0), 0);
    assert_int_equal(last_rollout(fixture)->to, 4);
    assert_int_equal(rollback(fixture, 3), 0);
    assert_int_equal(last_rollout(fixture)->to, 3);
}

static void rollback_to_an_unknown_revision_lists_those_kept(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    deploy_ok(fixture, "B");
    assert_int_equal(rollback(fixture, 9), -1);
    assert_int_equal(fixture->error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(fixture->error.message, "kept are 1, 2"));
    assert_int_equal(rollback(fixture, 2), 0);
    assert_false(fixture->answer.changed);
}

static void a_restart_goes_from_a_revision_to_itself(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    assert_int_equal(
        apply_change(fixture, service_changes_restart(&fixture->core, &fixture->change, "default",
                                                      "s", &fixture->answer, NULL)),
        0);
    assert_int_equal(last_rollout(fixture)->from, 1);
    assert_int_equal(last_rollout(fixture)->to, 1);
}

static void a_restart_of_what_has_not_worked_yet_returns_to_what_did(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    assert_int_equal(deploy(fixture, "s", "B", ""), 0);
    assert_int_equal(
        apply_change(fixture, service_changes_restart(&fixture->core, &fixture->change, "default",
                                                      "s", &fixture->answer, NULL)),
        0);
    assert_int_equal(last_rollout(fixture)->from, 1);
    assert_int_equal(last_rollout(fixture)->to, 2);
}

static void a_published_port_is_one_services_alone(void **state)
{
    struct fixture *fixture = *state;
    const char *ports = ", \"ports\": [{\"name\": \"a\", \"port\": 80, \"publish\": 8080}]";
    assert_int_equal(deploy(fixture, "s", "A", ports), 0);
    assert_int_equal(deploy(fixture, "s", "A", ports), 0);
    assert_int_equal(deploy(fixture, "other", "A", ports), -1);
    assert_int_equal(fixture->error.code, ERROR_CONFLICT);
    assert_string_equal(fixture->error.pointer, "/ports/0/publish");
    assert_non_null(strstr(fixture->error.message, "service s"));
}

static void a_service_being_removed_takes_no_changes(void **state)
{
    struct fixture *fixture = *state;
    deploy(fixture, "s", "A", "");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            apply_change(fixture, service_changes_remove(&fixture->core, &fixture->change,
                                                         "default", "s", &fixture->answer, NULL)),
            0);
        assert_int_equal(fixture->answer.changed, i == 0);
    }
    assert_int_equal(last_rollout(fixture)->phase, ROLLOUT_SUPERSEDED);
    assert_int_equal(deploy(fixture, "s", "B", ""), -1);
    assert_int_equal(fixture->error.code, ERROR_CONFLICT);
    assert_int_equal(rollback(fixture, 1), -1);
}

static void three_hundred_revisions_are_in_numeric_order_and_all_can_be_returned_to(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 1; i <= 300; i++) {
        AUTO_FREE char *digest = xasprintf("%u", i);
        deploy_ok(fixture, digest);
    }
    const struct model_service *service = model_service(&fixture->core.model, "default", "s");
    assert_int_equal(service->revision_count, 300);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(service->revisions[i]->number, i + 1);
        assert_int_equal(service->rollouts[i]->number, i + 1);
        assert_ptr_equal(model_revision(service, (uint32_t)i + 1), service->revisions[i]);
    }
    assert_int_equal(rollback(fixture, 0), 0);
    assert_int_equal(last_rollout(fixture)->to, 299);
    assert_int_equal(rollback(fixture, 7), 0);
    assert_int_equal(last_rollout(fixture)->to, 7);
    char near[64], far[64];
    document_key(DOCUMENT_REVISION, service->revisions[254], near, sizeof near);
    document_key(DOCUMENT_REVISION, service->revisions[255], far, sizeof far);
    assert_true(strcmp(near, far) < 0);
}

static void a_pinned_digest_survives_its_tag(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    /* The same words, and the tag stands for another image now: a change. */
    deploy_ok(fixture, "B");
    assert_int_equal(fixture->answer.revision, 2);
    const struct model_service *service = model_service(&fixture->core.model, "default", "s");
    assert_string_equal(service->revisions[0]->image, service->revisions[1]->image);
    assert_int_equal(rollback(fixture, 1), 0);
    assert_string_equal(model_revision(service, last_rollout(fixture)->to)->template_digest, "A");
    assert_int_equal(service->revision_count, 2);
}

/* --- steering a rollout --- */

typedef int steering(struct core *core, struct change *change, const char *namespace_name,
                     const char *service, struct api_change_answer *ret_answer,
                     struct error *error);

static int steer(struct fixture *fixture, steering *how)
{
    return apply_change(fixture, how(&fixture->core, &fixture->change, "default", "s",
                                     &fixture->answer, &fixture->error));
}

static void a_rollout_is_paused_and_resumed_once_each(void **state)
{
    struct fixture *fixture = *state;
    deploy_ok(fixture, "A");
    assert_int_equal(deploy(fixture, "s", "B", ""), 0);
    assert_int_equal(steer(fixture, service_changes_pause), 0);
    assert_true(fixture->answer.changed);
    assert_int_equal(fixture->answer.rollout, 2);
    assert_int_equal(last_rollout(fixture)->phase, ROLLOUT_PAUSED);
    assert_int_equal(steer(fixture, service_changes_pause), 0);
    assert_false(fixture->answer.changed);
    assert_int_equal(steer(fixture, service_changes_promote), -1);
    assert_int_equal(steer(fixture, service_changes_resume), 0);
    assert_int_equal(last_rollout(fixture)->phase, ROLLOUT_PROGRESSING);
    assert_int_equal(steer(fixture, service_changes_resume), 0);
    assert_false(fixture->answer.changed);
}

static void nothing_is_steered_where_nothing_is_rolled_out(void **state)
{
    struct fixture *fixture = *state;
    steering *const ways[] = {service_changes_pause, service_changes_resume,
                              service_changes_promote, service_changes_abort};
    deploy_ok(fixture, "A");
    for (size_t i = 0; i < ARRAY_LENGTH(ways); i++) {
        assert_int_equal(steer(fixture, ways[i]), -1);
        assert_int_equal(fixture->error.code, ERROR_CONFLICT);
    }
}

static void abort_goes_back_from_every_phase_that_has_a_way_back(void **state)
{
    struct fixture *fixture = *state;
    static const enum rollout_phase phases[] = {ROLLOUT_PROGRESSING, ROLLOUT_PAUSED,
                                                ROLLOUT_AWAITING_PROMOTION};
    deploy_ok(fixture, "A");
    for (size_t i = 0; i < ARRAY_LENGTH(phases); i++) {
        AUTO_FREE char *digest = xasprintf("B%zu", i);
        assert_int_equal(deploy(fixture, "s", digest, ""), 0);
        end_rollout(fixture, phases[i]);
        assert_int_equal(steer(fixture, service_changes_abort), 0);
        assert_int_equal(last_rollout(fixture)->phase, ROLLOUT_ROLLING_BACK);
        assert_int_equal(last_rollout(fixture)->ended_ms, 0);
        assert_string_equal(last_rollout(fixture)->reason, "aborted; back to revision 1");
        assert_int_equal(steer(fixture, service_changes_abort), 0);
        assert_false(fixture->answer.changed);
        assert_int_equal(steer(fixture, service_changes_pause), -1);
        end_rollout(fixture, ROLLOUT_ROLLED_BACK);
    }
}

static void an_aborted_first_deploy_has_failed_and_so_has_a_restart(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(deploy(fixture, "s", "A", ""), 0);
    assert_int_equal(steer(fixture, service_changes_abort), 0);
    assert_int_equal(last_rollout(fixture)->phase, ROLLOUT_FAILED);
    assert_true(last_rollout(fixture)->ended_ms != 0);
    deploy_ok(fixture, "A");
    assert_int_equal(
        apply_change(fixture, service_changes_restart(&fixture->core, &fixture->change, "default",
                                                      "s", &fixture->answer, &fixture->error)),
        0);
    assert_int_equal(steer(fixture, service_changes_abort), 0);
    assert_int_equal(last_rollout(fixture)->phase, ROLLOUT_FAILED);
}

static void a_held_rollout_is_superseded_by_the_next_deploy(void **state)
{
    struct fixture *fixture = *state;
    static const enum rollout_phase phases[] = {ROLLOUT_PAUSED, ROLLOUT_AWAITING_PROMOTION};
    deploy_ok(fixture, "A");
    for (size_t i = 0; i < ARRAY_LENGTH(phases); i++) {
        AUTO_FREE char *digest = xasprintf("B%zu", i);
        AUTO_FREE char *next = xasprintf("C%zu", i);
        assert_int_equal(deploy(fixture, "s", digest, ""), 0);
        uint32_t held = last_rollout(fixture)->number;
        end_rollout(fixture, phases[i]);
        assert_int_equal(deploy(fixture, "s", next, ""), 0);
        const struct model_service *service = model_service(&fixture->core.model, "default", "s");
        const struct document_rollout *before = service->rollouts[service->rollout_count - 2];
        assert_int_equal(before->number, held);
        assert_int_equal(before->phase, ROLLOUT_SUPERSEDED);
        assert_int_equal(last_rollout(fixture)->from, 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_first_deploy_has_nothing_to_return_to),
        TEST(the_same_spec_again_changes_nothing),
        TEST(settings_apply_in_place),
        TEST(another_template_is_a_new_revision_and_a_rollout),
        TEST(replicas_left_out_stay_as_they_were_scaled),
        TEST(deploying_over_a_running_rollout_supersedes_it),
        TEST(what_was_rolled_back_can_be_deployed_again),
        TEST(rollback_takes_the_newest_other_that_succeeded),
        TEST(rollback_to_an_unknown_revision_lists_those_kept),
        TEST(a_restart_goes_from_a_revision_to_itself),
        TEST(a_restart_of_what_has_not_worked_yet_returns_to_what_did),
        TEST(a_published_port_is_one_services_alone),
        TEST(a_service_being_removed_takes_no_changes),
        TEST(three_hundred_revisions_are_in_numeric_order_and_all_can_be_returned_to),
        TEST(a_pinned_digest_survives_its_tag),
        TEST(a_rollout_is_paused_and_resumed_once_each),
        TEST(nothing_is_steered_where_nothing_is_rolled_out),
        TEST(abort_goes_back_from_every_phase_that_has_a_way_back),
        TEST(an_aborted_first_deploy_has_failed_and_so_has_a_restart),
        TEST(a_held_rollout_is_superseded_by_the_next_deploy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
