/* When a guest speaks for the first time: the bridge learns a guest's address by its first frame
 * that the filter lets through, and the kernel tells so. One socket for all guests, nothing for
 * each packet.
 *
 * Loop thread; the decoder is pure. */
#pragma once

#include <uv.h>

#include "agent/host/network.h"

struct first_packet;

/* `heard` gets the address as "52:01:00:00:03:f2", also again when it was unlearned meanwhile. */
int first_packet_create(uv_loop_t *loop, struct network *network,
                        void (*heard)(void *context, const char *mac), void *context,
                        struct first_packet **ret_watch, struct error *error);
/* NULL is fine. */
void first_packet_destroy(struct first_packet *watch);

/* The kernel's messages in `bytes` from `*at` on (rtnetlink(7)): the next address that a bridge has
 * learned. False at the end, and behind what is not well formed. */
bool first_packet_next(const void *bytes, size_t length, size_t *at, char ret_mac[18]);
