#include "agent/host/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/host/guest_user.h"
#include "agent/host/guests_internal.h"
#include "agent/host/namespace.h"
#include "agent/host/usage_sources.h"
#include "agent/host/worker.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* A line of /proc/net/dev has some 130 bytes: this is more than all taps and the bridge take. */
#define LINKS_TEXT_MAX (1u << 20)
/* Looks that a guest's disks are left out of when its hypervisor did not answer. */
#define DISK_PAUSE 12

/* The timer goes with the loop; freed when it is closed and the thread is done. */
struct usage {
    uv_timer_t timer;
    struct usage_options options;
    struct worker *worker;
    int links; /* /proc/net/dev of the guests' namespace; -1: not opened yet */
    bool looking;
    atomic_bool stopping; /* the rest of a pass is left out */
};

struct look {
    struct worker_job job;
    struct usage *usage;
    uint64_t taken_ns;
    struct host_node node;
    size_t count;
    struct look_entry {
        pid_t pid;
        uid_t user;
        char tap[NETWORK_TAP_MAX];
        bool found;
        bool asks_disks;
        bool disks_failed;
        struct host_usage_entry figures;
    } entries[];
};

/* ---- on the thread ---- */

static int compare_taps(const void *left, const void *right)
{
    return strcmp(((const struct look_entry *)left)->tap, ((const struct look_entry *)right)->tap);
}

static int compare_with_tap(const void *tap, const void *entry)
{
    return strcmp(tap, ((const struct look_entry *)entry)->tap);
}

/* NULL when it was not looked at. */
static struct look_entry *find_entry(struct look *look, const char *tap)
{
    return bsearch(tap, look->entries, look->count, sizeof *look->entries, compare_with_tap);
}

/* The file stays that of the namespace it was opened in. */
static int open_links(struct usage *usage, struct error *error)
{
    int previous;
    if (usage->links >= 0)
        return 0;
    if (namespace_enter(network_namespace(usage->options.network), &previous, error) < 0)
        return -1;
    usage->links = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
    int number = errno;
    namespace_leave(previous);
    return usage->links >= 0 ? 0 : error_set_errno(error, number, "open /proc/net/dev");
}

static int read_links(struct usage *usage, struct buffer *text, struct error *error)
{
    char part[16384];
    if (open_links(usage, error) < 0)
        return -1;
    for (;;) {
        ssize_t length = pread(usage->links, part, sizeof part, (off_t)text->length);
        if (length < 0 && errno != EINTR)
            return error_set_errno(error, errno, "read /proc/net/dev");
        if (length == 0 || text->length > LINKS_TEXT_MAX)
            return 0;
        if (length > 0)
            buffer_append(text, part, (size_t)length);
    }
}

static void look_at_links(struct look *look)
{
    AUTO_BUFFER struct buffer text = {0};
    struct error error = ERROR_INIT;
    if (read_links(look->usage, &text, &error) < 0) {
        log_warn("the guests' network figures are not known", "error", error.message);
        return;
    }
    char tap[NETWORK_TAP_MAX];
    struct usage_link link;
    const char *at = buffer_text(&text);
    while (usage_next_link(&at, tap, sizeof tap, &link)) {
        struct look_entry *entry = find_entry(look, tap);
        if (entry == NULL)
            continue;
        struct host_usage_entry *figures = &entry->figures;
        figures->received_bytes = link.sent_bytes;
        figures->received_packets = link.sent_packets;
        figures->received_drops = link.sent_drops;
        figures->sent_bytes = link.received_bytes;
        figures->sent_packets = link.received_packets;
        figures->sent_drops = link.received_drops;
    }
}

static void look_at_process(struct look_entry *entry)
{
    struct usage_process process;
    entry->found = usage_read_process(entry->pid, entry->user, &process, NULL) == 0;
    if (!entry->found)
        return; /* its end is told elsewhere */
    entry->figures.cpu_ns = process.cpu_ns;
    entry->figures.memory = process.memory;
    entry->figures.memory_private = process.memory_private;
}

static void look_at_disks(struct usage *usage, struct look_entry *entry)
{
    struct hypervisor_disk_use use = {0};
    struct host_usage_entry *figures = &entry->figures;
    if (!entry->found || !entry->asks_disks)
        return;
    entry->disks_failed =
        hypervisor_use_of_disks(usage->options.hypervisor, figures->id, &use, NULL) < 0;
    figures->disks = use.disks;
    figures->read_bytes = use.read_bytes;
    figures->read_operations = use.read_operations;
    figures->written_bytes = use.written_bytes;
    figures->write_operations = use.write_operations;
}

static void look_at_disk(const char *folder, struct host_node *node)
{
    struct statvfs disk;
    if (statvfs(folder, &disk) < 0)
        return;
    node->disk = (uint64_t)disk.f_blocks * disk.f_frsize;
    node->disk_available = (uint64_t)disk.f_bavail * disk.f_frsize;
}

static void look_at_node(struct look *look)
{
    const struct usage_options *options = &look->usage->options;
    struct host_node *node = &look->node;
    struct usage_machine machine;
    struct usage_process ours = {0}, other = {0};
    struct error error = ERROR_INIT;
    if (usage_read_machine(&machine, &error) < 0) {
        log_warn("the node's own figures are not known", "error", error.message);
        return;
    }
    usage_read_process(getpid(), USAGE_ANY_USER, &ours, NULL);
    usage_read_process(options->decider, USAGE_ANY_USER, &other, NULL); /* our child: no other */
    look_at_disk(options->state_directory, node);
    volumes_count(options->guests->options.volumes, &node->volumes_used, &node->snapshots);
    node->processors = machine.processors;
    node->cpu_ns = machine.cpu_ns;
    node->memory = machine.memory;
    node->memory_available = machine.memory_available;
    node->agent_cpu_ns = ours.cpu_ns + other.cpu_ns;
    node->agent_memory_private = ours.memory_private + other.memory_private;
    node->taken_ns = look->taken_ns;
}

static void look_run(struct worker_job *job)
{
    struct look *look = (struct look *)job;
    look->taken_ns = uv_hrtime();
    look_at_node(look);
    if (look->count == 0)
        return;
    for (size_t i = 0; i < look->count; i++)
        look_at_process(&look->entries[i]);
    look_at_links(look);
    for (size_t i = 0; i < look->count && !atomic_load(&look->usage->stopping); i++)
        look_at_disks(look->usage, &look->entries[i]);
}

/* ---- on the loop ---- */

static void report(const struct look *look)
{
    const struct usage_options *options = &look->usage->options;
    struct host_usage batch = {.taken_ns = look->taken_ns};
    for (size_t i = 0; i < look->count; i++) {
        if (look->entries[i].found)
            batch.entries[batch.count++] = look->entries[i].figures;
        if (batch.count == HOST_USAGE_ENTRIES || (i + 1 == look->count && batch.count > 0)) {
            options->report(options->context, &batch);
            batch.count = 0;
        }
    }
}

/* Who did not answer is left alone for a while: one that hangs must not hold up every pass. Who was
 * found running at the start has shown by now whether it has any. */
static void note_disks(struct look *look)
{
    for (struct guest *guest = look->usage->options.guests->first; guest != NULL;
         guest = guest->next) {
        const struct look_entry *entry = find_entry(look, guest->tap);
        if (entry == NULL || !entry->found || !entry->asks_disks || entry->pid != guest->pid)
            continue;
        if (entry->disks_failed)
            guest->disk_pause = DISK_PAUSE;
        else if (entry->figures.disks == 0)
            guest->diskless = true;
    }
}

static void look_done(struct worker_job *job)
{
    struct look *look = (struct look *)job;
    look->usage->looking = false;
    if (look->node.taken_ns != 0)
        look->usage->options.report_node(look->usage->options.context, &look->node);
    if (look->taken_ns != 0) {
        note_disks(look);
        report(look);
    }
    free(look);
}

static struct look *list_guests(struct usage *usage)
{
    struct guests *guests = usage->options.guests;
    struct look *look = xcalloc(1, sizeof *look + guests->count * sizeof *look->entries);
    look->job.run = look_run;
    look->job.done = look_done;
    look->usage = usage;
    for (struct guest *guest = guests->first; guest != NULL; guest = guest->next) {
        if (guest->state != GUEST_RUNNING)
            continue;
        struct look_entry *entry = &look->entries[look->count++];
        entry->pid = guest->pid;
        entry->user = guest_user_of(guest->id);
        entry->asks_disks = !guest->diskless && guest->disk_pause == 0;
        guest->disk_pause -= guest->disk_pause > 0;
        memcpy(entry->tap, guest->tap, sizeof entry->tap);
        memcpy(entry->figures.id, guest->id, sizeof entry->figures.id);
    }
    qsort(look->entries, look->count, sizeof *look->entries, compare_taps);
    return look;
}

/* A pass that takes longer than the interval delays the next one. */
static void on_timer(uv_timer_t *timer)
{
    struct usage *usage = timer->data;
    if (usage->looking)
        return;
    struct look *look = list_guests(usage);
    usage->looking = true;
    worker_submit(usage->worker, &look->job);
}

struct usage *usage_create(const struct usage_options *options)
{
    struct usage *usage = xcalloc(1, sizeof *usage);
    usage->options = *options;
    usage->links = -1;
    usage->worker = worker_create(options->queue, 1, NULL);
    uv_timer_init(options->loop, &usage->timer);
    usage->timer.data = usage;
    uv_timer_start(&usage->timer, on_timer, USAGE_INTERVAL_MS, USAGE_INTERVAL_MS);
    return usage;
}

void usage_stop(struct usage *usage)
{
    if (usage == NULL)
        return;
    uv_timer_stop(&usage->timer);
    atomic_store(&usage->stopping, true);
    worker_stop(usage->worker);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void usage_destroy(struct usage *usage)
{
    if (usage == NULL)
        return;
    worker_destroy(usage->worker);
    if (usage->links >= 0)
        close(usage->links);
    uv_close((uv_handle_t *)&usage->timer, on_closed);
}
