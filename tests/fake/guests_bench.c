#include "tests/fake/guests_bench.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/guest_access.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* An end that the hypervisor told of, or a job that has run. */
struct guests_bench_item {
    struct guests_bench_item *next;
    struct worker_job *job;
    char id[INSTANCE_ID_MAX];
    enum hypervisor_end end;
};

static const struct host_volume_key the_volume = {
    .namespace_name = "default", .service = "counter", .slot = 0, .name = "data"};

static void give_volume(struct host_boot *boot)
{
    boot->volume_count = 1;
    boot->volumes[0] = (struct host_volume){.name = "data", .device = "data", .size = 1 << 20};
    memcpy(boot->namespace_name, the_volume.namespace_name, sizeof boot->namespace_name);
    memcpy(boot->service, the_volume.service, sizeof boot->service);
}

/* ---- what is posted to the loop ---- */

static void post(struct guests_bench *bench, struct guests_bench_item *item)
{
    *bench->last = item;
    bench->last = &item->next;
}

static void on_ended(void *context, const char *id, enum hypervisor_end end)
{
    struct guests_bench_item *item = xcalloc(1, sizeof *item);
    snprintf(item->id, sizeof item->id, "%s", id);
    item->end = end;
    post(context, item);
}

static void on_run(void *context, struct worker_job *job)
{
    struct guests_bench_item *item = xcalloc(1, sizeof *item);
    item->job = job;
    post(context, item);
}

bool guests_bench_turn(struct guests_bench *bench)
{
    struct guests_bench_item *item = bench->first;
    if (item == NULL)
        return false;
    bench->first = item->next;
    if (bench->first == NULL)
        bench->last = &bench->first;
    if (item->job != NULL)
        item->job->done(item->job);
    else
        guests_ended(bench->guests, item->id, item->end);
    free(item);
    return true;
}

static bool work(struct worker *worker)
{
    if (worker_fake_count_run(worker) > 0)
        worker_fake_post(worker, 0);
    else if (worker_fake_count_waiting(worker) > 0)
        worker_fake_run(worker);
    else
        return false;
    return true;
}

void guests_bench_settle(struct guests_bench *bench)
{
    while (guests_bench_turn(bench) || work(bench->boot_worker) || work(bench->end_worker))
        ;
}

static void make_due(uv_handle_t *handle, void *context)
{
    (void)context;
    if (handle->type == UV_TIMER && uv_is_active(handle))
        uv_timer_start((uv_timer_t *)handle, ((uv_timer_t *)handle)->timer_cb, 0, 0);
}

void guests_bench_pass_time(struct guests_bench *bench)
{
    uv_walk(&bench->loop, make_due, NULL);
    uv_run(&bench->loop, UV_RUN_NOWAIT);
    uv_run(&bench->loop, UV_RUN_NOWAIT);
}

/* ---- what guests.c says ---- */

static void on_report(void *context, const struct host_instance *instance)
{
    struct guests_bench *bench = context;
    if (bench->report_count == GUESTS_BENCH_REPORTS_MAX)
        abort();
    bench->reports[bench->report_count++] = *instance;
}

static void on_answer(void *context, uint64_t sequence, const struct error *error)
{
    struct guests_bench *bench = context;
    if (bench->answer_count == GUESTS_BENCH_ANSWERS_MAX)
        abort();
    struct guests_bench_answer *answer = &bench->answers[bench->answer_count++];
    *answer = (struct guests_bench_answer){.sequence = sequence};
    if (error != NULL)
        answer->error = *error;
}

const struct error *guests_bench_find_answer(const struct guests_bench *bench, uint64_t sequence)
{
    for (size_t i = 0; i < bench->answer_count; i++) {
        if (bench->answers[i].sequence == sequence)
            return &bench->answers[i].error;
    }
    return NULL;
}

bool guests_bench_worked(const struct guests_bench *bench, uint64_t sequence)
{
    const struct error *error = guests_bench_find_answer(bench, sequence);
    return error != NULL && error->code == ERROR_NONE;
}

const struct host_instance *guests_bench_find_report(const struct guests_bench *bench,
                                                     const char *id)
{
    for (size_t i = bench->report_count; i > 0; i--) {
        if (strcmp(bench->reports[i - 1].id, id) == 0)
            return &bench->reports[i - 1];
    }
    return NULL;
}

size_t guests_bench_count_ends(const struct guests_bench *bench, const char *id)
{
    size_t count = 0;
    for (size_t i = 0; i < bench->report_count; i++)
        count +=
            bench->reports[i].state == HOST_INSTANCE_ENDED && strcmp(bench->reports[i].id, id) == 0;
    return count;
}

size_t guests_bench_count_files(const struct guests_bench *bench)
{
    static const char *const folders[] = {"b", "c", "g"};
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(folders); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", bench->folder, folders[i]);
        DIR *folder = opendir(path);
        for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
            count += entry->d_name[0] != '.';
        if (folder != NULL)
            closedir(folder);
    }
    return count;
}

bool guests_bench_holds_volume(const struct guests_bench *bench)
{
    char holder[INSTANCE_ID_MAX];
    return volumes_holder(bench->volumes, &the_volume, holder);
}

int guests_bench_snapshot(struct guests_bench *bench, const struct volume_pauser *pauser,
                          struct error *error)
{
    return volumes_snapshot(bench->volumes, &the_volume, "first", pauser, error);
}

/* ---- requests ---- */

uint64_t guests_bench_boot(struct guests_bench *bench, const char *id)
{
    struct host_boot boot = {.protocol = BOOT_PVH,
                             .machine = MACHINE_MICROVM,
                             .memory = (uint64_t)32 << 20,
                             .vcpus = 1,
                             .family = "shoal",
                             .arch = "amd64",
                             .command_line = "hello"};
    snprintf(boot.id, sizeof boot.id, "%s", id);
    snprintf(boot.address, sizeof boot.address, "10.64.0.%u",
             2 + (unsigned)(strtoull(id, NULL, 16) % 200));
    host_mac_of_instance(id, boot.mac);
    memcpy(boot.kernel, bench->kernel, sizeof boot.kernel);
    memcpy(boot.image, bench->kernel, sizeof boot.image);
    if (strtoull(id, NULL, 16) % 2 == 1)
        give_volume(&boot);
    guests_boot(bench->guests, ++bench->sequence, &boot);
    return bench->sequence;
}

uint64_t guests_bench_stop(struct guests_bench *bench, const char *id, enum host_stop_method method,
                           uint64_t grace_ms)
{
    struct host_stop stop = {.method = method, .grace_ms = grace_ms};
    snprintf(stop.id, sizeof stop.id, "%s", id);
    guests_stop(bench->guests, ++bench->sequence, &stop);
    return bench->sequence;
}

uint64_t guests_bench_pause(struct guests_bench *bench, const char *id, bool paused)
{
    struct host_pause pause = {.paused = paused};
    snprintf(pause.id, sizeof pause.id, "%s", id);
    guests_pause(bench->guests, ++bench->sequence, &pause);
    return bench->sequence;
}

uint64_t guests_bench_debug(struct guests_bench *bench, const char *id, bool open)
{
    struct host_debug debug = {.open = open};
    snprintf(debug.id, sizeof debug.id, "%s", id);
    guests_debug(bench->guests, ++bench->sequence, &debug);
    return bench->sequence;
}

uint64_t guests_bench_forget(struct guests_bench *bench, const char *id)
{
    guests_forget(bench->guests, ++bench->sequence, id);
    return bench->sequence;
}

/* ---- an agent's life ---- */

static void begin_agent(struct guests_bench *bench)
{
    struct hypervisor_listener listener = {.ended = on_ended, .context = bench};
    struct hypervisor_found *found;
    size_t count;
    uv_loop_init(&bench->loop);
    bench->last = &bench->first;
    bench->answer_count = bench->report_count = 0;
    bench->volumes = volumes_create(bench->folder, bench->folder, (uint64_t)1 << 30, NULL);
    bench->boot_worker = worker_fake_create(2, on_run, bench);
    bench->end_worker = worker_fake_create(2, on_run, bench);
    bench->hypervisor = hypervisor_fake_open(bench->world, &listener);
    hypervisor_watch(bench->hypervisor, bench->watch);
    struct guests_options options = {
        .loop = &bench->loop,
        .boot_worker = bench->boot_worker,
        .end_worker = bench->end_worker,
        .hypervisor = bench->hypervisor,
        .watch = bench->watch,
        .network = bench->network,
        .dhcp = network_fake_dhcp(bench->network),
        .images = bench->images,
        .overlays = bench->overlays,
        .volumes = bench->volumes,
        .run_directory = bench->folder,
        .log_directory = bench->folder,
        .accelerator = &bench->accelerator,
        .report = on_report,
        .answer = on_answer,
        .context = bench,
    };
    bench->guests = guests_create(&options);
    if (hypervisor_adopt(bench->hypervisor, &found, &count, NULL) == 0) {
        guests_adopt(bench->guests, found, count);
        guests_report_running(bench->guests);
        free(found);
    }
}

/* In the order of host.c. */
static void end_agent(struct guests_bench *bench)
{
    worker_stop(bench->boot_worker);
    worker_stop(bench->end_worker);
    hypervisor_close(bench->hypervisor);
    while (guests_bench_turn(bench))
        ;
    guests_destroy(bench->guests);
    worker_destroy(bench->boot_worker);
    worker_destroy(bench->end_worker);
    volumes_destroy(bench->volumes);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&bench->loop) != 0)
        abort();
}

void guests_bench_restart(struct guests_bench *bench)
{
    end_agent(bench);
    begin_agent(bench);
}

void guests_bench_watch(struct guests_bench *bench, struct call_watch *watch)
{
    bench->watch = watch;
    guests_bench_restart(bench);
}

static void make_folders(struct guests_bench *bench)
{
    static const char *const names[] = {"b", "c", "g", "consoles", "staging"};
    char folder[] = "/tmp/shoal-guests.XXXXXX";
    if (mkdtemp(folder) == NULL)
        abort();
    bench->folder = xstrdup(folder);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", folder, names[i]);
        if (file_make_directory(path, 0755, NULL) < 0)
            abort();
    }
}

static void import_kernel(struct guests_bench *bench)
{
    digest_of_bytes("kernel", 6, bench->kernel);
    AUTO_FREE char *path = xasprintf("%s/staging/%s", bench->folder, digest_hex(bench->kernel));
    if (file_write(path, "kernel", 6, 0600, NULL) < 0 ||
        image_store_import(bench->images, bench->kernel, 6, NULL) < 0)
        abort();
}

struct guests_bench *guests_bench_create(void)
{
    struct guests_bench *bench = xcalloc(1, sizeof *bench);
    make_folders(bench);
    bench->images = image_store_create(bench->folder, bench->folder, NULL);
    bench->overlays = overlays_create(bench->folder, bench->folder, NULL);
    import_kernel(bench);
    bench->network = network_fake_create();
    bench->world = hypervisor_fake_create();
    begin_agent(bench);
    return bench;
}

void guests_bench_destroy(struct guests_bench *bench)
{
    end_agent(bench);
    hypervisor_fake_destroy(bench->world);
    network_fake_destroy(bench->network);
    overlays_destroy(bench->overlays);
    image_store_destroy(bench->images);
    file_remove_tree(bench->folder, NULL);
    free(bench->folder);
    free(bench);
}
