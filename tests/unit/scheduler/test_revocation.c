/* What happens to services when their image is no longer trusted: which ones that is, and how they
 * are stopped. */
#include "tests/unit/scheduler/controller_fixture.h"

#include "scheduler/affected.h"

/* --- what is marked is stopped --- */

static int decide_revoke(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    (void)error;
    struct document_revision *revision =
        change_edit(change, DOCUMENT_REVISION, service(fixture)->revisions[0]);
    strcpy(revision->revoked, "key ci was removed");
    return 0;
}

static void revoke_first_revision(struct fixture *fixture)
{
    changes_decide(fixture->core.changes, decide_revoke, NULL, fixture);
    settle(fixture);
}

static void a_revoked_revision_is_stopped_at_once_and_not_started_again(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    revoke_first_revision(fixture);
    assert_int_equal(running_on(fixture, "a"), 0);
    const struct model_instance *first = model_instance(&fixture->core.model, "000100000001");
    assert_int_equal(first->document->wish, WISH_STOP);
    assert_string_equal(first->document->cause, "trust_revoked");
    AUTO_FREE char *assignment = assignment_of(fixture, "a", 0);
    assert_non_null(strstr(assignment, "\"stop_cause\":\"trust_revoked\""));
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    wake_at(fixture, 600000);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(running_on(fixture, "a"), 0);
    assert_int_equal(fixture->core.model.counters.instances, 2);
    /* The same spec again, judged anew: it is lifted. */
    deploy(fixture, "A", 2);
    assert_true(fixture->answer.changed);
    assert_int_equal(fixture->answer.revision, 1);
    assert_string_equal(service(fixture)->revisions[0]->revoked, "");
    assert_int_equal(running_on(fixture, "a"), 2);
}

static void a_rollout_away_from_a_revoked_revision_goes_on(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    deploy(fixture, "B", 1);
    assert_int_equal(running_on(fixture, "a"), 2);
    revoke_first_revision(fixture);
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(phase(fixture), ROLLOUT_PROGRESSING);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
}

static void a_first_rollout_to_a_revoked_revision_fails(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    revoke_first_revision(fixture);
    wake_at(fixture, 1);
    assert_int_equal(phase(fixture), ROLLOUT_FAILED);
    assert_non_null(strstr(model_rollout(service(fixture))->reason, "key ci was removed"));
    assert_int_equal(running_on(fixture, "a"), 0);
}

static void nothing_goes_back_to_a_revoked_revision(void **state)
{
    struct fixture *fixture = *state;
    struct change change = {0};
    struct error error = ERROR_INIT;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    revoke_first_revision(fixture);
    assert_int_equal(
        service_changes_restart(&fixture->core, &change, "default", "s", &fixture->answer, &error),
        -1);
    assert_int_equal(error.code, ERROR_POLICY);
    assert_int_equal(
        service_changes_scale(&fixture->core, &change, "default", "s", 2, &fixture->answer, &error),
        -1);
    assert_int_equal(
        service_changes_scale(&fixture->core, &change, "default", "s", 0, &fixture->answer, &error),
        0);
    change_finish(&change);
    deploy(fixture, "B", 1);
    assert_int_equal(service_changes_rollback(&fixture->core, &change, "default", "s", 1,
                                              &fixture->answer, &error),
                     -1);
    assert_non_null(strstr(error.message, "revision 1 may not run: key ci was removed"));
    change_finish(&change);
}

/* --- which ones --- */

static void add_key(struct fixture *fixture, const char *name, struct trusted_key *ret_key)
{
    struct private_key *private = private_key_generate(NULL);
    struct public_key *public = private_key_public(private);
    struct api_key *key = document_create(DOCUMENT_KEY);
    strcpy(key->name, name);
    public_key_id(public, key->id);
    assert_int_equal(public_key_to_pem(public, &key->pem, NULL), 0);
    *ret_key = (struct trusted_key){0};
    strcpy(ret_key->name, name);
    strcpy(ret_key->id, key->id);
    model_apply(&fixture->core.model, DOCUMENT_KEY, key, false, 1);
    public_key_destroy(public);
    private_key_destroy(private);
}

static void add_policy(struct fixture *fixture, const char *json)
{
    AUTO_JSON struct json_object *object = NULL;
    struct api_policy *policy = document_create(DOCUMENT_POLICY);
    assert_int_equal(json_parse(json, strlen(json), &object, NULL), 0);
    assert_int_equal(api_policy_decode(object, policy, NULL), 0);
    model_apply(&fixture->core.model, DOCUMENT_POLICY, policy, false, 1);
}

/* Deploys an image of default/hello that was signed by those keys. */
static void deploy_signed(struct fixture *fixture, const struct trusted_key *one,
                          const struct trusted_key *other, uint64_t signed_at)
{
    join(fixture, "a");
    deploy(fixture, "A", 1);
    struct document_revision *revision = service(fixture)->revisions[0];
    strcpy(revision->repository, "default/hello");
    strcpy(revision->platforms[0].family, "shoal");
    if (one != NULL)
        policy_evidence_add_signature(&revision->platforms[0].evidence, one, signed_at);
    if (other != NULL)
        policy_evidence_add_signature(&revision->platforms[0].evidence, other, signed_at);
}

static size_t affected_without(struct fixture *fixture, const char *key,
                               struct api_affected *ret_first)
{
    struct affected affected;
    if (key != NULL)
        affected_by_key(&fixture->core, key, &affected);
    else
        affected_by_rules(&fixture->core, &affected);
    size_t count = affected.count;
    if (count > 0)
        *ret_first = affected.items[0].view;
    affected_release(&affected);
    return count;
}

static void a_service_depends_on_the_only_key_that_signed_it(void **state)
{
    struct fixture *fixture = *state;
    struct trusted_key ci, release;
    struct api_affected view = {0};
    add_key(fixture, "ci", &ci);
    add_key(fixture, "release", &release);
    deploy_signed(fixture, &ci, NULL, 0);
    assert_int_equal(affected_without(fixture, "release", &view), 0);
    assert_int_equal(affected_without(fixture, "ci", &view), 1);
    assert_string_equal(view.service, "s");
    assert_int_equal(view.revision, 1);
    assert_int_equal(view.instances, 1);
    assert_false(view.is_unknown);
    assert_int_equal(view.on_revoke, API_ON_REVOKE_KEEP);
    assert_int_equal(affected_without(fixture, NULL, &view), 0);
}

static void a_second_signature_is_enough_unless_the_policy_asks_for_both(void **state)
{
    struct fixture *fixture = *state;
    struct trusted_key ci, release;
    struct api_affected view = {0};
    add_key(fixture, "ci", &ci);
    add_key(fixture, "release", &release);
    deploy_signed(fixture, &ci, &release, 0);
    assert_int_equal(affected_without(fixture, "ci", &view), 0);
    add_policy(fixture,
               "{\"name\":\"two\",\"match\":[\"**\"],\"require\":2,\"on_revoke\":\"stop\"}");
    assert_int_equal(affected_without(fixture, "ci", &view), 1);
    assert_string_equal(view.policy, "two");
    assert_int_equal(view.on_revoke, API_ON_REVOKE_STOP);
    assert_non_null(strstr(view.reason, "only 1 did: release"));
}

static void age_is_no_reason_to_stop_what_runs(void **state)
{
    struct fixture *fixture = *state;
    struct trusted_key ci, release;
    struct api_affected view = {0};
    add_key(fixture, "ci", &ci);
    add_key(fixture, "release", &release);
    deploy_signed(fixture, &ci, NULL, 1);
    add_policy(fixture,
               "{\"name\":\"young\",\"match\":[\"**\"],\"max_age\":\"1s\",\"on_revoke\":\"stop\"}");
    assert_int_equal(affected_without(fixture, NULL, &view), 1);
    assert_int_equal(affected_without(fixture, "release", &view), 0);
    assert_int_equal(affected_without(fixture, "ci", &view), 1);
}

static void what_is_refused_anyway_is_not_the_keys_doing(void **state)
{
    struct fixture *fixture = *state;
    struct trusted_key ci;
    struct api_affected view = {0};
    add_key(fixture, "ci", &ci);
    deploy_signed(fixture, &ci, NULL, 0);
    add_policy(
        fixture,
        "{\"name\":\"p\",\"match\":[\"**\"],\"families\":[\"linux\"],\"on_revoke\":\"stop\"}");
    assert_int_equal(affected_without(fixture, NULL, &view), 1);
    assert_int_equal(affected_without(fixture, "ci", &view), 0);
    /* By what was kept: the registry is asked, which may have more by now. */
    struct affected affected;
    affected_by_key(&fixture->core, "ci", &affected);
    assert_int_equal(affected.doubtful, 1);
    assert_true(affected.items[affected.count].is_doubtful);
    affected_release(&affected);
}

static void without_evidence_nobody_knows(void **state)
{
    struct fixture *fixture = *state;
    struct trusted_key ci;
    struct api_affected view = {0};
    add_key(fixture, "ci", &ci);
    deploy_signed(fixture, NULL, NULL, 0);
    add_policy(fixture, "{\"name\":\"p\",\"match\":[\"**\"],\"on_revoke\":\"stop\"}");
    assert_int_equal(affected_without(fixture, "ci", &view), 1);
    assert_true(view.is_unknown);
}

/* --- what nodes are told --- */

static int decide_policy(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct api_policy *policy = document_create(DOCUMENT_POLICY);
    strcpy(policy->name, "p");
    json_strings_add(&policy->match, data);
    change_put(change, DOCUMENT_POLICY, policy);
    return 0;
}

static uint64_t trust_revision(struct fixture *fixture)
{
    struct api_assignment assignment = {0};
    AUTO_FREE char *text = assignment_of(fixture, "a", 0);
    assert_int_equal(json_parse_record(&api_assignment_record, text, strlen(text), JSON_LENIENT,
                                       &assignment, NULL),
                     0);
    uint64_t revision = assignment.trust_revision;
    json_record_release(&api_assignment_record, &assignment);
    return revision;
}

static void a_policy_moves_the_trust_revision_that_assignments_need(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    uint64_t before = trust_revision(fixture);
    changes_decide(fixture->core.changes, decide_policy, NULL, (void *)"default/*");
    settle(fixture);
    uint64_t first = trust_revision(fixture);
    assert_true(first > before);
    changes_decide(fixture->core.changes, decide_policy, NULL, (void *)"default/*");
    settle(fixture);
    assert_int_equal(trust_revision(fixture), first);
    changes_decide(fixture->core.changes, decide_policy, NULL, (void *)"team/*");
    settle(fixture);
    assert_true(trust_revision(fixture) > first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_revoked_revision_is_stopped_at_once_and_not_started_again),
        TEST(a_rollout_away_from_a_revoked_revision_goes_on),
        TEST(a_first_rollout_to_a_revoked_revision_fails),
        TEST(nothing_goes_back_to_a_revoked_revision),
        TEST(a_service_depends_on_the_only_key_that_signed_it),
        TEST(a_second_signature_is_enough_unless_the_policy_asks_for_both),
        TEST(age_is_no_reason_to_stop_what_runs),
        TEST(what_is_refused_anyway_is_not_the_keys_doing),
        TEST(without_evidence_nobody_knows),
        TEST(a_policy_moves_the_trust_revision_that_assignments_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
