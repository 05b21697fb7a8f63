/* Every order: requests, ends, lost ends, refusals, timers, two workers' threads and agents that
 * come and go, drawn from a seed. Whatever happened, each request is answered once, each boot that
 * worked has one end, and nothing is left of what was forgotten. SEEDS=N tries more, SEED=N one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/guests_bench.h"
#include "tests/sim/draw.h"

#define GUESTS 3
#define STEPS  60

static const char *const ids[GUESTS] = {"000100000001", "000100000002", "000100000003"};

struct play {
    struct guests_bench *bench;
    struct draw draw;
    bool refuses; /* calls on the hypervisor fail now and then */
    struct {
        uint64_t sequence;
        size_t guest;
        bool is_boot;
    } requests[STEPS + GUESTS * 8]; /* of this agent */
    size_t request_count;
    size_t adopted[GUESTS];
    bool lost[GUESTS]; /* its end was told to nobody */
};

static void note_request(struct play *play, uint64_t sequence, size_t guest, bool is_boot)
{
    play->requests[play->request_count].sequence = sequence;
    play->requests[play->request_count].guest = guest;
    play->requests[play->request_count++].is_boot = is_boot;
}

/* ---- the steps ---- */

static void request(struct play *play)
{
    static const enum host_stop_method methods[] = {HOST_STOP_KILL, HOST_STOP_CONSOLE,
                                                    HOST_STOP_ACPI};
    struct guests_bench *bench = play->bench;
    size_t guest = draw_below(&play->draw, GUESTS);
    uint64_t kind = draw_below(&play->draw, 5), sequence;
    if (kind <= 1)
        sequence = guests_bench_boot(bench, ids[guest]);
    else if (kind == 2)
        sequence =
            guests_bench_stop(bench, ids[guest], methods[draw_below(&play->draw, 3)], 3600000);
    else if (kind == 3)
        sequence = guests_bench_forget(bench, ids[guest]);
    else
        sequence = guests_bench_pause(bench, ids[guest], draw_chance(&play->draw, 500));
    note_request(play, sequence, guest, kind <= 1);
}

static void happen(struct play *play)
{
    static const enum hypervisor_end ends[] = {HYPERVISOR_END_EXIT, HYPERVISOR_END_PANIC,
                                               HYPERVISOR_END_DEATH};
    size_t guest = draw_below(&play->draw, GUESTS);
    if (draw_chance(&play->draw, 150))
        play->lost[guest] |= hypervisor_fake_lose(play->bench->world, ids[guest]);
    else
        hypervisor_fake_end(play->bench->world, ids[guest], ends[draw_below(&play->draw, 3)]);
}

static void work(struct play *play)
{
    struct worker *worker =
        draw_chance(&play->draw, 500) ? play->bench->boot_worker : play->bench->end_worker;
    size_t run = worker_fake_count_run(worker);
    if (run > 0 && draw_chance(&play->draw, 500))
        worker_fake_post(worker, draw_below(&play->draw, run));
    else if (worker_fake_count_waiting(worker) > 0)
        worker_fake_run(worker);
}

static void restart(struct play *play)
{
    guests_bench_restart(play->bench);
    play->request_count = 0;
    for (size_t i = 0; i < GUESTS; i++) {
        play->adopted[i] = hypervisor_fake_has_begun(play->bench->world, ids[i]);
        play->lost[i] = false;
    }
}

static void step(struct play *play)
{
    uint64_t kind = draw_below(&play->draw, 100);
    if (kind < 30)
        request(play);
    else if (kind < 38)
        happen(play);
    else if (kind < 68)
        work(play);
    else if (kind < 90)
        guests_bench_turn(play->bench);
    else if (kind < 94)
        guests_bench_pass_time(play->bench);
    else if (kind < 96)
        hypervisor_fake_obey_power(play->bench->world, draw_chance(&play->draw, 500));
    else if (kind < 99 && play->refuses)
        hypervisor_fake_refuse(play->bench->world, draw_below(&play->draw, FAKE_ADOPT), 1);
    else if (kind == 99)
        restart(play);
}

/* ---- what holds in the end ---- */

static void rest(struct play *play)
{
    for (int i = 0; i < 4; i++) {
        guests_bench_settle(play->bench);
        guests_bench_pass_time(play->bench);
    }
}

/* How often a microVM of each began in this agent's time. */
static void count_begun(const struct play *play, size_t begun[GUESTS])
{
    memcpy(begun, play->adopted, sizeof play->adopted);
    for (size_t i = 0; i < play->request_count; i++) {
        if (play->requests[i].is_boot &&
            guests_bench_worked(play->bench, play->requests[i].sequence))
            begun[play->requests[i].guest]++;
    }
}

/* What has ended, and was told of, is known to have ended; what runs is known to run. */
static void check_running(const struct play *play)
{
    size_t begun[GUESTS];
    count_begun(play, begun);
    for (size_t i = 0; i < GUESTS; i++) {
        size_t ends = guests_bench_count_ends(play->bench, ids[i]);
        bool runs = hypervisor_fake_has_begun(play->bench->world, ids[i]);
        if (!play->lost[i])
            assert_int_equal(begun[i], ends + runs);
    }
}

static void stop_all(struct play *play)
{
    for (enum hypervisor_fake_call call = 0; call < FAKE_CALLS; call++)
        hypervisor_fake_refuse(play->bench->world, call, 0);
    rest(play);
    check_running(play);
    for (size_t i = 0; i < GUESTS; i++)
        note_request(play, guests_bench_stop(play->bench, ids[i], HOST_STOP_KILL, 0), i, false);
    rest(play);
}

static void check_agent(const struct play *play)
{
    size_t begun[GUESTS];
    assert_int_equal(play->bench->answer_count, play->request_count);
    for (size_t i = 0; i < play->request_count; i++)
        assert_non_null(guests_bench_find_answer(play->bench, play->requests[i].sequence));
    count_begun(play, begun);
    for (size_t i = 0; i < GUESTS; i++)
        assert_int_equal(guests_bench_count_ends(play->bench, ids[i]), begun[i]);
}

static void forget_all(struct play *play)
{
    for (size_t i = 0; i < GUESTS; i++) {
        uint64_t sequence = guests_bench_forget(play->bench, ids[i]);
        guests_bench_settle(play->bench);
        assert_true(guests_bench_worked(play->bench, sequence));
        note_request(play, sequence, i, false);
    }
}

static void check_nothing_left(struct play *play)
{
    struct guests_bench *bench = play->bench;
    assert_int_equal(hypervisor_fake_count(bench->world), 0);
    assert_int_equal(network_fake_count_taps(bench->network), 0);
    assert_int_equal(network_fake_count_leases(bench->network), 0);
    assert_int_equal(guests_bench_count_files(bench), 0);
    assert_false(guests_bench_holds_volume(bench));
    assert_int_equal(hypervisor_fake_count_shared_volumes(bench->world), 0);
    if (!play->refuses)
        assert_int_equal(hypervisor_fake_count_clashes(bench->world), 0);
}

static void run(struct guests_bench *bench, uint64_t seed, bool refuses)
{
    struct play *play = calloc(1, sizeof *play);
    play->bench = bench;
    restart(play);
    play->draw = draw_split(seed, 1);
    play->refuses = refuses;
    for (int i = 0; i < STEPS; i++)
        step(play);
    stop_all(play);
    forget_all(play);
    check_agent(play);
    check_nothing_left(play);
    free(play);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void run_all(bool refuses)
{
    struct guests_bench *bench = guests_bench_create();
    uint64_t first = number_of("SEED", 1);
    uint64_t last = getenv("SEED") != NULL ? first : number_of("SEEDS", 300);
    for (uint64_t seed = first; seed <= last; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run(bench, seed, refuses);
    }
    guests_bench_destroy(bench);
}

static void any_order_is_answered_and_leaves_nothing(void **state)
{
    (void)state;
    run_all(false);
}

static void so_is_any_order_with_a_hypervisor_that_refuses(void **state)
{
    (void)state;
    run_all(true);
}

int main(void)
{
    if (geteuid() != 0)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_is_answered_and_leaves_nothing),
        cmocka_unit_test(so_is_any_order_with_a_hypervisor_that_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
