/* How long each step of a boot takes, measured where it is done: on the workers, and on the loop
 * for what the guest does. */
#include <string.h>

#include "agent/host/guests_internal.h"

static uint64_t span_us(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
}

static void report(const struct guest *guest)
{
    const struct guests_options *options = &guest->guests->options;
    if (options->report_steps != NULL)
        options->report_steps(options->context, &guest->steps);
}

void guest_steps_begin(struct guest *guest, struct guest_job *job)
{
    guest->steps = (struct host_boot_steps){0};
    memcpy(guest->steps.id, guest->id, sizeof guest->steps.id);
    guest->started_ns = guest->spoke_ns = 0;
    guest->diskless = job->boot.disk_count == 0 && job->boot.volume_count == 0;
    guest->disk_pause = 0;
    job->submitted_ns = uv_hrtime();
}

void guest_steps_started(struct guest *guest, const struct guest_job *job)
{
    guest->steps.queue_us = span_us(job->submitted_ns, job->begun_ns);
    guest->steps.create_us = span_us(job->begun_ns, job->created_ns);
    guest->steps.start_us = span_us(job->created_ns, job->started_ns);
    guest->started_ns = job->started_ns;
    /* Most have spoken before this thread hears that they run. */
    if (guest->spoke_ns != 0)
        guest->steps.first_packet_us = span_us(guest->started_ns, guest->spoke_ns) + 1;
    report(guest);
}

void guests_first_packet(struct guests *guests, const char *mac)
{
    for (struct guest *guest = guests->first; guest != NULL; guest = guest->next) {
        if (strcmp(guest->mac, mac) != 0 || guest->spoke_ns != 0)
            continue;
        if (guest->state == GUEST_BOOTING) {
            guest->spoke_ns = uv_hrtime();
        } else if (guest->state == GUEST_RUNNING && guest->started_ns != 0) {
            guest->spoke_ns = uv_hrtime();
            guest->steps.first_packet_us = span_us(guest->started_ns, guest->spoke_ns) + 1;
            report(guest);
        }
        return;
    }
}
