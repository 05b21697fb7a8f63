/* QEMU's gdb stub by its monitor: what is asked of it, and what becomes of refusals. */
#include "agent/host/qemu_debug.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/json.h"

struct monitor {
    struct buffer asked;   /* the commands' names */
    int descriptor;        /* that came with getfd */
    const char *gdbserver; /* what it says */
    bool refuses_chardev;
};

static int ask(void *context, const char *command, const char *arguments, int descriptor,
               struct json_object **ret_value, struct error *error)
{
    struct monitor *monitor = context;
    AUTO_JSON struct json_object *document = NULL;
    assert_int_equal(json_parse(arguments, strlen(arguments), &document, error), 0);
    buffer_printf(&monitor->asked, "%s ", command);
    assert_int_equal(descriptor >= 0, strcmp(command, "getfd") == 0);
    if (descriptor >= 0)
        monitor->descriptor = descriptor;
    if (strcmp(command, "chardev-add") == 0 && monitor->refuses_chardev)
        return error_set(error, ERROR_FAILED, "no");
    *ret_value = strcmp(command, "human-monitor-command") == 0
                     ? json_object_new_string(monitor->gdbserver)
                     : json_object_new_object();
    return 0;
}

static void the_stub_gets_a_socket_and_loses_it(void **state)
{
    (void)state;
    struct monitor monitor = {.gdbserver = "Waiting for gdb connection on device 'x'\r\n"};
    const struct qemu_monitor door = {ask, &monitor};
    assert_int_equal(qemu_debug(&door, 7, true, NULL), 0);
    assert_int_equal(monitor.descriptor, 7);
    assert_string_equal(buffer_text(&monitor.asked), "getfd chardev-add human-monitor-command ");
    buffer_clear(&monitor.asked);
    monitor.gdbserver = "Disabled gdbserver\r\n";
    assert_int_equal(qemu_debug(&door, -1, false, NULL), 0);
    assert_string_equal(buffer_text(&monitor.asked), "human-monitor-command ");
    buffer_finish(&monitor.asked);
}

static void what_qemu_refuses_is_said_and_undone(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    struct monitor monitor = {.gdbserver = "Could not open gdbserver on device 'x'\r\n"};
    const struct qemu_monitor door = {ask, &monitor};
    assert_int_equal(qemu_debug(&door, 7, true, &error), -1);
    assert_non_null(strstr(error.message, "Could not open gdbserver"));
    assert_string_equal(buffer_text(&monitor.asked),
                        "getfd chardev-add human-monitor-command chardev-remove ");
    monitor.refuses_chardev = true;
    assert_int_equal(qemu_debug(&door, 7, true, &error), -1);
    assert_string_equal(error.message, "no");
    buffer_finish(&monitor.asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stub_gets_a_socket_and_loses_it),
        cmocka_unit_test(what_qemu_refuses_is_said_and_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
