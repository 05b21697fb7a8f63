/* How many nodes are told of their news at once, and when the others are: on a clock of the
 * test's own, with nodes that all wait for news. */
#include "tests/unit/scheduler/controller_fixture.h"

#define SMALL_FLEET 99  /* is told at once */
#define FLEET       250 /* is told in rounds */
#define LARGE_FLEET 4000
#define A_ROUND     100 /* answers that it has at most */
#define ROUND_MS    5   /* between two, at least */
#define FILLED_MS   250 /* without a new instance a fleet counts as filled */

/* A wakeup that only remembers for when it was set. */
struct alarm {
    struct wakeup wakeup;
    uint64_t wait_ms; /* UINT64_MAX: it is not set */
};

static struct wakeup *alarm_create(void *source)
{
    struct alarm *alarm = source;
    alarm->wait_ms = UINT64_MAX;
    return &alarm->wakeup;
}

static void alarm_set(struct wakeup *wakeup, uint64_t wait_ms)
{
    ((struct alarm *)wakeup)->wait_ms = wait_ms;
}

static void alarm_clear(struct wakeup *wakeup)
{
    alarm_set(wakeup, UINT64_MAX);
}

static void alarm_destroy(struct wakeup *wakeup)
{
    (void)wakeup; /* the test's */
}

static const struct wakeup_implementation alarms = {alarm_create, alarm_set, alarm_clear,
                                                    alarm_destroy};

struct fleet {
    struct fixture *fixture;
    struct publication *publication;
    struct alarm alarm;
    uint64_t answer_ms; /* that each answer takes */
    size_t told;
};

/* One node's poll. */
static void on_told(enum publication_news news, const char *text, void *data)
{
    struct fleet *fleet = data;
    (void)text;
    assert_int_equal(news, PUBLICATION_DOCUMENT);
    fleet->told++;
    fleet->fixture->now_ms += fleet->answer_ms;
}

static void add_node(struct fleet *fleet, size_t number)
{
    struct document_node *node = document_create(DOCUMENT_NODE);
    snprintf(node->name, sizeof node->name, "n%05zu", number);
    strcpy(node->subnet, "10.64.0.0/24");
    model_apply(&fleet->fixture->core.model, DOCUMENT_NODE, node, false, fleet->fixture->now_ms);
}

/* All of them wait for what comes behind what they have. */
static void wait_all(struct fleet *fleet)
{
    struct core *core = &fleet->fixture->core;
    for (size_t i = 0; i < core->model.nodes.count; i++) {
        struct model_node *node = core->model.nodes.items[i];
        struct publication_poll poll = {.kind = PUBLICATION_ASSIGNMENT,
                                        .has_after = true,
                                        .after = node->assignment_revision,
                                        .term = store_identity(core->store)->term,
                                        .answer = on_told,
                                        .data = fleet};
        if (LIST_EMPTY(&node->waiters))
            publication_poll(fleet->publication, node, &poll);
    }
}

static void begin(struct fleet *fleet, void **state, size_t count)
{
    *fleet = (struct fleet){.fixture = *state};
    struct core *core = &fleet->fixture->core;
    struct wakeup_source loop = core->wakeups;
    core->wakeups = (struct wakeup_source){&alarms, &fleet->alarm};
    fleet->publication = publication_create(core);
    core->wakeups = loop;
    for (size_t i = 0; i < count; i++)
        add_node(fleet, i);
    core->model.placed_ms = fleet->fixture->now_ms - FILLED_MS;
    while (core->model.nodes.count > 0 && !TAILQ_EMPTY(&core->model.touched_nodes)) {
        publication_update(fleet->publication);
        fleet->fixture->now_ms += LARGE_FLEET;
    }
    wait_all(fleet);
    fleet->told = 0;
}

static void end(struct fleet *fleet)
{
    publication_destroy(fleet->publication);
}

/* Something that all of them are to know: an orphan each, say. */
static void touch_all(struct fleet *fleet)
{
    struct model *model = &fleet->fixture->core.model;
    for (size_t i = 0; i < model->nodes.count; i++) {
        ((struct model_node *)model->nodes.items[i])->orphans_revision = 0;
        model_touch_node(model->nodes.items[i]);
    }
}

/* How many are told after so long. */
static size_t told_in(struct fleet *fleet, uint64_t later_ms)
{
    size_t before = fleet->told;
    fleet->fixture->now_ms += later_ms;
    publication_update(fleet->publication);
    return fleet->told - before;
}

/* Instances are being placed, all the time. */
static void fill(struct fleet *fleet)
{
    fleet->fixture->core.model.placed_ms = fleet->fixture->now_ms + 10000;
}

static void a_small_fleet_is_told_at_once(void **state)
{
    struct fleet fleet;
    begin(&fleet, state, SMALL_FLEET);
    fill(&fleet);
    touch_all(&fleet);
    assert_int_equal(told_in(&fleet, 0), SMALL_FLEET);
    assert_int_equal(fleet.alarm.wait_ms, UINT64_MAX);
    end(&fleet);
}

static void a_fleet_that_is_filled_is_told_in_rounds(void **state)
{
    struct fleet fleet;
    begin(&fleet, state, FLEET);
    touch_all(&fleet);
    assert_int_equal(told_in(&fleet, 1000), A_ROUND);
    assert_int_equal(fleet.alarm.wait_ms, ROUND_MS);
    assert_int_equal(told_in(&fleet, 0), 0);
    assert_int_equal(fleet.alarm.wait_ms, ROUND_MS);
    assert_int_equal(told_in(&fleet, 2), 0); /* a change in between does not make it earlier */
    assert_int_equal(fleet.alarm.wait_ms, ROUND_MS - 2);
    assert_int_equal(told_in(&fleet, ROUND_MS - 2), A_ROUND);
    assert_int_equal(told_in(&fleet, ROUND_MS), FLEET - 2 * A_ROUND);
    fleet.alarm.wait_ms = UINT64_MAX;
    assert_int_equal(told_in(&fleet, ROUND_MS), 0);
    assert_int_equal(fleet.alarm.wait_ms, UINT64_MAX);
    end(&fleet);
}

static void while_it_is_filled_answers_come_evenly(void **state)
{
    struct fleet fleet;
    begin(&fleet, state, FLEET);
    fill(&fleet);
    touch_all(&fleet);
    assert_int_equal(told_in(&fleet, 1000), A_ROUND);
    assert_int_equal(told_in(&fleet, ROUND_MS), ROUND_MS); /* one a millisecond */
    assert_int_equal(told_in(&fleet, 20), 20);
    assert_int_equal(fleet.alarm.wait_ms, ROUND_MS);
    end(&fleet);
}

static void who_was_told_while_it_is_filled_rests_and_misses_nothing(void **state)
{
    struct fleet fleet;
    begin(&fleet, state, FLEET);
    fill(&fleet);
    touch_all(&fleet);
    assert_int_equal(told_in(&fleet, 1000), A_ROUND);
    wait_all(&fleet);
    touch_all(&fleet);
    /* First those that were not told yet; those that were, one time for each node later. */
    assert_int_equal(told_in(&fleet, A_ROUND), A_ROUND);
    assert_int_equal(told_in(&fleet, A_ROUND), FLEET - 2 * A_ROUND);
    assert_int_equal(told_in(&fleet, FLEET - 2 * A_ROUND - 1), 0);
    assert_true(fleet.alarm.wait_ms <= ROUND_MS);
    assert_int_equal(told_in(&fleet, ROUND_MS), A_ROUND);
    end(&fleet);
}

static void a_round_ends_when_it_has_taken_its_time(void **state)
{
    struct fleet fleet;
    begin(&fleet, state, FLEET);
    touch_all(&fleet);
    fleet.answer_ms = 2;
    assert_int_equal(told_in(&fleet, 1000), 3);
    assert_int_equal(fleet.alarm.wait_ms, ROUND_MS);
    assert_int_equal(told_in(&fleet, ROUND_MS - 1), 0); /* which counts from its end */
    assert_int_equal(told_in(&fleet, 1), 3);
    end(&fleet);
}

static void the_larger_the_fleet_the_longer_between_two_rounds(void **state)
{
    struct fleet fleet;
    begin(&fleet, state, LARGE_FLEET);
    touch_all(&fleet);
    assert_int_equal(told_in(&fleet, 1000), A_ROUND);
    assert_int_equal(fleet.alarm.wait_ms, LARGE_FLEET / 400);
    assert_int_equal(told_in(&fleet, LARGE_FLEET / 400 - 1), 0);
    assert_int_equal(told_in(&fleet, 1), A_ROUND);
    end(&fleet);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_small_fleet_is_told_at_once),
        TEST(a_fleet_that_is_filled_is_told_in_rounds),
        TEST(while_it_is_filled_answers_come_evenly),
        TEST(who_was_told_while_it_is_filled_rests_and_misses_nothing),
        TEST(a_round_ends_when_it_has_taken_its_time),
        TEST(the_larger_the_fleet_the_longer_between_two_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
