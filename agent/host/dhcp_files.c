#include "agent/host/dhcp_files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/host_protocol.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define PREFIX_MIN 8
#define PREFIX_MAX 30
/* More than a node has guests: what ended and was not forgotten yet counts too. */
#define LEASES_MAX 8192
/* Long, but not for ever: there are guests to whose timers 2^32 seconds are none at all. */
#define LEASE_TIME "24h"

/* Fixed leases need no file of what has been given, and a server that starts again confirms them
 * (dhcp-authoritative). Guests choose their client identifiers, so only MACs count. 0.0.0.0 stands
 * for the server's own address in the guest's subnet, which is also the router that it names. */
static const char settings[] = "port=0\n"
                               "no-resolv\n"
                               "no-hosts\n"
                               "no-poll\n"
                               "interface=" NETWORK_BRIDGE "\n"
                               "except-interface=lo\n"
                               "bind-interfaces\n"
                               "no-ping\n"
                               "leasefile-ro\n"
                               "dhcp-authoritative\n"
                               "dhcp-rapid-commit\n"
                               "dhcp-ignore-clid\n"
                               "dhcp-option=option:dns-server,0.0.0.0\n";

static bool parse_address(const char *text, struct in_addr *ret_address)
{
    char again[ADDRESS_MAX];
    return inet_pton(AF_INET, text, ret_address) == 1 &&
           inet_ntop(AF_INET, ret_address, again, sizeof again) != NULL && strcmp(again, text) == 0;
}

static uint32_t mask_of(uint32_t prefix)
{
    return UINT32_MAX << (32 - prefix);
}

int dhcp_config_render(const struct network_subnet *subnets, size_t count, struct buffer *buffer,
                       struct error *error)
{
    AUTO_BUFFER struct buffer ranges = {0};
    for (size_t i = 0; i < count; i++) {
        struct in_addr address, mask;
        char base[ADDRESS_MAX], netmask[ADDRESS_MAX];
        uint32_t prefix = subnets[i].prefix;
        if (!parse_address(subnets[i].gateway, &address) || prefix < PREFIX_MIN ||
            prefix > PREFIX_MAX)
            return error_set(error, ERROR_INVALID, "%s/%" PRIu32 " is not a subnet for guests",
                             subnets[i].gateway, prefix);
        mask.s_addr = htonl(mask_of(prefix));
        address.s_addr &= mask.s_addr;
        inet_ntop(AF_INET, &address, base, sizeof base);
        inet_ntop(AF_INET, &mask, netmask, sizeof netmask);
        buffer_printf(&ranges, "dhcp-range=%s,static,%s," LEASE_TIME "\n", base, netmask);
    }
    buffer_append_text(buffer, settings);
    buffer_printf(buffer, "dhcp-option=option:mtu,%d\ndhcp-lease-max=%d\n", HOST_GUEST_MTU,
                  LEASES_MAX);
    buffer_append_text(buffer, buffer_text(&ranges));
    return 0;
}

const char *dhcp_find_gateway(const struct network_subnet *subnets, size_t count,
                              const char *address)
{
    struct in_addr wanted, gateway;
    if (!parse_address(address, &wanted))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        uint32_t mask = mask_of(subnets[i].prefix);
        if (parse_address(subnets[i].gateway, &gateway) &&
            ((ntohl(wanted.s_addr) ^ ntohl(gateway.s_addr)) & mask) == 0)
            return subnets[i].gateway;
    }
    return NULL;
}

static bool is_tap(const char *name)
{
    char id[INSTANCE_ID_MAX], again[NETWORK_TAP_MAX];
    unsigned char bytes[(INSTANCE_ID_MAX - 1) / 2];
    if (strncmp(name, "sh", 2) != 0 || !text_copy(id, sizeof id, name + 2) ||
        !text_parse_hex(id, bytes, sizeof bytes))
        return false;
    network_tap_name(id, again);
    return strcmp(again, name) == 0;
}

/* "52:00:00:00:00:a1" */
static bool is_mac(const char *text)
{
    static const char form[] = "xx:xx:xx:xx:xx:xx";
    if (strlen(text) != sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++) {
        if (form[i] == ':' ? text[i] != ':' : strchr("0123456789abcdef", text[i]) == NULL)
            return false;
    }
    return true;
}

int dhcp_lease_check(const struct network_pin *lease, struct error *error)
{
    struct in_addr address;
    if (memchr(lease->tap, '\0', sizeof lease->tap) == NULL || !is_tap(lease->tap))
        return error_set(error, ERROR_INVALID, "lease: its name is not a tap's");
    if (memchr(lease->mac, '\0', sizeof lease->mac) == NULL || !is_mac(lease->mac))
        return error_set(error, ERROR_INVALID, "lease of %s: its MAC is not one", lease->tap);
    if (memchr(lease->address, '\0', sizeof lease->address) == NULL ||
        !parse_address(lease->address, &address))
        return error_set(error, ERROR_INVALID, "lease of %s: its address is not an IPv4 one",
                         lease->tap);
    return 0;
}

bool dhcp_lease_equals(const struct network_pin *one, const struct network_pin *other)
{
    return strcmp(one->tap, other->tap) == 0 && strcmp(one->mac, other->mac) == 0 &&
           strcmp(one->address, other->address) == 0;
}

void dhcp_lease_render(const struct network_pin *lease, struct buffer *buffer)
{
    buffer_printf(buffer, "%s,%s,%s\n", lease->mac, lease->address, lease->tap);
}

/* The word before the next separator; moves behind it. */
static bool take_word(const char **at, char separator, char *ret_word, size_t size)
{
    const char *end = strchr(*at, separator);
    if (end == NULL || (size_t)(end - *at) >= size)
        return false;
    memcpy(ret_word, *at, (size_t)(end - *at));
    ret_word[end - *at] = '\0';
    *at = end + 1;
    return true;
}

int dhcp_lease_parse(const char *text, struct network_pin *ret_lease)
{
    struct network_pin lease = {.tap = ""};
    if (!take_word(&text, ',', lease.mac, sizeof lease.mac) ||
        !take_word(&text, ',', lease.address, sizeof lease.address) ||
        !take_word(&text, '\n', lease.tap, sizeof lease.tap) || *text != '\0' ||
        dhcp_lease_check(&lease, NULL) < 0)
        return -1;
    *ret_lease = lease;
    return 0;
}

static int write_line(const char *path, const struct network_pin *lease, struct error *error)
{
    AUTO_BUFFER struct buffer line = {0};
    dhcp_lease_render(lease, &line);
    AUTO_CLOSE int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0)
        return error_set_errno(error, errno, "open");
    return file_write_all(file, line.data, line.length, error);
}

/* Under a name with a dot in front, which dnsmasq passes over, and renamed once it is closed: it
 * reads what is closed and what is renamed. It need not outlive the machine, so nothing is synced.
 */
int dhcp_lease_write(const char *folder, const struct network_pin *lease, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, lease->tap);
    AUTO_FREE char *hidden = xasprintf("%s/.%s", folder, lease->tap);
    int result = write_line(hidden, lease, error);
    if (result == 0 && rename(hidden, path) < 0)
        result = error_set_errno(error, errno, "rename");
    if (result == 0)
        return 0;
    unlink(hidden);
    return error_wrap(error, "write the lease %s", path);
}

int dhcp_lease_read(const char *folder, const char *name, struct network_pin *ret_lease)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    AUTO_FREE char *text = NULL;
    struct network_pin lease;
    if (file_read(path, 256, &text, NULL, NULL) < 0 || dhcp_lease_parse(text, &lease) < 0 ||
        strcmp(lease.tap, name) != 0)
        return -1;
    *ret_lease = lease;
    return 0;
}

void dhcp_lease_remove(const char *folder, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    unlink(path);
}
