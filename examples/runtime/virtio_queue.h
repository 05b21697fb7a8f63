/*
 * One split virtqueue and the virtio-mmio device it belongs to. Knows the memory format of both
 * and no kind of device.
 */
#ifndef RUNTIME_VIRTIO_QUEUE_H
#define RUNTIME_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_QUEUE_SIZE 128

#define VIRTIO_DESCRIPTOR_NEXT  1
#define VIRTIO_DESCRIPTOR_WRITE 2

struct virtio_device {
    uintptr_t address;
    bool modern;
};

struct virtio_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

struct virtio_used_entry {
    uint32_t id;
    uint32_t length;
};

/* The layout a legacy device demands; a modern one accepts it as well. */
struct virtio_rings {
    struct virtio_descriptor descriptors[VIRTIO_QUEUE_SIZE];
    uint16_t available_flags;
    uint16_t available_index;
    uint16_t available[VIRTIO_QUEUE_SIZE];
    uint16_t used_event;
    uint16_t used_flags __attribute__((aligned(4096)));
    uint16_t used_index;
    struct virtio_used_entry used[VIRTIO_QUEUE_SIZE];
} __attribute__((aligned(4096)));

struct virtio_queue {
    const struct virtio_device *device;
    struct virtio_rings *rings;
    uint16_t number;
    uint16_t used_seen; /* used entries taken so far */
    uint16_t published; /* entries made available so far */
    bool unannounced;   /* published since the last notification */
};

/* Finds a slot with a device of this kind, the highest first; -1 without one. */
int virtio_device_find(struct virtio_device *ret_device, uint32_t kind);

/* The same among the slots below `slot`, for kinds of which a guest has several. */
int virtio_device_find_below(struct virtio_device *ret_device, uint32_t kind, unsigned slot);

/* The handshake: reset, then the features both sides know. Returns 0, -1 when the device refuses.
 */
int virtio_device_negotiate(const struct virtio_device *device, uint64_t wanted,
                            uint64_t *ret_features);
void virtio_device_run(const struct virtio_device *device);
uint8_t virtio_device_read_8(const struct virtio_device *device, unsigned offset);

/* Returns 0, -1 when the device has no such queue or it is too short. */
int virtio_queue_init(struct virtio_queue *queue, const struct virtio_device *device,
                      struct virtio_rings *rings, uint16_t number);

/* Hands the chain that begins at descriptor `head` to the device. */
void virtio_queue_publish(struct virtio_queue *queue, uint16_t head);

/* Notifies the device if something was published since the last time and it wants to know. */
void virtio_queue_announce(struct virtio_queue *queue);

bool virtio_queue_has_used(const struct virtio_queue *queue);

/* The next chain the device is done with; false without one. A head out of range, which only a
 * broken device names, panics. */
bool virtio_queue_take(struct virtio_queue *queue, uint16_t *ret_head, uint32_t *ret_length);

void virtio_queue_set_interrupt(struct virtio_queue *queue, bool wanted);

#endif
