#include "agent/host/guest_pulse.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "agent/host/guest_user.h"
#include "agent/host/guests_internal.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/xalloc.h"

struct guest_pulse {
    uv_timer_t timer;
    struct guests *guests;
};

enum guest_process guest_process_look(pid_t pid)
{
    struct process_stat stat;
    if (!process_stat_read(pid, &stat) || stat.state == 'Z' || stat.state == 'X')
        return GUEST_PROCESS_GONE;
    return stat.state == 'T' ? GUEST_PROCESS_STOPPED : GUEST_PROCESS_RUNS;
}

void guest_process_kill(pid_t pid, uid_t user)
{
    char path[32];
    struct stat status;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    AUTO_CLOSE int process = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (process >= 0 && stat(path, &status) == 0 && status.st_uid == user)
        pidfd_send_signal(process, SIGKILL, NULL, 0);
}

static void end_hung(struct guest *guest)
{
    log_warn("a microVM's process is stopped and does not go on: it is killed", "id", guest->id,
             "pid", LOG_NUMBER(guest->pid));
    guest->hung = true;
    guest_process_kill(guest->pid, guest_user_of(guest->id));
    guest_begin_destroy(guest);
}

/* It should have been told of. */
static void end_gone(struct guest *guest)
{
    log_warn("a microVM's process is gone and nobody told of its end", "id", guest->id, "pid",
             LOG_NUMBER(guest->pid));
    guest_begin_end(guest, HYPERVISOR_END_DEATH);
}

static void look_at(struct guest *guest)
{
    enum guest_process process =
        guest->state == GUEST_RUNNING ? guest_process_look(guest->pid) : GUEST_PROCESS_RUNS;
    if (process == GUEST_PROCESS_RUNS) {
        guest->missed_pulses = 0;
        return;
    }
    if (++guest->missed_pulses < GUEST_PULSE_MISSES)
        return;
    guest->missed_pulses = 0;
    if (process == GUEST_PROCESS_STOPPED)
        end_hung(guest);
    else if (!guest->destroying)
        end_gone(guest);
}

static void on_timer(uv_timer_t *timer)
{
    struct guest_pulse *pulse = timer->data;
    for (struct guest *guest = pulse->guests->first; guest != NULL; guest = guest->next)
        look_at(guest);
    uv_timer_start(timer, on_timer, GUEST_PULSE_EVERY_MS, 0);
}

struct guest_pulse *guest_pulse_create(uv_loop_t *loop, struct guests *guests)
{
    struct guest_pulse *pulse = xcalloc(1, sizeof *pulse);
    pulse->guests = guests;
    uv_timer_init(loop, &pulse->timer);
    pulse->timer.data = pulse;
    uv_timer_start(&pulse->timer, on_timer, GUEST_PULSE_EVERY_MS, 0);
    return pulse;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void guest_pulse_destroy(struct guest_pulse *pulse)
{
    if (pulse != NULL)
        uv_close((uv_handle_t *)&pulse->timer, on_closed);
}
