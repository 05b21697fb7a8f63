/*
 * The driver of one virtio network device behind virtio-mmio, legacy (version 1) and modern
 * (version 2). Frames are lwIP's buffers both ways: nothing is copied. Polled; the interrupt only
 * ends a sleep.
 */
#ifndef RUNTIME_VIRTIO_NET_H
#define RUNTIME_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

struct pbuf;

struct virtio_net_information {
    uint8_t hardware_address[6];
    unsigned mtu; /* 0: the device does not say */
};

/* Finds the device in the machine's slots and starts it; `line_of` gives a slot's interrupt line
 * as the command line named it, -1 without one. Returns 0, -1 when there is none, -2 when it
 * refused the driver's terms. */
int virtio_net_start(int (*line_of)(uintptr_t slot_address), struct virtio_net_information *ret);

/* The next frame that has arrived, owned by the caller; NULL without one. */
struct pbuf *virtio_net_receive(void);

/* Queues one frame in a single buffer and keeps a reference until it is sent. Returns 0, -1 when
 * the queue is full. */
int virtio_net_send(struct pbuf *frame);

/* Frees what has been sent, refills the receive queue, tells the device about queued frames. */
void virtio_net_poll(void);

/* Asks for an interrupt at the next frame; true when one has arrived already. */
bool virtio_net_arm_interrupt(void);
void virtio_net_disarm_interrupt(void);

/* True when the device has taken everything that was queued. */
bool virtio_net_is_flushed(void);

#endif
