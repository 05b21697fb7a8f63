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
#include "lib/xalloc.h"

struct monitor {
    struct buffer asked;   /* the commands' names */
    int descriptor;        /* that came with getfd */
    const char *gdbserver; /* what it says */
    bool refuses_chardev;
};

static int command(void *context, const char *text, int descriptor, char **ret_answer,
                   struct error *error)
{
    struct monitor *monitor = context;
    AUTO_JSON struct json_object *document = NULL;
    struct json_object *name = NULL;
    assert_int_equal(json_parse(text, strlen(text), &document, error), 0);
    assert_true(json_object_object_get_ex(document, "execute", &name));
    const char *asked = json_object_get_string(name);
    buffer_printf(&monitor->asked, "%s ", asked);
    assert_int_equal(descriptor >= 0, strcmp(asked, "getfd") == 0);
    if (descriptor >= 0)
        monitor->descriptor = descriptor;
    if (strcmp(asked, "chardev-add") == 0 && monitor->refuses_chardev)
        *ret_answer = xstrdup("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}");
    else if (strcmp(asked, "human-monitor-command") == 0)
        *ret_answer = xasprintf("{\"return\": \"%s\"}", monitor->gdbserver);
    else
        *ret_answer = xstrdup("{\"return\": {}}");
    return 0;
}

static void the_stub_gets_a_socket_and_loses_it(void **state)
{
    (void)state;
    struct monitor monitor = {.gdbserver = "Waiting for gdb connection on device 'x'\\r\\n"};
    const struct qemu_monitor door = {command, &monitor};
    assert_int_equal(qemu_debug(&door, 7, true, NULL), 0);
    assert_int_equal(monitor.descriptor, 7);
    assert_string_equal(buffer_text(&monitor.asked), "getfd chardev-add human-monitor-command ");
    buffer_clear(&monitor.asked);
    monitor.gdbserver = "Disabled gdbserver\\r\\n";
    assert_int_equal(qemu_debug(&door, -1, false, NULL), 0);
    assert_string_equal(buffer_text(&monitor.asked), "human-monitor-command ");
    buffer_finish(&monitor.asked);
}

static void what_qemu_refuses_is_said_and_undone(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    struct monitor monitor = {.gdbserver = "Could not open gdbserver on device 'x'\\r\\n"};
    const struct qemu_monitor door = {command, &monitor};
    assert_int_equal(qemu_debug(&door, 7, true, &error), -1);
    assert_non_null(strstr(error.message, "Could not open gdbserver"));
    assert_string_equal(buffer_text(&monitor.asked),
                        "getfd chardev-add human-monitor-command chardev-remove ");
    monitor.refuses_chardev = true;
    assert_int_equal(qemu_debug(&door, 7, true, &error), -1);
    assert_string_equal(error.message, "QEMU: no");
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
