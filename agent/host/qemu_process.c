#include "agent/host/qemu_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define DESCRIPTORS_MAX 256
#define LOCKED_MAX      ((rlim_t)64 << 10)
#define FILE_MAX        ((rlim_t)2 << 40) /* an overlay of the largest disk, and a volume */
#define WORDS_PAGE      4096

/* ---- in the child: nothing but system calls ---- */

/* Where QEMU would have said why it does not start. */
static void die(const char *step)
{
    const char *why = strerrordesc_np(errno);
    const char *const parts[] = {step, ": ", why != NULL ? why : "?", "\n"};
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
            break;
    }
    _exit(126);
}

static void check(bool done, const char *step)
{
    if (!done)
        die(step);
}

static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* two of them refuse: the C library's own */
    sigemptyset(&none);
    check(sigprocmask(SIG_SETMASK, &none, NULL) == 0, "reset signals");
}

/* An agent that the kernel is to spare hands that down: a guest would be spared too, in place of
 * what the host needs, and even where it reaches its own limit. */
static void be_like_others(void)
{
    char sign = '0';
    int file = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (file >= 0 && pread(file, &sign, 1, 0) == 1 && sign == '-')
        check(pwrite(file, "0", 1, 0) == 1, "be killed for memory like others");
}

static void join_groups(const struct cgroup_doors *doors)
{
    for (size_t i = 0; i < CGROUP_DOORS_MAX; i++)
        check(doors->descriptors[i] < 0 || write(doors->descriptors[i], "0", 1) == 1,
              "join its control group");
}

static void limit(int resource, rlim_t value, const char *step)
{
    struct rlimit both = {value, value};
    check(syscall(SYS_prlimit64, 0, resource, &both, NULL) == 0, step);
}

static void limit_resources(const struct qemu_start *start)
{
    limit(RLIMIT_CORE, 0, "forbid core dumps");
    limit(RLIMIT_NOFILE, DESCRIPTORS_MAX, "limit descriptors");
    limit(RLIMIT_NPROC, start->threads, "limit threads");
    limit(RLIMIT_MEMLOCK, LOCKED_MAX, "limit locked memory");
    limit(RLIMIT_MSGQUEUE, 0, "limit message queues");
    limit(RLIMIT_FSIZE, start->writes ? FILE_MAX : 0, "limit files");
}

/* Nothing that it may become can give it a capability back. */
static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    check(syscall(SYS_capset, &header, none) == 0, "drop capabilities");
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "forbid new privileges");
}

/* Raw calls: the C library's would look for the threads of the process this was forked from. */
static void become_user(const struct qemu_start *start)
{
    for (unsigned long number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++)
        check(prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0, "bound capabilities");
    check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0, "drop capabilities");
    check(syscall(SYS_setgroups, 0, NULL) == 0 &&
              syscall(SYS_setresgid, start->gid, start->gid, start->gid) == 0 &&
              syscall(SYS_setresuid, start->uid, start->uid, start->uid) == 0,
          "become its user");
    drop_capabilities();
}

/* Out of the way first: one may lie where another has to go. */
static void take_descriptors(const struct qemu_start *start)
{
    int given[] = {start->console, start->monitor, start->tap};
    for (size_t i = 0; i < ARRAY_LENGTH(given); i++) {
        given[i] = fcntl(given[i], F_DUPFD, QEMU_DESCRIPTOR_END);
        check(given[i] >= 0, "take its descriptors");
    }
    check(dup2(given[0], QEMU_DESCRIPTOR_CONSOLE) >= 0 &&
              dup2(given[1], QEMU_DESCRIPTOR_MONITOR) >= 0 &&
              dup2(given[2], QEMU_DESCRIPTOR_TAP) >= 0,
          "take its descriptors");
    check(syscall(SYS_close_range, QEMU_DESCRIPTOR_END, ~0U, 0) == 0, "close other descriptors");
}

/* Groups first, so that what follows is counted there; descriptors late, because the doors are
 * among them; the user last. */
static void execute(const struct qemu_start *start, int nothing, int words)
{
    static char locale[] = "LC_ALL=C";
    static char *const environment[] = {locale, NULL};
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(words, STDOUT_FILENO) < 0 ||
        dup2(words, STDERR_FILENO) < 0)
        _exit(125);
    reset_signals();
    check(setsid() > 0, "begin a session");
    be_like_others();
    join_groups(start->doors);
    check(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) == 0, "make its namespaces");
    check(qemu_view_enter(start->view) == 0, "enter its own files");
    take_descriptors(start);
    limit_resources(start);
    become_user(start);
    execve(start->command->program, start->command->arguments, environment);
    die(start->command->program);
}

/* ---- starting ---- */

/* As fork, with a descriptor of the child, and not before the child has become QEMU or has ended.
 * Its memory is a copy: nothing that it does before can harm this process. */
static pid_t fork_watched(int *ret_watch)
{
    int watch = -1;
    struct clone_args arguments = {
        .flags = CLONE_PIDFD | CLONE_VFORK,
        .pidfd = (uint64_t)(uintptr_t)&watch,
        .exit_signal = SIGCHLD,
    };
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid > 0)
        *ret_watch = watch;
    return (pid_t)pid;
}

static int make_words(int ret_ends[2], struct error *error)
{
    if (pipe2(ret_ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(error, errno, "make a pipe for QEMU");
    fcntl(ret_ends[1], F_SETPIPE_SZ, WORDS_PAGE); /* a wish */
    return 0;
}

int qemu_process_start(const struct qemu_start *start, struct qemu_process *ret_process,
                       struct error *error)
{
    struct qemu_process process = QEMU_PROCESS_NONE;
    int ends[2];
    AUTO_CLOSE int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0)
        return error_set_errno(error, errno, "open /dev/null");
    if (make_words(ends, error) < 0)
        return -1;
    process.words = ends[0];
    process.pid = fork_watched(&process.watch);
    int number = errno;
    if (process.pid == 0)
        execute(start, nothing, ends[1]);
    close(ends[1]);
    if (process.pid < 0) {
        close(ends[0]);
        return error_set_errno(error, number, "start %s", start->command->program);
    }
    *ret_process = process;
    return 0;
}

/* ---- one that runs already ---- */

/* Its end of the pipe, opened for reading. What a QEMU that was taken over put in its place is not
 * read. */
static int open_words(pid_t pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/fd/%d", (int)pid, STDERR_FILENO);
    struct stat status;
    if (stat(path, &status) < 0 || !S_ISFIFO(status.st_mode))
        return -1;
    AUTO_CLOSE int words = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (words < 0 || fstat(words, &status) < 0 || !S_ISFIFO(status.st_mode))
        return -1;
    return TAKE_DESCRIPTOR(words);
}

int qemu_process_find(pid_t pid, uint64_t started, struct qemu_process *ret_process,
                      struct error *error)
{
    struct qemu_process process = QEMU_PROCESS_NONE;
    process.watch = (int)syscall(SYS_pidfd_open, pid, 0); /* from here on nobody else's */
    if (process.watch < 0 || started == 0 || process_start_time(pid) != started ||
        qemu_process_has_ended(&process)) {
        qemu_process_release(&process);
        return error_set(error, ERROR_NOT_FOUND, "its process %d is gone", (int)pid);
    }
    process.pid = pid;
    process.words = open_words(pid);
    *ret_process = process;
    return 0;
}

bool qemu_process_has_ended(const struct qemu_process *process)
{
    struct pollfd ended = {.fd = process->watch, .events = POLLIN};
    return process->watch < 0 || poll(&ended, 1, 0) > 0;
}

void qemu_process_kill(const struct qemu_process *process)
{
    if (process->watch >= 0)
        syscall(SYS_pidfd_send_signal, process->watch, SIGKILL, NULL, 0);
}

int qemu_process_reap(const struct qemu_process *process)
{
    siginfo_t ended = {0};
    if (waitid(P_PIDFD, (id_t)process->watch, &ended, WEXITED | WNOHANG) < 0 || ended.si_pid == 0)
        return -1;
    return ended.si_code == CLD_EXITED ? W_EXITCODE(ended.si_status, 0)
                                       : W_EXITCODE(0, ended.si_status);
}

void qemu_process_last_words(const struct qemu_process *process, char ret_words[QEMU_WORDS_MAX])
{
    char text[WORDS_PAGE + 1];
    ssize_t got = process->words >= 0 ? read(process->words, text, WORDS_PAGE) : 0;
    text[got > 0 ? got : 0] = '\0';
    for (size_t length = strlen(text); length > 0 && text[length - 1] == '\n';)
        text[--length] = '\0';
    const char *line = strrchr(text, '\n');
    snprintf(ret_words, QEMU_WORDS_MAX, "%.*s", QEMU_WORDS_MAX - 1, line != NULL ? line + 1 : text);
    text_make_line(ret_words);
}

void qemu_process_release(struct qemu_process *process)
{
    if (process->watch >= 0)
        close(process->watch);
    if (process->words >= 0)
        close(process->words);
    *process = QEMU_PROCESS_NONE;
}

/* ---- time ---- */

uint64_t process_uptime_ms(pid_t pid)
{
    struct timespec now;
    uint64_t started = process_start_time(pid);
    if (started == 0 || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
        return 0;
    uint64_t begun = started * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t present = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return present > begun ? present - begun : 0;
}
