#include "lib/api/agent.h"

const char *const api_wanted_names[] = {"run", "stop", "standby", NULL};
const char *const api_server_state_names[] = {"ready", "drain", NULL};

static const struct json_field machine_fields[] = {
    JSON_FIELD(struct api_machine, arch, "arch", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_machine, accel, "accel", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_machine, why, "why", JSON_TEXT, .max = API_MACHINE_WHY_MAX),
    JSON_FIELD(struct api_machine, families, "families", JSON_STRINGS),
    JSON_FIELD_END,
};
const struct json_record api_machine_record = {sizeof(struct api_machine), machine_fields};

static const struct json_field join_fields[] = {
    JSON_FIELD(struct api_join, node, "node", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_join, epoch, "epoch", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_join, cluster, "cluster", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_join, address, "address", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_LIST(struct api_join, machines, machine_count, "machines", &api_machine_record,
                    .flags = JSON_REQUIRED, .max = 8),
    JSON_FIELD(struct api_join, hypervisor, "hypervisor", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_join, hypervisor_uri, "hypervisor_uri", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_join, memory, "memory", JSON_UINT, .flags = JSON_REQUIRED,
               .max = API_NODE_MEMORY_MAX),
    JSON_FIELD(struct api_join, vcpus, "vcpus", JSON_UINT, .flags = JSON_REQUIRED,
               .max = API_NODE_VCPUS_MAX),
    JSON_FIELD(struct api_join, overhead, "overhead", JSON_UINT, .max = API_NODE_MEMORY_MAX),
    JSON_FIELD(struct api_join, volumes, "volumes", JSON_UINT, .flags = JSON_OMIT_EMPTY,
               .max = API_NODE_MEMORY_MAX),
    JSON_FIELD(struct api_join, labels, "labels", JSON_MAP, .flags = JSON_OMIT_EMPTY, .max = 64),
    JSON_FIELD(struct api_join, features, "features", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .max = 64),
    JSON_FIELD(struct api_join, subnet, "subnet", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_join_record = {sizeof(struct api_join), join_fields};

static const struct json_field join_answer_fields[] = {
    JSON_FIELD(struct api_join_answer, cluster, "cluster", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_join_answer, term, "term", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_join_answer, subnet, "subnet", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_join_answer, heartbeat_ms, "heartbeat_ms", JSON_UINT,
               .flags = JSON_REQUIRED, .min = 10),
    JSON_FIELD(struct api_join_answer, lease_ms, "lease_ms", JSON_UINT, .flags = JSON_REQUIRED,
               .min = 10),
    JSON_FIELD(struct api_join_answer, takes_changes, "takes_changes", JSON_BOOL,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_join_answer_record = {sizeof(struct api_join_answer),
                                                   join_answer_fields};

static const struct json_field assigned_fields[] = {
    JSON_FIELD(struct api_assigned_instance, id, "id", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_instance_id),
    JSON_FIELD(struct api_assigned_instance, namespace_name, "namespace", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_name),
    JSON_FIELD(struct api_assigned_instance, service, "service", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_name),
    JSON_FIELD(struct api_assigned_instance, slot, "slot", JSON_UINT),
    JSON_FIELD(struct api_assigned_instance, revision, "revision", JSON_UINT),
    JSON_FIELD(struct api_assigned_instance, wanted, "wanted", JSON_ENUM, .flags = JSON_REQUIRED,
               .names = api_wanted_names),
    JSON_FIELD(struct api_assigned_instance, stop_cause, "stop_cause", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_assigned_instance, repository, "repository", JSON_STRING),
    JSON_FIELD(struct api_assigned_instance, image_digest, "image_digest", JSON_STRING,
               .flags = JSON_OMIT_EMPTY, .check = api_check_digest),
    JSON_FIELD(struct api_assigned_instance, arch, "arch", JSON_STRING),
    JSON_FIELD(struct api_assigned_instance, address, "address", JSON_STRING,
               .flags = JSON_OMIT_EMPTY, .check = api_check_address),
    JSON_FIELD(struct api_assigned_instance, prefix, "prefix", JSON_UINT, .max = 32),
    JSON_FIELD(struct api_assigned_instance, gateway, "gateway", JSON_STRING,
               .flags = JSON_OMIT_EMPTY, .check = api_check_address),
    JSON_FIELD(struct api_assigned_instance, resources, "resources", JSON_OBJECT,
               .record = &api_resources_record),
    JSON_FIELD_LIST(struct api_assigned_instance, ports, port_count, "ports", &api_port_record,
                    .max = API_PORTS_MAX),
    JSON_FIELD(struct api_assigned_instance, args, "args", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .max = API_ARGS_MAX),
    JSON_FIELD(struct api_assigned_instance, env, "env", JSON_MAP, .flags = JSON_OMIT_EMPTY,
               .max = API_ENV_MAX),
    JSON_FIELD(struct api_assigned_instance, health, "health", JSON_OBJECT,
               .record = &api_health_record),
    JSON_FIELD(struct api_assigned_instance, boot_timeout_ms, "boot_timeout", JSON_DURATION),
    JSON_FIELD(struct api_assigned_instance, restart, "restart", JSON_OBJECT,
               .record = &api_restart_record),
    JSON_FIELD(struct api_assigned_instance, stop, "stop", JSON_OBJECT, .record = &api_stop_record),
    JSON_FIELD_LIST(struct api_assigned_instance, volumes, volume_count, "volumes",
                    &api_volume_record, .flags = JSON_OMIT_EMPTY, .max = API_VOLUMES_MAX),
    JSON_FIELD_END,
};
const struct json_record api_assigned_instance_record = {sizeof(struct api_assigned_instance),
                                                         assigned_fields};

static const struct json_field prefetch_fields[] = {
    JSON_FIELD(struct api_prefetch, repository, "repository", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_prefetch, digest, "digest", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_digest),
    JSON_FIELD(struct api_prefetch, arch, "arch", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record prefetch_record = {sizeof(struct api_prefetch), prefetch_fields};

static const struct json_field assignment_fields[] = {
    JSON_FIELD(struct api_assignment, cluster, "cluster", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_assignment, term, "term", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_assignment, revision, "revision", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_assignment, trust_revision, "trust_revision", JSON_UINT),
    JSON_FIELD(struct api_assignment, full, "full", JSON_BOOL, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_assignment, registry, "registry", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_LIST(struct api_assignment, prefetch, prefetch_count, "prefetch", &prefetch_record,
                    .flags = JSON_OMIT_EMPTY, .max = API_PREFETCH_MAX),
    JSON_FIELD_LIST(struct api_assignment, instances, instance_count, "instances",
                    &api_assigned_instance_record),
    JSON_FIELD(struct api_assignment, removed, "removed", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .check = api_check_instance_id),
    JSON_FIELD_END,
};
const struct json_record api_assignment_record = {sizeof(struct api_assignment), assignment_fields};

static const struct json_field server_fields[] = {
    JSON_FIELD(struct api_server, id, "id", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_instance_id),
    JSON_FIELD(struct api_server, address, "address", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_address),
    JSON_FIELD(struct api_server, port, "port", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = 65535),
    JSON_FIELD(struct api_server, state, "state", JSON_ENUM, .flags = JSON_REQUIRED,
               .names = api_server_state_names),
    JSON_FIELD(struct api_server, weight, "weight", JSON_UINT, .max = API_SERVER_WEIGHT_MAX,
               .present_offset = offsetof(struct api_server, has_weight)),
    JSON_FIELD_END,
};
static const struct json_record server_record = {sizeof(struct api_server), server_fields};

static const struct json_field frontend_fields[] = {
    JSON_FIELD(struct api_frontend, namespace_name, "namespace", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_name),
    JSON_FIELD(struct api_frontend, service, "service", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_frontend, publish, "publish", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = 65535),
    JSON_FIELD(struct api_frontend, mode, "mode", JSON_ENUM, .flags = JSON_REQUIRED,
               .names = api_port_mode_names),
    JSON_FIELD_LIST(struct api_frontend, servers, server_count, "servers", &server_record),
    JSON_FIELD_END,
};
const struct json_record api_frontend_record = {sizeof(struct api_frontend), frontend_fields};

static const struct json_field endpoints_fields[] = {
    JSON_FIELD(struct api_endpoints, cluster, "cluster", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_endpoints, term, "term", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_endpoints, revision, "revision", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_endpoints, full, "full", JSON_BOOL, .flags = JSON_REQUIRED),
    JSON_FIELD_LIST(struct api_endpoints, frontends, frontend_count, "frontends",
                    &api_frontend_record),
    JSON_FIELD_END,
};
const struct json_record api_endpoints_record = {sizeof(struct api_endpoints), endpoints_fields};

static const struct json_field key_fields[] = {
    JSON_FIELD(struct api_key, name, "name", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_key, id, "id", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_key, pem, "pem", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
const struct json_record api_key_record = {sizeof(struct api_key), key_fields};

static const struct json_field trust_fields[] = {
    JSON_FIELD(struct api_trust, cluster, "cluster", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_trust, term, "term", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_trust, revision, "revision", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD_LIST(struct api_trust, keys, key_count, "keys", &api_key_record, .max = 1000),
    JSON_FIELD_LIST(struct api_trust, policies, policy_count, "policies", &api_policy_record,
                    .max = API_POLICIES_MAX),
    JSON_FIELD_END,
};
const struct json_record api_trust_record = {sizeof(struct api_trust), trust_fields};

static const struct json_field observed_fields[] = {
    JSON_FIELD(struct api_observed_instance, id, "id", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_instance_id),
    JSON_FIELD(struct api_observed_instance, state, "state", JSON_ENUM, .flags = JSON_REQUIRED,
               .names = instance_state_names),
    JSON_FIELD(struct api_observed_instance, cause, "cause", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_observed_instance, message, "message", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_observed_instance, restarts, "restarts", JSON_UINT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_observed_instance, state_age_ms, "state_age_ms", JSON_UINT),
    JSON_FIELD(struct api_observed_instance, boot_ms, "boot_ms", JSON_UINT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_observed_instance, wake_ms, "wake_ms", JSON_UINT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_observed_instance, uptime_ms, "uptime_ms", JSON_UINT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_observed_instance, accel, "accel", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_observed_instance, steps, "boot_steps", JSON_OBJECT,
               .record = &api_boot_steps_record,
               .present_offset = offsetof(struct api_observed_instance, has_steps)),
    JSON_FIELD_END,
};
static const struct json_record observed_record = {sizeof(struct api_observed_instance),
                                                   observed_fields};

static const struct json_field observed_frontend_fields[] = {
    JSON_FIELD(struct api_observed_frontend, publish, "publish", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_observed_frontend, bound, "bound", JSON_BOOL, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_observed_frontend, message, "message", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_observed_frontend_record = {sizeof(struct api_observed_frontend),
                                                         observed_frontend_fields};

static const struct json_field draining_fields[] = {
    JSON_FIELD(struct api_draining, id, "id", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_instance_id),
    JSON_FIELD(struct api_draining, connections, "connections", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record draining_record = {sizeof(struct api_draining), draining_fields};

static const struct json_field status_fields[] = {
    JSON_FIELD(struct api_status, cluster, "cluster", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_status, node, "node", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_status, epoch, "epoch", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_status, sequence, "sequence", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_status, base, "base", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_status, same_data_plane, "same_data_plane", JSON_BOOL,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_status, term, "term", JSON_UINT),
    JSON_FIELD(struct api_status, assignment_revision, "assignment", JSON_UINT),
    JSON_FIELD(struct api_status, endpoints_revision, "endpoints", JSON_UINT),
    JSON_FIELD(struct api_status, trust_revision, "trust", JSON_UINT),
    JSON_FIELD(struct api_status, volumes_used, "volumes_used", JSON_UINT, .flags = JSON_OMIT_EMPTY,
               .max = API_NODE_MEMORY_MAX),
    JSON_FIELD(struct api_status, snapshots, "snapshots", JSON_UINT, .flags = JSON_OMIT_EMPTY,
               .max = API_NODE_MEMORY_MAX),
    JSON_FIELD(struct api_status, host_silent_ms, "host_silent_ms", JSON_UINT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct api_status, instances, instance_count, "instances", &observed_record),
    JSON_FIELD_LIST(struct api_status, frontends, frontend_count, "frontends",
                    &api_observed_frontend_record),
    JSON_FIELD_LIST(struct api_status, draining, draining_count, "draining", &draining_record),
    JSON_FIELD_END,
};
const struct json_record api_status_record = {sizeof(struct api_status), status_fields};

static const struct json_field status_answer_fields[] = {
    JSON_FIELD(struct api_status_answer, whole, "whole", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_status_answer, heartbeat_ms, "heartbeat_ms", JSON_UINT,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_status_answer_record = {sizeof(struct api_status_answer),
                                                     status_answer_fields};
