/* What the scheduler knows, typed, in memory: the documents of the store, joined to each other,
 * and beside them what is true only of this process (what nodes reported, when).
 *
 * Owns all of it. The only way in is model_apply, called at start for every document of the store
 * and later for each write after it was committed. Loop thread only; knows no HTTP and no store.
 * Times without "wall" are monotonic milliseconds of this process. */
#pragma once

#include <sys/queue.h>

#include "lib/api/plan.h"
#include "scheduler/confirmation.h"
#include "scheduler/documents.h"
#include "scheduler/placement_index.h"
#include "scheduler/rescheduling.h"
#include "scheduler/rollout.h"
#include "scheduler/sorted.h"
#include "scheduler/usage.h"

#define REMOVED_KEPT 32 /* ids that left a node's assignment lately */

struct model;

struct model_instance {
    const char *name; /* its id */
    struct document_instance *document;
    struct document_observed observed; /* the last report; pending at first */
    struct model_service *service;     /* NULL once the service is gone */
    struct model_node *node;           /* NULL when it left */
    bool reported;                     /* by its node, to this process */
    bool observed_unsaved;
    bool is_gone;            /* its record is removed, and model_settle frees it */
    bool is_there;           /* on its node, by the last status */
    uint64_t received_ms;    /* when the last report came */
    uint64_t ready_since_ms; /* while observed.state is ready */
    uint64_t ready_age_ms;   /* as last reported */
    uint64_t over_since_ms;  /* while it is over */
    bool was_healthy;
    bool released;     /* its node is lost, and it is its turn to be replaced */
    bool in_endpoints; /* as a server, ready or draining */
    /* Of the endpoints that lack it again; 0: it never was in; UINT64_MAX: the next ones. */
    uint64_t left_revision;
    uint64_t drain_since_ms; /* 0: not draining, or not published yet */
    uint64_t drain_revision; /* of the endpoints that say so */
    uint32_t clear_nodes;    /* live ones that say that they have no connection to it */
    /* Of its node's assignment, when it last changed there; 0: that is not published yet. */
    uint64_t assigned_revision;
    struct usage_share share; /* of its node */
    bool is_moving;           /* there is a better place: it is replaced there first */
};

struct model_service {
    const char *name; /* "NS/NAME" */
    char name_text[OBJECT_NAME_MAX];
    /* NULL for a moment while loading, and where the service is no more and only its volumes are
     * left. */
    struct document_service *document;
    uint64_t edition; /* of it and its revisions: another one, and no other service's, when any of
                         them changes */
    struct document_revision **revisions;
    size_t revision_count;
    struct document_rollout **rollouts;
    size_t rollout_count;
    struct document_run **runs;       /* of a job */
    struct document_volume **volumes; /* in order of their slots */
    size_t volume_count;
    size_t run_count;
    struct sorted instances; /* ended ones included, until their records go */
    /* What the controller remembers between its looks. */
    struct model *model;
    bool is_touched; /* by model_touch_service: is to be looked at */
    TAILQ_ENTRY(model_service) touched;
    size_t waits_at;    /* place in the heap of those that wait, and 1; 0: not there */
    uint64_t next_ms;   /* when to look again */
    uint64_t looked_ms; /* the last time */
    bool in_endpoints;  /* it may have instances there */
    size_t draining;    /* of its instances, by their wish */
    uint64_t retire_ms; /* no record of it can be forgotten before; 0: something changed */
    struct rollout_clock clock;
    uint32_t clock_rollout; /* whose clock it is */
    enum rollout_phase clock_phase;
    struct reconcile_counts counts;
    uint32_t failures; /* of the worst slot of the running rollout */
    bool became_healthy;
    char progress[REASON_MAX];      /* of the running rollout */
    bool standby_has_no_room;       /* that was told */
    char *no_capacity;              /* why an instance finds no room; NULL: all did */
    struct api_obstacles obstacles; /* the same, node by node */
    struct usage_kept kept;         /* room that others make for it */
    uint64_t moved_ms;              /* when one of it last began to move to a better place */
};

TAILQ_HEAD(model_node_list, model_node);
/* An id that left an assignment, and since which revision; 0: not published yet. */
struct model_removed {
    uint64_t revision;
    char id[INSTANCE_ID_MAX];
};

/* Who waits for a node's documents; the waiting's own memory. */
struct model_waiter {
    LIST_ENTRY(model_waiter) link;
    struct model_node *node; /* NULL once it left */
};

struct model_node {
    const char *name;
    struct model *model;
    struct document_node *document; /* NULL for a moment while loading */
    uint32_t subnet;                /* subnets_number of it */
    struct sorted instances;
    uint64_t heard_ms; /* the last status; at first: when this process began */
    bool reported;     /* to this process */
    /* As it said last, in bytes: what its volumes and snapshots take, and of it the snapshots. */
    uint64_t volumes_there, snapshots;
    uint64_t host_silent_ms; /* as it said last; for people */
    bool silent;             /* suspect, or lost */
    bool lost;               /* silent for so long that its instances are replaced */
    uint64_t silent_since_ms;
    bool given_up;                      /* somebody said that it will not come back */
    bool is_back;                       /* in `returned` */
    TAILQ_ENTRY(model_node) lease_link; /* of `heard` or `suspects` */
    TAILQ_ENTRY(model_node) returned_link;
    uint64_t drain_since_ms; /* while it drains */
    uint64_t sequence;       /* of the last status of this epoch */
    uint64_t term;
    uint64_t assignment_applied;
    uint64_t endpoints_applied;
    uint64_t confirmed; /* of these, in our term */
    struct api_draining *draining;
    size_t draining_count;
    struct api_observed_frontend *frontends;
    size_t frontend_count;
    struct json_strings orphans;         /* reported, running, and nobody's */
    struct json_strings strangers;       /* the same, but perhaps somebody's: left alone */
    uint64_t saved_ms;                   /* when its reports were last written */
    bool has_unsaved;                    /* instances whose reports were not written yet */
    uint64_t freed_ms[SUBNET_ADDRESSES]; /* when each address was given back; 0: long ago */
    struct usage used;                   /* by instances that have not ended */
    struct usage planned;                /* by the decision in the making */
    LIST_HEAD(, usage_kept) kept;        /* for services that wait for it */
    bool is_planned;                     /* that has something there */
    struct placement_entry place;        /* in the model's index of places */
    bool place_changed;                  /* by usage_touch: on the model's list of them */
    bool kind_changed;
    LIST_ENTRY(model_node) changed_link;
    bool is_touched; /* by model_touch_node: its assignment may have changed */
    bool is_resting; /* touched, and not among those while it is among the told ones */
    bool is_told;    /* by model_note_told */
    TAILQ_ENTRY(model_node) touched;
    TAILQ_ENTRY(model_node) told;
    uint64_t assignment_revision; /* 0: nothing was published yet */
    uint64_t assigned_trust;      /* the trust revision it names */
    bool prefetch_changed;        /* what its instances are to become is other than published */
    uint64_t orphans_revision;    /* of the assignment, when they last changed there; 0: is to be */
    struct model_removed removed[REMOVED_KEPT]; /* the latest, round and round */
    size_t removed_count;
    bool forgot_removed;   /* one that was not published yet */
    uint64_t whole_before; /* who has an older revision gets the whole */
    uint64_t told_ms;      /* when who waits was last answered */
    LIST_HEAD(model_waiters, model_waiter) waiters;
};

/* A node that was removed a while ago. */
struct model_removed_node {
    const char *name;
    struct document_removed_node *document;
    uint64_t since_ms; /* that this process knows of it */
};

struct model_key {
    const char *name;
    struct api_key *document;
};

struct model_policy {
    const char *name;
    struct api_policy *document;
};

struct model {
    struct document_counters counters;
    struct sorted services, nodes, keys, policies, instances;
    struct sorted draining_nodes; /* those of `nodes` that drain */
    struct sorted removed_nodes;
    uint64_t removed_revision; /* the highest of an assignment of theirs */
    bool has_homeless;         /* instances of theirs may not have been replaced yet */
    /* Each node is on one of these, unless it is lost. */
    struct model_node_list heard;    /* ready, the one whose lease ends first in front */
    struct model_node_list suspects; /* the one that is silent longest in front */
    struct model_node_list returned; /* were silent and are ready: nobody was told yet */
    bool node_states_changed;        /* since they were counted */
    uint32_t ready_nodes;            /* when they were counted */
    uint32_t suspect_nodes;          /* likewise; both only of those that are eligible */
    bool frozen;                     /* most are suspect: nothing is replaced */
    struct rescheduling rescheduling;
    struct confirmation confirmation;
    TAILQ_HEAD(, model_service) touched_services;
    struct model_service **waiting; /* a heap by next_ms */
    size_t waiting_count, waiting_capacity;
    TAILQ_HEAD(, model_node) touched_nodes;
    TAILQ_HEAD(, model_node) told_nodes; /* in order of their time */
    size_t resting_nodes;
    uint64_t editions;            /* of services, that were given out */
    uint64_t placed_ms;           /* when an instance was last new */
    struct model_instance **gone; /* removed, and still in `instances` */
    size_t gone_count;
    struct placement_index places;
    LIST_HEAD(, model_node) changed_places; /* whose entry in the index is not what they are */
    size_t draining;                        /* instances, by their wish */
    bool has_strays;                        /* records of instances whose service is gone */
    bool endpoints_dirty;
    bool trust_dirty; /* keys or policies changed */
    /* Told of every event that was committed; may be NULL. */
    void (*on_event)(const struct api_event *event, void *data);
    void *data;
};

void model_init(struct model *model);
void model_finish(struct model *model);

/* --- model_queue.c: what is to be looked at --- */
/* It changed: the controller is to look at it. */
void model_touch_service(struct model_service *service);
void model_touch_all_services(struct model *model);
/* It is to be looked at in its `next_ms`, which only this and model_take_service may change while
 * it waits; UINT64_MAX: never. */
void model_wait_for_service(struct model_service *service);
/* Touches those whose time has come; when the next one's comes. */
uint64_t model_wake_services(struct model *model, uint64_t now_ms);
/* The first that was touched, touched and waiting no more; NULL: none. */
struct model_service *model_take_service(struct model *model);
void model_leave_queues(struct model_service *service);
/* What its instances are in the endpoints may have changed. */
void model_touch_endpoints(const struct model_service *service);
/* Its assignment may have changed. */
void model_touch_node(struct model_node *node);
void model_touch_all_nodes(struct model *model);
/* It is touched no more. */
void model_leave_touched(struct model_node *node);
/* Who waits there was told all that there is. */
void model_note_told(struct model_node *node, uint64_t now_ms);
/* The first that was touched and was told nothing for `rest_ms`; NULL: none. */
struct model_node *model_next_touched(struct model *model, uint64_t now_ms, uint64_t rest_ms);
/* When the next of those that were touched has rested for `rest_ms`, or an earlier time;
 * UINT64_MAX: none rests. */
uint64_t model_rest_ends(const struct model *model, uint64_t rest_ms);
/* What its node is told of it changed. */
void model_touch_assignment(struct model_instance *instance);
/* What its instances are to become changed: their nodes may fetch that now. */
void model_touch_prefetch(const struct model_service *service);
/* The node is to be told that the id is over. */
void model_note_removed(struct model_node *node, const char *id);

/* Takes `document`. `now_ms` is monotonic. With `removed` the document only says which one. */
void model_apply(struct model *model, enum document_kind kind, void *document, bool removed,
                 uint64_t now_ms);
/* After what was applied together: instances whose records were removed are really gone only then,
 * when there are many. */
void model_settle(struct model *model);

/* NULL: there is none. */
struct model_service *model_service(const struct model *model, const char *namespace_name,
                                    const char *service);
/* The same, for who asks by name: ERROR_NOT_FOUND. */
struct model_service *model_find_service(const struct model *model, const char *namespace_name,
                                         const char *service, struct error *error);
/* Also one that is no more and whose volumes are left. */
struct model_service *model_service_record(const struct model *model, const char *namespace_name,
                                           const char *service);
struct model_instance *model_instance(const struct model *model, const char *id);
/* One that is there; NULL: none is. */
struct model_instance *model_node_instance(const struct model_node *node, const char *id);
struct model_node *model_node(const struct model *model, const char *name);
/* All of them as one list, lent: the caller frees only the list, before the model changes. */
struct api_policy *model_policies(const struct model *model, size_t *ret_count);
/* NULL when there is none of that number. */
const struct document_revision *model_revision(const struct model_service *service,
                                               uint32_t number);
/* NULL: the slot has none yet. */
const struct document_volume *model_volume(const struct model_service *service, uint32_t slot);
/* The node that has the volumes of the slot; NULL: none has, or it is gone for good. */
const char *model_volume_node(const struct model_service *service, uint32_t slot);
/* Slots that are wanted and have their volumes on the node: they can be nowhere else. */
uint32_t model_node_volume_slots(const struct model_node *node);
/* NULL when there is none of that number. */
struct document_run *model_run(const struct model_service *service, uint32_t number);
bool model_is_job(const struct model_service *service);
/* The newest, running or over; NULL before the first. */
const struct document_rollout *model_rollout(const struct model_service *service);
/* The revision a service is to have, by its last rollout; 0: none yet. */
uint32_t model_target(const struct model_service *service);
/* Whether revision `number` has the template of `other`; false when `other` is NULL. */
bool model_same_template(const struct model_service *service, uint32_t number,
                         const struct document_revision *other);
/* How many canaries of the last rollout are to be judged beside what worked last; 0: none, or
 * they were promoted, or what worked last may not run any more. */
uint32_t model_canaries(const struct model_service *service);
/* What is wanted, or what worked last, has volumes: a slot's instance ends before the next one
 * starts. */
bool model_is_stop_first(const struct model_service *service);
/* The last number of an address: its place in the node's subnet. */
size_t model_address_place(const char *address);

/* --- model_instance.c --- */
bool model_instance_has_ended(const struct model_instance *instance);
/* Not over, and of a node that is gone or lost; those that are to run one after the other, as their
 * turn comes.
 */
bool model_instance_is_lost(const struct model_instance *instance);
/* Over, or of a node that was removed: nobody will report its end. */
bool model_instance_is_gone(const struct model_instance *instance);
/* As people and endpoints see it: unknown while its node is silent. */
enum instance_state model_instance_state(const struct model_instance *instance);
bool model_instance_is_ready(const struct model_instance *instance);
/* Paused, and can be resumed: nothing speaks against its node. */
bool model_instance_is_standby(const struct model_instance *instance);

/* --- model_nodes.c --- */
enum node_state model_node_state(const struct model_node *node);
/* Into any state; `ready` when it is ready already renews its lease. */
void model_move_node(struct model *model, struct model_node *node, enum node_state state,
                     uint64_t now_ms);
/* It was heard of: its lease is renewed, and if it was silent it is ready again. */
void model_hear_node(struct model *model, struct model_node *node, uint64_t now_ms);
/* A suspect is to be lost before all others; what a lost one ran goes first. */
void model_give_up_node(struct model *model, struct model_node *node);
/* Its instances stand in line to be replaced. */
void model_queue_instances(struct model_node *node);
/* Services of the instances there: something about the node changed. */
void model_mark_services_of(struct model_node *node);
/* Services with instances that drain: more may be confirmed. */
void model_touch_draining(struct model *model);
/* Services that wait for room: some may have appeared. */
void model_mark_waiting(struct model *model);
/* Instances there whose guests may still be: what a drain waits for. */
uint32_t model_node_leaving(const struct model_node *node);
/* NULL when there is none of that name, or its time is over. */
struct model_removed_node *model_removed_node(const struct model *model, const char *name);
/* For model.c. */
void model_apply_node(struct model *model, struct document_node *document, bool removed,
                      uint64_t now_ms);
void model_apply_removed_node(struct model *model, struct document_removed_node *document,
                              bool removed, uint64_t now_ms);
void model_free_node(struct model_node *node);
void model_free_removed_nodes(struct model *model);

/* --- model_trust.c, for model.c --- */
void model_apply_key(struct model *model, struct api_key *document, bool removed);
void model_apply_policy(struct model *model, struct api_policy *document, bool removed);
void model_free_trust(struct model *model);
