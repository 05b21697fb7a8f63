/* What the scheduler shows to people and programs: answers of its /v1 API that the CLI prints.
 *
 * Views are derived, never stored. Ages are milliseconds at the time of the answer. Lists come as
 * {"services": [...]}, {"instances": [...]}, {"nodes": [...]}, {"revisions": [...]},
 * {"rollouts": [...]}, {"keys": [...]}, {"policies": [...]}; events as NDJSON, one api_event a
 * line. */
#pragma once

#include "lib/api/agent.h"
#include "lib/api/plan.h"

struct api_rollout_view {
    uint32_t number;
    uint32_t from; /* a revision; 0: a first deploy */
    uint32_t to;
    enum rollout_phase phase;
    char kind[16];           /* deploy | rollback | restart | scale is none */
    char reason[REASON_MAX]; /* why it is where it is, for people */
    uint32_t wanted;         /* replicas */
    uint32_t updated;        /* instances of `to` that are not over */
    uint32_t healthy;        /* of those, healthy (promise 2) */
    uint32_t old;            /* instances of other revisions not yet over */
    uint32_t failures;       /* failed boots and restarts of the new revision so far */
    uint32_t canary;         /* instances of `to` that are judged first; 0: none, or no longer */
    bool held;               /* it goes on only when a person says so */
    uint64_t age_ms;         /* since it began */
    uint64_t duration_ms;    /* begin to end; 0 while it runs */
    /* Set while nothing can be placed: what was asked and what each node has free. */
    bool no_capacity;
};

/* One run of a job. */
struct api_run_view {
    uint32_t number;
    uint32_t revision;
    enum run_phase phase;
    char kind[16];           /* deploy | manual | schedule */
    char reason[REASON_MAX]; /* why it is where it is, for people */
    uint32_t completions;
    uint32_t succeeded; /* of them */
    uint32_t active;    /* instances that are not over; likewise below */
    uint32_t unknown;   /* of the active ones: on silent nodes */
    uint32_t failed;
    uint32_t lost;         /* with their node, or to make room: started again, not counted */
    uint64_t scheduled_ms; /* wall clock: the time it was due; 0: it was asked for */
    uint64_t age_ms;       /* since it began */
    uint64_t duration_ms;  /* begin to end; 0 while it runs */
    bool no_capacity;
};

struct api_service_view {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t replicas;
    uint32_t ready;
    uint32_t standby;       /* wanted beside the replicas */
    uint32_t standby_ready; /* of them: paused, and can be resumed */
    uint32_t revision;      /* current: what the last succeeded or running rollout made current */
    char image[768];        /* as the user wrote it */
    char image_digest[DIGEST_TEXT_MAX];
    uint64_t age_ms;
    /* What the image's policy has against it though it only warns, or why the revision may not run
     * any more; else "". */
    char warning[REASON_MAX];
    bool has_rollout;
    struct api_rollout_view rollout; /* the running one, else the last */
    enum api_service_type type;      /* what follows is of jobs only */
    char schedule[CRON_TEXT_MAX];
    uint64_t next_run_ms; /* wall clock; 0: none is scheduled */
    bool has_run;
    struct api_run_view run; /* the newest */
    /* GET of one service: why instances find no place, and the spec that applies. */
    struct api_obstacles obstacles;
    struct json_object *spec;
};

struct api_revision_view {
    uint32_t number;
    char image[768];
    char image_digest[DIGEST_TEXT_MAX];
    char template_digest[DIGEST_TEXT_MAX];
    char signed_by[128];      /* names and ids of the keys */
    char warning[REASON_MAX]; /* as a service's */
    bool current;
    uint64_t age_ms;
    uint32_t before;                 /* the revision before it that is still kept; 0: none */
    struct api_plan_change *changes; /* of the template, from that one */
    size_t change_count;
};

struct api_instance_view {
    char id[INSTANCE_ID_MAX];
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t slot; /* a job's: the index of its completion */
    uint32_t revision;
    uint32_t run; /* of a job; 0: it is a service's */
    char node[NAME_MAX_TEXT];
    char address[ADDRESS_MAX];
    enum api_wanted wanted;
    enum instance_state state;
    bool healthy; /* promise 2 */
    char cause[CAUSE_MAX];
    char message[REASON_MAX];
    uint32_t restarts;
    uint64_t age_ms;
    uint64_t uptime_ms;
    uint64_t boot_ms;
    char accel[16];
};

#define NODE_REASON_MAX 128

struct api_node_view {
    char name[NAME_MAX_TEXT];
    enum node_state state;
    enum node_eligibility eligibility;
    char reason[NODE_REASON_MAX]; /* of the eligibility, in the words of who changed it; or "" */
    uint32_t leaving;             /* while not eligible: instances that are still there */
    uint32_t volume_slots;        /* while not eligible: slots that wait for it, or will, for their
                                     volumes are there */
    uint64_t drain_left_ms;   /* while draining: until what is left is stopped; 0: no deadline */
    char waiting[REASON_MAX]; /* while draining: why something finds no other place; or "" */
    char address[64];
    char subnet[24];
    struct api_machine *machines;
    size_t machine_count;
    char hypervisor[16]; /* api_join's */
    char hypervisor_uri[API_HYPERVISOR_URI_MAX];
    uint64_t memory;
    uint64_t memory_used; /* promised to instances, overhead included */
    uint32_t vcpus;
    uint32_t vcpus_used;
    uint32_t instances;
    uint64_t volumes;      /* bytes that volumes and snapshots may have together; 0: not known */
    uint64_t volumes_used; /* of it: promised to slots, and what snapshots take */
    uint64_t heartbeat_age_ms;
    uint64_t host_silent_ms; /* api_status's: by its last status */
    struct json_map labels;
    struct api_observed_frontend *frontends; /* as the node reports them */
    size_t frontend_count;
};

/* "rescheduling" beside the list of nodes: how lost instances are replaced. */
struct api_rescheduling_view {
    bool frozen;       /* most nodes are silent: nothing is replaced */
    uint32_t suspect;  /* eligible nodes that are silent and not lost */
    uint32_t eligible; /* they, and those that are ready */
    uint32_t waiting;  /* instances of lost nodes whose turn has not come */
    uint32_t rate;     /* so many are replaced in a second */
};

/* POST /v1/nodes/NAME/cordon and /drain. */
struct api_node_request {
    char reason[NODE_REASON_MAX];
    uint64_t deadline_ms; /* drain: what is left after so long is stopped; 0: nothing is */
};

struct api_event {
    uint64_t sequence;
    uint64_t time_ms; /* wall clock, since 1970 */
    char kind[24];    /* service | rollout | run | instance | node | cluster | key | policy */
    char namespace_name[NAME_MAX_TEXT]; /* "" for nodes, keys and policies */
    char name[NAME_MAX_TEXT];           /* service, node, key or policy */
    char id[INSTANCE_ID_MAX];           /* instance, or "" */
    char what[32];                      /* "ready", "restarted", "rollout_failed", ... */
    char cause[CAUSE_MAX];
    char message[REASON_MAX];
};

/* PUT .../scale, POST .../wake and POST .../rollback bodies. */
struct api_scale_request {
    uint32_t replicas;
};

struct api_wake_request {
    uint32_t count; /* replicas more */
};
struct api_rollback_request {
    uint32_t to; /* revision; 0: the newest other one whose rollout succeeded */
};

/* POST .../runs/stop. */
struct api_stop_request {
    uint32_t run; /* 0: all that run */
};

/* What apply and every other change of a service answer. */
struct api_change_answer {
    bool changed; /* false: the same spec again, nothing to do */
    uint32_t revision;
    uint32_t rollout; /* number of the rollout that was started, or steered; 0: none */
    enum api_service_type type;
    uint32_t run; /* of a job: number of the run that was started or stopped; 0: none */
    uint32_t replicas;
    uint32_t volume_slots; /* of a service that is removed: slots whose volumes stay */
    char message[REASON_MAX];
    char warning[REASON_MAX]; /* what a policy that only warns has against the image; or "" */
};

extern const struct json_record api_rollout_view_record;
extern const struct json_record api_run_view_record;
extern const struct json_record api_service_view_record;
extern const struct json_record api_revision_view_record;
extern const struct json_record api_instance_view_record;
extern const struct json_record api_node_view_record;
extern const struct json_record api_rescheduling_view_record;
extern const struct json_record api_node_request_record;
extern const struct json_record api_event_record;
extern const struct json_record api_scale_request_record;
extern const struct json_record api_wake_request_record;
extern const struct json_record api_rollback_request_record;
extern const struct json_record api_stop_request_record;
extern const struct json_record api_change_answer_record;
