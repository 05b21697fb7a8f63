#include "agent/host/proxy_process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/proxy_runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define HAPROXY_PROGRAM     "/usr/sbin/haproxy"
#define START_DEADLINE_MS   5000
#define DESCRIPTORS_WANTED  16384
#define DESCRIPTORS_BESIDES 200 /* what HAProxy opens beside its connections */

static int make_folders(const struct proxy_place *place, struct error *error)
{
    AUTO_FREE char *sockets = xasprintf("%s/s", place->folder);
    if (file_make_directory(place->folder, 0755, error) < 0 ||
        file_make_directory(sockets, 0700, error) < 0)
        return -1;
    if (chown(sockets, place->uid, place->gid) < 0 || chmod(sockets, 0700) < 0)
        return error_set_errno(error, errno, "give %s to HAProxy's user", sockets);
    return 0;
}

int proxy_place_init(struct proxy_place *ret_place, const char *run_directory, struct error *error)
{
    struct passwd entry, *found = NULL;
    char text[1024];
    if (getpwnam_r("haproxy", &entry, text, sizeof text, &found) != 0 || found == NULL)
        getpwnam_r("nobody", &entry, text, sizeof text, &found);
    if (found == NULL)
        return error_set(error, ERROR_UNAVAILABLE, "there is neither a user haproxy nor nobody");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t descriptors = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct proxy_place place = {.folder = xasprintf("%s/p", run_directory),
                                .uid = found->pw_uid,
                                .gid = found->pw_gid,
                                .connections_max =
                                    (uint32_t)(descriptors - DESCRIPTORS_BESIDES) / 2,
                                .threads = processors < 4 ? (uint32_t)processors : 4};
    if (make_folders(&place, error) < 0) {
        proxy_place_finish(&place);
        return -1;
    }
    *ret_place = place;
    return 0;
}

void proxy_place_finish(struct proxy_place *place)
{
    free(place->folder);
    place->folder = NULL;
}

static const char *mode_name(bool http)
{
    return http ? "http" : "tcp";
}

char *proxy_place_socket(const struct proxy_place *place, uint32_t publish, bool http)
{
    return xasprintf("%s/s/%" PRIu32 "-%s.sock", place->folder, publish, mode_name(http));
}

static char *file_of(const struct proxy_place *place, uint32_t publish, bool http, const char *kind)
{
    return xasprintf("%s/%" PRIu32 "-%s.%s", place->folder, publish, mode_name(http), kind);
}

void proxy_place_forget(const struct proxy_place *place, uint32_t publish, bool http)
{
    AUTO_FREE char *pid = file_of(place, publish, http, "pid");
    AUTO_FREE char *socket_path = proxy_place_socket(place, publish, http);
    unlink(pid);
    unlink(socket_path);
}

/* "8080-http.pid", "8080-http.left-123" */
static bool parse_file_name(const char *name, struct proxy_found *ret_found)
{
    char *end;
    unsigned long publish = strtoul(name, &end, 10);
    bool http = strncmp(end, "-http.", 6) == 0;
    if (publish == 0 || publish > UINT16_MAX || (!http && strncmp(end, "-tcp.", 5) != 0))
        return false;
    const char *kind = strchr(end, '.') + 1;
    struct proxy_found found = {.publish = (uint32_t)publish, .http = http};
    uint64_t pid = 0;
    if (strncmp(kind, "left-", 5) == 0) {
        if (!text_parse_u64(kind + 5, INT32_MAX, &pid) || pid < 2)
            return false;
        found.left = (pid_t)pid;
    } else if (strcmp(kind, "pid") != 0) {
        return false;
    }
    *ret_found = found;
    return true;
}

void proxy_place_list(const struct proxy_place *place, struct proxy_found **ret_found,
                      size_t *ret_count)
{
    *ret_found = NULL;
    *ret_count = 0;
    DIR *folder = opendir(place->folder);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct proxy_found found;
        if (!parse_file_name(entry->d_name, &found))
            continue;
        *ret_found = xreallocarray(*ret_found, *ret_count + 1, sizeof **ret_found);
        (*ret_found)[(*ret_count)++] = found;
    }
    closedir(folder);
}

/* ---- starting ---- */

/* What a child gets between fork and exec. */
struct child {
    const char *config;
    int listener;
    int namespace;
    int output;  /* standard output and error; its reader lets go of it once HAProxy is up */
    int gate[2]; /* a byte comes when the pid has been written down */
};

/* Waits to be written down: a HAProxy that no file tells of would hold its port for ever, should
 * this process be killed. */
static void pass_gate(const struct child *child)
{
    char byte;
    close(child->gate[1]);
    if (read(child->gate[0], &byte, 1) != 1)
        _exit(125);
}

/* Nothing but system calls. The listener becomes descriptor 3. */
static void execute(const struct proxy_place *place, const struct child *child)
{
    struct rlimit limit;
    sigset_t none;
    pass_gate(child);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
    int nothing = open("/dev/null", O_RDONLY);
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(child->output, STDOUT_FILENO) < 0 ||
        dup2(child->output, STDERR_FILENO) < 0 || setns(child->namespace, CLONE_NEWNET) < 0 ||
        dup2(child->listener, PROXY_LISTEN_DESCRIPTOR) < 0 ||
        fcntl(PROXY_LISTEN_DESCRIPTOR, F_SETFD, 0) < 0 || setsid() < 0 ||
        setrlimit(RLIMIT_NOFILE, &limit) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(place->gid, place->gid, place->gid) < 0 ||
        setresuid(place->uid, place->uid, place->uid) < 0 || chdir("/") < 0)
        _exit(126);
    syscall(SYS_close_range, PROXY_LISTEN_DESCRIPTOR + 1, ~0U, 0);
    execl(HAPROXY_PROGRAM, "haproxy", "-db", "-f", child->config, (char *)NULL);
    _exit(127);
}

static int explain_exit(int status, int output, struct error *error)
{
    char text[1024] = "";
    ssize_t got = read(output, text, sizeof text - 1);
    text[got > 0 ? got : 0] = '\0';
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return error_set(error, ERROR_UNAVAILABLE,
                         "HAProxy does not start: is " HAPROXY_PROGRAM " installed?");
    text[strcspn(text, "\n")] = '\0';
    return error_set(error, ERROR_UNAVAILABLE, "HAProxy does not start: %s", text);
}

/* Until the stats socket answers: only then does it accept connections. */
static int await_ready(pid_t pid, const char *socket_path, int output, struct error *error)
{
    uint64_t deadline = clock_monotonic_ms(clock_system()) + START_DEADLINE_MS;
    for (;;) {
        AUTO_BUFFER struct buffer answer = {0};
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return explain_exit(status, output, error);
        if (proxy_runtime_command(socket_path, "show version", &answer, NULL) == 0 &&
            answer.length > 0)
            return 0;
        if (clock_monotonic_ms(clock_system()) >= deadline) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return error_set(error, ERROR_TIMEOUT, "HAProxy did not start within %d s",
                             START_DEADLINE_MS / 1000);
        }
        nanosleep(&(struct timespec){.tv_nsec = 3 * 1000 * 1000}, NULL);
    }
}

static int watch(pid_t pid, struct proxy_process *ret_process, struct error *error)
{
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    if (descriptor < 0)
        return error_set_errno(error, errno, "watch HAProxy");
    *ret_process = (struct proxy_process){.pid = pid, .watch = descriptor};
    return 0;
}

static int write_pid(const char *path, pid_t pid, struct error *error)
{
    char number[24];
    int length = snprintf(number, sizeof number, "%d\n", (int)pid);
    return file_write(path, number, (size_t)length, 0644, error);
}

static int open_gate(int gate, struct error *error)
{
    if (write(gate, "", 1) != 1)
        return error_set_errno(error, errno, "start HAProxy: pipe");
    return 0;
}

/* A child that waits at its gate, or -1. */
static pid_t fork_child(const struct proxy_place *place, struct child *child, struct error *error)
{
    if (pipe2(child->gate, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "start HAProxy: pipe");
    pid_t pid = fork();
    if (pid == 0)
        execute(place, child);
    close(child->gate[0]);
    if (pid < 0) {
        error_set_errno(error, errno, "start HAProxy");
        close(child->gate[1]);
    }
    return pid;
}

static int spawn(const struct proxy_place *place, struct child *child, const char *pid_path,
                 const char *socket_path, struct proxy_process *ret_process, struct error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(error, errno, "start HAProxy: pipe");
    child->output = ends[1];
    int result = -1;
    pid_t pid = fork_child(place, child, error);
    if (pid > 0) {
        struct proxy_process process = {-1, -1};
        result = write_pid(pid_path, pid, error) < 0 || watch(pid, &process, error) < 0
                     ? -1
                     : open_gate(child->gate[1], error);
        close(child->gate[1]);
        if (result == 0)
            result = await_ready(pid, socket_path, ends[0], error);
        else
            waitpid(pid, NULL, 0); /* the gate is closed: it ends */
        if (result == 0)
            *ret_process = process;
        else if (process.watch >= 0)
            close(process.watch);
    }
    close(ends[0]);
    close(ends[1]);
    return result;
}

int proxy_process_start(const struct proxy_place *place, const struct proxy_frontend *frontend,
                        int listener, int namespace, struct proxy_process *ret_process,
                        struct error *error)
{
    AUTO_FREE char *config_path = file_of(place, frontend->publish, frontend->http, "cfg");
    AUTO_FREE char *pid_path = file_of(place, frontend->publish, frontend->http, "pid");
    AUTO_FREE char *socket_path = proxy_place_socket(place, frontend->publish, frontend->http);
    AUTO_BUFFER struct buffer text = {0};
    struct proxy_config config = {.stats_socket = socket_path,
                                  .connections_max = place->connections_max,
                                  .threads = place->threads};
    proxy_config_render(frontend, &config, &text);
    struct child child = {.config = config_path, .listener = listener, .namespace = namespace};
    unlink(socket_path);
    if (file_write(config_path, text.data, text.length, 0644, error) < 0)
        return -1;
    if (spawn(place, &child, pid_path, socket_path, ret_process, error) < 0) {
        unlink(pid_path);
        return -1;
    }
    return 0;
}

/* ---- finding again ---- */

/* Whether the process runs HAProxy with this configuration: pids are used again. */
static bool is_ours(pid_t pid, const char *config_path)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/cmdline", (int)pid);
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(path, 4096, &text, &length, NULL) < 0)
        return false;
    for (char *at = text; at < text + length; at += strlen(at) + 1) {
        if (strcmp(at, config_path) == 0)
            return true;
    }
    return false;
}

static bool listens_on(int descriptor, uint32_t publish)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int listening = 0;
    socklen_t size = sizeof listening;
    return getsockname(descriptor, (struct sockaddr *)&address, &length) == 0 &&
           address.sin_family == AF_INET && ntohs(address.sin_port) == publish &&
           getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 &&
           listening != 0;
}

int proxy_process_adopt(const struct proxy_place *place, uint32_t publish, bool http,
                        struct proxy_process *ret_process, int *ret_listener)
{
    AUTO_FREE char *config_path = file_of(place, publish, http, "cfg");
    AUTO_FREE char *pid_path = file_of(place, publish, http, "pid");
    AUTO_FREE char *text = NULL;
    uint64_t pid;
    struct proxy_process process = {-1, -1};
    if (file_read(pid_path, 32, &text, NULL, NULL) < 0)
        return -1;
    text[strcspn(text, "\n")] = '\0';
    if (!text_parse_u64(text, INT32_MAX, &pid) || pid == 0 || watch((pid_t)pid, &process, NULL) < 0)
        return -1;
    AUTO_CLOSE int watched = process.watch;
    if (!is_ours(process.pid, config_path))
        return -1;
    AUTO_CLOSE int listener =
        (int)syscall(SYS_pidfd_getfd, process.watch, PROXY_LISTEN_DESCRIPTOR, 0);
    if (listener < 0 || !listens_on(listener, publish)) {
        kill(process.pid, SIGTERM); /* not of use without its socket */
        return -1;
    }
    *ret_process = process;
    *ret_listener = TAKE_DESCRIPTOR(listener);
    (void)TAKE_DESCRIPTOR(watched);
    return 0;
}

static char *left_file_of(const struct proxy_place *place, uint32_t publish, bool http, pid_t pid)
{
    AUTO_FREE char *kind = xasprintf("left-%d", (int)pid);
    return file_of(place, publish, http, kind);
}

int proxy_process_adopt_left(const struct proxy_place *place, const struct proxy_found *found,
                             struct proxy_process *ret_process)
{
    AUTO_FREE char *config_path = file_of(place, found->publish, found->http, "cfg");
    struct proxy_process process = {-1, -1};
    if (watch(found->left, &process, NULL) == 0) {
        if (is_ours(process.pid, config_path)) {
            syscall(SYS_pidfd_send_signal, process.watch, SIGUSR1, NULL, 0);
            *ret_process = process;
            return 0;
        }
        close(process.watch);
    }
    AUTO_FREE char *left = left_file_of(place, found->publish, found->http, found->left);
    unlink(left);
    return -1;
}

/* ---- ending ---- */

void proxy_process_leave(const struct proxy_place *place, uint32_t publish, bool http,
                         const struct proxy_process *process)
{
    AUTO_FREE char *left = left_file_of(place, publish, http, process->pid);
    AUTO_FREE char *pid = file_of(place, publish, http, "pid");
    rename(pid, left);
    syscall(SYS_pidfd_send_signal, process->watch, SIGUSR1, NULL, 0);
}

void proxy_process_reap(const struct proxy_place *place, uint32_t publish, bool http,
                        struct proxy_process *process)
{
    if (process->pid < 0)
        return;
    AUTO_FREE char *left = left_file_of(place, publish, http, process->pid);
    unlink(left);
    waitpid(process->pid, NULL, WNOHANG);
    close(process->watch);
    process->pid = -1;
    process->watch = -1;
}

static int kill_and_wait(pid_t pid, struct error *error)
{
    struct proxy_process process = {-1, -1};
    if (watch(pid, &process, NULL) < 0)
        return 0;
    struct pollfd ended = {.fd = process.watch, .events = POLLIN};
    syscall(SYS_pidfd_send_signal, process.watch, SIGKILL, NULL, 0);
    int result = poll(&ended, 1, START_DEADLINE_MS);
    close(process.watch);
    if (result <= 0)
        return error_set(error, ERROR_TIMEOUT, "HAProxy %d does not end", (int)pid);
    return 0;
}

/* The process that a file of the folder tells of, or 0. */
static pid_t process_of_file(const struct proxy_place *place, const char *name)
{
    struct proxy_found found;
    if (!parse_file_name(name, &found))
        return 0;
    AUTO_FREE char *path = xasprintf("%s/%s", place->folder, name);
    AUTO_FREE char *config = file_of(place, found.publish, found.http, "cfg");
    AUTO_FREE char *text = NULL;
    pid_t pid = found.left;
    if (pid == 0 && file_read(path, 32, &text, NULL, NULL) == 0)
        pid = (pid_t)strtol(text, NULL, 10);
    return pid > 1 && is_ours(pid, config) ? pid : 0;
}

int proxy_place_end_all(const struct proxy_place *place, struct error *error)
{
    DIR *folder = opendir(place->folder);
    if (folder == NULL)
        return 0;
    struct dirent *entry;
    int result = 0;
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        pid_t pid = process_of_file(place, entry->d_name);
        if (pid > 0)
            result = kill_and_wait(pid, error);
    }
    closedir(folder);
    return result == 0 ? file_remove_tree(place->folder, error) : -1;
}
