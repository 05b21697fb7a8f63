/* Why a microVM ended: what the hypervisor, the kernel and the guest itself told of it, judged.
 *
 * The judgement is pure; the memory of a microVM's control group is read for a moment. Any thread.
 */
#pragma once

#include "agent/host/cgroup.h"
#include "agent/host/hypervisor.h"
#include "agent/host_protocol.h"

/* The control group that a hypervisor's process began in, and what had happened there before. */
struct guest_memory {
    struct cgroup group; /* memory[0] == '\0': none of its own */
    uint64_t oom_kills;
};

struct guest_end_facts {
    enum hypervisor_end end;
    bool is_stopping;   /* we had asked for it */
    const char *reason; /* why we had; NULL or "": nobody said */
    bool is_halted;     /* the guest said that it has ended, and was ended for that */
    bool is_hung;       /* its process did not run any more, and was killed for that */
    bool powers_off;    /* its family's guests end by powering off: a reset is none of that */
    bool is_reaped;     /* its process, with this status */
    int wait_status;
    bool is_oom;    /* the kernel killed it for its memory */
    uint64_t limit; /* of its memory in bytes; 0: not known */
};

void guest_memory_begin(pid_t pid, struct guest_memory *ret_memory);
/* Fills is_oom and limit, as long as the group is there. */
void guest_memory_look(const struct guest_memory *memory, struct guest_end_facts *facts);

/* `text` is for people. */
enum host_end_cause guest_end_judge(const struct guest_end_facts *facts, char *text, size_t size);
