/*
 * The driver of virtio block devices behind virtio-mmio, legacy (version 1) and modern (version 2):
 * shoal_disk_find and the calls beside it. One request at a time, through a buffer of the driver's
 * own, and waited for without sleeping; interrupts stay off. A device that does not answer in time
 * is given up for good, for it may still write to the buffer.
 */
#include <stddef.h>
#include <string.h>

#include <shoal/runtime.h>

#include "machine.h"
#include "memory.h"
#include "virtio_queue.h"

#define KIND_BLOCK             2
#define FEATURE_READ_ONLY      (1ULL << 5)
#define FEATURE_FLUSH          (1ULL << 9)
#define CONFIGURATION_CAPACITY 0

#define REQUEST_READ   0
#define REQUEST_WRITE  1
#define REQUEST_FLUSH  4
#define REQUEST_SERIAL 8

#define STATUS_DONE    0
#define STATUS_UNKNOWN 0xff /* before the device has written one */

#define DISKS_LIMIT    8
#define SERIAL_LENGTH  20
#define BUFFER_SECTORS 16
/* The host's disk may be busy; a request that takes longer than this is lost. */
#define PATIENCE_NANOSECONDS 30000000000ULL

/* What the device reads and writes, apart from the rings. */
struct request {
    uint32_t kind;
    uint32_t reserved;
    uint64_t sector;
    volatile uint8_t status;
    uint8_t data[BUFFER_SECTORS * SHOAL_DISK_SECTOR] __attribute__((aligned(16)));
};

struct shoal_disk {
    struct virtio_device device;
    struct virtio_queue queue;
    struct virtio_rings *rings;
    struct request *request;
    uint64_t sectors;
    bool flushes; /* else what is written is safe at once */
    bool read_only;
    bool broken;
    char serial[SERIAL_LENGTH + 1];
};

static struct {
    struct shoal_disk disks[DISKS_LIMIT];
    unsigned count;
    bool searched;
} block;

static uint64_t physical_address(const void *pointer)
{
    return (uintptr_t)pointer; /* memory is mapped onto itself */
}

/* The rings want a page's alignment, which memory_take does not give. */
static void *take_pages(size_t size)
{
    const uintptr_t page = _Alignof(struct virtio_rings);
    uintptr_t begin = (uintptr_t)memory_take(size + page, "a disk");
    return (void *)((begin + page - 1) & ~(page - 1));
}

/* ---- one request ---- */

/* Header, then data if there is any, then the status. */
static void fill_descriptors(struct shoal_disk *disk, size_t length, bool device_writes)
{
    struct virtio_descriptor *descriptors = disk->rings->descriptors;
    struct request *request = disk->request;
    uint16_t last = length > 0 ? 2 : 1;
    descriptors[0] = (struct virtio_descriptor){
        .address = physical_address(request),
        .length = offsetof(struct request, status),
        .flags = VIRTIO_DESCRIPTOR_NEXT,
        .next = 1,
    };
    if (length > 0) {
        descriptors[1] = (struct virtio_descriptor){
            .address = physical_address(request->data),
            .length = (uint32_t)length,
            .flags = VIRTIO_DESCRIPTOR_NEXT |
                     (device_writes ? (uint16_t)VIRTIO_DESCRIPTOR_WRITE : (uint16_t)0),
            .next = 2,
        };
    }
    descriptors[last] = (struct virtio_descriptor){
        .address = physical_address((const void *)(uintptr_t)&request->status),
        .length = 1,
        .flags = VIRTIO_DESCRIPTOR_WRITE,
    };
}

/* The chain always begins with descriptor 0: there is one at a time. */
static bool wait_for_answer(struct shoal_disk *disk)
{
    uint64_t deadline = shoal_clock_nanoseconds() + PATIENCE_NANOSECONDS;
    uint16_t head;
    uint32_t length;
    while (!virtio_queue_take(&disk->queue, &head, &length)) {
        if (shoal_clock_nanoseconds() >= deadline) {
            return false;
        }
    }
    return head == 0;
}

/* Runs the request in the disk's buffer. Returns 0, -1 when the device could not do it. */
static int run(struct shoal_disk *disk, uint32_t kind, uint64_t sector, size_t length)
{
    struct request *request = disk->request;
    if (disk->broken) {
        return -1;
    }
    request->kind = kind;
    request->sector = sector;
    request->status = STATUS_UNKNOWN;
    fill_descriptors(disk, length, kind == REQUEST_READ || kind == REQUEST_SERIAL);
    virtio_queue_publish(&disk->queue, 0);
    virtio_queue_announce(&disk->queue);
    if (!wait_for_answer(disk)) {
        disk->broken = true;
        shoal_log("disk %s: no answer from the device, it is given up", disk->serial);
        return -1;
    }
    return request->status == STATUS_DONE ? 0 : -1;
}

/* ---- finding them ---- */

static bool start(struct shoal_disk *disk)
{
    uint64_t features;
    disk->rings = take_pages(sizeof(*disk->rings));
    disk->request = memory_take(sizeof(*disk->request), "a disk");
    if (virtio_device_negotiate(&disk->device, FEATURE_FLUSH | FEATURE_READ_ONLY, &features) != 0 ||
        virtio_queue_init(&disk->queue, &disk->device, disk->rings, 0) != 0) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        disk->sectors |= (uint64_t)virtio_device_read_8(&disk->device, CONFIGURATION_CAPACITY + i)
                         << (8 * i);
    }
    disk->flushes = (features & FEATURE_FLUSH) != 0;
    disk->read_only = (features & FEATURE_READ_ONLY) != 0;
    virtio_queue_set_interrupt(&disk->queue, false);
    virtio_device_run(&disk->device);
    if (run(disk, REQUEST_SERIAL, 0, SERIAL_LENGTH) == 0) {
        memcpy(disk->serial, disk->request->data, SERIAL_LENGTH);
    }
    return true;
}

static void search(void)
{
    int slot = (int)machine_virtio_slot_count();
    while (block.count < DISKS_LIMIT) {
        struct shoal_disk *disk = &block.disks[block.count];
        memset(disk, 0, sizeof(*disk));
        slot = virtio_device_find_below(&disk->device, KIND_BLOCK, (unsigned)slot);
        if (slot < 0) {
            return;
        }
        block.count += start(disk);
    }
}

struct shoal_disk *shoal_disk_find(const char *device)
{
    if (!block.searched) {
        block.searched = true;
        search();
    }
    for (unsigned i = 0; i < block.count; i++) {
        if (strcmp(block.disks[i].serial, device) == 0) {
            return &block.disks[i];
        }
    }
    return NULL;
}

/* ---- using them ---- */

uint64_t shoal_disk_sectors(const struct shoal_disk *disk)
{
    return disk->sectors;
}

static bool is_inside(const struct shoal_disk *disk, uint64_t sector, size_t count)
{
    return count <= disk->sectors && sector <= disk->sectors - count;
}

int shoal_disk_read(struct shoal_disk *disk, uint64_t sector, void *data, size_t count)
{
    uint8_t *to = data;
    if (!is_inside(disk, sector, count)) {
        return -1;
    }
    while (count > 0) {
        size_t part = count < BUFFER_SECTORS ? count : BUFFER_SECTORS;
        if (run(disk, REQUEST_READ, sector, part * SHOAL_DISK_SECTOR) != 0) {
            return -1;
        }
        memcpy(to, disk->request->data, part * SHOAL_DISK_SECTOR);
        to += part * SHOAL_DISK_SECTOR;
        sector += part;
        count -= part;
    }
    return 0;
}

int shoal_disk_write(struct shoal_disk *disk, uint64_t sector, const void *data, size_t count)
{
    const uint8_t *from = data;
    if (disk->read_only || disk->broken || !is_inside(disk, sector, count)) {
        return -1;
    }
    while (count > 0) {
        size_t part = count < BUFFER_SECTORS ? count : BUFFER_SECTORS;
        memcpy(disk->request->data, from, part * SHOAL_DISK_SECTOR);
        if (run(disk, REQUEST_WRITE, sector, part * SHOAL_DISK_SECTOR) != 0) {
            return -1;
        }
        from += part * SHOAL_DISK_SECTOR;
        sector += part;
        count -= part;
    }
    return 0;
}

int shoal_disk_flush(struct shoal_disk *disk)
{
    return disk->flushes ? run(disk, REQUEST_FLUSH, 0, 0) : disk->broken ? -1 : 0;
}
