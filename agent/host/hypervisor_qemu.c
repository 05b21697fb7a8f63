/* QEMU without libvirt: started by this process, spoken to by QMP. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/domain_xml.h"
#include "agent/host/hypervisor_qemu_internal.h"
#include "agent/host/qemu_record.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* QEMU's own threads beside its processors': the main one, RCU's, and those of disks. */
#define THREADS_BESIDE 80
/* Descriptors of this process: four a microVM. */
#define DESCRIPTORS_WANTED 65536
#define END_MS             10000

static struct qemu_hypervisor *of(struct hypervisor *hypervisor)
{
    return (struct qemu_hypervisor *)hypervisor;
}

static uint64_t now(void)
{
    return clock_monotonic_ms(clock_system());
}

/* ---- machines ---- */

struct machine *qemu_find_machine(struct qemu_hypervisor *qemu, const char *id)
{
    struct machine *machine = qemu->first;
    while (machine != NULL && strcmp(machine->id, id) != 0)
        machine = machine->next;
    return machine;
}

struct machine *qemu_add_machine(struct qemu_hypervisor *qemu, const char *id,
                                 struct qemu_process *process, struct qmp *monitor,
                                 const int listeners[2])
{
    struct machine *machine = xcalloc(1, sizeof *machine);
    machine->number = ++qemu->last_number;
    snprintf(machine->id, sizeof machine->id, "%s", id);
    machine->process = *process;
    machine->monitor = *monitor;
    machine->listeners[0] = listeners[0];
    machine->listeners[1] = listeners[1];
    *process = QEMU_PROCESS_NONE;
    *monitor = QMP_NONE;
    machine->next = qemu->first;
    qemu->first = machine;
    qemu_events_add(qemu, machine);
    return machine;
}

static void close_listeners(struct machine *machine)
{
    for (size_t i = 0; i < ARRAY_LENGTH(machine->listeners); i++) {
        if (machine->listeners[i] >= 0)
            close(machine->listeners[i]);
        machine->listeners[i] = -1;
    }
}

static void free_machine(struct qemu_hypervisor *qemu, struct machine *machine)
{
    struct machine **link = &qemu->first;
    while (*link != machine)
        link = &(*link)->next;
    *link = machine->next;
    close_listeners(machine);
    qmp_close(&machine->monitor);
    qemu_process_release(&machine->process);
    json_object_put(machine->value);
    free(machine);
}

static char *monitor_path(const struct qemu_hypervisor *qemu, const char *id)
{
    return xasprintf("%s/%s.qmp", qemu->folder, id);
}

void qemu_drop_machine(struct qemu_hypervisor *qemu, struct machine *machine)
{
    char name[DOMAIN_NAME_MAX];
    struct error error = ERROR_INIT;
    AUTO_FREE char *path = monitor_path(qemu, machine->id);
    domain_name(machine->id, name);
    unlink(path);
    qemu_record_remove(qemu->folder, machine->id);
    if (cgroups_remove(qemu->cgroups, name, &error) < 0)
        log_warn("an ended microVM left its control group", "id", machine->id, "error",
                 error.message);
    free_machine(qemu, machine);
}

bool qemu_await_change(struct qemu_hypervisor *qemu, uint64_t deadline_ms)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000),
                             .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    return pthread_cond_timedwait(&qemu->changed, &qemu->lock, &until) != ETIMEDOUT;
}

/* ---- asking ---- */

static int refuse_ended(const struct machine *machine, struct error *error)
{
    if (machine != NULL && machine->words[0] != '\0')
        return error_set(error, ERROR_IO, "QEMU does not run: %s", machine->words);
    return error_set(error, ERROR_NOT_FOUND, "its QEMU has ended");
}

/* Under the lock. */
static int await_ready(struct qemu_hypervisor *qemu, const char *id, uint64_t deadline_ms,
                       struct error *error)
{
    for (;;) {
        struct machine *machine = qemu_find_machine(qemu, id);
        if (machine == NULL || machine->state == MACHINE_ENDED)
            return refuse_ended(machine, error);
        if (machine->state == MACHINE_READY) {
            close_listeners(machine);
            return 0;
        }
        if (!qemu_await_change(qemu, deadline_ms))
            return error_set(error, ERROR_TIMEOUT, "QEMU's monitor does not answer");
    }
}

int qemu_await_ready(struct qemu_hypervisor *qemu, const char *id, uint64_t deadline_ms,
                     struct error *error)
{
    pthread_mutex_lock(&qemu->lock);
    int result = await_ready(qemu, id, deadline_ms, error);
    pthread_mutex_unlock(&qemu->lock);
    return result;
}

/* Waits for one's turn: a monitor has one command at a time. Under the lock. */
static struct machine *begin_asking(struct qemu_hypervisor *qemu, const char *id,
                                    uint64_t deadline_ms, struct error *error)
{
    if (await_ready(qemu, id, deadline_ms, error) < 0)
        return NULL;
    for (;;) {
        struct machine *machine = qemu_find_machine(qemu, id);
        if (machine == NULL || machine->state == MACHINE_ENDED) {
            refuse_ended(machine, error);
            return NULL;
        }
        if (!machine->asking) {
            machine->asking = true;
            return machine;
        }
        if (!qemu_await_change(qemu, deadline_ms)) {
            error_set(error, ERROR_TIMEOUT, "QEMU's monitor is busy");
            return NULL;
        }
    }
}

/* A machine that is being asked is not dropped: see await_gone. */
static int ask(struct qemu_hypervisor *qemu, struct machine *machine, const char *command,
               const char *arguments, int descriptor, uint64_t deadline_ms,
               struct json_object **ret_value, struct error *error)
{
    machine->asked++;
    if (qmp_send_with(&machine->monitor, machine->asked, command, arguments, descriptor, error) < 0)
        return -1;
    while (machine->answered != machine->asked && machine->state != MACHINE_ENDED) {
        if (!qemu_await_change(qemu, deadline_ms))
            return error_set(error, ERROR_TIMEOUT, "QEMU does not answer to %s", command);
    }
    if (machine->answered != machine->asked)
        return refuse_ended(machine, error);
    if (machine->refused)
        return error_set(error, ERROR_IO, "QEMU refuses %s: %s", command, machine->text);
    if (ret_value != NULL)
        *ret_value = TAKE_POINTER(machine->value);
    return 0;
}

int qemu_ask(struct qemu_hypervisor *qemu, const char *id, const char *command,
             const char *arguments, struct json_object **ret_value, struct error *error)
{
    return qemu_ask_with(qemu, id, command, arguments, -1, ret_value, error);
}

static int ask_until(struct qemu_hypervisor *qemu, const char *id, const char *command,
                     const char *arguments, int descriptor, uint64_t deadline,
                     struct json_object **ret_value, struct error *error)
{
    int result = -1;
    pthread_mutex_lock(&qemu->lock);
    struct machine *machine = begin_asking(qemu, id, deadline, error);
    if (machine != NULL) {
        result = ask(qemu, machine, command, arguments, descriptor, deadline, ret_value, error);
        machine->asking = false;
        pthread_cond_broadcast(&qemu->changed);
    }
    pthread_mutex_unlock(&qemu->lock);
    return result;
}

int qemu_ask_with(struct qemu_hypervisor *qemu, const char *id, const char *command,
                  const char *arguments, int descriptor, struct json_object **ret_value,
                  struct error *error)
{
    return ask_until(qemu, id, command, arguments, descriptor, now() + qemu->command_ms, ret_value,
                     error);
}

/* ---- creating ---- */

/* A socket that only root can connect to; QEMU gets it as a descriptor. */
static int listen_at(const char *path, int *ret_socket, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!text_copy(address.sun_path, sizeof address.sun_path, path))
        return error_set(error, ERROR_INVALID, "the socket's path %s is too long", path);
    unlink(path);
    AUTO_CLOSE int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(path, 0600) < 0 || listen(listener, 1) < 0)
        return error_set_errno(error, errno, "listen at %s", path);
    *ret_socket = TAKE_DESCRIPTOR(listener);
    return 0;
}

/* All that a QEMU is started with, and what is left of it afterwards. */
struct creation {
    struct qemu_command command;
    struct qemu_view view;
    struct cgroup_doors doors;
    int listeners[2]; /* console, monitor */
    struct qemu_process process;
    struct qmp monitor;
};

static void release_creation(struct creation *creation)
{
    qemu_command_release(&creation->command);
    cgroup_doors_close(&creation->doors);
    for (size_t i = 0; i < ARRAY_LENGTH(creation->listeners); i++) {
        if (creation->listeners[i] >= 0)
            close(creation->listeners[i]);
    }
    qmp_close(&creation->monitor);
}

/* Where this thread has a group ready the child is born in it, and the thread's way out of it takes
 * its time while QEMU starts; elsewhere the child joins. */
static int start_in_group(struct cgroups *cgroups, const char *name,
                          const struct cgroup_limits *limits, struct qemu_start *begin,
                          struct cgroup_doors *doors, struct qemu_process *ret_process,
                          struct error *error)
{
    struct error why = ERROR_INIT;
    int result = cgroups_take_next(cgroups, name, limits, &why);
    if (result < 0 && why.code == ERROR_UNSUPPORTED) {
        result = cgroups_make(cgroups, name, limits, doors, error);
        return result < 0 ? -1 : qemu_process_start(begin, ret_process, error);
    }
    result = result < 0 ? error_copy(error, &why) : qemu_process_start(begin, ret_process, error);
    if (cgroups_enter_next(cgroups, &why) < 0)
        log_warn("a thread has no control group ready", "error", why.message);
    if (result < 0)
        cgroups_remove(cgroups, name, NULL);
    return result;
}

static int start(struct qemu_hypervisor *qemu, const struct microvm_spec *spec, const char *monitor,
                 struct creation *creation, struct error *error)
{
    struct cgroup_limits limits = {.memory = spec->limit,
                                   .processor_percent = (spec->vcpus + 1) * 100};
    char name[DOMAIN_NAME_MAX];
    domain_name(spec->id, name);
    qemu_view_of(spec, qemu->tree, &creation->view);
    if (qemu_command_make(spec, &creation->command, error) < 0 ||
        listen_at(spec->console_path, &creation->listeners[0], error) < 0 ||
        listen_at(monitor, &creation->listeners[1], error) < 0 ||
        qmp_connect(monitor, &creation->monitor, error) < 0)
        return -1;
    struct qemu_start begin = {
        .command = &creation->command,
        .view = &creation->view,
        .doors = &creation->doors,
        .uid = spec->uid,
        .gid = spec->gid,
        .threads = spec->vcpus + THREADS_BESIDE,
        .writes = spec->disk_count + spec->volume_count > 0,
        .console = creation->listeners[0],
        .monitor = creation->listeners[1],
        .tap = spec->tap_descriptor,
    };
    return start_in_group(qemu->cgroups, name, &limits, &begin, &creation->doors,
                          &creation->process, error);
}

static int write_record(struct qemu_hypervisor *qemu, const struct microvm_spec *spec, pid_t pid,
                        struct error *error)
{
    struct qemu_record record = {.pid = (uint32_t)pid, .started = process_start_time(pid)};
    struct microvm_identity *identity = &record.identity;
    memcpy(identity->id, spec->id, sizeof identity->id);
    memcpy(identity->kernel, spec->kernel, sizeof identity->kernel);
    memcpy(identity->image, spec->image, sizeof identity->image);
    memcpy(identity->address, spec->address, sizeof identity->address);
    memcpy(identity->family, spec->family, sizeof identity->family);
    return qemu_record_write(qemu->folder, &record, error);
}

/* A guest that nobody would know of again never begins: it is resumed only after it was written
 * down. */
static int create(struct hypervisor *hypervisor, const struct microvm_spec *spec, pid_t *ret_pid,
                  struct error *error)
{
    struct qemu_hypervisor *qemu = of(hypervisor);
    struct creation creation = {.doors = CGROUP_DOORS_NONE,
                                .listeners = {-1, -1},
                                .process = QEMU_PROCESS_NONE,
                                .monitor = QMP_NONE};
    AUTO_FREE char *monitor = monitor_path(qemu, spec->id);
    if (start(qemu, spec, monitor, &creation, error) < 0) {
        release_creation(&creation);
        unlink(monitor);
        return -1;
    }
    pid_t pid = creation.process.pid;
    int result = write_record(qemu, spec, pid, error);
    pthread_mutex_lock(&qemu->lock);
    struct machine *machine =
        qemu_add_machine(qemu, spec->id, &creation.process, &creation.monitor, creation.listeners);
    creation.listeners[0] = creation.listeners[1] = -1;
    if (result < 0) {
        machine->stopping = true;
        qemu_process_kill(&machine->process);
    }
    pthread_mutex_unlock(&qemu->lock);
    release_creation(&creation);
    if (result < 0)
        hypervisor_await_gone(hypervisor, spec->id, NULL);
    else
        *ret_pid = pid;
    return result;
}

/* ---- the rest of a life ---- */

static int resume(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct qemu_hypervisor *qemu = of(hypervisor);
    if (qemu_await_ready(qemu, id, now() + QEMU_START_MS, error) < 0)
        return -1;
    return qemu_ask(qemu, id, "cont", NULL, NULL, error);
}

int qemu_query_status(struct qemu_hypervisor *qemu, const char *id, uint64_t deadline_ms,
                      char ret_status[QEMU_STATUS_MAX], struct error *error)
{
    AUTO_JSON struct json_object *status = NULL;
    struct json_object *word;
    if (ask_until(qemu, id, "query-status", NULL, -1, deadline_ms, &status, error) < 0)
        return -1;
    if (!json_object_is_type(status, json_type_object) ||
        !json_object_object_get_ex(status, "status", &word) ||
        !json_object_is_type(word, json_type_string) ||
        !text_copy(ret_status, QEMU_STATUS_MAX, json_object_get_string(word)))
        return error_set(error, ERROR_PROTOCOL, "QEMU does not say how it is");
    return 0;
}

/* "stop" flushes what disks have under way, which may take longer than anybody waits: it is then
 * taken back, or the guest would stand still once it is done. */
static int pause_guest(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct qemu_hypervisor *qemu = of(hypervisor);
    struct error why = ERROR_INIT;
    char status[QEMU_STATUS_MAX];
    if (qemu_query_status(qemu, id, now() + qemu->command_ms, status, error) < 0)
        return -1;
    if (strcmp(status, "running") != 0)
        return error_set(error, ERROR_CONFLICT, "the guest does not run: it is %s", status);
    if (qemu_ask(qemu, id, "stop", NULL, NULL, &why) == 0)
        return 0;
    if (why.code == ERROR_TIMEOUT)
        qemu_ask(qemu, id, "cont", NULL, NULL, NULL);
    return error_copy(error, &why);
}

static int press_power(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    return qemu_ask(of(hypervisor), id, "system_powerdown", NULL, NULL, error);
}

static int destroy(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct qemu_hypervisor *qemu = of(hypervisor);
    uint64_t deadline = now() + END_MS;
    int result = 0;
    pthread_mutex_lock(&qemu->lock);
    struct machine *machine = qemu_find_machine(qemu, id);
    if (machine != NULL && machine->state != MACHINE_ENDED) {
        machine->stopping = true;
        qemu_process_kill(&machine->process);
    }
    while (result == 0 && (machine = qemu_find_machine(qemu, id)) != NULL &&
           machine->state != MACHINE_ENDED) {
        if (!qemu_await_change(qemu, deadline))
            result = error_set(error, ERROR_TIMEOUT, "QEMU was killed and has not ended yet");
    }
    pthread_mutex_unlock(&qemu->lock);
    return result;
}

static int await_gone(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct qemu_hypervisor *qemu = of(hypervisor);
    uint64_t deadline = now() + END_MS;
    int result = 0;
    struct machine *machine;
    pthread_mutex_lock(&qemu->lock);
    while (result == 0 && (machine = qemu_find_machine(qemu, id)) != NULL) {
        if (machine->state == MACHINE_ENDED && !machine->asking)
            qemu_drop_machine(qemu, machine);
        else if (!qemu_await_change(qemu, deadline))
            result = error_set(error, ERROR_TIMEOUT, "QEMU of the microVM %s has not ended", id);
    }
    pthread_mutex_unlock(&qemu->lock);
    return result;
}

static void close_hypervisor(struct hypervisor *hypervisor)
{
    struct qemu_hypervisor *qemu = of(hypervisor);
    qemu_events_stop(qemu);
    while (qemu->first != NULL)
        free_machine(qemu, qemu->first);
    qemu_view_remove(qemu->tree);
    cgroups_close(qemu->cgroups);
    pthread_cond_destroy(&qemu->changed);
    pthread_mutex_destroy(&qemu->lock);
    free(qemu->folder);
    free(qemu->tree);
    free(qemu);
}

/* ---- opening ---- */

static const struct hypervisor_operations operations = {
    .takes_tap = true,
    .create = create,
    .resume = resume,
    .pause = pause_guest,
    .press_power = press_power,
    .destroy = destroy,
    .await_gone = await_gone,
    .adopt = qemu_adopt,
    .debug = qemu_switch_debug,
    .use_of_disks = qemu_use_of_disks,
    .close = close_hypervisor,
};

static void raise_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int hypervisor_qemu_open(const char *run_directory, const struct hypervisor_listener *listener,
                         struct hypervisor **ret_hypervisor, struct error *error)
{
    AUTO_FREE char *folder = xasprintf("%s/q", run_directory);
    AUTO_FREE char *tree = xasprintf("%s/tree", folder);
    struct cgroups *cgroups;
    pthread_condattr_t attributes;
    if (file_make_directory(folder, 0700, error) < 0 || qemu_view_prepare(tree, error) < 0 ||
        cgroups_open(run_directory, &cgroups, error) < 0)
        return -1;
    raise_descriptors();
    struct qemu_hypervisor *qemu = xcalloc(1, sizeof *qemu);
    qemu->hypervisor.operations = &operations;
    qemu->listener = *listener;
    qemu->folder = TAKE_POINTER(folder);
    qemu->tree = TAKE_POINTER(tree);
    qemu->cgroups = cgroups;
    qemu->command_ms = QEMU_COMMAND_MS;
    pthread_mutex_init(&qemu->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&qemu->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    qemu_events_start(qemu);
    *ret_hypervisor = &qemu->hypervisor;
    return 0;
}
