/* A host of a simulated world: an agent that follows the agents' protocol (its rules are the
 * agent's own: freshness.c, endpoints.c, instance.c, restart_policy.c, status_changes.c), the
 * guests that outlive it, and the data plane that outlives it too and opens connections. */
#pragma once

#include <sys/queue.h>

#include "agent/endpoints.h"
#include "agent/freshness.h"
#include "agent/status_changes.h"
#include "tests/fake/hypervisor_fake.h"
#include "tests/sim/guest.h"
#include "tests/sim/wire.h"
#include "tests/sim/world.h"

#define NODE_OVERHEAD (UINT64_C(16) << 20)

/* One document that the agent keeps up to date by long polls. */
struct node_document {
    struct node *node;
    enum publication_kind kind;
    struct freshness applied; /* survives the agent */
    bool whole;
    uint64_t after;
    uint64_t backoff_ms;
    struct call *call;
    struct world_event *wait;
};

struct plane_drain {
    char id[INSTANCE_ID_MAX];
    bool known; /* its connections were counted */
    uint32_t connections;
};

struct node {
    struct world *world;
    char name[16];
    uint64_t memory;
    bool has_standbys; /* its agent keeps some */
    bool has_volumes;  /* as a feature */
    bool powered;
    bool agent_runs;
    bool cut; /* off the scheduler */
    /* What is on its disk. */
    char cluster[CLUSTER_ID_MAX];
    char subnet[24];
    struct api_endpoints wanted;
    struct hypervisor_fake *machines; /* microVMs: they outlive the agent */
    LIST_HEAD(, guest) guests;
    /* The agent's process. */
    struct hypervisor *hypervisor; /* on `machines` */
    char epoch[17];
    uint64_t sequence;
    bool joined;
    bool changed;
    uint64_t join_backoff_ms;
    uint64_t last_status_ms;
    bool takes_changes;     /* as the scheduler said when it joined */
    struct api_status sent; /* as a whole, while it is under way */
    struct api_status base; /* the last that the scheduler took */
    struct call *join_call, *status_call;
    struct world_event *join_wait, *status_wait, *apply_wait, *count_wait;
    uint64_t status_at_ms;
    struct node_document assignment, endpoints;
    uint64_t confirmed_term, confirmed_revision;
    struct plane_drain *drains;
    size_t drain_count;
    /* The data plane: what it really has. */
    struct api_endpoints active;
    struct world_event *traffic;
    LIST_HEAD(, connection) connections;
};

struct node *node_create(struct world *world, size_t index);
void node_destroy(struct node *node);
struct world *node_world(const struct node *node);
const char *node_name(const struct node *node);
bool node_is_cut(const struct node *node);
void node_set_cut(struct node *node, bool cut);
/* Off takes agent, guests and data plane with it. On starts the agent. */
void node_set_power(struct node *node, bool powered);
void node_kill_agent(struct node *node);
void node_start_agent(struct node *node);
/* Something that a status shows is different now. */
void node_changed(struct node *node);
/* --- the truth about its data plane, for the checks --- */
/* Whether it sends new connections to the instance. */
bool node_sends_to(const struct node *node, const char *id);
/* Whether it has it, for the connections that are open. */
bool node_drains(const struct node *node, const char *id);
size_t node_open_connections(const struct node *node, const char *id);
