/* A DHCP client that says what no client should, for tests/integration/host_dhcp.sh.
 *
 *   dhcp_probe INTERFACE [KEY=VALUE...]
 *     type=discover|request|decline|release|inform|offer|none    what is sent; none: only listen
 *     mac=  of the frame; the interface's own   client=  in the message; as mac=
 *     from= to=  addresses of the packet        sport=68 dport=67
 *     ciaddr= giaddr= yiaddr= requested= server=  addresses in the message
 *     broadcast=1  the answer is to be one      fragment=1  as the first part of a packet
 *     count=1  how often                        wait=1000  milliseconds to listen for
 *
 * Prints a line for every DHCP message to a client that it hears, and how many there were. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"

#define FRAME_MAX 1514
#define OPTIONS   236 /* RFC 2131, figure 1: where they begin */

struct probe {
    int count;
    char **arguments;
    int socket;
    int index;
    char own_mac[18];
};

static const char *const types[] = {"none", "discover", "offer",   "request", "decline",
                                    "ack",  "nak",      "release", "inform"};

static const char *value_of(const struct probe *probe, const char *key, const char *otherwise)
{
    size_t length = strlen(key);
    for (int i = 0; i < probe->count; i++) {
        if (strncmp(probe->arguments[i], key, length) == 0 && probe->arguments[i][length] == '=')
            return probe->arguments[i] + length + 1;
    }
    return otherwise;
}

static int number_of(const struct probe *probe, const char *key, int otherwise)
{
    const char *text = value_of(probe, key, NULL);
    return text == NULL ? otherwise : atoi(text);
}

static void put_mac(uint8_t *at, const char *text)
{
    if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &at[0], &at[1], &at[2], &at[3], &at[4],
               &at[5]) != 6) {
        fprintf(stderr, "dhcp_probe: %s is not a MAC\n", text);
        exit(2);
    }
}

static void put_address(uint8_t *at, const char *text)
{
    if (inet_pton(AF_INET, text, at) != 1) {
        fprintf(stderr, "dhcp_probe: %s is not an address\n", text);
        exit(2);
    }
}

static void put_number(uint8_t *at, unsigned number)
{
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
}

static void open_interface(struct probe *probe, const char *name)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    probe->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP));
    probe->index = (int)if_nametoindex(name);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = probe->index};
    if (probe->socket < 0 || probe->index == 0 ||
        ioctl(probe->socket, SIOCGIFHWADDR, &request) < 0 ||
        bind(probe->socket, (struct sockaddr *)&address, sizeof address) < 0) {
        fprintf(stderr, "dhcp_probe: %s: %s\n", name, strerror(errno));
        exit(2);
    }
    const uint8_t *mac = (const uint8_t *)request.ifr_hwaddr.sa_data;
    snprintf(probe->own_mac, sizeof probe->own_mac, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
             mac[2], mac[3], mac[4], mac[5]);
}

static size_t put_option_address(const struct probe *probe, uint8_t *at, const char *key,
                                 uint8_t code)
{
    const char *text = value_of(probe, key, NULL);
    if (text == NULL)
        return 0;
    at[0] = code;
    at[1] = 4;
    put_address(at + 2, text);
    return 6;
}

static size_t put_message(const struct probe *probe, uint8_t *message, uint8_t type)
{
    static const uint8_t cookie[] = {99, 130, 83, 99};
    memset(message, 0, OPTIONS);
    message[0] = type == 2 ? 2 : 1;
    message[1] = 1;
    message[2] = 6;
    memcpy(message + 4, "shol", 4);
    put_number(message + 10, number_of(probe, "broadcast", 0) != 0 ? 0x8000 : 0);
    put_address(message + 12, value_of(probe, "ciaddr", "0.0.0.0"));
    put_address(message + 16, value_of(probe, "yiaddr", "0.0.0.0"));
    put_address(message + 24, value_of(probe, "giaddr", "0.0.0.0"));
    put_mac(message + 28, value_of(probe, "client", value_of(probe, "mac", probe->own_mac)));
    uint8_t *at = message + OPTIONS;
    memcpy(at, cookie, sizeof cookie);
    at += sizeof cookie;
    *at++ = 53;
    *at++ = 1;
    *at++ = type;
    at += put_option_address(probe, at, "requested", 50);
    at += put_option_address(probe, at, "server", 54);
    *at++ = 255;
    size_t length = (size_t)(at - message);
    if (length < 300) { /* BOOTP's least */
        memset(at, 0, 300 - length);
        length = 300;
    }
    return length;
}

static unsigned sum_of(const uint8_t *bytes, size_t length)
{
    unsigned sum = 0;
    for (size_t i = 0; i < length; i += 2)
        sum += (unsigned)bytes[i] << 8 | bytes[i + 1];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static size_t put_frame(const struct probe *probe, uint8_t frame[FRAME_MAX], uint8_t type)
{
    uint8_t *ip = frame + ETH_HLEN, *udp = ip + 20;
    size_t length = put_message(probe, udp + 8, type);
    memset(frame, 0xff, ETH_ALEN);
    put_mac(frame + ETH_ALEN, value_of(probe, "mac", probe->own_mac));
    put_number(frame + 2 * (size_t)ETH_ALEN, ETH_P_IP);
    memset(ip, 0, 28);
    ip[0] = 0x45;
    put_number(ip + 2, (unsigned)length + 28);
    if (number_of(probe, "fragment", 0) != 0)
        put_number(ip + 6, 0x2000);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    put_address(ip + 12, value_of(probe, "from", "0.0.0.0"));
    put_address(ip + 16, value_of(probe, "to", "255.255.255.255"));
    put_number(ip + 10, sum_of(ip, 20));
    put_number(udp, (unsigned)number_of(probe, "sport", 68));
    put_number(udp + 2, (unsigned)number_of(probe, "dport", 67));
    put_number(udp + 4, (unsigned)length + 8);
    return ETH_HLEN + 28 + length;
}

static void send_all(const struct probe *probe)
{
    uint8_t frame[FRAME_MAX];
    const char *name = value_of(probe, "type", "discover");
    uint8_t type = 0;
    while (type < sizeof types / sizeof *types && strcmp(types[type], name) != 0)
        type++;
    if (type == 0)
        return;
    size_t length = put_frame(probe, frame, type);
    for (int i = 0; i < number_of(probe, "count", 1); i++) {
        if (write(probe->socket, frame, length) != (ssize_t)length) {
            fprintf(stderr, "dhcp_probe: send: %s\n", strerror(errno));
            exit(2);
        }
    }
}

/* Prints a DHCP message to a client; false when the frame is something else. */
static bool print_answer(const uint8_t *frame, size_t length)
{
    const uint8_t *ip = frame + ETH_HLEN, *udp = ip + 20, *message = udp + 8;
    size_t least = (size_t)(message - frame) + OPTIONS + 7;
    if (length < least || ip[9] != IPPROTO_UDP || udp[2] != 0 || udp[3] != 68)
        return false;
    char address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, message + 16, address, sizeof address);
    uint8_t type = message[OPTIONS + 6];
    printf("%s %s for %02x:%02x:%02x:%02x:%02x:%02x\n",
           type < sizeof types / sizeof *types ? types[type] : "?", address, message[28],
           message[29], message[30], message[31], message[32], message[33]);
    return true;
}

static int listen_for_answers(const struct probe *probe)
{
    uint64_t deadline =
        clock_monotonic_ms(clock_system()) + (uint64_t)number_of(probe, "wait", 1000);
    int heard = 0;
    for (;;) {
        uint64_t now = clock_monotonic_ms(clock_system());
        struct pollfd readable = {.fd = probe->socket, .events = POLLIN};
        if (now >= deadline || poll(&readable, 1, (int)(deadline - now)) <= 0)
            return heard;
        uint8_t frame[FRAME_MAX];
        struct sockaddr_ll from;
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(probe->socket, frame, sizeof frame, MSG_DONTWAIT,
                                  (struct sockaddr *)&from, &size);
        if (length > 0 && from.sll_pkttype != PACKET_OUTGOING &&
            print_answer(frame, (size_t)length))
            heard++;
    }
}

int main(int count, char **arguments)
{
    if (count < 2) {
        fprintf(stderr, "usage: dhcp_probe INTERFACE [KEY=VALUE...]\n");
        return 2;
    }
    struct probe probe = {.count = count - 2, .arguments = arguments + 2};
    open_interface(&probe, arguments[1]);
    send_all(&probe);
    int heard = listen_for_answers(&probe);
    printf("heard %d\n", heard);
    return 0;
}
