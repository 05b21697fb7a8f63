#include "scheduler/views.h"
#include "tests/unit/scheduler/controller_fixture.h"

static size_t count_in(const char *text, const char *wanted)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, wanted)) != NULL; at += strlen(wanted))
        count++;
    return count;
}

static void instances_come_in_pages_in_order_of_their_ids(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 3);
    struct views_page asked = {.namespace_name = "default", .service = "s", .limit = 2};
    AUTO_FREE char *first = views_instances(&fixture->core, &asked);
    assert_int_equal(count_in(first, "\"id\""), 2);
    assert_non_null(strstr(first, "\"000100000002\""));
    asked.after = "000100000002";
    AUTO_FREE char *second = views_instances(&fixture->core, &asked);
    assert_int_equal(count_in(second, "\"id\""), 1);
    assert_non_null(strstr(second, "\"000100000003\""));
    asked.after = "000100000003";
    AUTO_FREE char *last = views_instances(&fixture->core, &asked);
    assert_string_equal(last, "{\"instances\":[]}");
}

static void without_a_limit_all_come_and_those_that_wait_for_room_behind_them(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 6); /* the node has 4 processors */
    AUTO_FREE char *all = views_instances(&fixture->core, &(struct views_page){0});
    assert_int_equal(count_in(all, "\"service\":\"s\""), 6);
    assert_int_equal(count_in(all, "\"cause\":\"no_capacity\""), 2);
    AUTO_FREE char *others = views_instances(
        &fixture->core, &(struct views_page){.namespace_name = "elsewhere", .service = "s"});
    assert_string_equal(others, "{\"instances\":[]}");
}

/* Who waits for a drain sees that somebody only cordoned the node meanwhile. */
static void a_node_that_is_cordoned_says_what_is_still_there(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    const struct model_node *known = model_node(&fixture->core.model, "a");
    for (int i = 0; i < 2; i++) {
        struct document_node *node = document_copy(DOCUMENT_NODE, known->document);
        node->eligibility = i == 0 ? NODE_ELIGIBLE : NODE_CORDONED;
        model_apply(&fixture->core.model, DOCUMENT_NODE, node, false, fixture->now_ms);
        AUTO_JSON struct json_object *view = views_node(&fixture->core, known);
        struct json_object *leaving = NULL;
        json_object_object_get_ex(view, "leaving", &leaving);
        assert_int_equal(json_object_get_int(leaving), 2 * i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(instances_come_in_pages_in_order_of_their_ids, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            without_a_limit_all_come_and_those_that_wait_for_room_behind_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_is_cordoned_says_what_is_still_there, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
