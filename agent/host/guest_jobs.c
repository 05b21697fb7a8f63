#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/console.h"
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

bool guest_process_lives(pid_t pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
    AUTO_FREE char *text = NULL;
    if (pid <= 0 || file_read(path, 4096, &text, NULL, NULL) < 0)
        return false;
    const char *state = strrchr(text, ')');
    return state != NULL && strncmp(state, ") Z", 3) != 0;
}

static void fill_spec(const struct guest_job *job, struct domain_spec *spec)
{
    const struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    memcpy(spec->id, guest->id, sizeof spec->id);
    memcpy(spec->kernel, guest->kernel, sizeof spec->kernel);
    memcpy(spec->image, guest->image, sizeof spec->image);
    memcpy(spec->address, guest->address, sizeof spec->address);
    memcpy(spec->mac, guest->mac, sizeof spec->mac);
    memcpy(spec->tap, guest->tap, sizeof spec->tap);
    spec->command_line = job->boot.command_line;
    spec->memory = job->boot.memory;
    spec->limit = job->boot.memory + GUEST_OVERHEAD_BYTES;
    spec->vcpus = job->boot.vcpus;
    spec->kvm = options->kvm;
    spec->uid = guest_user_of(guest->id);
    spec->gid = options->kvm ? options->kvm_group : spec->uid;
}

/* The image is copied to where QEMU's user can read it, hashed on the way, and goes again once
 * QEMU has loaded it. */
static int create(struct guest_job *job, const char *console_path)
{
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_FREE char *kernel_path = xasprintf("%s/b/%s", options->run_directory, guest->id);
    struct domain_spec spec = {.kernel_path = kernel_path, .console_path = console_path};
    fill_spec(job, &spec);
    if (image_store_place(options->images, guest->kernel, kernel_path, &job->error) < 0)
        return -1;
    int result = hypervisor_create(options->hypervisor, &spec, &job->pid, &job->error);
    unlink(kernel_path);
    return result;
}

/* Nothing runs before its console is connected and its tap is where only its own address passes. */
static int start(struct guest_job *job, const char *console_path)
{
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_CLOSE int console = -1;
    if (console_connect(console_path, &console, &job->error) < 0 ||
        network_tap_attach(options->network, guest->tap, guest->mac, guest->address, &job->error) <
            0 ||
        hypervisor_resume(options->hypervisor, guest->id, &job->error) < 0)
        return -1;
    job->console = TAKE_DESCRIPTOR(console);
    return 0;
}

void guest_job_boot(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_FREE char *console_path = guest_console_path(guest);
    unlink(console_path);
    job->result = -1;
    if (network_tap_remove(options->network, guest->tap, guest->mac, "", &job->error) < 0 ||
        network_tap_make(guest->tap, &job->error) < 0)
        return;
    if (create(job, console_path) == 0) {
        job->result = start(job, console_path);
        if (job->result < 0) {
            hypervisor_destroy(options->hypervisor, guest->id, NULL);
            hypervisor_await_gone(options->hypervisor, guest->id, NULL);
        }
    }
    if (job->result < 0)
        network_tap_remove(options->network, guest->tap, guest->mac, guest->address, NULL);
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
    unlink(console_path);
    job->result = gone < 0 || removed < 0 ? -1 : 0;
}

void guest_job_forget(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    AUTO_FREE char *console_path = guest_console_path(guest);
    AUTO_FREE char *log = xasprintf("%s/v/log/qemu/%s.log", options->run_directory, guest->tap);
    unlink(console_path);
    unlink(log);
    console_remove_logs(guest->guests->console_folder, guest->id);
    job->result = network_tap_remove(options->network, guest->tap, guest->mac, "", &job->error);
    if (job->result == 0 && guest->address[0] != '\0')
        job->result = network_address_release(options->network, guest->address, &job->error);
}
