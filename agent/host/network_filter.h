/* nftables rules of the guests' namespace: which tap may use which MAC and address, also
 * when it asks for that address by DHCP.
 *
 * One netlink socket serves all calls, from any thread, one after the other. It is opened early,
 * and once: libnftables waits by select(2), which ends a process whose descriptor is 1,024 or more.
 */
#pragma once

#include <stddef.h>

#include "lib/error.h"

struct network_filter;

/* For the namespace that `namespace` is a descriptor of; lent for the call. */
int network_filter_create(int namespace, struct network_filter **ret_filter, struct error *error);
/* The rules stay. NULL is fine. */
void network_filter_destroy(struct network_filter *filter);

/* Tables and chains; existing pins stay. */
int network_filter_install(struct network_filter *filter, struct error *error);
/* One tap with the only MAC and address it may carry. */
struct network_pin {
    char tap[16];
    char mac[18];
    char address[16];
};
/* Replaces all pins by these, in one step. */
int network_filter_reset(struct network_filter *filter, const struct network_pin *pins,
                         size_t count, struct error *error);
int network_filter_pin(struct network_filter *filter, const char *tap, const char *mac,
                       const char *address, struct error *error);
/* A pin that is not there is fine. */
void network_filter_unpin(struct network_filter *filter, const char *tap, const char *mac,
                          const char *address);
