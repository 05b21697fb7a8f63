/* What a QEMU sees of the host's files: its program, the libraries and firmware of the
 * distribution, and its own kernel, disks and volumes; nothing can be written but the last two.
 *
 * The host half lays out the common part once, in a mount namespace of its own (mounts.h); each
 * QEMU gets a copy of that namespace, its own files in it, and the rest taken away. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/host/microvm.h"
#include "lib/error.h"

/* kernel, initrd, images and overlays of disks, volumes, two devices */
#define QEMU_VIEW_FILES_MAX (2 + 2 * HOST_DISKS_MAX + HOST_VOLUMES_MAX + 2)
#define QEMU_VIEW_PATH_MAX  24

struct qemu_view_file {
    const char *from; /* on the host; the caller's */
    char to[QEMU_VIEW_PATH_MAX];
    bool writable;
    bool device;
};

struct qemu_view {
    const char *tree; /* of qemu_view_prepare; the caller's */
    struct qemu_view_file files[QEMU_VIEW_FILES_MAX];
    size_t count;
};

/* Lays out the common part at `tree`, a folder that is made. Once a process. */
int qemu_view_prepare(const char *tree, struct error *error);
/* Takes it away again here; QEMUs that run keep theirs. */
void qemu_view_remove(const char *tree);
/* What one microVM sees; pure. Its texts are those of `spec`. */
void qemu_view_of(const struct microvm_spec *spec, const char *tree, struct qemu_view *ret_view);
/* In a mount namespace of the calling process's own, which has no other thread: `view` is all that
 * is left of it. Nothing but system calls; -1 with errno. */
int qemu_view_enter(const struct qemu_view *view);
