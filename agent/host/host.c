#include "agent/host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "agent/host/accelerator.h"
#include "agent/host/channel.h"
#include "agent/host/guests.h"
#include "agent/host/host_internal.h"
#include "agent/host/hypervisors.h"
#include "agent/host/mounts.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define HYPERVISOR_THREADS 2
#define NOBODY_GROUP       65534
/* That its threads may take to end; a copy or an import breaks off, and boots take seconds. */
#define FINISH_SECONDS 60

/* ---- what comes from other threads ---- */

struct ended_item {
    struct loop_queue_item item;
    struct host *host;
    char id[INSTANCE_ID_MAX];
    enum hypervisor_end end;
};

static void run_ended(struct loop_queue_item *item)
{
    struct ended_item *ended = (struct ended_item *)item;
    if (ended->host->guests != NULL)
        guests_ended(ended->host->guests, ended->id, ended->end);
    free(ended);
}

/* On a thread of the hypervisor's. */
static void on_ended(void *context, const char *id, enum hypervisor_end end)
{
    struct host *host = context;
    struct ended_item *ended = xcalloc(1, sizeof *ended);
    ended->item.run = run_ended;
    ended->host = host;
    ended->end = end;
    snprintf(ended->id, sizeof ended->id, "%s", id);
    loop_queue_post(host->queue, &ended->item);
}

struct reaped_item {
    struct loop_queue_item item;
    struct host *host;
    pid_t pid;
    int status;
};

static void run_reaped(struct loop_queue_item *item)
{
    struct reaped_item *reaped = (struct reaped_item *)item;
    if (reaped->host->guests != NULL)
        guests_reaped(reaped->host->guests, reaped->pid, reaped->status);
    free(reaped);
}

static void on_reaped(void *context, pid_t pid, int status)
{
    struct host *host = context;
    struct reaped_item *reaped = xcalloc(1, sizeof *reaped);
    reaped->item.run = run_reaped;
    reaped->host = host;
    reaped->pid = pid;
    reaped->status = status;
    loop_queue_post(host->queue, &reaped->item);
}

/* ---- stopping ---- */

static void stop(struct host *host, int code)
{
    if (host->stopping)
        return;
    host->stopping = true;
    host->exit_code = code;
    uv_stop(&host->loop);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct host *host = signal->data;
    log_info("the host half ends, its guests go on", "signal", strsignal(number));
    stop(host, 0);
}

static void on_gone(void *context)
{
    log_info("the deciding half is gone, so the host half ends; its guests go on");
    stop(context, 0);
}

/* As the subreaper, this process inherits QEMUs, which make themselves daemons; libvirt's kills
 * wait until they are reaped. Orphans become children of the main thread, which forks nothing that
 * others wait for: __WNOTHREAD leaves libvirt's own children to libvirt. */
static void on_child(uv_signal_t *signal, int number)
{
    (void)number;
    struct host *host = signal->data;
    pid_t pid;
    int status;
    while ((pid = waitpid(-1, &status, WNOHANG | __WNOTHREAD)) > 0) {
        if (pid == host->options.decider) {
            log_warn("the deciding half has ended", "status", LOG_NUMBER(status));
            stop(host, 1);
        } else if (host->guests != NULL) {
            guests_reaped(host->guests, pid, status);
        }
    }
}

/* ---- starting ---- */

struct start_job {
    struct worker_job job;
    struct host *host;
    int result;
    struct error error;
    struct hypervisor_found *found;
    size_t found_count;
};

static void start_run(struct worker_job *worker_job)
{
    struct start_job *job = (struct start_job *)worker_job;
    struct host *host = job->host;
    struct hypervisor_listener listener = {.ended = on_ended, .reaped = on_reaped, .context = host};
    struct hypervisor_choice choice = {
        .name = host->options.hypervisor,
        .run_directory = host->options.run_directory,
        .uri = host->options.hypervisor_uri,
        .group = host->accelerator.kvm ? host->accelerator.group : NOBODY_GROUP,
    };
    struct call_under_way call;
    call_watch_begin(host->calls, &call, WATCHED_OPEN, "");
    job->result = call_watch_end(
        host->calls, &call, hypervisor_open(&choice, &listener, &host->hypervisor, &job->error));
    if (job->result < 0)
        return;
    hypervisor_watch(host->hypervisor, host->calls);
    job->result = hypervisor_adopt(host->hypervisor, &job->found, &job->found_count, &job->error);
}

static void create_guests(struct host *host)
{
    /* The group of the console folder is the deciding half's: it reads the logs. */
    struct stat consoles = {0};
    AUTO_FREE char *folder = xasprintf("%s/consoles", host->options.log_directory);
    stat(folder, &consoles);
    struct guests_options options = {
        .loop = &host->loop,
        .boot_worker = host->boot_worker,
        .end_worker = host->end_worker,
        .hypervisor = host->hypervisor,
        .watch = host->calls,
        .network = host->network,
        .dhcp = host->dhcp,
        .images = host->images,
        .overlays = host->overlays,
        .volumes = host->volumes,
        .run_directory = host->options.run_directory,
        .log_directory = host->options.log_directory,
        .log_reader = consoles.st_gid,
        .log_size = host->options.log_size,
        .log_files = host->options.log_files,
        .accelerator = &host->accelerator,
        .report = host_report_instance,
        .report_steps = host_report_steps,
        .answer = host_answer_request,
        .context = host,
    };
    host->guests = guests_create(&options);
}

static void create_usage(struct host *host)
{
    struct usage_options options = {
        .loop = &host->loop,
        .queue = host->queue,
        .guests = host->guests,
        .hypervisor = host->hypervisor,
        .network = host->network,
        .decider = host->options.decider,
        .state_directory = host->options.state_directory,
        .report = host_report_usage,
        .report_node = host_report_node,
        .context = host,
    };
    host->usage = usage_create(&options);
}

static void on_first_packet(void *context, const char *mac)
{
    struct host *host = context;
    guests_first_packet(host->guests, mac);
}

static void watch_first_packets(struct host *host)
{
    struct error error = ERROR_INIT;
    if (first_packet_create(&host->loop, host->network, on_first_packet, host, &host->first_packet,
                            &error) < 0)
        log_warn("when guests speak first is not known", "error", error.message);
}

static int create_proxy(struct host *host, struct error *error)
{
    struct proxy_options options = {
        .queue = host->queue,
        .run_directory = host->options.run_directory,
        .publish_address = host->options.publish_address,
        .namespace = network_namespace(host->network),
        .report = host_report_frontend,
        .answer = host_answer_number,
        .context = host,
    };
    host->proxy = proxy_create(&options, error);
    return host->proxy != NULL ? 0 : -1;
}

static int create_dhcp(struct host *host, struct error *error)
{
    struct dhcp_options options = {.run_directory = host->options.run_directory,
                                   .log_directory = host->options.log_directory,
                                   .network = host->network};
    host->dhcp = dhcp_create(&options, error);
    return host->dhcp != NULL ? 0 : -1;
}

static void start_done(struct worker_job *worker_job)
{
    struct start_job *job = (struct start_job *)worker_job;
    struct host *host = job->host;
    if (job->result == 0 && !host->stopping)
        job->result = create_proxy(host, &job->error);
    if (job->result == 0 && !host->stopping)
        job->result = create_dhcp(host, &job->error);
    if (host->stopping) {
        /* nothing was begun */
    } else if (job->result < 0) {
        log_error("the host half cannot start", "error", job->error.message);
        stop(host, 1);
    } else {
        host->volume_requests.hypervisor = host->hypervisor;
        create_guests(host);
        guests_adopt(host->guests, job->found, job->found_count);
        create_usage(host);
        watch_first_packets(host);
        log_info("host half ready", "accelerator", host->accelerator.kvm ? "kvm" : "tcg", "reason",
                 host->accelerator.reason, "adopted", LOG_NUMBER(job->found_count));
        channel_start(host->channel);
    }
    free(job->found);
    free(job);
}

static void begin_start(struct host *host)
{
    struct start_job *job = xcalloc(1, sizeof *job);
    job->job.run = start_run;
    job->job.done = start_done;
    job->host = host;
    job->result = -1;
    worker_submit(host->boot_worker, &job->job);
}

static void prepare_hypervisor_thread(void)
{
    struct error error = ERROR_INIT;
    if (namespace_unshare(&error) < 0) {
        log_error("a hypervisor thread cannot start", "error", error.message);
        abort();
    }
}

/* QEMU's users have to get through to their console and their kernel. `what`: "run folder". */
static int check_passable(const char *what, const char *path, struct error *error)
{
    AUTO_FREE char *copy = xstrdup(path);
    for (;;) {
        struct stat status;
        if (stat(copy, &status) < 0)
            return error_set_errno(error, errno, "%s %s", what, copy);
        if ((status.st_mode & S_IXOTH) == 0)
            return error_set(error, ERROR_DENIED,
                             "the %s %s cannot be used: QEMU's users may not enter %s "
                             "(chmod o+x %s, or choose another folder)",
                             what, path, copy, copy);
        char *slash = strrchr(copy, '/');
        if (slash == NULL || slash == copy)
            return 0;
        *slash = '\0';
    }
}

static int make_folders(const struct host_options *options, struct error *error)
{
    static const char *const names[] = {"c", "i", "o", "w"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", options->run_directory, names[i]);
        if (file_make_directory(path, 0755, error) < 0)
            return -1;
    }
    AUTO_FREE char *debug = xasprintf("%s/g", options->run_directory);
    AUTO_FREE char *consoles = xasprintf("%s/consoles", options->log_directory);
    if (file_make_directory(debug, 0700, error) < 0)
        return -1;
    if (strlen(options->run_directory) > HOST_RUN_DIRECTORY_MAX)
        return error_set(error, ERROR_INVALID, "the run folder's path %s is longer than %d bytes",
                         options->run_directory, HOST_RUN_DIRECTORY_MAX);
    if (check_passable("run folder", options->run_directory, error) < 0)
        return -1;
    return file_make_directory(consoles, 0755, error);
}

/* libvirt and QEMU's start take descriptors 0 to 2 for granted. */
static void open_standard_descriptors(void)
{
    int descriptor;
    do {
        descriptor = open("/dev/null", O_RDWR);
    } while (descriptor >= 0 && descriptor <= STDERR_FILENO);
    if (descriptor > STDERR_FILENO)
        close(descriptor);
}

/* Where QEMU sees a folder of the state: its users may enter the run folder but not always the
 * state's parents. A daemon that starts QEMU does not see what is mounted here. */
static char *name_shown(const struct host *host, const char *name, const char *folder)
{
    return libvirt_driver_is_outside(host->driver)
               ? xasprintf("%s/host/%s", host->options.state_directory, folder)
               : xasprintf("%s/%s", host->options.run_directory, name);
}

static int show(const struct host *host, const char *from, const char *to, bool read_only,
                struct error *error)
{
    return libvirt_driver_is_outside(host->driver) ? check_passable("state folder", from, error)
                                                   : mounts_show(from, to, read_only, error);
}

static int show_images(struct host *host, struct error *error)
{
    const struct host_options *options = &host->options;
    AUTO_FREE char *images = name_shown(host, "i", "images");
    AUTO_FREE char *overlays = name_shown(host, "o", "overlays");
    host->images = image_store_create(options->state_directory, images, error);
    if (host->images == NULL)
        return -1;
    host->overlays = overlays_create(options->state_directory, overlays, error);
    if (host->overlays == NULL ||
        show(host, image_store_folder(host->images), images, true, error) < 0)
        return -1;
    return show(host, overlays_folder(host->overlays), overlays, false, error);
}

static int show_volumes(struct host *host, struct error *error)
{
    const struct host_options *options = &host->options;
    AUTO_FREE char *shown = name_shown(host, "w", "volumes");
    host->volumes = volumes_create(options->state_directory, shown, options->volumes, error);
    if (host->volumes == NULL)
        return -1;
    return show(host, volumes_folder(host->volumes), shown, false, error);
}

/* A daemon's QEMUs are not in this process's mount namespace, which then is nobody's. */
static int prepare_mounts(struct host *host, struct error *error)
{
    bool is_outside = libvirt_driver_is_outside(host->driver);
    if (!is_outside && mounts_separate(error) < 0)
        return -1;
    if (show_images(host, error) < 0 || show_volumes(host, error) < 0 ||
        accelerator_choose(host->options.accelerator, host->options.state_directory,
                           host->options.run_directory, &host->accelerator, error) < 0)
        return -1;
    return is_outside
               ? 0
               : accelerator_hide_device(&host->accelerator, host->options.run_directory, error);
}

/* What must come before the first thread: namespaces of the process, and what children inherit. */
static int prepare_process(struct host *host, struct error *error)
{
    const struct host_options *options = &host->options;
    open_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* QEMU asks for huge pages and wastes them */
    umask(022);
    if (libvirt_uri_parse(options->hypervisor_uri, &host->driver, error) < 0 ||
        make_folders(options, error) < 0 ||
        network_create(options->node, options->state_directory, &host->network, error) < 0)
        return -1;
    return prepare_mounts(host, error);
}

static void watch_signal(struct host *host, uv_signal_t *handle, uv_signal_cb callback, int number)
{
    uv_signal_init(&host->loop, handle);
    handle->data = host;
    uv_signal_start(handle, callback, number);
}

static void close_any(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void give_up(void *context)
{
    (void)context;
    _exit(1); /* threads that hang could not be waited for */
}

static void watch_calls(struct host *host)
{
    struct guest_hangs_options options = {
        .loop = &host->loop,
        .watch = host->calls = call_watch_create(clock_system()),
        .has_daemon = libvirt_driver_is_outside(host->driver),
        .guests = &host->guests,
        .give_up = give_up,
    };
    host->hangs = guest_hangs_create(&options);
}

struct last_wait {
    const struct host *host;
    int finished; /* an eventfd */
};

/* What is left undone when it does not wait any more is what SIGKILL leaves. */
static void *end_at_last(void *context)
{
    const struct last_wait *last = context;
    struct pollfd finished = {.fd = last->finished, .events = POLLIN};
    struct late_call late = {.name = "none"};
    sigset_t all;
    int ready;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL); /* the loop thread's */
    do
        ready = poll(&finished, 1, FINISH_SECONDS * 1000);
    while (ready < 0 && errno == EINTR);
    if (ready != 0)
        return NULL;
    call_watch_find_oldest(last->host->calls, &late);
    log_error("the host half ends without waiting for a call that does not return", "call",
              late.name, "id", late.id, "seconds", LOG_NUMBER(late.age_ms / 1000));
    _exit(1);
}

/* Threads first: what they finish comes through the queue while everything is still there. */
static void finish(struct host *host)
{
    pthread_t last;
    struct last_wait bound = {.host = host, .finished = eventfd(0, EFD_CLOEXEC)};
    bool is_bounded = bound.finished >= 0 && pthread_create(&last, NULL, end_at_last, &bound) == 0;
    worker_stop(host->boot_worker);
    worker_stop(host->end_worker);
    worker_stop(host->image_worker);
    volumes_stop(host->volumes);
    worker_stop(host->volume_requests.worker);
    worker_stop(host->volume_requests.lister);
    usage_stop(host->usage);
    first_packet_destroy(host->first_packet);
    proxy_destroy(host->proxy);
    dhcp_destroy(host->dhcp);
    hypervisor_close(host->hypervisor);
    loop_queue_destroy(host->queue);
    guests_destroy(host->guests);
    usage_destroy(host->usage);
    worker_destroy(host->boot_worker);
    worker_destroy(host->end_worker);
    worker_destroy(host->image_worker);
    worker_destroy(host->volume_requests.worker);
    worker_destroy(host->volume_requests.lister);
    guest_hangs_destroy(host->hangs);
    channel_destroy(host->channel);
    uv_walk(&host->loop, close_any, NULL);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    uv_loop_close(&host->loop);
    proxy_model_destroy(host->model);
    volumes_destroy(host->volumes);
    overlays_destroy(host->overlays);
    image_store_destroy(host->images);
    network_destroy(host->network);
    if (is_bounded) {
        eventfd_write(bound.finished, 1);
        pthread_join(last, NULL);
    }
    if (bound.finished >= 0)
        close(bound.finished);
    call_watch_destroy(host->calls);
}

int host_run(const struct host_options *options)
{
    struct host host = {.options = *options};
    struct error error = ERROR_INIT;
    if (prepare_process(&host, &error) < 0) {
        log_error("the host half cannot start", "error", error.message);
        volumes_destroy(host.volumes);
        overlays_destroy(host.overlays);
        image_store_destroy(host.images);
        network_destroy(host.network);
        close(options->channel);
        return 1;
    }
    struct channel_listener listener = {
        .received = host_receive, .gone = on_gone, .context = &host};
    uv_loop_init(&host.loop);
    host.queue = loop_queue_create(&host.loop);
    host.channel = channel_create(&host.loop, options->channel, &listener);
    watch_signal(&host, &host.terminate, on_signal, SIGTERM);
    watch_signal(&host, &host.interrupt, on_signal, SIGINT);
    watch_signal(&host, &host.child, on_child, SIGCHLD);
    host.image_worker = worker_create(host.queue, 1, NULL);
    host.volume_requests = (struct volume_requests){.worker = worker_create(host.queue, 1, NULL),
                                                    .lister = worker_create(host.queue, 1, NULL),
                                                    .volumes = host.volumes,
                                                    .run_directory = options->run_directory,
                                                    .channel = host.channel};
    /* A daemon opens taps where it is itself. */
    void (*prepare)(void) =
        libvirt_driver_is_outside(host.driver) ? NULL : prepare_hypervisor_thread;
    host.boot_worker = worker_create(host.queue, HYPERVISOR_THREADS, prepare);
    host.end_worker = worker_create(host.queue, HYPERVISOR_THREADS, prepare);
    watch_calls(&host);
    begin_start(&host);
    uv_run(&host.loop, UV_RUN_DEFAULT);
    finish(&host);
    return host.exit_code;
}
