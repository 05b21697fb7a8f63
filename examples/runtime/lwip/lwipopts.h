/* lwIP as the runtime uses it: one thread, TCP over IPv4 on one Ethernet, raw callbacks. */
#ifndef RUNTIME_LWIP_LWIPOPTS_H
#define RUNTIME_LWIP_LWIPOPTS_H

#include <stdint.h>

#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET          0
#define LWIP_NETCONN         0
#define LWIP_PROVIDE_ERRNO   1
#define LWIP_TIMERS          1

/* The heap lies in the guest's free memory (network.c), so that what is not used is not touched
 * and costs the host nothing. */
extern uint8_t *network_heap;
#define LWIP_RAM_HEAP_POINTER network_heap
#define MEM_SIZE              (512 * 1024)
#define MEM_ALIGNMENT         8

#define LWIP_IPV4  1
#define LWIP_IPV6  0
#define LWIP_ARP   1
#define LWIP_ICMP  1
#define LWIP_RAW   0
#define LWIP_UDP   0
#define LWIP_DHCP  0
#define LWIP_TCP   1
#define LWIP_STATS 0
/* Fragments would need a timer that wakes the guest all day; guests speak TCP only. */
#define IP_REASSEMBLY 0
#define IP_FRAG       0

/* The receive window is the size of a connection's input buffer (http_server.h), so a peer can
 * never have more in flight than there is room for. */
#define TCP_MSS          1460
#define TCP_WND          (8 * 1024)
#define TCP_SND_BUF      (16 * 1024)
#define TCP_SND_QUEUELEN 64
#define TCP_QUEUE_OOSEQ  0
/* TIME_WAIT is twice this. While it lasts lwIP answers a new connection from the same port with an
 * ACK, which stalls it: a balancer on the same host reuses ports within seconds, and no segment
 * lives longer than some milliseconds between it and the guest. */
#define TCP_MSL             250
#define LWIP_TCP_TIMESTAMPS 0

#define MEMP_NUM_TCP_PCB        256
#define MEMP_NUM_TCP_PCB_LISTEN 8
#define MEMP_NUM_TCP_SEG        1024
#define MEMP_NUM_PBUF           256

/* A whole frame with the device's header in front of it fits one buffer of the pool; there are
 * enough of them for a full receive queue and as many in work (virtio_net.c). */
#define PBUF_POOL_SIZE            192
#define PBUF_POOL_BUFSIZE         1536
#define LWIP_NETIF_TX_SINGLE_PBUF 1

#define LWIP_CHKSUM_ALGORITHM    3
#define ETH_PAD_SIZE             0
#define LWIP_NETIF_HOSTNAME      0
#define LWIP_NETIF_LINK_CALLBACK 0

#endif
