/* A QEMU as a process: started with nothing but what it needs, watched, found again.
 *
 * It runs as a user of its own in a session, a mount namespace (qemu_view.h) and an empty network
 * namespace of its own, in its control group from before its first instruction, without a
 * capability, with no way to gain one, with bounded descriptors, threads, files and no core dump.
 * What it says goes to a pipe of one page: what nobody has read when that is full is lost. Any
 * thread. Knows nothing of QMP. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/host/cgroup.h"
#include "agent/host/qemu_command.h"
#include "agent/host/qemu_view.h"
#include "lib/error.h"

#define QEMU_WORDS_MAX 256

struct qemu_start {
    const struct qemu_command *command;
    const struct qemu_view *view;
    const struct cgroup_doors *doors;
    uint32_t uid, gid;
    uint32_t threads;          /* that it may have */
    bool writes;               /* it may write to files: it has disks or volumes */
    int console, monitor, tap; /* become QEMU_DESCRIPTOR_...; stay the caller's */
};

struct qemu_process {
    pid_t pid; /* -1: none */
    int watch; /* pidfd: readable once it has ended */
    int words; /* reads what it says, without blocking */
};
#define QEMU_PROCESS_NONE ((struct qemu_process){-1, -1, -1})

/* Waits until it has become QEMU, or has ended: that is seen by `watch`, and `words` say why. */
int qemu_process_start(const struct qemu_start *start, struct qemu_process *ret_process,
                       struct error *error);
/* One that runs already; ERROR_NOT_FOUND when it does not, or began at another time. */
int qemu_process_find(pid_t pid, uint64_t started, struct qemu_process *ret_process,
                      struct error *error);
bool qemu_process_has_ended(const struct qemu_process *process);
void qemu_process_kill(const struct qemu_process *process);
/* Of one that has ended: reaps it where it is a child. Its wait status; -1: not known. */
int qemu_process_reap(const struct qemu_process *process);
/* The last line it said, printable, or "". Reads on where it read before. */
void qemu_process_last_words(const struct qemu_process *process, char ret_words[QEMU_WORDS_MAX]);
/* Closes the descriptors; the process goes on. */
void qemu_process_release(struct qemu_process *process);

/* Milliseconds since the process began; 0: there is none. */
uint64_t process_uptime_ms(pid_t pid);
