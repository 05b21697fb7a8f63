#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host_protocol.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct host_message good_boot(void)
{
    struct host_message message = {.type = HOST_BOOT, .sequence = 7};
    struct host_boot *boot = &message.boot;
    strcpy(boot->id, "0001000003f2");
    strcpy(boot->family, "linux");
    strcpy(boot->arch, "amd64");
    boot->protocol = BOOT_LINUX;
    boot->machine = MACHINE_PC;
    strcpy(boot->kernel, DIGEST);
    strcpy(boot->initrd, DIGEST);
    strcpy(boot->disks[0], DIGEST);
    strcpy(boot->disks[1], DIGEST);
    boot->disk_count = 2;
    strcpy(boot->image, DIGEST);
    strcpy(boot->command_line, "--greeting 'a & <b>'");
    strcpy(boot->mac, "52:01:00:00:03:f2");
    strcpy(boot->address, "10.64.0.2");
    boot->memory = 16 << 20;
    boot->vcpus = 1;
    strcpy(boot->namespace_name, "default");
    strcpy(boot->service, "counter");
    strcpy(boot->volumes[0].name, "data");
    strcpy(boot->volumes[0].device, "data");
    boot->volumes[0].size = 16 << 20;
    strcpy(boot->volumes[1].name, "log");
    strcpy(boot->volumes[1].device, "log");
    boot->volumes[1].size = 1 << 20;
    boot->volume_count = 2;
    return message;
}

static void a_whole_boot_passes(void **state)
{
    (void)state;
    struct host_message message = good_boot();
    assert_int_equal(host_message_check(&message, NULL), 0);
}

static void assert_refused(const struct host_message *message, const char *field)
{
    struct error error = ERROR_INIT;
    assert_int_equal(host_message_check(message, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_non_null(strstr(error.message, field));
}

static void consoles_and_debuggers_are_of_an_instance(void **state)
{
    (void)state;
    struct host_message console = {.type = HOST_CONSOLE, .console = {.id = "0001000003f2"}};
    struct host_message debug = {.type = HOST_DEBUG, .debug = {.id = "0001000003f2", .open = 1}};
    assert_int_equal(host_message_check(&console, NULL), 0);
    assert_int_equal(host_message_check(&debug, NULL), 0);
    debug.debug.open = 2;
    assert_refused(&debug, "switch");
    debug.debug.open = 0;
    strcpy(debug.debug.id, "../etc");
    assert_refused(&debug, "id");
    strcpy(console.console.id, "0001/00003f2");
    assert_refused(&console, "id");
}

static void a_boot_is_refused_for_its_volumes(void **state)
{
    (void)state;
    struct host_message message = good_boot();
    strcpy(message.boot.volumes[1].name, "../log");
    assert_refused(&message, "volume");
    message = good_boot();
    strcpy(message.boot.namespace_name, "..");
    assert_refused(&message, "volume");
    message = good_boot();
    memset(message.boot.service, 'a', sizeof message.boot.service);
    assert_refused(&message, "volume");
    message = good_boot();
    message.boot.slot = HOST_SLOT_MAX + 1;
    assert_refused(&message, "volume");
    message = good_boot();
    memset(message.boot.volumes[0].device, 'a', sizeof message.boot.volumes[0].device);
    assert_refused(&message, "device");
    message = good_boot();
    strcpy(message.boot.volumes[0].device, "a,readonly=on");
    assert_refused(&message, "device");
    message = good_boot();
    strcpy(message.boot.volumes[1].device, "data");
    assert_refused(&message, "list of volumes");
    message = good_boot();
    message.boot.volumes[1].size = 0;
    assert_refused(&message, "size");
    message = good_boot();
    message.boot.volume_count = HOST_VOLUMES_MAX + 1;
    assert_refused(&message, "number of volumes");
}

static void a_volume_is_asked_for_by_names(void **state)
{
    (void)state;
    struct host_message message = {.type = HOST_VOLUME};
    struct host_volume_request *asked = &message.volume;
    *asked = (struct host_volume_request){.operation = HOST_VOLUME_SNAPSHOT,
                                          .key = {"default", "counter", 0, "data"},
                                          .snapshot = "a"};
    struct host_message good = message;
    assert_int_equal(host_message_check(&message, NULL), 0);
    asked->operation = HOST_VOLUME_REMOVE + 1;
    assert_refused(&message, "operation");
    message = good;
    strcpy(asked->key.service, "../counter");
    assert_refused(&message, "name");
    message = good;
    memset(asked->snapshot, 'a', sizeof asked->snapshot);
    assert_refused(&message, "snapshot");
    strcpy(asked->snapshot, "a@b");
    assert_refused(&message, "snapshot");
    asked->snapshot[0] = '\0';
    assert_refused(&message, "snapshot");
    asked->operation = HOST_VOLUME_REMOVE; /* with all of its snapshots */
    assert_int_equal(host_message_check(&message, NULL), 0);
}

static void a_boot_is_refused_for_each_field(void **state)
{
    (void)state;
    struct host_message message = good_boot();
    strcpy(message.boot.id, "0001000003F2");
    assert_refused(&message, "id");
    message = good_boot();
    strcpy(message.boot.id, "../../etc");
    assert_refused(&message, "id");
    message = good_boot();
    memset(message.boot.kernel, 'a', sizeof message.boot.kernel);
    assert_refused(&message, "kernel");
    message = good_boot();
    message.boot.kernel[0] = '\0';
    assert_refused(&message, "kernel");
    message = good_boot();
    strcpy(message.boot.family, "Linux\n");
    assert_refused(&message, "family");
    message = good_boot();
    memset(message.boot.family, 'a', sizeof message.boot.family);
    assert_refused(&message, "family");
    message = good_boot();
    strcpy(message.boot.arch, "x86_64");
    assert_refused(&message, "architecture");
    message = good_boot();
    message.boot.protocol = BOOT_XEN + 1;
    assert_refused(&message, "protocol");
    message = good_boot();
    message.boot.machine = MACHINE_XENPVH + 1;
    assert_refused(&message, "machine");
    message = good_boot();
    strcpy(message.boot.initrd, "/etc/passwd");
    assert_refused(&message, "initrd");
    message = good_boot();
    strcpy(message.boot.disks[1], "../../etc/passwd");
    assert_refused(&message, "disk digest");
    message = good_boot();
    message.boot.disk_count = 3; /* one that is not there */
    assert_refused(&message, "disk digest");
    message = good_boot();
    message.boot.disk_count = HOST_DISKS_MAX + 1;
    assert_refused(&message, "number of disks");
    message = good_boot();
    strcpy(message.boot.image, "sha256:12");
    assert_refused(&message, "image");
    message = good_boot();
    strcpy(message.boot.command_line, "a\nb");
    assert_refused(&message, "command line");
    message = good_boot();
    strcpy(message.boot.command_line, "broken \xc3 letter");
    assert_refused(&message, "command line");
    message = good_boot();
    memset(message.boot.command_line, 'x', sizeof message.boot.command_line);
    assert_refused(&message, "command line");
    message = good_boot();
    message.boot.mac[16] = '0';
    assert_refused(&message, "MAC");
    message = good_boot();
    strcpy(message.boot.address, "10.64.0.02");
    assert_refused(&message, "address");
    message = good_boot();
    message.boot.memory = 0;
    assert_refused(&message, "memory");
    message = good_boot();
    message.boot.vcpus = 0;
    assert_refused(&message, "vcpus");
}

static void a_disk_boots_without_a_kernel(void **state)
{
    (void)state;
    struct host_message message = good_boot();
    message.boot.protocol = BOOT_DISK;
    assert_refused(&message, "kernel");
    message.boot.kernel[0] = '\0';
    assert_refused(&message, "initrd");
    message.boot.initrd[0] = '\0';
    assert_int_equal(host_message_check(&message, NULL), 0);
    message.boot.disk_count = 0;
    assert_refused(&message, "number of disks");
    struct host_message running = {.type = HOST_INSTANCE, .instance.state = HOST_INSTANCE_RUNNING};
    strcpy(running.instance.id, "0001000003f2");
    strcpy(running.instance.image, DIGEST);
    assert_int_equal(host_message_check(&running, NULL), 0);
    strcpy(running.instance.kernel, "sha256:1");
    assert_refused(&running, "kernel");
}

static void a_stop_is_one_of_three(void **state)
{
    (void)state;
    struct host_message message = {.type = HOST_STOP};
    strcpy(message.stop.id, "0001000003f2");
    message.stop.method = HOST_STOP_ACPI;
    assert_int_equal(host_message_check(&message, NULL), 0);
    message.stop.method = HOST_STOP_ACPI + 1;
    assert_refused(&message, "method");
    message.stop.method = HOST_STOP_KILL;
    strcpy(message.stop.reason, "unhealthy: no answer");
    assert_int_equal(host_message_check(&message, NULL), 0);
    strcpy(message.stop.reason, "unhealthy\nM started");
    assert_refused(&message, "reason");
}

static void a_welcome_lists_machines(void **state)
{
    (void)state;
    struct host_message message = {.type = HOST_ANSWER};
    struct host_welcome *welcome = &message.answer.welcome;
    strcpy(welcome->machines[0].arch, "amd64");
    strcpy(welcome->machines[0].accel, "kvm");
    strcpy(welcome->machines[1].arch, "arm64");
    strcpy(welcome->machines[1].accel, "tcg");
    welcome->machine_count = 2;
    assert_int_equal(host_message_check(&message, NULL), 0);
    strcpy(welcome->machines[1].arch, "riscv");
    assert_refused(&message, "machine");
    welcome->machine_count = HOST_MACHINES_MAX + 1;
    assert_refused(&message, "welcome");
}

static void a_subnet_must_be_one(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"10.64.0.0/24", 0},  {"10.64.3.0/24", 0}, {"10.64.0.4/30", 0},     {"10.64.0.1/24", -1},
        {"10.64.0.0/31", -1}, {"10.64.0.0", -1},   {"10.64.0.0/24 up", -1}, {"10.64.0.0/7", -1},
        {"10.64.0/24", -1},   {"/24", -1},         {"300.64.0.0/24", -1},   {"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct host_message message = {.type = HOST_NETWORK};
        strcpy(message.network.subnet, cases[i].text);
        assert_int_equal(host_message_check(&message, NULL), cases[i].result);
    }
}

static void a_frontend_needs_name_port_and_mode(void **state)
{
    (void)state;
    struct host_message message = {.type = HOST_PROXY_FRONTEND};
    strcpy(message.proxy_frontend.name, "default.hello");
    message.proxy_frontend.publish = 8080;
    message.proxy_frontend.mode = API_PORT_HTTP;
    assert_int_equal(host_message_check(&message, NULL), 0);
    message.proxy_frontend.publish = 65536;
    assert_refused(&message, "port");
    message.proxy_frontend.publish = 8080;
    message.proxy_frontend.mode = 7;
    assert_refused(&message, "mode");
    message.proxy_frontend.mode = API_PORT_TCP;
    strcpy(message.proxy_frontend.name, "default");
    assert_refused(&message, "name");
    strcpy(message.proxy_frontend.name, "default.he llo");
    assert_refused(&message, "name");
    strcpy(message.proxy_frontend.name, "default.hello\n    bind :1");
    assert_refused(&message, "name");
}

static void image_files_are_named_by_digests(void **state)
{
    (void)state;
    struct host_message message = {.type = HOST_DROP};
    strcpy(message.drop.digest, DIGEST);
    assert_int_equal(host_message_check(&message, NULL), 0);
    strcpy(message.drop.digest, "sha256:../../../etc/passwd");
    assert_refused(&message, "digest");
    message = (struct host_message){.type = HOST_IMAGES, .images = {.count = 2}};
    strcpy(message.images.entries[0].digest, DIGEST);
    assert_refused(&message, "digest");
    strcpy(message.images.entries[1].digest, DIGEST);
    assert_int_equal(host_message_check(&message, NULL), 0);
    message.images.count = HOST_IMAGES_ENTRIES + 1;
    assert_refused(&message, "number of entries");
}

static void an_unknown_type_is_a_protocol_error(void **state)
{
    (void)state;
    struct host_message message = {.type = 4711};
    struct error error = ERROR_INIT;
    assert_int_equal(host_message_check(&message, &error), -1);
    assert_int_equal(error.code, ERROR_PROTOCOL);
}

static void the_mac_is_the_id(void **state)
{
    (void)state;
    char mac[18];
    host_mac_of_instance("0001000003f2", mac);
    assert_string_equal(mac, "52:01:00:00:03:f2");
}

static void a_message_arrives_with_its_descriptor(void **state)
{
    (void)state;
    int ends[2], descriptor = -1;
    struct host_message sent = good_boot(), received;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    int file = open("/dev/null", O_RDONLY);
    assert_int_equal(host_message_send(ends[0], &sent, file, NULL), 0);
    assert_int_equal(host_message_receive(ends[1], &received, &descriptor, NULL), 1);
    assert_memory_equal(&sent, &received, sizeof sent);
    assert_true(descriptor >= 0);
    assert_true((fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
    close(descriptor);
    assert_int_equal(host_message_send(ends[0], &sent, -1, NULL), 0);
    assert_int_equal(host_message_receive(ends[1], &received, &descriptor, NULL), 1);
    assert_int_equal(descriptor, -1);
    close(file);
    close(ends[0]);
    close(ends[1]);
}

static void an_end_is_told_and_a_short_packet_refused(void **state)
{
    (void)state;
    int ends[2], descriptor = -1;
    struct host_message message;
    struct error error = ERROR_INIT;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_int_equal(send(ends[0], "hello", 5, 0), 5);
    assert_int_equal(host_message_receive(ends[1], &message, &descriptor, &error), -1);
    assert_int_equal(error.code, ERROR_PROTOCOL);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(host_message_receive(ends[1], &message, &descriptor, &error), -1);
    assert_int_equal(error.code, ERROR_TIMEOUT);
    close(ends[0]);
    assert_int_equal(host_message_receive(ends[1], &message, &descriptor, &error), 0);
    struct host_message boot = good_boot();
    assert_int_equal(host_message_send(ends[1], &boot, -1, &error), -1);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    close(ends[1]);
}

static void usage_is_bounded_and_of_instances(void **state)
{
    (void)state;
    struct host_message message = {.type = HOST_USAGE};
    message.usage.count = HOST_USAGE_ENTRIES;
    for (size_t i = 0; i < HOST_USAGE_ENTRIES; i++)
        strcpy(message.usage.entries[i].id, "0001000003f2");
    assert_int_equal(host_message_check(&message, NULL), 0);
    message.usage.count = HOST_USAGE_ENTRIES + 1;
    assert_refused(&message, "number");
    message.usage.count = HOST_USAGE_ENTRIES;
    strcpy(message.usage.entries[HOST_USAGE_ENTRIES - 1].id, "0001");
    assert_refused(&message, "id");
    message = (struct host_message){.type = HOST_BOOT_STEPS};
    assert_refused(&message, "id");
    strcpy(message.boot_steps.id, "0001000003f2");
    assert_int_equal(host_message_check(&message, NULL), 0);
    message = (struct host_message){.type = HOST_NODE};
    assert_refused(&message, "processors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_boot_passes),
        cmocka_unit_test(consoles_and_debuggers_are_of_an_instance),
        cmocka_unit_test(a_boot_is_refused_for_each_field),
        cmocka_unit_test(a_boot_is_refused_for_its_volumes),
        cmocka_unit_test(a_volume_is_asked_for_by_names),
        cmocka_unit_test(a_disk_boots_without_a_kernel),
        cmocka_unit_test(a_stop_is_one_of_three),
        cmocka_unit_test(a_welcome_lists_machines),
        cmocka_unit_test(a_subnet_must_be_one),
        cmocka_unit_test(a_frontend_needs_name_port_and_mode),
        cmocka_unit_test(an_unknown_type_is_a_protocol_error),
        cmocka_unit_test(the_mac_is_the_id),
        cmocka_unit_test(a_message_arrives_with_its_descriptor),
        cmocka_unit_test(an_end_is_told_and_a_short_packet_refused),
        cmocka_unit_test(image_files_are_named_by_digests),
        cmocka_unit_test(usage_is_bounded_and_of_instances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
