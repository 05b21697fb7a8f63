/* Shared by host.c (life of the process) and host_requests.c (what the deciding half asks). */
#pragma once

#include <uv.h>

#include "agent/host/accelerator.h"
#include "agent/host/channel.h"
#include "agent/host/dhcp.h"
#include "agent/host/first_packet.h"
#include "agent/host/guest_hangs.h"
#include "agent/host/guests.h"
#include "agent/host/host.h"
#include "agent/host/hypervisor.h"
#include "agent/host/image_store.h"
#include "agent/host/libvirt_uri.h"
#include "agent/host/loop_queue.h"
#include "agent/host/namespace.h"
#include "agent/host/network.h"
#include "agent/host/overlays.h"
#include "agent/host/proxy.h"
#include "agent/host/usage.h"
#include "agent/host/volume_requests.h"
#include "agent/host/volumes.h"
#include "agent/host/worker.h"

/* libvirt puts its sockets some 45 bytes deeper, and a socket's path ends at 107. */
#define HOST_RUN_DIRECTORY_MAX 56

struct host {
    struct host_options options;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt, child;
    struct accelerator accelerator;
    enum libvirt_driver driver;
    struct network *network;
    struct dhcp *dhcp;
    struct image_store *images;
    struct overlays *overlays;
    struct volumes *volumes;
    struct loop_queue *queue;
    struct worker *boot_worker; /* these two: each thread in an empty network namespace */
    struct worker *end_worker;
    struct worker *image_worker;
    struct volume_requests volume_requests; /* with its worker */
    struct hypervisor *hypervisor;          /* set by the first job, before there are guests */
    struct call_watch *calls;               /* that block */
    struct guest_hangs *hangs;              /* looks at them */
    struct guests *guests;                  /* NULL until the start is through */
    struct usage *usage;                    /* the same */
    struct first_packet *first_packet;      /* NULL also where the kernel does not tell of it */
    struct channel *channel;
    struct proxy *proxy;
    struct proxy_model *model; /* being collected, between BEGIN and COMMIT */
    bool stopping;
    int exit_code;
};

/* A checked request; answered exactly once, at once or later. */
void host_receive(void *context, const struct host_message *message);
void host_report_instance(void *context, const struct host_instance *instance);
void host_report_frontend(void *context, const struct host_frontend *frontend);
void host_report_usage(void *context, const struct host_usage *usage);
void host_report_node(void *context, const struct host_node *node);
void host_report_steps(void *context, const struct host_boot_steps *steps);
void host_answer_number(void *context, uint64_t sequence, const struct error *error,
                        uint32_t number);
void host_answer_request(void *context, uint64_t sequence, const struct error *error);
