#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/guest_access.h"
#include "agent/host/host_internal.h"
#include "agent/host/image_report.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* Kept for the host itself: the larger of this and a tenth of its memory. */
#define RESERVE_BYTES ((uint64_t)512 << 20)
/* Unikernels are idle most of the time: virtual processors promised for each real one. */
#define VCPUS_PER_PROCESSOR 128

void host_report_instance(void *context, const struct host_instance *instance)
{
    struct host *host = context;
    struct host_message message = {.type = HOST_INSTANCE, .instance = *instance};
    channel_send(host->channel, &message, -1);
}

void host_report_frontend(void *context, const struct host_frontend *frontend)
{
    struct host *host = context;
    struct host_message message = {.type = HOST_FRONTEND, .frontend = *frontend};
    channel_send(host->channel, &message, -1);
}

void host_report_usage(void *context, const struct host_usage *usage)
{
    struct host *host = context;
    struct host_message message = {.type = HOST_USAGE, .usage = *usage};
    channel_send(host->channel, &message, -1);
}

void host_report_node(void *context, const struct host_node *node)
{
    struct host *host = context;
    struct host_message message = {.type = HOST_NODE, .node = *node};
    channel_send(host->channel, &message, -1);
}

void host_report_steps(void *context, const struct host_boot_steps *steps)
{
    struct host *host = context;
    struct host_message message = {.type = HOST_BOOT_STEPS, .boot_steps = *steps};
    channel_send(host->channel, &message, -1);
}

void host_answer_number(void *context, uint64_t sequence, const struct error *error,
                        uint32_t number)
{
    struct host *host = context;
    struct host_message message = {.type = HOST_ANSWER, .sequence = sequence};
    message.answer.number = number;
    if (error != NULL)
        channel_answer(host->channel, sequence, error);
    else
        channel_send(host->channel, &message, -1);
}

void host_answer_request(void *context, uint64_t sequence, const struct error *error)
{
    struct host *host = context;
    channel_answer(host->channel, sequence, error);
}

static void hello(struct host *host, uint64_t sequence)
{
    guests_report_running(host->guests);
    image_report_send(host->images, host->channel);
    struct host_message message = {.type = HOST_ANSWER, .sequence = sequence};
    struct host_welcome *welcome = &message.answer.welcome;
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t reserve = total / 10 > RESERVE_BYTES ? total / 10 : RESERVE_BYTES;
    welcome->protocol = HOST_PROTOCOL;
    welcome->machine_count = accelerator_list_machines(&host->accelerator, welcome->machines);
    channel_copy_text(welcome->accel_reason, sizeof welcome->accel_reason,
                      host->accelerator.reason);
    welcome->memory = total > reserve ? total - reserve : 0;
    welcome->vcpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN) * VCPUS_PER_PROCESSOR;
    welcome->overhead = GUEST_OVERHEAD_BYTES;
    welcome->volumes = volumes_limit(host->volumes);
    volumes_count(host->volumes, &welcome->volumes_used, &welcome->snapshots);
    channel_send(host->channel, &message, -1);
}

static void give_socket(struct host *host, uint64_t sequence)
{
    struct error error = ERROR_INIT;
    struct host_message message = {.type = HOST_ANSWER, .sequence = sequence};
    int descriptor = -1;
    if (network_socket(host->network, &descriptor, &error) < 0)
        channel_answer(host->channel, sequence, &error);
    else
        channel_send(host->channel, &message, descriptor);
}

static void give_console(struct host *host, uint64_t sequence, const char *id)
{
    struct error error = ERROR_INIT;
    struct host_message message = {.type = HOST_ANSWER, .sequence = sequence};
    int descriptor = -1;
    if (guests_open_console(host->guests, id, &descriptor, &error) < 0)
        channel_answer(host->channel, sequence, &error);
    else
        channel_send(host->channel, &message, descriptor);
}

/* Imports and the network's setting up take time: they run on a worker. */
struct request_job {
    struct worker_job job;
    struct host *host;
    struct host_message message;
    int result;
    struct error error;
};

static void request_done(struct worker_job *worker_job)
{
    struct request_job *job = (struct request_job *)worker_job;
    channel_answer(job->host->channel, job->message.sequence, job->result < 0 ? &job->error : NULL);
    free(job);
}

static void import_run(struct worker_job *worker_job)
{
    struct request_job *job = (struct request_job *)worker_job;
    job->result = image_store_import(job->host->images, job->message.import.digest,
                                     job->message.import.size, &job->error);
}

static void drop_run(struct worker_job *worker_job)
{
    struct request_job *job = (struct request_job *)worker_job;
    job->result = image_store_drop(job->host->images, job->message.drop.digest, &job->error);
}

static void network_run(struct worker_job *worker_job)
{
    struct request_job *job = (struct request_job *)worker_job;
    job->result = network_configure(job->host->network, job->message.network.subnet, &job->error);
    /* Most guests do not ask for their address: those that do are told at their boot. */
    if (job->result == 0)
        dhcp_serve(job->host->dhcp, NULL);
}

static void submit(struct host *host, const struct host_message *message,
                   void (*run)(struct worker_job *))
{
    struct request_job *job = xcalloc(1, sizeof *job);
    job->job.run = run;
    job->job.done = request_done;
    job->host = host;
    job->message = *message;
    job->result = error_set(&job->error, ERROR_UNAVAILABLE, "the host half is ending");
    worker_submit(host->image_worker, &job->job);
}

/* A model is collected message by message and handed over as a whole. */
static void collect_model(struct host *host, const struct host_message *message)
{
    struct error error = ERROR_INIT;
    int result = 0;
    if (message->type == HOST_PROXY_BEGIN) {
        proxy_model_destroy(host->model);
        host->model = proxy_model_create();
    } else if (host->model == NULL) {
        result = error_set(&error, ERROR_INVALID, "a list of frontends has not been begun");
    } else if (message->type == HOST_PROXY_FRONTEND) {
        result = proxy_model_add_frontend(host->model, &message->proxy_frontend, &error);
    } else if (message->type == HOST_PROXY_SERVER) {
        result = proxy_model_add_server(host->model, &message->proxy_server, &error);
    } else {
        proxy_apply(host->proxy, message->sequence, TAKE_POINTER(host->model));
        return;
    }
    if (result < 0) { /* what is not whole is not applied */
        proxy_model_destroy(host->model);
        host->model = NULL;
    }
    channel_answer(host->channel, message->sequence, result < 0 ? &error : NULL);
}

void host_receive(void *context, const struct host_message *message)
{
    struct host *host = context;
    struct error error = ERROR_INIT;
    switch ((enum host_message_type)message->type) {
    case HOST_HELLO:
        hello(host, message->sequence);
        return;
    case HOST_NETWORK:
        submit(host, message, network_run);
        return;
    case HOST_IMPORT:
        submit(host, message, import_run);
        return;
    case HOST_DROP:
        submit(host, message, drop_run);
        return;
    case HOST_BOOT:
        guests_boot(host->guests, message->sequence, &message->boot);
        return;
    case HOST_STOP:
        guests_stop(host->guests, message->sequence, &message->stop);
        return;
    case HOST_FORGET:
        guests_forget(host->guests, message->sequence, message->forget.id);
        return;
    case HOST_PAUSE:
        guests_pause(host->guests, message->sequence, &message->pause);
        return;
    case HOST_SOCKET:
        give_socket(host, message->sequence);
        return;
    case HOST_CONSOLE:
        give_console(host, message->sequence, message->console.id);
        return;
    case HOST_DEBUG:
        guests_debug(host->guests, message->sequence, &message->debug);
        return;
    case HOST_VOLUMES:
    case HOST_VOLUME:
        volume_requests_take(&host->volume_requests, message);
        return;
    case HOST_PROXY_BEGIN:
    case HOST_PROXY_FRONTEND:
    case HOST_PROXY_SERVER:
    case HOST_PROXY_COMMIT:
        collect_model(host, message);
        return;
    case HOST_PROXY_COUNT:
        proxy_count(host->proxy, message->sequence, message->proxy_count.id);
        return;
    case HOST_ANSWER:
    case HOST_INSTANCE:
    case HOST_FRONTEND:
    case HOST_USAGE:
    case HOST_IMAGES:
    case HOST_NODE:
    case HOST_BOOT_STEPS:
        error_set(&error, ERROR_PROTOCOL, "message of type %u is not a request", message->type);
        channel_answer(host->channel, message->sequence, &error);
    }
}
