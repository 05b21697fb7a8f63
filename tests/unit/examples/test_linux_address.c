/* How a Linux microVM's init reads the address on the kernel's command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "examples/linux/address.h"

static void expect_address(const char *text, const char *wanted, unsigned prefix,
                           const char *gateway, const char *name, const char *device)
{
    struct address address;
    char message[256] = "";
    assert_int_equal(address_parse(&address, text, message, sizeof message), 0);
    assert_string_equal(inet_ntoa(address.address), wanted);
    assert_int_equal(address.prefix, prefix);
    assert_string_equal(inet_ntoa(address.gateway), gateway);
    assert_string_equal(address.name, name);
    assert_string_equal(address.device, device);
}

static void expect_refusal(const char *text, const char *wanted)
{
    struct address address;
    char message[512] = "";
    assert_int_equal(address_parse(&address, text, message, sizeof message), -1);
    if (strstr(message, wanted) == NULL)
        fail_msg("%s: no \"%s\" in: %s", text, wanted, message);
}

static void what_shoal_writes_is_read(void **state)
{
    (void)state;
    expect_address("10.64.0.2::10.64.0.1:255.255.255.0:000100000001:eth0:off", "10.64.0.2", 24,
                   "10.64.0.1", "000100000001", "eth0");
}

static void gateway_name_and_device_may_be_empty(void **state)
{
    (void)state;
    expect_address("10.0.0.9:::255.0.0.0", "10.0.0.9", 8, "0.0.0.0", "", "eth0");
    expect_address("10.0.0.9:::255.255.255.255:::off", "10.0.0.9", 32, "0.0.0.0", "", "eth0");
    expect_address("10.0.0.9:10.0.0.3::128.0.0.0:n:eth7:off:8.8.8.8", "10.0.0.9", 1, "0.0.0.0", "n",
                   "eth7");
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "dhcp",
        "10.0.0.256::10.0.0.1:255.0.0.0",
        "10.0.0.2::nowhere:255.0.0.0",
        "10.0.0.2::10.0.0.1:",
        "10.0.0.2::10.0.0.1:255.0.255.0",
        "10.0.0.2::10.0.0.1:0.0.0.0",
        "10.0.0.2",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect_refusal(wrong[i], "not of the form ADDRESS::GATEWAY:MASK:NAME:DEVICE:off");
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    char text[400] = "10.0.0.2::10.0.0.1:255.0.0.0:";
    memset(text + strlen(text), 'n', ADDRESS_NAME_SIZE);
    expect_refusal(text, "too long");
    expect_refusal("10.0.0.2::10.0.0.1:255.0.0.0:n:eth0123456789abcdef:off", "too long");
    memset(text, '1', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    expect_refusal(text, "longer than 255 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_shoal_writes_is_read),
        cmocka_unit_test(gateway_name_and_device_may_be_empty),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
