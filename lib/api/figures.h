/* What instances and nodes use: the agent's answer to GET /v1/stats, which the scheduler passes on.
 *
 * Totals count from the instance's present boot. Rates are of the time between the last two
 * samples, which are some seconds apart. */
#pragma once

#include "lib/api/boot_steps.h"
#include "lib/api/service_spec.h"
#include "lib/api/states.h"
#include "lib/json.h"

/* `of` in the query: what is told one by one. The machine's own figures always are. */
enum api_stats_of { API_STATS_INSTANCES, API_STATS_SERVICES, API_STATS_NODE };
extern const char *const api_stats_of_names[];
/* `text` NULL: instances. ERROR_INVALID says what is allowed. */
int api_stats_read_of(const char *text, enum api_stats_of *ret_of, struct error *error);

struct api_instance_figures {
    char id[INSTANCE_ID_MAX];
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    char node[NAME_MAX_TEXT];
    uint32_t slot;
    enum instance_state state;
    uint64_t uptime_ms;
    uint64_t age_ms;         /* of the last sample */
    uint64_t interval_ms;    /* that the rates are of; 0: there was only one sample yet */
    uint64_t cpu_us;         /* processor time of the hypervisor's process, the guest's in it */
    uint64_t cpu_ppm;        /* millionths of one processor */
    uint64_t memory;         /* bytes resident on the node, files that others share included */
    uint64_t memory_private; /* 0: not looked at yet, and so are the figures above and below */
    uint64_t received_bytes, received_rate; /* by the guest; bytes a second */
    uint64_t received_packets, received_drops;
    uint64_t sent_bytes, sent_rate;
    uint64_t sent_packets, sent_drops;
    uint32_t disks; /* whose use is known, volumes among them */
    uint64_t read_bytes, read_rate, read_operations;
    uint64_t written_bytes, write_rate, write_operations;
};

/* GET /v1/instances/ID/stats. */
struct api_instance_stats {
    char id[INSTANCE_ID_MAX];
    bool has_figures; /* it runs, and was looked at */
    struct api_instance_figures figures;
    uint64_t boot_ms; /* of the last boot, from the order to boot to readiness; 0: not ready yet */
    struct api_boot_steps steps;
};

/* All running instances of one service on one node, added up. */
struct api_service_figures {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t instances;
    uint64_t cpu_ppm;
    uint64_t memory, memory_private;
    uint64_t received_bytes, received_rate, received_drops;
    uint64_t sent_bytes, sent_rate, sent_drops;
    uint64_t read_bytes, read_rate;
    uint64_t written_bytes, write_rate;
};

/* The machine itself. */
struct api_node_figures {
    char node[NAME_MAX_TEXT];
    uint32_t instances; /* that run */
    uint32_t processors;
    uint64_t age_ms, interval_ms; /* as an instance's */
    uint64_t cpu_ppm;             /* busy; of one processor, so up to that many million */
    uint64_t memory, memory_available;
    uint64_t disk, disk_available; /* of the agent's state folder */
    uint64_t guests_cpu_ppm;       /* of the instances, their hypervisors included */
    uint64_t guests_memory, guests_memory_private;
    uint64_t received_rate, sent_rate; /* by all guests */
    uint64_t read_rate, write_rate;    /* likewise, of their disks */
    uint64_t agent_cpu_ppm;            /* of both halves of the agent */
    uint64_t agent_cpu_us;
    uint64_t agent_memory_private;
};

/* GET /v1/stats of an agent. */
struct api_stats {
    char node[NAME_MAX_TEXT];
    struct api_node_figures host;
    struct api_instance_figures *figures;
    size_t figure_count;
    struct api_service_figures *services;
    size_t service_count;
};

/* An agent that did not answer the scheduler. */
struct api_stats_failure {
    char node[NAME_MAX_TEXT];
    char message[REASON_MAX];
};

/* What the scheduler makes of many: GET /v1/stats. */
struct api_cluster_stats {
    struct api_stats *nodes;
    size_t node_count;
    struct api_stats_failure *failed;
    size_t failed_count;
    uint32_t left_out; /* nodes that were not asked, since there are too many to be named */
};

extern const struct json_record api_instance_figures_record;
extern const struct json_record api_instance_stats_record;
extern const struct json_record api_service_figures_record;
extern const struct json_record api_node_figures_record;
extern const struct json_record api_stats_record;
extern const struct json_record api_cluster_stats_record;
