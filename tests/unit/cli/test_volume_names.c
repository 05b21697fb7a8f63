/* How volumes are named on the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "cli/volumes.h"
#include "lib/cleanup.h"

static void a_volume_is_service_slot_and_name(void **state)
{
    (void)state;
    struct volume_name name;
    assert_true(volume_name_parse("counter/12/data", &name));
    assert_string_equal(name.service, "counter");
    assert_int_equal(name.slot, 12);
    assert_string_equal(name.name, "data");
    assert_string_equal(name.snapshot, "");
    assert_true(volume_name_parse("counter/0/data@before-2", &name));
    assert_string_equal(name.name, "data");
    assert_string_equal(name.snapshot, "before-2");
}

static void anything_else_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "counter",
        "counter/0",
        "counter/0/",
        "/0/data",
        "counter//data",
        "counter/-1/data",
        "counter/x/data",
        "a/0/data@",
        "counter/0/@before",
        "counter/0/../data",
        "counter/12345678901234567890/data",
        "Counter/0/data",
        "counter/0/data@b/c",
        "counter/0/data@a@b",
        "counter/0/dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct volume_name name = {.service = "untouched"};
        if (volume_name_parse(texts[i], &name))
            fail_msg("%s is taken for a volume", texts[i]);
        assert_string_equal(name.service, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_is_service_slot_and_name),
        cmocka_unit_test(anything_else_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
