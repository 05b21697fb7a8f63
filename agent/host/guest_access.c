#include "agent/host/guest_access.h"

#include <string.h>

#include "agent/host/console.h"
#include "agent/host/gdb_socket.h"
#include "agent/host/guests_internal.h"
#include "lib/cleanup.h"
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

/* The socket comes first and then the look at copies, which look for it in their turn: of two who
 * begin at once one sees the other. */
static int switch_on(const struct guests_options *options, const char *id, struct error *error)
{
    AUTO_CLOSE int listener = -1;
    if (gdb_socket_make(options->run_directory, id, &listener, error) < 0)
        return -1;
    if (!volumes_are_copied(options->volumes, id))
        return gdb_socket_open(options->hypervisor, options->run_directory, id, listener, error);
    gdb_socket_unmake(options->run_directory, id);
    return error_set(error, ERROR_CONFLICT,
                     "a volume of instance %s is being copied, for which it stands still: debug "
                     "it when that is done",
                     id);
}

static void run_debug(struct worker_job *worker_job)
{
    struct debug_job *job = (struct debug_job *)worker_job;
    const struct guests_options *options = &job->guests->options;
    const char *id = job->debug.id;
    job->result = job->debug.open ? switch_on(options, id, &job->error)
                                  : gdb_socket_close(options->hypervisor, options->run_directory,
                                                     id, &job->error);
}

static void debug_done(struct worker_job *worker_job)
{
    struct debug_job *job = (struct debug_job *)worker_job;
    struct guests *guests = job->guests;
    struct guest *guest = guests_find(guests, job->debug.id);
    if (guest != NULL)
        guest->debugging = false;
    /* It ended meanwhile, and what its end removes may have been there too early. */
    if (guest == NULL || guest->state != GUEST_RUNNING)
        gdb_socket_forget(guests->options.run_directory, job->debug.id);
    if (job->result == 0)
        log_info(job->debug.open ? "gdb stub on" : "gdb stub off", "id", job->debug.id);
    else
        log_warn("a gdb stub could not be switched", "id", job->debug.id, "error",
                 job->error.message);
    if (job->sequence > 0)
        guests->options.answer(guests->options.context, job->sequence,
                               job->result < 0 ? &job->error : NULL);
    free(job);
}

/* A sequence of 0: nobody waits for the answer. */
static void submit(struct guest *guest, uint64_t sequence, const struct host_debug *debug)
{
    struct guests *guests = guest->guests;
    guest->debugging = true;
    struct debug_job *job = xcalloc(1, sizeof *job);
    job->job.run = run_debug;
    job->job.done = debug_done;
    job->guests = guests;
    job->sequence = sequence;
    job->debug = *debug;
    job->result = error_set(&job->error, ERROR_UNAVAILABLE, "the host half is ending");
    worker_submit(guests->options.end_worker, &job->job);
}

/* A debugger that goes lets its guest go on. */
static int check_debug(const struct guest *guest, const struct host_debug *debug,
                       struct error *error)
{
    if (guest == NULL || guest->state != GUEST_RUNNING)
        return error_set(error, ERROR_UNAVAILABLE, "instance %s does not run now", debug->id);
    if (guest->debugging)
        return error_set(error, ERROR_CONFLICT,
                         "the gdb stub of instance %s is just being switched: try again",
                         debug->id);
    if (debug->open && (guest->paused || guest->pausing))
        return error_set(error, ERROR_CONFLICT,
                         "instance %s stands still as a standby, and a debugger would let it go on",
                         debug->id);
    return 0;
}

void guests_debug(struct guests *guests, uint64_t sequence, const struct host_debug *debug)
{
    struct error error = ERROR_INIT;
    struct guest *guest = guests_find(guests, debug->id);
    if (check_debug(guest, debug, &error) < 0)
        guests->options.answer(guests->options.context, sequence, &error);
    else
        submit(guest, sequence, debug);
}

static void sweep_one(void *context, const char *id, bool is_half)
{
    struct guests *guests = context;
    struct guest *guest = guests_find(guests, id);
    struct host_debug off = {0};
    if (guest == NULL) {
        gdb_socket_forget(guests->options.run_directory, id);
    } else if (is_half && !guest->debugging) {
        memcpy(off.id, guest->id, sizeof off.id);
        submit(guest, 0, &off);
    }
}

void guests_sweep_debuggers(struct guests *guests)
{
    gdb_socket_list(guests->options.run_directory, sweep_one, guests);
}
