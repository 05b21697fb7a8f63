#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "agent/host/domain_xml.h"
#include "agent/host/guest_user.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct domain_spec spec(void)
{
    return (struct domain_spec){
        .id = "0001000003f2",
        .kernel = DIGEST,
        .image = DIGEST,
        .address = "10.64.0.2",
        .mac = "52:01:00:00:03:f2",
        .tap = "sh0001000003f2",
        .kernel_path = "/run/shoal/1/b/0001000003f2",
        .console_path = "/run/shoal/1/c/0001000003f2.sock",
        .command_line = "--ip=10.64.0.2/24",
        .memory = 33554432,
        .vcpus = 2,
        .uid = 1879049202,
        .gid = 1879049202,
    };
}

static void assert_contains(const struct domain_spec *domain, const char *text)
{
    AUTO_BUFFER struct buffer xml = {0};
    domain_xml_render(domain, &xml);
    if (strstr(buffer_text(&xml), text) == NULL)
        fail_msg("no %s in %s", text, buffer_text(&xml));
}

static void what_was_asked_for_is_in_the_xml(void **state)
{
    (void)state;
    struct domain_spec domain = spec();
    assert_contains(&domain, "<domain type='qemu'");
    assert_contains(&domain, "<memory unit='b'>33554432</memory>");
    assert_contains(&domain, "<vcpu>2</vcpu>");
    assert_contains(&domain, "<mac address='52:01:00:00:03:f2'/>");
    assert_contains(&domain, "<target dev='sh0001000003f2' managed='no'/>");
    assert_contains(&domain, "<label>+1879049202:+1879049202</label>");
    assert_contains(&domain, "<tb-cache");
    domain.kvm = true;
    assert_contains(&domain, "<domain type='kvm'");
}

static void nothing_in_a_value_becomes_markup(void **state)
{
    (void)state;
    struct domain_spec domain = spec();
    domain.command_line = "</cmdline><x y=\"1\" z='2'/>&";
    domain.console_path = "/a'/><evil a='";
    assert_contains(&domain, "<cmdline>&lt;/cmdline&gt;&lt;x y=&quot;1&quot; z=&apos;2&apos;/&gt;"
                             "&amp;</cmdline>");
    assert_contains(&domain, "path='/a&apos;/&gt;&lt;evil a=&apos;'/>");
}

static void an_empty_command_line_is_left_out(void **state)
{
    (void)state;
    struct domain_spec domain = spec();
    AUTO_BUFFER struct buffer xml = {0};
    domain.command_line = "";
    domain_xml_render(&domain, &xml);
    assert_null(strstr(buffer_text(&xml), "cmdline"));
}

static void the_metadata_reads_back(void **state)
{
    (void)state;
    struct domain_metadata metadata;
    assert_int_equal(domain_metadata_parse("shoal instance=0001000003f2 kernel=" DIGEST
                                           " image=" DIGEST " address=10.64.0.2",
                                           &metadata),
                     0);
    assert_string_equal(metadata.id, "0001000003f2");
    assert_string_equal(metadata.kernel, DIGEST);
    assert_string_equal(metadata.address, "10.64.0.2");
    struct domain_spec domain = spec();
    assert_contains(&domain, "<description>shoal instance=0001000003f2 kernel=" DIGEST
                             " image=" DIGEST " address=10.64.0.2</description>");
}

static void foreign_metadata_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "somebody's machine",
        "shoal instance=0001000003f2",
        "shoal instance=0001000003f2 kernel=sha256:1 image=" DIGEST " address=10.64.0.2",
        "shoal instance=../../../etc kernel=" DIGEST " image=" DIGEST " address=10.64.0.2",
        "shoal instance=0001000003f2ff kernel=" DIGEST " image=" DIGEST " address=10.64.0.2",
        "shoal instance=0001000003f2 kernel=" DIGEST " image=" DIGEST " address=10.64.0.2 more=1",
    };
    struct domain_metadata metadata;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(domain_metadata_parse(texts[i], &metadata), -1);
}

static void name_and_uuid_follow_from_the_id(void **state)
{
    (void)state;
    char name[DOMAIN_NAME_MAX], uuid[DOMAIN_UUID_MAX];
    domain_name("0001000003f2", name);
    domain_uuid("0001000003f2", uuid);
    assert_string_equal(name, "sh0001000003f2");
    assert_string_equal(uuid, "53686f61-6c00-4000-8000-0001000003f2");
}

static void each_instance_has_a_user_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(guest_user_of("0001000003f2"), 0x700003f2);
    assert_int_equal(guest_user_of("0001ffffffff"), 0x7fffffff);
    assert_true(guest_user_of("000100000000") > GUEST_USER_PROBE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_for_is_in_the_xml),
        cmocka_unit_test(nothing_in_a_value_becomes_markup),
        cmocka_unit_test(an_empty_command_line_is_left_out),
        cmocka_unit_test(the_metadata_reads_back),
        cmocka_unit_test(foreign_metadata_is_refused),
        cmocka_unit_test(name_and_uuid_follow_from_the_id),
        cmocka_unit_test(each_instance_has_a_user_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
