#include "agent/host/guests.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/console.h"
#include "agent/host/gdb_socket.h"
#include "agent/host/guest_pulse.h"
#include "agent/host/guest_user.h"
#include "agent/host/guests_internal.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* More guests than a node can have addresses for: a bound, not a promise. */
#define GUESTS_MAX 4096

struct guests *guests_create(const struct guests_options *options)
{
    struct guests *guests = xcalloc(1, sizeof *guests);
    guests->options = *options;
    guests->console_folder = xasprintf("%s/consoles", options->log_directory);
    struct console_file_options logs = {
        .folder = guests->console_folder,
        .size = options->log_size > 0 ? options->log_size : CONSOLE_LOG_SIZE,
        .files = options->log_files > 0 ? options->log_files : CONSOLE_LOG_FILES,
        .reader = options->log_reader,
        .clock = clock_system(),
    };
    guests->consoles = consoles_create(options->loop, &logs);
    guests->pulse = guest_pulse_create(options->loop, guests);
    return guests;
}

static void free_guest(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_guest(struct guest *guest)
{
    console_destroy(guest->console);
    uv_close((uv_handle_t *)&guest->grace, free_guest);
}

void guests_destroy(struct guests *guests)
{
    if (guests == NULL)
        return;
    for (struct guest *guest = guests->first, *next; guest != NULL; guest = next) {
        next = guest->next;
        close_guest(guest);
    }
    consoles_destroy(guests->consoles);
    guest_pulse_destroy(guests->pulse);
    free(guests->console_folder);
    free(guests);
}

struct guest *guests_find(struct guests *guests, const char *id)
{
    for (struct guest *guest = guests->first; guest != NULL; guest = guest->next) {
        if (strcmp(guest->id, id) == 0)
            return guest;
    }
    return NULL;
}

static struct guest *add(struct guests *guests, const char *id)
{
    struct guest *guest = xcalloc(1, sizeof *guest);
    guest->guests = guests;
    snprintf(guest->id, sizeof guest->id, "%s", id);
    host_mac_of_instance(id, guest->mac);
    network_tap_name(id, guest->tap);
    uv_timer_init(guests->options.loop, &guest->grace);
    guest->grace.data = guest;
    guest->next = guests->first;
    guests->first = guest;
    guests->count++;
    return guest;
}

static void drop(struct guests *guests, struct guest *guest)
{
    struct guest **link = &guests->first;
    while (*link != guest)
        link = &(*link)->next;
    *link = guest->next;
    guests->count--;
    close_guest(guest);
}

static void answer(struct guests *guests, uint64_t sequence, const struct error *error)
{
    guests->options.answer(guests->options.context, sequence, error);
}

static void on_halted(void *context);

static void attach_console(struct guest *guest, int descriptor, bool is_adopted)
{
    const struct family *family = family_find(guest->family);
    guest->console = console_create(guest->guests->consoles, descriptor, guest->id, is_adopted);
    if (family != NULL && family->halted != NULL)
        console_watch(guest->console, family->halted, on_halted, guest);
}

/* ---- ending ---- */

static struct guest_end_facts facts_of(const struct guest *guest)
{
    const struct family *family = family_find(guest->family);
    return (struct guest_end_facts){
        .end = guest->end,
        .is_stopping = guest->stopping,
        .reason = guest->stopping ? guest->stop.reason : NULL,
        .is_halted = guest->halted,
        .is_hung = guest->hung,
        .powers_off = family != NULL && family->powers_off,
        .is_reaped = guest->reaped,
        .wait_status = guest->wait_status,
        .is_oom = guest->oom,
        .limit = guest->memory_limit,
    };
}

/* Before what counts its memory goes. */
static void look_at_memory(struct guest *guest)
{
    struct guest_end_facts facts = facts_of(guest);
    guest_memory_look(&guest->memory, &facts);
    guest->oom = facts.is_oom;
    guest->memory_limit = facts.limit;
}

static void report_end(struct guest *guest)
{
    struct guests *guests = guest->guests;
    struct host_instance instance = {.state = HOST_INSTANCE_ENDED};
    memcpy(instance.id, guest->id, sizeof instance.id);
    memcpy(instance.kernel, guest->kernel, sizeof instance.kernel);
    memcpy(instance.image, guest->image, sizeof instance.image);
    struct guest_end_facts facts = facts_of(guest);
    instance.cause = guest_end_judge(&facts, instance.message, sizeof instance.message);
    log_info("microVM ended", "id", guest->id, "cause", instance.message);
    consoles_mark(guests->consoles, guest->id, "ended", instance.message);
    guests->options.report(guests->options.context, &instance);
}

/* Whoever hears of an end may have the guest forgotten: no job of it may be under way. */
void guest_finish_end(struct guest *guest)
{
    if (!guest->end_is_done || guest->destroying || guest->pressing || guest->pausing)
        return;
    guest->end_is_done = false;
    guest->state = GUEST_ENDED;
    report_end(guest);
}

static void end_done(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    if (job->result < 0)
        log_warn("an ended microVM left something", "id", guest->id, "error", job->error.message);
    guest->end_is_done = true;
    guest_finish_end(guest);
    free(job);
}

void guest_begin_end(struct guest *guest, enum hypervisor_end end)
{
    guest->state = GUEST_ENDING;
    guest->end = end;
    if (end == HYPERVISOR_END_DEATH && !guest->oom)
        look_at_memory(guest);
    uv_timer_stop(&guest->grace);
    console_destroy(guest->console);
    guest->console = NULL;
    guest_job_submit(guest, 0, guest_job_end, end_done);
}

void guests_ended(struct guests *guests, const char *id, enum hypervisor_end end)
{
    struct guest *guest = guests_find(guests, id);
    if (guest == NULL)
        return;
    if (guest->state == GUEST_BOOTING) {
        guest->ended_early = true;
        guest->end = end;
    } else if (guest->state == GUEST_RUNNING) {
        guest_begin_end(guest, end);
    }
}

bool guests_reaped(struct guests *guests, pid_t pid, int status)
{
    for (struct guest *guest = guests->first; guest != NULL; guest = guest->next) {
        if (guest->pid == pid && guest->state != GUEST_ENDED) {
            guest->reaped = true;
            guest->wait_status = status;
            look_at_memory(guest);
            return true;
        }
    }
    return false;
}

/* ---- stopping ---- */

static void on_grace(uv_timer_t *timer);

static void destroy_done(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    guest->destroying = false;
    /* The event may have come before this, or, when it was lost, never comes. */
    if (job->result == 0 && guest->state == GUEST_RUNNING) {
        guest_begin_end(guest, HYPERVISOR_END_STOP);
    } else if (guest->state == GUEST_RUNNING) {
        log_warn("a microVM cannot be ended, trying again", "id", guest->id, "error",
                 job->error.message);
        uv_timer_start(&guest->grace, on_grace, 1000, 0);
    }
    guest_finish_end(guest);
    free(job);
}

void guest_begin_destroy(struct guest *guest)
{
    uv_timer_stop(&guest->grace);
    if (guest->destroying)
        return;
    guest->destroying = true;
    guest_job_submit(guest, 0, guest_job_destroy, destroy_done);
}

static void on_grace(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    if (guest->state == GUEST_RUNNING)
        guest_begin_destroy(guest);
}

/* Its console said what its family says at the end; its machine stays up. */
static void on_halted(void *context)
{
    struct guest *guest = context;
    if (guest->state != GUEST_RUNNING || guest->halted)
        return;
    guest->halted = true;
    guest_begin_destroy(guest);
}

static void press_done(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    guest->pressing = false;
    if (job->result < 0 && guest->state == GUEST_RUNNING) {
        log_warn("a guest cannot be told to stop and is ended by force", "id", guest->id, "error",
                 job->error.message);
        guest_begin_destroy(guest);
    }
    guest_finish_end(guest);
    free(job);
}

static void begin_press(struct guest *guest)
{
    uv_timer_start(&guest->grace, on_grace, guest->stop.grace_ms, 0);
    if (guest->pressing)
        return;
    guest->pressing = true;
    guest_job_submit(guest, 0, guest_job_press, press_done);
}

static void begin_stop(struct guest *guest)
{
    struct error error = ERROR_INIT;
    if (guest->stop.method == HOST_STOP_KILL) {
        guest_begin_destroy(guest);
        return;
    }
    if (guest->stop.method == HOST_STOP_ACPI) {
        begin_press(guest);
        return;
    }
    if (guest->console != NULL && console_send(guest->console, 0x04, &error) == 0) {
        uv_timer_start(&guest->grace, on_grace, guest->stop.grace_ms, 0);
        return;
    }
    log_warn("a guest cannot be told to stop and is ended by force", "id", guest->id, "error",
             error.message);
    guest_begin_destroy(guest);
}

void guests_stop(struct guests *guests, uint64_t sequence, const struct host_stop *stop)
{
    struct error error = ERROR_INIT;
    struct guest *guest = guests_find(guests, stop->id);
    if (guest == NULL || guest->state == GUEST_ENDED) {
        error_set(&error, ERROR_NOT_FOUND, "instance %s does not run here", stop->id);
        answer(guests, sequence, &error);
        return;
    }
    guest->stopping = true;
    guest->stop = *stop;
    answer(guests, sequence, NULL);
    if (guest->state == GUEST_RUNNING)
        begin_stop(guest);
}

/* ---- booting ---- */

static void boot_done(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    struct guests *guests = guest->guests;
    if (job->begun_ns == 0) /* the worker has ended before */
        call_watch_end(guests->options.watch, &job->turn, 0);
    if (job->result < 0) {
        guest->state = GUEST_ENDED;
        if (guest->hung)
            error_wrap(&job->error, "the hypervisor did not answer, and its process was killed");
        error_wrap(&job->error, "boot %s", guest->id);
        log_warn("microVM does not start", "id", guest->id, "error", job->error.message);
        consoles_mark(guests->consoles, guest->id, "not started", job->error.message);
        answer(guests, job->sequence, &job->error);
    } else {
        guest->state = GUEST_RUNNING;
        guest->pid = job->pid;
        guest->memory = job->memory;
        guest->begun_before_ms = 0;
        guest->adopted_at = uv_now(guests->options.loop);
        attach_console(guest, job->console, false);
        log_info("microVM started", "id", guest->id, "pid", LOG_NUMBER(guest->pid));
        guest_steps_started(guest, job);
        answer(guests, job->sequence, NULL);
        /* An end that was told of meanwhile may be that of an earlier attempt. */
        if (guest->ended_early && guest_process_look(guest->pid) == GUEST_PROCESS_GONE)
            guest_begin_end(guest, guest->end);
        else if (guest->stopping)
            begin_stop(guest);
    }
    free(job);
}

/* No two guests at once with one address, or with one user, who could meddle with both QEMUs. */
static int check_unique(struct guests *guests, const struct host_boot *boot, struct error *error)
{
    for (const struct guest *other = guests->first; other != NULL; other = other->next) {
        if (other->state == GUEST_ENDED || strcmp(other->id, boot->id) == 0)
            continue;
        if (strcmp(other->address, boot->address) == 0)
            return error_set(error, ERROR_CONFLICT, "instance %s has the address %s", other->id,
                             boot->address);
        if (guest_user_of(other->id) == guest_user_of(boot->id))
            return error_set(error, ERROR_CONFLICT,
                             "instance %s runs under the same user as %s would: replace one of "
                             "them",
                             other->id, boot->id);
    }
    return 0;
}

static struct guest *room_for(struct guests *guests, const struct host_boot *boot,
                              struct error *error)
{
    struct guest *guest = guests_find(guests, boot->id);
    if (guest != NULL && guest->state != GUEST_ENDED) {
        error_set(error, ERROR_CONFLICT, "instance %s runs already", boot->id);
        return NULL;
    }
    if (guest == NULL && guests->count >= GUESTS_MAX) {
        error_set(error, ERROR_NO_CAPACITY, "this node has %d instances, no more", GUESTS_MAX);
        return NULL;
    }
    if (check_unique(guests, boot, error) < 0)
        return NULL;
    return guest != NULL ? guest : add(guests, boot->id);
}

static const struct family_boot *find_way(const struct host_boot *boot, struct error *error)
{
    const struct family *family = family_find(boot->family);
    if (family == NULL) {
        error_set(error, ERROR_UNSUPPORTED, "there is no family %s", boot->family);
        return NULL;
    }
    if (family->refused != NULL) {
        error_set(error, ERROR_UNSUPPORTED, "family %s does not run here: %s", family->name,
                  family->refused);
        return NULL;
    }
    return family_find_boot(family, boot->arch, boot_protocol_names[boot->protocol],
                            boot_machine_names[boot->machine], error);
}

void guests_boot(struct guests *guests, uint64_t sequence, const struct host_boot *boot)
{
    struct error error = ERROR_INIT;
    const struct family_boot *way = find_way(boot, &error);
    struct guest *guest = way != NULL ? room_for(guests, boot, &error) : NULL;
    if (guest == NULL) {
        answer(guests, sequence, &error);
        return;
    }
    guest->state = GUEST_BOOTING;
    guest->pid = 0;
    guest->stopping = guest->halted = guest->hung = guest->oom = false;
    guest->ended_early = guest->reaped = guest->paused = false;
    guest->memory = (struct guest_memory){0};
    guest->missed_pulses = 0;
    memcpy(guest->family, boot->family, sizeof guest->family);
    memcpy(guest->kernel, boot->kernel, sizeof guest->kernel);
    memcpy(guest->image, boot->image, sizeof guest->image);
    memcpy(guest->address, boot->address, sizeof guest->address);
    struct guest_job *job = guest_job_create(guest, sequence, guest_job_boot, boot_done);
    job->boot = *boot;
    job->way = way;
    guest_steps_begin(guest, job);
    call_watch_begin(guests->options.watch, &job->turn, WATCHED_TURN, guest->id);
    worker_submit(guests->options.boot_worker, &job->job);
}

/* ---- forgetting ---- */

static void forget_done(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    struct guests *guests = guest->guests;
    answer(guests, job->sequence, job->result < 0 ? &job->error : NULL);
    if (job->result == 0)
        drop(guests, guest);
    else
        guest->state = GUEST_ENDED;
    free(job);
}

void guests_forget(struct guests *guests, uint64_t sequence, const char *id)
{
    struct guest *guest = guests_find(guests, id);
    if (guest != NULL && guest->state != GUEST_ENDED) {
        struct error error = ERROR_INIT;
        error_set(&error, ERROR_CONFLICT, "instance %s still runs: stop it first", id);
        answer(guests, sequence, &error);
        return;
    }
    if (guest == NULL)
        guest = add(guests, id);
    guest->state = GUEST_ENDING;
    guest_job_submit(guest, sequence, guest_job_forget, forget_done);
}

/* ---- adopting ---- */

static void adopt_one(struct guests *guests, const struct hypervisor_found *found)
{
    const struct microvm_identity *identity = &found->identity;
    struct guest *guest = add(guests, identity->id);
    struct error error = ERROR_INIT;
    int descriptor;
    guest->state = GUEST_RUNNING;
    guest->paused = found->paused;
    guest->pid = found->pid;
    guest_memory_begin(found->pid, &guest->memory);
    guest->begun_before_ms = found->uptime_ms;
    guest->adopted_at = uv_now(guests->options.loop);
    memcpy(guest->family, identity->family, sizeof guest->family);
    memcpy(guest->kernel, identity->kernel, sizeof guest->kernel);
    memcpy(guest->image, identity->image, sizeof guest->image);
    memcpy(guest->address, identity->address, sizeof guest->address);
    AUTO_FREE char *path = guest_console_path(guest);
    if (console_connect(path, &descriptor, &error) == 0)
        attach_console(guest, descriptor, true);
    else
        log_warn("an adopted microVM has no console", "id", guest->id, "error", error.message);
    log_info("microVM adopted", "id", guest->id, "uptime_ms", LOG_NUMBER(found->uptime_ms));
}

void guests_adopt(struct guests *guests, const struct hypervisor_found *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        adopt_one(guests, &found[i]);
    guests_sweep(guests);
}

void guests_report_running(struct guests *guests)
{
    for (struct guest *guest = guests->first; guest != NULL; guest = guest->next) {
        if (guest->state != GUEST_RUNNING)
            continue;
        struct host_instance instance = {.state = guest->paused ? HOST_INSTANCE_PAUSED
                                                                : HOST_INSTANCE_RUNNING};
        memcpy(instance.id, guest->id, sizeof instance.id);
        memcpy(instance.kernel, guest->kernel, sizeof instance.kernel);
        memcpy(instance.image, guest->image, sizeof instance.image);
        instance.uptime_ms =
            guest->begun_before_ms + uv_now(guests->options.loop) - guest->adopted_at;
        instance.debugged = gdb_socket_is_open(guests->options.run_directory, guest->id);
        guests->options.report(guests->options.context, &instance);
    }
}
