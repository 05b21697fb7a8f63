#include "agent/host/guest_access.h"

#include <string.h>

#include "agent/host/console.h"
#include "agent/host/gdb_socket.h"
#include "agent/host/guests_internal.h"
#include "lib/log.h"
#include "lib/xalloc.h"

int guests_open_console(struct guests *guests, const char *id, int *ret_peer, struct error *error)
{
    const struct guest *guest = guests_find(guests, id);
    if (guest == NULL || guest->console == NULL)
        return error_set(error, ERROR_UNAVAILABLE,
                         "instance %s has no console now: it does not run", id);
    return console_attach(guest->console, ret_peer, error);
}

/* --- the gdb stub --- */

/* Holds nothing of the guest, which may end meanwhile. */
struct debug_job {
    struct worker_job job;
    struct guests *guests;
    uint64_t sequence;
    struct host_debug debug;
    int result;
    struct error error;
};

static void run_debug(struct worker_job *worker_job)
{
    struct debug_job *job = (struct debug_job *)worker_job;
    const struct guests_options *options = &job->guests->options;
    job->result = (job->debug.open ? gdb_socket_open : gdb_socket_close)(
        options->hypervisor, options->run_directory, job->debug.id, &job->error);
}

static void debug_done(struct worker_job *worker_job)
{
    struct debug_job *job = (struct debug_job *)worker_job;
    struct guests *guests = job->guests;
    const struct guest *guest = guests_find(guests, job->debug.id);
    /* It ended meanwhile, and what its end removes may have been there too early. */
    if (guest == NULL || guest->state != GUEST_RUNNING)
        gdb_socket_forget(guests->options.run_directory, job->debug.id);
    if (job->result == 0)
        log_info(job->debug.open ? "gdb stub on" : "gdb stub off", "id", job->debug.id);
    guests->options.answer(guests->options.context, job->sequence,
                           job->result < 0 ? &job->error : NULL);
    free(job);
}

void guests_debug(struct guests *guests, uint64_t sequence, const struct host_debug *debug)
{
    struct error error = ERROR_INIT;
    const struct guest *guest = guests_find(guests, debug->id);
    if (guest == NULL || guest->state != GUEST_RUNNING) {
        error_set(&error, ERROR_UNAVAILABLE, "instance %s does not run now", debug->id);
        guests->options.answer(guests->options.context, sequence, &error);
        return;
    }
    struct debug_job *job = xcalloc(1, sizeof *job);
    job->job.run = run_debug;
    job->job.done = debug_done;
    job->guests = guests;
    job->sequence = sequence;
    job->debug = *debug;
    job->result = error_set(&job->error, ERROR_UNAVAILABLE, "the host half is ending");
    worker_submit(guests->options.end_worker, &job->job);
}
