#include "agent/host/guest_end.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/text.h"

void guest_memory_begin(pid_t pid, struct guest_memory *ret_memory)
{
    struct guest_memory memory = {0};
    struct cgroup ours;
    struct cgroup_memory now;
    bool is_apart = cgroup_of_process(pid, &memory.group, NULL) == 0 &&
                    (cgroup_of_process(getpid(), &ours, NULL) < 0 ||
                     strcmp(ours.memory, memory.group.memory) != 0);
    if (!is_apart || cgroup_read_memory(&memory.group, &now, NULL) < 0)
        memory = (struct guest_memory){0};
    else
        memory.oom_kills = now.oom_kills;
    *ret_memory = memory;
}

void guest_memory_look(const struct guest_memory *memory, struct guest_end_facts *facts)
{
    struct cgroup_memory now;
    if (memory->group.memory[0] == '\0' || cgroup_read_memory(&memory->group, &now, NULL) < 0)
        return;
    facts->is_oom = now.oom_kills > memory->oom_kills;
    facts->limit = now.limit;
}

static enum host_end_cause judge_death(const struct guest_end_facts *facts)
{
    bool by_kernel = facts->is_oom && (!facts->is_reaped || WIFSIGNALED(facts->wait_status));
    if (by_kernel)
        return HOST_END_OOM;
    /* Who was asked to end and is gone did as it was told, where nobody saw how. */
    return facts->is_stopping && !facts->is_reaped ? HOST_END_STOPPED : HOST_END_KILLED;
}

static enum host_end_cause judge(const struct guest_end_facts *facts)
{
    enum host_end_cause by_guest = facts->is_stopping ? HOST_END_STOPPED : HOST_END_GUEST_EXIT;
    switch (facts->end) {
    case HYPERVISOR_END_EXIT:
        return by_guest;
    case HYPERVISOR_END_RESET:
        return facts->is_stopping || !facts->powers_off ? by_guest : HOST_END_GUEST_RESET;
    case HYPERVISOR_END_PANIC:
        return HOST_END_GUEST_PANIC;
    case HYPERVISOR_END_STOP:
        if (facts->is_hung)
            return HOST_END_HUNG;
        return facts->is_halted ? by_guest : HOST_END_STOP_KILLED;
    case HYPERVISOR_END_DEATH:
        break;
    }
    return facts->is_hung ? HOST_END_HUNG : judge_death(facts);
}

static void describe_death(const struct guest_end_facts *facts, char *text, size_t size)
{
    if (facts->is_reaped && WIFSIGNALED(facts->wait_status))
        snprintf(text, size, "the hypervisor's process was killed by signal %d (%s)",
                 WTERMSIG(facts->wait_status), strsignal(WTERMSIG(facts->wait_status)));
    else if (facts->is_reaped && WIFEXITED(facts->wait_status))
        snprintf(text, size, "the hypervisor's process ended with status %d",
                 WEXITSTATUS(facts->wait_status));
    else
        snprintf(text, size, "the hypervisor's process ended");
}

static void describe_oom(const struct guest_end_facts *facts, char *text, size_t size)
{
    char limit[TEXT_SIZE_MAX];
    text_format_size(facts->limit, limit, sizeof limit);
    if (facts->limit > 0)
        snprintf(text, size,
                 "the kernel killed the hypervisor's process, which had reached its limit of %s",
                 limit);
    else
        snprintf(text, size, "the kernel killed the hypervisor's process for want of memory");
}

enum host_end_cause guest_end_judge(const struct guest_end_facts *facts, char *text, size_t size)
{
    static const char *const texts[] = {
        [HOST_END_GUEST_EXIT] = "the guest ended by itself",
        [HOST_END_GUEST_PANIC] = "the guest told of a panic",
        [HOST_END_STOPPED] = "stopped",
        [HOST_END_STOP_KILLED] = "stopped by force",
        [HOST_END_GUEST_RESET] = "the guest reset its machine, by a triple fault or on purpose",
        [HOST_END_HUNG] =
            "the hypervisor's process was stopped, or did not answer, and did not go on",
    };
    enum host_end_cause cause = judge(facts);
    bool is_ours = cause == HOST_END_STOPPED || cause == HOST_END_STOP_KILLED;
    const char *why = is_ours && facts->reason != NULL ? facts->reason : "";
    if (cause == HOST_END_KILLED)
        describe_death(facts, text, size);
    else if (cause == HOST_END_OOM)
        describe_oom(facts, text, size);
    else
        snprintf(text, size, "%s%s%s", texts[cause], why[0] != '\0' ? ": " : "", why);
    return cause;
}
