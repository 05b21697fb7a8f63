#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/instance_boot.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define DIGEST(C)                                                                                  \
    "sha256:" C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C  \
        C C C C C C C C C C C C C C C C C C C C C C

struct fixture {
    struct api_assigned_instance assigned;
    struct image_verified verified;
};

static const char shoal_config[] =
    "{\"schemaVersion\": 1, \"architecture\": \"amd64\", \"os\": \"unikernel\", \"family\": "
    "\"shoal\", \"boot\": {\"protocol\": \"pvh\", \"kernel\": \"" DIGEST(
        "a") "\", \"machine\": "
             "\"microvm\"}, \"memory\": {\"min\": 8388608, \"default\": 33554432}, \"vcpus\": "
             "{\"default\": "
             "1, \"max\": 1}, \"cmdline\": [\"--ip=${net.address}/${net.prefix}\"]}";

static const char linux_config[] =
    "{\"schemaVersion\": 1, \"architecture\": \"amd64\", \"os\": \"unikernel\", \"family\": "
    "\"linux\", \"boot\": {\"protocol\": \"linux\", \"kernel\": \"" DIGEST(
        "a") "\", \"initrd\": "
             "\"" DIGEST("b") "\", \"disks\": [\"" DIGEST("c") "\", \"" DIGEST(
                 "d") "\"], \"machine\": "
                      "\"q35\"}, \"memory\": {\"min\": 67108864, \"default\": 134217728}, "
                      "\"vcpus\": {\"default\": 2, "
                      "\"max\": 4}, \"cmdline\": []}";

static const char disk_config[] =
    "{\"schemaVersion\": 1, \"architecture\": \"amd64\", \"os\": \"unikernel\", \"family\": "
    "\"nanos\", \"boot\": {\"protocol\": \"disk\", \"disks\": [\"" DIGEST(
        "c") "\"], "
             "\"machine\": \"pc\"}, \"memory\": {\"min\": 67108864, \"default\": 134217728}, "
             "\"vcpus\": "
             "{\"default\": 1, \"max\": 1}, \"cmdline\": []}";

static void load(struct fixture *fixture, const char *config)
{
    struct error error = ERROR_INIT;
    memset(fixture, 0, sizeof *fixture);
    strcpy(fixture->assigned.id, "0001000003f2");
    strcpy(fixture->assigned.image_digest, DIGEST("e"));
    strcpy(fixture->assigned.address, "10.64.0.2");
    strcpy(fixture->assigned.gateway, "10.64.0.1");
    fixture->assigned.prefix = 24;
    if (image_config_parse(config, strlen(config), &fixture->verified.config, &error) < 0)
        fail_msg("%s", error.message);
}

static void release(struct fixture *fixture)
{
    image_config_release(&fixture->verified.config);
}

/* What is asked for is what the host half takes. */
static struct host_boot fill(struct fixture *fixture)
{
    struct host_message message = {.type = HOST_BOOT};
    struct error error = ERROR_INIT;
    if (instance_boot_fill(&fixture->assigned, &fixture->verified, "n1", &message.boot, &error) < 0)
        fail_msg("%s", error.message);
    if (host_message_check(&message, &error) < 0)
        fail_msg("%s", error.message);
    return message.boot;
}

static void a_kernel_boots_as_its_family_does(void **state)
{
    (void)state;
    struct fixture fixture;
    load(&fixture, shoal_config);
    struct host_boot boot = fill(&fixture);
    assert_string_equal(boot.family, "shoal");
    assert_string_equal(boot.arch, "amd64");
    assert_int_equal(boot.protocol, BOOT_PVH);
    assert_int_equal(boot.machine, MACHINE_MICROVM);
    assert_string_equal(boot.kernel, DIGEST("a"));
    assert_string_equal(boot.initrd, "");
    assert_int_equal(boot.disk_count, 0);
    assert_string_equal(boot.image, DIGEST("e"));
    assert_string_equal(boot.mac, "52:01:00:00:03:f2");
    assert_string_equal(boot.command_line, "--ip=10.64.0.2/24");
    assert_int_equal(boot.memory, 32 << 20);
    assert_int_equal(instance_boot_stop_method(&fixture.verified.config), HOST_STOP_CONSOLE);
    release(&fixture);
}

static void initrd_and_disks_go_along(void **state)
{
    (void)state;
    struct fixture fixture;
    load(&fixture, linux_config);
    struct host_boot boot = fill(&fixture);
    assert_int_equal(boot.protocol, BOOT_LINUX);
    assert_int_equal(boot.machine, MACHINE_Q35);
    assert_string_equal(boot.initrd, DIGEST("b"));
    assert_int_equal(boot.disk_count, 2);
    assert_string_equal(boot.disks[0], DIGEST("c"));
    assert_string_equal(boot.disks[1], DIGEST("d"));
    assert_int_equal(boot.vcpus, 2);
    assert_int_equal(instance_boot_stop_method(&fixture.verified.config), HOST_STOP_ACPI);
    release(&fixture);
}

static void the_volumes_of_its_slot_go_along(void **state)
{
    (void)state;
    struct fixture fixture;
    struct api_volume volumes[] = {{.name = "data", .size = 64 << 20, .device = "data"},
                                   {.name = "journal", .size = 1 << 20, .device = "log"}};
    load(&fixture, shoal_config);
    strcpy(fixture.assigned.namespace_name, "default");
    strcpy(fixture.assigned.service, "db");
    fixture.assigned.slot = 3;
    fixture.assigned.volumes = volumes;
    fixture.assigned.volume_count = 2;
    struct host_boot boot = fill(&fixture);
    assert_string_equal(boot.namespace_name, "default");
    assert_string_equal(boot.service, "db");
    assert_int_equal(boot.slot, 3);
    assert_int_equal(boot.volume_count, 2);
    assert_int_equal(boot.volumes[0].size, 64 << 20);
    assert_string_equal(boot.volumes[1].name, "journal");
    assert_string_equal(boot.volumes[1].device, "log");
    release(&fixture);
}

static void a_disk_boots_without_a_kernel(void **state)
{
    (void)state;
    struct fixture fixture;
    load(&fixture, disk_config);
    struct host_boot boot = fill(&fixture);
    assert_int_equal(boot.protocol, BOOT_DISK);
    assert_int_equal(boot.machine, MACHINE_PC);
    assert_string_equal(boot.kernel, "");
    assert_string_equal(boot.disks[0], DIGEST("c"));
    assert_string_equal(boot.command_line, "");
    release(&fixture);
}

static void a_service_changes_memory_and_processors(void **state)
{
    (void)state;
    struct fixture fixture;
    struct host_boot boot;
    struct error error = ERROR_INIT;
    load(&fixture, linux_config);
    fixture.assigned.resources.memory = 80 << 20;
    fixture.assigned.resources.vcpus = 4;
    boot = fill(&fixture);
    assert_int_equal(boot.memory, 80 << 20);
    assert_int_equal(boot.vcpus, 4);
    fixture.assigned.resources.memory = 32 << 20;
    assert_int_equal(instance_boot_fill(&fixture.assigned, &fixture.verified, "n1", &boot, &error),
                     -1);
    assert_non_null(strstr(error.message, "less than the 64Mi"));
    release(&fixture);
}

static void a_way_that_is_not_in_the_table_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct host_boot boot;
    struct error error = ERROR_INIT;
    load(&fixture, shoal_config);
    strcpy(fixture.verified.config.boot.machine, "pc");
    assert_int_equal(instance_boot_fill(&fixture.assigned, &fixture.verified, "n1", &boot, &error),
                     -1);
    assert_int_equal(error.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "amd64 by pvh on microvm"));
    strcpy(fixture.verified.config.family, "plan9");
    assert_int_equal(instance_boot_fill(&fixture.assigned, &fixture.verified, "n1", &boot, &error),
                     -1);
    release(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_boots_as_its_family_does),
        cmocka_unit_test(initrd_and_disks_go_along),
        cmocka_unit_test(the_volumes_of_its_slot_go_along),
        cmocka_unit_test(a_disk_boots_without_a_kernel),
        cmocka_unit_test(a_service_changes_memory_and_processors),
        cmocka_unit_test(a_way_that_is_not_in_the_table_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
