/* The families of unikernels: how each boots, how it is told its address and arguments, how it
 * stops and how its end is seen. One table (family.c), looked up by the name in an image's config;
 * docs/families.md says what each row was tested with.
 *
 * Pure: knows neither image files nor a hypervisor's options. What a machine's name means to a
 * hypervisor is the business of agent/host/. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/json.h"

/* How the first byte of the guest comes to run. */
enum boot_protocol {
    BOOT_PVH,       /* ELF with note "Xen" 18: 32-bit entry, start info in ebx */
    BOOT_MULTIBOOT, /* multiboot 1 */
    BOOT_LINUX,     /* bzImage, or arm64 Image */
    BOOT_ELF,       /* arm64: a bare ELF at its entry, device tree at the start of memory */
    BOOT_DISK,      /* the firmware boots the first disk; there is no kernel */
    BOOT_XEN,       /* by the Xen toolstack */
};
extern const char *const boot_protocol_names[]; /* ends with NULL */

enum boot_machine {
    MACHINE_MICROVM,
    MACHINE_PC,
    MACHINE_Q35,
    MACHINE_VIRT,
    MACHINE_XENPV,
    MACHINE_XENPVH,
};
extern const char *const boot_machine_names[]; /* ends with NULL */

/* What a machine must have, or must not, for a family. */
enum boot_flag {
    BOOT_ACPI = 1 << 0,       /* ACPI tables: the guest powers off or finds its devices by them */
    BOOT_ONE_IOAPIC = 1 << 1, /* microvm: no second IOAPIC */
    BOOT_MODERN_VIRTIO = 1 << 2, /* virtio-mmio version 2 only */
    BOOT_LEAN = 1 << 3,          /* microvm: no PIT, PIC, RTC */
};

/* One way a family boots. */
struct family_boot {
    const char *architecture; /* "amd64"; NULL ends a list */
    enum boot_protocol protocol;
    enum boot_machine machine;
    unsigned flags; /* enum boot_flag */
};
#define FAMILY_BOOTS_MAX 8

/* How an instance learns its address. */
enum family_address {
    FAMILY_ADDRESS_LINE, /* by the command line */
    FAMILY_ADDRESS_DHCP, /* by DHCP only */
};

/* How a guest can be asked to end: what it listens to. */
enum family_stop {
    FAMILY_STOP_KILL = 0,         /* to nothing */
    FAMILY_STOP_CONSOLE = 1 << 0, /* the byte 0x04 on the serial port */
    FAMILY_STOP_ACPI = 1 << 1,    /* the power button */
};

struct family_line;
struct line;

struct family {
    const char *name;                           /* "solo5" */
    const char *title;                          /* "Solo5 and MirageOS (virtio)": for people */
    struct family_boot boots[FAMILY_BOOTS_MAX]; /* the first of an architecture is its default */
    enum family_address address;
    bool has_arguments;   /* a service's `args` reach it */
    bool has_environment; /* a service's `env` reaches it */
    size_t line_max;      /* bytes of a command line that it survives, 0: it gets none */
    size_t arguments_max; /* of the line */
    size_t environment_max;
    uint64_t memory_min;   /* bytes that it was seen to boot with */
    enum family_stop stop; /* how it is asked when its image does not say */
    unsigned stops;        /* all that it may listen to: enum family_stop */
    /* What the guest's console says when it has ended but stays up; NULL: its machine powers off,
     * resets or panics, which the hypervisor sees. */
    const char *halted;
    bool powers_off; /* its guests power off to end: a reset is a crash or no end at all */
    /* Why it cannot run on a node; NULL: it can. */
    const char *refused;
    /* Appends the whole command line (command_line.h). */
    int (*compose)(const struct family_line *parts, struct line *line, struct error *error);
};

/* NULL when there is none of that name. */
const struct family *family_find(const char *name);
/* By number from 0; NULL behind the last. */
const struct family *family_at(size_t index);
/* The row that boots that way. Empty `protocol` or `machine`: the default of the architecture.
 * NULL with ERROR_UNSUPPORTED saying what the family boots by instead. */
const struct family_boot *family_find_boot(const struct family *family, const char *architecture,
                                           const char *protocol, const char *machine,
                                           struct error *error);
/* "shoal, linux, ..." ; the caller frees. */
char *family_list_names(void);
