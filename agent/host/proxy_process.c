#include "agent/host/proxy_process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/host/proxy_runtime.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define HAPROXY_PROGRAM     "/usr/sbin/haproxy"
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

/* Once the stats socket answers it accepts connections. */
static bool answers(void *context, pid_t pid)
{
    AUTO_BUFFER struct buffer answer = {0};
    const char *socket_path = context;
    (void)pid;
    return proxy_runtime_command(socket_path, "show version", &answer, NULL) == 0 &&
           answer.length > 0;
}

int proxy_process_start(const struct proxy_place *place, const struct proxy_frontend *frontend,
                        int listener, int namespace, struct daemon_process *ret_process,
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
    unlink(socket_path);
    if (file_write(config_path, text.data, text.length, 0644, error) < 0)
        return -1;
    int ends[2]; /* its reader lets go of it once HAProxy is up */
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(error, errno, "start HAProxy: pipe");
    const char *const arguments[] = {"haproxy", "-db", "-f", config_path, NULL};
    struct daemon_program program = {.title = "HAProxy",
                                     .path = HAPROXY_PROGRAM,
                                     .arguments = arguments,
                                     .pid_path = pid_path,
                                     .namespace = namespace,
                                     .uid = place->uid,
                                     .gid = place->gid,
                                     .listener = listener,
                                     .output = ends[1],
                                     .explanation = ends[0],
                                     .descriptors = DESCRIPTORS_WANTED};
    int result = daemon_process_start(&program, answers, socket_path, ret_process, error);
    close(ends[0]);
    close(ends[1]);
    return result;
}

/* ---- finding again ---- */

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
                        struct daemon_process *ret_process, int *ret_listener)
{
    AUTO_FREE char *config_path = file_of(place, publish, http, "cfg");
    AUTO_FREE char *pid_path = file_of(place, publish, http, "pid");
    struct daemon_process process = DAEMON_PROCESS_NONE;
    if (daemon_process_find(pid_path, config_path, &process) < 0)
        return -1;
    AUTO_CLOSE int watched = process.watch;
    AUTO_CLOSE int listener =
        (int)syscall(SYS_pidfd_getfd, process.watch, DAEMON_LISTEN_DESCRIPTOR, 0);
    if (listener < 0 || !listens_on(listener, publish)) {
        daemon_process_signal(&process, SIGTERM); /* not of use without its socket */
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
                             struct daemon_process *ret_process)
{
    AUTO_FREE char *config_path = file_of(place, found->publish, found->http, "cfg");
    AUTO_FREE char *left = left_file_of(place, found->publish, found->http, found->left);
    if (daemon_process_find(left, config_path, ret_process) < 0) {
        unlink(left);
        return -1;
    }
    daemon_process_signal(ret_process, SIGUSR1);
    return 0;
}

/* ---- ending ---- */

void proxy_process_leave(const struct proxy_place *place, uint32_t publish, bool http,
                         const struct daemon_process *process)
{
    AUTO_FREE char *left = left_file_of(place, publish, http, process->pid);
    AUTO_FREE char *pid = file_of(place, publish, http, "pid");
    rename(pid, left);
    daemon_process_signal(process, SIGUSR1);
}

void proxy_process_reap(const struct proxy_place *place, uint32_t publish, bool http,
                        struct daemon_process *process)
{
    if (process->pid < 0)
        return;
    AUTO_FREE char *left = left_file_of(place, publish, http, process->pid);
    unlink(left);
    daemon_process_release(process);
}

/* Ends the one that a file of the folder tells of; -1 when it does not end. */
static int end_of_file(const struct proxy_place *place, const char *name, struct error *error)
{
    struct proxy_found found;
    struct daemon_process process;
    if (!parse_file_name(name, &found))
        return 0;
    AUTO_FREE char *path = xasprintf("%s/%s", place->folder, name);
    AUTO_FREE char *config = file_of(place, found.publish, found.http, "cfg");
    if (daemon_process_find(path, config, &process) < 0)
        return 0;
    return daemon_process_end(&process, "HAProxy", error);
}

int proxy_place_end_all(const struct proxy_place *place, struct error *error)
{
    DIR *folder = opendir(place->folder);
    if (folder == NULL)
        return 0;
    struct dirent *entry;
    int result = 0;
    while (result == 0 && (entry = readdir(folder)) != NULL)
        result = end_of_file(place, entry->d_name, error);
    closedir(folder);
    return result == 0 ? file_remove_tree(place->folder, error) : -1;
}
