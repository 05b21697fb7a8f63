#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/domain_metadata.h"
#include "agent/host/domain_xml.h"
#include "agent/host/guest_user.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define DIGEST   "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FIXTURES "tests/fixtures/domain"
#define OWNER    "0a1b2c3d"

/* What an instance of the family is given when it boots that way. */
static struct microvm_spec spec_of(const struct family *family, const struct family_boot *boot)
{
    bool boots_disk = boot->protocol == BOOT_DISK;
    struct microvm_spec domain = {
        .id = "0001000003f2",
        .kernel = DIGEST,
        .image = DIGEST,
        .address = "10.64.0.2",
        .mac = "52:01:00:00:03:f2",
        .tap = "sh0001000003f2",
        .boot = boot,
        .kernel_path = boots_disk ? "" : "/run/shoal/1/b/0001000003f2",
        .initrd_path = "",
        .console_path = "/run/shoal/1/c/0001000003f2.sock",
        .command_line = boots_disk ? "" : "--ip=10.64.0.2/24",
        .memory = 33554432,
        .vcpus = 2,
        .uid = 1879049202,
        .gid = 1879049202,
    };
    strcpy(domain.family, family->name);
    if (boots_disk)
        domain.kernel[0] = '\0';
    if (boot->protocol == BOOT_LINUX)
        domain.initrd_path = "/run/shoal/1/b/0001000003f2.initrd";
    if (strcmp(family->name, "shoal") != 0) {
        domain.disks[0] = (struct microvm_disk){"/run/shoal/1/o/0001000003f2.0",
                                                "/run/shoal/1/i/0123456789abcdef", "raw"};
        domain.disks[1] = (struct microvm_disk){"/run/shoal/1/o/0001000003f2.1",
                                                "/run/shoal/1/i/fedcba9876543210", "qcow2"};
        domain.disk_count = 2;
    }
    if (strcmp(family->name, "linux") == 0 || strcmp(family->name, "xen") == 0) {
        domain.volumes[0] = (struct microvm_volume){"/run/shoal/1/w/default/db/0/data", "data"};
        domain.volume_count = 1;
    }
    return domain;
}

static struct microvm_spec spec_for(const char *name, const char *protocol, const char *machine)
{
    const struct family *family = family_find(name);
    assert_non_null(family);
    const struct family_boot *boot = family_find_boot(family, "amd64", protocol, machine, NULL);
    assert_non_null(boot);
    return spec_of(family, boot);
}

static struct microvm_spec spec(void)
{
    return spec_for("shoal", "pvh", "microvm");
}

static enum libvirt_driver driver_of(const struct microvm_spec *domain)
{
    return domain->boot->protocol == BOOT_XEN ? LIBVIRT_XEN : LIBVIRT_EMBED;
}

static void render(const struct microvm_spec *domain, struct buffer *xml)
{
    struct error error = ERROR_INIT;
    if (domain_xml_render(driver_of(domain), OWNER, domain, xml, &error) < 0)
        fail_msg("%s", error.message);
}

static void assert_contains(const struct microvm_spec *domain, const char *text)
{
    AUTO_BUFFER struct buffer xml = {0};
    render(domain, &xml);
    if (strstr(buffer_text(&xml), text) == NULL)
        fail_msg("no %s in %s", text, buffer_text(&xml));
}

/* UPDATE_FIXTURES=1 writes the files anew, to be looked at before they are kept. */
static void assert_as_in_file(const struct family *family, const struct family_boot *boot)
{
    struct microvm_spec domain = spec_of(family, boot);
    AUTO_BUFFER struct buffer xml = {0};
    AUTO_FREE char *path =
        xasprintf(FIXTURES "/%s-%s-%s-%s.xml", family->name, boot->architecture,
                  boot_protocol_names[boot->protocol], boot_machine_names[boot->machine]);
    AUTO_FREE char *expected = NULL;
    render(&domain, &xml);
    if (getenv("UPDATE_FIXTURES") != NULL)
        assert_int_equal(file_write(path, xml.data, xml.length, 0644, NULL), 0);
    if (file_read(path, 65536, &expected, NULL, NULL) < 0)
        fail_msg("there is no %s", path);
    assert_string_equal(buffer_text(&xml), expected);
}

static void every_way_to_boot_is_as_in_its_file(void **state)
{
    (void)state;
    size_t ways = 0;
    const struct family *family;
    for (size_t i = 0; (family = family_at(i)) != NULL; i++) {
        for (size_t j = 0; j < FAMILY_BOOTS_MAX && family->boots[j].architecture != NULL; j++) {
            assert_as_in_file(family, &family->boots[j]);
            ways++;
        }
    }
    assert_true(ways > 20);
    glob_t files;
    assert_int_equal(glob(FIXTURES "/*.xml", 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, ways);
    globfree(&files);
}

static void what_was_asked_for_is_in_the_xml(void **state)
{
    (void)state;
    struct microvm_spec domain = spec();
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

static void disks_lie_on_images_whose_format_is_said(void **state)
{
    (void)state;
    struct microvm_spec domain = spec_for("osv", "disk", "pc");
    assert_contains(&domain, "<source file='/run/shoal/1/o/0001000003f2.1'/>\n"
                             "<backingStore type='file'><format type='qcow2'/>"
                             "<source file='/run/shoal/1/i/fedcba9876543210'/>"
                             "<backingStore/></backingStore>");
    assert_contains(&domain, "<boot order='1'/>");
    domain.disk_count = HOST_DISKS_MAX;
    for (size_t i = 2; i < HOST_DISKS_MAX; i++)
        domain.disks[i] = domain.disks[1];
    assert_contains(&domain, "<target dev='vdh' bus='virtio'/>");
}

static void nothing_in_a_value_becomes_markup(void **state)
{
    (void)state;
    struct microvm_spec domain = spec_for("linux", "linux", "q35");
    domain.command_line = "</cmdline><x y=\"1\" z='2'/>&";
    domain.console_path = "/a'/><evil a='";
    domain.initrd_path = "/b</initrd>";
    domain.disks[0].overlay_path = "/c'/><evil/>";
    domain.disks[0].image_path = "/d'&\"";
    domain.disks[1].image_format = "raw'/>";
    strcpy(domain.tap, "t'/><b/>");
    strcpy(domain.mac, "m'/><b/>");
    strcpy(domain.family, "<f>");
    assert_contains(&domain, "<cmdline>&lt;/cmdline&gt;&lt;x y=&quot;1&quot; z=&apos;2&apos;/&gt;"
                             "&amp;</cmdline>");
    assert_contains(&domain, "path='/a&apos;/&gt;&lt;evil a=&apos;'/>");
    assert_contains(&domain, "<initrd>/b&lt;/initrd&gt;</initrd>");
    assert_contains(&domain, "<source file='/c&apos;/&gt;&lt;evil/&gt;'/>");
    assert_contains(&domain, "<source file='/d&apos;&amp;&quot;'/>");
    assert_contains(&domain, "<format type='raw&apos;/&gt;'/>");
    assert_contains(&domain, "<target dev='t&apos;/&gt;&lt;b/&gt;'");
    assert_contains(&domain, "<mac address='m&apos;/&gt;&lt;b/&gt;'/>");
    assert_contains(&domain, " family='&lt;f&gt;' ");
}

static void assert_refused(const struct microvm_spec *domain, const char *why)
{
    AUTO_BUFFER struct buffer xml = {0};
    struct error error = ERROR_INIT;
    assert_int_equal(domain_xml_render(driver_of(domain), OWNER, domain, &xml, &error), -1);
    if (strstr(error.message, why) == NULL)
        fail_msg("no %s in %s", why, error.message);
    assert_int_equal(xml.length, 0);
}

static void what_xml_cannot_carry_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"a\nb", "a\rb",     "a\tb",         "\x01",        "\x7f",
                                        "\xff", "\xc0\x80", "\xed\xa0\x80", "\xef\xbf\xbf"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct microvm_spec domain = spec_for("linux", "linux", "pc");
        domain.command_line = texts[i];
        assert_refused(&domain, "command line");
        domain = spec_for("linux", "linux", "pc");
        domain.kernel_path = texts[i];
        assert_refused(&domain, "kernel's path");
        domain = spec_for("linux", "linux", "pc");
        domain.initrd_path = texts[i];
        assert_refused(&domain, "initrd's path");
        domain = spec_for("linux", "linux", "pc");
        domain.console_path = texts[i];
        assert_refused(&domain, "console's path");
        domain = spec_for("linux", "linux", "pc");
        domain.disks[1].overlay_path = texts[i];
        assert_refused(&domain, "overlay's path");
        domain = spec_for("linux", "linux", "pc");
        domain.disks[1].image_path = texts[i];
        assert_refused(&domain, "disk's path");
        domain = spec_for("linux", "linux", "pc");
        domain.disks[0].image_format = texts[i];
        assert_refused(&domain, "disk's format");
        domain = spec_for("linux", "linux", "pc");
        strcpy(domain.family, texts[i]);
        assert_refused(&domain, "family");
        domain = spec_for("linux", "linux", "pc");
        strcpy(domain.tap, texts[i]);
        assert_refused(&domain, "tap");
        domain = spec_for("linux", "linux", "pc");
        strcpy(domain.mac, texts[i]);
        assert_refused(&domain, "MAC");
        domain = spec_for("linux", "linux", "pc");
        strcpy(domain.address, texts[i]);
        assert_refused(&domain, "address");
        domain = spec_for("linux", "linux", "pc");
        strcpy(domain.kernel, texts[i]);
        assert_refused(&domain, "kernel's digest");
        domain = spec_for("linux", "linux", "pc");
        strcpy(domain.image, texts[i]);
        assert_refused(&domain, "image's digest");
    }
}

static void parts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct microvm_spec domain = spec_for("osv", "disk", "pc");
    domain.disk_count = 0;
    assert_refused(&domain, "first disk");
    domain = spec_for("osv", "disk", "pc");
    domain.kernel_path = "/k";
    assert_refused(&domain, "no kernel");
    domain = spec();
    domain.kernel_path = "";
    assert_refused(&domain, "no kernel");
    struct family_boot odd = {"arm64", BOOT_LINUX, MACHINE_PC, 0};
    domain = spec();
    domain.boot = &odd;
    assert_refused(&domain, "no machine pc for arm64");
}

static void an_empty_command_line_is_left_out(void **state)
{
    (void)state;
    struct microvm_spec domain = spec();
    AUTO_BUFFER struct buffer xml = {0};
    domain.command_line = "";
    render(&domain, &xml);
    assert_null(strstr(buffer_text(&xml), "cmdline"));
}

/* As libvirt gives it back: without the namespace. */
#define META(kernel)                                                                               \
    "<instance id=\"0001000003f2\"" kernel " image=\"" DIGEST "\" address=\"10.64.0.2\""           \
    " family=\"osv\" owner=\"" OWNER "\"/>"

static void the_metadata_reads_back(void **state)
{
    (void)state;
    struct domain_metadata metadata;
    assert_int_equal(domain_metadata_parse(META(" kernel=\"" DIGEST "\""), &metadata), 0);
    assert_string_equal(metadata.identity.id, "0001000003f2");
    assert_string_equal(metadata.identity.kernel, DIGEST);
    assert_string_equal(metadata.identity.image, DIGEST);
    assert_string_equal(metadata.identity.address, "10.64.0.2");
    assert_string_equal(metadata.identity.family, "osv");
    assert_string_equal(metadata.owner, OWNER);
    assert_int_equal(domain_metadata_parse(META(""), &metadata), 0);
    assert_string_equal(metadata.identity.kernel, "");
    struct microvm_spec domain = spec();
    AUTO_BUFFER struct buffer written = {0};
    domain_metadata_append(&domain, OWNER, &written);
    assert_int_equal(domain_metadata_parse(buffer_text(&written), &metadata), 0);
    assert_string_equal(metadata.identity.family, "shoal");
    assert_contains(&domain, buffer_text(&written));
}

static void foreign_metadata_is_refused(void **state)
{
    (void)state;
#define OTHERS " image='" DIGEST "' address='10.64.0.2' family='shoal' owner='" OWNER "'"
    static const char *const texts[] = {
        "",
        "somebody's machine",
        "<instance/>",
        "<instances id='0001000003f2'" OTHERS "/>",
        "<instance id='0001000003f2'/>",
        "<instance id='0001000003f2'" OTHERS ">",
        "<instance id='0001000003f2'" OTHERS "/>more",
        "<instance id='0001000003f2'" OTHERS " more='1'/>",
        "<instance id='0001000003f2' id='0001000003f2'" OTHERS "/>",
        "<instance id='0001000003f2\"" OTHERS "/>",
        "<instance id='0001000003f2" OTHERS "/>",
        "<instance id=0001000003f2" OTHERS "/>",
        "<instance id='../../../etc'" OTHERS "/>",
        "<instance id='0001000003f2ff'" OTHERS "/>",
        "<instance id='&#48;001000003f2'" OTHERS "/>",
        "<instance id='0001000003f2' kernel='sha256:1'" OTHERS "/>",
        "<instance id='0001000003f2' image='" DIGEST "' address='10.64.0.2' family='shoal'/>",
    };
    struct domain_metadata metadata;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(domain_metadata_parse(texts[i], &metadata), -1);
}

static void a_machine_is_the_one_drivers_or_the_others(void **state)
{
    (void)state;
    AUTO_BUFFER struct buffer xml = {0};
    struct microvm_spec domain = spec();
    struct error error = ERROR_INIT;
    assert_int_equal(domain_xml_render(LIBVIRT_XEN, OWNER, &domain, &xml, &error), -1);
    assert_int_equal(error.code, ERROR_UNSUPPORTED);
    domain = spec_for("xen", "xen", "xenpvh");
    assert_int_equal(domain_xml_render(LIBVIRT_SYSTEM, OWNER, &domain, &xml, &error), -1);
    assert_int_equal(error.code, ERROR_UNSUPPORTED);
}

static void only_this_machines_drivers_have_a_uri(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        enum libvirt_driver driver;
    } good[] = {
        {"qemu:///embed", LIBVIRT_EMBED},
        {"qemu:///system", LIBVIRT_SYSTEM},
        {"qemu:///system?socket=/run/libvirt/libvirt-sock", LIBVIRT_SYSTEM},
        {"xen:///system", LIBVIRT_XEN},
        {"test:///default", LIBVIRT_TEST},
    };
    static const char *const bad[] = {
        "",
        "qemu",
        "qemu:///session",
        "qemu:///embed?root=/",
        "qemu:///embedded",
        "qemu://elsewhere/system",
        "qemu+ssh:///system",
        "qemu:///system?command=/bin/sh",
        "qemu:///system?socket=relative",
        "qemu:///system?socket=/a&command=/bin/sh",
        "qemu:///system?socket=/a;command=/bin/sh",
        "test:///default?socket=/a",
    };
    enum libvirt_driver driver;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        assert_int_equal(libvirt_uri_parse(good[i].uri, &driver, NULL), 0);
        assert_int_equal(driver, good[i].driver);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct error error = ERROR_INIT;
        assert_int_equal(libvirt_uri_parse(bad[i], &driver, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
    }
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
        cmocka_unit_test(every_way_to_boot_is_as_in_its_file),
        cmocka_unit_test(what_was_asked_for_is_in_the_xml),
        cmocka_unit_test(disks_lie_on_images_whose_format_is_said),
        cmocka_unit_test(nothing_in_a_value_becomes_markup),
        cmocka_unit_test(what_xml_cannot_carry_is_refused),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(an_empty_command_line_is_left_out),
        cmocka_unit_test(the_metadata_reads_back),
        cmocka_unit_test(foreign_metadata_is_refused),
        cmocka_unit_test(a_machine_is_the_one_drivers_or_the_others),
        cmocka_unit_test(only_this_machines_drivers_have_a_uri),
        cmocka_unit_test(name_and_uuid_follow_from_the_id),
        cmocka_unit_test(each_instance_has_a_user_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
