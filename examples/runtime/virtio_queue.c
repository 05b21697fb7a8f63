#include "virtio_queue.h"

#include <stddef.h>

#include <shoal/runtime.h>

#include "machine.h"
#include "registers.h"

#define MAGIC 0x74726976

#define REGISTER_MAGIC                  0x000
#define REGISTER_VERSION                0x004
#define REGISTER_KIND                   0x008
#define REGISTER_DEVICE_FEATURES        0x010
#define REGISTER_DEVICE_FEATURES_SELECT 0x014
#define REGISTER_DRIVER_FEATURES        0x020
#define REGISTER_DRIVER_FEATURES_SELECT 0x024
#define REGISTER_GUEST_PAGE_SIZE        0x028
#define REGISTER_QUEUE_SELECT           0x030
#define REGISTER_QUEUE_LIMIT            0x034
#define REGISTER_QUEUE_SIZE             0x038
#define REGISTER_QUEUE_ALIGNMENT        0x03c
#define REGISTER_QUEUE_PAGE             0x040
#define REGISTER_QUEUE_READY            0x044
#define REGISTER_QUEUE_NOTIFY           0x050
#define REGISTER_STATUS                 0x070
#define REGISTER_QUEUE_DESCRIPTORS      0x080
#define REGISTER_QUEUE_AVAILABLE        0x090
#define REGISTER_QUEUE_USED             0x0a0
#define REGISTER_CONFIGURATION          0x100

#define STATUS_ACKNOWLEDGED    1
#define STATUS_DRIVER          2
#define STATUS_RUNNING         4
#define STATUS_FEATURES_AGREED 8

#define FEATURE_MODERN (1ULL << 32)
#define PAGE_SIZE      4096

#define AVAILABLE_NO_INTERRUPT 1
#define USED_NO_NOTIFY         1

_Static_assert(offsetof(struct virtio_rings, used_flags) % PAGE_SIZE == 0, "legacy alignment");
_Static_assert(sizeof(struct virtio_descriptor) == 16, "virtio's descriptor");

static uint32_t read_register(const struct virtio_device *device, unsigned offset)
{
    return register_read_32(device->address + offset);
}

static void write_register(const struct virtio_device *device, unsigned offset, uint32_t value)
{
    register_write_32(device->address + offset, value);
}

uint8_t virtio_device_read_8(const struct virtio_device *device, unsigned offset)
{
    return register_read_8(device->address + REGISTER_CONFIGURATION + offset);
}

int virtio_device_find_below(struct virtio_device *ret_device, uint32_t kind, unsigned slot)
{
    for (; slot > 0; slot--) {
        struct virtio_device device = {machine_virtio_slot_address(slot - 1), false};
        uint32_t version = read_register(&device, REGISTER_VERSION);
        if (read_register(&device, REGISTER_MAGIC) != MAGIC || version < 1 || version > 2 ||
            read_register(&device, REGISTER_KIND) != kind) {
            continue;
        }
        device.modern = version == 2;
        *ret_device = device;
        return (int)slot - 1;
    }
    return -1;
}

int virtio_device_find(struct virtio_device *ret_device, uint32_t kind)
{
    /* The last slot fills first. */
    return virtio_device_find_below(ret_device, kind, machine_virtio_slot_count());
}

int virtio_device_negotiate(const struct virtio_device *device, uint64_t wanted,
                            uint64_t *ret_features)
{
    uint64_t offered = 0;
    write_register(device, REGISTER_STATUS, 0);
    write_register(device, REGISTER_STATUS, STATUS_ACKNOWLEDGED | STATUS_DRIVER);
    for (unsigned i = 0; i < (device->modern ? 2u : 1u); i++) {
        write_register(device, REGISTER_DEVICE_FEATURES_SELECT, i);
        offered |= (uint64_t)read_register(device, REGISTER_DEVICE_FEATURES) << (32 * i);
    }
    uint64_t agreed = offered & (wanted | FEATURE_MODERN);
    for (unsigned i = 0; i < (device->modern ? 2u : 1u); i++) {
        write_register(device, REGISTER_DRIVER_FEATURES_SELECT, i);
        write_register(device, REGISTER_DRIVER_FEATURES, (uint32_t)(agreed >> (32 * i)));
    }
    if (device->modern) {
        uint32_t status = STATUS_ACKNOWLEDGED | STATUS_DRIVER | STATUS_FEATURES_AGREED;
        write_register(device, REGISTER_STATUS, status);
        if ((agreed & FEATURE_MODERN) == 0 ||
            (read_register(device, REGISTER_STATUS) & STATUS_FEATURES_AGREED) == 0) {
            return -1;
        }
    } else {
        write_register(device, REGISTER_GUEST_PAGE_SIZE, PAGE_SIZE);
    }
    *ret_features = agreed;
    return 0;
}

void virtio_device_run(const struct virtio_device *device)
{
    write_register(device, REGISTER_STATUS,
                   read_register(device, REGISTER_STATUS) | STATUS_RUNNING);
}

static void write_address(const struct virtio_device *device, unsigned offset, const void *pointer)
{
    write_register(device, offset, (uint32_t)(uintptr_t)pointer);
    write_register(device, offset + 4, (uint32_t)((uint64_t)(uintptr_t)pointer >> 32));
}

int virtio_queue_init(struct virtio_queue *queue, const struct virtio_device *device,
                      struct virtio_rings *rings, uint16_t number)
{
    *queue = (struct virtio_queue){.device = device, .rings = rings, .number = number};
    write_register(device, REGISTER_QUEUE_SELECT, number);
    if (read_register(device, REGISTER_QUEUE_LIMIT) < VIRTIO_QUEUE_SIZE) {
        return -1;
    }
    write_register(device, REGISTER_QUEUE_SIZE, VIRTIO_QUEUE_SIZE);
    if (!device->modern) {
        write_register(device, REGISTER_QUEUE_ALIGNMENT, PAGE_SIZE);
        write_register(device, REGISTER_QUEUE_PAGE, (uint32_t)((uintptr_t)rings / PAGE_SIZE));
        return 0;
    }
    write_address(device, REGISTER_QUEUE_DESCRIPTORS, rings->descriptors);
    write_address(device, REGISTER_QUEUE_AVAILABLE, &rings->available_flags);
    write_address(device, REGISTER_QUEUE_USED, &rings->used_flags);
    write_register(device, REGISTER_QUEUE_READY, 1);
    return 0;
}

void virtio_queue_publish(struct virtio_queue *queue, uint16_t head)
{
    queue->rings->available[queue->published % VIRTIO_QUEUE_SIZE] = head;
    queue->published++;
    /* The entry must be there before the index that covers it. */
    __atomic_store_n(&queue->rings->available_index, queue->published, __ATOMIC_RELEASE);
    queue->unannounced = true;
}

void virtio_queue_announce(struct virtio_queue *queue)
{
    if (!queue->unannounced) {
        return;
    }
    queue->unannounced = false;
    /* Between our index and a look at the device's flag everything must be in order. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint16_t flags = __atomic_load_n(&queue->rings->used_flags, __ATOMIC_RELAXED);
    if ((flags & USED_NO_NOTIFY) == 0) {
        write_register(queue->device, REGISTER_QUEUE_NOTIFY, queue->number);
    }
}

bool virtio_queue_has_used(const struct virtio_queue *queue)
{
    return __atomic_load_n(&queue->rings->used_index, __ATOMIC_ACQUIRE) != queue->used_seen;
}

bool virtio_queue_take(struct virtio_queue *queue, uint16_t *ret_head, uint32_t *ret_length)
{
    if (!virtio_queue_has_used(queue)) {
        return false;
    }
    const struct virtio_used_entry *entry =
        &queue->rings->used[queue->used_seen % VIRTIO_QUEUE_SIZE];
    uint32_t head = entry->id;
    if (head >= VIRTIO_QUEUE_SIZE) {
        shoal_panic("virtio queue %u: the device returned descriptor %u", queue->number, head);
    }
    *ret_head = (uint16_t)head;
    *ret_length = entry->length;
    queue->used_seen++;
    return true;
}

void virtio_queue_set_interrupt(struct virtio_queue *queue, bool wanted)
{
    __atomic_store_n(&queue->rings->available_flags, wanted ? 0 : AVAILABLE_NO_INTERRUPT,
                     __ATOMIC_RELAXED);
    /* The caller looks at the ring next: the device must see the flag before that. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
