/*
 * The network interface: lwIP on the first virtio network device, whose memory and timers it owns;
 * a process has the sockets of its kernel instead (../posix/network.c). Knows no protocol above TCP
 * and no service.
 */
#ifndef RUNTIME_NETWORK_H
#define RUNTIME_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arguments.h"

/* Memory lwIP's heap needs; network_start takes it from its caller. */
#define NETWORK_HEAP_SIZE (576 * 1024)

/* Brings the interface up and announces the address. Panics when there is no device, or no address
 * among the arguments. */
void network_start(const struct arguments *arguments, void *heap);

/* Takes in what has arrived, sends what is due, runs the timers. */
void network_poll(void);

/* Nanoseconds until a timer is due. Asks the device for an interrupt first; when something has
 * arrived meanwhile the answer is 0. To be called with interrupts disabled. */
uint64_t network_prepare_sleep(void);

/* Waits until the device has taken everything that was sent, for a few milliseconds at most. */
void network_flush(void);

/* True when no peer still has to acknowledge anything we sent. */
bool network_is_quiet(void);

#endif
