#include "image-format/family.h"

#include <string.h>

#include "image-format/family_lines.h"
#include "lib/buffer.h"

#define MIB (1ull << 20)

const char *const boot_protocol_names[] = {"pvh", "multiboot", "linux", "elf", "disk", "xen", NULL};
const char *const boot_machine_names[] = {"microvm", "pc", "q35", "virt", "xenpv", "xenpvh", NULL};

/* Bytes of a line that every guest here was seen to read; some crash at boot beyond it. */
#define LINE_MAX_BYTES COMMAND_LINE_MAX

/* Where nothing is known of a guest's own limit, the one of the line as a whole holds. */
#define ARGUMENTS_ANY 256

/* pc with ACPI serves every PC family: libvirt's q35 puts NIC and disk behind a root port, where
 * guests that speak only legacy virtio do not find them. */
#define BOOTS_PC(PROTOCOL)                                                                         \
    {                                                                                              \
        {                                                                                          \
            "amd64", PROTOCOL, MACHINE_PC, BOOT_ACPI                                               \
        }                                                                                          \
    }

static const struct family families[] = {
    {
        .name = "shoal",
        .title = "Shoal's own runtime (examples/runtime)",
        .boots = {{"amd64", BOOT_PVH, MACHINE_MICROVM, BOOT_LEAN},
                  {"arm64", BOOT_ELF, MACHINE_VIRT, 0}},
        .address = FAMILY_ADDRESS_LINE,
        .has_arguments = true,
        .has_environment = true,
        .line_max = LINE_MAX_BYTES,
        /* What its runtime reads, less the entries that machines append. */
        .arguments_max = 56,
        .environment_max = 32,
        .memory_min = 6 * MIB,
        .stop = FAMILY_STOP_CONSOLE,
        .stops = FAMILY_STOP_CONSOLE,
        .compose = family_line_shoal,
    },
    {
        .name = "linux",
        .title = "Linux microVMs: a kernel and an init of one's own",
        .boots = {{"amd64", BOOT_LINUX, MACHINE_PC, BOOT_ACPI},
                  {"amd64", BOOT_LINUX, MACHINE_Q35, BOOT_ACPI},
                  {"amd64", BOOT_LINUX, MACHINE_MICROVM, BOOT_ACPI},
                  {"amd64", BOOT_DISK, MACHINE_PC, BOOT_ACPI},
                  {"arm64", BOOT_LINUX, MACHINE_VIRT, BOOT_ACPI}},
        .address = FAMILY_ADDRESS_LINE,
        .has_arguments = true,
        .has_environment = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = 32, /* CONFIG_INIT_ENV_ARG_LIMIT */
        .environment_max = 24,
        .memory_min = 80 * MIB,
        .stop = FAMILY_STOP_ACPI,
        .stops = FAMILY_STOP_CONSOLE | FAMILY_STOP_ACPI,
        .powers_off = true,
        .compose = family_line_linux,
    },
    {
        .name = "unikraft",
        .title = "Unikraft for QEMU",
        .boots = {{"amd64", BOOT_MULTIBOOT, MACHINE_PC, BOOT_ACPI},
                  {"arm64", BOOT_LINUX, MACHINE_VIRT, 0},
                  {"arm64", BOOT_ELF, MACHINE_VIRT, 0}},
        .address = FAMILY_ADDRESS_LINE,
        .has_arguments = true,
        .has_environment = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = 60, /* CONFIG_LIBUKBOOT_MAXNBARGS */
        .environment_max = 16,
        .memory_min = 8 * MIB,
        .stop = FAMILY_STOP_KILL,
        .compose = family_line_unikraft,
    },
    {
        .name = "solo5",
        .title = "Solo5 and MirageOS, virtio binding",
        .boots = {{"amd64", BOOT_MULTIBOOT, MACHINE_PC, BOOT_ACPI}},
        .address = FAMILY_ADDRESS_LINE,
        .has_arguments = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = ARGUMENTS_ANY,
        .memory_min = 16 * MIB,
        .stop = FAMILY_STOP_KILL,
        .compose = family_line_solo5,
    },
    {
        .name = "nanos",
        .title = "Nanos",
        .boots = {{"amd64", BOOT_DISK, MACHINE_PC, BOOT_ACPI},
                  {"amd64", BOOT_DISK, MACHINE_Q35, BOOT_ACPI},
                  {"amd64", BOOT_PVH, MACHINE_MICROVM,
                   BOOT_ACPI | BOOT_ONE_IOAPIC | BOOT_MODERN_VIRTIO}},
        .address = FAMILY_ADDRESS_DHCP,
        .memory_min = 32 * MIB,
        .stop = FAMILY_STOP_ACPI,
        .stops = FAMILY_STOP_ACPI,
        .compose = family_line_none,
    },
    {
        .name = "osv",
        .title = "OSv",
        .boots = {{"amd64", BOOT_DISK, MACHINE_PC, BOOT_ACPI},
                  {"amd64", BOOT_DISK, MACHINE_Q35, BOOT_ACPI},
                  {"amd64", BOOT_PVH, MACHINE_PC, BOOT_ACPI},
                  {"amd64", BOOT_PVH, MACHINE_Q35, BOOT_ACPI}},
        .address = FAMILY_ADDRESS_LINE,
        .has_arguments = true,
        .has_environment = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = ARGUMENTS_ANY,
        .environment_max = 32,
        .memory_min = 64 * MIB,
        .stop = FAMILY_STOP_ACPI,
        .stops = FAMILY_STOP_ACPI,
        .powers_off = true,
        .compose = family_line_osv,
    },
    {
        .name = "includeos",
        .title = "IncludeOS",
        .boots = BOOTS_PC(BOOT_MULTIBOOT),
        .address = FAMILY_ADDRESS_DHCP,
        .has_arguments = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = ARGUMENTS_ANY,
        .memory_min = 32 * MIB,
        .stop = FAMILY_STOP_ACPI,
        .stops = FAMILY_STOP_ACPI,
        .compose = family_line_plain,
    },
    {
        .name = "rumprun",
        .title = "Rumprun",
        .boots = BOOTS_PC(BOOT_MULTIBOOT),
        .address = FAMILY_ADDRESS_LINE,
        .has_arguments = true,
        .has_environment = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = ARGUMENTS_ANY,
        .environment_max = 32,
        .memory_min = 16 * MIB,
        .stop = FAMILY_STOP_KILL,
        .halted = "halted",
        .compose = family_line_rumprun,
    },
    {
        .name = "hermit",
        .title = "Hermit: its loader, with the application as initrd",
        .boots = {{"amd64", BOOT_PVH, MACHINE_Q35, BOOT_ACPI},
                  {"amd64", BOOT_PVH, MACHINE_MICROVM, BOOT_MODERN_VIRTIO},
                  {"amd64", BOOT_LINUX, MACHINE_Q35, BOOT_ACPI}},
        .address = FAMILY_ADDRESS_LINE,
        .has_arguments = true,
        .has_environment = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = ARGUMENTS_ANY,
        .environment_max = 32,
        .memory_min = 64 * MIB,
        .stop = FAMILY_STOP_KILL,
        .compose = family_line_hermit,
    },
    {
        .name = "xen",
        .title = "Xen guests, PV and PVH",
        .boots = {{"amd64", BOOT_XEN, MACHINE_XENPVH, 0}, {"amd64", BOOT_XEN, MACHINE_XENPV, 0}},
        .address = FAMILY_ADDRESS_DHCP,
        .has_arguments = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = ARGUMENTS_ANY,
        .memory_min = 8 * MIB,
        .stop = FAMILY_STOP_KILL,
        .refused = "it needs a Xen host, and this node's agent drives QEMU",
        .compose = family_line_plain,
    },
    {
        .name = "generic",
        .title = "any guest that boots by a known protocol and asks DHCP for its address",
        .boots = {{"amd64", BOOT_MULTIBOOT, MACHINE_PC, BOOT_ACPI},
                  {"amd64", BOOT_PVH, MACHINE_PC, BOOT_ACPI},
                  {"amd64", BOOT_PVH, MACHINE_MICROVM, BOOT_ACPI},
                  {"amd64", BOOT_LINUX, MACHINE_PC, BOOT_ACPI},
                  {"amd64", BOOT_DISK, MACHINE_PC, BOOT_ACPI},
                  {"arm64", BOOT_LINUX, MACHINE_VIRT, BOOT_ACPI},
                  {"arm64", BOOT_ELF, MACHINE_VIRT, 0}},
        .address = FAMILY_ADDRESS_DHCP,
        .has_arguments = true,
        .line_max = LINE_MAX_BYTES,
        .arguments_max = ARGUMENTS_ANY,
        .memory_min = 1 * MIB,
        .stop = FAMILY_STOP_ACPI,
        .stops = FAMILY_STOP_CONSOLE | FAMILY_STOP_ACPI,
        .compose = family_line_plain,
    },
};
#define FAMILY_COUNT (sizeof families / sizeof families[0])

const struct family *family_at(size_t index)
{
    return index < FAMILY_COUNT ? &families[index] : NULL;
}

const struct family *family_find(const char *name)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    }
    return NULL;
}

static bool boots_as(const struct family_boot *boot, const char *architecture, const char *protocol,
                     const char *machine)
{
    return strcmp(boot->architecture, architecture) == 0 &&
           (protocol[0] == '\0' || strcmp(protocol, boot_protocol_names[boot->protocol]) == 0) &&
           (machine[0] == '\0' || strcmp(machine, boot_machine_names[boot->machine]) == 0);
}

const struct family_boot *family_find_boot(const struct family *family, const char *architecture,
                                           const char *protocol, const char *machine,
                                           struct error *error)
{
    AUTO_BUFFER struct buffer ways = {0};
    for (size_t i = 0; i < FAMILY_BOOTS_MAX && family->boots[i].architecture != NULL; i++) {
        const struct family_boot *boot = &family->boots[i];
        if (boots_as(boot, architecture, protocol, machine))
            return boot;
        buffer_printf(&ways, "%s%s by %s on %s", ways.length > 0 ? ", " : "", boot->architecture,
                      boot_protocol_names[boot->protocol], boot_machine_names[boot->machine]);
    }
    error_set(error, ERROR_UNSUPPORTED, "family %s does not boot %s%s%s%s%s: it boots %s",
              family->name, architecture, protocol[0] != '\0' ? " by " : "", protocol,
              machine[0] != '\0' ? " on " : "", machine, buffer_text(&ways));
    return NULL;
}

char *family_list_names(void)
{
    struct buffer names = {0};
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        buffer_printf(&names, "%s%s", i > 0 ? ", " : "", families[i].name);
    return buffer_take(&names);
}
