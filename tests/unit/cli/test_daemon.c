/* Daemons in the background: real processes, found again by their records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/daemon.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/shoal-daemon.XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static struct daemon_record start(const char *script, const char *log)
{
    struct daemon_record record = {.port = 1};
    struct error error = ERROR_INIT;
    json_strings_add(&record.command, "/bin/sh");
    json_strings_add(&record.command, "-c");
    json_strings_add(&record.command, script);
    if (daemon_start(&record, log, &error) < 0)
        fail_msg("%s", error.message);
    return record;
}

static void wait_for_text(const char *path, const char *text)
{
    for (int tries = 0; tries < 1000; tries++) {
        AUTO_FREE char *data = NULL;
        if (file_read(path, 65536, &data, NULL, NULL) == 0 && strstr(data, text) != NULL)
            return;
        usleep(10000);
    }
    fail_msg("no \"%s\" in %s", text, path);
}

static void a_daemon_runs_in_a_session_of_its_own_until_stopped(void **state)
{
    (void)state;
    AUTO_FREE char *log = xasprintf("%s/session.log", folder);
    struct daemon_record record = start("echo up; exec sleep 1000", log);
    assert_true(daemon_is_alive(&record));
    assert_int_equal(getsid((pid_t)record.pid), record.pid);
    wait_for_text(log, "up");
    daemon_stop(&record, 10000);
    assert_false(daemon_is_alive(&record));
    daemon_record_release(&record);
}

static void what_the_caller_has_open_is_not_kept_open_by_a_daemon(void **state)
{
    (void)state;
    AUTO_FREE char *log = xasprintf("%s/open.log", folder);
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    struct daemon_record record = start("exec sleep 1000", log);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody can write any more */
    close(ends[0]);
    daemon_stop(&record, 10000);
    daemon_record_release(&record);
}

static void one_that_ignores_the_term_signal_is_killed(void **state)
{
    (void)state;
    AUTO_FREE char *log = xasprintf("%s/stubborn.log", folder);
    struct daemon_record record = start("trap '' TERM; echo up; while :; do sleep 0.1; done", log);
    wait_for_text(log, "up");
    daemon_stop(&record, 50);
    assert_false(daemon_is_alive(&record));
    daemon_record_release(&record);
}

static void another_process_under_the_same_pid_is_not_it(void **state)
{
    (void)state;
    AUTO_FREE char *log = xasprintf("%s/reused.log", folder);
    struct daemon_record record = start("exec sleep 1000", log);
    struct daemon_record other = record;
    other.start--;
    assert_false(daemon_is_alive(&other));
    daemon_stop(&other, 0);
    assert_true(daemon_is_alive(&record));
    daemon_stop(&record, 10000);
    daemon_record_release(&record);
}

static void a_record_reads_back_and_is_removed(void **state)
{
    (void)state;
    struct daemon_record record = {.pid = 12, .start = UINT64_C(123456789012), .port = 7001};
    struct daemon_record read = {0};
    strcpy(record.node, "here");
    json_strings_add(&record.command, "/bin/true");
    assert_false(daemon_record_read(folder, "agent", &read));
    assert_int_equal(daemon_record_write(folder, "agent", &record, NULL), 0);
    assert_true(daemon_record_read(folder, "agent", &read));
    assert_int_equal(read.pid, 12);
    assert_true(read.start == record.start);
    assert_int_equal(read.port, 7001);
    assert_string_equal(read.node, "here");
    assert_string_equal(read.command.items[0], "/bin/true");
    daemon_record_release(&read);
    daemon_record_release(&record);
    daemon_record_remove(folder, "agent");
    assert_false(daemon_record_read(folder, "agent", &read));
}

static void a_program_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    AUTO_FREE char *log = xasprintf("%s/absent.log", folder);
    struct daemon_record record = {0};
    struct error error = ERROR_INIT;
    json_strings_add(&record.command, "/nonexistent/shoal-agent");
    assert_int_equal(daemon_start(&record, log, &error), -1);
    assert_non_null(strstr(error.message, "start /nonexistent/shoal-agent: No such file"));
    daemon_record_release(&record);
    assert_null(daemon_find_program("shoal-no-such-program"));
}

static void the_tail_of_a_log_is_its_last_whole_lines(void **state)
{
    (void)state;
    AUTO_FREE char *log = xasprintf("%s/tail.log", folder);
    AUTO_FREE char *nothing = daemon_log_tail(log, 0);
    assert_string_equal(nothing, "");
    assert_int_equal(file_write(log, "1\n2\n", 4, 0600, NULL), 0);
    AUTO_FREE char *whole = daemon_log_tail(log, 0);
    assert_string_equal(whole, "1\n2");
    assert_int_equal(file_write(log, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n", 30, 0600, NULL),
                     0);
    AUTO_FREE char *last = daemon_log_tail(log, 0);
    AUTO_FREE char *recent = daemon_log_tail(log, 24);
    assert_int_equal(daemon_log_length(log), 30);
    assert_string_equal(recent, "12\n13");
    assert_string_equal(last, "2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13");
}

static void *wait_for_a_signal(void *context)
{
    (void)context;
    while (pause() < 0)
        ;
    return NULL;
}

/* As field 22 of /proc/PID/stat has it; the name of this program holds no blank. */
static uint64_t start_of(pid_t pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
    AUTO_FREE char *text = NULL;
    char *rest;
    assert_int_equal(file_read(path, 4096, &text, NULL, NULL), 0);
    const char *field = strtok_r(text, " ", &rest);
    for (int number = 1; number < 22; number++)
        field = strtok_r(NULL, " ", &rest);
    return strtoull(field, NULL, 10);
}

static char state_of(pid_t pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
    AUTO_FREE char *text = NULL;
    assert_int_equal(file_read(path, 4096, &text, NULL, NULL), 0);
    return strrchr(text, ')')[2];
}

/* It holds its lock as long: who begins after it must not come too early. */
static void a_process_whose_first_thread_has_ended_is_there_until_its_last_has(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, wait_for_a_signal, NULL);
        pthread_exit(NULL);
    }
    struct daemon_record record = {.pid = (uint64_t)child, .start = start_of(child)};
    for (int tries = 0; tries < 1000 && state_of(child) != 'Z'; tries++)
        usleep(10000);
    assert_int_equal(state_of(child), 'Z');
    assert_true(daemon_is_alive(&record));
    kill(child, SIGKILL);
    for (int tries = 0; tries < 1000 && daemon_is_alive(&record); tries++)
        usleep(10000);
    assert_int_equal(state_of(child), 'Z'); /* nobody has waited for it yet */
    assert_false(daemon_is_alive(&record));
    assert_int_equal(waitpid(child, NULL, 0), child);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_daemon_runs_in_a_session_of_its_own_until_stopped),
        cmocka_unit_test(what_the_caller_has_open_is_not_kept_open_by_a_daemon),
        cmocka_unit_test(one_that_ignores_the_term_signal_is_killed),
        cmocka_unit_test(another_process_under_the_same_pid_is_not_it),
        cmocka_unit_test(a_process_whose_first_thread_has_ended_is_there_until_its_last_has),
        cmocka_unit_test(a_record_reads_back_and_is_removed),
        cmocka_unit_test(a_program_that_is_not_there_is_an_error),
        cmocka_unit_test(the_tail_of_a_log_is_its_last_whole_lines),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
