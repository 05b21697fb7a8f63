/*
 * What the parts of this machine know of each other: a machine that is a Linux kernel's userland,
 * as an ordinary process (process.c) or as the first and only one of a virtual machine
 * (../linux/init.c). One thread calls all of it.
 */
#ifndef POSIX_INTERNAL_H
#define POSIX_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/* ---- machine.c ---- */

/* Something that epoll watches; `ready` is called from machine_sleep with what happened (EPOLLIN
 * ...). Must stay where it is until its descriptor is closed. */
struct machine_event {
    void (*ready)(struct machine_event *event, uint32_t what);
    int fd;
};

/* Begins to watch, or watches for other things; `what` 0: for errors only. Panics when the kernel
 * has no room. */
void machine_event_add(struct machine_event *event, uint32_t what);
void machine_event_change(struct machine_event *event, uint32_t what);

/* Types a byte on what the runtime takes for its console. */
void machine_console_put(int byte);

/* Hands over to the runtime. Both end with NULL: the words after the program's name, and
 * "NAME=value". They stay the runtime's. */
_Noreturn void machine_start(char **words, char **environment);

/* ---- process.c, ../linux/init.c ---- */

/* Called by machine_start before the runtime: what the console types is watched from then on. */
void machine_prepare(void);

/* ---- network.c ---- */

/* Where to listen, host byte order; 0: on every address. */
uint32_t network_listen_address(void);

/* ---- http_sockets.c ---- */

unsigned http_sockets_count(void);
/* How many have sent something that their peer has not acknowledged. */
unsigned http_sockets_count_unacknowledged(void);
bool http_sockets_are_stopping(void);
/* About one second has passed. */
void http_sockets_tick(void);

#endif
