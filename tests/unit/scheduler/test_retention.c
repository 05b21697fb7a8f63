/* What is kept of the past, and for how long. */
#include "tests/unit/scheduler/controller_fixture.h"

static void look(struct fixture *fixture, uint64_t later_ms)
{
    wake_at(fixture, later_ms);
    report(fixture, "a", INSTANCE_READY, 4000, 0);
}

static size_t ended(struct fixture *fixture)
{
    const struct sorted *instances = &service(fixture)->instances;
    size_t count = 0;
    for (size_t i = 0; i < instances->count; i++)
        count += model_instance_has_ended(instances->items[i]);
    return count;
}

static void as_many_revisions_as_history_says_are_kept_and_those_in_use(void **state)
{
    struct fixture *fixture = *state;
    char digest[2] = "A";
    fixture->settings = ", \"history\": 3";
    join(fixture, "a");
    for (int i = 0; i < 6; i++, digest[0]++) {
        deploy(fixture, digest, 0);
        wake_at(fixture, 11000);
    }
    wake_at(fixture, 11000);
    wake_at(fixture, 11000);
    const struct model_service *kept = service(fixture);
    assert_int_equal(kept->revision_count, 3);
    assert_int_equal(kept->revisions[0]->number, 4);
    /* A rollout whose revision is forgotten says nothing any more. */
    assert_int_equal(kept->rollout_count, 3);
    assert_int_equal(kept->rollouts[0]->to, 4);
}

static void five_ended_instances_of_a_slot_are_kept_and_an_hour_of_them(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, "a");
    char digest[2] = "A";
    for (int i = 0; i < 9; i++, digest[0]++) {
        deploy(fixture, digest, 1);
        for (int round = 0; round < 4; round++)
            look(fixture, 1000);
    }
    assert_int_equal(ended(fixture), 8);
    for (int round = 0; round < 12; round++)
        look(fixture, 9000); /* their addresses are free again */
    assert_int_equal(ended(fixture), 5);
    uint64_t again_ms = service(fixture)->retire_ms;
    assert_true(again_ms > fixture->now_ms + 1000000); /* and nobody looks until then */
    for (int round = 0; round < 4; round++) {
        fixture->now_ms += 1000000;
        look(fixture, 0);
    }
    look(fixture, 11000);
    assert_int_equal(ended(fixture), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_many_revisions_as_history_says_are_kept_and_those_in_use),
        TEST(five_ended_instances_of_a_slot_are_kept_and_an_hour_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
