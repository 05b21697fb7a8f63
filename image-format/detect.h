/* What a kernel or a disk is, by its own bytes and never by its name: which family of unikernels,
 * what boots it, for which architecture, with what evidence. What the bytes do not decide is said
 * to be undecided.
 *
 * Reads only what it needs, so a disk of any size is looked at quickly. Hostile files end in a
 * verdict of DETECTION_REFUSED, never in an error: errors are for files that cannot be read.
 * Blocking; any thread. Knows families by name (family.h), no image and no hypervisor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/json.h"

enum detection_verdict {
    DETECTION_CERTAIN,   /* a family put its mark into it */
    DETECTION_GENERIC,   /* it boots by a known protocol; whose it is does not show */
    DETECTION_UNDECIDED, /* neither shows; `reason` says what was seen */
    DETECTION_REFUSED,   /* no node can boot it, or it is damaged; `reason` says why */
};
extern const char *const detection_verdict_names[]; /* ends with NULL */

enum detection_device_kind { DETECTION_BLOCK, DETECTION_NET };
extern const char *const detection_device_kind_names[]; /* "block", "net"; ends with NULL */

/* A device that the file declares: only Solo5's do. */
struct detection_device {
    char name[68];
    enum detection_device_kind kind;
};

struct detection_disk {
    char format[16];    /* "raw", "qcow2" */
    uint64_t size;      /* bytes, as the guest sees it */
    char *command_line; /* the one that the disk holds for its kernel (OSv); NULL: none */
};

/* All texts are printable. */
struct detection {
    enum detection_verdict verdict;
    char family[32];               /* "solo5"; "generic"; "" when nothing shows */
    char title[96];                /* for people: "MirageOS on Solo5 (virtio)" */
    char format[32];               /* "ELF64", "bzImage", "raw disk" */
    char architecture[16];         /* "amd64", "arm64", another ELF machine's name, "" unknown */
    struct json_strings protocols; /* names of family.h by which a node can boot these bytes */
    char machine[16];              /* the family's default for them; "" when there is none */
    struct detection_device *devices;
    size_t device_count;
    bool has_disk;
    struct detection_disk disk;
    struct json_strings evidence; /* what was seen, a sentence or a part of one each */
    char *reason;                 /* NULL unless undecided or refused */
};

extern const struct json_record detection_record;

/* `descriptor` is read by pread and stays the caller's. Errors: ERROR_IO, and ERROR_INVALID for
 * what is no file. */
int detect_file(int descriptor, struct detection *ret_detection, struct error *error);
/* The same for bytes in memory, which cannot fail. */
void detect_bytes(const void *bytes, size_t length, struct detection *ret_detection);
void detection_release(struct detection *detection);

/* Whether these bytes may be declared to be of `family`, booted by `protocol` on `architecture`:
 * nothing in them may contradict. Family generic asks only for protocol and architecture. Else
 * ERROR_INVALID with what was seen; `name` stands in front. */
int detection_check(const struct detection *detection, const char *name, const char *family,
                    const char *protocol, const char *architecture, struct error *error);
/* The same for a file: a kernel, or for protocol "disk" the disk that boots. */
int detect_check_file(const char *name, int descriptor, const char *family, const char *protocol,
                      const char *architecture, struct error *error);
