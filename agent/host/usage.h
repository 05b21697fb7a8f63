/* What the microVMs of this node use: all of them are looked at every few seconds, in one pass on
 * one thread, and what was found goes to the deciding half.
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
    struct network *network;
    void (*report)(void *context, const struct host_usage *usage);
    void *context;
};

/* Everything in `options` stays the caller's and outlives the thread. */
struct usage *usage_create(const struct usage_options *options);
/* Waits for a pass that runs. NULL is fine, here and below. */
void usage_stop(struct usage *usage);
/* Of a stopped one, when the queue has been run to its end. */
void usage_destroy(struct usage *usage);
