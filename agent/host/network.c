#include "agent/host/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/route.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/host/namespace.h"
#include "agent/host/network_filter.h"
#include "agent/host/network_owner.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct network {
    int namespace;
    struct network_filter *filter;
};

void network_tap_name(const char *id, char ret_name[NETWORK_TAP_MAX])
{
    snprintf(ret_name, NETWORK_TAP_MAX, "sh%.12s", id);
}

int network_create(const char *node, const char *state_directory, struct network **ret_network,
                   struct error *error)
{
    AUTO_FREE char *name = xasprintf("shoal-%s", node);
    AUTO_CLOSE int descriptor = -1;
    if (namespace_open(name, &descriptor, error) < 0 ||
        network_owner_claim(descriptor, node, state_directory, error) < 0)
        return -1;
    struct network_filter *filter;
    if (network_filter_create(descriptor, &filter, error) < 0)
        return -1;
    struct network *network = xcalloc(1, sizeof *network);
    network->namespace = TAKE_DESCRIPTOR(descriptor);
    network->filter = filter;
    *ret_network = network;
    return 0;
}

void network_destroy(struct network *network)
{
    if (network == NULL)
        return;
    network_filter_destroy(network->filter);
    close(network->namespace);
    free(network);
}

int network_namespace(const struct network *network)
{
    return network->namespace;
}

static void close_netlink(struct nl_sock **socket)
{
    nl_socket_free(*socket);
}
#define AUTO_NETLINK __attribute__((cleanup(close_netlink)))

static void put_link(struct rtnl_link **link)
{
    rtnl_link_put(*link);
}
#define AUTO_LINK __attribute__((cleanup(put_link)))

static int refuse(struct error *error, int result, const char *what, const char *name)
{
    return error_set(error, ERROR_IO, "%s %s: %s", what, name, nl_geterror(result));
}

/* A socket on the calling thread's namespace. */
static int open_netlink(struct nl_sock **ret_socket, struct error *error)
{
    struct nl_sock *socket = nl_socket_alloc();
    if (socket == NULL)
        return error_set(error, ERROR_IO, "netlink: out of memory");
    int result = nl_connect(socket, NETLINK_ROUTE);
    if (result < 0) {
        nl_socket_free(socket);
        return refuse(error, result, "open", "netlink");
    }
    *ret_socket = socket;
    return 0;
}

static int set_up(struct nl_sock *socket, const char *name, struct error *error)
{
    AUTO_LINK struct rtnl_link *link = NULL;
    int result = rtnl_link_get_kernel(socket, 0, name, &link);
    if (result < 0)
        return refuse(error, result, "find link", name);
    AUTO_LINK struct rtnl_link *change = rtnl_link_alloc();
    rtnl_link_set_flags(change, IFF_UP);
    result = rtnl_link_change(socket, link, change, 0);
    if (result < 0)
        return refuse(error, result, "set up link", name);
    return 0;
}

/* The bridge's MAC is fixed: one inherited from its ports would change under the guests as taps
 * come and go, and their ARP caches would point nowhere. */
static int make_bridge(struct nl_sock *socket, struct error *error)
{
    if (if_nametoindex(NETWORK_BRIDGE) != 0)
        return 0;
    AUTO_LINK struct rtnl_link *bridge = rtnl_link_bridge_alloc();
    unsigned char mac[6] = {0x52, 0xff, 0xff, 0xff, 0xff, 0xfe};
    struct nl_addr *address = nl_addr_build(AF_LLC, mac, sizeof mac);
    rtnl_link_set_name(bridge, NETWORK_BRIDGE);
    rtnl_link_set_addr(bridge, address);
    nl_addr_put(address);
    int result = rtnl_link_add(socket, bridge, NLM_F_CREATE | NLM_F_EXCL);
    if (result < 0 && result != -NLE_EXIST)
        return refuse(error, result, "create bridge", NETWORK_BRIDGE);
    return 0;
}

/* The subnet's first address with its prefix. One from an earlier subnet stays beside it: guests
 * that were booted then are still reached. */
static int give_address(struct nl_sock *socket, const char *subnet, struct error *error)
{
    char base[ADDRESS_MAX] = "", text[32];
    size_t length = strcspn(subnet, "/");
    memcpy(base, subnet, length < sizeof base ? length : sizeof base - 1);
    struct in_addr first;
    if (inet_pton(AF_INET, base, &first) != 1)
        return error_set(error, ERROR_INVALID, "subnet %s is not an IPv4 one", subnet);
    first.s_addr = htonl(ntohl(first.s_addr) + 1);
    inet_ntop(AF_INET, &first, base, sizeof base);
    snprintf(text, sizeof text, "%s%s", base, subnet + length);
    struct nl_addr *local;
    int result = nl_addr_parse(text, AF_INET, &local);
    if (result < 0)
        return refuse(error, result, "parse address", text);
    struct rtnl_addr *address = rtnl_addr_alloc();
    rtnl_addr_set_ifindex(address, (int)if_nametoindex(NETWORK_BRIDGE));
    rtnl_addr_set_local(address, local);
    result = rtnl_addr_add(socket, address, 0);
    rtnl_addr_put(address);
    nl_addr_put(local);
    if (result < 0 && result != -NLE_EXIST)
        return refuse(error, result, "give the bridge the address", text);
    return 0;
}

/* A new namespace takes its IPv4 settings from the host's, which may forward. */
static int forbid_forwarding(struct error *error)
{
    static const struct {
        const char *path, *value;
        bool optional;
    } settings[] = {
        {"/proc/sys/net/ipv4/ip_forward", "0", false},
        {"/proc/sys/net/ipv6/conf/all/disable_ipv6", "1", true},
        {"/proc/sys/net/ipv6/conf/default/disable_ipv6", "1", true},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        AUTO_CLOSE int file = open(settings[i].path, O_WRONLY | O_CLOEXEC);
        if (file < 0 && errno == ENOENT && settings[i].optional)
            continue;
        if (file < 0 || write(file, settings[i].value, 1) != 1)
            return error_set_errno(error, errno, "write %s", settings[i].path);
    }
    return 0;
}

static int configure_here(struct network_filter *filter, const char *subnet, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    if (open_netlink(&socket, error) < 0 || forbid_forwarding(error) < 0 ||
        network_filter_install(filter, error) < 0 || make_bridge(socket, error) < 0 ||
        give_address(socket, subnet, error) < 0 || set_up(socket, "lo", error) < 0)
        return -1;
    return set_up(socket, NETWORK_BRIDGE, error);
}

int network_configure(struct network *network, const char *subnet, struct error *error)
{
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = configure_here(network->filter, subnet, error);
    namespace_leave(previous);
    return result < 0 ? error_wrap(error, "guests' network %s", subnet) : 0;
}

struct subnet_list {
    struct network_subnet *subnets;
    size_t count;
    int bridge;
};

static void note_subnet(struct nl_object *object, void *context)
{
    struct subnet_list *list = context;
    struct rtnl_addr *address = (struct rtnl_addr *)object;
    struct nl_addr *local = rtnl_addr_get_local(address);
    struct network_subnet subnet;
    if (rtnl_addr_get_ifindex(address) != list->bridge || nl_addr_get_family(local) != AF_INET)
        return;
    inet_ntop(AF_INET, nl_addr_get_binary_addr(local), subnet.gateway, sizeof subnet.gateway);
    subnet.prefix = nl_addr_get_prefixlen(local);
    list->subnets = xreallocarray(list->subnets, list->count + 1, sizeof *list->subnets);
    list->subnets[list->count++] = subnet;
}

static int list_subnets_here(struct subnet_list *list, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    struct nl_cache *addresses;
    list->bridge = (int)if_nametoindex(NETWORK_BRIDGE);
    if (list->bridge == 0)
        return 0;
    if (open_netlink(&socket, error) < 0)
        return -1;
    int result = rtnl_addr_alloc_cache(socket, &addresses);
    if (result < 0)
        return refuse(error, result, "list", "addresses");
    nl_cache_foreach(addresses, note_subnet, list);
    nl_cache_free(addresses);
    return 0;
}

int network_list_subnets(struct network *network, struct network_subnet **ret_subnets,
                         size_t *ret_count, struct error *error)
{
    struct subnet_list list = {0};
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = list_subnets_here(&list, error);
    namespace_leave(previous);
    if (result < 0)
        return -1;
    *ret_subnets = list.subnets;
    *ret_count = list.count;
    return 0;
}

/* In the calling thread's namespace; it stays when the descriptor is closed. */
static int make_tap(const char *tap, int *ret_device, struct error *error)
{
    AUTO_CLOSE int device = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (device < 0)
        return error_set_errno(error, errno, "open /dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", tap);
    if (ioctl(device, TUNSETIFF, &request) < 0 || ioctl(device, TUNSETPERSIST, 1) < 0)
        return error_set_errno(error, errno, "make tap %s", tap);
    *ret_device = TAKE_DESCRIPTOR(device);
    return 0;
}

int network_tap_make(const char *tap, struct error *error)
{
    AUTO_CLOSE int device = -1;
    return make_tap(tap, &device, error);
}

static int move_to(struct nl_sock *socket, const char *tap, int namespace, struct error *error)
{
    AUTO_LINK struct rtnl_link *link = NULL;
    int result = rtnl_link_get_kernel(socket, 0, tap, &link);
    if (result < 0)
        return refuse(error, result, "find tap", tap);
    AUTO_LINK struct rtnl_link *change = rtnl_link_alloc();
    rtnl_link_set_ns_fd(change, namespace);
    result = rtnl_link_change(socket, link, change, 0);
    if (result < 0)
        return refuse(error, result, "move tap", tap);
    return 0;
}

static int put_isolated(struct nl_msg *message)
{
    struct nlattr *nested = nla_nest_start(message, IFLA_PROTINFO | NLA_F_NESTED);
    if (nested == NULL || nla_put_u8(message, IFLA_BRPORT_ISOLATED, 1) < 0)
        return -NLE_NOMEM;
    return nla_nest_end(message, nested);
}

/* libnl has no name for isolated ports, so the message is put together here. */
static int isolate(struct nl_sock *socket, const char *tap, int index, struct error *error)
{
    struct ifinfomsg header = {.ifi_family = AF_BRIDGE, .ifi_index = index};
    struct nl_msg *message = nlmsg_alloc_simple(RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK);
    if (message == NULL)
        return error_set(error, ERROR_IO, "netlink: out of memory");
    int result = nlmsg_append(message, &header, sizeof header, NLMSG_ALIGNTO);
    if (result >= 0)
        result = put_isolated(message);
    if (result >= 0)
        result = nl_send_auto(socket, message);
    nlmsg_free(message);
    if (result >= 0)
        result = nl_wait_for_ack(socket);
    if (result < 0)
        return refuse(error, result, "isolate tap", tap);
    return 0;
}

static int make_port(struct nl_sock *socket, const char *tap, struct error *error)
{
    AUTO_LINK struct rtnl_link *link = NULL;
    int result = rtnl_link_get_kernel(socket, 0, tap, &link);
    if (result < 0)
        return refuse(error, result, "find tap", tap);
    int bridge = (int)if_nametoindex(NETWORK_BRIDGE);
    if (bridge == 0)
        return error_set(error, ERROR_UNAVAILABLE, "the guests' network has not been set up yet");
    AUTO_LINK struct rtnl_link *change = rtnl_link_alloc();
    rtnl_link_set_master(change, bridge);
    result = rtnl_link_change(socket, link, change, 0);
    if (result < 0)
        return refuse(error, result, "put on the bridge the tap", tap);
    if (isolate(socket, tap, rtnl_link_get_ifindex(link), error) < 0)
        return -1;
    return set_up(socket, tap, error);
}

/* An unreachable route for one address: connecting to a guest that has gone fails at once, so the
 * data plane goes on to another instead of waiting for ARP. */
static int mark_unreachable(struct nl_sock *socket, const char *address, bool unreachable,
                            struct error *error)
{
    struct nl_addr *destination;
    int result = nl_addr_parse(address, AF_INET, &destination);
    if (result < 0)
        return refuse(error, result, "parse address", address);
    struct rtnl_route *route = rtnl_route_alloc();
    rtnl_route_set_family(route, AF_INET);
    rtnl_route_set_table(route, RT_TABLE_MAIN);
    rtnl_route_set_scope(route, RT_SCOPE_UNIVERSE);
    rtnl_route_set_protocol(route, RTPROT_STATIC);
    rtnl_route_set_type(route, RTN_UNREACHABLE);
    rtnl_route_set_dst(route, destination);
    result = unreachable ? rtnl_route_add(socket, route, NLM_F_CREATE | NLM_F_REPLACE)
                         : rtnl_route_delete(socket, route, 0);
    rtnl_route_put(route);
    nl_addr_put(destination);
    if (result < 0 && unreachable)
        return refuse(error, result, "make unreachable", address);
    return 0;
}

static int attach_here(struct network_filter *filter, const char *tap, const char *mac,
                       const char *address, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    if (open_netlink(&socket, error) < 0 ||
        network_filter_pin(filter, tap, mac, address, error) < 0 ||
        mark_unreachable(socket, address, false, error) < 0)
        return -1;
    return make_port(socket, tap, error);
}

int network_tap_attach(struct network *network, const char *tap, const char *mac,
                       const char *address, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    if (open_netlink(&socket, error) < 0 || move_to(socket, tap, network->namespace, error) < 0)
        return -1;
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = attach_here(network->filter, tap, mac, address, error);
    namespace_leave(previous);
    return result;
}

static int delete_here(const char *tap, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    if (open_netlink(&socket, error) < 0)
        return -1;
    AUTO_LINK struct rtnl_link *link = rtnl_link_alloc();
    rtnl_link_set_name(link, tap);
    int result = rtnl_link_delete(socket, link);
    if (result < 0 && result != -NLE_NODEV && result != -NLE_OBJ_NOTFOUND)
        return refuse(error, result, "remove tap", tap);
    return 0;
}

static int open_here(struct network_filter *filter, const char *tap, const char *mac,
                     const char *address, int *ret_tap, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    AUTO_CLOSE int device = -1;
    if (open_netlink(&socket, error) < 0 || make_tap(tap, &device, error) < 0)
        return -1;
    if (network_filter_pin(filter, tap, mac, address, error) < 0 ||
        make_port(socket, tap, error) < 0) {
        network_filter_unpin(filter, tap, mac, address);
        delete_here(tap, NULL);
        return -1;
    }
    *ret_tap = TAKE_DESCRIPTOR(device);
    return 0;
}

int network_tap_open(struct network *network, const char *tap, const char *mac, const char *address,
                     int *ret_tap, struct error *error)
{
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = open_here(network->filter, tap, mac, address, ret_tap, error);
    namespace_leave(previous);
    return result;
}

static int remove_here(struct network_filter *filter, const char *tap, const char *mac,
                       const char *address, struct error *error)
{
    if (delete_here(tap, error) < 0)
        return -1;
    if (address[0] == '\0' || if_nametoindex(NETWORK_BRIDGE) == 0)
        return 0;
    network_filter_unpin(filter, tap, mac, address);
    AUTO_NETLINK struct nl_sock *socket = NULL;
    if (open_netlink(&socket, error) < 0)
        return -1;
    return mark_unreachable(socket, address, true, error);
}

int network_tap_remove(struct network *network, const char *tap, const char *mac,
                       const char *address, struct error *error)
{
    if (delete_here(tap, error) < 0)
        return -1;
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = remove_here(network->filter, tap, mac, address, error);
    namespace_leave(previous);
    return result;
}

static int release_here(const char *address, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    if (open_netlink(&socket, error) < 0)
        return -1;
    return mark_unreachable(socket, address, false, error);
}

int network_address_release(struct network *network, const char *address, struct error *error)
{
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = release_here(address, error);
    namespace_leave(previous);
    return result;
}

static void delete_unreachable(struct nl_object *object, void *context)
{
    struct nl_sock *socket = context;
    struct rtnl_route *route = (struct rtnl_route *)object;
    if (rtnl_route_get_type(route) == RTN_UNREACHABLE &&
        rtnl_route_get_table(route) == RT_TABLE_MAIN)
        rtnl_route_delete(socket, route, 0);
}

static int adopt_here(struct network_filter *filter, const struct network_pin *pins, size_t count,
                      struct error *error)
{
    AUTO_NETLINK struct nl_sock *listing = NULL;
    AUTO_NETLINK struct nl_sock *changing = NULL;
    if (network_filter_reset(filter, pins, count, error) < 0 || open_netlink(&listing, error) < 0 ||
        open_netlink(&changing, error) < 0)
        return -1;
    struct nl_cache *routes;
    int result = rtnl_route_alloc_cache(listing, AF_INET, 0, &routes);
    if (result < 0)
        return refuse(error, result, "list", "routes");
    nl_cache_foreach(routes, delete_unreachable, changing);
    nl_cache_free(routes);
    return 0;
}

int network_adopt(struct network *network, const struct network_pin *pins, size_t count,
                  struct error *error)
{
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = adopt_here(network->filter, pins, count, error);
    namespace_leave(previous);
    return result < 0 ? error_wrap(error, "guests' network") : 0;
}

struct tap_list {
    char (*ids)[INSTANCE_ID_MAX];
    size_t count;
};

static void note_tap(struct nl_object *object, void *context)
{
    struct tap_list *list = context;
    const char *name = rtnl_link_get_name((struct rtnl_link *)object);
    if (name == NULL || strncmp(name, "sh", 2) != 0 || strlen(name) != 2 + INSTANCE_ID_MAX - 1 ||
        strspn(name + 2, "0123456789abcdef") != INSTANCE_ID_MAX - 1)
        return;
    list->ids = xreallocarray(list->ids, list->count + 1, sizeof *list->ids);
    memcpy(list->ids[list->count++], name + 2, INSTANCE_ID_MAX);
}

static int list_here(struct tap_list *list, struct error *error)
{
    AUTO_NETLINK struct nl_sock *socket = NULL;
    if (open_netlink(&socket, error) < 0)
        return -1;
    struct nl_cache *links;
    int result = rtnl_link_alloc_cache(socket, AF_UNSPEC, &links);
    if (result < 0)
        return refuse(error, result, "list", "taps");
    nl_cache_foreach(links, note_tap, list);
    nl_cache_free(links);
    return 0;
}

int network_list_taps(struct network *network, char (**ret_ids)[INSTANCE_ID_MAX], size_t *ret_count,
                      struct error *error)
{
    struct tap_list list = {0};
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int result = list_here(&list, error);
    namespace_leave(previous);
    if (result < 0) {
        free(list.ids);
        return -1;
    }
    *ret_ids = list.ids;
    *ret_count = list.count;
    return 0;
}

int network_socket(struct network *network, int *ret_socket, struct error *error)
{
    int previous;
    if (namespace_enter(network->namespace, &previous, error) < 0)
        return -1;
    int opened = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int number = errno;
    namespace_leave(previous);
    if (opened < 0)
        return error_set_errno(error, number, "open a socket in the guests' namespace");
    *ret_socket = opened;
    return 0;
}
