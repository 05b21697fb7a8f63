/* Where an instance goes: which nodes can take it, which of them is best, and why none can. Pure:
 * values in, a node or an explanation out (docs/scheduling.md, "Placement").
 *
 * placement_check is the only place that says whether a node can take an instance: whoever plans,
 * applies, explains or makes room asks it. Memory is never promised twice: an instance needs its
 * own and the node's overhead. Virtual processors are as many as the node says may be promised. */
#pragma once

#include "lib/api/agent.h"
#include "lib/buffer.h"

#define PLACEMENT_PLATFORMS_MAX 8
#define PLACEMENT_PORTS_MAX     API_PORTS_MAX

struct placement_node {
    const char *name;
    bool ready; /* it reports */
    enum node_eligibility eligibility;
    const struct api_machine *machines;
    size_t machine_count;
    const struct json_map *labels;
    const struct json_strings *features;
    const struct api_observed_frontend *frontends;
    size_t frontend_count;
    uint64_t memory;   /* bytes for guests with their overhead */
    uint64_t overhead; /* bytes for each instance */
    uint32_t vcpus;
    uint64_t memory_used; /* promised, overhead included */
    uint32_t vcpus_used;
    uint64_t volumes; /* bytes for volumes; 0: not known */
    uint64_t volumes_used;
    uint64_t address_ms; /* when an address is free: 0 now, UINT64_MAX not by time alone */
    /* About the service that is placed: */
    uint32_t of_service; /* its instances that are there to stay */
    int32_t liking;      /* points for what is known of it there; below 0: rather not */
    int32_t extra;       /* for the index: placement_points_service */
    bool has_image;      /* counted in `liking` */
    uint32_t mark;       /* of the affinity that was counted last */
};

/* An architecture the image has, and the family that boots it there. */
struct placement_platform {
    const char *arch;
    const char *family;
};

/* One of the affinities, parsed. */
struct placement_affinity {
    struct api_constraint constraint;
    uint32_t weight;
};

enum placement_spread {
    PLACEMENT_SPREAD_NODE,
    PLACEMENT_SPREAD_NONE,
    PLACEMENT_SPREAD_LABEL,
};

struct placement_request {
    uint64_t memory;
    uint32_t vcpus;
    const struct placement_platform *platforms; /* in order of preference */
    size_t platform_count;
    enum placement_spread spread;
    const char *spread_label;
    const struct api_constraint *constraints;
    size_t constraint_count;
    const struct placement_affinity *affinities;
    size_t affinity_count;
    bool distinct_nodes;
    uint32_t max_per_node; /* 0: any number */
    const uint32_t *ports; /* that the service publishes */
    size_t port_count;
    bool has_volumes;
    uint64_t volume_bytes;   /* more than the slot's volumes have already */
    bool is_standby;         /* to be paused until it is wanted */
    const char *volume_node; /* that has the slot's volumes; NULL: none yet */
    uint64_t now_ms;
};

/* Why a node cannot take an instance, in the order they are looked at: what the node is, then what
 * the service has there, then room. */
enum placement_reason {
    PLACEMENT_FITS,
    PLACEMENT_NOT_READY,
    PLACEMENT_NOT_ELIGIBLE,
    PLACEMENT_ARCHITECTURE,
    PLACEMENT_FAMILY,
    PLACEMENT_MACHINE, /* a constraint on arch, accel or family */
    PLACEMENT_CONSTRAINT,
    PLACEMENT_NO_VOLUMES,
    PLACEMENT_NO_STANDBY,
    PLACEMENT_VOLUME_ELSEWHERE,
    PLACEMENT_VOLUME_ROOM,
    PLACEMENT_PORT,
    PLACEMENT_DISTINCT_NODES,
    PLACEMENT_MAX_PER_NODE,
    PLACEMENT_MEMORY,
    PLACEMENT_VCPUS,
    PLACEMENT_ADDRESSES,
    PLACEMENT_REASONS,
};
/* A word for programs. */
const char *placement_reason_name(enum placement_reason reason);

struct placement_verdict {
    enum placement_reason reason;
    size_t platform;                   /* PLACEMENT_FITS: which one boots there */
    bool accelerated;                  /* ... by a processor's help */
    uint64_t free, asked;              /* bytes, processors or instances, where it is about them */
    size_t which;                      /* the constraint that does not hold, or the port */
    enum node_eligibility eligibility; /* PLACEMENT_NOT_ELIGIBLE */
};

enum placement_reason placement_check(const struct placement_node *node,
                                      const struct placement_request *request,
                                      struct placement_verdict *ret_verdict);
/* Only what a node is, whatever it holds at the time: the same for all that are alike in machines,
 * labels and features. PLACEMENT_ARCHITECTURE to PLACEMENT_NO_VOLUMES, constraints on names
 * left out, or PLACEMENT_FITS. */
enum placement_reason placement_check_kind(const struct placement_node *node,
                                           const struct placement_request *request,
                                           struct placement_verdict *ret_verdict);

/* --- points: fewer are better --- */

#define PLACEMENT_POINTS_INSTANCE   10000 /* each instance that is there, or in the label's value */
#define PLACEMENT_POINTS_NEIGHBOUR  1000  /* each on the node, when spread over a label */
#define PLACEMENT_POINTS_FULL       1024  /* a node without room; an empty one: 0 */
#define PLACEMENT_POINTS_EMULATED   2000  /* no accelerated machine boots it there */
#define PLACEMENT_POINTS_WEIGHT     100   /* each of an affinity's weight */
#define PLACEMENT_POINTS_IMAGE      100   /* off: the image is there */
#define PLACEMENT_POINTS_FAILURE    4000  /* it failed there just now; decays */
#define PLACEMENT_FAILURE_FORGET_MS 600000

/* What an instance that failed so long ago costs: PLACEMENT_POINTS_FAILURE, falling to 0. */
int32_t placement_failure_points(uint64_t ago_ms);
/* Of what a node is: machines and affinities. */
int64_t placement_points_kind(const struct placement_node *node,
                              const struct placement_request *request,
                              const struct placement_verdict *verdict);
/* How full it is, 0 to PLACEMENT_POINTS_FULL: the larger share of memory and processors. */
int64_t placement_fullness(const struct placement_node *node);
/* For what the service has there. */
int32_t placement_points_service(const struct placement_node *node,
                                 const struct placement_request *request);
/* Of how full it is, and what the service has there. */
int64_t placement_points_load(const struct placement_node *node,
                              const struct placement_request *request);

/* --- explanations --- */

#define PLACEMENT_NAMES_MAX  8
#define PLACEMENT_GROUPS_MAX 24

/* Nodes that cannot for one reason. */
struct placement_group {
    struct placement_verdict verdict; /* of the one that comes closest */
    const char *names[PLACEMENT_NAMES_MAX];
    size_t node_count;
};

struct placement_explanation {
    struct placement_group groups[PLACEMENT_GROUPS_MAX];
    size_t group_count;
    size_t node_count;
    uint64_t overhead; /* of the first node */
};

void placement_explain_node(const struct placement_node *node,
                            const struct placement_request *request,
                            struct placement_explanation *explanation);
/* "memory: 64Mi free of 128Mi asked". */
void placement_group_text(const struct placement_group *group,
                          const struct placement_request *request, struct buffer *text);
/* ERROR_NO_CAPACITY: what was asked and why no node can, grouped by reason. Returns -1. */
int placement_explain(const struct placement_request *request,
                      const struct placement_explanation *explanation, struct error *error);

/* --- choosing by looking at all --- */

struct placement {
    size_t node;
    size_t platform;
};

/* Instances of the service in each value of the label that it is spread over. */
struct placement_counts {
    struct placement_count {
        const char *value; /* lent; NULL: nodes without the label */
        uint32_t count;
    } * items;
    size_t count;
};
uint32_t placement_counts_get(const struct placement_counts *counts, const char *value);
void placement_counts_add(struct placement_counts *counts, const char *value);
void placement_counts_finish(struct placement_counts *counts);

/* The best of all nodes; -1 with ERROR_NO_CAPACITY and an explanation. */
int placement_choose(const struct placement_request *request,
                     const struct placement_node *const *nodes, size_t node_count,
                     const struct placement_counts *counts, struct placement *ret_placement,
                     struct error *error);
