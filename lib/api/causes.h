/* Why an instance is as it is: the causes that agents report, one table. docs/agent.md says what
 * follows from each. A reader that does not know one takes it for a failure's. */
#pragma once

#include <stddef.h>

/* --- its image --- */
#define INSTANCE_CAUSE_REGISTRY_UNREACHABLE "registry_unreachable"
#define INSTANCE_CAUSE_LOCAL_STORAGE        "local_storage"
#define INSTANCE_CAUSE_NO_SPACE             "no_space"
#define INSTANCE_CAUSE_IMAGE_NOT_FOUND      "image_not_found"
#define INSTANCE_CAUSE_SIGNATURE_REJECTED   "signature_rejected"
#define INSTANCE_CAUSE_POLICY_REFUSED       "policy_refused"
#define INSTANCE_CAUSE_REGISTRY_DENIED      "registry_denied"
#define INSTANCE_CAUSE_IMAGE_INVALID        "image_invalid"
/* --- its boot --- */
#define INSTANCE_CAUSE_BOOT_FAILED       "boot_failed"
#define INSTANCE_CAUSE_BOOT_TIMEOUT      "boot_timeout"
#define INSTANCE_CAUSE_ADOPTION_MISMATCH "adoption_mismatch"
/* Of no failure: it boots or ends, and what the node waits for takes very long. */
#define INSTANCE_CAUSE_HYPERVISOR_SILENT "hypervisor_silent"
/* --- its checks --- */
#define INSTANCE_CAUSE_UNREADY   "unready"
#define INSTANCE_CAUSE_UNHEALTHY "unhealthy"
/* --- its end --- */
/* stopped: the guest ended by itself, said nothing of a failure, and was to run once. */
#define INSTANCE_CAUSE_COMPLETED         "completed"
#define INSTANCE_CAUSE_GUEST_EXIT        "guest_exit"
#define INSTANCE_CAUSE_GUEST_RESET       "guest_reset"
#define INSTANCE_CAUSE_GUEST_PANIC       "guest_panic"
#define INSTANCE_CAUSE_HYPERVISOR_KILLED "hypervisor_killed"
#define INSTANCE_CAUSE_OOM               "oom"
#define INSTANCE_CAUSE_HUNG              "hung"
/* Its microVM went with the node, or while no agent looked: nobody knows how it ended. */
#define INSTANCE_CAUSE_NODE_RESTARTED "node_restarted"
#define INSTANCE_CAUSE_STOPPED        "stopped"
#define INSTANCE_CAUSE_STOP_KILLED    "stop_killed"

struct instance_cause {
    const char *name;
    const char *meaning; /* for people */
};

/* By number from 0; NULL behind the last. */
const struct instance_cause *instance_cause_at(size_t index);
/* "" for one that is not in the table. */
const char *instance_cause_meaning(const char *name);
