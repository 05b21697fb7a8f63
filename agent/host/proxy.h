/* The data plane of this node: which published ports answer, and who answers them.
 *
 * Owns the listening sockets and one HAProxy for each published port; a thread of its own starts,
 * changes, watches and starts them again. A HAProxy for each port, because then a new port, a port
 * that goes or one that changes its mode never touches the connections of another, and every
 * HAProxy that still has connections can be told to drain and asked how many there are. They
 * outlive this process and are adopted by the next. Callbacks come on the loop. */
#pragma once

#include "agent/host/loop_queue.h"
#include "agent/host/proxy_model.h"

struct proxy;

struct proxy_options {
    struct loop_queue *queue;
    const char *run_directory;
    const char *publish_address;
    int namespace; /* the guests'; stays the caller's */
    /* Whether a port is bound; after each change, and whenever it changes by itself. */
    void (*report)(void *context, const struct host_frontend *frontend);
    /* `error` NULL: it worked. */
    void (*answer)(void *context, uint64_t sequence, const struct error *error, uint32_t number);
    void *context;
};

/* Finds what runs already and starts the thread. `options`' strings outlive it. */
struct proxy *proxy_create(const struct proxy_options *options, struct error *error);
/* Answers when every HAProxy has taken the model over; takes `model`. A port that cannot be bound
 * is reported, tried again, and fails nothing else. */
void proxy_apply(struct proxy *proxy, uint64_t sequence, struct proxy_model *model);
/* Answers with the open connections to one instance through all ports. */
void proxy_count(struct proxy *proxy, uint64_t sequence, const char *id);
/* Ends the thread; the HAProxys go on. NULL is fine. */
void proxy_destroy(struct proxy *proxy);

/* Ends every HAProxy below the run folder and removes its files. Without a struct proxy. */
int proxy_clean(const char *run_directory, struct error *error);
