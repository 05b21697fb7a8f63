#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/hypervisor_qemu_internal.h"
#include "lib/clock.h"
#include "lib/log.h"

/* Of one monitor in one second. QEMU does not hold back all that a guest can cause: where the disk
 * is full it tells of each write that failed, which is some ten thousands. One that says more has
 * been taken over, and would keep the thread busy for all. */
#define MESSAGES_PER_SECOND 50000
#define BYTES_PER_SECOND    ((uint64_t)16 << 20)
#define EVENTS_AT_ONCE      64
#define READS_AT_END        8
#define CAPABILITIES        1 /* the number of the first command */

/* What epoll says of a machine: its number and which descriptor. */
enum source { SOURCE_MONITOR, SOURCE_PROCESS };
#define WAKE UINT64_MAX

static void watch(struct qemu_hypervisor *qemu, int descriptor, uint64_t name)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = name};
    if (epoll_ctl(qemu->events, EPOLL_CTL_ADD, descriptor, &event) < 0) {
        log_error("a microVM cannot be watched", "error", strerror(errno));
        abort();
    }
}

void qemu_events_add(struct qemu_hypervisor *qemu, struct machine *machine)
{
    watch(qemu, machine->process.watch, machine->number << 1 | SOURCE_PROCESS);
    if (machine->monitor.descriptor >= 0)
        watch(qemu, machine->monitor.descriptor, machine->number << 1 | SOURCE_MONITOR);
}

/* ---- what a monitor says ---- */

static void begin_commands(struct machine *machine)
{
    struct error error = ERROR_INIT;
    machine->greeted = true;
    machine->asked = machine->answered = CAPABILITIES;
    if (qmp_send(&machine->monitor, CAPABILITIES, "qmp_capabilities", NULL, &error) < 0)
        log_warn("a QEMU takes no commands", "id", machine->id, "error", error.message);
}

static void take_answer(struct machine *machine, struct qmp_message *message)
{
    if (message->id == CAPABILITIES && message->kind == QMP_RETURN) {
        if (machine->state == MACHINE_STARTING)
            machine->state = MACHINE_READY;
        return;
    }
    if (message->id != machine->asked || machine->answered == machine->asked)
        return; /* of one that nobody waits for any more */
    machine->answered = message->id;
    machine->refused = message->kind == QMP_ERROR;
    memcpy(machine->text, message->text, sizeof machine->text);
    json_object_put(machine->value);
    machine->value = json_object_get(message->value);
}

static void take_event(struct machine *machine, const struct qmp_message *message)
{
    if (message->event == QMP_EVENT_PANICKED)
        machine->panicked = true;
    else if (message->event == QMP_EVENT_SHUTDOWN)
        machine->reason = message->reason;
}

static void take_message(void *context, struct qmp_message *message)
{
    struct machine *machine = context;
    machine->messages++;
    if (message->kind == QMP_GREETING && machine->greeted)
        machine->breaks_its_word = true;
    else if (message->kind == QMP_GREETING)
        begin_commands(machine);
    else if (message->kind == QMP_EVENT)
        take_event(machine, message);
    else
        take_answer(machine, message);
}

static void note_second(struct machine *machine)
{
    uint64_t second = clock_monotonic_ms(clock_system()) / 1000;
    if (machine->second == second)
        return;
    machine->second = second;
    machine->messages = 0;
    machine->received_before = machine->monitor.received;
}

static int judge_talk(const struct machine *machine, struct error *error)
{
    if (machine->breaks_its_word)
        return error_set(error, ERROR_PROTOCOL, "its monitor greets twice");
    if (machine->messages > MESSAGES_PER_SECOND ||
        machine->monitor.received - machine->received_before > BYTES_PER_SECOND)
        return error_set(error, ERROR_PROTOCOL, "its monitor does not stop talking");
    return 1;
}

/* Closing takes it out of epoll. */
static void on_monitor(struct qemu_hypervisor *qemu, struct machine *machine)
{
    struct error error = ERROR_INIT;
    note_second(machine);
    int result = qmp_receive(&machine->monitor, take_message, machine, &error);
    if (result > 0)
        result = judge_talk(machine, &error);
    if (result < 0) {
        log_warn("a QEMU that breaks its word is ended", "id", machine->id, "error", error.message);
        qemu_process_kill(&machine->process);
    }
    if (result <= 0)
        qmp_close(&machine->monitor);
    pthread_cond_broadcast(&qemu->changed);
}

/* ---- the end ---- */

static enum hypervisor_end judge_end(const struct machine *machine)
{
    if (machine->stopping)
        return HYPERVISOR_END_STOP;
    if (machine->panicked || machine->reason == QMP_REASON_GUEST_PANIC)
        return HYPERVISOR_END_PANIC;
    if (machine->reason == QMP_REASON_GUEST_RESET)
        return HYPERVISOR_END_RESET;
    if (machine->reason == QMP_REASON_GUEST_SHUTDOWN)
        return HYPERVISOR_END_EXIT;
    return HYPERVISOR_END_DEATH;
}

struct ending {
    char id[INSTANCE_ID_MAX];
    enum hypervisor_end end;
    pid_t pid;
    int status;
    bool told; /* it had been booted: an end is news */
};

/* What it said last is still to be read. */
static void on_process(struct qemu_hypervisor *qemu, struct machine *machine,
                       struct ending *ret_ending)
{
    for (int i = 0; i < READS_AT_END && machine->monitor.descriptor >= 0; i++) {
        if (qmp_receive(&machine->monitor, take_message, machine, NULL) <= 0)
            qmp_close(&machine->monitor);
    }
    qmp_close(&machine->monitor);
    epoll_ctl(qemu->events, EPOLL_CTL_DEL, machine->process.watch, NULL);
    qemu_process_last_words(&machine->process, machine->words);
    machine->state = MACHINE_ENDED;
    memcpy(ret_ending->id, machine->id, sizeof ret_ending->id);
    ret_ending->end = judge_end(machine);
    ret_ending->pid = machine->process.pid;
    ret_ending->status = qemu_process_reap(&machine->process);
    ret_ending->told = true;
    if (ret_ending->end == HYPERVISOR_END_DEATH && machine->words[0] != '\0')
        log_warn("a QEMU has ended by itself", "id", machine->id, "it_said", machine->words);
    pthread_cond_broadcast(&qemu->changed);
}

/* ---- the thread ---- */

static struct machine *find_number(struct qemu_hypervisor *qemu, uint64_t number)
{
    struct machine *machine = qemu->first;
    while (machine != NULL && machine->number != number)
        machine = machine->next;
    return machine;
}

/* The listener is called without the lock: it may want anything of this. */
static void take(struct qemu_hypervisor *qemu, uint64_t name)
{
    struct ending ending = {.told = false};
    pthread_mutex_lock(&qemu->lock);
    struct machine *machine = find_number(qemu, name >> 1);
    if (machine == NULL || machine->state == MACHINE_ENDED) {
        /* of one that is gone meanwhile */
    } else if ((name & 1) == SOURCE_PROCESS) {
        on_process(qemu, machine, &ending);
    } else if (machine->monitor.descriptor >= 0) {
        on_monitor(qemu, machine);
    }
    pthread_mutex_unlock(&qemu->lock);
    if (!ending.told)
        return;
    if (ending.status >= 0 && qemu->listener.reaped != NULL)
        qemu->listener.reaped(qemu->listener.context, ending.pid, ending.status);
    qemu->listener.ended(qemu->listener.context, ending.id, ending.end);
}

static void *run(void *context)
{
    struct qemu_hypervisor *qemu = context;
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        int count = epoll_wait(qemu->events, events, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == WAKE)
                return NULL;
            take(qemu, events[i].data.u64);
        }
    }
}

void qemu_events_start(struct qemu_hypervisor *qemu)
{
    sigset_t all, before;
    qemu->events = epoll_create1(EPOLL_CLOEXEC);
    qemu->wake = eventfd(0, EFD_CLOEXEC);
    if (qemu->events < 0 || qemu->wake < 0)
        abort();
    watch(qemu, qemu->wake, WAKE);
    sigfillset(&all); /* signals are the loop thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&qemu->thread, NULL, run, qemu) != 0)
        abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void qemu_events_stop(struct qemu_hypervisor *qemu)
{
    eventfd_write(qemu->wake, 1);
    pthread_join(qemu->thread, NULL);
    close(qemu->wake);
    close(qemu->events);
}
