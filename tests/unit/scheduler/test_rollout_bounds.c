/* Invariant I2 under random histories: the decisions of reconcile and rollout are applied one by
 * one to a small simulated fleet whose guests boot, fail, hang and restart and whose nodes go
 * silent, while somebody scales, deploys, pauses, promotes and aborts; the bounds are checked
 * around every single action. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "scheduler/rollout.h"

#define SEEDS          300
#define STEPS          400
#define CALM_STEPS     2000
#define INSTANCES_MAX  4000
#define NODES          3
#define MIN_HEALTHY_MS 300

struct guest {
    struct reconcile_instance view;
    uint32_t revision;
    uint32_t rollout;
    uint32_t node;
    uint32_t restarts;
    bool was_healthy;
    bool ended;
};

struct fleet {
    unsigned seed;
    uint64_t now_ms;
    struct guest guests[INSTANCES_MAX];
    size_t guest_count;
    uint64_t silent_since[NODES]; /* 0: live */
    bool left[NODES];             /* drained */
    uint32_t replicas, surge, unavailable, canary;
    bool promoted, auto_promote, stop_first;
    uint32_t revision;       /* newest */
    uint32_t good;           /* what a rollout returns to; 0: nothing */
    uint32_t rollout_number; /* of the last */
    uint32_t from, to;
    bool restarts; /* the last rollout replaces all, whatever they are of */
    enum rollout_phase phase;
    struct rollout_clock clock;
    bool room;
    /* What is handed to reconcile, and whom each value stands for. */
    struct reconcile_instance views[INSTANCES_MAX];
    size_t owners[INSTANCES_MAX];
    size_t view_count;
};

static uint32_t random_below(struct fleet *fleet, uint32_t bound)
{
    return (uint32_t)rand_r(&fleet->seed) % bound;
}

static bool chance(struct fleet *fleet, uint32_t percent)
{
    return random_below(fleet, 100) < percent;
}

static void deploy(struct fleet *fleet, uint32_t to)
{
    fleet->rollout_number++;
    fleet->from = fleet->good;
    fleet->to = to;
    fleet->restarts = false;
    fleet->promoted = fleet->canary == 0;
    fleet->phase = ROLLOUT_PROGRESSING;
    fleet->clock = (struct rollout_clock){0};
}

static void restart(struct fleet *fleet)
{
    uint32_t target = rollout_target(fleet->phase, fleet->from, fleet->to);
    deploy(fleet, target);
    fleet->restarts = true;
}

/* Canaries that are to be judged now. */
static uint32_t canaries(const struct fleet *fleet)
{
    if (fleet->promoted || fleet->good == 0 || fleet->restarts || fleet->to == fleet->good)
        return 0;
    return fleet->canary < fleet->replicas ? fleet->canary : fleet->replicas;
}

static enum reconcile_mode mode(const struct fleet *fleet)
{
    return rollout_mode(fleet->phase, canaries(fleet));
}

static bool matches(const struct fleet *fleet, const struct guest *guest)
{
    if (fleet->phase == ROLLOUT_FAILED)
        return true;
    if (fleet->restarts &&
        (fleet->phase == ROLLOUT_PROGRESSING || fleet->phase == ROLLOUT_PAUSED) &&
        guest->rollout != fleet->rollout_number)
        return false;
    return guest->revision == rollout_target(fleet->phase, fleet->from, fleet->to);
}

static void collect(struct fleet *fleet)
{
    fleet->view_count = 0;
    for (size_t i = 0; i < fleet->guest_count; i++) {
        struct guest *guest = &fleet->guests[i];
        if (guest->ended)
            continue;
        uint64_t since = fleet->silent_since[guest->node];
        guest->view.matches = matches(fleet, guest);
        guest->view.replaceable = guest->revision == fleet->good;
        guest->view.silent = since != 0;
        guest->view.leaving =
            fleet->left[guest->node] && !instance_state_is_over(guest->view.state);
        guest->view.lost = since != 0 && fleet->now_ms > since + 500;
        fleet->owners[fleet->view_count] = i;
        fleet->views[fleet->view_count++] = guest->view;
    }
}

static struct reconcile_input reconcile_input(struct fleet *fleet)
{
    collect(fleet);
    return (struct reconcile_input){.mode = mode(fleet),
                                    .replicas = fleet->replicas,
                                    .canary = canaries(fleet),
                                    .max_surge = fleet->surge,
                                    .max_unavailable = fleet->unavailable,
                                    .stop_first = fleet->stop_first,
                                    .min_healthy_time_ms = MIN_HEALTHY_MS,
                                    .reschedule = {1000, 50, 200},
                                    .instances = fleet->views,
                                    .instance_count = fleet->view_count,
                                    .no_room = !fleet->room,
                                    .now_ms = fleet->now_ms};
}

static int64_t count_ready(const struct fleet *fleet)
{
    int64_t count = 0;
    for (size_t i = 0; i < fleet->guest_count; i++)
        count += !fleet->guests[i].ended && fleet->guests[i].view.wish == WISH_RUN &&
                 fleet->guests[i].view.state == INSTANCE_READY &&
                 fleet->silent_since[fleet->guests[i].node] == 0;
    return count;
}

static int64_t count_not_stopped(const struct fleet *fleet)
{
    int64_t count = 0;
    for (size_t i = 0; i < fleet->guest_count; i++)
        count += !fleet->guests[i].ended && fleet->silent_since[fleet->guests[i].node] == 0 &&
                 !instance_state_is_over(fleet->guests[i].view.state);
    return count;
}

static void end_if_over(struct guest *guest)
{
    guest->ended = guest->view.wish == WISH_STOP && instance_state_is_over(guest->view.state);
}

static uint32_t pick_live_node(struct fleet *fleet)
{
    uint32_t first = random_below(fleet, NODES);
    for (uint32_t i = 0; i < NODES; i++) {
        uint32_t node = (first + i) % NODES;
        if (fleet->silent_since[node] == 0 && !fleet->left[node])
            return node;
    }
    return NODES;
}

/* Canaries stand beside the others: as long as they are judged they need room of their own. */
static int64_t most(const struct fleet *fleet)
{
    bool beside = mode(fleet) == RECONCILE_CANARY || mode(fleet) == RECONCILE_PAUSED;
    uint32_t more = fleet->surge + (beside ? canaries(fleet) : 0);
    return (int64_t)fleet->replicas + (fleet->stop_first ? 0 : more);
}

/* Something of the slot may run: it has the slot's volumes. */
static bool slot_is_occupied(const struct fleet *fleet, uint32_t slot)
{
    for (size_t i = 0; i < fleet->guest_count; i++) {
        const struct guest *guest = &fleet->guests[i];
        if (!guest->ended && guest->view.slot == slot && !guest->view.lost &&
            !instance_state_is_over(guest->view.state))
            return true;
    }
    return false;
}

static bool slot_is_served(const struct fleet *fleet, uint32_t slot)
{
    for (size_t i = 0; i < fleet->view_count; i++) {
        const struct reconcile_instance *view = &fleet->views[i];
        if (view->slot == slot && view->wish == WISH_RUN && !view->lost && !view->leaving &&
            !instance_state_is_over(view->state))
            return true;
    }
    return false;
}

static void create(struct fleet *fleet, const struct reconcile_action *action)
{
    uint32_t node = pick_live_node(fleet);
    if (fleet->phase == ROLLOUT_PAUSED && action->instance == RECONCILE_NONE &&
        canaries(fleet) == 0)
        assert_false(slot_is_served(fleet, action->slot));
    if (!fleet->room || node == NODES)
        return;
    assert_true(count_not_stopped(fleet) < most(fleet));
    assert_true(action->slot < fleet->replicas);
    if (fleet->stop_first)
        assert_false(slot_is_occupied(fleet, action->slot));
    if (action->instance != RECONCILE_NONE) {
        struct guest *replaced = &fleet->guests[fleet->owners[action->instance]];
        replaced->view.wish = WISH_STOP;
        end_if_over(replaced);
    }
    assert_true(fleet->guest_count < INSTANCES_MAX);
    struct guest *guest = &fleet->guests[fleet->guest_count++];
    uint32_t target = rollout_target(fleet->phase, fleet->from, fleet->to);
    *guest = (struct guest){.node = node,
                            .revision = action->of_good && fleet->good != 0 ? fleet->good : target,
                            .rollout = fleet->rollout_number};
    guest->view.slot = action->slot;
    guest->view.attempt = action->attempt;
}

static void end(struct fleet *fleet, const struct reconcile_action *action)
{
    struct guest *guest = &fleet->guests[fleet->owners[action->instance]];
    assert_true(guest->view.wish < WISH_STOP);
    if (fleet->phase == ROLLOUT_PAUSED && guest->view.wish == WISH_RUN)
        assert_true(guest->view.slot >= fleet->replicas || guest->view.leaving);
    guest->view.wish = action->kind == RECONCILE_DRAIN ? WISH_DRAIN : WISH_STOP;
    end_if_over(guest);
}

static void apply(struct fleet *fleet, const struct reconcile_action *action)
{
    int64_t before = count_ready(fleet);
    if (action->kind == RECONCILE_CREATE)
        create(fleet, action);
    else if (action->kind != RECONCILE_GIVE_UP)
        end(fleet, action);
    int64_t after = count_ready(fleet);
    if (after < before)
        assert_true(after >= (int64_t)fleet->replicas -
                                 (fleet->stop_first ? 1 : (int64_t)fleet->unavailable));
}

static uint32_t worst_failures(const struct fleet *fleet)
{
    uint32_t failures[64] = {0}, worst = 0;
    for (size_t i = 0; i < fleet->guest_count; i++) {
        const struct guest *guest = &fleet->guests[i];
        if (guest->rollout != fleet->rollout_number || guest->revision != fleet->to)
            continue;
        uint32_t *slot = &failures[guest->view.slot];
        *slot += guest->restarts + (guest->view.state == INSTANCE_FAILED);
        worst = *slot > worst ? *slot : worst;
    }
    return worst;
}

static bool note_healthy(struct fleet *fleet)
{
    bool became = false;
    for (size_t i = 0; i < fleet->guest_count; i++) {
        struct guest *guest = &fleet->guests[i];
        if (guest->was_healthy || guest->ended || !guest->view.matches ||
            !reconcile_is_healthy(&guest->view, MIN_HEALTHY_MS, fleet->now_ms))
            continue;
        guest->was_healthy = true;
        became = true;
    }
    return became;
}

static void advance_rollout(struct fleet *fleet, const struct reconcile_counts *counts)
{
    if (rollout_phase_is_over(fleet->phase))
        return;
    struct rollout_decision decision;
    struct rollout_input input = {.phase = fleet->phase,
                                  .from = fleet->from,
                                  .to = fleet->to,
                                  .replicas = fleet->replicas,
                                  .canary = canaries(fleet),
                                  .settings = {.max_surge = fleet->surge,
                                               .max_unavailable = fleet->unavailable,
                                               .min_healthy_time_ms = MIN_HEALTHY_MS,
                                               .progress_deadline_ms = 3000,
                                               .auto_rollback = true,
                                               .auto_promote = fleet->auto_promote,
                                               .canary_time_ms = 500},
                                  .counts = *counts,
                                  .slot_failures = worst_failures(fleet),
                                  .last_failure = "",
                                  .became_healthy = note_healthy(fleet),
                                  .now_ms = fleet->now_ms};
    rollout_decide(&input, &fleet->clock, &decision);
    if (decision.phase == fleet->phase)
        return;
    assert_true(rollout_phase_may_move(fleet->phase, decision.phase));
    fleet->phase = decision.phase;
    fleet->promoted = fleet->promoted || decision.promotes;
    if (decision.phase == ROLLOUT_SUCCEEDED)
        fleet->good = fleet->to;
    if (decision.phase == ROLLOUT_ROLLING_BACK)
        fleet->clock = (struct rollout_clock){0};
}

static void decide(struct fleet *fleet)
{
    struct reconcile_result result;
    struct reconcile_input input = reconcile_input(fleet);
    reconcile_decide(&input, &result);
    advance_rollout(fleet, &result.counts);
    reconcile_result_release(&result);
    /* The target may have changed. */
    input = reconcile_input(fleet);
    reconcile_decide(&input, &result);
    for (size_t i = 0; i < result.action_count; i++)
        apply(fleet, &result.actions[i]);
    reconcile_result_release(&result);
}

/* --- the world --- */

static void restart_or_fail(struct fleet *fleet, struct guest *guest)
{
    if (guest->restarts >= 4 || chance(fleet, 20)) {
        guest->view.state = INSTANCE_FAILED;
        guest->view.failed_ms = fleet->now_ms;
    } else {
        guest->view.state = INSTANCE_STARTING;
        guest->restarts++;
    }
}

static void move_guest(struct fleet *fleet, struct guest *guest, uint32_t trouble)
{
    if (fleet->silent_since[guest->node] != 0)
        return;
    if (guest->view.wish == WISH_DRAIN && chance(fleet, 50))
        guest->view.drained = true;
    if (guest->view.wish == WISH_STOP) {
        if (chance(fleet, 50))
            guest->view.state = INSTANCE_STOPPED;
    } else if (instance_state_is_over(guest->view.state)) {
        return;
    } else if (chance(fleet, trouble) || (trouble > 0 && guest->revision % 3 == 0)) {
        if (chance(fleet, 30))
            restart_or_fail(fleet, guest);
    } else if (guest->view.state == INSTANCE_READY) {
        if (chance(fleet, trouble))
            guest->view.state = INSTANCE_RUNNING;
    } else if (chance(fleet, 50)) {
        guest->view.state =
            guest->view.state == INSTANCE_PENDING ? INSTANCE_STARTING : INSTANCE_READY;
        guest->view.ready_since_ms = fleet->now_ms;
    }
    end_if_over(guest);
}

static void move_world(struct fleet *fleet, uint32_t trouble)
{
    fleet->now_ms += 1 + random_below(fleet, 100);
    for (size_t i = 0; i < fleet->guest_count; i++) {
        if (!fleet->guests[i].ended)
            move_guest(fleet, &fleet->guests[i], trouble);
    }
    for (uint32_t node = 0; node < NODES; node++) {
        if (fleet->silent_since[node] != 0 && (trouble == 0 || chance(fleet, 10)))
            fleet->silent_since[node] = 0;
        else if (trouble > 0 && chance(fleet, 1))
            fleet->silent_since[node] = fleet->now_ms;
    }
    if (trouble > 0 && chance(fleet, 2)) {
        uint32_t node = random_below(fleet, NODES);
        fleet->left[node] = !fleet->left[node];
    }
    fleet->room = trouble == 0 || chance(fleet, 90);
}

static void meddle(struct fleet *fleet)
{
    if (chance(fleet, 3))
        fleet->replicas = random_below(fleet, 7);
    if (chance(fleet, 3))
        deploy(fleet, ++fleet->revision);
    if (fleet->good != 0 && chance(fleet, 2))
        restart(fleet);
    /* Back, perhaps out of a restart that is not over. */
    if (fleet->good != 0 && chance(fleet, 3))
        deploy(fleet, fleet->good);
    if (fleet->good != 0 && chance(fleet, 1))
        deploy(fleet, 1 + random_below(fleet, fleet->revision));
}

/* What a person may ask of a rollout that runs. */
static void steer(struct fleet *fleet, uint32_t trouble)
{
    if (fleet->phase == ROLLOUT_PAUSED) {
        if (chance(fleet, trouble > 0 ? 5 : 50))
            fleet->phase = ROLLOUT_PROGRESSING;
    } else if (trouble > 0 && chance(fleet, 2) &&
               rollout_phase_may_move(fleet->phase, ROLLOUT_PAUSED)) {
        fleet->phase = ROLLOUT_PAUSED;
    }
    if (fleet->phase == ROLLOUT_AWAITING_PROMOTION && chance(fleet, 5)) {
        fleet->phase = ROLLOUT_PROGRESSING;
        fleet->promoted = true;
    }
    bool back = fleet->from != 0 && fleet->from != fleet->to;
    if (trouble > 0 && chance(fleet, 1) && back && !rollout_phase_is_over(fleet->phase) &&
        fleet->phase != ROLLOUT_ROLLING_BACK) {
        fleet->phase = ROLLOUT_ROLLING_BACK;
        fleet->clock = (struct rollout_clock){0};
    }
}

static void check_settled(struct fleet *fleet)
{
    struct reconcile_result result;
    struct reconcile_input input = reconcile_input(fleet);
    reconcile_decide(&input, &result);
    assert_int_equal(result.action_count, 0);
    assert_true(rollout_phase_is_over(fleet->phase));
    if (fleet->phase != ROLLOUT_FAILED) {
        assert_int_equal(result.counts.healthy, fleet->replicas);
        assert_int_equal(result.counts.not_stopped, fleet->replicas);
    }
    reconcile_result_release(&result);
}

static void run_history(struct fleet *fleet, unsigned seed)
{
    *fleet = (struct fleet){.seed = seed, .now_ms = 1000, .room = true};
    fleet->replicas = 1 + random_below(fleet, 5);
    fleet->surge = random_below(fleet, 3);
    fleet->unavailable = fleet->surge == 0 ? 1 : random_below(fleet, 3);
    fleet->canary = random_below(fleet, 4);
    fleet->auto_promote = chance(fleet, 50);
    fleet->stop_first = chance(fleet, 20);
    if (fleet->stop_first)
        fleet->canary = 0;
    deploy(fleet, ++fleet->revision);
    for (int step = 0; step < STEPS; step++) {
        move_world(fleet, 5);
        meddle(fleet);
        steer(fleet, 5);
        decide(fleet);
    }
    for (uint32_t node = 0; node < NODES; node++)
        fleet->left[node] = node == 0;
    for (int step = 0; step < CALM_STEPS; step++) {
        move_world(fleet, 0);
        steer(fleet, 0);
        decide(fleet);
    }
    check_settled(fleet);
}

static void no_action_breaks_the_bounds_and_calm_ends_every_rollout(void **state)
{
    (void)state;
    struct fleet *fleet = calloc(1, sizeof *fleet);
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        print_message("%s", seed % 100 == 0 ? "." : "");
        run_history(fleet, seed);
    }
    free(fleet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_action_breaks_the_bounds_and_calm_ends_every_rollout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
