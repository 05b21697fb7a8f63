/* A hypervisor as the host half uses it: microVMs by instance id.
 *
 * First the users' half, then what an implementation provides. Calls block: they are made from
 * threads that may wait; several at a time for different ids. `ended` is called on a thread of the
 * implementation's own. No other file knows which hypervisor it is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/host/domain_xml.h"
#include "lib/error.h"

enum hypervisor_end {
    HYPERVISOR_END_EXIT,  /* the guest powered off or reset itself */
    HYPERVISOR_END_PANIC, /* the guest told of a panic */
    HYPERVISOR_END_DEATH, /* the hypervisor's process died under it */
    HYPERVISOR_END_STOP,  /* hypervisor_destroy */
};

/* A microVM that ran already when the hypervisor was opened. */
struct hypervisor_found {
    struct domain_metadata metadata;
    pid_t pid;
    uint64_t uptime_ms;
};

struct hypervisor;

struct hypervisor_operations {
    int (*create)(struct hypervisor *hypervisor, const struct domain_spec *spec, pid_t *ret_pid,
                  struct error *error);
    int (*resume)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*press_power)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*destroy)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*await_gone)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*adopt)(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                 size_t *ret_count, struct error *error);
    void (*close)(struct hypervisor *hypervisor);
};

struct hypervisor {
    const struct hypervisor_operations *operations;
};

/* Creates a microVM paused: QEMU runs and its console listens, the guest has not begun. */
static inline int hypervisor_create(struct hypervisor *hypervisor, const struct domain_spec *spec,
                                    pid_t *ret_pid, struct error *error)
{
    return hypervisor->operations->create(hypervisor, spec, ret_pid, error);
}

static inline int hypervisor_resume(struct hypervisor *hypervisor, const char *id,
                                    struct error *error)
{
    return hypervisor->operations->resume(hypervisor, id, error);
}

/* The power button: a guest that listens to it powers off by itself, any other goes on. */
static inline int hypervisor_press_power(struct hypervisor *hypervisor, const char *id,
                                         struct error *error)
{
    return hypervisor->operations->press_power(hypervisor, id, error);
}

/* Ends it at once; one that is not there is fine. */
static inline int hypervisor_destroy(struct hypervisor *hypervisor, const char *id,
                                     struct error *error)
{
    return hypervisor->operations->destroy(hypervisor, id, error);
}

/* Waits until nothing of an ended microVM is left, so that its id may boot again. */
static inline int hypervisor_await_gone(struct hypervisor *hypervisor, const char *id,
                                        struct error *error)
{
    return hypervisor->operations->await_gone(hypervisor, id, error);
}

/* The microVMs that run; whatever else is found (half made, not ours) is ended. The caller frees.
 */
static inline int hypervisor_adopt(struct hypervisor *hypervisor,
                                   struct hypervisor_found **ret_found, size_t *ret_count,
                                   struct error *error)
{
    return hypervisor->operations->adopt(hypervisor, ret_found, ret_count, error);
}

/* The microVMs go on. */
static inline void hypervisor_close(struct hypervisor *hypervisor)
{
    if (hypervisor != NULL)
        hypervisor->operations->close(hypervisor);
}

struct hypervisor_listener {
    void (*ended)(void *context, const char *id, enum hypervisor_end end);
    void *context;
};

/* libvirt's QEMU driver inside this process, everything of it below `root`. QEMUs of libvirt's own
 * run in group `gid`. Once per process. */
int hypervisor_libvirt_open(const char *root, gid_t gid, const struct hypervisor_listener *listener,
                            struct hypervisor **ret_hypervisor, struct error *error);
