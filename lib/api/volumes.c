#include "lib/api/volumes.h"

const char *const volume_state_names[] = {"in_use", "kept", "unused", NULL};

static const struct json_field snapshot_fields[] = {
    JSON_FIELD(struct api_snapshot_view, name, "name", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_snapshot_view, used, "used", JSON_UINT),
    JSON_FIELD(struct api_snapshot_view, age_ms, "age_ms", JSON_UINT),
    JSON_FIELD_END,
};
static const struct json_record snapshot_record = {sizeof(struct api_snapshot_view),
                                                   snapshot_fields};

static const struct json_field volume_fields[] = {
    JSON_FIELD(struct api_volume_view, namespace_name, "namespace", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_name),
    JSON_FIELD(struct api_volume_view, service, "service", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_volume_view, slot, "slot", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_volume_view, name, "name", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_volume_view, node, "node", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_volume_view, state, "state", JSON_ENUM, .names = volume_state_names),
    JSON_FIELD(struct api_volume_view, size, "size", JSON_UINT),
    JSON_FIELD(struct api_volume_view, used, "used", JSON_UINT),
    JSON_FIELD(struct api_volume_view, instance, "instance", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct api_volume_view, snapshots, snapshot_count, "snapshots",
                    &snapshot_record),
    JSON_FIELD_END,
};
const struct json_record api_volume_view_record = {sizeof(struct api_volume_view), volume_fields};

static const struct json_field node_volumes_fields[] = {
    JSON_FIELD(struct api_node_volumes, limit, "limit", JSON_UINT),
    JSON_FIELD(struct api_node_volumes, used, "used", JSON_UINT),
    JSON_FIELD_LIST(struct api_node_volumes, volumes, volume_count, "volumes",
                    &api_volume_view_record),
    JSON_FIELD_END,
};
const struct json_record api_node_volumes_record = {sizeof(struct api_node_volumes),
                                                    node_volumes_fields};

static const struct json_field answer_fields[] = {
    JSON_FIELD(struct api_volume_answer, left, "left", JSON_UINT),
    JSON_FIELD_END,
};
const struct json_record api_volume_answer_record = {sizeof(struct api_volume_answer),
                                                     answer_fields};

static const struct json_field node_fields[] = {
    JSON_FIELD(struct api_volume_node, node, "node", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_volume_node, reason, "reason", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_volume_node, limit, "limit", JSON_UINT),
    JSON_FIELD(struct api_volume_node, used, "used", JSON_UINT),
    JSON_FIELD(struct api_volume_node, snapshots, "snapshots", JSON_UINT),
    JSON_FIELD(struct api_volume_node, promised, "promised", JSON_UINT),
    JSON_FIELD(struct api_volume_node, left, "left", JSON_UINT),
    JSON_FIELD_END,
};
static const struct json_record node_record = {sizeof(struct api_volume_node), node_fields};

static const struct json_field volumes_fields[] = {
    JSON_FIELD_LIST(struct api_volumes, volumes, volume_count, "volumes", &api_volume_view_record),
    JSON_FIELD_LIST(struct api_volumes, nodes, node_count, "nodes", &node_record),
    JSON_FIELD_END,
};
const struct json_record api_volumes_record = {sizeof(struct api_volumes), volumes_fields};
