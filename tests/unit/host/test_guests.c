/* What the host half does with microVMs, move by move: the states of agent/host/guests.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/guest_pulse.h"
#include "tests/fake/guests_bench.h"

#define ID    "000100000001"
#define TAP   "sh" ID
#define OTHER "000100000002"
#define LONG  ((uint64_t)3600 * 1000)

static int begin(void **state)
{
    *state = guests_bench_create();
    return 0;
}

static int finish(void **state)
{
    guests_bench_destroy(*state);
    return 0;
}

static void boot(struct guests_bench *bench, const char *id)
{
    uint64_t sequence = guests_bench_boot(bench, id);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, sequence));
    assert_true(hypervisor_fake_runs(bench->world, id));
}

static void assert_nothing_left(struct guests_bench *bench)
{
    assert_int_equal(hypervisor_fake_count(bench->world), 0);
    assert_int_equal(network_fake_count_taps(bench->network), 0);
    assert_int_equal(guests_bench_count_files(bench), 0);
    assert_false(guests_bench_holds_volume(bench));
}

static void assert_ended(struct guests_bench *bench, const char *id, enum host_end_cause cause)
{
    const struct host_instance *report = guests_bench_find_report(bench, id);
    assert_non_null(report);
    assert_int_equal(report->state, HOST_INSTANCE_ENDED);
    assert_int_equal(report->cause, cause);
    assert_int_equal(guests_bench_count_ends(bench, id), 1);
}

static void assert_refused(struct guests_bench *bench, uint64_t sequence, enum error_code code)
{
    const struct error *error = guests_bench_find_answer(bench, sequence);
    assert_non_null(error);
    assert_int_equal(error->code, code);
}

/* ---- booting ---- */

static void a_guest_runs_with_its_tap_and_lease(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    assert_true(network_fake_is_attached(bench->network, TAP));
    assert_true(network_fake_has_lease(bench->network, TAP));
    assert_int_equal(bench->report_count, 0);
}

static bool seen_attached;

static void look_at_tap(void *context, enum hypervisor_fake_call call, const char *id)
{
    struct guests_bench *bench = context;
    (void)id;
    if (call == FAKE_RESUME)
        seen_attached = network_fake_is_attached(bench->network, TAP) &&
                        network_fake_has_lease(bench->network, TAP);
}

static void nothing_runs_before_its_tap_is_pinned(void **state)
{
    struct guests_bench *bench = *state;
    seen_attached = false;
    hypervisor_fake_before(bench->world, look_at_tap, bench);
    boot(bench, ID);
    assert_true(seen_attached);
}

static void a_boot_that_fails_leaves_nothing(void **state)
{
    static const enum hypervisor_fake_call calls[] = {FAKE_CREATE, FAKE_RESUME};
    struct guests_bench *bench = *state;
    for (size_t i = 0; i < 2; i++) {
        hypervisor_fake_refuse(bench->world, calls[i], 1);
        uint64_t sequence = guests_bench_boot(bench, ID);
        guests_bench_settle(bench);
        assert_refused(bench, sequence, ERROR_IO);
        assert_nothing_left(bench);
    }
    network_fake_refuse(bench->network, 1);
    uint64_t sequence = guests_bench_boot(bench, ID);
    guests_bench_settle(bench);
    assert_refused(bench, sequence, ERROR_IO);
    assert_nothing_left(bench);
    assert_int_equal(bench->report_count, 0);
    boot(bench, ID);
}

static void an_instance_boots_once_at_a_time(void **state)
{
    struct guests_bench *bench = *state;
    uint64_t first = guests_bench_boot(bench, ID), second = guests_bench_boot(bench, ID);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, first));
    assert_refused(bench, second, ERROR_CONFLICT);
    assert_refused(bench, guests_bench_boot(bench, ID), ERROR_CONFLICT);
    assert_int_equal(hypervisor_fake_count(bench->world), 1);
}

static void a_volume_has_one_writer(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    uint64_t sequence = guests_bench_boot(bench, "000100000003");
    guests_bench_settle(bench);
    assert_refused(bench, sequence, ERROR_CONFLICT);
    hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_EXIT);
    guests_bench_settle(bench);
    boot(bench, "000100000003");
}

static void no_two_guests_share_an_address(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    assert_refused(bench, guests_bench_boot(bench, "0001000000c9"), ERROR_CONFLICT);
}

static void a_guest_that_ends_while_it_boots_is_reported_after_the_answer(void **state)
{
    struct guests_bench *bench = *state;
    uint64_t sequence = guests_bench_boot(bench, ID);
    worker_fake_run(bench->boot_worker);
    assert_true(hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_PANIC));
    assert_true(guests_bench_turn(bench)); /* its end, before the boot's answer */
    assert_int_equal(bench->report_count, 0);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, sequence));
    assert_ended(bench, ID, HOST_END_GUEST_PANIC);
    assert_nothing_left(bench);
}

static void the_end_of_an_earlier_attempt_ends_no_later_one(void **state)
{
    struct guests_bench *bench = *state;
    hypervisor_fake_refuse(bench->world, FAKE_RESUME, 1); /* destroyed again, which is told */
    uint64_t failed = guests_bench_boot(bench, ID);
    worker_fake_run(bench->boot_worker);
    struct worker *worker = bench->boot_worker;
    worker_fake_post(worker, 0);
    guests_bench_turn(bench);
    guests_bench_turn(bench);
    assert_refused(bench, failed, ERROR_IO);
    boot(bench, ID);
    guests_ended(bench->guests, OTHER, HYPERVISOR_END_DEATH);
    assert_int_equal(bench->report_count, 0);
    assert_true(hypervisor_fake_runs(bench->world, ID));
}

/* ---- ending by itself ---- */

static void the_ways_to_end_are_told_apart(void **state)
{
    static const struct {
        enum hypervisor_end end;
        enum host_end_cause cause;
    } ends[] = {
        {HYPERVISOR_END_EXIT, HOST_END_GUEST_EXIT},
        {HYPERVISOR_END_PANIC, HOST_END_GUEST_PANIC},
        {HYPERVISOR_END_DEATH, HOST_END_KILLED},
        /* The family of these guests ends in no other way. */
        {HYPERVISOR_END_RESET, HOST_END_GUEST_EXIT},
    };
    struct guests_bench *bench = *state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        bench->report_count = 0;
        boot(bench, ID);
        assert_true(hypervisor_fake_end(bench->world, ID, ends[i].end));
        guests_bench_settle(bench);
        assert_ended(bench, ID, ends[i].cause);
        assert_nothing_left(bench);
        assert_true(network_fake_has_lease(bench->network, TAP));
    }
}

static void a_stopped_process_is_hung_and_ended(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    pid_t pid = hypervisor_fake_pid(bench->world, ID);
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED); /* it has */
    for (unsigned i = 0; i < GUEST_PULSE_MISSES; i++) {
        assert_int_equal(bench->report_count, 0);
        guests_bench_pass_time(bench);
        guests_bench_settle(bench);
    }
    assert_ended(bench, ID, HOST_END_HUNG);
    assert_nothing_left(bench);
}

static void one_that_goes_on_is_not_hung(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    pid_t pid = hypervisor_fake_pid(bench->world, ID);
    for (unsigned i = 0; i < 4 * GUEST_PULSE_MISSES; i++) {
        kill(pid, i % GUEST_PULSE_MISSES == 0 ? SIGCONT : SIGSTOP);
        guests_bench_pass_time(bench);
        guests_bench_settle(bench);
    }
    assert_int_equal(bench->report_count, 0);
    assert_true(hypervisor_fake_runs(bench->world, ID));
}

static void a_death_that_nobody_told_of_is_seen(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    assert_true(hypervisor_fake_lose(bench->world, ID));
    for (unsigned i = 0; i < GUEST_PULSE_MISSES; i++) {
        assert_int_equal(bench->report_count, 0);
        guests_bench_pass_time(bench);
        guests_bench_settle(bench);
    }
    assert_ended(bench, ID, HOST_END_KILLED);
    assert_nothing_left(bench);
}

static void an_end_told_twice_is_reported_once(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_EXIT);
    guests_ended(bench->guests, ID, HYPERVISOR_END_DEATH);
    guests_bench_settle(bench);
    assert_int_equal(guests_bench_count_ends(bench, ID), 1);
}

/* ---- stopping ---- */

static void a_stop_without_grace_ends_at_once(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    uint64_t sequence = guests_bench_stop(bench, ID, HOST_STOP_KILL, 0);
    assert_true(guests_bench_worked(bench, sequence));
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_STOP_KILLED);
    assert_nothing_left(bench);
}

static void a_guest_hears_of_its_stop_on_its_console(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    guests_bench_stop(bench, ID, HOST_STOP_CONSOLE, LONG);
    guests_bench_settle(bench);
    assert_int_equal(hypervisor_fake_hear(bench->world, ID), 0x04);
    assert_true(hypervisor_fake_runs(bench->world, ID));
    hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_EXIT);
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_STOPPED);
}

static void a_guest_that_obeys_its_power_button_is_stopped(void **state)
{
    struct guests_bench *bench = *state;
    hypervisor_fake_obey_power(bench->world, true);
    boot(bench, ID);
    guests_bench_stop(bench, ID, HOST_STOP_ACPI, LONG);
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_STOPPED);
    assert_nothing_left(bench);
}

static void a_stop_that_is_not_heard_turns_to_force(void **state)
{
    static const enum host_stop_method methods[] = {HOST_STOP_CONSOLE, HOST_STOP_ACPI};
    struct guests_bench *bench = *state;
    for (size_t i = 0; i < 2; i++) {
        bench->report_count = 0;
        boot(bench, ID);
        guests_bench_stop(bench, ID, methods[i], LONG);
        guests_bench_settle(bench);
        assert_true(hypervisor_fake_runs(bench->world, ID));
        guests_bench_pass_time(bench);
        guests_bench_settle(bench);
        assert_ended(bench, ID, HOST_END_STOP_KILLED);
    }
}

static void a_button_that_cannot_be_pressed_turns_to_force(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    hypervisor_fake_refuse(bench->world, FAKE_PRESS_POWER, 1);
    guests_bench_stop(bench, ID, HOST_STOP_ACPI, LONG);
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_STOP_KILLED);
}

static void a_microvm_that_cannot_be_ended_is_ended_later(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    hypervisor_fake_refuse(bench->world, FAKE_DESTROY, 2);
    guests_bench_stop(bench, ID, HOST_STOP_KILL, 0);
    guests_bench_settle(bench);
    assert_true(hypervisor_fake_runs(bench->world, ID));
    for (int i = 0; i < 2; i++) {
        guests_bench_pass_time(bench);
        guests_bench_settle(bench);
    }
    assert_ended(bench, ID, HOST_END_STOP_KILLED);
}

static void a_stop_during_the_boot_is_kept(void **state)
{
    struct guests_bench *bench = *state;
    uint64_t booting = guests_bench_boot(bench, ID);
    assert_true(guests_bench_worked(bench, guests_bench_stop(bench, ID, HOST_STOP_KILL, 0)));
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, booting));
    assert_ended(bench, ID, HOST_END_STOP_KILLED);
    assert_nothing_left(bench);
}

static void a_harder_stop_overtakes_a_soft_one(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    guests_bench_stop(bench, ID, HOST_STOP_ACPI, LONG);
    guests_bench_stop(bench, ID, HOST_STOP_KILL, 0);
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_STOP_KILLED);
}

static void what_does_not_run_cannot_be_stopped(void **state)
{
    struct guests_bench *bench = *state;
    assert_refused(bench, guests_bench_stop(bench, ID, HOST_STOP_KILL, 0), ERROR_NOT_FOUND);
    boot(bench, ID);
    hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_EXIT);
    guests_bench_settle(bench);
    assert_refused(bench, guests_bench_stop(bench, ID, HOST_STOP_KILL, 0), ERROR_NOT_FOUND);
}

static void an_end_that_nobody_tells_of_is_found_when_it_is_stopped(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    hypervisor_fake_lose(bench->world, ID);
    guests_bench_stop(bench, ID, HOST_STOP_KILL, 0);
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_STOP_KILLED);
}

/* ---- forgetting ---- */

static void what_runs_is_not_forgotten(void **state)
{
    struct guests_bench *bench = *state;
    uint64_t booting = guests_bench_boot(bench, ID);
    assert_refused(bench, guests_bench_forget(bench, ID), ERROR_CONFLICT);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, booting));
    assert_refused(bench, guests_bench_forget(bench, ID), ERROR_CONFLICT);
    assert_true(hypervisor_fake_runs(bench->world, ID));
}

static void forgetting_takes_the_lease(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    guests_bench_stop(bench, ID, HOST_STOP_KILL, 0);
    guests_bench_settle(bench);
    uint64_t sequence = guests_bench_forget(bench, ID);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, sequence));
    assert_int_equal(network_fake_count_leases(bench->network), 0);
    boot(bench, ID);
}

static void what_was_never_here_is_forgotten_too(void **state)
{
    struct guests_bench *bench = *state;
    uint64_t sequence = guests_bench_forget(bench, ID);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, sequence));
}

static void an_instance_that_is_being_forgotten_does_not_boot(void **state)
{
    struct guests_bench *bench = *state;
    uint64_t forgetting = guests_bench_forget(bench, ID);
    assert_refused(bench, guests_bench_boot(bench, ID), ERROR_CONFLICT);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, forgetting));
}

/* ---- standing still ---- */

static void a_guest_stands_still_and_goes_on(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    uint64_t paused = guests_bench_pause(bench, ID, true);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, paused));
    assert_false(hypervisor_fake_runs(bench->world, ID));
    uint64_t again = guests_bench_pause(bench, ID, true);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, again));
    uint64_t on = guests_bench_pause(bench, ID, false);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, on));
    assert_true(hypervisor_fake_runs(bench->world, ID));
}

static void what_does_not_run_cannot_be_paused(void **state)
{
    struct guests_bench *bench = *state;
    assert_refused(bench, guests_bench_pause(bench, ID, true), ERROR_NOT_FOUND);
    boot(bench, ID);
    hypervisor_fake_refuse(bench->world, FAKE_PAUSE, 1);
    uint64_t refused = guests_bench_pause(bench, ID, true);
    guests_bench_settle(bench);
    assert_false(guests_bench_worked(bench, refused));
    assert_true(hypervisor_fake_runs(bench->world, ID));
}

static void the_end_of_one_that_is_being_paused_is_reported_after_the_answer(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    uint64_t paused = guests_bench_pause(bench, ID, true);
    hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_DEATH);
    guests_bench_settle(bench);
    assert_false(guests_bench_worked(bench, paused));
    assert_int_equal(guests_bench_count_ends(bench, ID), 1);
    assert_nothing_left(bench);
}

static void the_next_agent_finds_a_guest_that_stands_still(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    guests_bench_pause(bench, ID, true);
    guests_bench_settle(bench);
    guests_bench_restart(bench);
    assert_int_equal(guests_bench_find_report(bench, ID)->state, HOST_INSTANCE_PAUSED);
    uint64_t on = guests_bench_pause(bench, ID, false);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, on));
    assert_true(hypervisor_fake_runs(bench->world, ID));
}

/* ---- another agent ---- */

static void the_next_agent_adopts_what_runs(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    guests_bench_restart(bench);
    const struct host_instance *report = guests_bench_find_report(bench, ID);
    assert_non_null(report);
    assert_int_equal(report->state, HOST_INSTANCE_RUNNING);
    assert_true(report->uptime_ms >= 60000);
    assert_string_equal(report->kernel, bench->kernel);
    assert_true(network_fake_has_lease(bench->network, TAP));
    hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_EXIT);
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_GUEST_EXIT);
    assert_nothing_left(bench);
}

static void an_adopted_guest_is_stopped_by_its_console(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    guests_bench_restart(bench);
    guests_bench_stop(bench, ID, HOST_STOP_CONSOLE, LONG);
    assert_int_equal(hypervisor_fake_hear(bench->world, ID), 0x04);
}

static void what_ended_while_no_agent_ran_leaves_nothing(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    boot(bench, OTHER);
    hypervisor_fake_lose(bench->world, ID);
    guests_bench_restart(bench);
    guests_bench_settle(bench);
    assert_null(guests_bench_find_report(bench, ID));
    assert_false(network_fake_is_attached(bench->network, TAP));
    assert_false(network_fake_has_lease(bench->network, TAP));
    assert_true(hypervisor_fake_runs(bench->world, OTHER));
    assert_int_equal(guests_bench_count_files(bench), 1);
}

static void a_boot_that_an_agent_did_not_finish_is_swept(void **state)
{
    struct guests_bench *bench = *state;
    guests_bench_boot(bench, ID); /* never run: as if killed before it */
    guests_bench_restart(bench);
    guests_bench_settle(bench);
    assert_nothing_left(bench);
}

static void guests_that_lost_their_tap_are_ended(void **state)
{
    struct guests_bench *bench = *state;
    boot(bench, ID);
    network_fake_lose_taps(bench->network);
    guests_bench_restart(bench);
    guests_bench_settle(bench);
    assert_ended(bench, ID, HOST_END_STOP_KILLED);
    assert_nothing_left(bench);
}

int main(void)
{
    if (geteuid() != 0)
        return 77;
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(a_guest_runs_with_its_tap_and_lease),
        TEST(nothing_runs_before_its_tap_is_pinned),
        TEST(a_boot_that_fails_leaves_nothing),
        TEST(an_instance_boots_once_at_a_time),
        TEST(a_volume_has_one_writer),
        TEST(no_two_guests_share_an_address),
        TEST(a_guest_that_ends_while_it_boots_is_reported_after_the_answer),
        TEST(the_end_of_an_earlier_attempt_ends_no_later_one),
        TEST(the_ways_to_end_are_told_apart),
        TEST(a_stopped_process_is_hung_and_ended),
        TEST(one_that_goes_on_is_not_hung),
        TEST(a_death_that_nobody_told_of_is_seen),
        TEST(an_end_told_twice_is_reported_once),
        TEST(a_stop_without_grace_ends_at_once),
        TEST(a_guest_hears_of_its_stop_on_its_console),
        TEST(a_guest_that_obeys_its_power_button_is_stopped),
        TEST(a_stop_that_is_not_heard_turns_to_force),
        TEST(a_button_that_cannot_be_pressed_turns_to_force),
        TEST(a_microvm_that_cannot_be_ended_is_ended_later),
        TEST(a_stop_during_the_boot_is_kept),
        TEST(a_harder_stop_overtakes_a_soft_one),
        TEST(what_does_not_run_cannot_be_stopped),
        TEST(an_end_that_nobody_tells_of_is_found_when_it_is_stopped),
        TEST(what_runs_is_not_forgotten),
        TEST(forgetting_takes_the_lease),
        TEST(what_was_never_here_is_forgotten_too),
        TEST(an_instance_that_is_being_forgotten_does_not_boot),
        TEST(the_next_agent_adopts_what_runs),
        TEST(an_adopted_guest_is_stopped_by_its_console),
        TEST(what_ended_while_no_agent_ran_leaves_nothing),
        TEST(a_boot_that_an_agent_did_not_finish_is_swept),
        TEST(guests_that_lost_their_tap_are_ended),
        TEST(a_guest_stands_still_and_goes_on),
        TEST(what_does_not_run_cannot_be_paused),
        TEST(the_end_of_one_that_is_being_paused_is_reported_after_the_answer),
        TEST(the_next_agent_finds_a_guest_that_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
