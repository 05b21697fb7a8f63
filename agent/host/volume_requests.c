#include "agent/host/volume_requests.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/host/gdb_socket.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

struct volume_job {
    struct worker_job job;
    const struct volume_requests *requests;
    struct host_message message;
    int descriptor; /* of the list; -1: none */
    uint32_t left;  /* of the slot's volumes, after a removal */
    int result;
    struct error error;
};

/* ---- on the worker's thread ---- */

/* A file without a name, so that it may be longer than a message. */
static int list(struct volume_job *job)
{
    AUTO_BUFFER struct buffer text = {0};
    volumes_list(job->requests->volumes, &text);
    AUTO_CLOSE int file = memfd_create("volumes", MFD_CLOEXEC);
    if (file < 0)
        return error_set_errno(&job->error, errno, "list the volumes");
    if (file_write_all(file, text.data, text.length, &job->error) < 0)
        return -1;
    job->descriptor = TAKE_DESCRIPTOR(file);
    return 0;
}

/* gdb may let a paused guest go on, and what is copied then is of no moment. */
static int pause_guest(void *context, const char *id, struct error *error)
{
    const struct volume_job *job = context;
    if (gdb_socket_is_in_use(job->requests->run_directory, id))
        return error_set(error, ERROR_CONFLICT,
                         "instance %s has a debugger, which may let it go on: end that first "
                         "(`shoal debug %s --stop`)",
                         id, id);
    return hypervisor_pause(job->requests->hypervisor, id, error);
}

/* A guest that ended meanwhile needs nothing any more. */
static void resume_guest(void *context, const char *id)
{
    const struct volume_job *job = context;
    struct error error = ERROR_INIT;
    if (hypervisor_resume(job->requests->hypervisor, id, &error) < 0)
        log_warn("a guest that was paused for a snapshot does not go on", "id", id, "error",
                 error.message);
}

static int change(struct volume_job *job)
{
    const struct host_volume_request *asked = &job->message.volume;
    struct volumes *volumes = job->requests->volumes;
    const struct volume_pauser pauser = {
        .pause = pause_guest, .resume = resume_guest, .context = job};
    switch ((enum host_volume_operation)asked->operation) {
    case HOST_VOLUME_SNAPSHOT:
        return volumes_snapshot(volumes, &asked->key, asked->snapshot, &pauser, &job->error);
    case HOST_VOLUME_RESTORE:
        return volumes_restore(volumes, &asked->key, asked->snapshot, &job->error);
    case HOST_VOLUME_REMOVE:
        return volumes_remove(volumes, &asked->key, asked->snapshot, &job->left, &job->error);
    }
    return error_set(&job->error, ERROR_PROTOCOL, "volumes know no operation %u", asked->operation);
}

static void run(struct worker_job *worker_job)
{
    struct volume_job *job = (struct volume_job *)worker_job;
    job->result = job->message.type == HOST_VOLUMES ? list(job) : change(job);
}

/* ---- on the loop ---- */

static void done(struct worker_job *worker_job)
{
    struct volume_job *job = (struct volume_job *)worker_job;
    struct host_message answer = {.type = HOST_ANSWER, .sequence = job->message.sequence};
    answer.answer.number = job->left;
    if (job->result < 0)
        channel_answer(job->requests->channel, job->message.sequence, &job->error);
    else
        channel_send(job->requests->channel, &answer, job->descriptor);
    free(job);
}

void volume_requests_take(const struct volume_requests *requests,
                          const struct host_message *message)
{
    struct volume_job *job = xcalloc(1, sizeof *job);
    job->job.run = run;
    job->job.done = done;
    job->requests = requests;
    job->message = *message;
    job->descriptor = -1;
    job->result = error_set(&job->error, ERROR_UNAVAILABLE, "the host half is ending");
    worker_submit(message->type == HOST_VOLUMES ? requests->lister : requests->worker, &job->job);
}
