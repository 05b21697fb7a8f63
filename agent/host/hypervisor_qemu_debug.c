#include "agent/host/hypervisor_qemu_internal.h"
#include "agent/host/qemu_debug.h"

/* A microVM, as who is asked. */
struct asked {
    struct qemu_hypervisor *qemu;
    const char *id;
};

static int ask(void *context, const char *command, const char *arguments, int descriptor,
               struct json_object **ret_value, struct error *error)
{
    const struct asked *asked = context;
    return qemu_ask_with(asked->qemu, asked->id, command, arguments, descriptor, ret_value, error);
}

int qemu_switch_debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                      struct error *error)
{
    struct asked asked = {(struct qemu_hypervisor *)hypervisor, id};
    const struct qemu_monitor monitor = {.ask = ask, .context = &asked};
    return qemu_debug(&monitor, descriptor, listens, error);
}
