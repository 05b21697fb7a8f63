/* What the deciding half asks about volumes, done on a thread of its own, for a copy takes its
 * time.
 *
 * Loop thread. Knows the volumes and how a guest is paused; not what a volume is for. */
#pragma once

#include "agent/host/channel.h"
#include "agent/host/hypervisor.h"
#include "agent/host/volumes.h"
#include "agent/host/worker.h"

struct volume_requests {
    struct worker *worker; /* of one thread: one after the other */
    struct worker *lister; /* a list does not wait behind copies */
    struct volumes *volumes;
    struct hypervisor *hypervisor;
    const char *run_directory;
    struct channel *channel; /* where the answers go */
};

/* HOST_VOLUMES or HOST_VOLUME, checked; answered once, later. `requests` outlives it. */
void volume_requests_take(const struct volume_requests *requests,
                          const struct host_message *message);
