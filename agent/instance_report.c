/* What others are told of an instance. */
#include <stdio.h>
#include <string.h>

#include "agent/instance.h"
#include "lib/text.h"

/* A status that tells of readiness tells how the boot went, for so long. */
#define STEPS_TOLD_MS 10000

void instance_explain_end(const struct instance *instance, char *ret_reason, size_t size)
{
    bool is_broken =
        instance->phase == INSTANCE_PHASE_RESTARTING || instance->phase == INSTANCE_PHASE_FAILING;
    if (is_broken)
        snprintf(ret_reason, size, "%s: %s", instance->cause, instance->message);
    else if (instance->phase == INSTANCE_PHASE_STOPPING)
        snprintf(ret_reason, size, "%s", instance->assigned.stop_cause);
    else
        ret_reason[0] = '\0';
    text_make_line(ret_reason);
}

/* In the others nothing is waited for. */
static bool waits_for_host(const struct instance *instance)
{
    enum instance_vm vm = instance_vm(instance);
    return vm == INSTANCE_VM_BOOTING || vm == INSTANCE_VM_ENDING ||
           instance->phase == INSTANCE_PHASE_PAUSING || instance->freezes > 0;
}

void instance_hangs(struct instance *instance, const char *message)
{
    if (waits_for_host(instance))
        snprintf(instance->hang, sizeof instance->hang, "%.255s", message);
}

/* Why it is restarted or ended at all is still of interest. */
static void tell_hang(const struct instance *instance, struct api_observed_instance *observed)
{
    snprintf(observed->cause, sizeof observed->cause, "%s", INSTANCE_CAUSE_HYPERVISOR_SILENT);
    snprintf(observed->message, sizeof observed->message, "%s%s%.200s", instance->hang,
             instance->message[0] != '\0' ? "; before: " : "", instance->message);
}

void instance_observe(const struct instance *instance, const char *accel,
                      struct api_observed_instance *ret_observed)
{
    uint64_t now = clock_monotonic_ms(instance->clock);
    struct api_observed_instance observed = {
        .state = instance_state(instance),
        .restarts = instance->restarts,
        .state_age_ms = now - instance->state_since_ms,
        .boot_ms = instance->boot_ms,
    };
    enum instance_vm vm = instance_vm(instance);
    if (vm == INSTANCE_VM_RUNNING || vm == INSTANCE_VM_ENDING)
        observed.uptime_ms = now - instance->booted_at_ms;
    /* Told of once, for the event: whoever asks later asks this node. */
    observed.has_steps = instance->boot_ms > 0 && observed.state == INSTANCE_READY &&
                         observed.state_age_ms < STEPS_TOLD_MS;
    if (observed.has_steps) {
        observed.steps = instance->steps;
        observed.wake_ms = instance->wake_ms;
    }
    memcpy(observed.id, instance->id, sizeof observed.id);
    memcpy(observed.cause, instance->cause, sizeof observed.cause);
    memcpy(observed.message, instance->message, sizeof observed.message);
    if (instance->is_debugged)
        snprintf(
            observed.message, sizeof observed.message,
            "its gdb stub is on (shoal debug --stop %s), so its liveness is not judged%s%.300s",
            instance->id, instance->message[0] != '\0' ? "; before: " : "", instance->message);
    if (instance->hang[0] != '\0')
        tell_hang(instance, &observed);
    snprintf(observed.accel, sizeof observed.accel, "%s", accel);
    *ret_observed = observed;
}
