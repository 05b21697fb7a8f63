#include "cli/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/xalloc.h"

#define RECORD_MAX     65536
#define TAIL_BYTES     4096
#define TAIL_LINES     12
#define POLL_MS        20
#define KILL_WAIT_MS   10000
#define ARGUMENTS_MOST 64

static const struct json_field record_fields[] = {
    JSON_FIELD(struct daemon_record, pid, "pid", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct daemon_record, start, "start", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct daemon_record, port, "port", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct daemon_record, node, "node", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct daemon_record, command, "command", JSON_STRINGS, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record record_table = {sizeof(struct daemon_record), record_fields};

void daemon_record_release(struct daemon_record *record)
{
    json_record_release(&record_table, record);
}

static char *record_path(const char *run, const char *name)
{
    return xasprintf("%s/%s.json", run, name);
}

bool daemon_record_read(const char *run, const char *name, struct daemon_record *ret_record)
{
    AUTO_FREE char *path = record_path(run, name);
    AUTO_FREE char *text = NULL;
    size_t length;
    struct daemon_record record = {0};
    if (file_read(path, RECORD_MAX, &text, &length, NULL) < 0 ||
        json_parse_record(&record_table, text, length, JSON_LENIENT, &record, NULL) < 0)
        return false;
    *ret_record = record;
    return true;
}

int daemon_record_write(const char *run, const char *name, const struct daemon_record *record,
                        struct error *error)
{
    AUTO_FREE char *path = record_path(run, name);
    AUTO_FREE char *text = json_record_text(&record_table, record);
    return file_write(path, text, strlen(text), 0644, error);
}

void daemon_record_remove(const char *run, const char *name)
{
    AUTO_FREE char *path = record_path(run, name);
    unlink(path);
}

/* Whether more threads than the first are there. */
static bool has_threads(uint64_t pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%" PRIu64 "/task", pid);
    DIR *tasks = opendir(path);
    size_t count = 0;
    for (const struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;)
        count += entry->d_name[0] != '.';
    if (tasks != NULL)
        closedir(tasks);
    return count > 1;
}

/* One whose first thread has ended holds its files and locks until its last one has. */
bool daemon_is_alive(const struct daemon_record *record)
{
    struct process_stat stat;
    if (record->pid <= 1 || !process_stat_read((pid_t)record->pid, &stat) ||
        stat.start != record->start)
        return false;
    return (stat.state != 'Z' && stat.state != 'X') || has_threads(record->pid);
}

char *daemon_find_program(const char *name)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length > 0) {
        self[length] = '\0';
        char *beside = xasprintf("%s/%s", dirname(self), name);
        if (access(beside, X_OK) == 0)
            return beside;
        free(beside);
    }
    const char *path = getenv("PATH");
    AUTO_FREE char *folders = xstrdup(path != NULL ? path : "/usr/local/bin:/usr/bin:/bin");
    char *rest = folders, *folder;
    while ((folder = strsep(&rest, ":")) != NULL) {
        char *found = xasprintf("%s/%s", folder, name);
        if (folder[0] == '/' && access(found, X_OK) == 0)
            return found;
        free(found);
    }
    return NULL;
}

int daemon_run_program(char *const *arguments, bool with_errors, struct buffer *ret_output,
                       int *ret_status, struct error *error)
{
    int ends[2];
    char bytes[4096];
    ssize_t got;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "make a pipe");
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        if (with_errors)
            dup2(ends[1], STDERR_FILENO);
        execv(arguments[0], arguments);
        _exit(127);
    }
    close(ends[1]);
    while ((got = read(ends[0], bytes, sizeof bytes)) > 0)
        buffer_append(ret_output, bytes, (size_t)got);
    close(ends[0]);
    if (child < 0 || waitpid(child, ret_status, 0) < 0)
        return error_set_errno(error, errno, "run %s", arguments[0]);
    return 0;
}

/* In the child: only what may run between fork and exec. `failure` tells the parent errno. What the
 * caller's shell left open (a pipe, say, that a reader waits on) does not go on to the daemon. */
static void become_daemon(char **arguments, int log, int failure)
{
    int nothing = open("/dev/null", O_RDONLY);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (nothing >= 0 && setsid() >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
        dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0 && chdir("/") == 0 &&
        close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        execv(arguments[0], arguments);
    int number = errno;
    ssize_t ignored = write(failure, &number, sizeof number);
    (void)ignored;
    _exit(127);
}

static int spawn(char **arguments, int log, pid_t *ret_pid, struct error *error)
{
    int ends[2], number = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "create a pipe");
    pid_t pid = fork();
    if (pid == 0)
        become_daemon(arguments, log, ends[1]);
    close(ends[1]);
    ssize_t got = pid < 0 ? -1 : read(ends[0], &number, sizeof number);
    close(ends[0]);
    if (pid < 0)
        return error_set_errno(error, errno, "start %s", arguments[0]);
    if (got > 0) {
        waitpid(pid, NULL, 0);
        return error_set_errno(error, number, "start %s", arguments[0]);
    }
    *ret_pid = pid;
    return 0;
}

int daemon_start(struct daemon_record *record, const char *log, struct error *error)
{
    char *arguments[ARGUMENTS_MOST + 1] = {NULL};
    pid_t pid = 0;
    for (size_t i = 0; i < record->command.count && i < ARGUMENTS_MOST; i++)
        arguments[i] = record->command.items[i];
    AUTO_CLOSE int descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (descriptor < 0)
        return error_set_errno(error, errno, "open %s", log);
    if (spawn(arguments, descriptor, &pid, error) < 0)
        return -1;
    record->pid = (uint64_t)pid;
    record->start = process_start_time(pid);
    if (record->start == 0)
        return error_set(error, ERROR_IO, "%s ended at once", arguments[0]);
    return 0;
}

static void sleep_ms(unsigned ms)
{
    struct timespec span = {0, (long)ms * 1000000};
    nanosleep(&span, NULL);
}

static bool wait_until_gone(const struct daemon_record *record, uint64_t ms)
{
    uint64_t end = clock_monotonic_ms(clock_system()) + ms;
    for (;;) {
        waitpid((pid_t)record->pid, NULL, WNOHANG); /* when it is a child of ours */
        if (!daemon_is_alive(record))
            return true;
        if (clock_monotonic_ms(clock_system()) >= end)
            return false;
        sleep_ms(POLL_MS);
    }
}

void daemon_stop(const struct daemon_record *record, uint64_t grace_ms)
{
    if (!daemon_is_alive(record))
        return;
    kill((pid_t)record->pid, SIGTERM);
    if (wait_until_gone(record, grace_ms))
        return;
    kill((pid_t)record->pid, SIGKILL);
    wait_until_gone(record, KILL_WAIT_MS);
}

uint64_t daemon_log_length(const char *log)
{
    struct stat status;
    return stat(log, &status) == 0 ? (uint64_t)status.st_size : 0;
}

char *daemon_log_tail(const char *log, uint64_t from)
{
    char text[TAIL_BYTES + 1];
    AUTO_CLOSE int descriptor = open(log, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return xstrdup("");
    uint64_t size = (uint64_t)status.st_size;
    uint64_t begin_at = size > from + TAIL_BYTES ? size - TAIL_BYTES : from;
    ssize_t length = pread(descriptor, text, TAIL_BYTES, (off_t)begin_at);
    if (length <= 0)
        return xstrdup("");
    while (length > 0 && text[length - 1] == '\n')
        length--;
    text[length] = '\0';
    char *begin = text + length;
    for (int lines = 0; begin > text; begin--) {
        if (begin[-1] == '\n' && ++lines == TAIL_LINES)
            break;
    }
    return xstrdup(begin);
}
