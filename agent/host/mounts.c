#include "agent/host/mounts.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

int mounts_separate(struct error *error)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return error_set_errno(error, errno, "make a mount namespace");
    return 0;
}

/* A bind mount takes its flags only by a second call. */
int mounts_show(const char *from, const char *to, bool read_only, struct error *error)
{
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (read_only)
        flags |= MS_RDONLY;
    if (mount(from, to, NULL, MS_BIND, NULL) < 0 || mount(NULL, to, NULL, flags, NULL) < 0)
        return error_set_errno(error, errno, "show %s at %s", from, to);
    return 0;
}
