#include "lib/api/views.h"

#define FIELD(member, name, kind, ...) JSON_FIELD(struct VIEW, member, name, kind, __VA_ARGS__)

#define VIEW api_rollout_view
static const struct json_field rollout_fields[] = {
    FIELD(number, "number", JSON_UINT, .flags = JSON_REQUIRED),
    FIELD(from, "from", JSON_UINT, .flags = 0),
    FIELD(to, "to", JSON_UINT, .flags = 0),
    FIELD(phase, "phase", JSON_ENUM, .names = rollout_phase_names),
    FIELD(kind, "kind", JSON_STRING, .flags = 0),
    FIELD(reason, "reason", JSON_STRING, .flags = 0),
    FIELD(wanted, "wanted", JSON_UINT, .flags = 0),
    FIELD(updated, "updated", JSON_UINT, .flags = 0),
    FIELD(healthy, "healthy", JSON_UINT, .flags = 0),
    FIELD(old, "old", JSON_UINT, .flags = 0),
    FIELD(failures, "failures", JSON_UINT, .flags = 0),
    FIELD(canary, "canary", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(held, "held", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    FIELD(age_ms, "age_ms", JSON_UINT, .flags = 0),
    FIELD(duration_ms, "duration_ms", JSON_UINT, .flags = 0),
    FIELD(no_capacity, "no_capacity", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_rollout_view_record = {sizeof(struct api_rollout_view),
                                                    rollout_fields};
#undef VIEW

#define VIEW api_run_view
static const struct json_field run_fields[] = {
    FIELD(number, "number", JSON_UINT, .flags = JSON_REQUIRED),
    FIELD(revision, "revision", JSON_UINT, .flags = 0),
    FIELD(phase, "phase", JSON_ENUM, .names = run_phase_names),
    FIELD(kind, "kind", JSON_STRING, .flags = 0),
    FIELD(reason, "reason", JSON_STRING, .flags = 0),
    FIELD(completions, "completions", JSON_UINT, .flags = 0),
    FIELD(succeeded, "succeeded", JSON_UINT, .flags = 0),
    FIELD(active, "active", JSON_UINT, .flags = 0),
    FIELD(unknown, "unknown", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(failed, "failed", JSON_UINT, .flags = 0),
    FIELD(lost, "lost", JSON_UINT, .flags = 0),
    FIELD(scheduled_ms, "scheduled_ms", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(age_ms, "age_ms", JSON_UINT, .flags = 0),
    FIELD(duration_ms, "duration_ms", JSON_UINT, .flags = 0),
    FIELD(no_capacity, "no_capacity", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_run_view_record = {sizeof(struct api_run_view), run_fields};
#undef VIEW

#define VIEW api_service_view
static const struct json_field service_fields[] = {
    FIELD(namespace_name, "namespace", JSON_STRING, .flags = JSON_REQUIRED),
    FIELD(service, "service", JSON_STRING, .flags = JSON_REQUIRED),
    FIELD(replicas, "replicas", JSON_UINT, .flags = 0),
    FIELD(ready, "ready", JSON_UINT, .flags = 0),
    FIELD(standby, "standby", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(standby_ready, "standby_ready", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(revision, "revision", JSON_UINT, .flags = 0),
    FIELD(image, "image", JSON_STRING, .flags = 0),
    FIELD(image_digest, "image_digest", JSON_STRING, .flags = 0),
    FIELD(warning, "warning", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(age_ms, "age_ms", JSON_UINT, .flags = 0),
    FIELD(rollout, "rollout", JSON_OBJECT, .record = &api_rollout_view_record,
          .present_offset = offsetof(struct api_service_view, has_rollout)),
    FIELD(type, "type", JSON_ENUM, .flags = JSON_OMIT_EMPTY, .names = api_service_type_names),
    FIELD(schedule, "schedule", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(next_run_ms, "next_run_ms", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(run, "run", JSON_OBJECT, .record = &api_run_view_record,
          .present_offset = offsetof(struct api_service_view, has_run)),
    JSON_FIELD_LIST(struct VIEW, obstacles.items, obstacles.count, "obstacles",
                    &api_obstacle_record, .flags = JSON_OMIT_EMPTY),
    FIELD(spec, "spec", JSON_ANY, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_service_view_record = {sizeof(struct api_service_view),
                                                    service_fields};
#undef VIEW

#define VIEW api_revision_view
static const struct json_field revision_fields[] = {
    FIELD(number, "number", JSON_UINT, .flags = JSON_REQUIRED),
    FIELD(image, "image", JSON_STRING, .flags = 0),
    FIELD(image_digest, "image_digest", JSON_STRING, .flags = 0),
    FIELD(template_digest, "template_digest", JSON_STRING, .flags = 0),
    FIELD(signed_by, "signed_by", JSON_STRING, .flags = 0),
    FIELD(warning, "warning", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(current, "current", JSON_BOOL, .flags = 0),
    FIELD(age_ms, "age_ms", JSON_UINT, .flags = 0),
    FIELD(before, "before", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct api_revision_view, changes, change_count, "changes",
                    &api_plan_change_record, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_revision_view_record = {sizeof(struct api_revision_view),
                                                     revision_fields};
#undef VIEW

#define VIEW api_instance_view
static const struct json_field instance_fields[] = {
    FIELD(id, "id", JSON_STRING, .flags = JSON_REQUIRED),
    FIELD(namespace_name, "namespace", JSON_STRING, .flags = 0),
    FIELD(service, "service", JSON_STRING, .flags = 0),
    FIELD(slot, "slot", JSON_UINT, .flags = 0),
    FIELD(revision, "revision", JSON_UINT, .flags = 0),
    FIELD(run, "run", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(node, "node", JSON_STRING, .flags = 0),
    FIELD(address, "address", JSON_STRING, .flags = 0),
    FIELD(wanted, "wanted", JSON_ENUM, .names = api_wanted_names),
    FIELD(state, "state", JSON_ENUM, .names = instance_state_names),
    FIELD(healthy, "healthy", JSON_BOOL, .flags = 0),
    FIELD(cause, "cause", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(message, "message", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(restarts, "restarts", JSON_UINT, .flags = 0),
    FIELD(age_ms, "age_ms", JSON_UINT, .flags = 0),
    FIELD(uptime_ms, "uptime_ms", JSON_UINT, .flags = 0),
    FIELD(boot_ms, "boot_ms", JSON_UINT, .flags = 0),
    FIELD(accel, "accel", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_instance_view_record = {sizeof(struct api_instance_view),
                                                     instance_fields};
#undef VIEW

#define VIEW api_node_view
static const struct json_field node_fields[] = {
    FIELD(name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    FIELD(state, "state", JSON_ENUM, .names = node_state_names),
    FIELD(eligibility, "eligibility", JSON_ENUM, .names = node_eligibility_names),
    FIELD(reason, "reason", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(leaving, "leaving", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(volume_slots, "volume_slots", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(drain_left_ms, "drain_left_ms", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(waiting, "waiting", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(address, "address", JSON_STRING, .flags = 0),
    FIELD(subnet, "subnet", JSON_STRING, .flags = 0),
    JSON_FIELD_LIST(struct api_node_view, machines, machine_count, "machines", &api_machine_record,
                    .flags = 0),
    FIELD(hypervisor, "hypervisor", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(hypervisor_uri, "hypervisor_uri", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(memory, "memory", JSON_UINT, .flags = 0),
    FIELD(memory_used, "memory_used", JSON_UINT, .flags = 0),
    FIELD(vcpus, "vcpus", JSON_UINT, .flags = 0),
    FIELD(vcpus_used, "vcpus_used", JSON_UINT, .flags = 0),
    FIELD(instances, "instances", JSON_UINT, .flags = 0),
    FIELD(volumes, "volumes", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(volumes_used, "volumes_used", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(heartbeat_age_ms, "heartbeat_age_ms", JSON_UINT, .flags = 0),
    FIELD(host_silent_ms, "host_silent_ms", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(labels, "labels", JSON_MAP, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct api_node_view, frontends, frontend_count, "frontends",
                    &api_observed_frontend_record, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_node_view_record = {sizeof(struct api_node_view), node_fields};
#undef VIEW

#define VIEW api_rescheduling_view
static const struct json_field rescheduling_fields[] = {
    FIELD(frozen, "frozen", JSON_BOOL, .flags = 0),
    FIELD(suspect, "suspect", JSON_UINT, .flags = 0),
    FIELD(eligible, "eligible", JSON_UINT, .flags = 0),
    FIELD(waiting, "waiting", JSON_UINT, .flags = 0),
    FIELD(rate, "rate", JSON_UINT, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_rescheduling_view_record = {sizeof(struct api_rescheduling_view),
                                                         rescheduling_fields};
#undef VIEW

#define VIEW api_node_request
static const struct json_field node_request_fields[] = {
    FIELD(reason, "reason", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(deadline_ms, "deadline", JSON_DURATION, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_node_request_record = {sizeof(struct api_node_request),
                                                    node_request_fields};
#undef VIEW

#define VIEW api_event
static const struct json_field event_fields[] = {
    FIELD(sequence, "sequence", JSON_UINT, .flags = JSON_REQUIRED),
    FIELD(time_ms, "time_ms", JSON_UINT, .flags = 0),
    FIELD(kind, "kind", JSON_STRING, .flags = 0),
    FIELD(namespace_name, "namespace", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(name, "name", JSON_STRING, .flags = 0),
    FIELD(id, "id", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(what, "what", JSON_STRING, .flags = 0),
    FIELD(cause, "cause", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(message, "message", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_event_record = {sizeof(struct api_event), event_fields};
#undef VIEW

#define VIEW api_scale_request
static const struct json_field scale_fields[] = {
    FIELD(replicas, "replicas", JSON_UINT, .flags = JSON_REQUIRED, .max = API_REPLICAS_MAX),
    JSON_FIELD_END,
};
const struct json_record api_scale_request_record = {sizeof(struct api_scale_request),
                                                     scale_fields};
#undef VIEW

#define VIEW api_wake_request
static const struct json_field wake_fields[] = {
    FIELD(count, "count", JSON_UINT, .flags = 0, .min = 1, .max = API_REPLICAS_MAX),
    JSON_FIELD_END,
};
const struct json_record api_wake_request_record = {sizeof(struct api_wake_request), wake_fields};
#undef VIEW

#define VIEW api_rollback_request
static const struct json_field rollback_fields[] = {
    FIELD(to, "to", JSON_UINT, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_rollback_request_record = {sizeof(struct api_rollback_request),
                                                        rollback_fields};
#undef VIEW

#define VIEW api_stop_request
static const struct json_field stop_fields[] = {
    FIELD(run, "run", JSON_UINT, .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_stop_request_record = {sizeof(struct api_stop_request), stop_fields};
#undef VIEW

#define VIEW api_change_answer
static const struct json_field change_fields[] = {
    FIELD(changed, "changed", JSON_BOOL, .flags = JSON_REQUIRED),
    FIELD(revision, "revision", JSON_UINT, .flags = 0),
    FIELD(rollout, "rollout", JSON_UINT, .flags = 0),
    FIELD(type, "type", JSON_ENUM, .flags = JSON_OMIT_EMPTY, .names = api_service_type_names),
    FIELD(run, "run", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(replicas, "replicas", JSON_UINT, .flags = 0),
    FIELD(volume_slots, "volume_slots", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(message, "message", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(warning, "warning", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_change_answer_record = {sizeof(struct api_change_answer),
                                                     change_fields};
#undef VIEW
