/* The description of one microVM as libvirt reads it. Pure functions: no libvirt, no effects. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/host_protocol.h"
#include "image-format/family.h"
#include "lib/buffer.h"

#define DOMAIN_NAME_MAX       16
#define DOMAIN_UUID_MAX       37
#define DOMAIN_EMULATOR_AMD64 "/usr/bin/qemu-system-x86_64"
#define DOMAIN_EMULATOR_ARM64 "/usr/bin/qemu-system-aarch64"

/* What the guest writes goes to the overlay; what it has not written comes from the image. */
struct domain_disk {
    const char *overlay_path; /* qcow2 */
    const char *image_path;
    const char *image_format; /* raw | qcow2: QEMU looks at no bytes to find out */
};

struct domain_spec {
    char id[INSTANCE_ID_MAX];
    char kernel[DIGEST_TEXT_MAX]; /* both digests go into the metadata, with the address */
    char image[DIGEST_TEXT_MAX];
    char address[ADDRESS_MAX];
    char mac[18];
    char tap[16];
    char family[HOST_FAMILY_MAX];
    const struct family_boot *boot; /* the row of the family's table */
    const char *kernel_path;        /* "": the firmware boots the first disk */
    const char *initrd_path;        /* "": none */
    struct domain_disk disks[HOST_DISKS_MAX];
    size_t disk_count;
    const char *console_path; /* of the serial port's socket, which QEMU listens on */
    const char *command_line;
    uint64_t memory; /* bytes */
    uint64_t limit;  /* bytes that QEMU may take in all */
    uint32_t vcpus;
    bool kvm;
    uint32_t uid, gid; /* QEMU's own */
};

/* What the metadata of a running domain says. */
struct domain_metadata {
    char id[INSTANCE_ID_MAX];
    char kernel[DIGEST_TEXT_MAX]; /* "": booted from its first disk */
    char image[DIGEST_TEXT_MAX];
    char address[ADDRESS_MAX];
    char family[HOST_FAMILY_MAX]; /* "shoal" where it says nothing */
};

/* Appends text with <, >, &, ' and " escaped. */
void xml_append(struct buffer *buffer, const char *text);
/* ERROR_INVALID when a text of `spec` holds what XML cannot carry unchanged (control characters,
 * line ends, broken UTF-8); ERROR_UNSUPPORTED for a machine that cannot have what is asked for. */
int domain_xml_render(const struct domain_spec *spec, struct buffer *buffer, struct error *error);
void domain_name(const char *id, char ret_name[DOMAIN_NAME_MAX]);
/* The same for one id always: what libvirt still knows of an earlier boot is replaced. */
void domain_uuid(const char *id, char ret_uuid[DOMAIN_UUID_MAX]);
/* Reads the metadata's text form; -1 when it is not ours or any part is not well formed. */
int domain_metadata_parse(const char *text, struct domain_metadata *ret_metadata);
