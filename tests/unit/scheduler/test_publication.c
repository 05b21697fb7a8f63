#include "tests/unit/scheduler/controller_fixture.h"

#define FLEET 100 /* nodes from which on they are told at a pace */

static struct api_assignment read_assignment(struct fixture *fixture, const char *name,
                                             uint64_t after)
{
    struct api_assignment assignment = {0};
    AUTO_FREE char *text = assignment_of(fixture, name, after);
    assert_int_equal(json_parse_record(&api_assignment_record, text, strlen(text), JSON_LENIENT,
                                       &assignment, NULL),
                     0);
    return assignment;
}

static void release(struct api_assignment *assignment)
{
    json_record_release(&api_assignment_record, assignment);
}

static void who_has_a_revision_is_told_only_what_changed_since(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    struct api_assignment first = read_assignment(fixture, "a", 0);
    assert_true(first.full);
    assert_int_equal(first.instance_count, 2);
    deploy(fixture, "A", 3);
    struct api_assignment delta = read_assignment(fixture, "a", first.revision);
    assert_false(delta.full);
    assert_true(delta.revision > first.revision);
    /* The service's settings apply to all of it. */
    assert_int_equal(delta.instance_count, 3);
    assert_int_equal(delta.removed.count, 0);
    release(&first);
    release(&delta);
}

static void what_is_over_is_removed(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 5000, 0);
    wake_at(fixture, 5000);
    struct api_assignment before = read_assignment(fixture, "a", 0);
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 10000, 0);
    fixture->now_ms += 20000;
    report(fixture, "a", INSTANCE_READY, 30000, 0);
    report(fixture, "a", INSTANCE_READY, 31000, 0);
    struct api_assignment over = read_assignment(fixture, "a", before.revision);
    assert_false(over.full);
    assert_int_equal(over.removed.count, 1);
    release(&before);
    release(&over);
}

static void who_has_a_revision_of_before_this_start_is_told_the_whole(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    struct api_assignment whole = read_assignment(fixture, "a", fixture->core.revision_base - 5);
    assert_true(whole.full);
    assert_int_equal(whole.instance_count, 1);
    release(&whole);
}

static void who_has_what_was_before_the_removals_that_are_remembered_is_told_the_whole(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    struct model_node *node = model_node(&fixture->core.model, "a");
    uint64_t before = node->assignment_revision;
    for (unsigned i = 0; i <= REMOVED_KEPT; i++) {
        char id[INSTANCE_ID_MAX];
        snprintf(id, sizeof id, "0001%08x", 1000 + i);
        model_note_removed(node, id);
        publication_update(fixture->core.publication);
    }
    struct api_assignment whole = read_assignment(fixture, "a", before);
    assert_true(whole.full);
    struct api_assignment delta = read_assignment(fixture, "a", node->assignment_revision - 1);
    assert_false(delta.full);
    assert_int_equal(delta.removed.count, 1);
    assert_string_equal(delta.removed.items[0], "000100000408");
    release(&whole);
    release(&delta);
}

/* In a large fleet news wait for their turn: what is told before that lacks none of what runs. */
static void the_whole_has_what_is_not_published_yet(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    struct api_assignment first = read_assignment(fixture, "a", 0);
    struct model *model = &fixture->core.model;
    size_t before = model->nodes.count;
    void **nodes = model->nodes.items;
    void *fleet[FLEET];
    for (size_t i = 0; i < FLEET; i++)
        fleet[i] = nodes[0];
    model->nodes.items = fleet;
    model->nodes.count = FLEET;
    for (size_t i = 0; i < model->instances.count; i++)
        model_touch_assignment(model->instances.items[i]);
    struct api_assignment whole = read_assignment(fixture, "a", fixture->core.revision_base - 5);
    model->nodes.items = nodes;
    model->nodes.count = before;
    assert_true(whole.full);
    assert_int_equal(whole.instance_count, 2);
    release(&first);
    release(&whole);
}

static void each_is_written_as_common(const struct fixture *fixture, struct assignment_texts *texts)
{
    const struct model *model = &fixture->core.model;
    for (size_t i = 0; i < model->instances.count; i++) {
        AUTO_BUFFER struct buffer own = {0}, common = {0};
        assignment_append_instance(&own, model->instances.items[i]);
        assignment_append_common(&common, texts, model->instances.items[i]);
        assert_string_equal(buffer_text(&own), buffer_text(&common));
    }
}

/* Also behind what was kept of an earlier revision, and of settings that have changed. */
static void an_instance_is_told_by_what_is_common_as_it_would_be_alone(void **state)
{
    struct fixture *fixture = *state;
    struct assignment_texts *texts = assignment_texts_create();
    join(fixture, "a");
    deploy(fixture, "A", 4);
    assert_int_equal(fixture->core.model.instances.count, 4);
    each_is_written_as_common(fixture, texts);
    each_is_written_as_common(fixture, texts);
    struct model *model = &fixture->core.model;
    struct model_service *service = model_service(model, "default", "s");
    struct document_service *settings = document_copy(DOCUMENT_SERVICE, service->document);
    settings->spec.restart.max_backoff_ms++;
    model_apply(model, DOCUMENT_SERVICE, settings, false, fixture->now_ms);
    each_is_written_as_common(fixture, texts);
    struct document_revision *revision =
        document_copy(DOCUMENT_REVISION, model_revision(service, 1));
    json_map_set(&revision->template.env, "K", ",\"slot\":7,{\"id\":\"x\"");
    json_strings_add(&revision->template.args, ",\"address\":\"x\"");
    model_apply(model, DOCUMENT_REVISION, revision, false, fixture->now_ms);
    each_is_written_as_common(fixture, texts);
    each_is_written_as_common(fixture, texts);
    report(fixture, "a", INSTANCE_READY, 5000, 0);
    wake_at(fixture, 5000);
    deploy(fixture, "B", 4);
    each_is_written_as_common(fixture, texts);
    each_is_written_as_common(fixture, texts);
    assignment_texts_destroy(texts);
}

/* Who was told lately waits, and is told in its turn of all that came; others need not wait. */
static void who_was_told_lately_rests(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    join(fixture, "b");
    struct model *model = &fixture->core.model;
    struct model_node *a = model_node(model, "a"), *b = model_node(model, "b");
    for (struct model_node *node; (node = model_next_touched(model, 2000000, 0)) != NULL;)
        model_leave_touched(node);
    model_note_told(a, 2000000);
    model_touch_node(a);
    model_touch_node(b);
    assert_ptr_equal(model_next_touched(model, 2000100, 1000), b);
    model_leave_touched(b);
    assert_null(model_next_touched(model, 2000100, 1000));
    assert_true(a->is_touched);
    assert_int_equal(model_rest_ends(model, 1000), 2001000);
    assert_ptr_equal(model_next_touched(model, 2001000, 1000), a);
    model_leave_touched(a);
    assert_int_equal(model_rest_ends(model, 1000), UINT64_MAX);
    model_touch_node(a);
    assert_ptr_equal(model_next_touched(model, 2001000, 1000), a);
}

/* A revision whose image is the digest of its template's name. */
static void deploy_image(struct fixture *fixture, const char *name, uint32_t replicas)
{
    deploy_prepare(fixture, "s", name, replicas);
    struct document_revision *revision = fixture->revision;
    strcpy(revision->repository, "default/s");
    digest_of_bytes(name, strlen(name), revision->template.image_digest);
    changes_decide(fixture->core.changes, decide_deploy, NULL, fixture);
    settle(fixture);
}

/* What of images a node that has `after` is told to fetch; "": nothing. */
static void expect_prefetch(struct fixture *fixture, const char *node, uint64_t after,
                            const char *name)
{
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(name, strlen(name), digest);
    struct api_assignment assignment = read_assignment(fixture, node, after);
    assert_int_equal(assignment.prefetch_count, name[0] != '\0');
    if (assignment.prefetch_count > 0) {
        assert_string_equal(assignment.prefetch[0].repository, "default/s");
        assert_string_equal(assignment.prefetch[0].digest, digest);
        assert_string_equal(assignment.prefetch[0].arch, "amd64");
    }
    release(&assignment);
}

static void nodes_fetch_the_image_of_a_rollout_before_their_turn(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    join(fixture, "b");
    deploy_image(fixture, "A", 6);
    assert_true(running_on(fixture, "a") > 1 && running_on(fixture, "b") > 1);
    report(fixture, "a", INSTANCE_READY, 5000, 0);
    report(fixture, "b", INSTANCE_READY, 5000, 0);
    wake_at(fixture, 5000);
    struct api_assignment before[2] = {read_assignment(fixture, "a", 0),
                                       read_assignment(fixture, "b", 0)};
    assert_int_equal(before[0].prefetch_count, 0);
    /* One instance is new; both nodes are told what comes. */
    deploy_image(fixture, "B", 6);
    expect_prefetch(fixture, "a", before[0].revision, "B");
    expect_prefetch(fixture, "b", before[1].revision, "B");
    /* Another revision comes instead: of a first one nothing is left. */
    deploy_image(fixture, "C", 6);
    expect_prefetch(fixture, "a", before[0].revision, "C");
    /* When all are of it nothing is left to fetch. */
    for (int i = 0; i < 60 && phase(fixture) != ROLLOUT_SUCCEEDED; i++) {
        report(fixture, "a", INSTANCE_READY, 5000, 0);
        report(fixture, "b", INSTANCE_READY, 5000, 0);
        wake_at(fixture, 5000);
    }
    assert_int_equal(phase(fixture), ROLLOUT_SUCCEEDED);
    report(fixture, "a", INSTANCE_READY, 5000, 0);
    report(fixture, "b", INSTANCE_READY, 5000, 0);
    expect_prefetch(fixture, "a", 0, "");
    expect_prefetch(fixture, "b", 0, "");
    release(&before[0]);
    release(&before[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_has_a_revision_is_told_only_what_changed_since, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_over_is_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_a_revision_of_before_this_start_is_told_the_whole,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_has_what_was_before_the_removals_that_are_remembered_is_told_the_whole, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(nodes_fetch_the_image_of_a_rollout_before_their_turn,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_whole_has_what_is_not_published_yet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_instance_is_told_by_what_is_common_as_it_would_be_alone,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_was_told_lately_rests, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
