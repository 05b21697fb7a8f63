/* A microVM as every hypervisor is asked for it. Plain values; texts are the caller's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/host_protocol.h"
#include "image-format/family.h"

/* What the guest writes goes to the overlay; what it has not written comes from the image. */
struct microvm_disk {
    const char *overlay_path; /* qcow2 */
    const char *image_path;
    const char *image_format; /* raw | qcow2: QEMU looks at no bytes to find out */
};

/* Writable, raw, the microVM's alone while it runs, and kept: a flush reaches the disk, and what
 * the guest discards is given back to it. Comes after the disks. */
struct microvm_volume {
    const char *path;
    const char *device; /* its serial */
};

struct microvm_spec {
    char id[INSTANCE_ID_MAX];
    char kernel[DIGEST_TEXT_MAX]; /* both digests go with it as its identity, with the address */
    char image[DIGEST_TEXT_MAX];
    char address[ADDRESS_MAX];
    char mac[18];
    char tap[16];
    int tap_descriptor; /* of it, the caller's; only for a hypervisor that takes one */
    char family[HOST_FAMILY_MAX];
    const struct family_boot *boot; /* the row of the family's table */
    const char *kernel_path;        /* "": the firmware boots the first disk */
    const char *initrd_path;        /* "": none */
    struct microvm_disk disks[HOST_DISKS_MAX];
    size_t disk_count;
    struct microvm_volume volumes[HOST_VOLUMES_MAX];
    size_t volume_count;
    const char *console_path; /* of the serial port's socket, which QEMU listens on */
    const char *command_line;
    uint64_t memory; /* bytes */
    uint64_t limit;  /* bytes that QEMU may take in all */
    uint32_t vcpus;
    bool kvm;
    uint32_t uid, gid; /* QEMU's own */
};

/* That QEMU may use in all, of one processor: its virtual ones, and one for its own work. */
static inline uint32_t microvm_processor_percent(uint32_t vcpus)
{
    return (vcpus + 1) * 100;
}

/* What a running microVM says of itself, so that the next agent knows it without files of ours. */
struct microvm_identity {
    char id[INSTANCE_ID_MAX];
    char kernel[DIGEST_TEXT_MAX]; /* "": booted from its first disk */
    char image[DIGEST_TEXT_MAX];
    char address[ADDRESS_MAX];
    char family[HOST_FAMILY_MAX]; /* "shoal" where it says nothing */
};
