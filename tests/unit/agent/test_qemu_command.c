/* The command that starts a QEMU: of every row of the families' table, as in
 * tests/fixtures/command, and nothing of a guest's in it but what is its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/qemu_command.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define DIGEST   "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FIXTURES "tests/fixtures/command"

/* What an instance of the family is given when it boots that way. */
static struct microvm_spec spec_of(const struct family *family, const struct family_boot *boot)
{
    bool boots_disk = boot->protocol == BOOT_DISK;
    struct microvm_spec spec = {
        .id = "0001000003f2",
        .kernel = DIGEST,
        .image = DIGEST,
        .address = "10.64.0.2",
        .mac = "52:01:00:00:03:f2",
        .tap = "sh0001000003f2",
        .boot = boot,
        .kernel_path = boots_disk ? "" : "/run/shoal/1/i/0123,file=/etc/shadow",
        .initrd_path = boot->protocol == BOOT_LINUX ? "/run/shoal/1/i/4567" : "",
        .console_path = "/run/shoal/1/c/0001000003f2.sock",
        .command_line = boots_disk ? "" : "--ip=10.64.0.2/24,x=y -monitor stdio",
        .memory = 33554432,
        .limit = 100663296,
        .vcpus = 2,
        .uid = 1879049202,
        .gid = 1879049202,
    };
    strcpy(spec.family, family->name);
    if (strcmp(family->name, "shoal") != 0) {
        spec.disks[0] = (struct microvm_disk){"/run/shoal/1/o/0001000003f2.0",
                                              "/run/shoal/1/i/0123456789abcdef", "raw"};
        spec.disks[1] = (struct microvm_disk){"/run/shoal/1/o/0001000003f2.1",
                                              "/run/shoal/1/i/fedcba9876543210", "qcow2"};
        spec.disk_count = 2;
    }
    return spec;
}

static struct microvm_spec spec_for(const char *name, const char *protocol, const char *machine)
{
    const struct family *family = family_find(name);
    assert_non_null(family);
    const struct family_boot *boot = family_find_boot(family, "amd64", protocol, machine, NULL);
    assert_non_null(boot);
    return spec_of(family, boot);
}

static void make(const struct microvm_spec *spec, struct qemu_command *command)
{
    struct error error = ERROR_INIT;
    if (qemu_command_make(spec, command, &error) < 0)
        fail_msg("%s", error.message);
}

static void assert_refused(const struct microvm_spec *spec, enum error_code code)
{
    struct error error = ERROR_INIT;
    struct qemu_command command;
    assert_int_equal(qemu_command_make(spec, &command, &error), -1);
    assert_int_equal(error.code, code);
}

static bool has_argument(const struct qemu_command *command, const char *text)
{
    for (size_t i = 0; i < command->count; i++) {
        if (strcmp(command->arguments[i], text) == 0)
            return true;
    }
    return false;
}

/* UPDATE_FIXTURES=1 writes the files anew, to be looked at before they are kept. */
static void assert_as_in_file(const struct family *family, const struct family_boot *boot)
{
    struct microvm_spec spec = spec_of(family, boot);
    struct qemu_command command;
    AUTO_BUFFER struct buffer text = {0};
    AUTO_FREE char *path =
        xasprintf(FIXTURES "/%s-%s-%s-%s.txt", family->name, boot->architecture,
                  boot_protocol_names[boot->protocol], boot_machine_names[boot->machine]);
    AUTO_FREE char *expected = NULL;
    make(&spec, &command);
    buffer_append_text(&text, command.program);
    for (size_t i = 1; i < command.count; i++) {
        const char *argument = command.arguments[i];
        bool is_option = argument[0] == '-' && strcmp(command.arguments[i - 1], "-append") != 0;
        buffer_printf(&text, "%c%s", is_option ? '\n' : ' ', argument);
    }
    buffer_append_text(&text, "\n");
    qemu_command_release(&command);
    if (getenv("UPDATE_FIXTURES") != NULL)
        assert_int_equal(file_write(path, text.data, text.length, 0644, NULL), 0);
    if (file_read(path, 65536, &expected, NULL, NULL) < 0)
        fail_msg("there is no %s", path);
    assert_string_equal(buffer_text(&text), expected);
}

static void every_way_to_boot_is_as_in_its_file(void **state)
{
    (void)state;
    size_t ways = 0;
    const struct family *family;
    for (size_t i = 0; (family = family_at(i)) != NULL; i++) {
        for (size_t j = 0; j < FAMILY_BOOTS_MAX && family->boots[j].architecture != NULL; j++) {
            if (family->boots[j].protocol == BOOT_XEN)
                continue;
            assert_as_in_file(family, &family->boots[j]);
            ways++;
        }
    }
    glob_t files;
    assert_int_equal(glob(FIXTURES "/*.txt", 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, ways);
    globfree(&files);
}

static void no_path_of_the_host_is_named(void **state)
{
    (void)state;
    struct microvm_spec spec = spec_for("linux", "linux", "pc");
    struct qemu_command command;
    make(&spec, &command);
    for (size_t i = 0; i < command.count; i++)
        assert_null(strstr(command.arguments[i], "/run/"));
    qemu_command_release(&command);
}

static void a_command_line_is_one_argument(void **state)
{
    (void)state;
    struct microvm_spec spec = spec_for("shoal", "pvh", "microvm");
    struct qemu_command command;
    make(&spec, &command);
    assert_true(has_argument(&command, spec.command_line));
    assert_false(has_argument(&command, "-monitor"));
    qemu_command_release(&command);
    spec.command_line = "";
    make(&spec, &command);
    assert_false(has_argument(&command, "-append"));
    qemu_command_release(&command);
}

static void kvm_is_used_where_it_is_asked_for(void **state)
{
    (void)state;
    struct microvm_spec spec = spec_for("shoal", "pvh", "microvm");
    struct qemu_command command;
    spec.kvm = true;
    make(&spec, &command);
    assert_true(has_argument(&command, "kvm"));
    assert_false(has_argument(&command, "tcg,tb-size=16"));
    qemu_command_release(&command);
}

static void a_volume_is_locked_and_its_flushes_reach_the_disk(void **state)
{
    (void)state;
    struct microvm_spec spec = spec_for("shoal", "pvh", "microvm");
    struct qemu_command command;
    spec.volumes[0] = (struct microvm_volume){"/run/shoal/1/w/default/db/0/data", "data"};
    spec.volume_count = 1;
    make(&spec, &command);
    assert_true(has_argument(&command, "driver=file,node-name=volume0-file,filename=/volume0,"
                                       "read-only=off,locking=on,discard=unmap,cache.direct=off,"
                                       "cache.no-flush=off"));
    assert_true(has_argument(&command, "virtio-blk-device,id=disk0,drive=volume0,serial=data,"
                                       "write-cache=on,rerror=report,werror=report"));
    qemu_command_release(&command);
}

static void all_eight_disks_have_their_slot(void **state)
{
    (void)state;
    struct microvm_spec spec = spec_for("osv", "disk", "pc");
    struct qemu_command command;
    spec.disk_count = HOST_DISKS_MAX;
    for (size_t i = 2; i < HOST_DISKS_MAX; i++)
        spec.disks[i] = spec.disks[1];
    make(&spec, &command);
    assert_true(has_argument(&command, "virtio-blk-pci,id=disk7,drive=overlay7,write-cache=on,"
                                       "rerror=report,werror=report,bus=pci.0,addr=0xb"));
    qemu_command_release(&command);
    spec.disk_count = HOST_DISKS_MAX + 1;
    assert_refused(&spec, ERROR_INVALID);
}

static void values_out_of_their_form_are_refused(void **state)
{
    (void)state;
    const struct microvm_spec whole = spec_for("linux", "linux", "pc");
    struct microvm_spec spec = whole;
    strcpy(spec.id, "0001,file=x");
    assert_refused(&spec, ERROR_INVALID);
    static const char *const macs[] = {"", "52:01:00:00:03:f", "52:01:00:00:03:g2",
                                       "52:01:00:00:03-f2", "52,a=1:00:03:f2,x"};
    for (size_t i = 0; i < ARRAY_LENGTH(macs); i++) {
        spec = whole;
        strcpy(spec.mac, macs[i]);
        assert_refused(&spec, ERROR_INVALID);
    }
    spec = whole;
    spec.memory = 0;
    assert_refused(&spec, ERROR_INVALID);
    spec.memory = UINT64_MAX;
    assert_refused(&spec, ERROR_INVALID);
    spec = whole;
    spec.vcpus = 0;
    assert_refused(&spec, ERROR_INVALID);
    spec.vcpus = 256;
    assert_refused(&spec, ERROR_INVALID);
    spec = whole;
    spec.command_line = "a\nb";
    assert_refused(&spec, ERROR_INVALID);
    spec.command_line = "\xff";
    assert_refused(&spec, ERROR_INVALID);
    spec = whole;
    spec.disks[0].image_format = "vvfat";
    assert_refused(&spec, ERROR_INVALID);
}

static void what_boots_is_there(void **state)
{
    (void)state;
    struct microvm_spec spec = spec_for("linux", "linux", "pc");
    spec.kernel_path = "";
    assert_refused(&spec, ERROR_INVALID);
    spec = spec_for("osv", "disk", "pc");
    spec.disk_count = 0;
    assert_refused(&spec, ERROR_INVALID);
    spec = spec_for("osv", "disk", "pc");
    spec.kernel_path = "/k";
    assert_refused(&spec, ERROR_INVALID);
    assert_refused(&(struct microvm_spec){.id = "0001000003f2",
                                          .mac = "52:01:00:00:03:f2",
                                          .boot = &family_find("xen")->boots[0],
                                          .kernel_path = "/k",
                                          .initrd_path = "",
                                          .command_line = "",
                                          .memory = 33554432,
                                          .vcpus = 1},
                   ERROR_UNSUPPORTED);
}

static void a_process_is_told_by_its_arguments(void **state)
{
    (void)state;
    static const char mine[] = "qemu\0-S\0-uuid\00053686f61-6c00-4000-8000-0001000003f2\0-m\0x";
    static const char other[] = "qemu\0-uuid\00053686f61-6c00-4000-8000-0001000003f3\0-append\0"
                                "-uuid\00053686f61-6c00-4000-8000-0001000003f2";
    static const char cut[] = {'-', 'u', 'u', 'i', 'd', '\0', '5', '3'};
    assert_true(qemu_command_is_of(mine, sizeof mine, "0001000003f2"));
    assert_false(qemu_command_is_of(mine, sizeof mine, "0001000003f3"));
    assert_false(qemu_command_is_of(other, sizeof other, "0001000003f2"));
    assert_false(qemu_command_is_of(cut, sizeof cut, "0001000003f2"));
    assert_false(qemu_command_is_of(cut, 5, "0001000003f2"));
    assert_false(qemu_command_is_of("", 0, "0001000003f2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_boot_is_as_in_its_file),
        cmocka_unit_test(no_path_of_the_host_is_named),
        cmocka_unit_test(a_command_line_is_one_argument),
        cmocka_unit_test(kvm_is_used_where_it_is_asked_for),
        cmocka_unit_test(a_volume_is_locked_and_its_flushes_reach_the_disk),
        cmocka_unit_test(all_eight_disks_have_their_slot),
        cmocka_unit_test(values_out_of_their_form_are_refused),
        cmocka_unit_test(what_boots_is_there),
        cmocka_unit_test(a_process_is_told_by_its_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
