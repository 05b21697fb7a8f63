/*
 * flood: a guest of the tests that does what it can to its node. It is healthy on port 8080, also
 * while it floods, and listens to its console:
 *
 *     send ADDRESS MAC  frames as fast as its device takes them: to all, to its gateway, to that
 *                       guest, and in the name of that guest and of nobody
 *     write             lines as fast as its console takes them
 *
 * Either goes on until the next line is typed, and then says how much it was. The byte that asks it
 * to end is not heard meanwhile.
 */
#include <lwip/etharp.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <shoal/runtime.h>
#include <string.h>

#include "machine.h"
#include "network.h"
#include "virtio_net.h"

#define PORT       8080
#define BATCH      32
#define FRAME_SIZE 1514

enum frame_kind {
    FRAME_TO_ALL,
    FRAME_TO_GATEWAY,
    FRAME_TO_GUEST,
    FRAME_OF_GUEST,         /* all of it in the other guest's name */
    FRAME_OF_ITS_ADDRESS,   /* its IPv4 address from our MAC */
    FRAME_OF_NOBODY,        /* from a MAC that is new each time */
    FRAME_TAKES_ITS_PLACE,  /* an ARP answer: the other guest's address is ours */
    FRAME_TAGGED,           /* VLAN */
    FRAME_OF_ANOTHER_FAMILY /* IPv6 */
};
#define FRAME_KINDS (FRAME_OF_ANOTHER_FAMILY + 1)

static struct {
    uint8_t gateway[6], guest[6]; /* their MACs */
    uint32_t guest_address;       /* in the network's order */
    struct pbuf *frames[FRAME_KINDS];
} flood;

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static uint32_t own_address(void)
{
    return netif_ip4_addr(netif_default)->addr;
}

static uint32_t gateway_address(void)
{
    return netif_ip4_gw(netif_default)->addr;
}

static uint8_t *begin_frame(enum frame_kind kind, const uint8_t *to, const uint8_t *from,
                            uint16_t type)
{
    uint8_t *bytes = flood.frames[kind]->payload;
    memset(bytes, 0, FRAME_SIZE);
    memcpy(bytes, to, 6);
    memcpy(bytes + 6, from, 6);
    bytes[12] = (uint8_t)(type >> 8);
    bytes[13] = (uint8_t)type;
    return bytes + 14;
}

/* A UDP datagram of the frame's whole length. */
static void make_datagram(enum frame_kind kind, const uint8_t *to, const uint8_t *from,
                          uint32_t to_address, uint32_t from_address)
{
    uint8_t *bytes = begin_frame(kind, to, from, 0x0800);
    uint32_t sum = 0;
    bytes[0] = 0x45;
    bytes[2] = (FRAME_SIZE - 14) >> 8;
    bytes[3] = (FRAME_SIZE - 14) & 255;
    bytes[8] = 64; /* hops */
    bytes[9] = 17; /* UDP */
    memcpy(bytes + 12, &from_address, 4);
    memcpy(bytes + 16, &to_address, 4);
    for (unsigned i = 0; i < 20; i += 2) {
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    bytes[10] = (uint8_t)(sum >> 8);
    bytes[11] = (uint8_t)sum;
    bytes[21] = 9; /* from and to the port discard, without a checksum */
    bytes[23] = 9;
    bytes[24] = (FRAME_SIZE - 34) >> 8;
    bytes[25] = (FRAME_SIZE - 34) & 255;
}

static void make_arp_answer(enum frame_kind kind)
{
    static const uint8_t answer[8] = {0, 1, 8, 0, 6, 4, 0, 2};
    uint32_t gateway = gateway_address();
    uint8_t *bytes = begin_frame(kind, flood.gateway, netif_default->hwaddr, 0x0806);
    memcpy(bytes, answer, sizeof(answer));
    memcpy(bytes + 8, netif_default->hwaddr, 6);
    memcpy(bytes + 14, &flood.guest_address, 4);
    memcpy(bytes + 18, flood.gateway, 6);
    memcpy(bytes + 24, &gateway, 4);
}

static void make_frames(void)
{
    const uint8_t *own = netif_default->hwaddr;
    make_datagram(FRAME_TO_ALL, everybody, own, UINT32_MAX, own_address());
    make_datagram(FRAME_TO_GATEWAY, flood.gateway, own, gateway_address(), own_address());
    make_datagram(FRAME_TO_GUEST, flood.guest, own, flood.guest_address, own_address());
    make_datagram(FRAME_OF_GUEST, flood.gateway, flood.guest, gateway_address(),
                  flood.guest_address);
    make_datagram(FRAME_OF_ITS_ADDRESS, flood.gateway, own, gateway_address(), flood.guest_address);
    make_datagram(FRAME_OF_NOBODY, everybody, own, UINT32_MAX, own_address());
    make_arp_answer(FRAME_TAKES_ITS_PLACE);
    begin_frame(FRAME_TAGGED, everybody, own, 0x8100);
    begin_frame(FRAME_OF_ANOTHER_FAMILY, everybody, own, 0x86dd);
}

/* True when a line has been typed since. */
static bool is_told_to_end(void)
{
    int byte;
    while ((byte = machine_console_read()) >= 0) {
        if (byte == '\n' || byte == '\r') {
            return true;
        }
    }
    return false;
}

static void send_frames(void)
{
    unsigned long count = 0;
    make_frames();
    do {
        for (unsigned i = 0; i < BATCH; i++) {
            struct pbuf *frame = flood.frames[count % FRAME_KINDS];
            if (count % FRAME_KINDS == FRAME_OF_NOBODY) {
                memcpy((uint8_t *)frame->payload + 7, &count, 4);
            }
            count += virtio_net_send(frame) == 0;
        }
        network_poll();
    } while (!is_told_to_end());
    shoal_log("flood: sent %lu frames", count);
}

static void write_lines(void)
{
    unsigned long count = 0;
    do {
        for (unsigned i = 0; i < BATCH; i++) {
            shoal_log("flood: line %lu, which says what the ones before it said", ++count);
        }
        network_poll();
    } while (!is_told_to_end());
    shoal_log("flood: wrote %lu lines", count);
}

static int digit_of(char character)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (digits[i] == character) {
            return i;
        }
    }
    return -1;
}

/* Of "aa:bb:cc:dd:ee:ff". */
static bool read_mac(const char *text, uint8_t ret_mac[6])
{
    for (unsigned i = 0; i < 6; i++) {
        int high = digit_of(text[0]), low = high >= 0 ? digit_of(text[1]) : -1;
        if (low < 0 || text[2] != (i < 5 ? ':' : '\0')) {
            return false;
        }
        ret_mac[i] = (uint8_t)(high << 4 | low);
        text += 3;
    }
    return true;
}

/* Of "10.64.0.2 " in the network's order; the rest of the text, NULL where it is none. */
static const char *read_address(const char *text, uint32_t *ret_address)
{
    uint8_t bytes[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        for (; *text >= '0' && *text <= '9'; text++) {
            bytes[i] = (uint8_t)(bytes[i] * 10 + *text - '0');
        }
        if (*text++ != (i < 3 ? '.' : ' ')) {
            return NULL;
        }
    }
    memcpy(ret_address, bytes, 4);
    return text;
}

static bool find_gateway(void)
{
    struct eth_addr *found;
    const ip4_addr_t *address;
    if (etharp_find_addr(netif_default, netif_ip4_gw(netif_default), &found, &address) < 0) {
        return false;
    }
    memcpy(flood.gateway, found, 6);
    return true;
}

static void take_line(const char *line)
{
    const char *mac =
        strncmp(line, "send ", 5) == 0 ? read_address(line + 5, &flood.guest_address) : NULL;
    if (strcmp(line, "write") == 0) {
        write_lines();
    } else if (mac == NULL || !read_mac(mac, flood.guest)) {
        shoal_log("flood: \"%s\" is neither send ADDRESS MAC nor write", line);
    } else if (!find_gateway()) {
        shoal_log("flood: its gateway has not spoken yet");
    } else {
        send_frames();
    }
}

static void answer(const struct shoal_http_request *request, struct shoal_http_response *response)
{
    (void)request;
    shoal_http_answer(response, 200, "ok\n");
}

static int start(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < FRAME_KINDS; i++) {
        flood.frames[i] = pbuf_alloc(PBUF_RAW, FRAME_SIZE, PBUF_RAM);
        if (flood.frames[i] == NULL) {
            return -1;
        }
    }
    shoal_console_listen(take_line);
    shoal_log("flood 1.0 listens");
    return shoal_http_listen(PORT, answer);
}

const struct shoal_application shoal_application = {"flood", "1.0", start};
