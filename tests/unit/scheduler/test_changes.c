#include "tests/unit/scheduler/controller_fixture.h"

struct large {
    struct fixture *fixture;
    unsigned instances;
    unsigned counters_behind; /* puts the counters behind so many instances; 0: not at all */
    bool splits;
    bool done;
    bool failed;
    uint64_t before; /* revision of the store */
    uint64_t after;
};

static void put_instance(struct change *change, unsigned number)
{
    struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
    snprintf(instance->id, sizeof instance->id, "0001%08x", number);
    strcpy(instance->namespace_name, "default");
    strcpy(instance->service, "s");
    change_put(change, DOCUMENT_INSTANCE, instance);
}

static int decide_large(struct change *change, void *data, struct error *error)
{
    (void)error;
    const struct large *large = data;
    for (unsigned i = 1; i <= large->instances; i++) {
        if (large->splits)
            change_may_split(change);
        assert_true(!large->splits || change_has_room(change, 2));
        put_instance(change, i);
        if (i == large->counters_behind)
            change_edit(change, DOCUMENT_COUNTERS, &large->fixture->core.model.counters);
    }
    return 0;
}

static void on_large_done(const struct error *error, void *data)
{
    struct large *large = data;
    large->done = true;
    large->failed = error != NULL;
}

static void on_list(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    (void)error;
    (void)documents;
    (void)count;
    (void)more;
    *(uint64_t *)data = revision;
}

static uint64_t revision_of_store(struct fixture *fixture)
{
    uint64_t revision = UINT64_MAX;
    store_list(fixture->core.store, "x", NULL, 1, on_list, &revision);
    while (revision == UINT64_MAX)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    return revision;
}

static void run(struct large *large)
{
    struct fixture *fixture = large->fixture;
    controller_stop(fixture->core.controller);
    large->before = revision_of_store(fixture);
    changes_decide(fixture->core.changes, decide_large, on_large_done, large);
    settle(fixture);
    assert_true(large->done);
    large->after = revision_of_store(fixture);
}

static void a_large_change_is_committed_in_pieces_and_told_of_once(void **state)
{
    struct fixture *fixture = *state;
    struct large large = {.fixture = fixture, .instances = 250, .splits = true};
    run(&large);
    assert_false(large.failed);
    assert_int_equal(fixture->core.model.instances.count, 250);
    assert_int_equal(large.after - large.before, 3);
}

static void without_a_place_to_cut_more_than_a_transaction_is_refused_as_a_whole(void **state)
{
    struct fixture *fixture = *state;
    struct large large = {.fixture = fixture, .instances = STORE_WRITES_MAX + 1};
    run(&large);
    assert_true(large.failed);
    assert_int_equal(fixture->core.model.instances.count, 0);
    assert_int_equal(large.after, large.before);
}

static void the_first_piece_that_fails_is_the_last(void **state)
{
    struct fixture *fixture = *state;
    struct large large = {
        .fixture = fixture, .instances = 350, .counters_behind = 150, .splits = true};
    changes_set_counters_at(fixture->core.changes, 12345); /* somebody else wrote them */
    run(&large);
    assert_true(large.failed);
    assert_int_equal(fixture->core.model.instances.count, 100);
    assert_int_equal(large.after - large.before, 1);
}

static void a_later_write_of_a_key_replaces_the_earlier_one_in_its_place(void **state)
{
    (void)state;
    struct change change = {0};
    for (unsigned i = 1; i <= 2000; i++) {
        change_may_split(&change);
        put_instance(&change, i);
    }
    struct document_instance *first = change.writes[0].document;
    struct document_instance *edited = change_edit(&change, DOCUMENT_INSTANCE, first);
    assert_ptr_equal(edited, first);
    put_instance(&change, 1000);
    change_remove(&change, DOCUMENT_INSTANCE, change.writes[1999].document);
    assert_int_equal(change.count, 2000);
    assert_true(change.writes[1999].removed);
    assert_int_equal(change.cut_count, 1999);
    change_finish(&change);
}

static int decide_one(struct change *change, void *data, struct error *error)
{
    (void)error;
    (void)data;
    put_instance(change, 1);
    return 0;
}

static void note_code(const struct error *error, void *data)
{
    *(int *)data = error != NULL ? (int)error->code : ERROR_NONE;
}

static void who_no_longer_leads_decides_nothing_and_says_so_to_those_who_wait(void **state)
{
    struct fixture *fixture = *state;
    struct changes *changes = fixture->core.changes;
    struct error error;
    int first = -1, second = -1, third = -1, fourth = -1;
    controller_stop(fixture->core.controller);
    settle(fixture);
    error_set(&error, ERROR_UNKNOWN, "it leads no more");
    changes_decide(changes, decide_one, note_code, &first);
    changes_decide(changes, decide_one, note_code, &second);
    changes_close(changes, &error);
    assert_int_equal(first, -1); /* on its way to the store */
    assert_int_equal(second, ERROR_UNKNOWN);
    changes_decide(changes, decide_one, note_code, &third);
    settle(fixture);
    assert_int_equal(first, ERROR_NONE);
    assert_int_equal(third, ERROR_UNKNOWN);
    changes_open(changes, 0);
    changes_decide(changes, decide_one, note_code, &fourth);
    settle(fixture);
    assert_int_equal(fourth, ERROR_NONE);
}

static void of_many_instances_those_that_go_together_are_gone_and_the_rest_stays_in_order(
    void **state)
{
    (void)state;
    struct model model;
    const unsigned count = 12000;
    model_init(&model);
    for (unsigned i = 1; i <= count; i++) {
        struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
        snprintf(instance->id, sizeof instance->id, "0001%08x", i);
        model_apply(&model, DOCUMENT_INSTANCE, instance, false, 1);
    }
    for (unsigned i = count; i >= 3; i -= 3) {
        struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
        snprintf(instance->id, sizeof instance->id, "0001%08x", i);
        model_apply(&model, DOCUMENT_INSTANCE, instance, true, 1);
        assert_null(model_instance(&model, "000100002ee0")); /* the last, at once */
    }
    model_settle(&model);
    assert_int_equal(model.instances.count, count - count / 3);
    for (unsigned i = 1; i <= count; i++) {
        char id[INSTANCE_ID_MAX];
        snprintf(id, sizeof id, "0001%08x", i);
        struct model_instance *instance = model_instance(&model, id);
        assert_int_equal(instance != NULL, i % 3 != 0);
        assert_true(instance == NULL || strcmp(instance->name, id) == 0);
    }
    model_finish(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_large_change_is_committed_in_pieces_and_told_of_once,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            without_a_place_to_cut_more_than_a_transaction_is_refused_as_a_whole, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(the_first_piece_that_fails_is_the_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_no_longer_leads_decides_nothing_and_says_so_to_those_who_wait, set_up, tear_down),
        cmocka_unit_test(
            of_many_instances_those_that_go_together_are_gone_and_the_rest_stays_in_order),
        cmocka_unit_test(a_later_write_of_a_key_replaces_the_earlier_one_in_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
