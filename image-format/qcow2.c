#include "image-format/qcow2.h"

#include <string.h>

#define MAGIC 0x514649fbU /* QFI\xfb */

/* Where the fields of the header lie; all numbers are big-endian. */
enum {
    AT_VERSION = 4,
    AT_BACKING_OFFSET = 8,
    AT_BACKING_SIZE = 16,
    AT_CLUSTER_BITS = 20,
    AT_SIZE = 24,
    AT_ENCRYPTION = 32,
    AT_L1_SIZE = 36,
    AT_L1_OFFSET = 40,
    AT_SNAPSHOTS = 60,
    HEADER_2_LENGTH = 72, /* of version 2, which ends here */
    AT_INCOMPATIBLE = 72,
    AT_REFCOUNT_ORDER = 96,
    AT_HEADER_LENGTH = 100,
    HEADER_3_LENGTH = 104,
};

/* Incompatible features. */
#define FEATURE_DIRTY       ((uint64_t)1 << 0)
#define FEATURE_CORRUPT     ((uint64_t)1 << 1)
#define FEATURE_DATA_FILE   ((uint64_t)1 << 2)
#define FEATURE_COMPRESSION ((uint64_t)1 << 3)
#define FEATURE_SUBCLUSTERS ((uint64_t)1 << 4)

/* Extensions behind the header that name other files or keys. */
#define EXTENSION_END        0x00000000U
#define EXTENSION_DATA_FILE  0x44415441U
#define EXTENSION_ENCRYPTION 0x0537be77U

#define L1_BYTES_MAX ((uint64_t)32 << 20)

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t read_u64(const unsigned char *at)
{
    return (uint64_t)read_u32(at) << 32 | read_u32(at + 4);
}

static int refuse(struct error *error, const char *what)
{
    return error_set(error, ERROR_INVALID, "qcow2 disk: %s", what);
}

/* Known, but not for an image that has to be whole in itself. */
static int decline(struct error *error, const char *what)
{
    return error_set(error, ERROR_UNSUPPORTED,
                     "qcow2 disk: it %s (qemu-img convert -O qcow2 makes one without)", what);
}

bool qcow2_is(const void *head, size_t length)
{
    return length >= 4 && read_u32(head) == MAGIC;
}

static int check_features(uint64_t features, struct error *error)
{
    if ((features & FEATURE_DATA_FILE) != 0)
        return decline(error, "keeps its data in another file");
    if ((features & (FEATURE_DIRTY | FEATURE_CORRUPT)) != 0)
        return decline(error, "was not closed properly or is marked as damaged");
    if ((features & ~(FEATURE_COMPRESSION | FEATURE_SUBCLUSTERS)) != 0)
        return decline(error, "uses features that are not known here");
    return 0;
}

/* From `at`: type, length, data, padded to eight bytes, until the end mark. */
static int check_extensions(const unsigned char *head, size_t length, size_t at,
                            struct error *error)
{
    while (at + 8 <= length) {
        uint32_t type = read_u32(head + at), size = read_u32(head + at + 4);
        if (type == EXTENSION_END)
            return 0;
        if (type == EXTENSION_DATA_FILE)
            return decline(error, "keeps its data in another file");
        if (type == EXTENSION_ENCRYPTION)
            return decline(error, "is encrypted");
        if (size > length)
            break;
        at += 8 + ((size_t)size + 7) / 8 * 8;
    }
    return refuse(error, "its header's extensions have no end");
}

/* The fields that both versions have. */
static int check_fields(const unsigned char *head, uint64_t file_size, struct error *error)
{
    uint32_t cluster_bits = read_u32(head + AT_CLUSTER_BITS);
    uint64_t l1_bytes = (uint64_t)read_u32(head + AT_L1_SIZE) * 8;
    uint64_t l1_offset = read_u64(head + AT_L1_OFFSET);
    uint64_t size = read_u64(head + AT_SIZE);
    if (read_u64(head + AT_BACKING_OFFSET) != 0 || read_u32(head + AT_BACKING_SIZE) != 0)
        return decline(error, "names a backing file");
    if (read_u32(head + AT_ENCRYPTION) != 0)
        return decline(error, "is encrypted");
    if (read_u32(head + AT_SNAPSHOTS) != 0)
        return decline(error, "holds snapshots");
    if (cluster_bits < 9 || cluster_bits > 21)
        return refuse(error, "its clusters have an impossible size");
    if (size == 0)
        return refuse(error, "its size is 0");
    if (size > QCOW2_SIZE_MAX)
        return error_set(error, ERROR_TOO_LARGE, "qcow2 disk: it is larger than 1 TiB");
    if (l1_bytes > L1_BYTES_MAX || l1_offset > file_size || l1_bytes > file_size - l1_offset)
        return refuse(error, "its table of clusters lies outside the file");
    return 0;
}

int qcow2_check(const void *bytes, size_t length, uint64_t file_size, uint64_t *ret_size,
                struct error *error)
{
    const unsigned char *head = bytes;
    if (!qcow2_is(head, length) || length < HEADER_2_LENGTH)
        return refuse(error, "its header is cut short");
    uint32_t version = read_u32(head + AT_VERSION);
    if (version != 2 && version != 3)
        return decline(error, "is of an unknown version");
    if (check_fields(head, file_size, error) < 0)
        return -1;
    size_t header_length = HEADER_2_LENGTH;
    if (version == 3) {
        if (length < HEADER_3_LENGTH)
            return refuse(error, "its header is cut short");
        header_length = read_u32(head + AT_HEADER_LENGTH);
        if (header_length < HEADER_3_LENGTH || header_length % 8 != 0 || header_length > length ||
            read_u32(head + AT_REFCOUNT_ORDER) > 6)
            return refuse(error, "its header makes no sense");
        if (check_features(read_u64(head + AT_INCOMPATIBLE), error) < 0)
            return -1;
    }
    if (check_extensions(head, length, header_length, error) < 0)
        return -1;
    *ret_size = read_u64(head + AT_SIZE);
    return 0;
}
