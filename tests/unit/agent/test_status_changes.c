/* What a status leaves out because the scheduler knows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/status_changes.h"
#include "lib/xalloc.h"

static struct api_status sample(uint64_t sequence)
{
    struct api_status status = {.sequence = sequence};
    status.instances = xcalloc(2, sizeof *status.instances);
    status.instance_count = 2;
    strcpy(status.instances[0].id, "000100000001");
    strcpy(status.instances[1].id, "000100000002");
    for (size_t i = 0; i < 2; i++) {
        status.instances[i].state = INSTANCE_READY;
        status.instances[i].state_age_ms = 1000 * sequence;
        status.instances[i].uptime_ms = 2000 * sequence;
    }
    status.draining = xcalloc(1, sizeof *status.draining);
    status.draining_count = 1;
    strcpy(status.draining[0].id, "000100000001");
    status.draining[0].connections = 3;
    return status;
}

struct pair {
    struct api_status base, now;
};

static int set_up(void **state)
{
    struct pair *pair = xcalloc(1, sizeof *pair);
    struct api_status before = sample(4);
    status_changes_keep(&before, &pair->base);
    json_record_release(&api_status_record, &before);
    pair->now = sample(5);
    *state = pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;
    json_record_release(&api_status_record, &pair->base);
    json_record_release(&api_status_record, &pair->now);
    free(pair);
    return 0;
}

static void when_only_time_has_passed_nothing_is_listed(void **state)
{
    struct pair *pair = *state;
    status_changes_reduce(&pair->now, &pair->base);
    assert_int_equal(pair->now.base, 4);
    assert_int_equal(pair->now.instance_count, 0);
    assert_int_equal(pair->now.draining_count, 0);
    assert_true(pair->now.same_data_plane);
}

static void an_instance_that_changed_is_listed_alone(void **state)
{
    struct pair *pair = *state;
    pair->now.instances[1].state = INSTANCE_RUNNING;
    status_changes_reduce(&pair->now, &pair->base);
    assert_int_equal(pair->now.base, 4);
    assert_int_equal(pair->now.instance_count, 1);
    assert_string_equal(pair->now.instances[0].id, "000100000002");
}

/* Else nobody learned that it was unready in between. */
static void one_that_left_its_state_and_is_back_in_it_is_listed(void **state)
{
    struct pair *pair = *state;
    pair->now.instances[0].state_age_ms = 10;
    status_changes_reduce(&pair->now, &pair->base);
    assert_int_equal(pair->now.instance_count, 1);
}

static void connections_that_changed_are_told(void **state)
{
    struct pair *pair = *state;
    pair->now.draining[0].connections = 2;
    status_changes_reduce(&pair->now, &pair->base);
    assert_false(pair->now.same_data_plane);
    assert_int_equal(pair->now.draining_count, 1);
    assert_int_equal(pair->now.instance_count, 0);
}

static void where_an_instance_came_or_went_all_is_told(void **state)
{
    struct pair *pair = *state;
    pair->now.instance_count = 1;
    status_changes_reduce(&pair->now, &pair->base);
    assert_int_equal(pair->now.base, 0);
    assert_int_equal(pair->now.instance_count, 1);
    pair->now.instance_count = 2;
    strcpy(pair->now.instances[1].id, "000100000003");
    status_changes_reduce(&pair->now, &pair->base);
    assert_int_equal(pair->now.base, 0);
    assert_int_equal(pair->now.instance_count, 2);
}

static void without_a_base_all_is_told(void **state)
{
    struct pair *pair = *state;
    pair->base.sequence = 0;
    status_changes_reduce(&pair->now, &pair->base);
    assert_int_equal(pair->now.base, 0);
    assert_int_equal(pair->now.instance_count, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(when_only_time_has_passed_nothing_is_listed),
        TEST(an_instance_that_changed_is_listed_alone),
        TEST(one_that_left_its_state_and_is_back_in_it_is_listed),
        TEST(connections_that_changed_are_told),
        TEST(where_an_instance_came_or_went_all_is_told),
        TEST(without_a_base_all_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
