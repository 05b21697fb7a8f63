#include "agent/host/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define NAMESPACE_FOLDER "/run/netns"
#define NSFS_MAGIC_VALUE 0x6e736673

static int open_own(struct error *error)
{
    int descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        error_set_errno(error, errno, "open this thread's network namespace");
    return descriptor;
}

int namespace_enter(int descriptor, int *ret_previous, struct error *error)
{
    AUTO_CLOSE int previous = open_own(error);
    if (previous < 0)
        return -1;
    if (setns(descriptor, CLONE_NEWNET) < 0)
        return error_set_errno(error, errno, "enter the guests' network namespace");
    *ret_previous = TAKE_DESCRIPTOR(previous);
    return 0;
}

void namespace_leave(int previous)
{
    if (setns(previous, CLONE_NEWNET) < 0) {
        log_error("a thread cannot return to its network namespace");
        abort();
    }
    close(previous);
}

int namespace_unshare(struct error *error)
{
    if (unshare(CLONE_NEWNET) < 0)
        return error_set_errno(error, errno, "make an empty network namespace");
    return 0;
}

/* As `ip netns` does: shared, so that removing a namespace is seen in every mount namespace. */
static int prepare_folder(struct error *error)
{
    if (file_make_directory(NAMESPACE_FOLDER, 0755, error) < 0)
        return -1;
    if (mount("", NAMESPACE_FOLDER, "none", MS_SHARED | MS_REC, NULL) == 0)
        return 0;
    if (errno != EINVAL || mount(NAMESPACE_FOLDER, NAMESPACE_FOLDER, "none", MS_BIND, NULL) < 0 ||
        mount("", NAMESPACE_FOLDER, "none", MS_SHARED | MS_REC, NULL) < 0)
        return error_set_errno(error, errno, "mount %s", NAMESPACE_FOLDER);
    return 0;
}

/* Makes a namespace and binds it to `path`; the thread is back in its own afterwards. */
static int make_namespace(const char *path, struct error *error)
{
    AUTO_CLOSE int file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (file < 0)
        return error_set_errno(error, errno, "create %s", path);
    int previous = open_own(error);
    if (previous < 0)
        return -1;
    if (unshare(CLONE_NEWNET) < 0) {
        close(previous);
        return error_set_errno(error, errno, "make network namespace %s", path);
    }
    int result = mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL);
    int number = errno;
    namespace_leave(previous);
    if (result < 0)
        return error_set_errno(error, number, "bind network namespace %s", path);
    return 0;
}

static int open_bound(const char *path, int *ret_descriptor)
{
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct statfs status;
    if (descriptor < 0 || fstatfs(descriptor, &status) < 0 || status.f_type != NSFS_MAGIC_VALUE)
        return -1;
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

int namespace_open(const char *name, int *ret_descriptor, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", NAMESPACE_FOLDER, name);
    if (open_bound(path, ret_descriptor) == 0)
        return 0;
    if (prepare_folder(error) < 0 || make_namespace(path, error) < 0)
        return -1;
    if (open_bound(path, ret_descriptor) < 0)
        return error_set_errno(error, errno, "open network namespace %s", path);
    return 0;
}

int namespace_remove(const char *name, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", NAMESPACE_FOLDER, name);
    while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        ;
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove network namespace %s", path);
    return 0;
}
