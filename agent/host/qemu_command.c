#include "agent/host/qemu_command.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/domain_xml.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define MEMORY_MIN ((uint64_t)1 << 20)
#define MEMORY_MAX ((uint64_t)1 << 46)
#define VCPUS_MAX  255

#define TEXT_OF(value)  TEXT_OF_(value)
#define TEXT_OF_(value) #value

/* What a machine is to QEMU. */
struct machine {
    const char *options;
    const char *bus; /* of PCI; NULL: virtio-mmio */
    bool has_isa;    /* serial port and pvpanic of a PC */
};

/* virt: a GICv3 is what small guests do not expect (the version libvirt chooses too). */
static const struct machine machines[] = {
    [MACHINE_MICROVM] = {"microvm", NULL, .has_isa = true},
    [MACHINE_PC] = {"pc", "pci.0", .has_isa = true},
    [MACHINE_Q35] = {"q35", "pcie.0", .has_isa = true},
    [MACHINE_VIRT] = {"virt,gic-version=2", NULL, .has_isa = false},
    [MACHINE_XENPV] = {NULL, NULL, .has_isa = false},
    [MACHINE_XENPVH] = {NULL, NULL, .has_isa = false},
};

/* On bus 0, as in domain_xml.c: 0 to 2 are the machine's own. */
#define PCI_SLOT_NETWORK    3
#define PCI_SLOT_FIRST_DISK 4

static bool is_arm(const struct microvm_spec *spec)
{
    return strcmp(spec->boot->architecture, "arm64") == 0;
}

/* ---- what may be asked for ---- */

static bool is_mac(const char *text)
{
    unsigned char bytes[6];
    char digits[13] = "";
    if (strlen(text) != 17)
        return false;
    for (size_t i = 0; i < 6; i++) {
        if (i < 5 && text[3 * i + 2] != ':')
            return false;
        memcpy(digits + 2 * i, text + 3 * i, 2);
    }
    return text_parse_hex(digits, bytes, sizeof bytes);
}

static int check_values(const struct microvm_spec *spec, struct error *error)
{
    unsigned char id[(INSTANCE_ID_MAX - 1) / 2];
    if (!text_parse_hex(spec->id, id, sizeof id))
        return error_set(error, ERROR_INVALID, "the microVM's id is not 12 hex digits");
    if (!is_mac(spec->mac))
        return error_set(error, ERROR_INVALID, "the microVM's MAC is none");
    if (spec->memory < MEMORY_MIN || spec->memory > MEMORY_MAX)
        return error_set(error, ERROR_INVALID, "a microVM has 1 MiB to 64 TiB of memory");
    if (spec->vcpus < 1 || spec->vcpus > VCPUS_MAX)
        return error_set(error, ERROR_INVALID, "a microVM has 1 to %d processors", VCPUS_MAX);
    for (const char *at = spec->command_line; *at != '\0';) {
        size_t length = text_character_length(at);
        if (length == 0)
            return error_set(
                error, ERROR_INVALID,
                "the microVM's command line holds a control character or broken UTF-8");
        at += length;
    }
    return 0;
}

static int check_parts(const struct microvm_spec *spec, struct error *error)
{
    bool has_kernel = spec->kernel_path[0] != '\0';
    if (machines[spec->boot->machine].options == NULL ||
        is_arm(spec) != (spec->boot->machine == MACHINE_VIRT))
        return error_set(error, ERROR_UNSUPPORTED, "QEMU has no machine %s for %s",
                         boot_machine_names[spec->boot->machine], spec->boot->architecture);
    if (spec->boot->protocol == BOOT_DISK && (has_kernel || spec->disk_count == 0))
        return error_set(error, ERROR_INVALID,
                         "a microVM that boots from its first disk needs one, and no kernel");
    if (spec->boot->protocol != BOOT_DISK && !has_kernel)
        return error_set(error, ERROR_INVALID, "the microVM has no kernel");
    if (spec->disk_count > HOST_DISKS_MAX || spec->volume_count > HOST_VOLUMES_MAX)
        return error_set(error, ERROR_INVALID, "a microVM has %d disks and %d volumes at most",
                         HOST_DISKS_MAX, HOST_VOLUMES_MAX);
    for (size_t i = 0; i < spec->disk_count; i++) {
        if (strcmp(spec->disks[i].image_format, "raw") != 0 &&
            strcmp(spec->disks[i].image_format, "qcow2") != 0)
            return error_set(error, ERROR_INVALID, "a disk is raw or qcow2");
    }
    for (size_t i = 0; i < spec->volume_count; i++) {
        if (!text_is_name(spec->volumes[i].device))
            return error_set(error, ERROR_INVALID, "a volume's device has no name");
    }
    return 0;
}

/* ---- the parts of a command ---- */

static void add(struct qemu_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct qemu_command *command, const char *format, ...)
{
    va_list values;
    char *text = NULL;
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0)
        abort();
    va_end(values);
    command->arguments =
        xreallocarray(command->arguments, command->count + 2, sizeof *command->arguments);
    command->arguments[command->count++] = text;
    command->arguments[command->count] = NULL;
}

static void add_option(struct qemu_command *command, const char *option, const char *value)
{
    add(command, "%s", option);
    add(command, "%s", value);
}

static void add_identity(const struct microvm_spec *spec, struct qemu_command *command)
{
    char name[DOMAIN_NAME_MAX], uuid[DOMAIN_UUID_MAX];
    domain_name(spec->id, name);
    domain_uuid(spec->id, uuid);
    add(command, "%s", command->program);
    add(command, "-name");
    add(command, "guest=%s,debug-threads=on", name);
    add_option(command, "-uuid", uuid);
}

/* ACPI is on by default, except where a family wants none: there its tables cost memory and time.
 * virt has none without a firmware: the power button is a key in the device tree. */
static void add_machine(const struct microvm_spec *spec, struct qemu_command *command)
{
    const struct machine *machine = &machines[spec->boot->machine];
    unsigned flags = spec->boot->flags;
    bool has_acpi = (flags & BOOT_ACPI) != 0 && !is_arm(spec);
    add(command, "-machine");
    add(command, "%s,usb=off,dump-guest-core=off%s%s%s", machine->options,
        has_acpi ? "" : ",acpi=off", (flags & BOOT_LEAN) != 0 ? ",pit=off,pic=off,rtc=off" : "",
        (flags & BOOT_ONE_IOAPIC) != 0 ? ",ioapic2=off" : "");
    if ((flags & BOOT_MODERN_VIRTIO) != 0)
        add_option(command, "-global", "virtio-mmio.force-legacy=false");
}

/* The translation cache is QEMU's largest piece of memory beside the guest's: bounded, so that the
 * overhead each instance is counted with holds. */
static void add_processors(const struct microvm_spec *spec, struct qemu_command *command)
{
    add_option(command, "-accel", spec->kvm ? "kvm" : "tcg,tb-size=16");
    add_option(command, "-cpu", "max");
    add(command, "-smp");
    add(command, "%" PRIu32 ",sockets=%" PRIu32 ",cores=1,threads=1", spec->vcpus, spec->vcpus);
    add(command, "-m");
    add(command, "size=%" PRIu64 "B", spec->memory);
}

/* Paused until told to go on. A reset is an end; a panic that pvpanic tells of too. Without
 * privileges to gain, processes to start or priorities to set. */
static void add_conduct(struct qemu_command *command)
{
    static const char *const options[] = {
        "-S",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-rtc",
        "base=utc",
        "-boot",
        "strict=on",
        "-action",
        "reboot=shutdown,shutdown=poweroff,panic=shutdown",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-msg",
        "timestamp=off",
        "-chardev",
        "socket,id=monitor,fd=" TEXT_OF(QEMU_DESCRIPTOR_MONITOR) ",server=on,wait=off",
        "-mon",
        "chardev=monitor,mode=control",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(options); i++)
        add(command, "%s", options[i]);
}

static void add_boot(const struct microvm_spec *spec, struct qemu_command *command)
{
    if (spec->kernel_path[0] != '\0')
        add_option(command, "-kernel", QEMU_FILE_KERNEL);
    if (spec->initrd_path[0] != '\0')
        add_option(command, "-initrd", QEMU_FILE_INITRD);
    if (spec->command_line[0] != '\0')
        add_option(command, "-append", spec->command_line);
}

/* A guest whose disk is full is told so; QEMU would hold it for good, and nobody would know why. */
#define TELL_ERRORS "rerror=report,werror=report"

/* An overlay lives as long as one boot: nothing is flushed for the time after a crash. What lies
 * below it is named here, and QEMU does not look for it in the overlay. */
static void add_file(struct qemu_command *command, const char *name, const char *file, size_t index,
                     bool read_only)
{
    add(command, "-blockdev");
    add(command,
        "driver=file,node-name=%s%zu-file,filename=%s%zu,read-only=%s,discard=unmap,"
        "cache.direct=off,cache.no-flush=on",
        name, index, file, index, read_only ? "on" : "off");
}

static void add_disk(const struct microvm_spec *spec, size_t index, struct qemu_command *command)
{
    const char *bus = machines[spec->boot->machine].bus;
    bool is_qcow2 = strcmp(spec->disks[index].image_format, "qcow2") == 0;
    add_file(command, "image", QEMU_FILE_IMAGE, index, true);
    add(command, "-blockdev");
    add(command,
        is_qcow2 ? "{\"driver\":\"qcow2\",\"node-name\":\"image%zu\",\"file\":\"image%zu-file\","
                   "\"read-only\":true,\"backing\":null,\"cache\":{\"no-flush\":true}}"
                 : "{\"driver\":\"raw\",\"node-name\":\"image%zu\",\"file\":\"image%zu-file\","
                   "\"read-only\":true,\"cache\":{\"no-flush\":true}}",
        index, index);
    add_file(command, "overlay", QEMU_FILE_OVERLAY, index, false);
    add(command, "-blockdev");
    add(command,
        "driver=qcow2,node-name=overlay%zu,file=overlay%zu-file,backing=image%zu,cache.no-flush=on",
        index, index, index);
    add(command, "-device");
    if (bus != NULL)
        add(command,
            "virtio-blk-pci,id=disk%zu,drive=overlay%zu,write-cache=on," TELL_ERRORS
            ",bus=%s,addr=0x%zx%s",
            index, index, bus, PCI_SLOT_FIRST_DISK + index, index == 0 ? ",bootindex=1" : "");
    else
        add(command,
            "virtio-blk-device,id=disk%zu,drive=overlay%zu,write-cache=on," TELL_ERRORS "%s", index,
            index, index == 0 ? ",bootindex=1" : "");
}

/* Behind the disks. */
static void add_volume(const struct microvm_spec *spec, size_t index, struct qemu_command *command)
{
    const char *bus = machines[spec->boot->machine].bus, *device = spec->volumes[index].device;
    size_t place = spec->disk_count + index;
    add(command, "-blockdev");
    add(command,
        "driver=file,node-name=volume%zu-file,filename=" QEMU_FILE_VOLUME
        "%zu,read-only=off,locking=on,discard=unmap,cache.direct=off,cache.no-flush=off",
        index, index);
    add(command, "-blockdev");
    add(command,
        "driver=raw,node-name=volume%zu,file=volume%zu-file,read-only=off,discard=unmap,"
        "cache.no-flush=off",
        index, index);
    add(command, "-device");
    AUTO_FREE char *slot = bus != NULL
                               ? xasprintf(",bus=%s,addr=0x%zx", bus, PCI_SLOT_FIRST_DISK + place)
                               : xstrdup("");
    add(command,
        "virtio-blk-%s,id=disk%zu,drive=volume%zu,serial=%s,write-cache=on," TELL_ERRORS "%s",
        bus != NULL ? "pci" : "device", place, index, device, slot);
}

/* Behind the disks: a virtio-mmio device takes the highest free slot. The card's option ROM would
 * only look for a network to boot from. */
static void add_network(const struct microvm_spec *spec, struct qemu_command *command)
{
    const char *bus = machines[spec->boot->machine].bus;
    add(command, "-netdev");
    add(command, "tap,id=network,fd=" TEXT_OF(QEMU_DESCRIPTOR_TAP));
    add(command, "-device");
    if (bus != NULL)
        add(command,
            "virtio-net-pci,id=net0,netdev=network,mac=%s,bus=%s,addr=0x%x,romfile=", spec->mac,
            bus, PCI_SLOT_NETWORK);
    else
        add(command, "virtio-net-device,id=net0,netdev=network,mac=%s", spec->mac);
}

static void add_serial(const struct microvm_spec *spec, struct qemu_command *command)
{
    bool has_isa = machines[spec->boot->machine].has_isa;
    add_option(command, "-chardev",
               "socket,id=console,fd=" TEXT_OF(QEMU_DESCRIPTOR_CONSOLE) ",server=on,wait=off");
    if (has_isa)
        add_option(command, "-device", "isa-serial,id=serial0,chardev=console,index=0");
    else
        add_option(command, "-serial", "chardev:console");
    add_option(command, "-device",
               has_isa ? "pvpanic,ioport=0x505" : "pvpanic-pci,bus=pcie.0,addr=0x1f");
}

int qemu_command_make(const struct microvm_spec *spec, struct qemu_command *ret_command,
                      struct error *error)
{
    struct qemu_command command = {.program =
                                       is_arm(spec) ? QEMU_PROGRAM_ARM64 : QEMU_PROGRAM_AMD64};
    if (check_values(spec, error) < 0 || check_parts(spec, error) < 0)
        return -1;
    add_identity(spec, &command);
    add_machine(spec, &command);
    add_processors(spec, &command);
    add_conduct(&command);
    add_boot(spec, &command);
    for (size_t i = 0; i < spec->disk_count; i++)
        add_disk(spec, i, &command);
    for (size_t i = 0; i < spec->volume_count; i++)
        add_volume(spec, i, &command);
    add_network(spec, &command);
    add_serial(spec, &command);
    *ret_command = command;
    return 0;
}

void qemu_command_release(struct qemu_command *command)
{
    for (size_t i = 0; i < command->count; i++)
        free(command->arguments[i]);
    free(command->arguments);
    *command = (struct qemu_command){0};
}

/* Arguments end with a NUL each. */
bool qemu_command_is_of(const char *bytes, size_t length, const char *id)
{
    static const char option[] = "-uuid";
    char uuid[DOMAIN_UUID_MAX];
    domain_uuid(id, uuid);
    for (size_t at = 0; at < length;) {
        size_t size = strnlen(bytes + at, length - at);
        size_t next = at + size + 1;
        if (size == sizeof option - 1 && memcmp(bytes + at, option, size) == 0)
            return next < length && length - next > strlen(uuid) && strcmp(bytes + next, uuid) == 0;
        at = next;
    }
    return false;
}
