/* A guest's gdb stub: what is on says so in the run folder, whenever the agent ends, and never
 * meets a guest that somebody else has paused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/gdb_socket.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "tests/fake/guests_bench.h"

#define ID "000100000001" /* has a volume */

static int begin(void **state)
{
    struct guests_bench *bench = guests_bench_create();
    guests_bench_boot(bench, ID);
    guests_bench_settle(bench);
    assert_true(hypervisor_fake_runs(bench->world, ID));
    *state = bench;
    return 0;
}

static int finish(void **state)
{
    guests_bench_destroy(*state);
    return 0;
}

static bool is_on(struct guests_bench *bench)
{
    bool is_on = gdb_socket_is_open(bench->folder, ID);
    assert_int_equal(is_on, gdb_socket_is_in_use(bench->folder, ID));
    assert_int_equal(is_on, hypervisor_fake_is_debugged(bench->world, ID));
    return is_on;
}

static void switch_it(struct guests_bench *bench, bool on)
{
    uint64_t sequence = guests_bench_debug(bench, ID, on);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, sequence));
    assert_int_equal(is_on(bench), on);
}

static void assert_refused(struct guests_bench *bench, uint64_t sequence, const char *why)
{
    const struct error *error = guests_bench_find_answer(bench, sequence);
    assert_non_null(error);
    assert_int_equal(error->code, ERROR_CONFLICT);
    assert_non_null(strstr(error->message, why));
}

/* As it was when the agent died in the midst of it. */
static void leave_half(struct guests_bench *bench)
{
    AUTO_FREE char *path = xasprintf("%s/g/" ID, bench->folder);
    AUTO_FREE char *half = xasprintf("%s/g/" ID ".half", bench->folder);
    if (rename(path, half) < 0)
        assert_int_equal(file_write(half, "", 0, 0600, NULL), 0);
}

static void it_goes_on_and_off_and_goes_with_its_guest(void **state)
{
    struct guests_bench *bench = *state;
    struct stat status;
    AUTO_FREE char *path = gdb_socket_path(bench->folder, ID);
    switch_it(bench, true);
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0600);
    switch_it(bench, true);
    switch_it(bench, false);
    switch_it(bench, false);
    switch_it(bench, true);
    guests_bench_restart(bench);
    guests_bench_settle(bench);
    assert_true(is_on(bench));
    assert_int_equal(guests_bench_find_report(bench, ID)->debugged, 1);
    hypervisor_fake_end(bench->world, ID, HYPERVISOR_END_EXIT);
    guests_bench_settle(bench);
    assert_int_equal(guests_bench_count_files(bench), 0);
}

static void one_that_was_being_switched_on_when_the_agent_died_is_off(void **state)
{
    struct guests_bench *bench = *state;
    leave_half(bench);
    guests_bench_restart(bench);
    assert_int_equal(guests_bench_find_report(bench, ID)->debugged, 0);
    guests_bench_settle(bench);
    assert_false(is_on(bench));
    switch_it(bench, true);
}

static void one_that_was_being_switched_off_when_the_agent_died_is_off(void **state)
{
    struct guests_bench *bench = *state;
    switch_it(bench, true);
    leave_half(bench);
    guests_bench_restart(bench);
    guests_bench_settle(bench);
    assert_false(is_on(bench));
    assert_int_equal(bench->answer_count, 0);
}

static void sockets_of_nobody_are_removed_at_the_start(void **state)
{
    struct guests_bench *bench = *state;
    switch_it(bench, true);
    hypervisor_fake_lose(bench->world, ID);
    guests_bench_restart(bench);
    guests_bench_settle(bench);
    assert_false(gdb_socket_is_in_use(bench->folder, ID));
}

static void one_that_cannot_be_switched_stays_as_it_was(void **state)
{
    struct guests_bench *bench = *state;
    hypervisor_fake_refuse(bench->world, FAKE_DEBUG, 1);
    guests_bench_debug(bench, ID, true);
    guests_bench_settle(bench);
    assert_false(is_on(bench));
    switch_it(bench, true);
    hypervisor_fake_refuse(bench->world, FAKE_DEBUG, 1);
    guests_bench_debug(bench, ID, false);
    guests_bench_settle(bench);
    assert_true(is_on(bench));
}

static void a_standby_has_none(void **state)
{
    struct guests_bench *bench = *state;
    guests_bench_pause(bench, ID, true);
    uint64_t early = guests_bench_debug(bench, ID, true);
    guests_bench_settle(bench);
    assert_refused(bench, early, "standby");
    uint64_t late = guests_bench_debug(bench, ID, true);
    guests_bench_settle(bench);
    assert_refused(bench, late, "standby");
    /* What is off may be switched off, and the guest goes on standing still. */
    switch_it(bench, false);
    assert_false(hypervisor_fake_runs(bench->world, ID));
}

static int ask_while_paused(void *context, const char *id, struct error *error)
{
    struct guests_bench *bench = context;
    (void)id;
    (void)error;
    uint64_t sequence = guests_bench_debug(bench, ID, true);
    guests_bench_settle(bench);
    assert_refused(bench, sequence, "is being copied");
    return 0;
}

static void resume_nothing(void *context, const char *id)
{
    (void)context;
    (void)id;
}

static void none_comes_while_a_volume_is_copied(void **state)
{
    struct guests_bench *bench = *state;
    struct error error = ERROR_INIT;
    const struct volume_pauser pauser = {
        .pause = ask_while_paused, .resume = resume_nothing, .context = bench};
    if (guests_bench_snapshot(bench, &pauser, &error) < 0)
        fail_msg("%s", error.message);
    assert_false(is_on(bench));
    switch_it(bench, true);
}

static int refuse_to_pause(void *context, const char *id, struct error *error)
{
    ask_while_paused(context, id, error);
    return error_set(error, ERROR_CONFLICT, "it has a debugger");
}

/* It is asked for once more just as a copy finds that it is there. */
static void one_that_is_on_outlives_a_copy_that_is_refused(void **state)
{
    struct guests_bench *bench = *state;
    const struct volume_pauser pauser = {
        .pause = refuse_to_pause, .resume = resume_nothing, .context = bench};
    switch_it(bench, true);
    assert_int_equal(guests_bench_snapshot(bench, &pauser, NULL), -1);
    assert_true(is_on(bench));
    switch_it(bench, false);
}

static void two_at_once_are_not_mixed_up(void **state)
{
    struct guests_bench *bench = *state;
    uint64_t first = guests_bench_debug(bench, ID, true);
    uint64_t second = guests_bench_debug(bench, ID, false);
    guests_bench_settle(bench);
    assert_true(guests_bench_worked(bench, first));
    assert_refused(bench, second, "just being switched");
    assert_true(is_on(bench));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(it_goes_on_and_off_and_goes_with_its_guest),
        TEST(one_that_was_being_switched_on_when_the_agent_died_is_off),
        TEST(one_that_was_being_switched_off_when_the_agent_died_is_off),
        TEST(sockets_of_nobody_are_removed_at_the_start),
        TEST(one_that_cannot_be_switched_stays_as_it_was),
        TEST(a_standby_has_none),
        TEST(none_comes_while_a_volume_is_copied),
        TEST(one_that_is_on_outlives_a_copy_that_is_refused),
        TEST(two_at_once_are_not_mixed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
