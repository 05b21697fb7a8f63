#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/dhcp_files.h"
#include "agent/host/dhcp_release.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static const struct network_pin good = {
    .tap = "sh0001000000a1", .mac = "52:00:00:00:00:a1", .address = "10.64.0.2"};

/* ---- the configuration ---- */

static void every_subnet_is_a_static_range(void **state)
{
    (void)state;
    const struct network_subnet subnets[] = {{"10.64.0.1", 24}, {"10.65.7.1", 22}};
    AUTO_BUFFER struct buffer text = {0};
    assert_int_equal(dhcp_config_render(subnets, 2, &text, NULL), 0);
    assert_non_null(strstr(text.data, "\ndhcp-range=10.64.0.0,static,255.255.255.0,24h\n"));
    assert_non_null(strstr(text.data, "\ndhcp-range=10.65.4.0,static,255.255.252.0,24h\n"));
}

static void nothing_but_the_leases_is_served(void **state)
{
    (void)state;
    static const char *const lines[] = {"port=0\n",          "no-resolv\n", "no-hosts\n",
                                        "leasefile-ro\n",    "no-ping\n",   "interface=shoal0\n",
                                        "dhcp-ignore-clid\n"};
    const struct network_subnet subnet = {"10.64.0.1", 24};
    AUTO_BUFFER struct buffer text = {0};
    assert_int_equal(dhcp_config_render(&subnet, 1, &text, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
        assert_non_null(strstr(text.data, lines[i]));
    assert_null(strstr(text.data, "/etc"));
    assert_non_null(strstr(text.data, "dhcp-option=option:mtu,1500\n"));
}

static void what_is_no_subnet_is_refused_and_writes_nothing(void **state)
{
    (void)state;
    const struct network_subnet subnets[] = {
        {"10.64.0.1", 31}, {"10.64.0.1", 0},        {"10.64.0.1", 33},         {"", 24},
        {"10.64.0", 24},   {"10.064.0.1", 24},      {"10.64.0.1\nport=5", 24}, {"10.64.0.1 ", 24},
        {"::1", 24},       {"10.64.0.1,static", 24}};
    for (size_t i = 0; i < ARRAY_LENGTH(subnets); i++) {
        struct error error = ERROR_INIT;
        AUTO_BUFFER struct buffer text = {0};
        assert_int_equal(dhcp_config_render(&subnets[i], 1, &text, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
        assert_int_equal(text.length, 0);
    }
}

static void an_address_has_the_gateway_of_its_subnet(void **state)
{
    (void)state;
    const struct network_subnet subnets[] = {{"10.64.0.1", 24}, {"10.65.4.1", 22}};
    assert_string_equal(dhcp_find_gateway(subnets, 2, "10.64.0.9"), "10.64.0.1");
    assert_string_equal(dhcp_find_gateway(subnets, 2, "10.65.7.200"), "10.65.4.1");
    assert_null(dhcp_find_gateway(subnets, 2, "10.65.8.1"));
    assert_null(dhcp_find_gateway(subnets, 2, "no address"));
    assert_null(dhcp_find_gateway(NULL, 0, "10.64.0.9"));
}

/* ---- leases ---- */

static void a_lease_is_one_line(void **state)
{
    (void)state;
    AUTO_BUFFER struct buffer text = {0};
    struct network_pin again;
    assert_int_equal(dhcp_lease_check(&good, NULL), 0);
    dhcp_lease_render(&good, &text);
    assert_string_equal(buffer_text(&text), "52:00:00:00:00:a1,10.64.0.2,sh0001000000a1\n");
    assert_int_equal(dhcp_lease_parse(buffer_text(&text), &again), 0);
    assert_true(dhcp_lease_equals(&good, &again));
}

static void assert_refused(const struct network_pin *lease)
{
    struct error error = ERROR_INIT;
    assert_int_equal(dhcp_lease_check(lease, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
}

static void a_name_that_is_no_taps_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"",
                                        "sh",
                                        "0001000000a1",
                                        "sh0001000000a",
                                        "sh0001000000a12",
                                        "sh0001000000A1",
                                        "sh0001000000a\n",
                                        "../../../etc/p",
                                        "sh/../../etc/p",
                                        "sh00010000,,a1",
                                        "SH0001000000a1",
                                        ".h0001000000a1"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct network_pin lease = good;
        snprintf(lease.tap, sizeof lease.tap, "%s", names[i]);
        assert_refused(&lease);
    }
    struct network_pin endless = good;
    memset(endless.tap, 'a', sizeof endless.tap);
    assert_refused(&endless);
}

static void a_mac_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const macs[] = {"",
                                       "52:00:00:00:00",
                                       "52:00:00:00:00:a",
                                       "52-00-00-00-00-a1",
                                       "52:00:00:00:00:A1",
                                       "52:*:*:*:*:*",
                                       "52:00:00:00:00,a1",
                                       "id:00:00:00:00:a1",
                                       "52:00:00:00:00:\n1"};
    for (size_t i = 0; i < ARRAY_LENGTH(macs); i++) {
        struct network_pin lease = good;
        snprintf(lease.mac, sizeof lease.mac, "%s", macs[i]);
        assert_refused(&lease);
    }
    struct network_pin endless = good;
    memset(endless.mac, '0', sizeof endless.mac);
    assert_refused(&endless);
}

static void an_address_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const addresses[] = {
        "",    "10.64.0",   "10.64.0.256", "10.64.0.02",  "10.64.0.2,",  "10.64.0.2 ",
        "::1", "10.64.0.x", "1.2.3.4,ig",  "10.64.0.2\n", "10.64.0.2,\n"};
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
        struct network_pin lease = good;
        snprintf(lease.address, sizeof lease.address, "%s", addresses[i]);
        assert_refused(&lease);
    }
    struct network_pin endless = good;
    memset(endless.address, '1', sizeof endless.address);
    assert_refused(&endless);
}

static void only_the_form_that_is_written_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\n",
        ",,\n",
        "52:00:00:00:00:a1,10.64.0.2,sh0001000000a1",
        "52:00:00:00:00:a1,10.64.0.2,sh0001000000a1\n\n",
        "52:00:00:00:00:a1,10.64.0.2,sh0001000000a1\n52:00:00:00:00:a2,10.64.0.3,sh0001000000a2\n",
        "52:00:00:00:00:a1,10.64.0.2\n",
        "52:00:00:00:00:a1,10.64.0.2,sh0001000000a1,infinite\n",
        "52:00:00:00:00:a1 ,10.64.0.2,sh0001000000a1\n",
        "10.64.0.2,52:00:00:00:00:a1,sh0001000000a1\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct network_pin lease = good;
        assert_int_equal(dhcp_lease_parse(texts[i], &lease), -1);
        assert_true(dhcp_lease_equals(&lease, &good)); /* untouched */
    }
}

static int make_folder(void **state)
{
    char path[] = "/tmp/shoal-dhcp.XXXXXX";
    if (mkdtemp(path) == NULL)
        return -1;
    *state = xstrdup(path);
    return 0;
}

static int remove_folder(void **state)
{
    file_remove_tree(*state, NULL);
    free(*state);
    return 0;
}

static void a_lease_is_a_file_that_comes_and_goes_whole(void **state)
{
    const char *folder = *state;
    struct network_pin moved = good, again;
    snprintf(moved.address, sizeof moved.address, "10.64.0.77");
    assert_int_equal(dhcp_lease_write(folder, &good, NULL), 0);
    assert_int_equal(dhcp_lease_write(folder, &moved, NULL), 0);
    assert_int_equal(dhcp_lease_read(folder, good.tap, &again), 0);
    assert_true(dhcp_lease_equals(&moved, &again));
    AUTO_FREE char *hidden = xasprintf("%s/.%s", folder, good.tap);
    assert_int_equal(access(hidden, F_OK), -1);
    dhcp_lease_remove(folder, good.tap);
    dhcp_lease_remove(folder, good.tap);
    assert_int_equal(dhcp_lease_read(folder, good.tap, &again), -1);
}

static void a_file_by_another_name_is_no_lease(void **state)
{
    const char *folder = *state;
    struct network_pin lease;
    AUTO_FREE char *path = xasprintf("%s/sh0001000000a2", folder);
    static const char line[] = "52:00:00:00:00:a1,10.64.0.2,sh0001000000a1\n";
    assert_int_equal(file_write(path, line, sizeof line - 1, 0644, NULL), 0);
    assert_int_equal(dhcp_lease_read(folder, "sh0001000000a2", &lease), -1);
}

static void a_link_is_not_written_through(void **state)
{
    const char *folder = *state;
    AUTO_FREE char *target = xasprintf("%s/elsewhere", folder);
    AUTO_FREE char *hidden = xasprintf("%s/.%s", folder, good.tap);
    assert_int_equal(symlink(target, hidden), 0);
    assert_int_equal(dhcp_lease_write(folder, &good, NULL), -1);
    assert_int_equal(access(target, F_OK), -1);
}

/* ---- the end of a lease ---- */

static void a_release_is_rfc_2131s(void **state)
{
    (void)state;
    static const uint8_t mac[16] = {0x52, 0, 0, 0, 0, 0xa1};
    static const uint8_t options[] = {99, 130, 83, 99, 53, 1, 7, 54, 4, 10, 64, 0, 1, 255};
    static const uint8_t nothing[192] = {0};
    uint8_t message[DHCP_RELEASE_BYTES];
    assert_int_equal(dhcp_release_render(&good, "10.64.0.1", message), 0);
    assert_memory_equal(message, ((uint8_t[]){1, 1, 6, 0}), 4);
    assert_memory_equal(message + 12, ((uint8_t[]){10, 64, 0, 2}), 4); /* ciaddr */
    assert_memory_equal(message + 16, nothing, 12);                    /* yiaddr, siaddr, giaddr */
    assert_memory_equal(message + 28, mac, sizeof mac);
    assert_memory_equal(message + 44, nothing, sizeof nothing);
    assert_memory_equal(message + 236, options, sizeof options);
}

static void a_release_of_what_is_no_lease_is_none(void **state)
{
    (void)state;
    uint8_t message[DHCP_RELEASE_BYTES];
    struct network_pin lease = good;
    assert_int_equal(dhcp_release_render(&good, "gateway", message), -1);
    snprintf(lease.mac, sizeof lease.mac, "52:00");
    assert_int_equal(dhcp_release_render(&lease, "10.64.0.1", message), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_subnet_is_a_static_range),
        cmocka_unit_test(nothing_but_the_leases_is_served),
        cmocka_unit_test(what_is_no_subnet_is_refused_and_writes_nothing),
        cmocka_unit_test(an_address_has_the_gateway_of_its_subnet),
        cmocka_unit_test(a_lease_is_one_line),
        cmocka_unit_test(a_name_that_is_no_taps_is_refused),
        cmocka_unit_test(a_mac_that_is_none_is_refused),
        cmocka_unit_test(an_address_that_is_none_is_refused),
        cmocka_unit_test(only_the_form_that_is_written_is_read),
        cmocka_unit_test_setup_teardown(a_lease_is_a_file_that_comes_and_goes_whole, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_file_by_another_name_is_no_lease, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_link_is_not_written_through, make_folder, remove_folder),
        cmocka_unit_test(a_release_is_rfc_2131s),
        cmocka_unit_test(a_release_of_what_is_no_lease_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
