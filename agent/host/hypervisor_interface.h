/* What an implementation of hypervisor.h provides; hypervisor.h says what each operation means. */
#pragma once

#include "agent/host/call_watch.h"
#include "agent/host/hypervisor.h"

struct hypervisor_operations {
    bool takes_tap; /* hypervisor_takes_tap */
    int (*create)(struct hypervisor *hypervisor, const struct microvm_spec *spec, pid_t *ret_pid,
                  struct error *error);
    int (*resume)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*pause)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*press_power)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*destroy)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*await_gone)(struct hypervisor *hypervisor, const char *id, struct error *error);
    int (*adopt)(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                 size_t *ret_count, struct error *error);
    /* NULL: it does not tell */
    int (*use_of_disks)(struct hypervisor *hypervisor, const char *id,
                        struct hypervisor_disk_use *ret_use, struct error *error);
    /* NULL: it has no debugger. */
    int (*debug)(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                 struct error *error);
    void (*close)(struct hypervisor *hypervisor);
};

struct hypervisor {
    const struct hypervisor_operations *operations;
    struct call_watch *watch; /* hypervisor.c's */
};
