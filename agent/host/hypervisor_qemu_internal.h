/* Shared by hypervisor_qemu.c (what the host half asks), hypervisor_qemu_events.c (the thread that
 * hears of QEMUs) and hypervisor_qemu_adopt.c (those that ran before).
 *
 * One lock guards everything; nobody waits for a QEMU while holding it. Only the event thread reads
 * monitors: who has asked something waits for `changed`. */
#pragma once

#include <pthread.h>

#include "agent/host/cgroup.h"
#include "agent/host/hypervisor_interface.h"
#include "agent/host/qemu_process.h"
#include "agent/host/qmp.h"

/* A command of QMP has this long: a QEMU that is stopped answers nothing. */
#define QEMU_COMMAND_MS 10000
/* From its start until it takes commands; a host may boot many at once. */
#define QEMU_START_MS 60000

enum machine_state {
    MACHINE_STARTING, /* its monitor has not been agreed with yet */
    MACHINE_READY,
    MACHINE_ENDED,
};

/* A microVM. */
struct machine {
    struct machine *next;
    uint64_t number; /* by which epoll names it: never used twice */
    char id[INSTANCE_ID_MAX];
    enum machine_state state;
    struct qemu_process process;
    struct qmp monitor;
    int listeners[2];       /* its sockets, until it has started; -1 */
    enum qmp_reason reason; /* that it gave for shutting down */
    bool panicked;
    bool stopping; /* hypervisor_destroy */
    char words[QEMU_WORDS_MAX];
    /* The one command that is under way. */
    bool asking;
    uint64_t asked, answered; /* numbers of commands; the same: the answer is here */
    bool refused;             /* with `text` */
    char text[QMP_TEXT_MAX];
    struct json_object *value;
    bool greeted; /* its monitor has, which does so once */
    bool breaks_its_word;
    /* What its monitor said in this second. */
    uint64_t second;
    uint32_t messages;
    uint64_t received_before; /* bytes */
};

struct qemu_hypervisor {
    struct hypervisor hypervisor;
    struct hypervisor_listener listener;
    char *folder; /* <run>/q: records, monitors' sockets */
    char *tree;   /* qemu_view.h */
    struct cgroups *cgroups;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* by the monotonic clock */
    pthread_t thread;
    int events;          /* epoll */
    int wake;            /* eventfd: the thread ends */
    uint32_t command_ms; /* QEMU_COMMAND_MS */
    uint64_t last_number;
    struct machine *first;
};

/* NULL when there is none. Under the lock. */
struct machine *qemu_find_machine(struct qemu_hypervisor *qemu, const char *id);
/* Takes the process over, and its monitor; under the lock. `listeners`: both, or -1; taken over. */
struct machine *qemu_add_machine(struct qemu_hypervisor *qemu, const char *id,
                                 struct qemu_process *process, struct qmp *monitor,
                                 const int listeners[2]);
/* Of one that has ended: frees it with its socket, record and group. Under the lock. */
void qemu_drop_machine(struct qemu_hypervisor *qemu, struct machine *machine);
/* Waits for `changed`; false when the deadline passed. Under the lock, which it lets go of. */
bool qemu_await_change(struct qemu_hypervisor *qemu, uint64_t deadline_ms);

/* Starts the thread. */
void qemu_events_start(struct qemu_hypervisor *qemu);
void qemu_events_stop(struct qemu_hypervisor *qemu);
/* Has the thread hear of a machine; under the lock. */
void qemu_events_add(struct qemu_hypervisor *qemu, struct machine *machine);

/* Waits until it takes commands. -1 and why when it ends or does not get that far in time. */
int qemu_await_ready(struct qemu_hypervisor *qemu, const char *id, uint64_t deadline_ms,
                     struct error *error);
/* Asks its monitor and waits for the answer; the caller frees `ret_value`, which may be NULL. */
int qemu_ask(struct qemu_hypervisor *qemu, const char *id, const char *command,
             const char *arguments, struct json_object **ret_value, struct error *error);
/* The same with a descriptor (-1: none), which stays the caller's. */
int qemu_ask_with(struct qemu_hypervisor *qemu, const char *id, const char *command,
                  const char *arguments, int descriptor, struct json_object **ret_value,
                  struct error *error);
/* hypervisor_qemu_debug.c */
int qemu_switch_debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                      struct error *error);

/* QEMU's RunState: "running", "paused", "prelaunch" before the first resume, ... */
#define QEMU_STATUS_MAX 32
int qemu_query_status(struct qemu_hypervisor *qemu, const char *id, uint64_t deadline_ms,
                      char ret_status[QEMU_STATUS_MAX], struct error *error);

/* hypervisor_qemu_disks.c. `value`: what query-blockstats returned. */
int qemu_decode_disks(struct json_object *value, struct hypervisor_disk_use *ret_use,
                      struct error *error);
int qemu_use_of_disks(struct hypervisor *hypervisor, const char *id,
                      struct hypervisor_disk_use *ret_use, struct error *error);

int qemu_adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
               size_t *ret_count, struct error *error);
