#include "lib/api/figures.h"

#include <string.h>

const char *const api_stats_of_names[] = {"instances", "services", "node", NULL};

int api_stats_read_of(const char *text, enum api_stats_of *ret_of, struct error *error)
{
    const char *wanted = text != NULL ? text : api_stats_of_names[API_STATS_INSTANCES];
    for (int i = 0; api_stats_of_names[i] != NULL; i++) {
        if (strcmp(wanted, api_stats_of_names[i]) == 0) {
            *ret_of = (enum api_stats_of)i;
            return 0;
        }
    }
    return error_set(error, ERROR_INVALID,
                     "of=%.32s: figures are told of instances, services or node", wanted);
}

#define FIELD(member, name, kind, ...) JSON_FIELD(struct VIEW, member, name, kind, __VA_ARGS__)

#define VIEW api_instance_figures
static const struct json_field instance_fields[] = {
    FIELD(id, "id", JSON_STRING, .flags = JSON_REQUIRED, .check = api_check_instance_id),
    FIELD(namespace_name, "namespace", JSON_STRING, .flags = 0),
    FIELD(service, "service", JSON_STRING, .flags = 0),
    FIELD(node, "node", JSON_STRING, .flags = 0),
    FIELD(slot, "slot", JSON_UINT, .flags = 0),
    FIELD(state, "state", JSON_ENUM, .names = instance_state_names),
    FIELD(uptime_ms, "uptime_ms", JSON_UINT, .flags = 0),
    FIELD(age_ms, "age_ms", JSON_UINT, .flags = 0),
    FIELD(interval_ms, "interval_ms", JSON_UINT, .flags = 0),
    FIELD(cpu_us, "cpu_us", JSON_UINT, .flags = 0),
    FIELD(cpu_ppm, "cpu_ppm", JSON_UINT, .flags = 0),
    FIELD(memory, "memory", JSON_UINT, .flags = 0),
    FIELD(memory_private, "memory_private", JSON_UINT, .flags = 0),
    FIELD(received_bytes, "received_bytes", JSON_UINT, .flags = 0),
    FIELD(received_rate, "received_rate", JSON_UINT, .flags = 0),
    FIELD(received_packets, "received_packets", JSON_UINT, .flags = 0),
    FIELD(received_drops, "received_drops", JSON_UINT, .flags = 0),
    FIELD(sent_bytes, "sent_bytes", JSON_UINT, .flags = 0),
    FIELD(sent_rate, "sent_rate", JSON_UINT, .flags = 0),
    FIELD(sent_packets, "sent_packets", JSON_UINT, .flags = 0),
    FIELD(sent_drops, "sent_drops", JSON_UINT, .flags = 0),
    FIELD(disks, "disks", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(read_bytes, "read_bytes", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(read_rate, "read_rate", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(read_operations, "read_operations", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(written_bytes, "written_bytes", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(write_rate, "write_rate", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(write_operations, "write_operations", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_instance_figures_record = {sizeof(struct api_instance_figures),
                                                        instance_fields};
#undef VIEW

#define VIEW api_instance_stats
static const struct json_field instance_stats_fields[] = {
    FIELD(id, "id", JSON_STRING, .flags = JSON_REQUIRED, .check = api_check_instance_id),
    FIELD(figures, "figures", JSON_OBJECT, .record = &api_instance_figures_record,
          .present_offset = offsetof(struct api_instance_stats, has_figures)),
    FIELD(boot_ms, "boot_ms", JSON_UINT, .flags = 0),
    FIELD(steps, "boot_steps", JSON_OBJECT, .record = &api_boot_steps_record),
    JSON_FIELD_END,
};
const struct json_record api_instance_stats_record = {sizeof(struct api_instance_stats),
                                                      instance_stats_fields};
#undef VIEW

#define VIEW api_service_figures
static const struct json_field service_fields[] = {
    FIELD(namespace_name, "namespace", JSON_STRING, .flags = 0),
    FIELD(service, "service", JSON_STRING, .flags = 0),
    FIELD(instances, "instances", JSON_UINT, .flags = 0),
    FIELD(cpu_ppm, "cpu_ppm", JSON_UINT, .flags = 0),
    FIELD(memory, "memory", JSON_UINT, .flags = 0),
    FIELD(memory_private, "memory_private", JSON_UINT, .flags = 0),
    FIELD(received_bytes, "received_bytes", JSON_UINT, .flags = 0),
    FIELD(received_rate, "received_rate", JSON_UINT, .flags = 0),
    FIELD(received_drops, "received_drops", JSON_UINT, .flags = 0),
    FIELD(sent_bytes, "sent_bytes", JSON_UINT, .flags = 0),
    FIELD(sent_rate, "sent_rate", JSON_UINT, .flags = 0),
    FIELD(sent_drops, "sent_drops", JSON_UINT, .flags = 0),
    FIELD(read_bytes, "read_bytes", JSON_UINT, .flags = 0),
    FIELD(read_rate, "read_rate", JSON_UINT, .flags = 0),
    FIELD(written_bytes, "written_bytes", JSON_UINT, .flags = 0),
    FIELD(write_rate, "write_rate", JSON_UINT, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_service_figures_record = {sizeof(struct api_service_figures),
                                                       service_fields};
#undef VIEW

#define VIEW api_node_figures
static const struct json_field node_fields[] = {
    FIELD(node, "node", JSON_STRING, .flags = 0),
    FIELD(instances, "instances", JSON_UINT, .flags = 0),
    FIELD(processors, "processors", JSON_UINT, .flags = 0),
    FIELD(age_ms, "age_ms", JSON_UINT, .flags = 0),
    FIELD(interval_ms, "interval_ms", JSON_UINT, .flags = 0),
    FIELD(cpu_ppm, "cpu_ppm", JSON_UINT, .flags = 0),
    FIELD(memory, "memory", JSON_UINT, .flags = 0),
    FIELD(memory_available, "memory_available", JSON_UINT, .flags = 0),
    FIELD(disk, "disk", JSON_UINT, .flags = 0),
    FIELD(disk_available, "disk_available", JSON_UINT, .flags = 0),
    FIELD(guests_cpu_ppm, "guests_cpu_ppm", JSON_UINT, .flags = 0),
    FIELD(guests_memory, "guests_memory", JSON_UINT, .flags = 0),
    FIELD(guests_memory_private, "guests_memory_private", JSON_UINT, .flags = 0),
    FIELD(received_rate, "received_rate", JSON_UINT, .flags = 0),
    FIELD(sent_rate, "sent_rate", JSON_UINT, .flags = 0),
    FIELD(read_rate, "read_rate", JSON_UINT, .flags = 0),
    FIELD(write_rate, "write_rate", JSON_UINT, .flags = 0),
    FIELD(agent_cpu_ppm, "agent_cpu_ppm", JSON_UINT, .flags = 0),
    FIELD(agent_cpu_us, "agent_cpu_us", JSON_UINT, .flags = 0),
    FIELD(agent_memory_private, "agent_memory_private", JSON_UINT, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_node_figures_record = {sizeof(struct api_node_figures), node_fields};
#undef VIEW

#define VIEW api_stats
static const struct json_field stats_fields[] = {
    FIELD(node, "node", JSON_STRING, .flags = 0),
    FIELD(host, "host", JSON_OBJECT, .record = &api_node_figures_record),
    JSON_FIELD_LIST(struct VIEW, figures, figure_count, "figures", &api_instance_figures_record,
                    .flags = 0),
    JSON_FIELD_LIST(struct VIEW, services, service_count, "services", &api_service_figures_record,
                    .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_stats_record = {sizeof(struct api_stats), stats_fields};
#undef VIEW

#define VIEW api_stats_failure
static const struct json_field failure_fields[] = {
    FIELD(node, "node", JSON_STRING, .flags = 0),
    FIELD(message, "message", JSON_STRING, .flags = 0),
    JSON_FIELD_END,
};
static const struct json_record failure_record = {sizeof(struct api_stats_failure), failure_fields};
#undef VIEW

#define VIEW api_cluster_stats
static const struct json_field cluster_fields[] = {
    JSON_FIELD_LIST(struct VIEW, nodes, node_count, "nodes", &api_stats_record, .flags = 0),
    JSON_FIELD_LIST(struct VIEW, failed, failed_count, "failed", &failure_record, .flags = 0),
    FIELD(left_out, "left_out", JSON_UINT, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_cluster_stats_record = {sizeof(struct api_cluster_stats),
                                                     cluster_fields};
#undef VIEW
