/* What the files of detection share; for detect*.c alone. Each detect_X looks whether the source
 * is an X: it fills the detection and sets `ret_is`, or leaves it alone. -1 only when the source
 * cannot be read. */
#pragma once

#include "image-format/detect.h"
#include "image-format/detect_source.h"

/* Adds a text to the evidence. */
void detection_add(struct detection *detection, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Verdicts. */
void detection_decide(struct detection *detection, const char *family, const char *title);
void detection_call_generic(struct detection *detection, const char *title);
void detection_leave_undecided(struct detection *detection, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void detection_refuse(struct detection *detection, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* After a failed read of a structure: what the file itself is to blame for refuses it (0), other
 * errors go on to the caller (-1). */
int detection_refuse_damaged(struct detection *detection, const struct error *cause,
                             struct error *error);

/* Multiboot 1 (specification 0.6.96): a header in the first 8 KiB. */
struct detect_multiboot {
    bool found;
    uint32_t offset;
    bool has_addresses; /* flag 16: where to load stands in the header, not in the ELF file */
};
int detect_multiboot(const struct detect_source *source, struct detect_multiboot *ret_header,
                     struct error *error);

int detect_elf(const struct detect_source *source, struct detection *detection,
               struct error *error);
/* bzImage, arm64 Image; flat multiboot files; EFI and compressed files. */
int detect_linux(const struct detect_source *source, struct detection *detection, bool *ret_is,
                 struct error *error);
int detect_flat(const struct detect_source *source, struct detection *detection, bool *ret_is,
                struct error *error);
/* qcow2, and disks with OSv's or Nanos's mark. */
int detect_disk(const struct detect_source *source, struct detection *detection, bool *ret_is,
                struct error *error);
/* A raw disk that only has a boot sector. */
int detect_boot_sector(const struct detect_source *source, struct detection *detection,
                       bool *ret_is, struct error *error);

/* A disk's bytes as its guest sees them. */
struct detect_drive {
    const struct detect_source *source;
    bool is_qcow2;
    uint64_t size; /* bytes */
    unsigned cluster_bits, entry_size;
    uint64_t table_at; /* the first-level table */
    uint32_t table_size;
};
/* Reads a qcow2 header. What cannot be a part of an image is refused in `detection`, and then the
 * drive's size is 0. */
int detect_open_qcow2(const struct detect_source *source, struct detection *detection,
                      struct detect_drive *ret_drive, struct error *error);
/* Zeroes behind the end. ERROR_UNSUPPORTED for compressed clusters, ERROR_INVALID for a damaged
 * map. */
int detect_drive_peek(const struct detect_drive *drive, uint64_t offset, void *ret_bytes,
                      size_t length, struct error *error);
