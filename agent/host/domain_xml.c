#include "agent/host/domain_xml.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/host/domain_metadata.h"
#include "agent/host/network.h"
#include "lib/cleanup.h"
#include "lib/text.h"

void xml_append(struct buffer *buffer, const char *text)
{
    static const char *const names[128] = {
        ['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['\''] = "&apos;", ['"'] = "&quot;"};
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 128 && names[byte] != NULL)
            buffer_append_text(buffer, names[byte]);
        else
            buffer_append(buffer, text, 1);
    }
}

void domain_name(const char *id, char ret_name[DOMAIN_NAME_MAX])
{
    snprintf(ret_name, DOMAIN_NAME_MAX, "sh%.12s", id);
}

void domain_uuid(const char *id, char ret_uuid[DOMAIN_UUID_MAX])
{
    snprintf(ret_uuid, DOMAIN_UUID_MAX, "53686f61-6c00-4000-8000-%.12s", id);
}

static void append_element(struct buffer *buffer, const char *name, const char *text)
{
    buffer_printf(buffer, "<%s>", name);
    xml_append(buffer, text);
    buffer_printf(buffer, "</%s>\n", name);
}

/* What a machine is to libvirt. */
struct machine {
    const char *name;
    const char *type;      /* of guest */
    const char *processor; /* "": libvirt's own */
    bool has_isa;          /* serial port and pvpanic of a PC */
    bool has_pci;          /* devices on bus 0, where virtio speaks its legacy form too */
    bool is_xen;
};

static const struct machine machines[] = {
    [MACHINE_MICROVM] = {"microvm", "hvm", "maximum", .has_isa = true},
    [MACHINE_PC] = {"pc", "hvm", "maximum", .has_isa = true, .has_pci = true},
    [MACHINE_Q35] = {"q35", "hvm", "maximum", .has_isa = true, .has_pci = true},
    [MACHINE_VIRT] = {"virt", "hvm", "maximum", .has_isa = false},
    [MACHINE_XENPV] = {"xenpv", "linux", "", .is_xen = true},
    [MACHINE_XENPVH] = {"xenpvh", "xenpvh", "", .is_xen = true},
};

/* On bus 0: 0 to 2 are the machine's own. */
#define PCI_SLOT_NETWORK    3
#define PCI_SLOT_FIRST_DISK 4

static const struct machine *machine_of(const struct microvm_spec *spec)
{
    return &machines[spec->boot->machine];
}

static bool is_arm(const struct microvm_spec *spec)
{
    return strcmp(spec->boot->architecture, "arm64") == 0;
}

/* ---- what XML can carry ---- */

static int check_text(const char *text, const char *what, struct error *error)
{
    for (const char *at = text; *at != '\0';) {
        size_t length = text_character_length(at);
        if (length == 0)
            return error_set(error, ERROR_INVALID,
                             "the microVM's %s holds a control character or broken UTF-8", what);
        at += length;
    }
    return 0;
}

static int check_texts(const struct microvm_spec *spec, struct error *error)
{
    const struct {
        const char *text, *what;
    } texts[] = {
        {spec->id, "id"},
        {spec->kernel, "kernel's digest"},
        {spec->image, "image's digest"},
        {spec->address, "address"},
        {spec->mac, "MAC"},
        {spec->tap, "tap"},
        {spec->family, "family"},
        {spec->kernel_path, "kernel's path"},
        {spec->initrd_path, "initrd's path"},
        {spec->console_path, "console's path"},
        {spec->command_line, "command line"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (check_text(texts[i].text, texts[i].what, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < spec->disk_count; i++) {
        const struct microvm_disk *disk = &spec->disks[i];
        if (check_text(disk->overlay_path, "overlay's path", error) < 0 ||
            check_text(disk->image_path, "disk's path", error) < 0 ||
            check_text(disk->image_format, "disk's format", error) < 0)
            return -1;
    }
    for (size_t i = 0; i < spec->volume_count; i++) {
        if (check_text(spec->volumes[i].path, "volume's path", error) < 0 ||
            check_text(spec->volumes[i].device, "volume's device", error) < 0)
            return -1;
    }
    return 0;
}

static int check_parts(const struct microvm_spec *spec, struct error *error)
{
    bool has_kernel = spec->kernel_path[0] != '\0';
    if (spec->boot->protocol == BOOT_DISK && (has_kernel || spec->disk_count == 0))
        return error_set(error, ERROR_INVALID,
                         "a microVM that boots from its first disk needs one, and no kernel");
    if (spec->boot->protocol != BOOT_DISK && !has_kernel)
        return error_set(error, ERROR_INVALID, "the microVM has no kernel");
    if (is_arm(spec) != (spec->boot->machine == MACHINE_VIRT))
        return error_set(error, ERROR_UNSUPPORTED, "there is no machine %s for %s",
                         machine_of(spec)->name, spec->boot->architecture);
    return 0;
}

/* ---- the parts of a domain ---- */

static void append_identity(const struct microvm_spec *spec, const char *owner,
                            struct buffer *buffer)
{
    char name[DOMAIN_NAME_MAX], uuid[DOMAIN_UUID_MAX];
    domain_name(spec->id, name);
    domain_uuid(spec->id, uuid);
    append_element(buffer, "name", name);
    append_element(buffer, "uuid", uuid);
    buffer_append_text(buffer, "<metadata>");
    domain_metadata_append(spec, owner, buffer);
    buffer_append_text(buffer, "</metadata>\n");
}

static void append_boot(const struct microvm_spec *spec, struct buffer *buffer)
{
    const struct machine *machine = machine_of(spec);
    buffer_printf(buffer, "<memory unit='b'>%" PRIu64 "</memory>\n<vcpu>%" PRIu32 "</vcpu>\n",
                  spec->memory, spec->vcpus);
    buffer_printf(buffer, "<os><type arch='%s' machine='%s'>%s</type>\n",
                  is_arm(spec) ? "aarch64" : "x86_64", machine->name, machine->type);
    if (spec->kernel_path[0] != '\0')
        append_element(buffer, "kernel", spec->kernel_path);
    if (spec->initrd_path[0] != '\0')
        append_element(buffer, "initrd", spec->initrd_path);
    if (spec->command_line[0] != '\0')
        append_element(buffer, "cmdline", spec->command_line);
    buffer_append_text(buffer, "</os>\n");
    if (machine->processor[0] != '\0')
        buffer_printf(buffer, "<cpu mode='%s'/>\n", machine->processor);
}

/* The translation cache is QEMU's largest piece of memory beside the guest's: bounded, so that the
 * overhead each instance is counted with holds. libvirt leaves ACPI out where it is not named, and
 * gives virt none without a firmware: there the power button is a key in the device tree. */
static void append_features(const struct microvm_spec *spec, struct buffer *buffer)
{
    bool has_acpi = (spec->boot->flags & BOOT_ACPI) != 0 && !is_arm(spec);
    bool translates = !spec->kvm && !machine_of(spec)->is_xen;
    if (has_acpi || translates)
        buffer_printf(buffer, "<features>%s%s</features>\n", has_acpi ? "<acpi/>" : "",
                      translates ? "<tcg><tb-cache unit='MiB'>16</tb-cache></tcg>" : "");
    buffer_append_text(buffer, "<on_poweroff>destroy</on_poweroff>\n"
                               "<on_reboot>destroy</on_reboot>\n<on_crash>destroy</on_crash>\n");
}

static void append_address(const struct microvm_spec *spec, int slot, struct buffer *buffer)
{
    if (machine_of(spec)->has_pci)
        buffer_printf(buffer,
                      "<address type='pci' domain='0x0000' bus='0x00' slot='0x%02x' "
                      "function='0x0'/>",
                      (unsigned)slot);
    else
        buffer_append_text(buffer, "<address type='virtio-mmio'/>");
}

/* The card's option ROM would only look for a network to boot from. */
static void append_network(const struct microvm_spec *spec, struct buffer *buffer)
{
    buffer_append_text(buffer, "<interface type='ethernet'><mac address='");
    xml_append(buffer, spec->mac);
    buffer_append_text(buffer, "'/><target dev='");
    xml_append(buffer, spec->tap);
    buffer_append_text(buffer, "' managed='no'/><model type='virtio'/><driver name='qemu'/>");
    append_address(spec, PCI_SLOT_NETWORK, buffer);
    if (machine_of(spec)->has_pci)
        buffer_append_text(buffer, "<rom enabled='no'/>");
    buffer_append_text(buffer, "</interface>\n");
}

/* An overlay lives as long as one boot: nothing is flushed for the time after a crash. A guest
 * whose disk is full is told so; QEMU would hold it. */
static void append_disk(const struct microvm_spec *spec, size_t index, struct buffer *buffer)
{
    const struct microvm_disk *disk = &spec->disks[index];
    bool is_xen = machine_of(spec)->is_xen;
    buffer_append_text(buffer,
                       "<disk type='file' device='disk'>"
                       "<driver name='qemu' type='qcow2' cache='unsafe' error_policy='report'/>"
                       "<source file='");
    xml_append(buffer, disk->overlay_path);
    buffer_append_text(buffer, "'/>\n<backingStore type='file'><format type='");
    xml_append(buffer, disk->image_format);
    buffer_append_text(buffer, "'/><source file='");
    xml_append(buffer, disk->image_path);
    buffer_printf(buffer, "'/><backingStore/></backingStore>\n<target dev='%s%c' bus='%s'/>",
                  is_xen ? "xvd" : "vd", 'a' + (int)index, is_xen ? "xen" : "virtio");
    if (spec->boot->protocol == BOOT_DISK && index == 0)
        buffer_append_text(buffer, "<boot order='1'/>");
    if (!is_xen)
        append_address(spec, PCI_SLOT_FIRST_DISK + (int)index, buffer);
    buffer_append_text(buffer, "</disk>\n");
}

static void append_volume(const struct microvm_spec *spec, size_t index, struct buffer *buffer)
{
    const struct microvm_volume *volume = &spec->volumes[index];
    size_t place = spec->disk_count + index;
    bool is_xen = machine_of(spec)->is_xen;
    buffer_append_text(buffer, "<disk type='file' device='disk'>"
                               "<driver name='qemu' type='raw' cache='writeback' "
                               "error_policy='report' discard='unmap'/><source file='");
    xml_append(buffer, volume->path);
    buffer_printf(buffer, "'/>\n<target dev='%s%c' bus='%s'/><serial>", is_xen ? "xvd" : "vd",
                  'a' + (int)place, is_xen ? "xen" : "virtio");
    xml_append(buffer, volume->device);
    buffer_append_text(buffer, "</serial>");
    if (!is_xen)
        append_address(spec, PCI_SLOT_FIRST_DISK + (int)place, buffer);
    buffer_append_text(buffer, "</disk>\n");
}

static void append_disks(const struct microvm_spec *spec, struct buffer *buffer)
{
    for (size_t i = 0; i < spec->disk_count; i++)
        append_disk(spec, i, buffer);
    for (size_t i = 0; i < spec->volume_count; i++)
        append_volume(spec, i, buffer);
}

static void append_serial(const struct microvm_spec *spec, struct buffer *buffer)
{
    buffer_append_text(buffer, "<serial type='unix'><source mode='bind' path='");
    xml_append(buffer, spec->console_path);
    buffer_append_text(buffer, machine_of(spec)->has_isa
                                   ? "'/><target type='isa-serial' port='0'/></serial>\n"
                                   : "'/><target type='system-serial' port='0'>"
                                     "<model name='pl011'/></target></serial>\n");
}

static void append_devices(const struct microvm_spec *spec, struct buffer *buffer)
{
    buffer_printf(buffer,
                  "<devices>\n<emulator>%s</emulator>\n"
                  "<controller type='usb' model='none'/>\n<memballoon model='none'/>\n",
                  is_arm(spec) ? DOMAIN_EMULATOR_ARM64 : DOMAIN_EMULATOR_AMD64);
    if (machine_of(spec)->has_isa)
        buffer_append_text(buffer, "<panic model='isa'><address type='isa' iobase='0x505'/>"
                                   "</panic>\n");
    append_network(spec, buffer);
    append_disks(spec, buffer);
    append_serial(spec, buffer);
    buffer_append_text(buffer, "</devices>\n");
}

/* Xen's toolstack attaches the interface to the guests' bridge; the console is Xen's own. */
static void append_xen_devices(const struct microvm_spec *spec, struct buffer *buffer)
{
    buffer_append_text(buffer, "<devices>\n<interface type='bridge'><mac address='");
    xml_append(buffer, spec->mac);
    buffer_append_text(buffer, "'/><source bridge='" NETWORK_BRIDGE "'/><target dev='");
    xml_append(buffer, spec->tap);
    buffer_append_text(buffer, "'/></interface>\n");
    append_disks(spec, buffer);
    buffer_append_text(buffer, "<console type='pty'><target type='xen' port='0'/></console>\n"
                               "</devices>\n");
}

/* What libvirt has no words for: libvirt 9.0 knows a panic device of PCs only, and passes on what
 * QEMU says about any. A second -machine adds to the first. */
static void append_command_line(const struct microvm_spec *spec, struct buffer *buffer)
{
    unsigned flags = spec->boot->flags;
    bool is_lean = (flags & BOOT_LEAN) != 0, has_one = (flags & BOOT_ONE_IOAPIC) != 0;
    if ((flags & (BOOT_LEAN | BOOT_ONE_IOAPIC | BOOT_MODERN_VIRTIO)) == 0 && !is_arm(spec))
        return;
    buffer_append_text(buffer, "<qemu:commandline>");
    if (is_lean || has_one)
        buffer_printf(buffer, "<qemu:arg value='-machine'/><qemu:arg value='%s%s%s'/>",
                      is_lean ? "pit=off,pic=off,rtc=off" : "", is_lean && has_one ? "," : "",
                      has_one ? "ioapic2=off" : "");
    if ((flags & BOOT_MODERN_VIRTIO) != 0)
        buffer_append_text(buffer, "<qemu:arg value='-global'/>"
                                   "<qemu:arg value='virtio-mmio.force-legacy=false'/>");
    if (is_arm(spec))
        buffer_append_text(buffer, "<qemu:arg value='-device'/>"
                                   "<qemu:arg value='pvpanic-pci,bus=pcie.0,addr=0x1f'/>");
    buffer_append_text(buffer, "</qemu:commandline>\n");
}

static void append_xen(const struct microvm_spec *spec, const char *owner, struct buffer *buffer)
{
    buffer_append_text(buffer, "<domain type='xen'>\n");
    append_identity(spec, owner, buffer);
    append_boot(spec, buffer);
    append_features(spec, buffer);
    append_xen_devices(spec, buffer);
    buffer_append_text(buffer, "</domain>\n");
}

/* libvirt's test driver takes the same but for the type, and ignores what only QEMU knows. */
static void append_qemu(const char *type, const struct microvm_spec *spec, const char *owner,
                        struct buffer *buffer)
{
    buffer_printf(buffer,
                  "<domain type='%s' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n",
                  type);
    append_identity(spec, owner, buffer);
    append_boot(spec, buffer);
    append_features(spec, buffer);
    append_devices(spec, buffer);
    buffer_printf(buffer,
                  "<seclabel type='static' model='dac' relabel='no'>"
                  "<label>+%" PRIu32 ":+%" PRIu32 "</label></seclabel>\n",
                  spec->uid, spec->gid);
    append_command_line(spec, buffer);
    buffer_append_text(buffer, "</domain>\n");
}

int domain_xml_render(enum libvirt_driver driver, const char *owner,
                      const struct microvm_spec *spec, struct buffer *buffer, struct error *error)
{
    bool is_xen = machine_of(spec)->is_xen;
    if (check_texts(spec, error) < 0 || check_parts(spec, error) < 0)
        return -1;
    if (is_xen != (driver == LIBVIRT_XEN))
        return error_set(error, ERROR_UNSUPPORTED, "the machine %s is %s", machine_of(spec)->name,
                         is_xen ? "a Xen host's, and this one runs QEMU"
                                : "QEMU's, and this node's agent drives Xen");
    if (is_xen)
        append_xen(spec, owner, buffer);
    else if (driver == LIBVIRT_TEST)
        append_qemu("test", spec, owner, buffer);
    else
        append_qemu(spec->kvm ? "kvm" : "qemu", spec, owner, buffer);
    return 0;
}
