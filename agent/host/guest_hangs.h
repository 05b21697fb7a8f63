/* What is done about a call to the hypervisor that does not return (call_watch.h).
 *
 * First people are told: a line of the log, and the deciding half, which shows it as the instance's
 * cause. Then the hypervisor's process of that microVM is killed, where its guest does not run yet
 * or is to end: the call returns by that, and the instance is lost for a reason that is known. One
 * that does not return even then has this process end as by SIGKILL: what runs goes on, the next
 * start adopts it, and nothing can be booted twice, since nothing was answered. With a daemon of
 * libvirt's that would help nobody: calls return once somebody ends the daemon.
 *
 * Owns one timer. Loop thread. */
#pragma once

#include <uv.h>

#include "agent/host/call_watch.h"

#define GUEST_HANGS_EVERY_MS 5000

struct guests;
struct guest_hangs;

struct guest_hangs_options {
    uv_loop_t *loop;
    struct call_watch *watch;
    bool has_daemon;                /* the hypervisor is not in this process */
    struct guests *const *guests;   /* NULL as long as there are none */
    void (*give_up)(void *context); /* the host half is to end at once */
    void *context;
};

struct guest_hangs *guest_hangs_create(const struct guest_hangs_options *options);
/* NULL is fine. */
void guest_hangs_destroy(struct guest_hangs *hangs);
/* What its timer does. */
void guest_hangs_look(struct guest_hangs *hangs);
