#include "agent/host/guest_hangs.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/guest_pulse.h"
#include "agent/host/guest_user.h"
#include "agent/host/guests_internal.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Between us and a QEMU: who makes a daemon of it. */
#define GENERATIONS 4

struct guest_hangs {
    uv_timer_t timer;
    struct guest_hangs_options options;
};

/* The pid is not known before a boot's call returns. Each microVM's process has a user of its own,
 * but one of another agent on this machine may have the same: what we started descends from us. */
static bool may_be_of(const struct guest *guest, pid_t pid)
{
    if (pid == guest->pid)
        return true;
    struct process_stat stat = {.parent = pid};
    for (int i = 0; i < GENERATIONS && process_stat_read(stat.parent, &stat); i++) {
        if (stat.parent == getpid())
            return true;
    }
    return false;
}

static void kill_processes_of(const struct guest *guest)
{
    DIR *all = opendir("/proc");
    const struct dirent *entry;
    uint64_t pid;
    while (all != NULL && (entry = readdir(all)) != NULL) {
        if (text_parse_u64(entry->d_name, INT32_MAX, &pid) && may_be_of(guest, (pid_t)pid))
            guest_process_kill((pid_t)pid, guest_user_of(guest->id));
    }
    if (all != NULL)
        closedir(all);
}

static void report(const struct guest *guest, const struct late_call *late)
{
    const struct guests_options *options = &guest->guests->options;
    struct host_instance instance = {.state = HOST_INSTANCE_HANGS};
    memcpy(instance.id, guest->id, sizeof instance.id);
    uint64_t seconds = late->age_ms / 1000;
    if (late->call == WATCHED_TURN)
        snprintf(instance.message, sizeof instance.message,
                 "it has waited %" PRIu64 " s for its turn to boot: the node boots many, or boots "
                 "before it hang",
                 seconds);
    else if (late->call == WATCHED_FILES)
        snprintf(instance.message, sizeof instance.message,
                 "the node began to %s %" PRIu64 " s ago and waits for its disk", late->name,
                 seconds);
    else
        snprintf(instance.message, sizeof instance.message,
                 "the hypervisor was told to %s %" PRIu64 " s ago and has not answered", late->name,
                 seconds);
    options->report(options->context, &instance);
}

static void on_late(void *context, const struct late_call *late)
{
    struct guest_hangs *hangs = context;
    struct guests *guests = *hangs->options.guests;
    struct guest *guest =
        guests != NULL && late->id[0] != '\0' ? guests_find(guests, late->id) : NULL;
    uint64_t seconds = late->age_ms / 1000;
    if (late->lateness == CALL_HOPELESS && !hangs->options.has_daemon) {
        log_error("a call does not return and cannot be called off: the agent ends, its guests go "
                  "on, and the next start adopts them",
                  "call", late->name, "id", late->id, "seconds", LOG_NUMBER(seconds));
        hangs->options.give_up(hangs->options.context);
        return;
    }
    if (late->call == WATCHED_FILES)
        log_warn("a disk does not answer", "id", late->id, "seconds", LOG_NUMBER(seconds));
    else if (late->call != WATCHED_TURN)
        log_warn(hangs->options.has_daemon ? "a call does not return: look at libvirt's daemon"
                                           : "a call does not return",
                 "call", late->name, "id", late->id, "seconds", LOG_NUMBER(seconds));
    if (guest == NULL)
        return;
    report(guest, late);
    if (late->lateness == CALL_HANGS) {
        log_warn("the hypervisor's process of a call that hangs is killed", "id", guest->id);
        guest->hung = true;
        kill_processes_of(guest);
    }
}

void guest_hangs_look(struct guest_hangs *hangs)
{
    call_watch_look(hangs->options.watch, on_late, hangs);
}

static void on_timer(uv_timer_t *timer)
{
    guest_hangs_look(timer->data);
    uv_timer_start(timer, on_timer, GUEST_HANGS_EVERY_MS, 0);
}

struct guest_hangs *guest_hangs_create(const struct guest_hangs_options *options)
{
    struct guest_hangs *hangs = xcalloc(1, sizeof *hangs);
    hangs->options = *options;
    uv_timer_init(options->loop, &hangs->timer);
    hangs->timer.data = hangs;
    uv_timer_start(&hangs->timer, on_timer, GUEST_HANGS_EVERY_MS, 0);
    return hangs;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void guest_hangs_destroy(struct guest_hangs *hangs)
{
    if (hangs != NULL)
        uv_close((uv_handle_t *)&hangs->timer, on_closed);
}
