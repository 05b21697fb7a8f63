/* nftables rules of the guests' namespace: which tap may use which MAC and address, also
 * when it asks for that address by DHCP.
 * Every function works on the calling thread's namespace. */
#pragma once

#include <stddef.h>

#include "lib/error.h"

/* Tables and chains; existing pins stay. */
int network_filter_install(struct error *error);
/* One tap with the only MAC and address it may carry. */
struct network_pin {
    char tap[16];
    char mac[18];
    char address[16];
};
/* Replaces all pins by these, in one step. */
int network_filter_reset(const struct network_pin *pins, size_t count, struct error *error);
int network_filter_pin(const char *tap, const char *mac, const char *address, struct error *error);
/* A pin that is not there is fine. */
void network_filter_unpin(const char *tap, const char *mac, const char *address);
