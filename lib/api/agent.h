/* What scheduler and agent say to each other (docs/architecture.md, "The agents' routes").
 *
 * Agent -> scheduler:  POST /v1/nodes/NAME/join    api_join    -> api_join_answer
 *                      POST /v1/nodes/NAME/status  api_status  -> api_status_answer | 409 | 412
 * Long polls (held up to 30 s; answered at once when something newer than `after` exists, and with
 * 204 when nothing came):
 *                      GET /v1/nodes/NAME/assignment?after=R -> api_assignment
 *                      GET /v1/nodes/NAME/endpoints?after=R  -> api_endpoints
 *                      GET /v1/nodes/NAME/trust?after=R      -> api_trust
 * Without `after` the whole document comes at once. 410 compacted: fetch the whole.
 * An agent refuses another cluster, or a (term, revision) lower than one it has applied.
 * Readers ignore unknown fields. Ages travel as milliseconds. */
#pragma once

#include "lib/api/boot_steps.h"
#include "lib/api/policy.h"
#include "lib/api/service_spec.h"
#include "lib/api/states.h"
#include "lib/crypto.h"

#define API_MACHINE_WHY_MAX 511

struct api_machine {
    char arch[16];  /* amd64 | arm64 */
    char accel[16]; /* kvm | tcg */
    char *why;      /* that is not kvm; NULL where nothing is known, or it is */
    struct json_strings families;
};

/* Of a node: sums over many of them are sure not to wrap. */
#define API_NODE_MEMORY_MAX (UINT64_C(1) << 50)
#define API_NODE_VCPUS_MAX  1000000

#define API_HYPERVISOR_URI_MAX 192

struct api_join {
    char node[NAME_MAX_TEXT];
    char epoch[17];               /* random per agent start */
    char cluster[CLUSTER_ID_MAX]; /* the one it belonged to before; "" for a new node */
    char address[64];             /* of the agent's own HTTP server, "127.0.0.1:7001" */
    struct api_machine *machines;
    size_t machine_count;
    char hypervisor[16];                         /* what runs its guests: "qemu" | "libvirt" */
    char hypervisor_uri[API_HYPERVISOR_URI_MAX]; /* of libvirt's driver, else "" */
    uint64_t memory;                             /* bytes for guests and their hypervisors */
    uint32_t vcpus;    /* virtual processors that may be promised to guests */
    uint64_t overhead; /* bytes the hypervisor takes for each instance */
    uint64_t volumes;  /* bytes that volumes may have together; 0: it does not say */
    struct json_map labels;
    struct json_strings features; /* what this agent can do that older ones cannot: "volumes" */
    char subnet[24];              /* what it was given before; "" for a new node */
};

struct api_join_answer {
    char cluster[CLUSTER_ID_MAX];
    uint64_t term;
    char subnet[24];       /* "10.64.0.0/24"; the first address is the gateway's */
    uint64_t heartbeat_ms; /* send a status at least this often */
    uint64_t lease_ms;     /* without one for so long the node counts as silent */
    bool takes_changes;    /* statuses may have a `base` */
};

/* standby: boot it, and once its check passes pause it until it is wanted; only to agents with the
 * feature "standby". */
enum api_wanted { API_WANTED_RUN, API_WANTED_STOP, API_WANTED_STANDBY };
#define API_FEATURE_STANDBY "standby"

extern const char *const api_wanted_names[];

/* One instance as the agent is to have it. Image defaults are already merged in. */
struct api_assigned_instance {
    char id[INSTANCE_ID_MAX];
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t slot;
    uint32_t revision;
    enum api_wanted wanted;
    char stop_cause[CAUSE_MAX];         /* why it is to stop, when people should know; else "" */
    char repository[256];               /* in the cluster's registry */
    char image_digest[DIGEST_TEXT_MAX]; /* pinned: an index or a manifest */
    char arch[16];
    char address[ADDRESS_MAX];
    uint32_t prefix;
    char gateway[ADDRESS_MAX];
    struct api_resources resources;
    struct api_port *ports;
    size_t port_count;
    struct json_strings args;
    struct json_map env;
    struct api_health health;
    uint64_t boot_timeout_ms;
    struct api_restart restart;
    struct api_stop stop;
    struct api_volume *volumes; /* of its slot; each has its device */
    size_t volume_count;
};

/* An image that instances of this node will have soon: fetched and proven before their turn. */
struct api_prefetch {
    char repository[256];
    char digest[DIGEST_TEXT_MAX]; /* pinned */
    char arch[16];
};
/* Of one assignment; what would be more is fetched when it is needed. */
#define API_PREFETCH_MAX 16

struct api_assignment {
    char cluster[CLUSTER_ID_MAX];
    uint64_t term;
    uint64_t revision;
    uint64_t trust_revision; /* apply this trust first */
    bool full;               /* else a delta: `instances` changed, `removed` may be forgotten */
    char registry[256];      /* "http://127.0.0.1:5000" */
    struct api_prefetch *prefetch; /* all there is, also in a delta */
    size_t prefetch_count;
    struct api_assigned_instance *instances;
    size_t instance_count;
    struct json_strings removed; /* ids the agent may forget: they are over */
};

enum api_server_state { API_SERVER_READY, API_SERVER_DRAIN };
extern const char *const api_server_state_names[];

struct api_server {
    char id[INSTANCE_ID_MAX];
    char address[ADDRESS_MAX];
    uint32_t port;
    enum api_server_state state;
    bool has_weight; /* else 1 */
    uint32_t weight; /* its part of the new connections or requests, against the others' */
};

#define API_SERVER_WEIGHT_MAX 256

/* A published port and who answers it, on every node. */
struct api_frontend {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t publish;
    enum api_port_mode mode;
    struct api_server *servers;
    size_t server_count;
};

struct api_endpoints {
    char cluster[CLUSTER_ID_MAX];
    uint64_t term;
    uint64_t revision;
    bool full;
    struct api_frontend *frontends;
    size_t frontend_count;
};

/* Keys that a cluster trusts: each signature of an image is held against each of them. */
#define API_KEYS_MAX 64

struct api_key {
    char name[NAME_MAX_TEXT];
    char id[KEY_ID_MAX];
    char *pem;
};

/* By what a node judges images. */
struct api_trust {
    char cluster[CLUSTER_ID_MAX];
    uint64_t term;
    uint64_t revision;
    struct api_key *keys;
    size_t key_count;
    struct api_policy *policies;
    size_t policy_count;
};

struct api_observed_instance {
    char id[INSTANCE_ID_MAX];
    enum instance_state state;
    char cause[CAUSE_MAX];    /* why it failed or last restarted: "guest_exit", ... */
    char message[REASON_MAX]; /* the same for people */
    uint32_t restarts;        /* in place, since it was assigned */
    uint64_t state_age_ms;    /* how long it has been in this state */
    uint64_t boot_ms;         /* start of the microVM to the first pass of its check; 0: not yet */
    uint64_t uptime_ms;       /* of the present boot; 0: not running */
    char accel[16];           /* kvm | tcg */
    bool has_steps;           /* it became ready a moment ago: */
    struct api_boot_steps steps; /* how its boot went */
    uint64_t
        wake_ms; /* ... as a standby, resumed so long before; 0: it booted, or is ready again */
};

struct api_observed_frontend {
    uint32_t publish;
    bool bound;
    char message[REASON_MAX]; /* why not */
};

/* Open connections through this node's data plane to an instance that it drains. */
struct api_draining {
    char id[INSTANCE_ID_MAX];
    uint32_t connections;
};

struct api_status {
    char cluster[CLUSTER_ID_MAX];
    char node[NAME_MAX_TEXT];
    char epoch[17];
    uint64_t sequence; /* ascending within an epoch; older ones are ignored */
    /* 0: this is all there is. Else it is what changed since the status of this sequence, which was
     * answered: instances that are not listed are there and as they were. With nothing changed it
     * only renews the lease, and costs next to nothing. */
    uint64_t base;
    bool same_data_plane; /* `frontends` and `draining` are as in the base, and left out */
    uint64_t term;        /* of the assignment applied */
    uint64_t assignment_revision;
    uint64_t endpoints_revision; /* applied by the data plane */
    uint64_t trust_revision;
    uint64_t volumes_used; /* bytes: volumes by their size, snapshots by what they take */
    uint64_t snapshots;    /* of it, those */
    /* For so long the agent's host half has said nothing; 0: it speaks. */
    uint64_t host_silent_ms;
    struct api_observed_instance *instances;
    size_t instance_count;
    struct api_observed_frontend *frontends;
    size_t frontend_count;
    struct api_draining *draining; /* one for each server of the endpoints in state drain */
    size_t draining_count;
};

struct api_status_answer {
    bool whole; /* the base is not what was taken last: nothing was taken, send all there is */
    uint64_t heartbeat_ms; /* from now on, instead of the join's; 0: as before */
};

extern const struct json_record api_machine_record;
extern const struct json_record api_observed_frontend_record;
extern const struct json_record api_join_record;
extern const struct json_record api_join_answer_record;
extern const struct json_record api_assigned_instance_record;
extern const struct json_record api_assignment_record;
extern const struct json_record api_frontend_record;
extern const struct json_record api_endpoints_record;
extern const struct json_record api_key_record;
extern const struct json_record api_trust_record;
extern const struct json_record api_status_record;
extern const struct json_record api_status_answer_record;
