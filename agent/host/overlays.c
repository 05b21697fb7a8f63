#include "agent/host/overlays.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host_protocol.h"
#include "image-format/qcow2.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define QEMU_IMG         "/usr/bin/qemu-img"
#define QEMU_DEADLINE_MS 30000
#define SECTOR           512

struct overlays {
    char *folder;
    char *shown;
};

struct overlays *overlays_create(const char *state_directory, const char *shown,
                                 struct error *error)
{
    struct overlays *overlays = xcalloc(1, sizeof *overlays);
    overlays->folder = xasprintf("%s/host/overlays", state_directory);
    overlays->shown = xstrdup(shown);
    /* QEMU's users pass through; only root lists, makes and removes. */
    if (file_make_directory(overlays->folder, 0711, error) < 0) {
        overlays_destroy(overlays);
        return NULL;
    }
    return overlays;
}

void overlays_destroy(struct overlays *overlays)
{
    if (overlays == NULL)
        return;
    free(overlays->folder);
    free(overlays->shown);
    free(overlays);
}

const char *overlays_folder(const struct overlays *overlays)
{
    return overlays->folder;
}

/* ---- the image below ---- */

int overlay_judge(int image, uint64_t file_size, struct overlay_base *ret_base, struct error *error)
{
    unsigned char head[QCOW2_HEAD_MAX];
    ssize_t got = pread(image, head, sizeof head, 0);
    if (got < 0)
        return error_set_errno(error, errno, "read the disk");
    if (qcow2_is(head, (size_t)got)) {
        if (qcow2_check(head, (size_t)got, file_size, &ret_base->size, error) < 0)
            return -1;
        ret_base->format = "qcow2";
        return 0;
    }
    if (file_size == 0 || file_size > QCOW2_SIZE_MAX)
        return error_set(error, ERROR_INVALID, "a disk has 1 byte to 1 TiB");
    ret_base->format = "raw";
    ret_base->size = (file_size + SECTOR - 1) / SECTOR * SECTOR;
    return 0;
}

/* ---- making ---- */

/* Nothing but system calls until exec: other threads may hold any lock. As QEMU's user, whose file
 * it is; raw calls, because glibc's would look for the other threads. */
static void execute(const char *const arguments[], uint32_t uid, int output)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int nothing = open("/dev/null", O_RDONLY);
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0 || syscall(SYS_setgroups, 0, NULL) < 0 ||
        syscall(SYS_setresgid, uid, uid, uid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0 ||
        chdir("/") < 0)
        _exit(126);
    syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
    static char *const environment[] = {NULL};
    execve(QEMU_IMG, (char *const *)(uintptr_t)arguments, environment);
    _exit(127);
}

/* What the child prints until it ends, or until the deadline: then it is killed. */
static void collect(pid_t pid, int input, char *text, size_t size)
{
    uint64_t deadline = clock_monotonic_ms(clock_system()) + QEMU_DEADLINE_MS;
    size_t length = 0;
    for (;;) {
        struct pollfd readable = {.fd = input, .events = POLLIN};
        char chunk[256];
        uint64_t now = clock_monotonic_ms(clock_system());
        if (now >= deadline || poll(&readable, 1, (int)(deadline - now)) == 0) {
            kill(pid, SIGKILL);
            break;
        }
        ssize_t got = read(input, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size_t taken = (size_t)got < size - 1 - length ? (size_t)got : size - 1 - length;
        memcpy(text + length, chunk, taken);
        length += taken;
    }
    text[length] = '\0';
}

/* What it could not do stands last. */
static const char *last_line(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    const char *line = strrchr(text, '\n');
    return line != NULL ? line + 1 : text;
}

static int run_qemu_img(const char *const arguments[], uint32_t uid, struct error *error)
{
    int ends[2], status;
    char text[512];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "start qemu-img");
    pid_t pid = fork();
    int number = errno;
    if (pid == 0)
        execute(arguments, uid, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return error_set_errno(error, number, "start qemu-img");
    }
    collect(pid, ends[0], text, sizeof text);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return error_set(error, ERROR_UNAVAILABLE,
                         "qemu-img does not start: is " QEMU_IMG " installed (qemu-utils)?");
    return error_set(error, ERROR_IO, "qemu-img makes no overlay: %s",
                     text[0] != '\0' ? last_line(text) : "it did not end in time");
}

/* An empty file that belongs to QEMU's user already, who may not make one here. */
static int make_file(const char *path, uint32_t uid, struct error *error)
{
    unlink(path);
    AUTO_CLOSE int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0 || fchown(file, uid, uid) < 0)
        return error_set_errno(error, errno, "create %s", path);
    return 0;
}

/* -u: qemu-img does not open the image below, whose format and size it is told. */
int overlays_make(struct overlays *overlays, const char *id, size_t disk,
                  const struct overlay_base *base, uint32_t uid, char **ret_path,
                  struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s.%zu", overlays->folder, id, disk);
    AUTO_FREE char *shown = xasprintf("%s/%s.%zu", overlays->shown, id, disk);
    AUTO_FREE char *size = xasprintf("%" PRIu64, base->size);
    const char *const arguments[] = {"qemu-img",   "create", "-q",       "-u",  "-f", "qcow2", "-F",
                                     base->format, "-b",     base->path, shown, size, NULL};
    if (make_file(path, uid, error) < 0)
        return -1;
    if (run_qemu_img(arguments, uid, error) < 0) {
        unlink(path);
        return -1;
    }
    *ret_path = TAKE_POINTER(shown);
    return 0;
}

/* ---- removing ---- */

void overlays_remove(struct overlays *overlays, const char *id)
{
    for (size_t disk = 0; disk < HOST_DISKS_MAX; disk++) {
        AUTO_FREE char *path = xasprintf("%s/%s.%zu", overlays->folder, id, disk);
        if (unlink(path) < 0 && errno != ENOENT)
            log_warn("an overlay cannot be removed", "path", path, "error", strerror(errno));
    }
}

void overlays_sweep(struct overlays *overlays, bool (*is_kept)(void *context, const char *id),
                    void *context)
{
    DIR *folder = opendir(overlays->folder);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char id[INSTANCE_ID_MAX] = "";
        if (entry->d_name[0] == '.')
            continue;
        if (strcspn(entry->d_name, ".") == sizeof id - 1)
            memcpy(id, entry->d_name, sizeof id - 1);
        if (!is_kept(context, id))
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}
