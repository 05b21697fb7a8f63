/* Whose disk it is: marks in boot sectors and partitions, raw and inside qcow2. */
#include "tests/unit/image-format/elf_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

struct disk {
    unsigned char bytes[64 * 1024];
};

static void add_boot_sector(struct disk *disk)
{
    disk->bytes[0x1fe] = 0x55;
    disk->bytes[0x1ff] = 0xaa;
}

static void add_partition(struct disk *disk, int index, unsigned char type, uint32_t sector)
{
    unsigned char *entry = disk->bytes + 0x1be + index * 16;
    entry[4] = type;
    memcpy(entry + 8, &sector, sizeof sector);
}

static struct disk osv_disk(const char *line)
{
    struct disk disk = {{0}};
    add_boot_sector(&disk);
    memcpy(disk.bytes + 0x1b8, "VSO", 4);
    strcpy((char *)disk.bytes + SECTOR, line);
    return disk;
}

static struct disk nanos_disk(void)
{
    struct disk disk = {{0}};
    add_boot_sector(&disk);
    add_partition(&disk, 0, 0x83, 2);
    add_partition(&disk, 1, 0x83, 9);
    memcpy(disk.bytes + 9 * SECTOR, "NVMTFS", 6);
    return disk;
}

/* A qcow2 of clusters of 512 bytes whose first ones hold the disk: header, tables, data. */
static struct buffer qcow2_of(const struct disk *disk, size_t clusters)
{
    struct buffer file = {0};
    unsigned char head[SECTOR] = "QFI\xfb";
    uint64_t table[SECTOR / 8] = {0}, map[SECTOR / 8] = {0};
    assert_in_range(clusters, 1, SECTOR / 8);
    head[7] = 2;  /* version */
    head[23] = 9; /* cluster bits */
    head[29] = 1; /* 64 KiB */
    head[39] = 2; /* entries of the table */
    head[46] = 2; /* at 512 */
    table[0] = __builtin_bswap64(2 * SECTOR);
    for (size_t i = 0; i < clusters; i++)
        map[i] = __builtin_bswap64((3 + i) * SECTOR | 1ull << 63);
    buffer_append(&file, head, sizeof head);
    buffer_append(&file, table, sizeof table);
    buffer_append(&file, map, sizeof map);
    buffer_append(&file, disk->bytes, clusters * SECTOR);
    return file;
}

static void assert_disk(const void *bytes, size_t length, enum detection_verdict verdict,
                        const char *family, const char *protocol, const char *text)
{
    struct detection detection = detect_copy(bytes, length);
    if (detection.verdict != verdict)
        fail_msg("verdict %s: %s", detection_verdict_names[detection.verdict], detection.reason);
    assert_string_equal(detection.family, family);
    assert_string_equal(detection.protocols.count > 0 ? detection.protocols.items[0] : "",
                        protocol);
    assert_true(detection.has_disk);
    if (detection.reason != NULL)
        assert_has_text(detection.reason, text);
    else
        assert_evidence(&detection, text);
    detection_release(&detection);
}

static void osvs_boot_sector_is_known_with_its_command_line(void **state)
{
    (void)state;
    struct disk disk = osv_disk("--ip=eth0 /hello \x01");
    struct detection detection = detect_copy(disk.bytes, sizeof disk.bytes);
    assert_int_equal(detection.verdict, DETECTION_CERTAIN);
    assert_string_equal(detection.family, "osv");
    assert_string_equal(detection.protocols.items[0], "disk");
    assert_string_equal(detection.machine, "pc");
    assert_string_equal(detection.disk.command_line, "--ip=eth0 /hello ?");
    assert_string_equal(detection.disk.format, "raw");
    assert_int_equal(detection.disk.size, sizeof disk.bytes);
    detection_release(&detection);
    memset(disk.bytes + SECTOR, 'x', 63 * SECTOR);
    assert_disk(disk.bytes, sizeof disk.bytes, DETECTION_CERTAIN, "osv", "disk", "have no end");
    assert_disk(disk.bytes, SECTOR, DETECTION_CERTAIN, "osv", "disk", "OSv's boot sector");
}

static void nanos_is_known_by_its_file_system_in_a_partition(void **state)
{
    (void)state;
    struct disk disk = nanos_disk();
    assert_disk(disk.bytes, sizeof disk.bytes, DETECTION_CERTAIN, "nanos", "disk",
                "NVMTFS at the start of partition 2");
    /* A partition far outside, and one of no type, lead nowhere. */
    add_partition(&disk, 0, 0x83, UINT32_MAX);
    add_partition(&disk, 1, 0, 9);
    assert_disk(disk.bytes, sizeof disk.bytes, DETECTION_GENERIC, "generic", "disk", "boot sector");
    memset(&disk, 0, sizeof disk);
    memcpy(disk.bytes, "NVMTFS", 6);
    assert_disk(disk.bytes, sizeof disk.bytes, DETECTION_REFUSED, "nanos", "",
                "give Nanos's kernel");
}

static void a_boot_sector_alone_is_generic(void **state)
{
    (void)state;
    struct disk disk = {{0}};
    add_boot_sector(&disk);
    assert_disk(disk.bytes, sizeof disk.bytes, DETECTION_GENERIC, "generic", "disk", "55 aa");
    struct detection detection = detect_copy(disk.bytes, SECTOR - 1);
    assert_int_equal(detection.verdict, DETECTION_UNDECIDED);
    detection_release(&detection);
}

static void qcow2_is_looked_into(void **state)
{
    (void)state;
    struct disk disk = osv_disk("/hello");
    AUTO_BUFFER struct buffer osv = qcow2_of(&disk, 8);
    assert_disk(osv.data, osv.length, DETECTION_CERTAIN, "osv", "disk", "\"/hello\"");
    disk = nanos_disk();
    AUTO_BUFFER struct buffer nanos = qcow2_of(&disk, 10);
    assert_disk(nanos.data, nanos.length, DETECTION_CERTAIN, "nanos", "disk", "partition 2");
    struct detection detection = detect_copy(nanos.data, nanos.length);
    assert_string_equal(detection.disk.format, "qcow2");
    assert_int_equal(detection.disk.size, sizeof disk.bytes);
    detection_release(&detection);
    memset(&disk, 0, sizeof disk);
    AUTO_BUFFER struct buffer data = qcow2_of(&disk, 1);
    assert_disk(data.data, data.length, DETECTION_UNDECIDED, "", "", "without a boot sector");
}

/* Changes one byte of a sound qcow2 of OSv's. */
static void assert_spoilt(size_t at, unsigned char value, enum detection_verdict verdict,
                          const char *reason)
{
    struct disk disk = osv_disk("/hello");
    AUTO_BUFFER struct buffer file = qcow2_of(&disk, 8);
    file.data[at] = (char)value;
    assert_disk(file.data, file.length, verdict, "", verdict == DETECTION_UNDECIDED ? "disk" : "",
                reason);
}

static void qcow2_disks_that_cannot_be_part_of_an_image_are_refused(void **state)
{
    (void)state;
    assert_spoilt(7, 9, DETECTION_REFUSED, "unknown version");
    assert_spoilt(15, 1, DETECTION_REFUSED, "backing file");
    assert_spoilt(35, 1, DETECTION_REFUSED, "encrypted");
    assert_spoilt(23, 8, DETECTION_REFUSED, "impossible size");
    assert_spoilt(40, 0x7f, DETECTION_REFUSED, "outside the file");
    /* The map: the first table's and the second's entries. */
    assert_spoilt(SECTOR + 1, 0x7f, DETECTION_REFUSED, "a damaged qcow2 disk: its map");
    assert_spoilt(2 * SECTOR, 0x40, DETECTION_UNDECIDED, "a compressed qcow2 disk");
    assert_spoilt(39, 0, DETECTION_REFUSED, "its map is too small");
}

static void every_length_of_a_qcow2_is_survived(void **state)
{
    (void)state;
    struct disk disk = osv_disk("/hello");
    AUTO_BUFFER struct buffer file = qcow2_of(&disk, 8);
    for (size_t length = 0; length < file.length; length += length < 64 ? 1 : 7) {
        struct detection detection = detect_copy(file.data, length);
        detection_release(&detection);
    }
}

/* 8 TiB without a byte in between: only what is needed is read. */
static void a_huge_file_is_looked_at_quickly(void **state)
{
    (void)state;
    char path[] = "/tmp/shoal-detect-XXXXXX";
    AUTO_CLOSE int descriptor = mkstemp(path);
    struct disk disk = nanos_disk();
    struct detection detection;
    struct error error = ERROR_INIT;
    assert_true(descriptor >= 0);
    unlink(path);
    add_partition(&disk, 1, 0x83, UINT32_MAX - 1);
    assert_int_equal(pwrite(descriptor, disk.bytes, sizeof disk.bytes, 0), sizeof disk.bytes);
    off_t far = (off_t)(UINT32_MAX - 1ull) * SECTOR;
    assert_int_equal(pwrite(descriptor, "NVMTFS", 6, far), 6);
    if (detect_file(descriptor, &detection, &error) < 0)
        fail_msg("%s", error.message);
    assert_string_equal(detection.family, "nanos");
    assert_int_equal(detection.disk.size, far + 6);
    detection_release(&detection);
    assert_int_equal(detect_check_file("disk.img", descriptor, "nanos", "disk", "amd64", NULL), 0);
    assert_int_equal(detect_check_file("disk.img", descriptor, "osv", "disk", "amd64", &error), -1);
    assert_has_text(error.message, "disk.img: declared as family osv, but it is a Nanos disk");
}

static void what_is_no_file_is_an_error(void **state)
{
    (void)state;
    struct detection detection;
    struct error error = ERROR_INIT;
    AUTO_CLOSE int folder = open("/tmp", O_RDONLY | O_DIRECTORY);
    assert_int_equal(detect_file(folder, &detection, &error), -1);
    assert_has_text(error.message, "this is a folder");
    AUTO_CLOSE int device = open("/dev/null", O_RDONLY);
    assert_int_equal(detect_file(device, &detection, &error), -1);
    assert_has_text(error.message, "no regular file");
    AUTO_CLOSE int writer = open("/dev/null", O_WRONLY);
    assert_int_equal(detect_file(writer, &detection, &error), -1);
    assert_int_equal(detect_file(-1, &detection, &error), -1);
    assert_int_equal(error.code, ERROR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(osvs_boot_sector_is_known_with_its_command_line),
        cmocka_unit_test(nanos_is_known_by_its_file_system_in_a_partition),
        cmocka_unit_test(a_boot_sector_alone_is_generic),
        cmocka_unit_test(qcow2_is_looked_into),
        cmocka_unit_test(qcow2_disks_that_cannot_be_part_of_an_image_are_refused),
        cmocka_unit_test(every_length_of_a_qcow2_is_survived),
        cmocka_unit_test(a_huge_file_is_looked_at_quickly),
        cmocka_unit_test(what_is_no_file_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
