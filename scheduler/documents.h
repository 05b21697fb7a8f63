/* What the store holds: each kind of document, its key and its JSON form. Readers ignore unknown
 * fields. Wall-clock times here are milliseconds since 1970, for people and for ages.
 *
 *   counters                              what was handed out, and how often we started
 *   services/NS/NAME                      settings, replicas, what is current
 *   revisions/NS/NAME/00000007            a template, never changed, and how its image was judged
 *   rollouts/NS/NAME/00000012
 *   volumes/NS/NAME/00000003              which node has the volumes of a slot
 *   runs/NS/NAME/00000003                 of a job
 *   instances/0001000003f2                what is wanted of it
 *   observed/0001000003f2                 what its node last said of it
 *   nodes/NAME · removed-nodes/NAME · keys/NAME · policies/NAME
 *   events/00000000000004d2 */
#pragma once

#include "image-format/policy.h"
#include "lib/api/views.h"
#include "scheduler/job.h"
#include "scheduler/reconcile.h"

/* Names of objects: "NS/NAME" of a service with NUL, an id, a node's or a key's name. */
#define OBJECT_NAME_MAX     130
#define SIGNED_BY_MAX       128
#define REPOSITORY_TEXT_MAX 256

enum document_kind {
    DOCUMENT_COUNTERS,
    DOCUMENT_NODE,
    DOCUMENT_REMOVED_NODE,
    DOCUMENT_KEY,
    DOCUMENT_POLICY,
    DOCUMENT_SERVICE,
    DOCUMENT_REVISION,
    DOCUMENT_ROLLOUT,
    DOCUMENT_RUN,
    DOCUMENT_VOLUME,
    DOCUMENT_INSTANCE,
    DOCUMENT_OBSERVED,
    DOCUMENT_EVENT,
    DOCUMENT_KINDS,
};

struct document_counters {
    uint64_t instances; /* ids handed out */
    uint64_t services;  /* uids handed out */
    uint64_t starts;    /* of the scheduler: revisions of agents' documents begin with it */
    /* After a restore: ids with a higher counter may have been handed out by the lost future of
     * an older term. */
    uint64_t known_instances;
    bool restored;             /* it came back from a backup, once */
    uint64_t term;             /* in which this was written */
    uint64_t events_compacted; /* sequence of the last event that was dropped */
};

struct document_service {
    uint64_t uid; /* of this service, not of a later one of its name */
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    struct api_service_spec spec; /* as last applied, defaults filled in, without replicas */
    uint32_t replicas;
    uint32_t revisions; /* numbers handed out */
    uint32_t rollouts;  /* likewise */
    uint32_t good;      /* what a failed rollout returns to; 0: nothing yet */
    uint32_t runs;      /* of a job: numbers handed out */
    /* Of a job with a schedule: all times up to this one have been dealt with. */
    uint64_t scheduled_ms;
    bool deleting;
    uint64_t created_ms;
};

/* What a change of replaces instances. */
struct document_template {
    char image_digest[DIGEST_TEXT_MAX];
    char arch[16];
    struct json_strings args;
    struct json_map env;
    struct api_resources resources;
    struct api_port *ports; /* names, numbers, the image's modes, private; never `publish` */
    size_t port_count;
    struct api_volume *volumes;
    size_t volume_count;
    uint64_t boot_timeout_ms;
    struct api_stop stop;
};

struct document_platform {
    char arch[16];
    char family[32];
    struct policy_evidence evidence; /* what was proven when it was deployed last */
};

struct document_revision {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t number;
    struct document_template template;
    char template_digest[DIGEST_TEXT_MAX];
    char image[768]; /* as the user wrote it */
    char repository[REPOSITORY_TEXT_MAX];
    char signed_by[SIGNED_BY_MAX];
    struct document_platform *platforms; /* that the image has and the template allows */
    size_t platform_count;
    struct api_health health; /* the image's own checks */
    char warning[REASON_MAX]; /* what a policy that only warns has against it */
    /* Why nothing of it may run since a key was removed; "": it may. */
    char revoked[REASON_MAX];
    uint64_t created_ms;
};

struct document_rollout {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t number;
    uint32_t from;
    uint32_t to;
    enum rollout_phase phase;
    bool promoted; /* no canaries are judged, or no longer */
    char kind[16]; /* deploy | rollback | restart */
    char reason[REASON_MAX];
    uint64_t started_ms;
    uint64_t ended_ms; /* 0: it runs */
};

struct document_run {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t number;
    uint32_t revision;
    enum run_phase phase;
    char kind[16]; /* deploy | manual | schedule */
    char *reason;  /* why it is where it is; NULL: it just runs */
    uint32_t completions;
    uint32_t succeeded;    /* of them */
    uint32_t failed;       /* instances; likewise below */
    uint32_t lost;         /* with their node, or to make room */
    uint64_t scheduled_ms; /* the time it was due; 0: it was asked for */
    uint64_t started_ms;
    uint64_t ended_ms; /* 0: it runs */
    /* Not stored: when it began by this process's clock; 0: not known yet. */
    uint64_t begun_ms;
};

/* Where the volumes of a slot are: its instances go nowhere else. */
struct document_volume {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t number; /* the slot */
    uint64_t service_uid;
    char node[NAME_MAX_TEXT];
    uint64_t bytes; /* of all of them, by the largest of its instances' templates */
    uint64_t created_ms;
};

struct document_instance {
    char id[INSTANCE_ID_MAX];
    uint64_t service_uid;
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t slot;
    uint32_t revision;
    uint32_t rollout; /* during which it was made: its failures count there; a job's run */
    uint32_t attempt; /* how many it replaces one after the other */
    char node[NAME_MAX_TEXT];
    char arch[16];
    char address[ADDRESS_MAX];
    enum instance_wish wish;
    bool standby; /* paused beside the replicas; its slot says nothing until it is promoted */
    char *why;    /* it was asked to end; NULL: it was not */
    char *cause;  /* the same in a word, when it is not the usual business; else NULL */
    bool given_up;
    enum job_outcome outcome; /* of a job's that has ended */
    uint64_t created_ms;
    uint64_t ended_ms; /* 0: not yet */
};

struct document_observed {
    char id[INSTANCE_ID_MAX];
    enum instance_state state;
    char *cause; /* NULL: there is nothing to say; likewise below */
    char *message;
    uint32_t restarts;
    uint64_t boot_ms;
    uint64_t uptime_ms;
    char accel[16];
    uint64_t since_ms; /* wall clock: when it came into this state */
};

struct document_node {
    char name[NAME_MAX_TEXT];
    char epoch[17];
    char address[64];
    struct api_machine *machines;
    size_t machine_count;
    char hypervisor[16]; /* api_join's, as is what follows */
    char hypervisor_uri[API_HYPERVISOR_URI_MAX];
    uint64_t memory;
    uint32_t vcpus;
    uint64_t overhead;
    uint64_t volumes; /* bytes for them; 0: not known */
    struct json_map labels;
    struct json_strings features;
    char subnet[24];
    uint64_t joined_ms;
    enum node_eligibility eligibility;
    char eligibility_reason[NODE_REASON_MAX]; /* in the words of who asked; "" */
    /* While draining: what is left is stopped after so long, counted from when this was asked for
     * or the scheduler started; 0: it takes as long as it takes. */
    uint64_t drain_deadline_ms;
    bool lost; /* its instances were given up, and it has not come back since */
};

/* What is remembered of a node that was removed, until its subnet is given back. */
struct document_removed_node {
    char name[NAME_MAX_TEXT];
    char epoch[17]; /* of the agent that may not come back */
    char subnet[24];
    uint64_t removed_ms;
};

extern const struct json_record document_template_record;

/* The table of a kind, and the prefix of its keys. */
const struct json_record *document_record(enum document_kind kind);
const char *document_prefix(enum document_kind kind);
/* The key of a document of that kind. */
void document_key(enum document_kind kind, const void *document, char *ret_key, size_t size);
/* DOCUMENT_KINDS for a key of no kind that is known here. */
enum document_kind document_kind_of_key(const char *key);
/* A document that says only which one it is, to be removed; NULL when the key is not of that kind.
 */
void *document_of_key(enum document_kind kind, const char *key);
/* Zeroed, with the defaults that an older document may lack. Free with document_free. */
void *document_create(enum document_kind kind);
void *document_copy(enum document_kind kind, const void *document);
void document_free(enum document_kind kind, void *document);

/* Texts of instances are on the heap, and most of a million have none: NULL is the empty text. */
/* Replaces the member by a printable copy. */
void document_set_text(char **member, const char *text);
/* The member as a text that may be empty. */
const char *document_text(const char *member);
bool document_text_equals(const char *member, const char *text);
