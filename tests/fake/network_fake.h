/* The guests' network and their leases in memory, for tests of what uses them: stands in for
 * agent/host/network.c and dhcp.c. One at a time: taps that are made before they are attached lie
 * in a namespace that is everybody's. Any thread. */
#pragma once

#include <stdbool.h>

#include "agent/host/dhcp.h"
#include "agent/host/network.h"

struct network *network_fake_create(void);
/* Also of the leases. */
void network_fake_destroy(struct network *network);
/* Hands out the leases; the network's. */
struct dhcp *network_fake_dhcp(struct network *network);

/* Attaching a tap fails this many times. */
void network_fake_refuse(struct network *network, unsigned count);
/* All taps are gone, as after somebody has removed the namespace. */
void network_fake_lose_taps(struct network *network);

/* Attached, with its MAC and address pinned to it. */
bool network_fake_is_attached(struct network *network, const char *tap);
bool network_fake_has_lease(struct network *network, const char *tap);
/* Taps anywhere; leases. */
size_t network_fake_count_taps(struct network *network);
size_t network_fake_count_leases(struct network *network);
