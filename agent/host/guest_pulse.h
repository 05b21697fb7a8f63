/* Whether the hypervisor's processes still run: one that was stopped (SIGSTOP) answers nobody and
 * tells of nothing, so somebody has to look.
 *
 * Owns one timer for all. Loop thread. Decides nothing about a guest but that. */
#pragma once

#include <sys/types.h>
#include <uv.h>

/* Looked at so often; so many looks in a row that find it stopped, and it is hung. */
#define GUEST_PULSE_EVERY_MS 2000
#define GUEST_PULSE_MISSES   3

struct guests;
struct guest_pulse;

struct guest_pulse *guest_pulse_create(uv_loop_t *loop, struct guests *guests);
/* NULL is fine. */
void guest_pulse_destroy(struct guest_pulse *pulse);

enum guest_process {
    GUEST_PROCESS_RUNS, /* or sleeps, or is looked at by a debugger */
    GUEST_PROCESS_STOPPED,
    GUEST_PROCESS_GONE,
};
/* By /proc/PID/stat (proc_pid_stat(5)). */
enum guest_process guest_process_look(pid_t pid);
/* Kills the process if it is that user's: a pid may be somebody else's by now. */
void guest_process_kill(pid_t pid, uid_t user);
