#include "lib/api/service_spec.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lib/api/job_spec.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/text.h"

#define MIB    (UINT64_C(1) << 20)
#define SECOND UINT64_C(1000)
#define HOUR   (3600 * SECOND)

const char *const api_port_mode_names[] = {"tcp", "http", NULL};
const char *const api_restart_policy_names[] = {"always", "on-failure", "never", NULL};
const char *const api_service_type_names[] = {"service", "job", NULL};
const char *const api_concurrency_names[] = {"forbid", "allow", "replace", NULL};
static const char *const architecture_names[] = {"amd64", "arm64"};

const char *api_check_name(const char *value)
{
    return text_is_name(value) ? NULL
                               : "1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends";
}

const char *api_check_path(const char *value)
{
    bool fine = value[0] == '/';
    for (const char *at = value; *at != '\0'; at++)
        fine = fine && *at > ' ' && *at < 0x7f;
    return fine ? NULL : "a path that starts with / and has no spaces or control characters";
}

const char *api_check_environment_name(const char *value)
{
    bool fine = value[0] != '\0' && !(value[0] >= '0' && value[0] <= '9') && strlen(value) <= 128;
    for (const char *at = value; *at != '\0'; at++)
        fine = fine && ((*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') ||
                        (*at >= '0' && *at <= '9') || *at == '_');
    return fine ? NULL : "letters, digits and _, not starting with a digit";
}

const char *api_check_digest(const char *value)
{
    return digest_is_valid(value) ? NULL : "sha256: and 64 lower-case hex digits";
}

const char *api_check_instance_id(const char *value)
{
    unsigned char bytes[6];
    return text_parse_hex(value, bytes, sizeof bytes) ? NULL : "12 lower-case hex digits";
}

const char *api_check_address(const char *value)
{
    struct in_addr address;
    return inet_pton(AF_INET, value, &address) == 1 ? NULL : "an IPv4 address";
}

static const char *check_text(const char *value)
{
    for (; *value != '\0'; value++) {
        if ((unsigned char)*value < ' ' || *value == 0x7f)
            return "no control characters";
    }
    return NULL;
}

static const char *check_architecture(const char *value)
{
    for (size_t i = 0; i < ARRAY_LENGTH(architecture_names); i++) {
        if (strcmp(value, architecture_names[i]) == 0)
            return NULL;
    }
    return "amd64, arm64";
}

static const char *check_spread(const char *value)
{
    if (strcmp(value, API_SPREAD_NODE) == 0 || strcmp(value, API_SPREAD_NONE) == 0 ||
        api_label_key(value) != NULL)
        return NULL;
    return "node, none, or label.KEY";
}

static const struct json_field port_fields[] = {
    JSON_FIELD(struct api_port, name, "name", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_port, port, "port", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = 65535),
    JSON_FIELD(struct api_port, publish, "publish", JSON_UINT, .flags = JSON_OMIT_EMPTY, .min = 1,
               .max = 65535),
    JSON_FIELD(struct api_port, mode, "mode", JSON_ENUM, .names = api_port_mode_names,
               .present_offset = offsetof(struct api_port, has_mode)),
    JSON_FIELD_END,
};
const struct json_record api_port_record = {sizeof(struct api_port), port_fields};

static const struct json_field image_port_fields[] = {
    JSON_FIELD(struct api_port, name, "name", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_port, port, "port", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = 65535),
    JSON_FIELD(struct api_port, mode, "mode", JSON_ENUM, .names = api_port_mode_names,
               .present_offset = offsetof(struct api_port, has_mode)),
    JSON_FIELD(struct api_port, is_private, "private", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_image_port_record = {sizeof(struct api_port), image_port_fields};

static const struct json_field resources_fields[] = {
    JSON_FIELD(struct api_resources, memory, "memory", JSON_SIZE, .flags = JSON_OMIT_EMPTY,
               .min = MIB, .max = MIB << 20),
    JSON_FIELD(struct api_resources, vcpus, "vcpus", JSON_UINT, .flags = JSON_OMIT_EMPTY, .min = 1,
               .max = 256),
    JSON_FIELD_END,
};
const struct json_record api_resources_record = {sizeof(struct api_resources), resources_fields};

static const struct json_field restart_fields[] = {
    JSON_FIELD(struct api_restart, policy, "policy", JSON_ENUM, .names = api_restart_policy_names),
    JSON_FIELD(struct api_restart, attempts, "attempts", JSON_UINT, .max = 1000),
    JSON_FIELD(struct api_restart, backoff_ms, "backoff", JSON_DURATION, .min = 10, .max = HOUR),
    JSON_FIELD(struct api_restart, max_backoff_ms, "max_backoff", JSON_DURATION, .min = 10,
               .max = 24 * HOUR),
    JSON_FIELD(struct api_restart, reset_after_ms, "reset_after", JSON_DURATION, .min = SECOND,
               .max = 24 * HOUR),
    JSON_FIELD_END,
};
const struct json_record api_restart_record = {sizeof(struct api_restart), restart_fields};

static const struct json_field reschedule_fields[] = {
    JSON_FIELD(struct api_reschedule, attempts, "attempts", JSON_UINT, .max = 1000),
    JSON_FIELD(struct api_reschedule, backoff_ms, "backoff", JSON_DURATION, .min = 10, .max = HOUR),
    JSON_FIELD(struct api_reschedule, max_backoff_ms, "max_backoff", JSON_DURATION, .min = 10,
               .max = 24 * HOUR),
    JSON_FIELD_END,
};
static const struct json_record reschedule_record = {sizeof(struct api_reschedule),
                                                     reschedule_fields};

static const struct json_field rollout_fields[] = {
    JSON_FIELD(struct api_rollout_settings, max_surge, "max_surge", JSON_UINT,
               .max = API_REPLICAS_MAX),
    JSON_FIELD(struct api_rollout_settings, max_unavailable, "max_unavailable", JSON_UINT,
               .max = API_REPLICAS_MAX),
    JSON_FIELD(struct api_rollout_settings, min_healthy_time_ms, "min_healthy_time", JSON_DURATION,
               .max = HOUR),
    JSON_FIELD(struct api_rollout_settings, progress_deadline_ms, "progress_deadline",
               JSON_DURATION, .min = SECOND, .max = 24 * HOUR),
    JSON_FIELD(struct api_rollout_settings, auto_rollback, "auto_rollback", JSON_BOOL),
    JSON_FIELD(struct api_rollout_settings, canary, "canary", JSON_UINT, .flags = JSON_OMIT_EMPTY,
               .max = API_REPLICAS_MAX),
    JSON_FIELD(struct api_rollout_settings, canary_weight, "canary_weight", JSON_UINT, .max = 100,
               .present_offset = offsetof(struct api_rollout_settings, has_canary_weight)),
    JSON_FIELD(struct api_rollout_settings, canary_time_ms, "canary_time", JSON_DURATION,
               .flags = JSON_OMIT_EMPTY, .max = 24 * HOUR),
    JSON_FIELD(struct api_rollout_settings, auto_promote, "auto_promote", JSON_BOOL,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record rollout_record = {sizeof(struct api_rollout_settings),
                                                  rollout_fields};

static const struct json_field volume_fields[] = {
    JSON_FIELD(struct api_volume, name, "name", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_volume, size, "size", JSON_SIZE, .flags = JSON_REQUIRED, .min = MIB,
               .max = MIB << 20),
    JSON_FIELD(struct api_volume, device, "device", JSON_STRING, .flags = JSON_OMIT_EMPTY,
               .check = api_check_name),
    JSON_FIELD_END,
};
const struct json_record api_volume_record = {sizeof(struct api_volume), volume_fields};

static const struct json_field stop_fields[] = {
    JSON_FIELD(struct api_stop, drain_ms, "drain", JSON_DURATION, .max = HOUR),
    JSON_FIELD(struct api_stop, grace_ms, "grace", JSON_DURATION, .max = HOUR),
    JSON_FIELD_END,
};
const struct json_record api_stop_record = {sizeof(struct api_stop), stop_fields};

static const struct json_field affinity_fields[] = {
    JSON_FIELD(struct api_affinity, constraint, "constraint", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_affinity, weight, "weight", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = 100),
    JSON_FIELD_END,
};
static const struct json_record affinity_record = {sizeof(struct api_affinity), affinity_fields};

static const struct json_field placement_fields[] = {
    JSON_FIELD(struct api_placement, spread, "spread", JSON_STRING, .check = check_spread),
    JSON_FIELD(struct api_placement, constraints, "constraints", JSON_STRINGS,
               .flags = JSON_OMIT_EMPTY, .max = API_CONSTRAINTS_MAX),
    JSON_FIELD_LIST(struct api_placement, affinity, affinity_count, "affinity", &affinity_record,
                    .flags = JSON_OMIT_EMPTY, .max = API_CONSTRAINTS_MAX),
    JSON_FIELD(struct api_placement, distinct_nodes, "distinct_nodes", JSON_BOOL,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_placement, max_per_node, "max_per_node", JSON_UINT,
               .flags = JSON_OMIT_EMPTY, .min = 1, .max = API_REPLICAS_MAX),
    JSON_FIELD(struct api_placement, rebalance, "rebalance", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record placement_record = {sizeof(struct api_placement), placement_fields};

static const struct json_field spec_fields[] = {
    JSON_FIELD(struct api_service_spec, service, "service", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_service_spec, namespace_name, "namespace", JSON_STRING,
               .check = api_check_name),
    JSON_FIELD(struct api_service_spec, image, "image", JSON_STRING, .flags = JSON_REQUIRED,
               .check = check_text),
    JSON_FIELD(struct api_service_spec, replicas, "replicas", JSON_UINT, .max = API_REPLICAS_MAX,
               .present_offset = offsetof(struct api_service_spec, has_replicas)),
    JSON_FIELD(struct api_service_spec, standby, "standby", JSON_UINT, .flags = JSON_OMIT_EMPTY,
               .max = API_STANDBY_MAX),
    JSON_FIELD(struct api_service_spec, resources, "resources", JSON_OBJECT,
               .record = &api_resources_record),
    JSON_FIELD_LIST(struct api_service_spec, ports, port_count, "ports", &api_port_record,
                    .flags = JSON_OMIT_EMPTY, .max = API_PORTS_MAX),
    JSON_FIELD_LIST(struct api_service_spec, volumes, volume_count, "volumes", &api_volume_record,
                    .flags = JSON_OMIT_EMPTY, .max = API_VOLUMES_MAX),
    JSON_FIELD(struct api_service_spec, args, "args", JSON_STRINGS, .flags = JSON_OMIT_EMPTY,
               .max = API_ARGS_MAX, .check = check_text),
    JSON_FIELD(struct api_service_spec, env, "env", JSON_MAP, .flags = JSON_OMIT_EMPTY,
               .max = API_ENV_MAX, .check = api_check_environment_name),
    JSON_FIELD(struct api_service_spec, health, "health", JSON_OBJECT,
               .record = &api_health_record),
    JSON_FIELD(struct api_service_spec, boot_timeout_ms, "boot_timeout", JSON_DURATION, .min = 100,
               .max = HOUR),
    JSON_FIELD(struct api_service_spec, restart, "restart", JSON_OBJECT,
               .record = &api_restart_record),
    JSON_FIELD(struct api_service_spec, reschedule, "reschedule", JSON_OBJECT,
               .record = &reschedule_record),
    JSON_FIELD(struct api_service_spec, rollout, "rollout", JSON_OBJECT, .record = &rollout_record),
    JSON_FIELD(struct api_service_spec, stop, "stop", JSON_OBJECT, .record = &api_stop_record),
    JSON_FIELD(struct api_service_spec, arch, "arch", JSON_STRING, .flags = JSON_OMIT_EMPTY,
               .check = check_architecture),
    JSON_FIELD(struct api_service_spec, placement, "placement", JSON_OBJECT,
               .record = &placement_record),
    JSON_FIELD(struct api_service_spec, type, "type", JSON_ENUM, .flags = JSON_OMIT_EMPTY,
               .names = api_service_type_names),
    JSON_FIELD(struct api_service_spec, priority, "priority", JSON_UINT, .max = 100),
    JSON_FIELD(struct api_service_spec, history, "history", JSON_UINT, .min = 1, .max = 1000),
    JSON_FIELD(struct api_service_spec, job.completions, "completions", JSON_UINT, .min = 1,
               .max = API_COMPLETIONS_MAX,
               .present_offset = offsetof(struct api_service_spec, job.has_completions)),
    JSON_FIELD(struct api_service_spec, job.parallelism, "parallelism", JSON_UINT, .min = 1,
               .max = API_PARALLELISM_MAX,
               .present_offset = offsetof(struct api_service_spec, job.has_parallelism)),
    JSON_FIELD(struct api_service_spec, job.retries, "retries", JSON_UINT, .max = API_RETRIES_MAX,
               .present_offset = offsetof(struct api_service_spec, job.has_retries)),
    JSON_FIELD(struct api_service_spec, job.deadline_ms, "deadline", JSON_DURATION,
               .flags = JSON_OMIT_EMPTY, .min = SECOND, .max = 30 * 24 * HOUR),
    JSON_FIELD(struct api_service_spec, job.schedule, "schedule", JSON_STRING,
               .flags = JSON_OMIT_EMPTY, .check = check_text),
    JSON_FIELD(struct api_service_spec, job.concurrency, "concurrency", JSON_ENUM,
               .names = api_concurrency_names,
               .present_offset = offsetof(struct api_service_spec, job.has_concurrency)),
    JSON_FIELD_REFUSED("secrets"),
    JSON_FIELD_REFUSED("egress"),
    JSON_FIELD_REFUSED("allow_from"),
    JSON_FIELD_END,
};
const struct json_record api_service_spec_record = {sizeof(struct api_service_spec), spec_fields};

void api_service_spec_set_defaults(struct api_service_spec *ret_spec)
{
    strcpy(ret_spec->namespace_name, "default");
    api_probe_set_defaults(&ret_spec->health.readiness);
    api_probe_set_defaults(&ret_spec->health.liveness);
    ret_spec->health.liveness.every_ms = 5 * SECOND;
    ret_spec->health.liveness.timeout_ms = SECOND;
    ret_spec->boot_timeout_ms = 20 * SECOND;
    ret_spec->restart =
        (struct api_restart){API_RESTART_ALWAYS, 5, SECOND, 60 * SECOND, 600 * SECOND};
    ret_spec->reschedule = (struct api_reschedule){5, 5 * SECOND, 300 * SECOND};
    ret_spec->rollout = (struct api_rollout_settings){.max_surge = 1,
                                                      .min_healthy_time_ms = 3 * SECOND,
                                                      .progress_deadline_ms = 120 * SECOND,
                                                      .auto_rollback = true};
    ret_spec->stop = (struct api_stop){10 * SECOND, 5 * SECOND};
    strcpy(ret_spec->placement.spread, API_SPREAD_NODE);
    ret_spec->priority = API_PRIORITY;
    ret_spec->history = 20;
}

int api_ports_validate(const struct api_port *ports, size_t count, const char *pointer,
                       struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        char at[128];
        for (size_t j = 0; j < i; j++) {
            snprintf(at, sizeof at, "%s/%zu/%s", pointer, i, "name");
            if (strcmp(ports[i].name, ports[j].name) == 0)
                return error_set_at(error, ERROR_INVALID, at, "the port name \"%s\" is used twice",
                                    ports[i].name);
            snprintf(at, sizeof at, "%s/%zu/%s", pointer, i, "port");
            if (ports[i].port == ports[j].port)
                return error_set_at(error, ERROR_INVALID, at, "port %u is listed twice",
                                    ports[i].port);
            snprintf(at, sizeof at, "%s/%zu/%s", pointer, i, "publish");
            if (ports[i].publish != 0 && ports[i].publish == ports[j].publish)
                return error_set_at(error, ERROR_INVALID, at, "port %u is published twice",
                                    ports[i].publish);
        }
    }
    return 0;
}

static int validate_constraint(const char *text, bool is_affinity, const char *pointer,
                               struct error *error)
{
    struct api_constraint constraint = {0};
    struct error cause = ERROR_INIT;
    if (api_constraint_parse(text, &constraint, &cause) < 0)
        return error_set_at(error, ERROR_INVALID, pointer, "%s", cause.message);
    bool is_service = constraint.subject == API_SUBJECT_SERVICE;
    api_constraint_release(&constraint);
    if (is_service && !is_affinity)
        return error_set_at(error, ERROR_INVALID, pointer,
                            "constraint \"%s\": another service is only asked about in an "
                            "affinity: it may move away at any time",
                            text);
    return 0;
}

static int validate_placement(const struct api_placement *placement, struct error *error)
{
    char at[64];
    for (size_t i = 0; i < placement->constraints.count; i++) {
        snprintf(at, sizeof at, "/placement/constraints/%zu", i);
        if (validate_constraint(placement->constraints.items[i], false, at, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < placement->affinity_count; i++) {
        snprintf(at, sizeof at, "/placement/affinity/%zu/constraint", i);
        if (validate_constraint(placement->affinity[i].constraint, true, at, error) < 0)
            return -1;
    }
    return 0;
}

static const char *device_of(const struct api_volume *volume)
{
    return volume->device[0] != '\0' ? volume->device : volume->name;
}

static int validate_volumes(const struct api_service_spec *spec, struct error *error)
{
    char at[64];
    if (spec->volume_count > 0 && spec->standby > 0)
        return error_set_at(error, ERROR_INVALID, "/standby",
                            "a service with volumes has no standbys: a volume belongs to one slot "
                            "and is written by one instance at a time");
    for (size_t i = 0; i < spec->volume_count; i++) {
        snprintf(at, sizeof at, "/volumes/%zu", i);
        if (strlen(device_of(&spec->volumes[i])) > API_DEVICE_MAX)
            return error_set_at(error, ERROR_INVALID, at,
                                "the device \"%s\" is longer than %d characters: name a shorter "
                                "one by `device`",
                                device_of(&spec->volumes[i]), API_DEVICE_MAX);
        for (size_t j = 0; j < i; j++) {
            snprintf(at, sizeof at, "/volumes/%zu/name", i);
            if (strcmp(spec->volumes[i].name, spec->volumes[j].name) == 0)
                return error_set_at(error, ERROR_INVALID, at,
                                    "the volume name \"%s\" is used twice", spec->volumes[i].name);
            snprintf(at, sizeof at, "/volumes/%zu", i);
            if (strcmp(device_of(&spec->volumes[i]), device_of(&spec->volumes[j])) == 0)
                return error_set_at(error, ERROR_INVALID, at, "the device \"%s\" is used twice",
                                    device_of(&spec->volumes[i]));
        }
    }
    if (spec->volume_count > 0 && spec->rollout.canary > 0)
        return error_set_at(error, ERROR_INVALID, "/rollout/canary",
                            "a service with volumes has no canaries: a slot's volumes are in one "
                            "instance at a time");
    return 0;
}

static int validate_rollout(const struct api_service_spec *spec, struct error *error)
{
    const struct api_rollout_settings *rollout = &spec->rollout;
    if (rollout->max_surge == 0 && rollout->max_unavailable == 0 && spec->volume_count == 0)
        return error_set_at(
            error, ERROR_INVALID, "/rollout/max_surge",
            "max_surge and max_unavailable are both 0: nothing could ever be replaced; "
            "set one of them to 1 or more");
    if (rollout->min_healthy_time_ms >= rollout->progress_deadline_ms)
        return error_set_at(error, ERROR_INVALID, "/rollout/progress_deadline",
                            "progress_deadline must be longer than min_healthy_time");
    if (rollout->canary == 0 &&
        (rollout->has_canary_weight || rollout->canary_time_ms > 0 || rollout->auto_promote))
        return error_set_at(error, ERROR_INVALID, "/rollout",
                            "canary_weight, canary_time and auto_promote say nothing without "
                            "canaries: set canary to 1 or more");
    return 0;
}

static int validate(const struct api_service_spec *spec, struct error *error)
{
    if (validate_volumes(spec, error) < 0 || validate_rollout(spec, error) < 0)
        return -1;
    if (validate_placement(&spec->placement, error) < 0)
        return -1;
    if (api_ports_validate(spec->ports, spec->port_count, "/ports", error) < 0)
        return -1;
    if (api_health_validate(&spec->health, error) < 0)
        return -1;
    for (size_t i = 0; i < spec->env.count; i++) {
        char at[200];
        snprintf(at, sizeof at, "/env/%s", spec->env.items[i].key);
        if (check_text(spec->env.items[i].value) != NULL)
            return error_set_at(error, ERROR_INVALID, at,
                                "the value has a control character: not allowed");
    }
    return 0;
}

int api_service_spec_decode(struct json_object *object, struct api_service_spec *ret_spec,
                            struct error *error)
{
    struct api_service_spec spec = {0};
    api_service_spec_set_defaults(&spec);
    if (json_decode(&api_service_spec_record, object, JSON_STRICT, &spec, error) < 0)
        return -1;
    if (validate(&spec, error) < 0 || api_job_complete(object, &spec, error) < 0) {
        api_service_spec_release(&spec);
        return -1;
    }
    *ret_spec = spec;
    return 0;
}

struct json_object *api_service_spec_encode(const struct api_service_spec *spec)
{
    struct json_object *object = json_encode(&api_service_spec_record, spec);
    if (spec->type == API_TYPE_JOB)
        api_job_strip(object);
    return object;
}

void api_service_spec_release(struct api_service_spec *spec)
{
    json_record_release(&api_service_spec_record, spec);
}

const struct api_port *api_port_find(const struct api_port *ports, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ports[i].name, name) == 0)
            return &ports[i];
    }
    return NULL;
}
