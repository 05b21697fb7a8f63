/* What a guest finds in a qcow2 disk's sectors (QEMU's docs/interop/qcow2.txt, "Guest cluster
 * mapping"): whose disk it is stands in the first ones. */
#include <inttypes.h>
#include <string.h>

#include "image-format/detect_internal.h"
#include "image-format/qcow2.h"

#define OFFSET_MASK   0x00fffffffffffe00ull
#define COMPRESSED    (1ull << 62)
#define READS_AS_ZERO 1ull
#define SUBCLUSTERS   (1ull << 4) /* an incompatible feature: entries of 16 bytes */

int detect_open_qcow2(const struct detect_source *source, struct detection *detection,
                      struct detect_drive *ret_drive, struct error *error)
{
    unsigned char head[QCOW2_HEAD_MAX];
    struct detect_drive drive = {.source = source, .is_qcow2 = true};
    struct error cause = ERROR_INIT;
    size_t length = source->size < sizeof head ? (size_t)source->size : sizeof head;
    if (detect_source_peek(source, 0, head, sizeof head, error) < 0)
        return -1;
    uint32_t version = detect_big_u32(head + 4);
    uint64_t features = version >= 3 ? detect_big_u64(head + 72) : 0;
    drive.cluster_bits = detect_big_u32(head + 20);
    drive.table_size = detect_big_u32(head + 36);
    drive.table_at = detect_big_u64(head + 40);
    drive.entry_size = (features & SUBCLUSTERS) != 0 ? 16 : 8;
    detection_add(detection, "QFI\\xfb at 0: qcow2 version %u, %" PRIu64 " bytes for the guest",
                  version, detect_big_u64(head + 24));
    int result = qcow2_check(head, length, source->size, &drive.size, &cause);
    *ret_drive = drive;
    return result == 0 ? 0 : detection_refuse_damaged(detection, &cause, error);
}

static int read_entry(const struct detect_drive *drive, uint64_t table, uint64_t index,
                      unsigned entry_size, uint64_t *ret_entry, struct error *error)
{
    unsigned char bytes[8];
    /* A table's place has 56 bits, an index at most 32: the sum does not overflow. */
    if (detect_source_read(drive->source, table + index * entry_size, bytes, sizeof bytes, error) <
        0) {
        error_wrap(error, "a damaged qcow2 disk: its map");
        return -1;
    }
    *ret_entry = detect_big_u64(bytes);
    return 0;
}

/* Where a guest's cluster lies in the file; 0: it reads as zeroes. */
static int find_cluster(const struct detect_drive *drive, uint64_t cluster, uint64_t *ret_at,
                        struct error *error)
{
    uint64_t entry = 0, entries = (1ull << drive->cluster_bits) / drive->entry_size;
    *ret_at = 0;
    if (cluster / entries >= drive->table_size)
        return error_set(error, ERROR_INVALID, "a damaged qcow2 disk: its map is too small");
    if (read_entry(drive, drive->table_at, cluster / entries, 8, &entry, error) < 0)
        return -1;
    uint64_t table = entry & OFFSET_MASK;
    if (table == 0)
        return 0;
    if (read_entry(drive, table, cluster % entries, drive->entry_size, &entry, error) < 0)
        return -1;
    if ((entry & COMPRESSED) != 0)
        return error_set(error, ERROR_UNSUPPORTED,
                         "a compressed qcow2 disk: its first sectors cannot be looked at "
                         "(qemu-img convert -O qcow2 makes one that is not)");
    if (drive->entry_size == 8 && (entry & READS_AS_ZERO) != 0)
        return 0;
    *ret_at = entry & OFFSET_MASK;
    return 0;
}

int detect_drive_peek(const struct detect_drive *drive, uint64_t offset, void *ret_bytes,
                      size_t length, struct error *error)
{
    if (!drive->is_qcow2)
        return detect_source_peek(drive->source, offset, ret_bytes, length, error);
    memset(ret_bytes, 0, length);
    if (offset >= drive->size)
        return 0;
    if (length > drive->size - offset)
        length = (size_t)(drive->size - offset);
    uint64_t cluster_size = 1ull << drive->cluster_bits;
    for (size_t done = 0; done < length;) {
        uint64_t at, within = (offset + done) % cluster_size;
        size_t part = length - done;
        if (part > cluster_size - within)
            part = (size_t)(cluster_size - within);
        if (find_cluster(drive, (offset + done) >> drive->cluster_bits, &at, error) < 0)
            return -1;
        /* A file may end within its last cluster. */
        if (at != 0 && detect_source_peek(drive->source, at + within, (char *)ret_bytes + done,
                                          part, error) < 0)
            return -1;
        done += part;
    }
    return 0;
}
