#include "lib/api/causes.h"

#include <string.h>

static const struct instance_cause causes[] = {
    {INSTANCE_CAUSE_REGISTRY_UNREACHABLE, "the registry does not answer"},
    {INSTANCE_CAUSE_LOCAL_STORAGE, "the node's disk does not take the image"},
    {INSTANCE_CAUSE_NO_SPACE, "the node's disk has no room for the image"},
    {INSTANCE_CAUSE_IMAGE_NOT_FOUND, "the registry does not have the image"},
    {INSTANCE_CAUSE_SIGNATURE_REJECTED, "no trusted key has signed the image"},
    {INSTANCE_CAUSE_POLICY_REFUSED, "a policy refuses the image"},
    {INSTANCE_CAUSE_REGISTRY_DENIED, "the registry does not give the image to this node"},
    {INSTANCE_CAUSE_IMAGE_INVALID, "the image cannot be booted here"},
    {INSTANCE_CAUSE_BOOT_FAILED, "the microVM could not be started"},
    {INSTANCE_CAUSE_BOOT_TIMEOUT, "it was not ready in time after its start"},
    {INSTANCE_CAUSE_ADOPTION_MISMATCH, "the microVM that runs was booted from another image"},
    {INSTANCE_CAUSE_UNREADY, "its readiness check fails"},
    {INSTANCE_CAUSE_UNHEALTHY, "its liveness check failed"},
    {INSTANCE_CAUSE_COMPLETED, "the guest has done its work"},
    {INSTANCE_CAUSE_GUEST_EXIT, "the guest ended by itself"},
    {INSTANCE_CAUSE_GUEST_RESET, "the guest reset its machine"},
    {INSTANCE_CAUSE_GUEST_PANIC, "the guest told of a panic"},
    {INSTANCE_CAUSE_HYPERVISOR_KILLED, "the hypervisor's process died or was killed"},
    {INSTANCE_CAUSE_OOM, "the kernel killed the hypervisor's process for its memory"},
    {INSTANCE_CAUSE_HYPERVISOR_SILENT, "the node waits for the hypervisor or for its disk"},
    {INSTANCE_CAUSE_HUNG,
     "the hypervisor's process was stopped, or did not answer, and did not go on"},
    {INSTANCE_CAUSE_NODE_RESTARTED, "its microVM was gone when the agent started"},
    {INSTANCE_CAUSE_STOPPED, "it was told to stop"},
    {INSTANCE_CAUSE_STOP_KILLED, "it was told to stop, did not within its grace, and was killed"},
};

const struct instance_cause *instance_cause_at(size_t index)
{
    return index < sizeof causes / sizeof causes[0] ? &causes[index] : NULL;
}

const char *instance_cause_meaning(const char *name)
{
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        if (strcmp(causes[i].name, name) == 0)
            return causes[i].meaning;
    }
    return "";
}
