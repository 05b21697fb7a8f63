#include "agent/host/qemu_debug.h"

#include <json-c/json.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/xalloc.h"

/* Of the descriptor and of the character device. QEMU removes both with the stub. */
#define NAME "shoal-debug"

/* `ret_text` (NULL: not wanted; the caller frees) is what is returned, where that is a text. */
static int run(const struct qemu_monitor *monitor, const char *command, int descriptor,
               char **ret_text, struct error *error)
{
    AUTO_FREE char *answer = NULL;
    AUTO_JSON struct json_object *document = NULL;
    struct json_object *found = NULL, *reason = NULL;
    if (monitor->command(monitor->context, command, descriptor, &answer, error) < 0)
        return -1;
    if (json_parse(answer, strlen(answer), &document, error) < 0)
        return error_wrap(error, "QEMU's answer");
    if (json_object_object_get_ex(document, "error", &found)) {
        json_object_object_get_ex(found, "desc", &reason);
        return error_set(error, ERROR_FAILED, "QEMU: %s",
                         reason != NULL ? json_object_get_string(reason) : "an error");
    }
    if (ret_text != NULL) {
        json_object_object_get_ex(document, "return", &found);
        *ret_text = xstrdup(
            json_object_is_type(found, json_type_string) ? json_object_get_string(found) : "");
    }
    return 0;
}

/* A command of the human monitor tells of its failure only in its text. */
static int run_gdbserver(const struct qemu_monitor *monitor, const char *device,
                         const char *expected, struct error *error)
{
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *command = xasprintf("{\"execute\": \"human-monitor-command\", \"arguments\": "
                                        "{\"command-line\": \"gdbserver %s\"}}",
                                        device);
    if (run(monitor, command, -1, &text, error) < 0)
        return -1;
    if (strstr(text, expected) == NULL)
        return error_set(error, ERROR_FAILED, "QEMU's gdb stub: %s", text);
    return 0;
}

int qemu_debug(const struct qemu_monitor *monitor, int descriptor, bool listens,
               struct error *error)
{
    if (descriptor < 0)
        return run_gdbserver(monitor, "none", "Disabled", error);
    AUTO_FREE char *add =
        xasprintf("{\"execute\": \"chardev-add\", \"arguments\": {\"id\": \"" NAME
                  "\", \"backend\": {\"type\": \"socket\", \"data\": {\"addr\": {\"type\": \"fd\", "
                  "\"data\": {\"str\": \"" NAME "\"}}, \"server\": %s%s}}}}",
                  listens ? "true" : "false", listens ? ", \"wait\": false" : "");
    if (run(monitor, "{\"execute\": \"getfd\", \"arguments\": {\"fdname\": \"" NAME "\"}}",
            descriptor, NULL, error) < 0 ||
        run(monitor, add, -1, NULL, error) < 0)
        return -1;
    if (run_gdbserver(monitor, "chardev:" NAME, "Waiting", error) == 0)
        return 0;
    run(monitor, "{\"execute\": \"chardev-remove\", \"arguments\": {\"id\": \"" NAME "\"}}", -1,
        NULL, NULL);
    return -1;
}
