/* Every phase of an instance with every event: what the table says holds together, and the
 * instance's functions do what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/instance.h"
#include "lib/log.h"

#define ID    "0001000000a7"
#define IMAGE "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct pair {
    enum instance_phase phase;
    enum instance_event event;
    const struct instance_step *step; /* NULL: none */
};

#define CHECK(pair, condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s + %s: not so: %s", instance_phase_names[(pair)->phase],                   \
                     instance_event_names[(pair)->event], #condition);                             \
    } while (0)

static void each_pair(void (*check)(const struct pair *pair))
{
    for (unsigned phase = 0; phase < INSTANCE_PHASE_COUNT; phase++) {
        for (unsigned event = 0; event < INSTANCE_EVENT_COUNT; event++) {
            struct pair pair = {phase, event, instance_machine_step(phase, event)};
            check(&pair);
        }
    }
}

static enum instance_vm vm_of(enum instance_phase phase)
{
    return instance_phase_facts(phase)->vm;
}

static bool is_over(enum instance_phase phase)
{
    return instance_state_is_over(instance_phase_facts(phase)->state);
}

static bool does(const struct pair *pair, unsigned actions)
{
    return pair->step != NULL && (pair->step->actions & actions) != 0;
}

/* --- the table --- */

static void every_phase_and_event_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < INSTANCE_PHASE_COUNT; i++)
        assert_non_null(instance_phase_names[i]);
    for (unsigned i = 0; i < INSTANCE_EVENT_COUNT; i++)
        assert_non_null(instance_event_names[i]);
    assert_null(instance_phase_names[INSTANCE_PHASE_COUNT]);
    assert_null(instance_event_names[INSTANCE_EVENT_COUNT]);
}

static void check_move(const struct pair *pair)
{
    if (pair->step == NULL || pair->event == INSTANCE_EVENT_FOUND)
        return;
    enum instance_state from = instance_phase_facts(pair->phase)->state;
    enum instance_state to = instance_phase_facts(pair->step->to)->state;
    CHECK(pair, from == to || instance_state_may_move(from, to));
}

static void the_scheduler_hears_only_of_moves_that_are_allowed(void **state)
{
    (void)state;
    each_pair(check_move);
}

static void check_actions(const struct pair *pair)
{
    if (pair->step == NULL)
        return;
    enum instance_vm before = vm_of(pair->phase), after = vm_of(pair->step->to);
    CHECK(pair, !does(pair, INSTANCE_PREPARE) || after == INSTANCE_VM_NONE);
    CHECK(pair, !does(pair, INSTANCE_BOOT) || before == INSTANCE_VM_NONE);
    CHECK(pair, does(pair, INSTANCE_BOOT) == (pair->step->to == INSTANCE_PHASE_BOOTING));
    CHECK(pair, !does(pair, INSTANCE_END | INSTANCE_KILL) || after == INSTANCE_VM_ENDING);
    CHECK(pair, !does(pair, INSTANCE_WATCH) || after == INSTANCE_VM_RUNNING);
    if (pair->event == INSTANCE_EVENT_FOUND) {
        CHECK(pair, pair->step->actions == 0);
        return;
    }
    if (before == INSTANCE_VM_RUNNING && after != INSTANCE_VM_RUNNING)
        CHECK(pair, does(pair, INSTANCE_UNWATCH));
    if (before != INSTANCE_VM_ENDING && after == INSTANCE_VM_ENDING)
        CHECK(pair, does(pair, INSTANCE_END | INSTANCE_KILL));
    if (before == INSTANCE_VM_BOOTING && after == INSTANCE_VM_RUNNING)
        CHECK(pair, does(pair, INSTANCE_WATCH));
}

static void actions_fit_what_the_microvm_does(void **state)
{
    (void)state;
    each_pair(check_actions);
}

static void check_stays_over(const struct pair *pair)
{
    if (is_over(pair->phase) && pair->step != NULL)
        CHECK(pair, is_over(pair->step->to));
}

static void what_is_over_stays_over(void **state)
{
    (void)state;
    each_pair(check_stays_over);
}

static bool has(enum instance_phase phase, enum instance_event event)
{
    return instance_machine_step(phase, event) != NULL;
}

static void the_end_of_a_microvm_is_heard_in_every_phase_that_has_one(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < INSTANCE_PHASE_COUNT; phase++) {
        bool is_asked_for = has(phase, INSTANCE_EVENT_GONE);
        bool is_loss = has(phase, INSTANCE_EVENT_LOST_AGAIN);
        assert_int_equal(is_loss, has(phase, INSTANCE_EVENT_LOST_FAILED));
        assert_int_equal(is_loss, has(phase, INSTANCE_EVENT_LOST_COMPLETED));
        assert_int_equal(has(phase, INSTANCE_EVENT_BROKEN_AGAIN),
                         has(phase, INSTANCE_EVENT_BROKEN_FAILED));
        assert_int_equal((int)is_asked_for + (int)is_loss, vm_of(phase) != INSTANCE_VM_NONE);
        assert_int_equal(has(phase, INSTANCE_EVENT_END_OVERDUE),
                         vm_of(phase) == INSTANCE_VM_ENDING);
    }
}

static void whatever_a_restarted_agent_finds_it_goes_on(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < INSTANCE_PHASE_COUNT; phase++) {
        const struct instance_step *found = instance_machine_step(phase, INSTANCE_EVENT_FOUND);
        assert_non_null(found);
        assert_true(vm_of(found->to) >= INSTANCE_VM_RUNNING);
        /* One that nobody has named is not in a record, and is left alone when it is found. */
        if (found->to != INSTANCE_PHASE_UNNAMED)
            assert_true(has(found->to, INSTANCE_EVENT_RESUMED));
        bool may_be_recorded = phase != INSTANCE_PHASE_NEW && phase != INSTANCE_PHASE_UNNAMED;
        bool is_settled = phase == INSTANCE_PHASE_STOPPED || phase == INSTANCE_PHASE_FAILED;
        if (may_be_recorded && !is_settled && vm_of(phase) != INSTANCE_VM_RUNNING)
            assert_true(has(phase, INSTANCE_EVENT_ABSENT));
    }
}

static enum instance_phase after(enum instance_phase phase, enum instance_event event)
{
    const struct instance_step *step = instance_machine_step(phase, event);
    return step != NULL ? step->to : phase;
}

static void a_stop_always_leads_to_an_end(void **state)
{
    (void)state;
    for (unsigned from = 0; from < INSTANCE_PHASE_COUNT; from++) {
        enum instance_phase phase = after(from, INSTANCE_EVENT_STOP);
        phase = after(phase, INSTANCE_EVENT_BOOTED);
        phase = after(phase, INSTANCE_EVENT_GONE);
        assert_true(phase == INSTANCE_PHASE_STOPPED || phase == INSTANCE_PHASE_FAILED);
    }
}

static void every_phase_can_be_reached(void **state)
{
    (void)state;
    bool reached[INSTANCE_PHASE_COUNT] = {[INSTANCE_PHASE_NEW] = true};
    for (unsigned round = 0; round < INSTANCE_PHASE_COUNT; round++) {
        for (unsigned phase = 0; phase < INSTANCE_PHASE_COUNT; phase++) {
            for (unsigned event = 0; reached[phase] && event < INSTANCE_EVENT_COUNT; event++)
                reached[after(phase, event)] = true;
        }
    }
    for (unsigned phase = 0; phase < INSTANCE_PHASE_COUNT; phase++)
        assert_true(reached[phase]);
}

/* --- the functions --- */

struct fake_clock {
    struct clock clock; /* first */
    uint64_t now_ms;
};

static uint64_t read_fake(const struct clock *clock)
{
    return ((const struct fake_clock *)clock)->now_ms;
}

static struct fake_clock fake = {{read_fake, read_fake}, 1000000};

static unsigned assign(struct instance *instance, enum api_wanted wanted)
{
    struct api_assigned_instance assigned = {.id = ID, .wanted = wanted, .image_digest = IMAGE};
    assigned.restart = instance->assigned.restart;
    return instance_assign(instance, &assigned);
}

static unsigned change_checks(struct instance *instance)
{
    struct api_assigned_instance assigned = instance->assigned;
    memset(&assigned.args, 0, sizeof assigned.args);
    assigned.health.has_liveness = true;
    assigned.health.liveness.has_tcp = true;
    return instance_assign(instance, &assigned);
}

static unsigned lose(struct instance *instance, enum instance_event event)
{
    struct api_restart *restart = &instance->assigned.restart;
    restart->attempts = event == INSTANCE_EVENT_LOST_AGAIN ? 3 : 0;
    restart->policy =
        event == INSTANCE_EVENT_LOST_COMPLETED ? API_RESTART_ON_FAILURE : API_RESTART_ALWAYS;
    return instance_ended(instance, HOST_END_GUEST_EXIT, "");
}

static unsigned move_image(struct instance *instance, enum instance_state to)
{
    instance_image_moved(instance, to, "", "");
    return 0;
}

static unsigned find_it(struct instance *instance)
{
    instance->is_recalled = true;
    instance_adopted(instance, IMAGE, 10, false);
    return 0;
}

static unsigned miss_it(struct instance *instance)
{
    instance->is_recalled = true;
    return instance_resume(instance);
}

static unsigned tick_late(struct instance *instance)
{
    instance->restart_at_ms = instance->end_check_ms = fake.now_ms;
    return instance_tick(instance);
}

static unsigned break_it(struct instance *instance, uint32_t attempts)
{
    instance->assigned.restart.attempts = attempts;
    return instance_became_unhealthy(instance, "no answer");
}

/* Makes `event` happen by the function that stands for it. */
static unsigned happen(struct instance *instance, enum instance_event event)
{
    switch (event) {
    case INSTANCE_EVENT_RUN:
        return assign(instance, API_WANTED_RUN);
    case INSTANCE_EVENT_STOP:
        return assign(instance, API_WANTED_STOP);
    case INSTANCE_EVENT_PAUSE:
        if (instance->phase == INSTANCE_PHASE_READY)
            return assign(instance, API_WANTED_STANDBY);
        instance->assigned.wanted = API_WANTED_STANDBY;
        return instance_became_ready(instance);
    case INSTANCE_EVENT_CHECKS_CHANGED:
        return change_checks(instance);
    case INSTANCE_EVENT_IMAGE_FETCHING:
        return move_image(instance, INSTANCE_FETCHING);
    case INSTANCE_EVENT_IMAGE_VERIFYING:
        return move_image(instance, INSTANCE_VERIFYING);
    case INSTANCE_EVENT_IMAGE_READY:
        return instance_image_ready(instance);
    case INSTANCE_EVENT_IMAGE_FAILED:
        return instance_image_failed(instance, "image_not_found", "");
    case INSTANCE_EVENT_BOOTED:
        return instance_booted(instance);
    case INSTANCE_EVENT_PAUSED:
        instance->assigned.wanted = API_WANTED_STANDBY;
        return instance_paused(instance);
    case INSTANCE_EVENT_BOOT_REFUSED:
        return instance_boot_refused(instance, "");
    case INSTANCE_EVENT_GONE:
        instance->restart_at_ms = fake.now_ms + 1000;
        return instance_ended(instance, HOST_END_STOPPED, "");
    case INSTANCE_EVENT_LOST_AGAIN:
    case INSTANCE_EVENT_LOST_FAILED:
    case INSTANCE_EVENT_LOST_COMPLETED:
        return lose(instance, event);
    case INSTANCE_EVENT_BROKEN_AGAIN:
        return break_it(instance, 3);
    case INSTANCE_EVENT_BROKEN_FAILED:
        return break_it(instance, 0);
    case INSTANCE_EVENT_READY:
        return instance_became_ready(instance);
    case INSTANCE_EVENT_UNREADY:
        return instance_became_unready(instance, "");
    case INSTANCE_EVENT_RESTART_DUE:
    case INSTANCE_EVENT_END_OVERDUE:
        return tick_late(instance);
    case INSTANCE_EVENT_FOUND:
        return find_it(instance);
    case INSTANCE_EVENT_UNPAUSED:
        return instance_resume(instance);
    case INSTANCE_EVENT_RESUMED:
        instance->is_paused = instance->phase == INSTANCE_PHASE_STANDBY;
        return instance_resume(instance);
    case INSTANCE_EVENT_ABSENT:
        return miss_it(instance);
    case INSTANCE_EVENT_COUNT:
        break;
    }
    return 0;
}

static void check_function(const struct pair *pair)
{
    if (pair->step == NULL)
        return;
    struct instance instance;
    instance_init(&instance, ID, &fake.clock);
    instance.phase = pair->phase;
    instance.assigned.restart = (struct api_restart){.attempts = 3, .backoff_ms = 1000};
    unsigned actions = happen(&instance, pair->event);
    CHECK(pair, instance.phase == pair->step->to);
    CHECK(pair, actions == pair->step->actions);
    instance_finish(&instance);
}

static void functions_do_what_the_table_says(void **state)
{
    (void)state;
    each_pair(check_function);
}

/* A function that knows a way round is looked at in test_instance.c. */
static bool has_another_way(enum instance_event event)
{
    switch (event) {
    case INSTANCE_EVENT_IMAGE_READY: /* verifying comes first where it did not yet */
    case INSTANCE_EVENT_GONE:        /* it is a loss where nobody asked for it, and the reverse */
    case INSTANCE_EVENT_LOST_AGAIN:
    case INSTANCE_EVENT_LOST_FAILED:
    case INSTANCE_EVENT_LOST_COMPLETED:
    case INSTANCE_EVENT_RESTART_DUE: /* one function looks at all deadlines */
    case INSTANCE_EVENT_END_OVERDUE:
    case INSTANCE_EVENT_UNPAUSED: /* resumed otherwise */
    case INSTANCE_EVENT_RESUMED:  /* there is a microVM, or there is none */
    case INSTANCE_EVENT_ABSENT:
    case INSTANCE_EVENT_CHECKS_CHANGED: /* a first assignment brings checks as well */
        return true;
    default:
        return false;
    }
}

static void check_ignored(const struct pair *pair)
{
    if (pair->step != NULL || has_another_way(pair->event))
        return;
    struct instance instance;
    instance_init(&instance, ID, &fake.clock);
    instance.phase = pair->phase;
    strcpy(instance.cause, "as_before");
    unsigned actions = happen(&instance, pair->event);
    CHECK(pair, instance.phase == pair->phase);
    CHECK(pair, actions == 0);
    CHECK(pair, instance.restarts == 0);
    instance_finish(&instance);
}

static void what_is_not_in_the_table_changes_nothing(void **state)
{
    (void)state;
    each_pair(check_ignored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_phase_and_event_has_a_name),
        cmocka_unit_test(the_scheduler_hears_only_of_moves_that_are_allowed),
        cmocka_unit_test(actions_fit_what_the_microvm_does),
        cmocka_unit_test(what_is_over_stays_over),
        cmocka_unit_test(the_end_of_a_microvm_is_heard_in_every_phase_that_has_one),
        cmocka_unit_test(whatever_a_restarted_agent_finds_it_goes_on),
        cmocka_unit_test(a_stop_always_leads_to_an_end),
        cmocka_unit_test(every_phase_can_be_reached),
        cmocka_unit_test(functions_do_what_the_table_says),
        cmocka_unit_test(what_is_not_in_the_table_changes_nothing),
    };
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
