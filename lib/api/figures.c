#include "lib/api/figures.h"

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
    JSON_FIELD_END,
};
const struct json_record api_instance_figures_record = {sizeof(struct api_instance_figures),
                                                        instance_fields};
#undef VIEW
