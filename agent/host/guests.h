/* The microVMs of this node: boot, stop, end, forget.
 *
 *   (none) -> booting -> running -> ending -> ended -> (forgotten)
 *                |                             |  ^
 *                +---------- failed -----------+--+ boot again
 *
 * Owns them with their consoles and timers; blocking steps run on the workers' threads, whose
 * network namespace must be an empty one (network_tap_make). Loop thread. */
#pragma once

#include <sys/types.h>
#include <uv.h>

#include "agent/host/accelerator.h"
#include "agent/host/dhcp.h"
#include "agent/host/hypervisor.h"
#include "agent/host/image_store.h"
#include "agent/host/network.h"
#include "agent/host/overlays.h"
#include "agent/host/volumes.h"
#include "agent/host/worker.h"
#include "agent/host_protocol.h"

struct guests;

/* What one microVM costs beside its guest's memory: QEMU's own pages, its translation cache of 16
 * MiB, what the kernel keeps for it. Measured (docs/hypervisors.md): 36 MiB at most, under a Linux
 * that is at work on two disks; a third more for what was not seen. The same under both
 * hypervisors, whose QEMU it is. Nodes are filled by it, and a QEMU that takes more is killed.
 * Kernel and initrd, which QEMU may keep as they came, are let in besides. */
#define GUEST_OVERHEAD_BYTES ((uint64_t)48 << 20)

struct guests_options {
    uv_loop_t *loop;
    struct worker *boot_worker; /* apart, so that a slow boot delays nobody's end */
    struct worker *end_worker;
    struct hypervisor *hypervisor;
    struct call_watch *watch; /* of calls that block; NULL: nobody looks */
    struct network *network;
    struct dhcp *dhcp;
    struct image_store *images;
    struct overlays *overlays;
    struct volumes *volumes;
    const char *run_directory;
    const char *log_directory;
    gid_t log_reader;
    uint64_t log_size;  /* bytes of one file of a console's log; 0: CONSOLE_LOG_SIZE */
    uint32_t log_files; /* of one instance; 0: CONSOLE_LOG_FILES */
    const struct accelerator *accelerator;
    /* A microVM that was adopted, that ended, or about which a call hangs. */
    void (*report)(void *context, const struct host_instance *instance);
    /* A boot's steps, when its guest has begun, and again when it has spoken; NULL: not wanted. */
    void (*report_steps)(void *context, const struct host_boot_steps *steps);
    /* The answer to a request that took time; `error` NULL: it worked. */
    void (*answer)(void *context, uint64_t sequence, const struct error *error);
    void *context;
};

/* Everything in `options` stays the caller's and outlives this. */
struct guests *guests_create(const struct guests_options *options);
/* The microVMs go on; their consoles are let go. After the workers' threads have ended. */
void guests_destroy(struct guests *guests);

/* What the hypervisor found running at the start, and the sweeping of what nobody owns. Reports
 * nothing by itself. */
void guests_adopt(struct guests *guests, const struct hypervisor_found *found, size_t count);
/* Reports every microVM that runs. */
void guests_report_running(struct guests *guests);

/* Each answers once by options.answer, at once or later. */
void guests_boot(struct guests *guests, uint64_t sequence, const struct host_boot *boot);
void guests_stop(struct guests *guests, uint64_t sequence, const struct host_stop *stop);
/* Its guest stands still, or goes on; fine when it does so already. */
void guests_pause(struct guests *guests, uint64_t sequence, const struct host_pause *pause);
void guests_forget(struct guests *guests, uint64_t sequence, const char *id);

/* The hypervisor says that a microVM ended. */
void guests_ended(struct guests *guests, const char *id, enum hypervisor_end end);
/* The bridge has learned of an address: if it is a guest's, this was its first frame. */
void guests_first_packet(struct guests *guests, const char *mac);
/* A process was reaped; true when it was one of ours. */
bool guests_reaped(struct guests *guests, pid_t pid, int status);
