/* Control groups: what the kernel's texts say, and real groups where the machine has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/cgroup.h"
#include "lib/log.h"

#define RUN  "/run/shoal-test-cgroup"
#define NAME "sh0001000000cc"
#define MIB  ((size_t)1 << 20)

static const char version_1[] =
    "24 1 0:22 / /proc rw,relatime - proc proc rw\n"
    "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 master:1 - cgroup cgroup "
    "rw,cpu,cpuacct\n"
    "31 29 0:27 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

static void version_1_is_found_by_its_controller(void **state)
{
    (void)state;
    struct cgroup_mount mount;
    assert_int_equal(cgroup_parse_mounts(version_1, "cpu", &mount), 0);
    assert_string_equal(mount.folder, "/sys/fs/cgroup/cpu,cpuacct");
    assert_string_equal(mount.root, "/");
    assert_false(mount.unified);
    assert_int_equal(cgroup_parse_mounts(version_1, "memory", &mount), 0);
    assert_string_equal(mount.folder, "/sys/fs/cgroup/memory");
    assert_string_equal(mount.root, "/docker/ab");
}

static void a_controller_that_version_1_lacks_is_looked_for_in_version_2(void **state)
{
    (void)state;
    struct cgroup_mount mount;
    assert_int_equal(cgroup_parse_mounts(version_1, "pids", &mount), 0);
    assert_string_equal(mount.folder, "/sys/fs/cgroup/unified");
    assert_true(mount.unified);
}

static void mounts_of_other_kinds_are_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\n\n",
        "24 1 0:22 / /proc rw,relatime - proc proc rw\n",
        "30 29 0:26 / /cgroup rw - cgroup cgroup rw,cpuset\n", /* has no "cpu" */
        "30 29 0:26 / /cgroup rw - cgroup cgroup\n",
        "30 29 0:26 / /cgroup rw cgroup cgroup rw,cpu\n",
        "- - - - - - - - -\n",
        "30",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct cgroup_mount mount;
        assert_int_equal(cgroup_parse_mounts(texts[i], "cpu", &mount), -1);
    }
}

static void a_path_that_does_not_fit_is_none(void **state)
{
    (void)state;
    char text[2 * CGROUP_PATH_MAX + 64], path[CGROUP_PATH_MAX];
    struct cgroup_mount mount;
    memset(text, 'x', sizeof text);
    memcpy(text, "30 29 0:26 / /", 14);
    strcpy(text + 2 * CGROUP_PATH_MAX, " rw - cgroup2 cgroup2 rw\n");
    assert_int_equal(cgroup_parse_mounts(text, "cpu", &mount), -1);
    memset(text, 'x', sizeof text);
    memcpy(text, "0::/", 4);
    text[CGROUP_PATH_MAX + 10] = '\0';
    assert_int_equal(cgroup_parse_membership(text, "memory", true, path), -1);
}

static void membership_is_read_for_both_versions(void **state)
{
    (void)state;
    static const char text[] = "9:name=systemd:/\n4:memory:/shoal/ab/sh1\n"
                               "2:cpu,cpuacct:/a:b/c\n0::/unit.service\n";
    char path[CGROUP_PATH_MAX];
    assert_int_equal(cgroup_parse_membership(text, "memory", false, path), 0);
    assert_string_equal(path, "/shoal/ab/sh1");
    assert_int_equal(cgroup_parse_membership(text, "cpu", false, path), 0);
    assert_string_equal(path, "/a:b/c");
    assert_int_equal(cgroup_parse_membership(text, "memory", true, path), 0);
    assert_string_equal(path, "/unit.service");
    assert_int_equal(cgroup_parse_membership(text, "pids", false, path), -1);
    assert_int_equal(cgroup_parse_membership("4:memory\n4\n:\n", "memory", false, path), -1);
}

static void keys_are_whole_words(void **state)
{
    (void)state;
    static const char text[] = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
    assert_int_equal(cgroup_parse_key(text, "oom_kill"), 2);
    assert_int_equal(cgroup_parse_key(text, "oom"), 3);
    assert_int_equal(cgroup_parse_key(text, "low"), 0);
    assert_int_equal(cgroup_parse_key(text, "high"), 0);
    assert_int_equal(cgroup_parse_key("oom_kill x\n", "oom_kill"), 0);
    assert_int_equal(cgroup_parse_key("oom_kill 99999999999999999999999\n", "oom_kill"), 0);
}

/* ---- real ones ---- */

static int open_groups(void **state)
{
    log_open("test", LOG_LEVEL_ERROR);
    return cgroups_open(RUN, (struct cgroups **)state, NULL);
}

static int close_groups(void **state)
{
    cgroups_close(*state);
    cgroups_clean(RUN);
    return 0;
}

/* Joins and then fills `bytes` of memory; waits to be killed. */
static pid_t start_member(const struct cgroup_doors *doors, size_t bytes)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    for (size_t i = 0; i < CGROUP_DOORS_MAX; i++) {
        if (doors->descriptors[i] >= 0 && write(doors->descriptors[i], "0", 1) != 1)
            _exit(1);
    }
    char *memory =
        mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        _exit(2);
    for (size_t at = 0; at < bytes; at += 4096)
        memory[at] = 1;
    for (;;)
        pause();
}

static void await_member(const struct cgroups *groups, pid_t pid)
{
    for (int i = 0; i < 1000 && cgroups_find_process(groups, NAME) != pid; i++)
        usleep(10000);
    assert_int_equal(cgroups_find_process(groups, NAME), pid);
}

static void a_group_holds_what_joins_it(void **state)
{
    struct cgroups *groups = *state;
    struct cgroup_limits limits = {.memory = 32 * MIB, .processor_percent = 150};
    struct cgroup_doors doors = CGROUP_DOORS_NONE;
    struct cgroup own, found;
    struct cgroup_memory memory;
    char(*names)[CGROUP_NAME_MAX];
    uint64_t used = 0;
    if (!cgroups_limit_memory(groups))
        skip();
    assert_int_equal(cgroups_make(groups, NAME, &limits, &doors, NULL), 0);
    assert_int_equal(cgroups_find_process(groups, NAME), -1);
    pid_t pid = start_member(&doors, MIB);
    await_member(groups, pid);
    struct error error = ERROR_INIT;
    assert_int_equal(cgroups_remove(groups, NAME, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_int_equal(cgroups_get(groups, NAME, &own, NULL), 0);
    assert_int_equal(cgroup_of_process(pid, &found, NULL), 0);
    assert_string_equal(own.memory, found.memory);
    assert_int_equal(cgroup_read_memory(&own, &memory, NULL), 0);
    assert_int_equal(memory.limit, 32 * MIB);
    assert_int_equal(memory.oom_kills, 0);
    assert_int_equal(cgroup_read_processor_time(pid, &used, NULL), 0);
    assert_true(used > 0);
    assert_int_equal(cgroups_list(groups, &names), 1);
    assert_string_equal(names[0], NAME);
    free(names);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cgroup_doors_close(&doors);
    assert_int_equal(cgroups_remove(groups, NAME, NULL), 0);
    assert_int_equal(cgroups_remove(groups, NAME, NULL), 0);
    assert_int_equal(cgroup_read_memory(&own, &memory, NULL), -1);
    assert_int_equal(cgroup_read_processor_time(pid, &used, NULL), -1);
}

static void one_that_takes_more_is_killed_and_counted(void **state)
{
    struct cgroups *groups = *state;
    struct cgroup_limits limits = {.memory = 8 * MIB, .processor_percent = 100};
    struct cgroup_doors doors = CGROUP_DOORS_NONE;
    struct cgroup own;
    struct cgroup_memory memory;
    int status;
    if (!cgroups_limit_memory(groups))
        skip();
    assert_int_equal(cgroups_make(groups, NAME, &limits, &doors, NULL), 0);
    pid_t pid = start_member(&doors, 64 * MIB);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(cgroups_get(groups, NAME, &own, NULL), 0);
    assert_int_equal(cgroup_read_memory(&own, &memory, NULL), 0);
    assert_int_equal(memory.oom_kills, 1);
    cgroup_doors_close(&doors);
    assert_int_equal(cgroups_make(groups, NAME, &limits, &doors, NULL), 0);
    assert_int_equal(cgroup_read_memory(&own, &memory, NULL), 0);
    assert_int_equal(memory.oom_kills, 0); /* made anew */
    cgroup_doors_close(&doors);
    assert_int_equal(cgroups_remove(groups, NAME, NULL), 0);
}

/* Twice: the thread has left the first group by then, and made the second ready. */
static void a_child_is_born_in_the_group_that_was_ready(void **state)
{
    struct cgroups *groups = *state;
    struct cgroup_limits limits = {.memory = 32 * MIB, .processor_percent = 100};
    struct cgroup_doors none = CGROUP_DOORS_NONE;
    struct cgroup own, found;
    struct cgroup_memory memory;
    if (cgroups_take_next(groups, NAME, &limits, NULL) < 0)
        skip(); /* not of version 1, or no memory controller */
    for (int i = 0; i < 2; i++) {
        pid_t pid = start_member(&none, MIB);
        assert_int_equal(cgroups_enter_next(groups, NULL), 0);
        await_member(groups, pid);
        assert_int_equal(cgroups_get(groups, NAME, &own, NULL), 0);
        assert_int_equal(cgroup_of_process(pid, &found, NULL), 0);
        assert_string_equal(own.memory, found.memory);
        assert_int_equal(cgroup_read_memory(&own, &memory, NULL), 0);
        assert_int_equal(memory.limit, 32 * MIB);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(cgroups_remove(groups, NAME, NULL), 0);
        assert_int_equal(cgroups_take_next(groups, NAME, &limits, NULL), 0);
    }
    assert_int_equal(cgroups_enter_next(groups, NULL), 0);
    assert_int_equal(cgroups_remove(groups, NAME, NULL), 0);
}

static void leave_groups(void)
{
    static const char *const files[] = {"/sys/fs/cgroup/memory/tasks", "/sys/fs/cgroup/cpu/tasks"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        FILE *file = fopen(files[i], "w");
        if (file != NULL) {
            fputs("0", file);
            fclose(file);
        }
    }
}

static int leave_and_close_groups(void **state)
{
    leave_groups();
    return close_groups(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_is_found_by_its_controller),
        cmocka_unit_test(a_controller_that_version_1_lacks_is_looked_for_in_version_2),
        cmocka_unit_test(mounts_of_other_kinds_are_none),
        cmocka_unit_test(a_path_that_does_not_fit_is_none),
        cmocka_unit_test(membership_is_read_for_both_versions),
        cmocka_unit_test(keys_are_whole_words),
        cmocka_unit_test_setup_teardown(a_group_holds_what_joins_it, open_groups, close_groups),
        cmocka_unit_test_setup_teardown(one_that_takes_more_is_killed_and_counted, open_groups,
                                        close_groups),
        cmocka_unit_test_setup_teardown(a_child_is_born_in_the_group_that_was_ready, open_groups,
                                        leave_and_close_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
