/* Disks: whose boot sector and file system they have. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image-format/detect_internal.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define SECTOR            512
#define OSV_MARK_AT       0x1b8
#define OSV_LINE_SECTORS  63 /* behind the boot sector: OSv's command line */
#define PARTITIONS_AT     0x1be
#define PARTITION_SIZE    16
#define BOOT_SIGNATURE_AT 0x1fe
#define NANOS_MARK        "NVMTFS"

static bool has_boot_signature(const unsigned char *sector)
{
    return sector[BOOT_SIGNATURE_AT] == 0x55 && sector[BOOT_SIGNATURE_AT + 1] == 0xaa;
}

static void set_disk(const struct detect_drive *drive, struct detection *detection)
{
    detection->has_disk = true;
    detection->disk.size = drive->size;
    snprintf(detection->disk.format, sizeof detection->disk.format, "%s",
             drive->is_qcow2 ? "qcow2" : "raw");
    snprintf(detection->format, sizeof detection->format, "%s disk",
             drive->is_qcow2 ? "qcow2" : "raw");
}

/* The firmware of amd64 machines runs boot sectors. */
static void set_bootable(struct detection *detection)
{
    snprintf(detection->architecture, sizeof detection->architecture, "amd64");
    json_strings_add(&detection->protocols, "disk");
}

static int judge_osv(const struct detect_drive *drive, struct detection *detection,
                     struct error *error)
{
    size_t length = OSV_LINE_SECTORS * SECTOR;
    AUTO_FREE char *line = xmalloc(length + 1);
    if (detect_drive_peek(drive, SECTOR, line, length, error) < 0)
        return -1;
    line[length] = '\0';
    detection_add(detection, "VSO\\0 at 0x1b8: OSv's boot sector");
    detection_decide(detection, "osv", "an OSv disk");
    set_disk(drive, detection);
    set_bootable(detection);
    if (strlen(line) == length)
        detection_add(detection,
                      "no command line: the %zu bytes behind the boot sector have no end", length);
    else if (line[0] != '\0') {
        text_make_line(line);
        detection_add(detection, "command line at 512: \"%.200s%s\"", line,
                      strlen(line) > 200 ? "..." : "");
        detection->disk.command_line = TAKE_POINTER(line);
    }
    return 0;
}

/* Nanos has its file system in a partition, behind a boot file system. */
static int find_nanos(const struct detect_drive *drive, const unsigned char *sector, int *ret_at,
                      struct error *error)
{
    *ret_at = -1;
    for (int i = 0; i < 4; i++) {
        const unsigned char *entry = sector + PARTITIONS_AT + i * PARTITION_SIZE;
        char mark[sizeof NANOS_MARK - 1];
        uint64_t at = detect_u32(entry + 8) * (uint64_t)SECTOR;
        if (entry[4] == 0 || at == 0)
            continue;
        if (detect_drive_peek(drive, at, mark, sizeof mark, error) < 0)
            return -1;
        if (memcmp(mark, NANOS_MARK, sizeof mark) == 0) {
            *ret_at = i;
            return 0;
        }
    }
    return 0;
}

static int look_for_marks(const struct detect_drive *drive, struct detection *detection,
                          bool *ret_is, struct error *error)
{
    unsigned char sector[SECTOR];
    int partition = -1;
    if (detect_drive_peek(drive, 0, sector, sizeof sector, error) < 0)
        return -1;
    *ret_is = true;
    if (memcmp(sector + OSV_MARK_AT, "VSO", 4) == 0 && has_boot_signature(sector))
        return judge_osv(drive, detection, error);
    if (memcmp(sector, NANOS_MARK, sizeof NANOS_MARK - 1) == 0) {
        detection_add(detection, NANOS_MARK " at 0: Nanos's file system without a boot sector");
        detection_decide(detection, "nanos", "a Nanos disk without a boot sector");
        set_disk(drive, detection);
        detection_refuse(detection, "a Nanos disk without a boot sector does not boot by itself: "
                                    "give Nanos's kernel (kernel.img) too, booted by pvh");
        return 0;
    }
    if (has_boot_signature(sector) && find_nanos(drive, sector, &partition, error) < 0)
        return -1;
    if (partition >= 0) {
        detection_add(detection, NANOS_MARK " at the start of partition %d", partition + 1);
        detection_decide(detection, "nanos", "a Nanos disk");
        set_disk(drive, detection);
        set_bootable(detection);
        return 0;
    }
    *ret_is = false;
    return 0;
}

static void call_generic_disk(const struct detect_drive *drive, struct detection *detection)
{
    set_disk(drive, detection);
    set_bootable(detection);
    detection_add(detection, "boot sector (55 aa at 0x1fe)");
    detection_call_generic(detection, "a disk with a boot sector");
}

static int judge_qcow2(const struct detect_source *source, struct detection *detection,
                       struct error *error)
{
    struct detect_drive drive;
    struct error cause = ERROR_INIT;
    unsigned char sector[SECTOR];
    bool is = false;
    if (detect_open_qcow2(source, detection, &drive, error) < 0)
        return -1;
    set_disk(&drive, detection);
    if (detection->verdict == DETECTION_REFUSED)
        return 0;
    if (look_for_marks(&drive, detection, &is, &cause) < 0 ||
        (!is && detect_drive_peek(&drive, 0, sector, sizeof sector, &cause) < 0)) {
        if (cause.code != ERROR_UNSUPPORTED)
            return detection_refuse_damaged(detection, &cause, error);
        /* It may well boot: whose it is cannot be seen. */
        set_bootable(detection);
        detection_leave_undecided(detection, "%s", cause.message);
    } else if (!is && has_boot_signature(sector)) {
        call_generic_disk(&drive, detection);
    } else if (!is) {
        detection_leave_undecided(detection, "a qcow2 disk without a boot sector: it holds data, "
                                             "or boots by EFI, which nodes do not have");
    }
    return 0;
}

int detect_disk(const struct detect_source *source, struct detection *detection, bool *ret_is,
                struct error *error)
{
    char magic[4];
    struct detect_drive drive = {.source = source, .size = source->size};
    if (detect_source_peek(source, 0, magic, sizeof magic, error) < 0)
        return -1;
    *ret_is = true;
    if (memcmp(magic, "QFI\xfb", sizeof magic) == 0)
        return judge_qcow2(source, detection, error);
    return look_for_marks(&drive, detection, ret_is, error);
}

int detect_boot_sector(const struct detect_source *source, struct detection *detection,
                       bool *ret_is, struct error *error)
{
    unsigned char sector[SECTOR];
    struct detect_drive drive = {.source = source, .size = source->size};
    if (detect_source_peek(source, 0, sector, sizeof sector, error) < 0)
        return -1;
    *ret_is = has_boot_signature(sector);
    if (*ret_is)
        call_generic_disk(&drive, detection);
    return 0;
}
