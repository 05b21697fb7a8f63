/* The guests' leases: every instance has a fixed one, by its tap's MAC, before it starts.
 *
 * Owns a file for each, from which the node's dnsmasq answers (dhcp_server.h), and what dnsmasq
 * remembers of those that are gone. Guests that are told their address otherwise have one too and
 * need not ask for it. Any thread; calls block briefly where they do not say otherwise. */
#pragma once

#include <stddef.h>

#include "agent/host/network.h"
#include "lib/error.h"

struct dhcp;

struct dhcp_options {
    const char *run_directory;
    const char *log_directory;
    struct network *network; /* stays the caller's and outlives this */
};

/* Goes on serving where a bridge is already there. */
struct dhcp *dhcp_create(const struct dhcp_options *options, struct error *error);
/* dnsmasq goes on. NULL is fine. */
void dhcp_destroy(struct dhcp *dhcp);

/* Serves the subnets that the bridge has; waits until it does, or why it does not: 5 s at most.
 * What does not start is tried again. */
int dhcp_serve(struct dhcp *dhcp, struct error *error);
/* Whether guests get answers, or why not; where they do not, a start is tried first: 5 s at most.
 */
int dhcp_check(struct dhcp *dhcp, struct error *error);

/* From its return on the guest with this tap and MAC gets the address and nobody else does: who had
 * the address, and what the guest had, is over. Once more changes nothing. */
int dhcp_lease(struct dhcp *dhcp, const struct network_pin *lease, struct error *error);
/* Nobody gets its address any more. A lease that is not there is fine. */
void dhcp_forget(struct dhcp *dhcp, const char *tap);
/* After a restart: the leases are exactly these. */
void dhcp_adopt(struct dhcp *dhcp, const struct network_pin *leases, size_t count);

/* Ends dnsmasq and removes its files below the run folder. Without a struct dhcp. */
int dhcp_clean(const char *run_directory, struct error *error);
