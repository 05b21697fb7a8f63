/* The guests' network: a namespace with one bridge, and a tap for each microVM.
 *
 * Every tap is an isolated bridge port and may carry nothing but its own MAC and address, so guests
 * reach the gateway and nothing else: not each other, not the host, not the outside (nothing
 * forwards and no link leads out). All functions block briefly on netlink; any thread but one at a
 * time for one tap. Idempotent: what exists already is taken over. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/host/network_filter.h"
#include "lib/api/protocol.h"
#include "lib/error.h"

struct network;

#define NETWORK_BRIDGE "shoal0"

/* "sh" and the instance's id: fits IFNAMSIZ. */
/* The bridge that every tap of the namespace is a port of. */
#define NETWORK_BRIDGE  "shoal0"
#define NETWORK_TAP_MAX 16
void network_tap_name(const char *id, char ret_name[NETWORK_TAP_MAX]);

/* Opens the namespace shoal-<node>, made where it does not exist; ERROR_CONFLICT when it belongs to
 * an agent with another state folder (network_owner.h). */
int network_create(const char *node, const char *state_directory, struct network **ret_network,
                   struct error *error);
void network_destroy(struct network *network);

/* Bridge with the subnet's first address, loopback, filter. `subnet` is checked: "10.64.0.0/24". */
int network_configure(struct network *network, const char *subnet, struct error *error);

/* One subnet of the guests: the bridge's address in it, and the prefix's length. */
struct network_subnet {
    char gateway[ADDRESS_MAX];
    uint32_t prefix;
};
/* All that the bridge has had an address of, none where there is no bridge; the caller frees. */
int network_list_subnets(struct network *network, struct network_subnet **ret_subnets,
                         size_t *ret_count, struct error *error);

/* Makes a tap in the calling thread's own namespace, for a hypervisor to open there. */
int network_tap_make(const char *tap, struct error *error);
/* Moves it from the calling thread's namespace into the guests', pins MAC and address to it and
 * makes it a port of the bridge. */
int network_tap_attach(struct network *network, const char *tap, const char *mac,
                       const char *address, struct error *error);
/* Both in one, for a hypervisor that takes the tap as a descriptor: it never leaves the guests'
 * namespace, which spares the tens of milliseconds that the kernel takes to move a link. The
 * address stays as unreachable as it was, until network_address_release. The caller closes
 * `ret_tap`. */
int network_tap_open(struct network *network, const char *tap, const char *mac, const char *address,
                     int *ret_tap, struct error *error);
/* Removes a tap from the guests' and the calling thread's namespace, and what was pinned to it.
 * Connections to `address` ("" for none) fail at once from then on, until another attach or
 * network_address_release. One that is not there is fine. */
int network_tap_remove(struct network *network, const char *tap, const char *mac,
                       const char *address, struct error *error);
/* The address is nobody's any more. */
int network_address_release(struct network *network, const char *address, struct error *error);

/* Instance ids of the taps that exist; the caller frees. */
int network_list_taps(struct network *network, char (**ret_ids)[INSTANCE_ID_MAX], size_t *ret_count,
                      struct error *error);

/* After a restart: what is pinned is exactly this, and no address is marked as gone. */
int network_adopt(struct network *network, const struct network_pin *pins, size_t count,
                  struct error *error);

/* A non-blocking TCP socket made in the guests' namespace. */
int network_socket(struct network *network, int *ret_socket, struct error *error);
/* The namespace, for starting a process in it. Stays the network's. */
int network_namespace(const struct network *network);
