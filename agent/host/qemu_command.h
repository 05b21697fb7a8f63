/* The command that starts a microVM's QEMU. Pure: no files, no processes.
 *
 * QEMU finds its files at fixed places of a tree of its own (qemu_view.h) and its sockets and tap
 * as descriptors, so nothing that comes from an image or a manifest names a file of the host or
 * becomes an option: the guest's command line is one whole argument, the rest are numbers. A guest
 * finds the same devices in the same places as under libvirt (domain_xml.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/host/microvm.h"

#define QEMU_PROGRAM_AMD64 "/usr/bin/qemu-system-x86_64"
#define QEMU_PROGRAM_ARM64 "/usr/bin/qemu-system-aarch64"

/* What it inherits beside its standard descriptors. */
#define QEMU_DESCRIPTOR_CONSOLE 3 /* listens; the serial port */
#define QEMU_DESCRIPTOR_MONITOR 4 /* listens; QMP */
#define QEMU_DESCRIPTOR_TAP     5
#define QEMU_DESCRIPTOR_END     6

/* Where it sees its files. Those of a disk have its number behind. */
#define QEMU_FILE_KERNEL  "/kernel"
#define QEMU_FILE_INITRD  "/initrd"
#define QEMU_FILE_OVERLAY "/overlay"
#define QEMU_FILE_IMAGE   "/image"
#define QEMU_FILE_VOLUME  "/volume"

struct qemu_command {
    const char *program;
    char **arguments; /* from the program's own path to a NULL */
    size_t count;     /* without the NULL */
};

/* ERROR_INVALID when a value of `spec` is out of range or not of its form, ERROR_UNSUPPORTED for a
 * machine that QEMU does not have. */
int qemu_command_make(const struct microvm_spec *spec, struct qemu_command *ret_command,
                      struct error *error);
void qemu_command_release(struct qemu_command *command);

/* Whether /proc/PID/cmdline, `length` bytes of it, is that of a QEMU of this instance. A QEMU that
 * was taken over can alter what stands there: this says who it is not, never who it is. */
bool qemu_command_is_of(const char *bytes, size_t length, const char *id);
