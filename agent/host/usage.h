/* What the microVMs of this node use, and the node: all is looked at every few seconds, in one pass
 * on one thread, and what was found goes to the deciding half.
 *
 * Owns the thread and the timer. Loop thread. Judges nothing and keeps no history. */
#pragma once

#include <uv.h>

#include "agent/host/guests.h"
#include "agent/host/loop_queue.h"
#include "agent/host/network.h"
#include "agent/host_protocol.h"

#define USAGE_INTERVAL_MS 5000

struct usage;

struct usage_options {
    uv_loop_t *loop;
    struct loop_queue *queue;
    struct guests *guests;
    struct hypervisor *hypervisor;
    struct network *network;
    pid_t decider; /* the other half of this agent */
    const char *state_directory;
    void (*report)(void *context, const struct host_usage *usage);
    void (*report_node)(void *context, const struct host_node *node);
    void *context;
};

/* Everything in `options` stays the caller's and outlives the thread. */
struct usage *usage_create(const struct usage_options *options);
/* Waits for a pass that runs. NULL is fine, here and below. */
void usage_stop(struct usage *usage);
/* Of a stopped one, when the queue has been run to its end. */
void usage_destroy(struct usage *usage);
