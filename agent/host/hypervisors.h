/* Which hypervisor a node drives. Only this knows all of them. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "agent/host/hypervisor.h"

#define HYPERVISOR_QEMU    "qemu"
#define HYPERVISOR_LIBVIRT "libvirt"
#define HYPERVISOR_DEFAULT HYPERVISOR_QEMU

struct hypervisor_choice {
    const char *name; /* HYPERVISOR_... */
    const char *run_directory;
    const char *uri;   /* of libvirt's driver */
    gid_t group;       /* of QEMUs that libvirt starts for itself */
    bool beside_other; /* microVMs of the other one may run: for cleaning up */
};

bool hypervisor_is_known(const char *name);
/* ERROR_CONFLICT while microVMs of the other one run: neither could end those of the other. */
int hypervisor_open(const struct hypervisor_choice *choice,
                    const struct hypervisor_listener *listener, struct hypervisor **ret_hypervisor,
                    struct error *error);
/* Whether a hypervisor was ever opened for that run folder, so that it may have left something. */
bool hypervisor_was_used(const char *name, const char *run_directory);
