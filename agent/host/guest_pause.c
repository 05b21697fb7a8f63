/* Guests that stand still: standbys, which are let go on when they are wanted. */
#include <stdlib.h>

#include "agent/host/guests_internal.h"
#include "lib/log.h"

static void pause_run(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct hypervisor *hypervisor = job->guest->guests->options.hypervisor;
    job->result = job->pause ? hypervisor_pause(hypervisor, job->guest->id, &job->error)
                             : hypervisor_resume(hypervisor, job->guest->id, &job->error);
}

static void pause_done(struct worker_job *worker_job)
{
    struct guest_job *job = (struct guest_job *)worker_job;
    struct guest *guest = job->guest;
    const struct guests_options *options = &guest->guests->options;
    guest->pausing = false;
    if (job->result == 0) {
        guest->paused = job->pause;
        log_info(job->pause ? "microVM paused" : "microVM goes on", "id", guest->id);
    }
    options->answer(options->context, job->sequence, job->result < 0 ? &job->error : NULL);
    guest_finish_end(guest);
    free(job);
}

void guests_pause(struct guests *guests, uint64_t sequence, const struct host_pause *pause)
{
    struct error error = ERROR_INIT;
    struct guest *guest = guests_find(guests, pause->id);
    if (guest == NULL || guest->state != GUEST_RUNNING)
        error_set(&error, ERROR_NOT_FOUND, "instance %s does not run here", pause->id);
    else if (guest->pausing)
        error_set(&error, ERROR_CONFLICT, "instance %s is being paused or resumed", pause->id);
    if (error.code != ERROR_NONE) {
        guests->options.answer(guests->options.context, sequence, &error);
        return;
    }
    if (guest->paused == (pause->paused != 0)) {
        guests->options.answer(guests->options.context, sequence, NULL);
        return;
    }
    guest->pausing = true;
    struct guest_job *job = guest_job_create(guest, sequence, pause_run, pause_done);
    job->pause = pause->paused != 0;
    worker_submit(guests->options.end_worker, &job->job);
}
