#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/console.h"
#include "agent/host/gdb_socket.h"
#include "agent/host/guest_user.h"
#include "agent/host/guests_internal.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

struct guest_job *guest_job_create(struct guest *guest, uint64_t sequence,
                                   void (*run)(struct worker_job *),
                                   void (*done)(struct worker_job *))
{
    struct guest_job *job = xcalloc(1, sizeof *job);
    job->job.run = run;
    job->job.done = done;
    job->guest = guest;
    job->sequence = sequence;
    job->result = -1;
    job->tap = -1;
    error_set(&job->error, ERROR_UNAVAILABLE, "the host half is ending");
    return job;
}

void guest_job_submit(struct guest *guest, uint64_t sequence, void (*run)(struct worker_job *),
                      void (*done)(struct worker_job *))
{
    struct guest_job *job = guest_job_create(guest, sequence, run, done);
    worker_submit(guest->guests->options.end_worker, &job->job);
}

char *guest_console_path(const struct guest *guest)
{
    return xasprintf("%s/c/%s.sock", guest->guests->options.run_directory, guest->id);
}

const char *guest_id_of_user(void *context, uint32_t uid)
{
    const struct guests *guests = context;
    for (const struct guest *guest = guests->first; guest != NULL; guest = guest->next) {
        if (guest_user_of(guest->id) == uid)
            return guest->id;
    }
    return NULL;
}

/* What a boot reads and writes, as QEMU sees it. Images are shared by all that boot from them. */
struct parts {
    char *kernel, *initrd; /* "": none */
    char *images[HOST_DISKS_MAX];
    char *overlays[HOST_DISKS_MAX];
    char *volumes[HOST_VOLUMES_MAX];
    uint64_t loaded; /* bytes of kernel and initrd */
};

static void release_parts(struct parts *parts)
{
    free(parts->kernel);
    free(parts->initrd);
    for (size_t i = 0; i < HOST_DISKS_MAX; i++) {
        free(parts->images[i]);
        free(parts->overlays[i]);
    }
    for (size_t i = 0; i < HOST_VOLUMES_MAX; i++)
        free(parts->volumes[i]);
}

/* Proven where it lies, which only root can alter. */
static int place_file(struct guest_job *job, const char *digest, char **ret_path, uint64_t *loaded)
{
    struct image_store *images = job->guest->guests->options.images;
    AUTO_CLOSE int file = -1;
    uint64_t size;
    if (digest[0] == '\0') {
        *ret_path = xstrdup("");
        return 0;
    }
    if (image_store_open(images, digest, &file, &size, &job->error) < 0)
        return -1;
    *ret_path = image_store_shown(images, digest);
    *loaded += size;
    return 0;
}

/* Laid under an overlay, which takes what the guest writes. */
static int place_disk(struct guest_job *job, size_t index, struct parts *parts,
                      struct microvm_disk *ret_disk)
{
    const struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    const char *digest = job->boot.disks[index];
    AUTO_CLOSE int image = -1;
    uint64_t size;
    if (image_store_open(options->images, digest, &image, &size, &job->error) < 0)
        return -1;
    parts->images[index] = image_store_shown(options->images, digest);
    struct overlay_base base = {.path = parts->images[index]};
    if (overlay_judge(image, size, &base, &job->error) < 0)
        return error_wrap(&job->error, "disk %s", digest);
    if (overlays_make(options->overlays, guest->id, index, &base, guest_user_of(guest->id),
                      &parts->overlays[index], &job->error) < 0)
        return -1;
    *ret_disk = (struct microvm_disk){.overlay_path = parts->overlays[index],
                                      .image_path = base.path,
                                      .image_format = base.format};
    return 0;
}

/* A microvm has a fixed number of places for devices, one of them the network card's. */
static int check_places(struct guest_job *job)
{
    unsigned flags = job->way->flags;
    uint32_t places = (flags & BOOT_ACPI) != 0 && (flags & BOOT_ONE_IOAPIC) == 0 ? 24 : 8;
    if (job->way->machine != MACHINE_MICROVM ||
        job->boot.disk_count + job->boot.volume_count < places)
        return 0;
    return error_set(
        &job->error, ERROR_INVALID, "this machine has room for %u disks and volumes, not for %u",
        (unsigned)places - 1, (unsigned)(job->boot.disk_count + job->boot.volume_count));
}

static int place_volumes(struct guest_job *job, struct parts *parts, struct microvm_spec *spec)
{
    const struct guest *guest = job->guest;
    const struct host_boot *boot = &job->boot;
    struct host_volume_key key = {.slot = boot->slot};
    memcpy(key.namespace_name, boot->namespace_name, sizeof key.namespace_name);
    memcpy(key.service, boot->service, sizeof key.service);
    for (size_t i = 0; i < boot->volume_count; i++) {
        const struct host_volume *volume = &boot->volumes[i];
        memcpy(key.name, volume->name, sizeof key.name);
        if (volumes_attach(guest->guests->options.volumes, guest->id, &key, volume->size,
                           guest_user_of(guest->id), &parts->volumes[i], &job->error) < 0)
            return -1;
        spec->volumes[i] =
            (struct microvm_volume){.path = parts->volumes[i], .device = volume->device};
    }
    spec->volume_count = boot->volume_count;
    return 0;
}

static int place_parts(struct guest_job *job, struct parts *parts, struct microvm_spec *spec)
{
    const struct host_boot *boot = &job->boot;
    if (check_places(job) < 0 ||
        place_file(job, boot->kernel, &parts->kernel, &parts->loaded) < 0 ||
        place_file(job, boot->initrd, &parts->initrd, &parts->loaded) < 0)
        return -1;
    for (size_t i = 0; i < boot->disk_count; i++) {
        if (place_disk(job, i, parts, &spec->disks[i]) < 0)
            return -1;
    }
    spec->disk_count = boot->disk_count;
    if (place_volumes(job, parts, spec) < 0)
        return -1;
    spec->kernel_path = parts->kernel;
    spec->initrd_path = parts->initrd;
    return 0;
}

static void fill_spec(const struct guest_job *job, const struct parts *parts,
                      struct microvm_spec *spec)
{
    const struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    memcpy(spec->id, guest->id, sizeof spec->id);
    memcpy(spec->family, guest->family, sizeof spec->family);
    memcpy(spec->kernel, guest->kernel, sizeof spec->kernel);
    memcpy(spec->image, guest->image, sizeof spec->image);
    memcpy(spec->address, guest->address, sizeof spec->address);
    memcpy(spec->mac, guest->mac, sizeof spec->mac);
    memcpy(spec->tap, guest->tap, sizeof spec->tap);
    spec->tap_descriptor = job->tap;
    spec->boot = job->way;
    spec->command_line = job->boot.command_line;
    spec->memory = job->boot.memory;
    spec->limit = job->boot.memory + GUEST_OVERHEAD_BYTES + parts->loaded;
    spec->vcpus = job->boot.vcpus;
    spec->kvm = strcmp(accelerator_of(options->accelerator, job->way->architecture), "kvm") == 0;
    spec->uid = guest_user_of(guest->id);
    spec->gid = spec->kvm ? options->accelerator->group : spec->uid;
}

static int create(struct guest_job *job, const char *console_path)
{
    const struct guests_options *options = &job->guest->guests->options;
    struct microvm_spec spec = {.console_path = console_path};
    struct parts parts = {0};
    struct call_under_way call;
    call_watch_begin(options->watch, &call, WATCHED_FILES, job->guest->id);
    int result = call_watch_end(options->watch, &call, place_parts(job, &parts, &spec));
    if (result == 0) {
        fill_spec(job, &parts, &spec);
        result = hypervisor_create(options->hypervisor, &spec, &job->pid, &job->error);
    }
    release_parts(&parts);
    return result;
}

/* A guest that can learn its address in no other way is not started where nobody would answer. */
static int give_lease(struct guest_job *job)
{
    const struct guest *guest = job->guest;
    const struct family *family = family_find(guest->family);
    struct dhcp *dhcp = guest->guests->options.dhcp;
    struct network_pin lease;
    memcpy(lease.tap, guest->tap, sizeof lease.tap);
    memcpy(lease.mac, guest->mac, sizeof lease.mac);
    memcpy(lease.address, guest->address, sizeof lease.address);
    if (dhcp_lease(dhcp, &lease, &job->error) < 0)
        return -1;
    if (family != NULL && family->address == FAMILY_ADDRESS_DHCP &&
        dhcp_check(dhcp, &job->error) < 0)
        return error_wrap(&job->error, "family %s gets its address by DHCP only", family->name);
    return 0;
}

static int make_tap(struct guest_job *job)
{
    const struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    if (!hypervisor_takes_tap(options->hypervisor))
        return network_tap_make(guest->tap, &job->error);
    return network_tap_open(options->network, guest->tap, guest->mac, guest->address, &job->tap,
                            &job->error);
}

static int attach_tap(struct guest_job *job)
{
    const struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    if (hypervisor_takes_tap(options->hypervisor)) /* it is there already */
        return network_address_release(options->network, guest->address, &job->error);
    return network_tap_attach(options->network, guest->tap, guest->mac, guest->address,
                              &job->error);
}

/* Nothing runs before its console is connected, its address can be asked for, and its tap is where
 * only that address passes. */
static int start(struct guest_job *job, const char *console_path)
{
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_CLOSE int console = -1;
    if (console_connect(console_path, &console, &job->error) < 0 || give_lease(job) < 0 ||
        attach_tap(job) < 0)
        return -1;
    guest_memory_begin(job->pid, &job->memory); /* what is counted from now on is the guest's */
    job->started_ns = uv_hrtime(); /* the guest may speak before we hear that it runs */
    if (hypervisor_resume(options->hypervisor, guest->id, &job->error) < 0)
        return -1;
    job->console = TAKE_DESCRIPTOR(console);
    return 0;
}

static int end_for_good(const struct guest *guest, struct error *error)
{
    struct hypervisor *hypervisor = guest->guests->options.hypervisor;
    if (hypervisor_destroy(hypervisor, guest->id, error) < 0)
        return -1;
    return hypervisor_await_gone(hypervisor, guest->id, error);
}

void guest_job_boot(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_FREE char *console_path = guest_console_path(guest);
    job->begun_ns = uv_hrtime();
    call_watch_end(options->watch, &job->turn, 0);
    gdb_socket_forget(options->run_directory, guest->id);
    unlink(console_path);
    job->result = -1;
    if (network_tap_remove(options->network, guest->tap, guest->mac, "", &job->error) < 0 ||
        make_tap(job) < 0)
        return;
    bool is_created = create(job, console_path) == 0;
    if (job->tap >= 0)
        close(job->tap); /* QEMU has its own */
    if (is_created) {
        job->created_ns = uv_hrtime();
        job->result = start(job, console_path);
    }
    if (job->result < 0) {
        /* Also when it was not made: what an earlier attempt could not end may be in the way. */
        bool is_gone = end_for_good(guest, NULL) == 0;
        network_tap_remove(options->network, guest->tap, guest->mac, guest->address, NULL);
        unlink(console_path);
        overlays_remove(options->overlays, guest->id);
        if (is_gone) /* else its QEMU may still write */
            volumes_detach(options->volumes, guest->id);
    }
}

void guest_job_press(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    job->result =
        hypervisor_press_power(job->guest->guests->options.hypervisor, job->guest->id, &job->error);
}

void guest_job_destroy(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    job->result =
        hypervisor_destroy(job->guest->guests->options.hypervisor, job->guest->id, &job->error);
}

/* The tap goes with its QEMU: one that is used again at once stalls for a second. */
void guest_job_end(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_FREE char *console_path = guest_console_path(guest);
    int gone = hypervisor_await_gone(options->hypervisor, guest->id, &job->error);
    int removed = network_tap_remove(options->network, guest->tap, guest->mac, guest->address,
                                     gone < 0 ? NULL : &job->error);
    gdb_socket_forget(options->run_directory, guest->id);
    unlink(console_path);
    overlays_remove(options->overlays, guest->id);
    if (gone == 0) /* else its QEMU may still write */
        volumes_detach(options->volumes, guest->id);
    job->result = gone < 0 || removed < 0 ? -1 : 0;
}

void guest_job_forget(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_FREE char *console_path = guest_console_path(guest);
    AUTO_FREE char *log = xasprintf("%s/v/log/qemu/%s.log", options->run_directory, guest->tap);
    job->result = end_for_good(guest, &job->error);
    if (job->result < 0)
        return;
    unlink(console_path);
    unlink(log);
    overlays_remove(options->overlays, guest->id);
    volumes_detach(options->volumes, guest->id);
    console_retire_logs(guest->guests->console_folder, guest->id);
    dhcp_forget(options->dhcp, guest->tap);
    job->result = network_tap_remove(options->network, guest->tap, guest->mac, "", &job->error);
    if (job->result == 0 && guest->address[0] != '\0')
        job->result = network_address_release(options->network, guest->address, &job->error);
}
