/* What instances and nodes use: the agent's answer to GET /v1/stats, which the scheduler passes on.
 *
 * Totals count from the instance's present boot. Rates are of the time between the last two
 * samples, which are some seconds apart. */
#pragma once

#include "lib/api/service_spec.h"
#include "lib/api/states.h"
#include "lib/json.h"

struct api_instance_figures {
    char id[INSTANCE_ID_MAX];
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    char node[NAME_MAX_TEXT];
    uint32_t slot;
    enum instance_state state;
    uint64_t uptime_ms;
    uint64_t age_ms;      /* of the last sample */
    uint64_t interval_ms; /* that the rates are of; 0: there was only one sample yet */
    uint64_t cpu_us;      /* processor time of the hypervisor's process, the guest's in it */
    uint64_t cpu_ppm;     /* millionths of one processor */
    uint64_t memory;      /* bytes resident on the node, files that others share included */
    uint64_t memory_private;
    uint64_t received_bytes, received_rate; /* by the guest; bytes a second */
    uint64_t received_packets, received_drops;
    uint64_t sent_bytes, sent_rate;
    uint64_t sent_packets, sent_drops;
};

extern const struct json_record api_instance_figures_record;
