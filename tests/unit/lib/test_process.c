#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/process.h"

static pid_t start_child(void)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_NAME, "odd) Z 1 (");
    raise(SIGSTOP);
    _exit(0);
}

static void a_process_is_told_of_whatever_its_name_is(void **state)
{
    (void)state;
    struct process_stat stat;
    pid_t child = start_child();
    assert_int_equal(waitpid(child, NULL, WUNTRACED), child);
    assert_true(process_stat_read(child, &stat));
    assert_int_equal(stat.state, 'T');
    assert_int_equal(stat.parent, getpid());
    assert_true(stat.start >= process_start_time(getpid()));
    assert_true(stat.start == process_start_time(child));
    kill(child, SIGKILL);
    siginfo_t ended;
    assert_int_equal(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT), 0);
    assert_true(process_stat_read(child, &stat));
    assert_int_equal(stat.state, 'Z');
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_false(process_stat_read(child, &stat));
    assert_int_equal(process_start_time(child), 0);
}

static void there_is_no_process_without_a_pid(void **state)
{
    (void)state;
    struct process_stat stat = {.state = 'x'};
    assert_false(process_stat_read(0, &stat));
    assert_false(process_stat_read(-1, &stat));
    assert_int_equal(stat.state, 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_told_of_whatever_its_name_is),
        cmocka_unit_test(there_is_no_process_without_a_pid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
