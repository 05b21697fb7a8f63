#include "agent/host/dhcp_server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/daemon_process.h"
#include "agent/host/guest_user.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define DNSMASQ_PROGRAM  "/usr/sbin/dnsmasq"
#define SERVER_PORT      67
#define FILE_READ_MAX    ((size_t)1 << 20)
#define LOOK_MS          10000 /* at the log's length */
#define BACKOFF_FIRST_MS 100   /* between two starts, doubling */
#define BACKOFF_LAST_MS  30000
#define HEALTHY_MS       60000 /* who has run for so long is started again at once */
#define LOG_BYTES        ((off_t)1 << 20)
#define LOG_BYTES_LIMIT  ((size_t)8 << 20) /* where no agent looks at its length */

struct dhcp_server {
    char *folder, *leases_folder, *log_path;
    int namespace;
    pthread_t thread;
    int wake;
    pthread_mutex_t lock; /* what follows is under it, but only the thread starts and ends it */
    pthread_cond_t changed;
    bool stopping;
    bool wanted;             /* there is a configuration to run with */
    bool restart;            /* what runs has another one */
    bool reload;             /* asked for while it was being started */
    uint64_t asked, settled; /* calls of dhcp_server_await, and how many are dealt with */
    struct error problem;    /* why it does not run */
    struct daemon_process process;
    /* the thread's own */
    uint64_t started_at, again_at, backoff_ms;
};

static uint64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

/* ---- files ---- */

static char *config_path_of(const char *folder)
{
    return xasprintf("%s/dnsmasq.conf", folder);
}

/* By this argument a dnsmasq is known as this node's. */
static char *mark_of(const char *folder)
{
    return xasprintf("--conf-file=%s/dnsmasq.conf", folder);
}

static int find(const char *folder, struct daemon_process *ret_process)
{
    AUTO_FREE char *pid_path = xasprintf("%s/dnsmasq.pid", folder);
    AUTO_FREE char *mark = mark_of(folder);
    return daemon_process_find(pid_path, mark, ret_process);
}

static int open_log(const char *path, int *ret_reader, struct error *error)
{
    AUTO_CLOSE int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    AUTO_CLOSE int reader = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (log < 0 || reader < 0 || lseek(reader, 0, SEEK_END) < 0)
        return error_set_errno(error, errno, "open dnsmasq's log %s", path);
    *ret_reader = TAKE_DESCRIPTOR(reader);
    return TAKE_DESCRIPTOR(log);
}

/* dnsmasq keeps the file open and appends to it, so it is copied and cut. Once a write has failed
 * at the limit it writes no more, and has to be started again. */
static void shorten_log(struct dhcp_server *server)
{
    struct stat status;
    if (stat(server->log_path, &status) < 0 || status.st_size <= LOG_BYTES)
        return;
    AUTO_FREE char *before = xasprintf("%s.1", server->log_path);
    AUTO_FREE char *text = NULL;
    size_t length;
    struct error error = ERROR_INIT;
    if (file_read(server->log_path, LOG_BYTES_LIMIT, &text, &length, &error) < 0 ||
        file_write(before, text, length, 0640, &error) < 0)
        log_warn("dnsmasq's log is cut without a copy", "error", error.message);
    if (truncate(server->log_path, 0) < 0)
        log_warn("dnsmasq's log cannot be cut", "error", strerror(errno));
    else if (status.st_size >= (off_t)LOG_BYTES_LIMIT)
        server->restart = true;
}

/* ---- the process, on the thread, under the lock where not said otherwise ---- */

/* Whether it has bound port 67: from then on no request is lost. The port and the user of each
 * socket of its namespace stand in a table, proc(5). */
static bool is_bound(void *context, pid_t pid)
{
    (void)context;
    AUTO_FREE char *path = xasprintf("/proc/%d/net/udp", (int)pid);
    AUTO_FREE char *text = NULL;
    if (file_read(path, FILE_READ_MAX, &text, NULL, NULL) < 0)
        return false;
    for (const char *line = strchr(text, '\n'); line != NULL; line = strchr(line + 1, '\n')) {
        unsigned port, user;
        if (sscanf(line, " %*d: %*8x:%4x %*s %*s %*s %*s %*s %u", &port, &user) == 2 &&
            port == SERVER_PORT && user == GUEST_USER_DHCP)
            return true;
    }
    return false;
}

/* Not under the lock. */
static int start_process(const struct dhcp_server *server, struct daemon_process *ret_process,
                         struct error *error)
{
    AUTO_FREE char *pid_path = xasprintf("%s/dnsmasq.pid", server->folder);
    AUTO_FREE char *mark = mark_of(server->folder);
    AUTO_FREE char *leases = xasprintf("--dhcp-hostsdir=%s", server->leases_folder);
    AUTO_CLOSE int reader = -1;
    AUTO_CLOSE int log = open_log(server->log_path, &reader, error);
    if (log < 0)
        return -1;
    const char *const arguments[] = {"dnsmasq",     "--keep-in-foreground", mark, leases,
                                     "--pid-file=", "--log-facility=-",     NULL};
    /* It may bind port 67, and tell the kernel the MAC of a guest that does not know its address
     * yet and so cannot be asked. */
    struct daemon_program program = {.title = "dnsmasq",
                                     .path = DNSMASQ_PROGRAM,
                                     .arguments = arguments,
                                     .pid_path = pid_path,
                                     .namespace = server->namespace,
                                     .uid = GUEST_USER_DHCP,
                                     .gid = GUEST_USER_DHCP,
                                     .capabilities = UINT64_C(1) << CAP_NET_BIND_SERVICE |
                                                     UINT64_C(1) << CAP_NET_ADMIN,
                                     .listener = -1,
                                     .output = log,
                                     .explanation = reader,
                                     .file_bytes = LOG_BYTES_LIMIT};
    return daemon_process_start(&program, is_bound, NULL, ret_process, error);
}

static void back_off(struct dhcp_server *server)
{
    uint64_t longer = server->backoff_ms == 0 ? BACKOFF_FIRST_MS : server->backoff_ms * 2;
    server->backoff_ms = longer > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : longer;
    server->again_at = now_ms() + server->backoff_ms;
}

/* The lock is let go while it starts. What it read at the beginning of its start may have changed
 * until the end, so it reads again where somebody asked for that. */
static void start(struct dhcp_server *server)
{
    struct daemon_process process = DAEMON_PROCESS_NONE;
    struct error error = ERROR_INIT;
    server->reload = false;
    pthread_mutex_unlock(&server->lock);
    int result = start_process(server, &process, &error);
    pthread_mutex_lock(&server->lock);
    server->problem = error;
    server->started_at = now_ms();
    if (result < 0) {
        back_off(server);
        log_warn("no guest gets its address by DHCP", "reason", error.message, "again_in_ms",
                 LOG_NUMBER(server->backoff_ms));
        return;
    }
    log_info("dnsmasq started", "pid", LOG_NUMBER(process.pid));
    server->process = process;
    if (server->reload)
        daemon_process_signal(&server->process, SIGHUP);
}

static void note_end(struct dhcp_server *server)
{
    log_warn("dnsmasq ended and is started again", "log", server->log_path);
    daemon_process_release(&server->process);
    error_set(&server->problem, ERROR_UNAVAILABLE, "dnsmasq ended and is being started again");
    if (now_ms() - server->started_at >= HEALTHY_MS)
        server->backoff_ms = 0;
    back_off(server);
}

/* The lock is let go meanwhile. */
static void end(struct dhcp_server *server)
{
    struct daemon_process process = server->process;
    struct error error = ERROR_INIT;
    server->process = DAEMON_PROCESS_NONE;
    pthread_mutex_unlock(&server->lock);
    if (daemon_process_end(&process, "dnsmasq", &error) < 0)
        log_warn("dnsmasq cannot be ended", "error", error.message);
    pthread_mutex_lock(&server->lock);
}

static void settle(struct dhcp_server *server)
{
    uint64_t asked = server->asked;
    if (daemon_process_has_ended(&server->process))
        note_end(server);
    shorten_log(server);
    if (server->restart) {
        server->restart = false;
        end(server);
        server->again_at = 0;
    }
    if (server->process.pid < 0 && server->wanted &&
        (server->again_at <= now_ms() || asked > server->settled))
        start(server);
    server->settled = asked;
    pthread_cond_broadcast(&server->changed);
}

static int time_to_wait(const struct dhcp_server *server)
{
    uint64_t now = now_ms();
    if (server->process.pid > 0 || !server->wanted)
        return LOOK_MS;
    return server->again_at <= now ? 0 : (int)(server->again_at - now);
}

/* Not under the lock. */
static void wait_for_work(const struct dhcp_server *server, int timeout)
{
    struct pollfd entries[] = {{.fd = server->wake, .events = POLLIN},
                               {.fd = server->process.watch, .events = POLLIN}};
    eventfd_t ignored;
    if (poll(entries, ARRAY_LENGTH(entries), timeout) > 0 && entries[0].revents != 0)
        eventfd_read(server->wake, &ignored);
}

static void *run(void *context)
{
    struct dhcp_server *server = context;
    pthread_mutex_lock(&server->lock);
    while (!server->stopping) {
        settle(server);
        int timeout = time_to_wait(server);
        pthread_mutex_unlock(&server->lock);
        wait_for_work(server, timeout);
        pthread_mutex_lock(&server->lock);
    }
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* ---- what others ask ---- */

int dhcp_server_configure(struct dhcp_server *server, const char *config, struct error *error)
{
    AUTO_FREE char *path = config_path_of(server->folder);
    AUTO_FREE char *present = NULL;
    pthread_mutex_lock(&server->lock);
    int result = 0;
    if (file_read(path, FILE_READ_MAX, &present, NULL, NULL) < 0 || strcmp(present, config) != 0) {
        result = file_write(path, config, strlen(config), 0644, error);
        server->restart = server->restart || result == 0;
    }
    server->wanted = server->wanted || result == 0;
    pthread_mutex_unlock(&server->lock);
    eventfd_write(server->wake, 1);
    return result;
}

static int check_locked(struct dhcp_server *server, struct error *error)
{
    if (server->process.pid > 0 && !daemon_process_has_ended(&server->process))
        return 0;
    if (server->problem.code == ERROR_NONE)
        return error_set(error, ERROR_UNAVAILABLE, "the guests' network has not been set up yet");
    return error_copy(error, &server->problem);
}

int dhcp_server_await(struct dhcp_server *server, struct error *error)
{
    pthread_mutex_lock(&server->lock);
    if (server->restart || check_locked(server, NULL) < 0) {
        uint64_t ticket = ++server->asked;
        eventfd_write(server->wake, 1);
        while (server->settled < ticket && !server->stopping)
            pthread_cond_wait(&server->changed, &server->lock);
    }
    int result = check_locked(server, error);
    pthread_mutex_unlock(&server->lock);
    return result;
}

void dhcp_server_reload(struct dhcp_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->reload = true;
    daemon_process_signal(&server->process, SIGHUP);
    pthread_mutex_unlock(&server->lock);
}

/* ---- life ---- */

static bool is_in_namespace(pid_t pid, int namespace)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/ns/net", (int)pid);
    struct stat its, ours;
    return stat(path, &its) == 0 && fstat(namespace, &ours) == 0 && its.st_dev == ours.st_dev &&
           its.st_ino == ours.st_ino;
}

/* One that is left of a namespace whose name is gone serves nobody. */
static void adopt(struct dhcp_server *server)
{
    struct daemon_process process;
    if (find(server->folder, &process) < 0)
        return;
    if (!is_in_namespace(process.pid, server->namespace)) {
        log_warn("a dnsmasq of a removed namespace is ended", "pid", LOG_NUMBER(process.pid));
        daemon_process_end(&process, "dnsmasq", NULL);
        return;
    }
    log_info("dnsmasq adopted", "pid", LOG_NUMBER(process.pid));
    server->process = process;
    server->started_at = now_ms();
}

struct dhcp_server *dhcp_server_create(const struct dhcp_server_options *options,
                                       struct error *error)
{
    if (file_make_directory(options->folder, 0755, error) < 0 ||
        file_make_directory(options->leases_folder, 0755, error) < 0)
        return NULL;
    struct dhcp_server *server = xcalloc(1, sizeof *server);
    server->folder = xstrdup(options->folder);
    server->leases_folder = xstrdup(options->leases_folder);
    server->log_path = xstrdup(options->log_path);
    server->namespace = options->namespace;
    server->process = DAEMON_PROCESS_NONE;
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    adopt(server);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (server->wake < 0 || pthread_create(&server->thread, NULL, run, server) != 0)
        abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return server;
}

void dhcp_server_destroy(struct dhcp_server *server)
{
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    eventfd_write(server->wake, 1);
    pthread_join(server->thread, NULL);
    if (server->process.watch >= 0)
        close(server->process.watch);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    close(server->wake);
    free(server->folder);
    free(server->leases_folder);
    free(server->log_path);
    free(server);
}

int dhcp_server_end(const char *folder, struct error *error)
{
    struct daemon_process process;
    if (find(folder, &process) < 0)
        return 0;
    return daemon_process_end(&process, "dnsmasq", error);
}
