/* A hypervisor as the host half uses it: microVMs by instance id.
 *
 * Calls block: they are made from threads that may wait; several at a time for different ids.
 * `ended` is called on a thread of the implementation's own. Only who opens it knows which
 * hypervisor it is. What an implementation provides is in hypervisor_interface.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/host/microvm.h"
#include "lib/error.h"

enum hypervisor_end {
    HYPERVISOR_END_EXIT,  /* the guest powered off */
    HYPERVISOR_END_RESET, /* it reset itself, as by a triple fault: some have no other way to end */
    HYPERVISOR_END_PANIC, /* the guest told of a panic */
    HYPERVISOR_END_DEATH, /* the hypervisor's process died under it */
    HYPERVISOR_END_STOP,  /* hypervisor_destroy */
};

/* A microVM that ran already when the hypervisor was opened. */
struct hypervisor_found {
    struct microvm_identity identity;
    pid_t pid;
    uint64_t uptime_ms;
    bool paused; /* its guest stands still */
};

struct hypervisor;
struct call_watch;

/* Its calls are under `watch` from now on, which outlives it; NULL: under none. */
void hypervisor_watch(struct hypervisor *hypervisor, struct call_watch *watch);

/* Whether it wants its microVMs' taps opened (microvm_spec.tap_descriptor); else it opens them by
 * name, in the network namespace of the thread that creates. */
bool hypervisor_takes_tap(const struct hypervisor *hypervisor);

/* Creates a microVM paused: QEMU runs and its console listens, the guest has not begun. */
int hypervisor_create(struct hypervisor *hypervisor, const struct microvm_spec *spec,
                      pid_t *ret_pid, struct error *error);

int hypervisor_resume(struct hypervisor *hypervisor, const char *id, struct error *error);

/* Holds a guest that runs, its disks' writes done: ERROR_CONFLICT for one that does not run.
 * hypervisor_resume lets it go on. */
int hypervisor_pause(struct hypervisor *hypervisor, const char *id, struct error *error);

/* The power button: a guest that listens to it powers off by itself, any other goes on. */
int hypervisor_press_power(struct hypervisor *hypervisor, const char *id, struct error *error);

/* Ends it at once; one that is not there is fine. */
int hypervisor_destroy(struct hypervisor *hypervisor, const char *id, struct error *error);

/* Waits until nothing of an ended microVM is left, so that its id may boot again. */
int hypervisor_await_gone(struct hypervisor *hypervisor, const char *id, struct error *error);

/* The microVMs that run; whatever else is found (half made, not ours) is ended. The caller frees.
 */
int hypervisor_adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                     size_t *ret_count, struct error *error);

/* What the guest has read from its disks and written to them since it booted, all together. */
struct hypervisor_disk_use {
    uint32_t disks;
    uint64_t read_bytes, read_operations;
    uint64_t written_bytes, write_operations;
};

/* ERROR_UNSUPPORTED where the hypervisor does not tell. May wait some seconds for one that does not
 * answer. */
int hypervisor_use_of_disks(struct hypervisor *hypervisor, const char *id,
                            struct hypervisor_disk_use *ret_use, struct error *error);

/* Has QEMU's gdb stub serve `descriptor` (which stays the caller's), a stream socket that `listens`
 * or is connected; -1: no stub any more. The guest stops when a debugger connects. */
int hypervisor_debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                     struct error *error);

/* The microVMs go on. */
void hypervisor_close(struct hypervisor *hypervisor);

struct hypervisor_listener {
    void (*ended)(void *context, const char *id, enum hypervisor_end end);
    /* Before that, where the process was a child of this one: how it ended (waitpid(2)). May be
     * NULL. */
    void (*reaped)(void *context, pid_t pid, int status);
    void *context;
};

struct hypervisor_libvirt_options {
    const char *uri;  /* libvirt_uri.h */
    const char *root; /* of the driver inside this process, and whose microVMs are ours */
    gid_t gid;        /* of QEMUs that this driver starts for itself */
};

/* Once at a time in a process. With qemu:///embed libvirt's QEMU driver is inside this process,
 * everything of it below `root`. */
int hypervisor_libvirt_open(const struct hypervisor_libvirt_options *options,
                            const struct hypervisor_listener *listener,
                            struct hypervisor **ret_hypervisor, struct error *error);

/* QEMUs that this process starts itself, everything of them in <run>/q. Once per process, in a
 * mount namespace of its own (mounts.h). */
int hypervisor_qemu_open(const char *run_directory, const struct hypervisor_listener *listener,
                         struct hypervisor **ret_hypervisor, struct error *error);
