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
        cmocka_unit_test_setup_teardown(the_whole_has_what_is_not_published_yet, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
