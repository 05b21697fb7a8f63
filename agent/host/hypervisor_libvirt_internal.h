/* Shared by the files of libvirt's hypervisor: hypervisor_libvirt.c (what is asked and told),
 * hypervisor_libvirt_adopt.c (what ran before), hypervisor_libvirt_disks.c (what disks do). Any
 * thread. */
#pragma once

#include <libvirt/libvirt.h>
#include <stdatomic.h>

#include "agent/host/domain_metadata.h"
#include "agent/host/hypervisor_interface.h"
#include "agent/host/hypervisor_libvirt_link.h"
#include "agent/host/libvirt_known.h"

struct libvirt {
    struct hypervisor hypervisor;
    struct hypervisor_listener listener;
    enum libvirt_driver driver;
    char *root; /* of the driver inside this process */
    char owner[DOMAIN_OWNER_MAX];
    struct libvirt_link *link;
    struct libvirt_known *known;
    atomic_bool unlimited_memory, unlimited_processors; /* said once */
};

static inline struct libvirt *libvirt_of(struct hypervisor *hypervisor)
{
    return (struct libvirt *)hypervisor;
}

static inline void libvirt_free_domain(virDomainPtr *domain)
{
    if (*domain != NULL)
        virDomainFree(*domain);
}
#define AUTO_DOMAIN __attribute__((cleanup(libvirt_free_domain)))

/* What libvirt said last is gone with it. */
static inline void libvirt_close_connection(virConnectPtr *connection)
{
    if (*connection != NULL)
        virConnectClose(*connection);
}
#define AUTO_CONNECTION __attribute__((cleanup(libvirt_close_connection)))

/* NULL and why; ERROR_NOT_FOUND when there is none. The caller frees it. */
virDomainPtr libvirt_find_domain(struct libvirt *libvirt, const char *id, struct error *error);
/* Of its QEMU; -1 when unknown. */
pid_t libvirt_read_pid(struct libvirt *libvirt, const char *id);
/* As hypervisor_adopt. */
int libvirt_adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                  size_t *ret_count, struct error *error);
/* Ends those of ours whose making was cut off by the daemon's end: they are nobody's. */
void libvirt_end_unknown(struct libvirt *libvirt);
/* As hypervisor_use_of_disks. */
int libvirt_use_of_disks(struct hypervisor *hypervisor, const char *id,
                         struct hypervisor_disk_use *ret_use, struct error *error);
