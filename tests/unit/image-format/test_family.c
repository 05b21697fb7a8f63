/* The table of families, and the command line each of them boots with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "image-format/command_line.h"
#include "image-format/family.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

static const struct command_line_values values = {
    .address = "10.64.0.7",
    .prefix = 20,
    .gateway = "10.64.0.1",
    .dns = "10.64.0.1",
    .mtu = 1450,
    .mac = "52:00:00:00:03:f2",
    .instance_id = "0001000003f2",
    .service = "hello",
    .namespace_name = "default",
    .node = "alpha",
};

struct given {
    const char *family;
    const char *image[4];
    const char *extra[4];
    const char *environment[2]; /* one pair */
    bool has_initrd, has_no_kernel;
};

static int compose(const struct given *given, char **ret_line, struct error *error)
{
    struct image_config config = {0};
    struct json_strings extra = {0};
    struct json_map environment = {0};
    strcpy(config.family, given->family);
    strcpy(config.boot.protocol, given->has_no_kernel ? "disk" : "");
    strcpy(config.boot.initrd, given->has_initrd ? "i" : "");
    for (size_t i = 0; i < 4; i++) {
        if (given->image[i] != NULL)
            json_strings_add(&config.cmdline, given->image[i]);
        if (given->extra[i] != NULL)
            json_strings_add(&extra, given->extra[i]);
    }
    if (given->environment[0] != NULL)
        json_map_set(&environment, given->environment[0], given->environment[1]);
    int result = command_line_expand(&config, &extra, &environment, &values, ret_line, error);
    json_strings_release(&config.cmdline);
    json_strings_release(&extra);
    json_map_release(&environment);
    return result;
}

static void assert_line(const struct given *given, const char *expected)
{
    AUTO_FREE char *line = NULL;
    struct error error = ERROR_INIT;
    if (compose(given, &line, &error) < 0)
        fail_msg("%s: %s", given->family, error.message);
    assert_string_equal(line, expected);
}

static void assert_refused(const struct given *given, const char *message)
{
    AUTO_FREE char *line = NULL;
    struct error error = ERROR_INIT;
    if (compose(given, &line, &error) == 0)
        fail_msg("%s: accepted \"%s\"", given->family, line);
    if (strstr(error.message, message) == NULL)
        fail_msg("%s: expected \"%s\" in \"%s\"", given->family, message, error.message);
}

static void each_family_is_told_in_its_own_form(void **state)
{
    (void)state;
    assert_line(&(struct given){.family = "shoal",
                                .image = {"--greeting", "hi there"},
                                .extra = {"x"},
                                .environment = {"LOG", "a b"}},
                "--ip=10.64.0.7/20 --gateway=10.64.0.1 --instance=0001000003f2 \"--env=LOG=a b\" "
                "--greeting \"hi there\" x");
    assert_line(&(struct given){.family = "linux",
                                .image = {"quiet", "--", "serve"},
                                .extra = {"a b"},
                                .environment = {"LOG", "info all"}},
                "quiet ip=10.64.0.7::10.64.0.1:255.255.240.0:0001000003f2:eth0:off "
                "LOG=\"info all\" -- serve \"a b\"");
    assert_line(&(struct given){.family = "linux", .image = {"quiet"}},
                "quiet ip=10.64.0.7::10.64.0.1:255.255.240.0:0001000003f2:eth0:off");
    assert_line(&(struct given){.family = "unikraft",
                                .image = {"-c", "/nginx.conf"},
                                .extra = {"x y"},
                                .environment = {"A", "b c"}},
                "netdev.ip=10.64.0.7/20:10.64.0.1:10.64.0.1 env.vars=[ \"A=b c\" ] -- -c "
                "/nginx.conf \"x y\"");
    assert_line(&(struct given){.family = "unikraft",
                                .image = {"vfs.x=1", "--", "app"},
                                .has_initrd = true},
                "netdev.ip=10.64.0.7/20:10.64.0.1:10.64.0.1 vfs.x=1 "
                "vfs.fstab=[ \"initrd0:/:extract:::\" ] -- app");
    assert_line(
        &(struct given){.family = "solo5", .image = {"--http=80"}, .extra = {"--name", "a \"b\""}},
        "--ipv4=10.64.0.7/20 --ipv4-gateway=10.64.0.1 --http=80 --name \"a \\\"b\\\"\"");
    assert_line(
        &(struct given){
            .family = "osv", .image = {"/hello.so"}, .extra = {"a b"}, .environment = {"K", "v"}},
        "--ip=eth0,10.64.0.7,255.255.240.0 --defaultgw=10.64.0.1 --nameserver=10.64.0.1 "
        "--env=K=v /hello.so \"a b\"");
    assert_line(&(struct given){.family = "osv", .has_no_kernel = true}, "");
    assert_line(&(struct given){.family = "nanos", .has_no_kernel = true}, "");
    assert_line(&(struct given){.family = "rumprun",
                                .image = {"prog"},
                                .extra = {"a\"b", "c d"},
                                .environment = {"K", "v\"w"}},
                "{\"cmdline\":\"prog \\\"a\\\\\\\"b\\\" \\\"c d\\\"\",\"env\":\"K=v\\\"w\","
                "\"net\":{\"if\":\"vioif0\",\"type\":\"inet\",\"method\":\"static\","
                "\"addr\":\"10.64.0.7\",\"mask\":\"20\",\"gw\":\"10.64.0.1\"}}");
    assert_line(
        &(struct given){
            .family = "hermit", .image = {"serve"}, .extra = {"x"}, .environment = {"K", "v"}},
        "-ip 10.64.0.7 -mask 255.255.240.0 -gateway 10.64.0.1 env=K=v -- serve x");
    assert_line(&(struct given){.family = "generic", .image = {"root=/dev/vda"}, .extra = {"x"}},
                "root=/dev/vda x");
    assert_line(&(struct given){.family = "includeos", .extra = {"x"}}, "x");
}

static void an_image_may_tell_the_address_itself(void **state)
{
    (void)state;
    assert_line(
        &(struct given){.family = "solo5", .image = {"--ipv4=${net.address}/${net.prefix}"}},
        "--ipv4=10.64.0.7/20");
    assert_line(&(struct given){.family = "linux", .image = {"addr=${net.address}"}},
                "addr=10.64.0.7");
    assert_line(&(struct given){.family = "generic", .image = {"${net.address}"}}, "10.64.0.7");
}

static void what_a_guest_would_take_apart_is_refused(void **state)
{
    (void)state;
    assert_refused(&(struct given){.family = "unikraft", .extra = {"a\"b"}},
                   "a double quote or a backslash");
    assert_refused(&(struct given){.family = "linux", .extra = {"a\\b"}},
                   "a double quote or a backslash");
    assert_refused(&(struct given){.family = "generic", .extra = {"a b"}}, "has a space");
    assert_refused(&(struct given){.family = "generic", .extra = {""}}, "an empty argument");
    assert_refused(&(struct given){.family = "linux", .environment = {"init", "/bin/sh"}},
                   "the kernel could take it for an option of its own");
    assert_refused(&(struct given){.family = "linux", .environment = {"A", "b\" init=/x"}},
                   "double quote");
    assert_refused(&(struct given){.family = "solo5", .extra = {"a\nb"}}, "control character");
    assert_refused(&(struct given){.family = "rumprun", .environment = {"A", "\x01"}},
                   "control character");
    /* A JSON text inside a line keeps the line's bound. */
    assert_line(&(struct given){.family = "linux", .extra = {"--", "x"}},
                "ip=10.64.0.7::10.64.0.1:255.255.240.0:0001000003f2:eth0:off -- -- x");
}

static void what_would_not_reach_the_guest_is_refused(void **state)
{
    (void)state;
    assert_refused(&(struct given){.family = "solo5", .environment = {"K", "v"}},
                   "has no environment");
    assert_line(
        &(struct given){.family = "solo5", .image = {"--k=${env.K}"}, .environment = {"K", "v"}},
        "--ipv4=10.64.0.7/20 --ipv4-gateway=10.64.0.1 --k=v");
    assert_refused(&(struct given){.family = "nanos", .extra = {"x"}, .has_no_kernel = true},
                   "args do not reach a guest of family nanos");
    assert_refused(
        &(struct given){.family = "nanos", .environment = {"K", "v"}, .has_no_kernel = true},
        "has no environment");
    assert_refused(&(struct given){.family = "osv", .extra = {"x"}, .has_no_kernel = true},
                   "boots its own disk");
}

static void every_familys_limit_is_checked(void **state)
{
    (void)state;
    AUTO_FREE char *huge = xcalloc(1, 1002);
    memset(huge, 'x', 1001);
    for (size_t i = 0; family_at(i) != NULL; i++) {
        const struct family *family = family_at(i);
        struct given given = {.family = family->name, .extra = {huge}};
        if (family->has_arguments) {
            char expected[64];
            snprintf(expected, sizeof expected, "longer than the %zu bytes", family->line_max);
            assert_refused(&given, expected);
        }
    }
}

static void every_row_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; family_at(i) != NULL; i++) {
        const struct family *family = family_at(i);
        assert_ptr_equal(family_find(family->name), family);
        assert_non_null(family->title);
        assert_non_null(family->compose);
        assert_true(family->memory_min >= 1 << 20);
        assert_true(family->stop == FAMILY_STOP_KILL || (family->stops & family->stop) != 0);
        assert_non_null(family->boots[0].architecture);
        for (size_t j = 0; j < FAMILY_BOOTS_MAX && family->boots[j].architecture != NULL; j++) {
            const struct family_boot *boot = &family->boots[j];
            assert_ptr_equal(family_find_boot(family, boot->architecture,
                                              boot_protocol_names[boot->protocol],
                                              boot_machine_names[boot->machine], NULL),
                             boot);
        }
        assert_ptr_equal(family_find_boot(family, family->boots[0].architecture, "", "", NULL),
                         &family->boots[0]);
    }
    assert_null(family_find("plan9"));
    assert_null(family_find(""));
}

static void a_way_that_is_not_in_the_table_is_named_with_those_that_are(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    assert_null(family_find_boot(family_find("nanos"), "arm64", "", "", &error));
    assert_int_equal(error.code, ERROR_UNSUPPORTED);
    assert_string_equal(error.message,
                        "family nanos does not boot arm64: it boots amd64 by disk on pc, amd64 by "
                        "disk on q35, amd64 by pvh on microvm");
    assert_null(family_find_boot(family_find("solo5"), "amd64", "multiboot", "q35", &error));
    assert_non_null(
        strstr(error.message, "by multiboot on q35: it boots amd64 by multiboot on pc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_family_is_told_in_its_own_form),
        cmocka_unit_test(an_image_may_tell_the_address_itself),
        cmocka_unit_test(what_a_guest_would_take_apart_is_refused),
        cmocka_unit_test(what_would_not_reach_the_guest_is_refused),
        cmocka_unit_test(every_familys_limit_is_checked),
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(a_way_that_is_not_in_the_table_is_named_with_those_that_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
