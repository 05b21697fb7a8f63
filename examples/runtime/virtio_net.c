#include "virtio_net.h"

#include <stddef.h>

#include <lwip/pbuf.h>
#include <shoal/runtime.h>

#include "machine.h"
#include "virtio_queue.h"

#define KIND_NETWORK                   1
#define FEATURE_MTU                    (1ULL << 3)
#define FEATURE_HARDWARE_ADDRESS       (1ULL << 5)
#define CONFIGURATION_HARDWARE_ADDRESS 0
#define CONFIGURATION_MTU              10

#define QUEUE_RECEIVE 0
#define QUEUE_SEND    1
/* Each frame to send takes two descriptors: the device's header and the frame. */
#define SEND_LIMIT                (VIRTIO_QUEUE_SIZE / 2)
#define SEND_PATIENCE_NANOSECONDS 5000000

#define HEADER_SIZE_LEGACY 10
#define HEADER_SIZE_MODERN 12
#define FRAME_LIMIT        1514
#define FRAME_MINIMUM      14

/* The one device of a guest. */
static struct {
    struct virtio_device device;
    uint16_t header_size;
    struct virtio_queue receive;
    struct virtio_queue send;
    struct virtio_rings receive_rings;
    struct virtio_rings send_rings;
    struct pbuf *received[VIRTIO_QUEUE_SIZE]; /* by descriptor; NULL: not with the device */
    uint16_t receive_free[VIRTIO_QUEUE_SIZE];
    uint16_t receive_free_count;
    struct pbuf *sent[SEND_LIMIT]; /* by chain; NULL: free */
    uint16_t send_free[SEND_LIMIT];
    uint16_t send_free_count;
    uint8_t empty_header[HEADER_SIZE_MODERN]; /* no offload: the same for every frame */
} net;

static uint64_t physical_address(const void *pointer)
{
    return (uintptr_t)pointer; /* memory is mapped onto itself */
}

/* Gives the device buffers as long as there are any; what is missing is made up for later. */
static void refill_receive_queue(void)
{
    while (net.receive_free_count > 0) {
        struct pbuf *buffer = pbuf_alloc(PBUF_RAW, net.header_size + FRAME_LIMIT, PBUF_POOL);
        if (buffer == NULL) {
            break;
        }
        uint16_t id = net.receive_free[--net.receive_free_count];
        net.received[id] = buffer;
        net.receive_rings.descriptors[id] = (struct virtio_descriptor){
            .address = physical_address(buffer->payload),
            .length = buffer->len,
            .flags = VIRTIO_DESCRIPTOR_WRITE,
        };
        virtio_queue_publish(&net.receive, id);
    }
}

static void prepare_queues(void)
{
    for (uint16_t i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
        net.receive_free[i] = VIRTIO_QUEUE_SIZE - 1 - i;
    }
    net.receive_free_count = VIRTIO_QUEUE_SIZE;
    for (uint16_t i = 0; i < SEND_LIMIT; i++) {
        net.send_free[i] = i;
        net.send_rings.descriptors[2 * i] = (struct virtio_descriptor){
            .address = physical_address(net.empty_header),
            .length = net.header_size,
            .flags = VIRTIO_DESCRIPTOR_NEXT,
            .next = 2 * i + 1,
        };
    }
    net.send_free_count = SEND_LIMIT;
    /* Sent frames are collected while polling: no need to be woken for them. */
    virtio_queue_set_interrupt(&net.send, false);
    virtio_queue_set_interrupt(&net.receive, false);
}

int virtio_net_start(int (*line_of)(uintptr_t slot_address), struct virtio_net_information *ret)
{
    uint64_t features;
    int slot = virtio_device_find(&net.device, KIND_NETWORK);
    if (slot < 0) {
        return -1;
    }
    net.header_size = net.device.modern ? HEADER_SIZE_MODERN : HEADER_SIZE_LEGACY;
    if (virtio_device_negotiate(&net.device, FEATURE_HARDWARE_ADDRESS | FEATURE_MTU, &features) !=
            0 ||
        (features & FEATURE_HARDWARE_ADDRESS) == 0 ||
        virtio_queue_init(&net.receive, &net.device, &net.receive_rings, QUEUE_RECEIVE) != 0 ||
        virtio_queue_init(&net.send, &net.device, &net.send_rings, QUEUE_SEND) != 0 ||
        machine_virtio_interrupt_enable((unsigned)slot, line_of(net.device.address)) != 0) {
        return -2;
    }
    for (unsigned i = 0; i < sizeof(ret->hardware_address); i++) {
        ret->hardware_address[i] =
            virtio_device_read_8(&net.device, CONFIGURATION_HARDWARE_ADDRESS + i);
    }
    ret->mtu = 0;
    if ((features & FEATURE_MTU) != 0) {
        ret->mtu = virtio_device_read_8(&net.device, CONFIGURATION_MTU) |
                   (unsigned)virtio_device_read_8(&net.device, CONFIGURATION_MTU + 1) << 8;
    }
    prepare_queues();
    virtio_device_run(&net.device);
    refill_receive_queue();
    virtio_queue_announce(&net.receive);
    return 0;
}

struct pbuf *virtio_net_receive(void)
{
    uint16_t id;
    uint32_t length;
    while (virtio_queue_take(&net.receive, &id, &length)) {
        struct pbuf *frame = net.received[id];
        if (frame == NULL) {
            shoal_panic("virtio network device: returned buffer %u twice", id);
        }
        net.received[id] = NULL;
        net.receive_free[net.receive_free_count++] = id;
        if (length < (uint32_t)net.header_size + FRAME_MINIMUM || length > frame->len) {
            pbuf_free(frame);
            continue;
        }
        pbuf_realloc(frame, (u16_t)length);
        (void)pbuf_remove_header(frame, net.header_size);
        return frame;
    }
    return NULL;
}

static void collect_sent(void)
{
    uint16_t head;
    uint32_t length;
    while (virtio_queue_take(&net.send, &head, &length)) {
        uint16_t chain = head / 2;
        if (net.sent[chain] == NULL) {
            shoal_panic("virtio network device: returned frame %u twice", chain);
        }
        pbuf_free(net.sent[chain]);
        net.sent[chain] = NULL;
        net.send_free[net.send_free_count++] = chain;
    }
}

/* Waits for room in the send queue. A frame dropped here would cost its connection a
 * retransmission's second; the device needs microseconds. */
static bool wait_for_send_room(void)
{
    uint64_t deadline = shoal_clock_nanoseconds() + SEND_PATIENCE_NANOSECONDS;
    virtio_queue_announce(&net.send);
    do {
        collect_sent();
    } while (net.send_free_count == 0 && shoal_clock_nanoseconds() < deadline);
    return net.send_free_count > 0;
}

int virtio_net_send(struct pbuf *frame)
{
    if (net.send_free_count == 0 && !wait_for_send_room()) {
        return -1;
    }
    uint16_t chain = net.send_free[--net.send_free_count];
    pbuf_ref(frame);
    net.sent[chain] = frame;
    net.send_rings.descriptors[2 * chain + 1] = (struct virtio_descriptor){
        .address = physical_address(frame->payload),
        .length = frame->len,
    };
    virtio_queue_publish(&net.send, 2 * chain);
    return 0;
}

void virtio_net_poll(void)
{
    collect_sent();
    refill_receive_queue();
    virtio_queue_announce(&net.send);
    virtio_queue_announce(&net.receive);
}

bool virtio_net_arm_interrupt(void)
{
    virtio_queue_set_interrupt(&net.receive, true);
    return virtio_queue_has_used(&net.receive);
}

void virtio_net_disarm_interrupt(void)
{
    virtio_queue_set_interrupt(&net.receive, false);
}

bool virtio_net_is_flushed(void)
{
    collect_sent();
    return net.send_free_count == SEND_LIMIT;
}
