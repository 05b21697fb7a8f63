/* The host half of the agent: microVMs, the guests' namespace, taps, image files, consoles,
 * HAProxy, dnsmasq.
 *
 * Owns every effect on the machine; decides nothing. It speaks agent/host_protocol.h with the
 * deciding half over `channel` and trusts none of it. Guests, HAProxy and the namespace outlive the
 * process: the next start with the same folders adopts them. One host half per process; the calling
 * thread becomes its loop thread. Needs root. */
#pragma once

#include <sys/types.h>

#include "lib/error.h"

struct host_options {
    const char *node;            /* the namespace is shoal-<node> */
    const char *state_directory; /* <state>/host is root's, <state>/staging the deciding half's */
    const char *run_directory;   /* sockets, pids, libvirt's root; short (sun_path) */
    const char *log_directory;   /* <log>/consoles/<id>.log and, turned over, <id>.log.1 and on */
    uint64_t log_size;           /* bytes of one such file; 0: CONSOLE_LOG_SIZE */
    uint32_t log_files;          /* of one instance; 0: CONSOLE_LOG_FILES */
    const char *publish_address; /* published ports bind it, in the host's namespace */
    const char *accelerator;     /* auto | kvm | tcg */
    const char *hypervisor_uri;  /* of libvirt's driver: libvirt_uri.h */
    const char *hypervisor;      /* hypervisors.h */
    uint64_t volumes;            /* bytes that volumes may have together; 0: volumes_create's own */
    pid_t decider;               /* the deciding half, a child of this process */
    int channel;                 /* SOCK_SEQPACKET to it; taken over */
};

/* Runs until the channel closes or SIGTERM or SIGINT comes; the exit code of the process. */
int host_run(const struct host_options *options);

/* Ends every microVM, HAProxy, tap and the namespace of this node and removes its run files. For
 * when no agent of the node runs; uses node, state_directory, run_directory and log_directory. */
int host_clean(const struct host_options *options, struct error *error);
