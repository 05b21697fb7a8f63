/* Tells the DHCP server that a lease is over.
 *
 * dnsmasq gives an address to no second MAC while it remembers it as leased to a first, so whoever
 * forgets an instance says on its behalf what a client that leaves would (DHCPRELEASE, RFC 2131,
 * 4.4.6). Any thread. */
#pragma once

#include <stdint.h>

#include "agent/host/network.h"
#include "lib/error.h"

#define DHCP_RELEASE_BYTES 250

/* The whole message, without UDP's header: client `mac` lets go of `address` that `gateway` gave.
 * -1 when one of them cannot be read. */
int dhcp_release_render(const struct network_pin *lease, const char *gateway,
                        uint8_t ret_message[DHCP_RELEASE_BYTES]);
/* Sends it within the guests' namespace. There is no answer; a server that does not run remembers
 * nothing. */
int dhcp_release_send(int namespace, const struct network_pin *lease, const char *gateway,
                      struct error *error);
