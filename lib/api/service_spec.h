/* What a user asks for: the service manifest as a struct.
 *
 * The JSON form has the manifest's own keys, so a JSON pointer into it is a place in the YAML.
 * The template part makes revisions; the settings part applies in place (docs/manifest.md). The
 * same table serves CLI and scheduler: both decode strictly. */
#pragma once

#include <stdint.h>

#include "lib/api/constraint.h"
#include "lib/api/health_spec.h"
#include "lib/api/protocol.h"
#include "lib/cron.h"
#include "lib/json.h"

enum api_port_mode { API_PORT_TCP, API_PORT_HTTP };
extern const char *const api_port_mode_names[];

struct api_port {
    char name[NAME_MAX_TEXT];
    uint32_t port;
    uint32_t publish; /* 0: not published */
    bool has_mode;
    enum api_port_mode mode;
    bool is_private; /* images only: never published */
};

struct api_resources {
    uint64_t memory; /* bytes; 0: the image's default */
    uint32_t vcpus;  /* 0: the image's default */
};

enum api_restart_policy { API_RESTART_ALWAYS, API_RESTART_ON_FAILURE, API_RESTART_NEVER };
extern const char *const api_restart_policy_names[];

struct api_restart {
    enum api_restart_policy policy;
    uint32_t attempts;
    uint64_t backoff_ms;
    uint64_t max_backoff_ms;
    uint64_t reset_after_ms;
};

struct api_reschedule {
    uint32_t attempts;
    uint64_t backoff_ms;
    uint64_t max_backoff_ms;
};

struct api_rollout_settings {
    uint32_t max_surge;
    uint32_t max_unavailable;
    uint64_t min_healthy_time_ms;
    uint64_t progress_deadline_ms;
    bool auto_rollback;
    uint32_t canary;         /* instances judged beside the old ones first; 0: none */
    bool has_canary_weight;  /* else they get the share that as many others would */
    uint32_t canary_weight;  /* percent of the traffic that all of them get together */
    uint64_t canary_time_ms; /* they stay ready for so long before they are promoted by itself */
    bool auto_promote;
};

struct api_stop {
    uint64_t drain_ms;
    uint64_t grace_ms;
};

/* A writable disk of a slot's own, that its instances have one after the other. */
struct api_volume {
    char name[NAME_MAX_TEXT];
    uint64_t size;              /* bytes */
    char device[NAME_MAX_TEXT]; /* what the guest knows it by; "": its name */
};

#define API_SPREAD_MAX      (6 + API_LABEL_KEY_MAX)
#define API_SPREAD_NODE     "node"
#define API_SPREAD_NONE     "none"
#define API_CONSTRAINTS_MAX 32
#define API_PRIORITY        50 /* of a service that asks for none */

/* Where instances would rather be, or with `!=` rather not. */
struct api_affinity {
    char *constraint;
    uint32_t weight;
};

struct api_placement {
    char spread[API_SPREAD_MAX];     /* node, none, or label.KEY: over the label's values */
    struct json_strings constraints; /* as written; each of them can be parsed */
    struct api_affinity *affinity;
    size_t affinity_count;
    bool distinct_nodes;
    uint32_t max_per_node; /* 0: any number */
    bool rebalance;        /* instances move when nodes join */
};

enum api_service_type { API_TYPE_SERVICE, API_TYPE_JOB };
extern const char *const api_service_type_names[];

/* What a run that is due does beside one that runs. */
enum api_concurrency { API_CONCURRENCY_FORBID, API_CONCURRENCY_ALLOW, API_CONCURRENCY_REPLACE };
extern const char *const api_concurrency_names[];

/* What only a job has. Absent in a service: all zero. */
struct api_job {
    bool has_completions, has_parallelism, has_retries, has_concurrency;
    uint32_t completions; /* instances that have to succeed in a run */
    uint32_t parallelism; /* of them at a time */
    uint32_t retries;     /* failures of a run, over all its completions, that are tried again */
    uint64_t deadline_ms; /* of a whole run; 0: none */
    char schedule[CRON_TEXT_MAX]; /* "": runs when it is told to */
    enum api_concurrency concurrency;
};

struct api_service_spec {
    enum api_service_type type;
    char service[NAME_MAX_TEXT];
    char namespace_name[NAME_MAX_TEXT];
    char image[768];
    bool has_replicas;
    uint32_t replicas;
    struct api_resources resources;
    struct api_port *ports;
    size_t port_count;
    struct api_volume *volumes;
    size_t volume_count;
    struct json_strings args;
    struct json_map env;
    struct api_health health;
    uint64_t boot_timeout_ms;
    struct api_restart restart;
    struct api_reschedule reschedule;
    struct api_rollout_settings rollout;
    struct api_stop stop;
    char arch[16]; /* "": any the image has */
    struct api_placement placement;
    uint32_t standby;  /* instances that are booted and paused, beside the replicas */
    uint32_t priority; /* whose room a pending instance may take: that of lower ones */
    uint32_t history;
    struct api_job job;
};

#define API_REPLICAS_MAX    10000
#define API_STANDBY_MAX     100
#define API_COMPLETIONS_MAX 10000
#define API_PARALLELISM_MAX 1000
#define API_RETRIES_MAX     1000
#define API_PORTS_MAX       32
#define API_VOLUMES_MAX     8
#define API_DEVICE_MAX      20 /* characters: a virtio disk's serial has no more */
#define API_ARGS_MAX        64
#define API_ENV_MAX         64

extern const struct json_record api_service_spec_record;
extern const struct json_record api_volume_record;
extern const struct json_record api_port_record;       /* a service's port */
extern const struct json_record api_image_port_record; /* an image's port: private, no publish */
extern const struct json_record api_restart_record;
extern const struct json_record api_stop_record;
extern const struct json_record api_resources_record;

/* The defaults of docs/manifest.md, in a zeroed struct. */
void api_service_spec_set_defaults(struct api_service_spec *ret_spec);
/* Decodes strictly over the defaults and checks what a table cannot say; error->pointer names the
 * value. The caller releases the spec. */
int api_service_spec_decode(struct json_object *object, struct api_service_spec *ret_spec,
                            struct error *error);
/* Duplicate names or numbers, publishing twice; `pointer` is the list's place. */
int api_ports_validate(const struct api_port *ports, size_t count, const char *pointer,
                       struct error *error);
/* As json_encode, without the keys that its type does not have, so that it can be decoded again.
 * The caller owns the object. */
struct json_object *api_service_spec_encode(const struct api_service_spec *spec);
void api_service_spec_release(struct api_service_spec *spec);
/* NULL when there is none of that name. */
const struct api_port *api_port_find(const struct api_port *ports, size_t count, const char *name);

/* Checks for json_field.check: NULL when fine, else what is allowed. */
const char *api_check_name(const char *value);
const char *api_check_path(const char *value);
const char *api_check_environment_name(const char *value);
const char *api_check_digest(const char *value);
const char *api_check_instance_id(const char *value);
const char *api_check_address(const char *value);
