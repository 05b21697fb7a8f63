#include "agent/host/hypervisor_libvirt_debug.h"

#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>

#include "agent/host/hypervisor_libvirt_link.h"
#include "agent/host/qemu_debug.h"

static int command(void *context, const char *text, int descriptor, char **ret_answer,
                   struct error *error)
{
    char *answer = NULL;
    int files[1] = {descriptor};
    if (virDomainQemuMonitorCommandWithFiles(context, text, descriptor >= 0 ? 1 : 0, files, NULL,
                                             NULL, &answer, 0) < 0)
        return libvirt_refuse(error, "ask QEMU");
    *ret_answer = answer; /* malloc's */
    return 0;
}

int libvirt_debug(virDomainPtr domain, int descriptor, bool listens, struct error *error)
{
    const struct qemu_monitor monitor = {.command = command, .context = domain};
    return qemu_debug(&monitor, descriptor, listens, error);
}
