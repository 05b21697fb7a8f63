/* Calls to the hypervisor that do not return: what is told and done, on a clock of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/guest_hangs.h"
#include "agent/host/guest_pulse.h"
#include "agent/host/guest_user.h"
#include "lib/cleanup.h"
#include "tests/fake/guests_bench.h"

#define ID "000100000001"

struct fixture {
    struct clock clock; /* first */
    uint64_t now_ms;
    struct guests_bench *bench;
    struct call_watch *watch;
    struct guest_hangs *hangs;
    enum hypervisor_fake_call slow; /* this call takes... */
    uint64_t takes_ms;              /* ...so long */
    uint64_t stands_still_ms;       /* before the first of its looks this process does */
    unsigned given_up;
};

static uint64_t read_clock(const struct clock *clock)
{
    return ((const struct fixture *)clock)->now_ms;
}

static void give_up(void *context)
{
    ((struct fixture *)context)->given_up++;
}

/* As the timer does. */
static void look_on(struct fixture *fixture, uint64_t duration_ms)
{
    guest_hangs_look(fixture->hangs);
    for (uint64_t passed = 0; passed < duration_ms; passed += GUEST_HANGS_EVERY_MS) {
        fixture->now_ms += GUEST_HANGS_EVERY_MS;
        guest_hangs_look(fixture->hangs);
    }
}

/* The timer looks on while the call is under way. */
static void before(void *context, enum hypervisor_fake_call call, const char *id)
{
    struct fixture *fixture = context;
    (void)id;
    if (call != fixture->slow)
        return;
    fixture->now_ms += fixture->stands_still_ms;
    look_on(fixture, fixture->takes_ms);
}

static void begin_with(void **state, bool has_daemon)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->clock = (struct clock){read_clock, read_clock};
    fixture->now_ms = 1000000;
    fixture->slow = FAKE_CALLS;
    fixture->bench = guests_bench_create();
    fixture->watch = call_watch_create(&fixture->clock);
    guests_bench_watch(fixture->bench, fixture->watch);
    hypervisor_fake_before(fixture->bench->world, before, fixture);
    struct guest_hangs_options options = {.loop = &fixture->bench->loop,
                                          .watch = fixture->watch,
                                          .has_daemon = has_daemon,
                                          .guests = &fixture->bench->guests,
                                          .give_up = give_up,
                                          .context = fixture};
    fixture->hangs = guest_hangs_create(&options);
    *state = fixture;
}

static int begin(void **state)
{
    begin_with(state, false);
    return 0;
}

static int begin_with_daemon(void **state)
{
    begin_with(state, true);
    return 0;
}

static int finish(void **state)
{
    struct fixture *fixture = *state;
    struct late_call late;
    guest_hangs_destroy(fixture->hangs);
    guests_bench_destroy(fixture->bench);
    assert_false(call_watch_find_oldest(fixture->watch, &late));
    call_watch_destroy(fixture->watch);
    free(fixture);
    return 0;
}

static void make_slow(struct fixture *fixture, enum hypervisor_fake_call call, uint64_t takes_ms)
{
    fixture->slow = call;
    fixture->takes_ms = takes_ms;
}

static size_t count_hangs(const struct guests_bench *bench)
{
    size_t count = 0;
    for (size_t i = 0; i < bench->report_count; i++)
        count += bench->reports[i].state == HOST_INSTANCE_HANGS;
    return count;
}

/* A process of the user that the instance's QEMU has. */
static pid_t start_process_of(const char *id)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setuid(guest_user_of(id)) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

/* The same of somebody else's: its parent has ended. */
static pid_t start_foreign_process_of(const char *id)
{
    int told[2];
    pid_t pid = -1;
    assert_int_equal(pipe(told), 0);
    pid_t parent = fork();
    if (parent == 0) {
        pid = start_process_of(id);
        _exit(write(told[1], &pid, sizeof pid) == (ssize_t)sizeof pid ? 0 : 1);
    }
    assert_int_equal(read(told[0], &pid, sizeof pid), sizeof pid);
    waitpid(parent, NULL, 0);
    close(told[0]);
    close(told[1]);
    return pid;
}

static bool was_killed(pid_t pid)
{
    int status;
    bool killed = waitpid(pid, &status, WNOHANG) == pid && WIFSIGNALED(status);
    for (int i = 0; !killed && i < 1000; i++) {
        usleep(1000);
        killed = waitpid(pid, &status, WNOHANG) == pid && WIFSIGNALED(status);
    }
    return killed;
}

static void end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- */

static void a_call_that_takes_its_time_is_nobodys_business(void **state)
{
    struct fixture *fixture = *state;
    fixture->slow = FAKE_CREATE;
    uint64_t sequence = guests_bench_boot(fixture->bench, ID);
    guests_bench_settle(fixture->bench);
    assert_true(guests_bench_worked(fixture->bench, sequence));
    assert_int_equal(count_hangs(fixture->bench), 0);
    for (unsigned call = 0; call < WATCHED_CALLS; call++)
        assert_int_equal(call_lateness_of(call, 59999), CALL_IN_TIME);
}

static void while_this_process_stood_still_nothing_hung(void **state)
{
    struct fixture *fixture = *state;
    pid_t process = start_process_of(ID);
    make_slow(fixture, FAKE_CREATE, 30000);
    fixture->stands_still_ms = 3600000;
    uint64_t sequence = guests_bench_boot(fixture->bench, ID);
    guests_bench_settle(fixture->bench);
    assert_true(guests_bench_worked(fixture->bench, sequence));
    assert_int_equal(count_hangs(fixture->bench), 0);
    assert_int_equal(fixture->given_up, 0);
    assert_int_equal(kill(process, 0), 0);
    end_process(process);
}

static void a_boot_that_hangs_is_told_of_once_and_goes_on_where_it_comes_to_itself(void **state)
{
    struct fixture *fixture = *state;
    make_slow(fixture, FAKE_CREATE, 60000);
    uint64_t sequence = guests_bench_boot(fixture->bench, ID);
    guests_bench_settle(fixture->bench);
    const struct host_instance *report = guests_bench_find_report(fixture->bench, ID);
    assert_int_equal(count_hangs(fixture->bench), 1);
    assert_string_equal(report->message,
                        "the hypervisor was told to create 60 s ago and has not answered");
    assert_true(guests_bench_worked(fixture->bench, sequence));
    assert_true(hypervisor_fake_runs(fixture->bench->world, ID));
}

static void who_waits_for_a_thread_is_told_of_too(void **state)
{
    struct fixture *fixture = *state;
    uint64_t sequence = guests_bench_boot(fixture->bench, ID);
    look_on(fixture, 120000);
    const struct host_instance *report = guests_bench_find_report(fixture->bench, ID);
    assert_int_equal(count_hangs(fixture->bench), 1);
    assert_non_null(strstr(report->message, "waited 120 s for its turn"));
    guests_bench_settle(fixture->bench);
    assert_true(guests_bench_worked(fixture->bench, sequence));
    /* The agent ends while another waits: see finish(). */
    guests_bench_boot(fixture->bench, "000100000002");
}

static void the_process_of_a_boot_that_hangs_is_killed_and_the_id_boots_again(void **state)
{
    struct fixture *fixture = *state;
    struct guests_bench *bench = fixture->bench;
    pid_t process = start_process_of(ID), another = start_process_of("000100000002");
    pid_t foreign = start_foreign_process_of(ID);
    make_slow(fixture, FAKE_CREATE, 120000);
    hypervisor_fake_refuse(bench->world, FAKE_CREATE, 1); /* as its process is gone */
    uint64_t sequence = guests_bench_boot(bench, ID);
    guests_bench_settle(bench);
    assert_true(was_killed(process));
    assert_int_equal(kill(another, 0), 0);
    assert_int_equal(guest_process_look(foreign), GUEST_PROCESS_RUNS);
    end_process(another);
    kill(foreign, SIGKILL);
    const struct error *error = guests_bench_find_answer(bench, sequence);
    assert_non_null(strstr(error->message, "did not answer, and its process was killed"));
    assert_int_equal(fixture->given_up, 0);
    fixture->slow = FAKE_CALLS;
    sequence = guests_bench_boot(bench, ID);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, sequence));
    assert_int_equal(hypervisor_fake_count(bench->world), 1);
    assert_int_equal(hypervisor_fake_count_clashes(bench->world), 0);
}

static void a_guest_that_runs_is_not_killed_for_a_call(void **state)
{
    struct fixture *fixture = *state;
    struct guests_bench *bench = fixture->bench;
    guests_bench_boot(bench, ID);
    guests_bench_settle(bench);
    pid_t process = start_process_of(ID);
    make_slow(fixture, FAKE_PAUSE, 240000);
    uint64_t sequence = guests_bench_pause(bench, ID, true);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, sequence));
    assert_int_equal(count_hangs(bench), 1);
    assert_int_equal(kill(process, 0), 0);
    end_process(process);
    for (uint64_t age = 0; age < 3600000; age += 1000) {
        assert_int_not_equal(call_lateness_of(WATCHED_PAUSE, age), CALL_HANGS);
        assert_int_not_equal(call_lateness_of(WATCHED_DEBUG, age), CALL_HANGS);
        assert_true(call_lateness_of(WATCHED_USE_OF_DISKS, age) < CALL_HANGS);
        assert_true(call_lateness_of(WATCHED_FILES, age) < CALL_HANGS);
        assert_true(call_lateness_of(WATCHED_TURN, age) < CALL_HANGS);
    }
}

static void a_call_that_never_returns_ends_the_host_half(void **state)
{
    struct fixture *fixture = *state;
    make_slow(fixture, FAKE_CREATE, 300000);
    guests_bench_boot(fixture->bench, ID);
    guests_bench_settle(fixture->bench);
    assert_int_equal(fixture->given_up, 1);
}

static void it_does_not_where_a_daemon_has_to_be_ended(void **state)
{
    struct fixture *fixture = *state;
    make_slow(fixture, FAKE_CREATE, 600000);
    guests_bench_boot(fixture->bench, ID);
    guests_bench_settle(fixture->bench);
    assert_int_equal(fixture->given_up, 0);
    /* It is late, it hangs, it is hopeless. */
    assert_int_equal(count_hangs(fixture->bench), 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(a_call_that_takes_its_time_is_nobodys_business),
        TEST(while_this_process_stood_still_nothing_hung),
        TEST(a_boot_that_hangs_is_told_of_once_and_goes_on_where_it_comes_to_itself),
        TEST(who_waits_for_a_thread_is_told_of_too),
        TEST(the_process_of_a_boot_that_hangs_is_killed_and_the_id_boots_again),
        TEST(a_guest_that_runs_is_not_killed_for_a_call),
        TEST(a_call_that_never_returns_ends_the_host_half),
        cmocka_unit_test_setup_teardown(it_does_not_where_a_daemon_has_to_be_ended,
                                        begin_with_daemon, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
