#include "agent/host/hypervisor_libvirt_debug.h"

#include <libvirt/libvirt-qemu.h>
#include <string.h>

#include "agent/host/hypervisor_libvirt_link.h"
#include "agent/host/qemu_debug.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/xalloc.h"

/* libvirt hands the whole answer on: {"return": ...} or {"error": ...}. */
static int read_answer(const char *answer, struct json_object **ret_value, struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    struct json_object *found = NULL, *reason = NULL;
    if (json_parse(answer, strlen(answer), &document, error) < 0)
        return error_wrap(error, "QEMU's answer");
    if (json_object_object_get_ex(document, "error", &found)) {
        json_object_object_get_ex(found, "desc", &reason);
        return error_set(error, ERROR_FAILED, "QEMU refuses: %s",
                         reason != NULL ? json_object_get_string(reason) : "it does not say why");
    }
    json_object_object_get_ex(document, "return", &found);
    *ret_value = json_object_get(found);
    return 0;
}

static int ask(void *context, const char *command, const char *arguments, int descriptor,
               struct json_object **ret_value, struct error *error)
{
    AUTO_FREE char *text =
        xasprintf("{\"execute\": \"%s\", \"arguments\": %s}", command, arguments);
    AUTO_FREE char *answer = NULL;
    int files[1] = {descriptor};
    if (virDomainQemuMonitorCommandWithFiles(context, text, descriptor >= 0 ? 1 : 0, files, NULL,
                                             NULL, &answer, 0) < 0)
        return libvirt_refuse(error, "ask QEMU");
    return read_answer(answer, ret_value, error);
}

int libvirt_debug(virDomainPtr domain, int descriptor, bool listens, struct error *error)
{
    const struct qemu_monitor monitor = {.ask = ask, .context = domain};
    return qemu_debug(&monitor, descriptor, listens, error);
}
