/* What people get at a running guest besides its service: its console, its gdb stub. Loop thread.
 */
#pragma once

#include "agent/host/guests.h"

/* Attaches somebody to a running guest's console; see console_attach. At once. */
int guests_open_console(struct guests *guests, const char *id, int *ret_peer, struct error *error);
/* Switches its gdb stub on or off; answered once by options.answer. */
void guests_debug(struct guests *guests, uint64_t sequence, const struct host_debug *debug);
