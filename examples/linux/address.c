#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIELDS 7

enum field {
    FIELD_ADDRESS,
    FIELD_SERVER,
    FIELD_GATEWAY,
    FIELD_MASK,
    FIELD_NAME,
    FIELD_DEVICE,
    FIELD_METHOD,
};

static bool count_bits(struct in_addr mask, unsigned *ret_prefix)
{
    uint32_t bits = ntohl(mask.s_addr);
    unsigned prefix = 0;
    while (prefix < 32 && (bits & 1u << (31 - prefix)) != 0) {
        prefix++;
    }
    *ret_prefix = prefix;
    return prefix > 0 && (prefix == 32 || bits << prefix == 0);
}

int address_parse(struct address *address, const char *text, char *message, size_t message_size)
{
    char copy[256];
    const char *fields[FIELDS] = {"", "", "", "", "", "", ""};
    memset(address, 0, sizeof(*address));
    if (strlen(text) >= sizeof(copy)) {
        snprintf(message, message_size, "ip=: longer than %zu bytes", sizeof(copy) - 1);
        return -1;
    }
    char *rest = strcpy(copy, text);
    for (unsigned i = 0; i < FIELDS && rest != NULL; i++) {
        fields[i] = strsep(&rest, ":");
    }
    if (inet_pton(AF_INET, fields[FIELD_ADDRESS], &address->address) != 1 ||
        inet_pton(AF_INET, fields[FIELD_MASK], &address->mask) != 1 ||
        !count_bits(address->mask, &address->prefix) ||
        (*fields[FIELD_GATEWAY] != '\0' &&
         inet_pton(AF_INET, fields[FIELD_GATEWAY], &address->gateway) != 1)) {
        snprintf(message, message_size,
                 "ip=%s: not of the form ADDRESS::GATEWAY:MASK:NAME:DEVICE:off", text);
        return -1;
    }
    const char *device = *fields[FIELD_DEVICE] != '\0' ? fields[FIELD_DEVICE] : "eth0";
    if (strlen(fields[FIELD_NAME]) >= sizeof(address->name) ||
        strlen(device) >= sizeof(address->device)) {
        snprintf(message, message_size, "ip=%s: the name or the device is too long", text);
        return -1;
    }
    strcpy(address->name, fields[FIELD_NAME]);
    strcpy(address->device, device);
    return 0;
}

static void set_address(struct sockaddr *target, struct in_addr address)
{
    const struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr = address};
    memcpy(target, &value, sizeof(value));
}

static int add_default_route(int fd, struct in_addr gateway)
{
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    set_address(&route.rt_gateway, gateway);
    set_address(&route.rt_dst, (struct in_addr){0});
    set_address(&route.rt_genmask, (struct in_addr){0});
    return ioctl(fd, SIOCADDRT, &route);
}

static int bring_up(int fd, const char *device)
{
    struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
    strcpy(request.ifr_name, device);
    return ioctl(fd, SIOCSIFFLAGS, &request);
}

/* The kernel then tells its neighbours of the address, which mends a stale entry. */
static void ask_for_announcement(const char *device)
{
    char path[80];
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/arp_notify", device);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "1", 1);
        close(fd);
    }
}

int address_apply(const struct address *address, char *message, size_t message_size)
{
    const char *step = "socket";
    struct ifreq request = {0};
    strcpy(request.ifr_name, address->device);
    ask_for_announcement(address->device);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0;
    if (done) {
        step = "address (is there a virtio network device?)";
        set_address(&request.ifr_addr, address->address);
        done = ioctl(fd, SIOCSIFADDR, &request) == 0;
    }
    if (done) {
        step = "mask";
        set_address(&request.ifr_netmask, address->mask);
        done = ioctl(fd, SIOCSIFNETMASK, &request) == 0;
    }
    if (done) {
        step = "up";
        done = bring_up(fd, "lo") == 0 && bring_up(fd, address->device) == 0;
    }
    if (done && address->gateway.s_addr != 0) {
        step = "default route";
        done = add_default_route(fd, address->gateway) == 0;
    }
    if (!done) {
        snprintf(message, message_size, "%s: %s: %s", address->device, step, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return done ? 0 : -1;
}
