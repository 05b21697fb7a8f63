#include "scheduler/documents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"

#define FIELD(member, name, kind, ...) JSON_FIELD(struct DOCUMENT, member, name, kind, __VA_ARGS__)
#define TEXT(member, name)             FIELD(member, name, JSON_STRING, .flags = JSON_OMIT_EMPTY)
#define HEAP_TEXT(member, name)        FIELD(member, name, JSON_TEXT, .flags = 0)
#define NUMBER(member, name)           FIELD(member, name, JSON_UINT, .flags = 0)
#define BOOLEAN(member, name)          FIELD(member, name, JSON_BOOL, .flags = JSON_OMIT_EMPTY)

#define DOCUMENT document_counters
static const struct json_field counters_fields[] = {
    NUMBER(instances, "instances"),
    NUMBER(services, "services"),
    NUMBER(starts, "starts"),
    NUMBER(known_instances, "known_instances"),
    BOOLEAN(restored, "restored"),
    NUMBER(term, "term"),
    NUMBER(events_compacted, "events_compacted"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_service
static const struct json_field service_fields[] = {
    NUMBER(uid, "uid"),
    TEXT(namespace_name, "namespace"),
    TEXT(service, "service"),
    FIELD(spec, "spec", JSON_OBJECT, .record = &api_service_spec_record),
    NUMBER(replicas, "replicas"),
    NUMBER(revisions, "revisions"),
    NUMBER(rollouts, "rollouts"),
    NUMBER(good, "good"),
    FIELD(runs, "runs", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(scheduled_ms, "scheduled_ms", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    BOOLEAN(deleting, "deleting"),
    NUMBER(created_ms, "created_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_template
static const struct json_field template_fields[] = {
    TEXT(image_digest, "image_digest"),
    TEXT(arch, "arch"),
    FIELD(args, "args", JSON_STRINGS, .flags = 0),
    FIELD(env, "env", JSON_MAP, .flags = 0),
    FIELD(resources, "resources", JSON_OBJECT, .record = &api_resources_record),
    JSON_FIELD_LIST(struct document_template, ports, port_count, "ports", &api_image_port_record,
                    .flags = 0),
    /* Left out when there are none: the digests of templates that never had any stay. */
    JSON_FIELD_LIST(struct document_template, volumes, volume_count, "volumes", &api_volume_record,
                    .flags = JSON_OMIT_EMPTY),
    FIELD(boot_timeout_ms, "boot_timeout", JSON_DURATION, .flags = 0),
    FIELD(stop, "stop", JSON_OBJECT, .record = &api_stop_record),
    JSON_FIELD_END,
};
const struct json_record document_template_record = {sizeof(struct document_template),
                                                     template_fields};
#undef DOCUMENT

#define DOCUMENT document_platform
static const struct json_field platform_fields[] = {
    TEXT(arch, "arch"),
    TEXT(family, "family"),
    FIELD(evidence, "evidence", JSON_OBJECT, .record = &policy_evidence_record),
    JSON_FIELD_END,
};
static const struct json_record platform_record = {sizeof(struct document_platform),
                                                   platform_fields};
#undef DOCUMENT

#define DOCUMENT document_revision
static const struct json_field revision_fields[] = {
    TEXT(namespace_name, "namespace"),
    TEXT(service, "service"),
    NUMBER(number, "number"),
    FIELD(template, "template", JSON_OBJECT, .record = &document_template_record),
    TEXT(template_digest, "template_digest"),
    TEXT(image, "image"),
    TEXT(repository, "repository"),
    TEXT(signed_by, "signed_by"),
    JSON_FIELD_LIST(struct document_revision, platforms, platform_count, "platforms",
                    &platform_record, .flags = 0),
    FIELD(health, "health", JSON_OBJECT, .record = &api_health_record),
    TEXT(warning, "warning"),
    TEXT(revoked, "revoked"),
    NUMBER(created_ms, "created_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_rollout
static const struct json_field rollout_fields[] = {
    TEXT(namespace_name, "namespace"),
    TEXT(service, "service"),
    NUMBER(number, "number"),
    NUMBER(from, "from"),
    NUMBER(to, "to"),
    FIELD(phase, "phase", JSON_ENUM, .names = rollout_phase_names),
    BOOLEAN(promoted, "promoted"),
    TEXT(kind, "kind"),
    TEXT(reason, "reason"),
    NUMBER(started_ms, "started_ms"),
    NUMBER(ended_ms, "ended_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_run
static const struct json_field run_fields[] = {
    TEXT(namespace_name, "namespace"),
    TEXT(service, "service"),
    NUMBER(number, "number"),
    NUMBER(revision, "revision"),
    FIELD(phase, "phase", JSON_ENUM, .names = run_phase_names),
    TEXT(kind, "kind"),
    HEAP_TEXT(reason, "reason"),
    NUMBER(completions, "completions"),
    NUMBER(succeeded, "succeeded"),
    NUMBER(failed, "failed"),
    NUMBER(lost, "lost"),
    NUMBER(scheduled_ms, "scheduled_ms"),
    NUMBER(started_ms, "started_ms"),
    NUMBER(ended_ms, "ended_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_volume
static const struct json_field volume_fields[] = {
    TEXT(namespace_name, "namespace"),
    TEXT(service, "service"),
    NUMBER(number, "slot"),
    NUMBER(service_uid, "service_uid"),
    TEXT(node, "node"),
    FIELD(bytes, "bytes", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    NUMBER(created_ms, "created_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_instance
static const struct json_field instance_fields[] = {
    TEXT(id, "id"),
    NUMBER(service_uid, "service_uid"),
    TEXT(namespace_name, "namespace"),
    TEXT(service, "service"),
    NUMBER(slot, "slot"),
    NUMBER(revision, "revision"),
    NUMBER(rollout, "rollout"),
    NUMBER(attempt, "attempt"),
    TEXT(node, "node"),
    TEXT(arch, "arch"),
    TEXT(address, "address"),
    FIELD(wish, "wish", JSON_ENUM, .names = instance_wish_names),
    HEAP_TEXT(why, "why"),
    HEAP_TEXT(cause, "cause"),
    BOOLEAN(standby, "standby"),
    BOOLEAN(given_up, "given_up"),
    FIELD(outcome, "outcome", JSON_ENUM, .flags = JSON_OMIT_EMPTY, .names = job_outcome_names),
    NUMBER(created_ms, "created_ms"),
    NUMBER(ended_ms, "ended_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_observed
static const struct json_field observed_fields[] = {
    TEXT(id, "id"),
    FIELD(state, "state", JSON_ENUM, .names = instance_state_names),
    HEAP_TEXT(cause, "cause"),
    HEAP_TEXT(message, "message"),
    NUMBER(restarts, "restarts"),
    NUMBER(boot_ms, "boot_ms"),
    NUMBER(uptime_ms, "uptime_ms"),
    TEXT(accel, "accel"),
    NUMBER(since_ms, "since_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_node
static const struct json_field node_fields[] = {
    TEXT(name, "name"),
    TEXT(epoch, "epoch"),
    TEXT(address, "address"),
    JSON_FIELD_LIST(struct document_node, machines, machine_count, "machines", &api_machine_record,
                    .flags = 0),
    FIELD(hypervisor, "hypervisor", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    FIELD(hypervisor_uri, "hypervisor_uri", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    NUMBER(memory, "memory"),
    NUMBER(vcpus, "vcpus"),
    NUMBER(overhead, "overhead"),
    FIELD(volumes, "volumes", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    FIELD(labels, "labels", JSON_MAP, .flags = JSON_OMIT_EMPTY),
    FIELD(features, "features", JSON_STRINGS, .flags = JSON_OMIT_EMPTY),
    TEXT(subnet, "subnet"),
    NUMBER(joined_ms, "joined_ms"),
    FIELD(eligibility, "eligibility", JSON_ENUM, .names = node_eligibility_names),
    TEXT(eligibility_reason, "eligibility_reason"),
    FIELD(drain_deadline_ms, "drain_deadline", JSON_DURATION, .flags = JSON_OMIT_EMPTY),
    BOOLEAN(lost, "lost"),
    JSON_FIELD_END,
};
#undef DOCUMENT

#define DOCUMENT document_removed_node
static const struct json_field removed_node_fields[] = {
    TEXT(name, "name"),     TEXT(epoch, "epoch"),
    TEXT(subnet, "subnet"), NUMBER(removed_ms, "removed_ms"),
    JSON_FIELD_END,
};
#undef DOCUMENT

static const struct json_record counters_record = {sizeof(struct document_counters),
                                                   counters_fields};
static const struct json_record service_record = {sizeof(struct document_service), service_fields};
static const struct json_record revision_record = {sizeof(struct document_revision),
                                                   revision_fields};
static const struct json_record rollout_record = {sizeof(struct document_rollout), rollout_fields};
static const struct json_record volume_record = {sizeof(struct document_volume), volume_fields};
static const struct json_record run_record = {sizeof(struct document_run), run_fields};
static const struct json_record instance_record = {sizeof(struct document_instance),
                                                   instance_fields};
static const struct json_record observed_record = {sizeof(struct document_observed),
                                                   observed_fields};
static const struct json_record removed_node_record = {sizeof(struct document_removed_node),
                                                       removed_node_fields};
static const struct json_record node_record = {sizeof(struct document_node), node_fields};

static const struct {
    const char *prefix;
    const struct json_record *record;
} kinds[DOCUMENT_KINDS] = {
    [DOCUMENT_COUNTERS] = {"counters", &counters_record},
    [DOCUMENT_NODE] = {"nodes/", &node_record},
    [DOCUMENT_REMOVED_NODE] = {"removed-nodes/", &removed_node_record},
    [DOCUMENT_KEY] = {"keys/", &api_key_record},
    [DOCUMENT_POLICY] = {"policies/", &api_policy_record},
    [DOCUMENT_SERVICE] = {"services/", &service_record},
    [DOCUMENT_REVISION] = {"revisions/", &revision_record},
    [DOCUMENT_ROLLOUT] = {"rollouts/", &rollout_record},
    [DOCUMENT_RUN] = {"runs/", &run_record},
    [DOCUMENT_VOLUME] = {"volumes/", &volume_record},
    [DOCUMENT_INSTANCE] = {"instances/", &instance_record},
    [DOCUMENT_OBSERVED] = {"observed/", &observed_record},
    [DOCUMENT_EVENT] = {"events/", &api_event_record},
};

const struct json_record *document_record(enum document_kind kind)
{
    return kinds[kind].record;
}

const char *document_prefix(enum document_kind kind)
{
    return kinds[kind].prefix;
}

static void key_of_numbered(const char *prefix, const char *namespace_name, const char *service,
                            uint32_t number, char *ret_key, size_t size)
{
    snprintf(ret_key, size, "%s%s/%s/%08u", prefix, namespace_name, service, number);
}

/* The key of what has one name. */
static void key_of_named(const char *prefix, const char *name, char *ret_key, size_t size)
{
    size_t prefix_length = strlen(prefix), length = strlen(name);
    if (prefix_length + length >= size)
        length = size - prefix_length - 1;
    memcpy(ret_key, prefix, prefix_length);
    memcpy(ret_key + prefix_length, name, length);
    ret_key[prefix_length + length] = '\0';
}

static void key_of_event(const char *prefix, uint64_t sequence, char *ret_key, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char name[17] = "";
    for (unsigned i = 0; i < 16; i++)
        name[i] = digits[sequence >> (60 - 4 * i) & 15];
    key_of_named(prefix, name, ret_key, size);
}

void document_key(enum document_kind kind, const void *document, char *ret_key, size_t size)
{
    const char *prefix = kinds[kind].prefix;
    const struct document_service *service = document;
    const struct document_revision *revision = document;
    const struct document_rollout *rollout = document;
    const struct document_run *run = document;
    const struct document_volume *volume = document;
    switch (kind) {
    case DOCUMENT_SERVICE:
        snprintf(ret_key, size, "%s%s/%s", prefix, service->namespace_name, service->service);
        break;
    case DOCUMENT_REVISION:
        key_of_numbered(prefix, revision->namespace_name, revision->service, revision->number,
                        ret_key, size);
        break;
    case DOCUMENT_ROLLOUT:
        key_of_numbered(prefix, rollout->namespace_name, rollout->service, rollout->number, ret_key,
                        size);
        break;
    case DOCUMENT_RUN:
        key_of_numbered(prefix, run->namespace_name, run->service, run->number, ret_key, size);
        break;
    case DOCUMENT_VOLUME:
        key_of_numbered(prefix, volume->namespace_name, volume->service, volume->number, ret_key,
                        size);
        break;
    case DOCUMENT_INSTANCE:
        key_of_named(prefix, ((const struct document_instance *)document)->id, ret_key, size);
        break;
    case DOCUMENT_OBSERVED:
        key_of_named(prefix, ((const struct document_observed *)document)->id, ret_key, size);
        break;
    case DOCUMENT_NODE:
        key_of_named(prefix, ((const struct document_node *)document)->name, ret_key, size);
        break;
    case DOCUMENT_REMOVED_NODE:
        snprintf(ret_key, size, "%s%s", prefix,
                 ((const struct document_removed_node *)document)->name);
        break;
    case DOCUMENT_KEY:
        key_of_named(prefix, ((const struct api_key *)document)->name, ret_key, size);
        break;
    case DOCUMENT_POLICY:
        key_of_named(prefix, ((const struct api_policy *)document)->name, ret_key, size);
        break;
    case DOCUMENT_EVENT:
        key_of_event(prefix, ((const struct api_event *)document)->sequence, ret_key, size);
        break;
    case DOCUMENT_COUNTERS:
    case DOCUMENT_KINDS:
        key_of_named(kinds[DOCUMENT_COUNTERS].prefix, "", ret_key, size);
        break;
    }
}

enum document_kind document_kind_of_key(const char *key)
{
    for (int kind = 0; kind < DOCUMENT_KINDS; kind++) {
        const char *prefix = kinds[kind].prefix;
        size_t length = strlen(prefix);
        bool is_whole = length > 0 && prefix[length - 1] != '/';
        if (strncmp(key, prefix, length) == 0 && (key[length] != '\0') != is_whole)
            return (enum document_kind)kind;
    }
    return DOCUMENT_KINDS;
}

/* "NS/NAME" or "NS/NAME/00000007". */
static bool parse_service_key(const char *rest, char ret_namespace[NAME_MAX_TEXT],
                              char ret_service[NAME_MAX_TEXT], uint32_t *ret_number)
{
    const char *slash = strchr(rest, '/');
    if (slash == NULL || slash - rest >= NAME_MAX_TEXT)
        return false;
    size_t length = strcspn(slash + 1, "/");
    const char *number = slash + 1 + length;
    uint64_t value = 0;
    if (length >= NAME_MAX_TEXT || (*number == '/') != (ret_number != NULL) ||
        (ret_number != NULL && !text_parse_u64(number + 1, UINT32_MAX, &value)))
        return false;
    snprintf(ret_namespace, NAME_MAX_TEXT, "%.*s", (int)(slash - rest), rest);
    snprintf(ret_service, NAME_MAX_TEXT, "%.*s", (int)length, slash + 1);
    if (ret_number != NULL)
        *ret_number = (uint32_t)value;
    return true;
}

/* Into the members that document_key reads. */
static bool parse_key(enum document_kind kind, const char *rest, void *document)
{
    struct document_service *service = document;
    struct document_revision *revision = document;
    struct document_rollout *rollout = document;
    struct document_run *run = document;
    struct document_volume *volume = document;
    struct document_instance *instance = document;
    struct document_observed *observed = document;
    struct document_node *node = document;
    struct document_removed_node *removed_node = document;
    struct api_key *key = document;
    struct api_policy *policy = document;
    char *end;
    switch (kind) {
    case DOCUMENT_SERVICE:
        return parse_service_key(rest, service->namespace_name, service->service, NULL);
    case DOCUMENT_REVISION:
        return parse_service_key(rest, revision->namespace_name, revision->service,
                                 &revision->number);
    case DOCUMENT_ROLLOUT:
        return parse_service_key(rest, rollout->namespace_name, rollout->service, &rollout->number);
    case DOCUMENT_RUN:
        return parse_service_key(rest, run->namespace_name, run->service, &run->number);
    case DOCUMENT_VOLUME:
        return parse_service_key(rest, volume->namespace_name, volume->service, &volume->number);
    case DOCUMENT_INSTANCE:
        return text_copy(instance->id, sizeof instance->id, rest);
    case DOCUMENT_OBSERVED:
        return text_copy(observed->id, sizeof observed->id, rest);
    case DOCUMENT_NODE:
        return text_copy(node->name, sizeof node->name, rest);
    case DOCUMENT_REMOVED_NODE:
        return text_copy(removed_node->name, sizeof removed_node->name, rest);
    case DOCUMENT_KEY:
        return text_copy(key->name, sizeof key->name, rest);
    case DOCUMENT_POLICY:
        return text_copy(policy->name, sizeof policy->name, rest);
    case DOCUMENT_EVENT:
        ((struct api_event *)document)->sequence = strtoull(rest, &end, 16);
        return *end == '\0';
    case DOCUMENT_COUNTERS:
    case DOCUMENT_KINDS:
        break;
    }
    return kind == DOCUMENT_COUNTERS;
}

void *document_of_key(enum document_kind kind, const char *key)
{
    void *document = document_create(kind);
    if (parse_key(kind, key + strlen(kinds[kind].prefix), document))
        return document;
    document_free(kind, document);
    return NULL;
}

void *document_create(enum document_kind kind)
{
    void *document = xcalloc(1, kinds[kind].record->size);
    if (kind == DOCUMENT_SERVICE)
        api_service_spec_set_defaults(&((struct document_service *)document)->spec);
    if (kind == DOCUMENT_POLICY)
        api_policy_set_defaults(document);
    if (kind == DOCUMENT_REVISION) {
        api_probe_set_defaults(&((struct document_revision *)document)->health.readiness);
        api_probe_set_defaults(&((struct document_revision *)document)->health.liveness);
    }
    return document;
}

void *document_copy(enum document_kind kind, const void *document)
{
    void *copy = xcalloc(1, kinds[kind].record->size);
    json_record_copy(kinds[kind].record, document, copy);
    return copy;
}

void document_free(enum document_kind kind, void *document)
{
    if (document == NULL)
        return;
    json_record_release(kinds[kind].record, document);
    free(document);
}

void document_set_text(char **member, const char *text)
{
    char *copy = text[0] != '\0' ? xstrdup(text) : NULL;
    if (copy != NULL)
        text_make_printable(copy); /* it may have been cut in the middle of a character */
    free(*member);
    *member = copy;
}

const char *document_text(const char *member)
{
    return member != NULL ? member : "";
}

bool document_text_equals(const char *member, const char *text)
{
    return strcmp(document_text(member), text) == 0;
}
