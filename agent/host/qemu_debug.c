#include "agent/host/qemu_debug.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* Of the descriptor and of the character device. QEMU removes both with the stub. */
#define NAME "shoal-debug"

static int ask(const struct qemu_monitor *monitor, const char *command, const char *arguments,
               int descriptor, struct error *error)
{
    AUTO_JSON struct json_object *value = NULL;
    return monitor->ask(monitor->context, command, arguments, descriptor, &value, error);
}

/* A command of the human monitor tells of its failure only in its text. */
static int run_gdbserver(const struct qemu_monitor *monitor, const char *device,
                         const char *expected, struct error *error)
{
    AUTO_JSON struct json_object *value = NULL;
    AUTO_FREE char *arguments = xasprintf("{\"command-line\": \"gdbserver %s\"}", device);
    if (monitor->ask(monitor->context, "human-monitor-command", arguments, -1, &value, error) < 0)
        return -1;
    const char *text =
        json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
    if (strstr(text, expected) == NULL)
        return error_set(error, ERROR_FAILED, "QEMU's gdb stub: %s", text);
    return 0;
}

int qemu_debug(const struct qemu_monitor *monitor, int descriptor, bool listens,
               struct error *error)
{
    if (descriptor < 0)
        return run_gdbserver(monitor, "none", "Disabled", error);
    AUTO_FREE char *device =
        xasprintf("{\"id\": \"" NAME "\", \"backend\": {\"type\": \"socket\", \"data\": {\"addr\": "
                  "{\"type\": \"fd\", \"data\": {\"str\": \"" NAME "\"}}, \"server\": %s%s}}}",
                  listens ? "true" : "false", listens ? ", \"wait\": false" : "");
    if (ask(monitor, "getfd", "{\"fdname\": \"" NAME "\"}", descriptor, error) < 0 ||
        ask(monitor, "chardev-add", device, -1, error) < 0)
        return -1;
    if (run_gdbserver(monitor, "chardev:" NAME, "Waiting", error) == 0)
        return 0;
    ask(monitor, "chardev-remove", "{\"id\": \"" NAME "\"}", -1, NULL);
    return -1;
}
