#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/domain_xml.h"
#include "agent/host/guest_pulse.h"
#include "agent/host/guest_user.h"
#include "agent/host/hypervisor_qemu_internal.h"
#include "agent/host/qemu_record.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define MONITORS_MS   10000 /* for all that are found together: the host may be busy */
#define STATUS_MS     1000  /* for each of those that answer, after that */
#define KILL_ROUNDS   200
#define KILL_EVERY_MS 5
#define ARGUMENTS_MAX ((size_t)64 << 10)

/* ---- whose process it is ---- */

static bool has_arguments_of(pid_t pid, const char *id)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/cmdline", (int)pid);
    AUTO_FREE char *bytes = NULL;
    size_t length;
    return file_read(path, ARGUMENTS_MAX, &bytes, &length, NULL) == 0 &&
           qemu_command_is_of(bytes, length, id);
}

/* Start time and arguments, and its control group, which the process itself cannot leave. The one
 * that the record names is not left to itself when the rest is not as it was: it may be a QEMU that
 * was taken over, or one that began where there were no groups. */
static int find_process(const struct qemu_hypervisor *qemu, const struct qemu_record *record,
                        struct qemu_process *ret_process, struct error *error)
{
    struct qemu_process process;
    char name[DOMAIN_NAME_MAX];
    domain_name(record->identity.id, name);
    if (qemu_process_find((pid_t)record->pid, record->started, &process, error) < 0)
        return -1;
    if (has_arguments_of(process.pid, record->identity.id) &&
        (!cgroups_limit_memory(qemu->cgroups) ||
         cgroups_find_process(qemu->cgroups, name) == process.pid)) {
        *ret_process = process;
        return 0;
    }
    guest_process_kill(process.pid, guest_user_of(record->identity.id));
    qemu_process_release(&process);
    return error_set(error, ERROR_INVALID, "process %d is not its QEMU, or not in its group",
                     (int)record->pid);
}

/* Without its monitor a microVM is adopted all the same: it runs, and it can be ended. */
static bool adopt_process(struct qemu_hypervisor *qemu, const char *id,
                          struct hypervisor_found *ret_found)
{
    static const int no_listeners[2] = {-1, -1};
    struct error error = ERROR_INIT;
    struct qemu_record record;
    struct qemu_process process;
    struct qmp monitor = QMP_NONE;
    AUTO_FREE char *path = xasprintf("%s/%s.qmp", qemu->folder, id);
    if (qemu_record_read(qemu->folder, id, &record, &error) < 0 ||
        find_process(qemu, &record, &process, &error) < 0) {
        log_info("a microVM that was running is gone", "id", id, "reason", error.message);
        return false;
    }
    if (qmp_connect(path, &monitor, &error) < 0)
        log_warn("an adopted microVM has no monitor", "id", id, "error", error.message);
    ret_found->identity = record.identity;
    ret_found->pid = process.pid;
    ret_found->uptime_ms = process_uptime_ms(process.pid);
    pthread_mutex_lock(&qemu->lock);
    qemu_add_machine(qemu, id, &process, &monitor, no_listeners);
    pthread_mutex_unlock(&qemu->lock);
    return true;
}

/* ---- what is nobody's ---- */

static bool is_known(struct qemu_hypervisor *qemu, const char *id)
{
    pthread_mutex_lock(&qemu->lock);
    bool known = qemu_find_machine(qemu, id) != NULL;
    pthread_mutex_unlock(&qemu->lock);
    return known;
}

/* Whoever is in one of our groups and is not known was started by an agent that was killed before
 * it could write that down: its guest has not begun. */
static void empty_group(struct qemu_hypervisor *qemu, const char *name)
{
    struct error error = ERROR_INIT;
    for (int i = 0; i < KILL_ROUNDS; i++) {
        pid_t pid = cgroups_find_process(qemu->cgroups, name);
        if (pid > 1)
            kill(pid, SIGKILL);
        if (pid < 0 && cgroups_remove(qemu->cgroups, name, &error) == 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = KILL_EVERY_MS * 1000000L}, NULL);
    }
    log_warn("a control group that is nobody's stays", "name", name, "error", error.message);
}

static void sweep_groups(struct qemu_hypervisor *qemu)
{
    char(*names)[CGROUP_NAME_MAX];
    size_t count = cgroups_list(qemu->cgroups, &names);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], "sh", 2) == 0 && !is_known(qemu, names[i] + 2)) {
            log_info("a control group without a microVM is removed", "name", names[i]);
            empty_group(qemu, names[i]);
        }
    }
    free(names);
}

static void remove_files(struct qemu_hypervisor *qemu, const char *id)
{
    AUTO_FREE char *path = xasprintf("%s/%s.qmp", qemu->folder, id);
    unlink(path);
    qemu_record_remove(qemu->folder, id);
}

/* Of one that was cut off while it was made: its socket is there before it is written down. */
static void sweep_files(struct qemu_hypervisor *qemu)
{
    DIR *folder = opendir(qemu->folder);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char id[INSTANCE_ID_MAX];
        size_t length = strcspn(entry->d_name, ".");
        if (length != sizeof id - 1 || (strcmp(entry->d_name + length, ".qmp") != 0 &&
                                        strcmp(entry->d_name + length, ".json.new") != 0))
            continue;
        memcpy(id, entry->d_name, length);
        id[length] = '\0';
        if (!is_known(qemu, id))
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder != NULL)
        closedir(folder);
}

/* ---- adopting ---- */

/* One that was never resumed is half made: nobody has answered for it. True when it stays. */
static bool is_whole(struct qemu_hypervisor *qemu, struct hypervisor_found *found,
                     uint64_t deadline)
{
    const char *id = found->identity.id;
    char status[QEMU_STATUS_MAX];
    struct error error = ERROR_INIT;
    uint64_t least = clock_monotonic_ms(clock_system()) + STATUS_MS;
    if (qemu_query_status(qemu, id, deadline > least ? deadline : least, status, &error) < 0) {
        log_warn("an adopted microVM does not answer", "id", id, "error", error.message);
        return true;
    }
    found->paused = strcmp(status, "paused") == 0;
    return strcmp(status, "prelaunch") != 0;
}

/* Who does not answer for being stopped is not waited for. */
static bool answers(struct qemu_hypervisor *qemu, const struct hypervisor_found *found,
                    uint64_t deadline)
{
    return guest_process_look(found->pid) != GUEST_PROCESS_STOPPED &&
           qemu_await_ready(qemu, found->identity.id, deadline, NULL) == 0;
}

/* Monitors answer side by side; one that hangs delays the others once only. */
static size_t drop_half_made(struct qemu_hypervisor *qemu, struct hypervisor_found *found,
                             size_t count)
{
    uint64_t deadline = clock_monotonic_ms(clock_system()) + MONITORS_MS;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const char *id = found[i].identity.id;
        if (!answers(qemu, &found[i], deadline) || is_whole(qemu, &found[i], deadline)) {
            found[kept++] = found[i];
            continue;
        }
        log_warn("a microVM that never began is ended", "id", id);
        hypervisor_destroy(&qemu->hypervisor, id, NULL);
        hypervisor_await_gone(&qemu->hypervisor, id, NULL);
    }
    return kept;
}

int qemu_adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
               size_t *ret_count, struct error *error)
{
    (void)error;
    struct qemu_hypervisor *qemu = (struct qemu_hypervisor *)hypervisor;
    char(*ids)[INSTANCE_ID_MAX];
    size_t count = qemu_record_list(qemu->folder, &ids), adopted = 0;
    struct hypervisor_found *found = xcalloc(count + 1, sizeof *found);
    for (size_t i = 0; i < count; i++) {
        if (adopt_process(qemu, ids[i], &found[adopted]))
            adopted++;
        else
            remove_files(qemu, ids[i]);
    }
    free(ids);
    sweep_groups(qemu);
    sweep_files(qemu);
    *ret_count = drop_half_made(qemu, found, adopted);
    *ret_found = found;
    return 0;
}
