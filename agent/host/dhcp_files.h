/* What dnsmasq reads: one configuration, and a file for each lease.
 *
 * Values to text and back (dnsmasq(8)); whoever writes a line here has checked that it is one. A
 * lease is a pin: the tap's name is the file's and the guest's host name, because an instance's id
 * alone may look like a lease time to dnsmasq. Any thread. */
#pragma once

#include <stdbool.h>

#include "agent/host/network.h"
#include "lib/buffer.h"
#include "lib/error.h"

/* Gives only what the leases say: no range, no DNS, no file of the machine's. ERROR_INVALID for a
 * subnet that is none. */
int dhcp_config_render(const struct network_subnet *subnets, size_t count, struct buffer *buffer,
                       struct error *error);
/* The gateway of the subnet that the address lies in, or NULL. */
const char *dhcp_find_gateway(const struct network_subnet *subnets, size_t count,
                              const char *address);

/* Whether tap, MAC and address are of their one form: they end up in a file's name and a line. */
int dhcp_lease_check(const struct network_pin *lease, struct error *error);
bool dhcp_lease_equals(const struct network_pin *one, const struct network_pin *other);
/* "<mac>,<address>,<name>\n" */
void dhcp_lease_render(const struct network_pin *lease, struct buffer *buffer);
/* Reads that line back; -1 when it is anything else. */
int dhcp_lease_parse(const char *text, struct network_pin *ret_lease);

/* Writes `folder`/<name> so that dnsmasq sees a whole file at once. The lease was checked. */
int dhcp_lease_write(const char *folder, const struct network_pin *lease, struct error *error);
int dhcp_lease_read(const char *folder, const char *name, struct network_pin *ret_lease);
/* One that is not there is fine. */
void dhcp_lease_remove(const char *folder, const char *name);
