#include "agent/host/daemon_process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define START_DEADLINE_MS 5000
#define READY_EVERY_MS    3

/* ---- in the child: nothing but system calls ---- */

/* Waits to be written down: a program that no file tells of would run for ever, should this
 * process be killed. */
static void pass_gate(const int gate[2])
{
    char byte;
    close(gate[1]);
    if (read(gate[0], &byte, 1) != 1)
        _exit(125);
}

static int limit_resources(const struct daemon_program *program)
{
    struct rlimit files;
    struct rlimit bytes = {program->file_bytes, program->file_bytes};
    if (program->file_bytes != 0) {
        signal(SIGXFSZ, SIG_IGN); /* the write fails instead */
        if (setrlimit(RLIMIT_FSIZE, &bytes) < 0)
            return -1;
    }
    if (program->descriptors == 0)
        return 0;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < program->descriptors ? files.rlim_max : program->descriptors;
    return setrlimit(RLIMIT_NOFILE, &files);
}

/* No program that it may run later can give it more than these. */
static int bound_capabilities(uint64_t capabilities)
{
    for (unsigned long number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++) {
        if ((capabilities >> number & 1) == 0 && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0)
            return -1;
    }
    return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
}

/* Ambient ones stay with a user that is not root when it becomes another program. */
static int keep_capabilities(uint64_t capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    for (int i = 0; i < 2; i++) {
        uint32_t half = (uint32_t)(capabilities >> (32 * i));
        sets[i] = (struct __user_cap_data_struct){half, half, half};
    }
    if (syscall(SYS_capset, &header, sets) < 0)
        return -1;
    for (unsigned long number = 0; number < 64; number++) {
        if ((capabilities >> number & 1) != 0 &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0)
            return -1;
    }
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int become_user(const struct daemon_program *program)
{
    if (bound_capabilities(program->capabilities) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(program->gid, program->gid, program->gid) < 0 ||
        setresuid(program->uid, program->uid, program->uid) < 0)
        return -1;
    return keep_capabilities(program->capabilities);
}

static int take_descriptors(const struct daemon_program *program)
{
    int nothing = open("/dev/null", O_RDONLY);
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(program->output, STDOUT_FILENO) < 0 ||
        dup2(program->output, STDERR_FILENO) < 0)
        return -1;
    unsigned first = DAEMON_LISTEN_DESCRIPTOR;
    if (program->listener >= 0) {
        if (dup2(program->listener, DAEMON_LISTEN_DESCRIPTOR) < 0 ||
            fcntl(DAEMON_LISTEN_DESCRIPTOR, F_SETFD, 0) < 0)
            return -1;
        first++;
    }
    return (int)syscall(SYS_close_range, first, ~0U, 0);
}

static void execute(const struct daemon_program *program, const int gate[2])
{
    sigset_t none;
    pass_gate(gate);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (setns(program->namespace, CLONE_NEWNET) < 0 || take_descriptors(program) < 0 ||
        setsid() < 0 || limit_resources(program) < 0 || become_user(program) < 0 || chdir("/") < 0)
        _exit(126);
    execv(program->path, (char *const *)program->arguments);
    _exit(127);
}

/* ---- starting ---- */

static int watch(pid_t pid, const char *title, struct daemon_process *ret_process,
                 struct error *error)
{
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    if (descriptor < 0)
        return error_set_errno(error, errno, "watch %s", title);
    *ret_process = (struct daemon_process){.pid = pid, .watch = descriptor};
    return 0;
}

static int write_down(const char *path, pid_t pid, struct error *error)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%d %" PRIu64 "\n", (int)pid, process_start_time(pid));
    return file_write(path, line, (size_t)length, 0644, error);
}

/* A child that has been written down and may begin. */
static int spawn(const struct daemon_program *program, struct daemon_process *ret_process,
                 struct error *error)
{
    int gate[2];
    struct daemon_process process = DAEMON_PROCESS_NONE;
    if (pipe2(gate, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "start %s: pipe", program->title);
    pid_t pid = fork();
    if (pid == 0)
        execute(program, gate);
    close(gate[0]);
    int result = pid < 0 ? error_set_errno(error, errno, "start %s", program->title) : 0;
    if (result == 0)
        result = write_down(program->pid_path, pid, error);
    if (result == 0)
        result = watch(pid, program->title, &process, error);
    if (result == 0 && write(gate[1], "", 1) != 1)
        result = error_set_errno(error, errno, "start %s: pipe", program->title);
    close(gate[1]);
    if (result == 0) {
        *ret_process = process;
        return 0;
    }
    if (pid > 0)
        waitpid(pid, NULL, 0); /* the gate is closed: it ends */
    if (process.watch >= 0)
        close(process.watch);
    return -1;
}

static int explain_exit(const struct daemon_program *program, int status, struct error *error)
{
    char text[1024] = "";
    ssize_t got = read(program->explanation, text, sizeof text - 1);
    text[got > 0 ? got : 0] = '\0';
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return error_set(error, ERROR_UNAVAILABLE, "%s does not start: is %s installed?",
                         program->title, program->path);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
        return error_set(error, ERROR_UNAVAILABLE,
                         "%s does not start: it cannot be put into the guests' namespace",
                         program->title);
    char *line = text + strspn(text, "\n");
    line[strcspn(line, "\n")] = '\0';
    return error_set(error, ERROR_UNAVAILABLE, "%s does not start: %s", program->title, line);
}

static int await_ready(const struct daemon_program *program, pid_t pid,
                       bool (*ready)(void *context, pid_t), void *context, struct error *error)
{
    uint64_t deadline = clock_monotonic_ms(clock_system()) + START_DEADLINE_MS;
    for (;;) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return explain_exit(program, status, error);
        if (ready(context, pid))
            return 0;
        if (clock_monotonic_ms(clock_system()) >= deadline) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return error_set(error, ERROR_TIMEOUT, "%s did not start within %d s", program->title,
                             START_DEADLINE_MS / 1000);
        }
        nanosleep(&(struct timespec){.tv_nsec = READY_EVERY_MS * 1000000L}, NULL);
    }
}

int daemon_process_start(const struct daemon_program *program, bool (*ready)(void *context, pid_t),
                         void *context, struct daemon_process *ret_process, struct error *error)
{
    struct daemon_process process = DAEMON_PROCESS_NONE;
    int result = spawn(program, &process, error);
    if (result == 0)
        result = await_ready(program, process.pid, ready, context, error);
    if (result < 0) {
        if (process.watch >= 0)
            close(process.watch);
        unlink(program->pid_path);
        return -1;
    }
    *ret_process = process;
    return 0;
}

/* ---- finding again ---- */

static bool has_argument(pid_t pid, const char *mark)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/cmdline", (int)pid);
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(path, 4096, &text, &length, NULL) < 0)
        return false;
    for (char *at = text; at < text + length; at += strlen(at) + 1) {
        if (strcmp(at, mark) == 0)
            return true;
    }
    return false;
}

/* "<pid> <start time>" */
static bool read_down(const char *path, pid_t *ret_pid, uint64_t *ret_started)
{
    AUTO_FREE char *text = NULL;
    uint64_t pid, started;
    if (file_read(path, 64, &text, NULL, NULL) < 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    char *space = strchr(text, ' ');
    if (space == NULL)
        return false;
    *space = '\0';
    if (!text_parse_u64(text, INT32_MAX, &pid) || pid < 2 ||
        !text_parse_u64(space + 1, UINT64_MAX, &started))
        return false;
    *ret_pid = (pid_t)pid;
    *ret_started = started;
    return true;
}

int daemon_process_find(const char *pid_path, const char *mark, struct daemon_process *ret_process)
{
    struct daemon_process process = DAEMON_PROCESS_NONE;
    pid_t pid;
    uint64_t started;
    if (!read_down(pid_path, &pid, &started) || watch(pid, mark, &process, NULL) < 0)
        return -1;
    /* Asked after the descriptor is open, so they are of the process that it watches. */
    if (process_start_time(pid) != started || !has_argument(pid, mark)) {
        close(process.watch);
        return -1;
    }
    *ret_process = process;
    return 0;
}

bool daemon_process_has_ended(const struct daemon_process *process)
{
    struct pollfd entry = {.fd = process->watch, .events = POLLIN};
    return process->pid > 0 && poll(&entry, 1, 0) == 1;
}

void daemon_process_signal(const struct daemon_process *process, int number)
{
    if (process->pid > 0)
        syscall(SYS_pidfd_send_signal, process->watch, number, NULL, 0);
}

/* ---- ending ---- */

void daemon_process_release(struct daemon_process *process)
{
    if (process->pid < 0)
        return;
    waitpid(process->pid, NULL, WNOHANG);
    close(process->watch);
    *process = DAEMON_PROCESS_NONE;
}

int daemon_process_end(struct daemon_process *process, const char *title, struct error *error)
{
    struct pollfd ended = {.fd = process->watch, .events = POLLIN};
    pid_t pid = process->pid;
    if (pid < 0)
        return 0;
    daemon_process_signal(process, SIGKILL);
    int result = poll(&ended, 1, START_DEADLINE_MS);
    daemon_process_release(process);
    if (result <= 0)
        return error_set(error, ERROR_TIMEOUT, "%s %d does not end", title, (int)pid);
    return 0;
}
