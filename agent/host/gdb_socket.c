#include "agent/host/gdb_socket.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/xalloc.h"

#define HALF      ".half"
#define ANSWER_MS 5000
/* gdb's remote protocol, with checksums. The process is named: QEMU wants that for good once a gdb
 * has said that it knows of processes, and its first is all of the machine. */
#define DETACH   "$D;1#b0"
#define DETACHED "$OK#9a"

char *gdb_socket_path(const char *run_directory, const char *id)
{
    return xasprintf("%s/g/%s", run_directory, id);
}

bool gdb_socket_is_open(const char *run_directory, const char *id)
{
    AUTO_FREE char *path = gdb_socket_path(run_directory, id);
    return access(path, F_OK) == 0;
}

static char *half_path(const char *run_directory, const char *id)
{
    return xasprintf("%s/g/%s" HALF, run_directory, id);
}

bool gdb_socket_is_in_use(const char *run_directory, const char *id)
{
    AUTO_FREE char *half = half_path(run_directory, id);
    return gdb_socket_is_open(run_directory, id) || access(half, F_OK) == 0;
}

void gdb_socket_unmake(const char *run_directory, const char *id)
{
    AUTO_FREE char *half = half_path(run_directory, id);
    unlink(half);
}

void gdb_socket_forget(const char *run_directory, const char *id)
{
    AUTO_FREE char *path = gdb_socket_path(run_directory, id);
    unlink(path);
    gdb_socket_unmake(run_directory, id);
}

static int listen_at(const char *path, int *ret_descriptor, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(error, ERROR_INVALID, "the socket's path %s is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    AUTO_CLOSE int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(path);
    if (descriptor < 0 || bind(descriptor, (const struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(path, 0600) < 0 || listen(descriptor, 1) < 0)
        return error_set_errno(error, errno, "the gdb stub's socket %s", path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

/* What else the stub says, such as that the guest stands still, is passed over. */
static int detach(int stub, struct error *error)
{
    char answer[256] = "";
    size_t length = 0;
    ssize_t got = send(stub, DETACH, strlen(DETACH), MSG_NOSIGNAL);
    uint64_t deadline = clock_monotonic_ms(clock_system()) + ANSWER_MS;
    while (got > 0 && strstr(answer, DETACHED) == NULL) {
        struct pollfd readable = {.fd = stub, .events = POLLIN};
        uint64_t now = clock_monotonic_ms(clock_system());
        got = 0;
        if (now < deadline && poll(&readable, 1, (int)(deadline - now)) == 1)
            got = recv(stub, answer + length, sizeof answer - 1 - length, MSG_DONTWAIT);
        length += got > 0 ? (size_t)got : 0;
        answer[length] = '\0';
    }
    if (got > 0)
        return 0;
    return error_set(error, ERROR_FAILED, "QEMU's gdb stub does not let the guest go");
}

/* Whoever was connected may have gone without a word, and left the guest stopped and full of
 * breakpoints: a detach of our own puts that right. */
static int let_go(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    int ends[2];
    if (hypervisor_debug(hypervisor, id, -1, false, error) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(error, errno, "a socket for the gdb stub");
    AUTO_CLOSE int ours = ends[0];
    AUTO_CLOSE int theirs = ends[1];
    if (hypervisor_debug(hypervisor, id, theirs, false, error) < 0 || detach(ours, error) < 0)
        return -1;
    return hypervisor_debug(hypervisor, id, -1, false, error);
}

int gdb_socket_make(const char *run_directory, const char *id, int *ret_descriptor,
                    struct error *error)
{
    AUTO_FREE char *half = half_path(run_directory, id);
    return listen_at(half, ret_descriptor, error);
}

int gdb_socket_open(struct hypervisor *hypervisor, const char *run_directory, const char *id,
                    int descriptor, struct error *error)
{
    AUTO_FREE char *path = gdb_socket_path(run_directory, id);
    AUTO_FREE char *half = half_path(run_directory, id);
    if ((gdb_socket_is_open(run_directory, id) && let_go(hypervisor, id, error) < 0) ||
        hypervisor_debug(hypervisor, id, descriptor, true, error) < 0) {
        unlink(half);
        return -1;
    }
    if (rename(half, path) < 0)
        return error_set_errno(error, errno, "the gdb stub's socket %s", path);
    return 0;
}

int gdb_socket_close(struct hypervisor *hypervisor, const char *run_directory, const char *id,
                     struct error *error)
{
    AUTO_FREE char *path = gdb_socket_path(run_directory, id);
    AUTO_FREE char *half = half_path(run_directory, id);
    if (rename(path, half) < 0 && access(half, F_OK) < 0)
        return 0;
    if (let_go(hypervisor, id, error) < 0) {
        rename(half, path); /* still on, as far as anybody knows */
        return -1;
    }
    unlink(half);
    return 0;
}

void gdb_socket_list(const char *run_directory,
                     void (*each)(void *context, const char *id, bool is_half), void *context)
{
    AUTO_FREE char *path = xasprintf("%s/g", run_directory);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char id[INSTANCE_ID_MAX];
        size_t length = strcspn(entry->d_name, ".");
        bool is_half = strcmp(entry->d_name + length, HALF) == 0;
        if (length != sizeof id - 1 || (!is_half && entry->d_name[length] != '\0'))
            continue;
        memcpy(id, entry->d_name, length);
        id[length] = '\0';
        each(context, id, is_half);
    }
    if (folder != NULL)
        closedir(folder);
}
