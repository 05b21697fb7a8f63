#include "agent/host/first_packet.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host/namespace.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* Many guests that boot at once must not overflow it. */
#define RECEIVE_BYTES (1 << 20)
/* Of one turn of the loop. */
#define MESSAGES_A_TURN 64

struct first_packet {
    uv_poll_t poll; /* first: the close callback frees by it */
    int socket;
    void (*heard)(void *context, const char *mac);
    void *context;
};

/* --- decoding --- */

/* The address in a message's attributes; false when there is none of six bytes. */
static bool find_address(const unsigned char *bytes, size_t length, char ret_mac[18])
{
    while (length >= sizeof(struct rtattr)) {
        struct rtattr attribute;
        memcpy(&attribute, bytes, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > length)
            return false;
        const unsigned char *mac = bytes + RTA_LENGTH(0);
        if (attribute.rta_type == NDA_LLADDR && attribute.rta_len == RTA_LENGTH(6)) {
            snprintf(ret_mac, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
            return true;
        }
        size_t step = RTA_ALIGN(attribute.rta_len);
        bytes += step < length ? step : length;
        length -= step < length ? step : length;
    }
    return false;
}

/* Addresses of the ports themselves are permanent: those nobody has heard of. */
static bool is_learned(const struct nlmsghdr *header, const struct ndmsg *neighbour)
{
    return header->nlmsg_type == RTM_NEWNEIGH && neighbour->ndm_family == AF_BRIDGE &&
           (neighbour->ndm_state & NUD_PERMANENT) == 0;
}

bool first_packet_next(const void *bytes, size_t length, size_t *at, char ret_mac[18])
{
    const unsigned char *message = bytes;
    while (*at < length && length - *at >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr header;
        struct ndmsg neighbour;
        const unsigned char *begin = message + *at;
        memcpy(&header, begin, sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > length - *at)
            return false;
        *at += NLMSG_ALIGN(header.nlmsg_len);
        if (header.nlmsg_len < NLMSG_LENGTH(sizeof neighbour))
            continue;
        memcpy(&neighbour, begin + NLMSG_HDRLEN, sizeof neighbour);
        size_t head = NLMSG_SPACE(sizeof neighbour);
        if (is_learned(&header, &neighbour) && header.nlmsg_len > head &&
            find_address(begin + head, header.nlmsg_len - head, ret_mac))
            return true;
    }
    return false;
}

/* --- listening --- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct first_packet *watch = (struct first_packet *)poll;
    (void)events;
    for (int i = 0; status == 0 && i < MESSAGES_A_TURN; i++) {
        char bytes[8192], mac[18];
        size_t at = 0;
        ssize_t length = recv(watch->socket, bytes, sizeof bytes, MSG_DONTWAIT);
        if (length < 0 && (errno == ENOBUFS || errno == EINTR))
            continue; /* what was lost stays unknown */
        if (length <= 0)
            return;
        while (first_packet_next(bytes, (size_t)length, &at, mac))
            watch->heard(watch->context, mac);
    }
}

/* The kernel tells of every host's neighbours by the same group: only the bridges' wake us. */
static int choose_bridges(int descriptor)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN + offsetof(struct ndmsg, ndm_family)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_BRIDGE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = ARRAY_LENGTH(code), .filter = code};
    return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* On the calling thread's namespace. */
static int open_here(int *ret_socket, struct error *error)
{
    int bytes = RECEIVE_BYTES;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1 << (RTNLGRP_NEIGH - 1)};
    AUTO_CLOSE int descriptor =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (descriptor < 0 || choose_bridges(descriptor) < 0 ||
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0 ||
        bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(error, errno, "listen to what the bridge learns");
    *ret_socket = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

int first_packet_create(uv_loop_t *loop, struct network *network,
                        void (*heard)(void *context, const char *mac), void *context,
                        struct first_packet **ret_watch, struct error *error)
{
    int previous, descriptor = -1;
    if (namespace_enter(network_namespace(network), &previous, error) < 0)
        return -1;
    int result = open_here(&descriptor, error);
    namespace_leave(previous);
    if (result < 0)
        return -1;
    struct first_packet *watch = xcalloc(1, sizeof *watch);
    watch->socket = descriptor;
    watch->heard = heard;
    watch->context = context;
    uv_poll_init(loop, &watch->poll, descriptor);
    uv_poll_start(&watch->poll, UV_READABLE, on_readable);
    *ret_watch = watch;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct first_packet *watch = (struct first_packet *)handle;
    close(watch->socket);
    free(watch);
}

void first_packet_destroy(struct first_packet *watch)
{
    if (watch != NULL)
        uv_close((uv_handle_t *)&watch->poll, on_closed);
}
