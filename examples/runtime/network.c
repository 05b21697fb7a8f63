#include "network.h"

#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/sys.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>
#include <shoal/runtime.h>

#include "machine.h"
#include "virtio_net.h"

#define ETHERNET_MTU      1500
#define FLUSH_NANOSECONDS 20000000
/* Frames taken in before others get their turn. */
#define RECEIVE_BATCH 64

uint8_t *network_heap;

static struct netif interface;
static const struct arguments *network_arguments;

u32_t sys_now(void)
{
    return (u32_t)(machine_clock_nanoseconds() / 1000000);
}

static err_t send_frame(struct netif *netif, struct pbuf *frame)
{
    (void)netif;
    /* LWIP_NETIF_TX_SINGLE_PBUF promises one buffer; what is chained all the same is copied. */
    struct pbuf *single = frame->next == NULL ? frame : pbuf_clone(PBUF_RAW, PBUF_RAM, frame);
    if (single == NULL) {
        return ERR_MEM;
    }
    int result = virtio_net_send(single);
    if (single != frame) {
        pbuf_free(single);
    }
    return result == 0 ? ERR_OK : ERR_MEM;
}

/* The interrupt line the command line names for the device at an address. */
static int line_of_device(uintptr_t address)
{
    for (unsigned i = 0; i < network_arguments->device_count; i++) {
        if (network_arguments->devices[i].address == address) {
            return network_arguments->devices[i].line;
        }
    }
    return -1;
}

static err_t start_interface(struct netif *netif)
{
    struct virtio_net_information information;
    int result = virtio_net_start(line_of_device, &information);
    if (result == -1) {
        shoal_panic("no virtio network device in any slot; attach one (virtio-net-device)");
    }
    if (result != 0) {
        shoal_panic("the virtio network device refused the driver's terms");
    }
    memcpy(netif->hwaddr, information.hardware_address, sizeof(information.hardware_address));
    netif->hwaddr_len = sizeof(information.hardware_address);
    netif->mtu = ETHERNET_MTU;
    if (information.mtu >= 576 && information.mtu < netif->mtu) {
        netif->mtu = (u16_t)information.mtu;
    }
    if (network_arguments->mtu != 0 && network_arguments->mtu < netif->mtu) {
        netif->mtu = (u16_t)network_arguments->mtu;
    }
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->flags =
        NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    netif->output = etharp_output;
    netif->linkoutput = send_frame;
    return ERR_OK;
}

void network_start(const struct arguments *arguments, void *heap)
{
    if (arguments->prefix == 0) {
        shoal_panic("command line: --ip=ADDRESS/PREFIX is missing");
    }
    network_arguments = arguments;
    network_heap = heap;
    lwip_init();
    ip4_addr_t address = {lwip_htonl(arguments->address)};
    ip4_addr_t mask = {lwip_htonl(UINT32_MAX << (32 - arguments->prefix))};
    ip4_addr_t gateway = {lwip_htonl(arguments->gateway)};
    if (netif_add(&interface, &address, &mask, &gateway, NULL, start_interface, netif_input) ==
        NULL) {
        shoal_panic("the network interface cannot be added");
    }
    netif_set_default(&interface);
    netif_set_up(&interface); /* announces the address, which mends a neighbour's stale entry */
    network_poll();
}

void network_poll(void)
{
    virtio_net_disarm_interrupt();
    for (unsigned i = 0; i < RECEIVE_BATCH; i++) {
        struct pbuf *frame = virtio_net_receive();
        if (frame == NULL) {
            break;
        }
        if (interface.input(frame, &interface) != ERR_OK) {
            pbuf_free(frame);
        }
    }
    virtio_net_poll();
    sys_check_timeouts();
    virtio_net_poll();
}

uint64_t network_prepare_sleep(void)
{
    if (virtio_net_arm_interrupt()) {
        return 0;
    }
    return (uint64_t)sys_timeouts_sleeptime() * 1000000;
}

void network_flush(void)
{
    uint64_t deadline = machine_clock_nanoseconds() + FLUSH_NANOSECONDS;
    virtio_net_poll();
    while (!virtio_net_is_flushed() && machine_clock_nanoseconds() < deadline) {
    }
}

bool network_is_quiet(void)
{
    for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
        if (pcb->unsent != NULL || pcb->unacked != NULL) {
            return false;
        }
    }
    return true;
}
