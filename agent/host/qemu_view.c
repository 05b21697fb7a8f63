#include "agent/host/qemu_view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/host/qemu_command.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define KVM_DEVICE "/dev/kvm"
/* By it QEMU finds out whether there are locks of open files. Without it a volume would have none.
 */
#define NULL_DEVICE "/dev/null"

/* What is the same for all: what the packages of QEMU and of its libraries brought. A part that a
 * host does not have is left out. */
static const char *const shared[] = {
    QEMU_PROGRAM_AMD64, QEMU_PROGRAM_ARM64, "/usr/lib",           "/usr/lib64",       "/lib",
    "/lib64",           "/usr/share/qemu",  "/usr/share/seabios", "/etc/ld.so.cache",
};

/* ---- the common part ---- */

/* An empty file or folder that something is mounted on. */
static int make_place(const char *path, bool is_folder, struct error *error)
{
    if (is_folder)
        return file_make_directory(path, 0755, error);
    AUTO_FREE char *folder = xstrdup(path);
    *strrchr(folder, '/') = '\0';
    if (file_make_directory(folder, 0755, error) < 0)
        return -1;
    AUTO_CLOSE int file = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);
    return file < 0 ? error_set_errno(error, errno, "create %s", path) : 0;
}

static int copy_link(const char *from, const char *to, struct error *error)
{
    char target[PATH_MAX];
    ssize_t length = readlink(from, target, sizeof target - 1);
    if (length < 0)
        return error_set_errno(error, errno, "read the link %s", from);
    target[length] = '\0';
    if (symlink(target, to) < 0)
        return error_set_errno(error, errno, "make the link %s", to);
    return 0;
}

static int show(const char *from, const char *tree, struct error *error)
{
    AUTO_FREE char *to = xasprintf("%s%s", tree, from);
    struct stat status;
    if (lstat(from, &status) < 0)
        return 0;
    if (S_ISLNK(status.st_mode))
        return copy_link(from, to, error);
    if (make_place(to, S_ISDIR(status.st_mode), error) < 0)
        return -1;
    if (mount(from, to, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        return error_set_errno(error, errno, "show %s at %s", from, to);
    return 0;
}

static int make_numbered(const char *tree, const char *name, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *path = xasprintf("%s%s%zu", tree, name, i);
        if (make_place(path, false, error) < 0)
            return -1;
    }
    return 0;
}

static int make_own_places(const char *tree, struct error *error)
{
    static const char *const names[] = {QEMU_FILE_KERNEL, QEMU_FILE_INITRD, KVM_DEVICE,
                                        NULL_DEVICE};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *path = xasprintf("%s%s", tree, names[i]);
        if (make_place(path, false, error) < 0)
            return -1;
    }
    if (make_numbered(tree, QEMU_FILE_IMAGE, HOST_DISKS_MAX, error) < 0 ||
        make_numbered(tree, QEMU_FILE_OVERLAY, HOST_DISKS_MAX, error) < 0)
        return -1;
    return make_numbered(tree, QEMU_FILE_VOLUME, HOST_VOLUMES_MAX, error);
}

int qemu_view_prepare(const char *tree, struct error *error)
{
    if (file_make_directory(tree, 0755, error) < 0)
        return -1;
    if (mount("shoal-qemu", tree, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "mode=0755,size=256k,nr_inodes=128") < 0)
        return error_set_errno(error, errno, "mount a folder for QEMU's files at %s", tree);
    for (size_t i = 0; i < ARRAY_LENGTH(shared); i++) {
        if (show(shared[i], tree, error) < 0)
            return -1;
    }
    if (make_own_places(tree, error) < 0)
        return -1;
    if (mount(NULL, tree, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              NULL) < 0)
        return error_set_errno(error, errno, "make %s read-only", tree);
    return 0;
}

void qemu_view_remove(const char *tree)
{
    if (umount2(tree, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        rmdir(tree);
}

/* ---- one microVM's own ---- */

static void add(struct qemu_view *view, const char *from, const char *to, int number, bool writable)
{
    struct qemu_view_file *file = &view->files[view->count++];
    file->from = from;
    file->writable = writable;
    file->device = false;
    if (number < 0)
        snprintf(file->to, sizeof file->to, "%s", to);
    else
        snprintf(file->to, sizeof file->to, "%s%d", to, number);
}

static void add_device(struct qemu_view *view, const char *path)
{
    add(view, path, path, -1, true);
    view->files[view->count - 1].device = true;
}

void qemu_view_of(const struct microvm_spec *spec, const char *tree, struct qemu_view *ret_view)
{
    ret_view->tree = tree;
    ret_view->count = 0;
    if (spec->kernel_path[0] != '\0')
        add(ret_view, spec->kernel_path, QEMU_FILE_KERNEL, -1, false);
    if (spec->initrd_path[0] != '\0')
        add(ret_view, spec->initrd_path, QEMU_FILE_INITRD, -1, false);
    for (size_t i = 0; i < spec->disk_count; i++) {
        add(ret_view, spec->disks[i].image_path, QEMU_FILE_IMAGE, (int)i, false);
        add(ret_view, spec->disks[i].overlay_path, QEMU_FILE_OVERLAY, (int)i, true);
    }
    for (size_t i = 0; i < spec->volume_count; i++)
        add(ret_view, spec->volumes[i].path, QEMU_FILE_VOLUME, (int)i, true);
    if (spec->volume_count > 0)
        add_device(ret_view, NULL_DEVICE);
    if (spec->kvm)
        add_device(ret_view, KVM_DEVICE);
}

/* A bind mount takes its flags only by a second call. */
static int enter_file(const struct qemu_view_file *file)
{
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NOEXEC;
    if (!file->writable)
        flags |= MS_RDONLY;
    if (!file->device)
        flags |= MS_NODEV;
    const char *to = file->to + 1; /* in the tree, where we are */
    if (mount(file->from, to, NULL, MS_BIND, NULL) < 0)
        return -1;
    return mount(NULL, to, NULL, flags, NULL);
}

int qemu_view_enter(const struct qemu_view *view)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir(view->tree) < 0)
        return -1;
    for (size_t i = 0; i < view->count; i++) {
        if (enter_file(&view->files[i]) < 0)
            return -1;
    }
    /* The old root comes to lie on the new one, and is taken away: pivot_root(2). */
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
        return -1;
    return chdir("/");
}
