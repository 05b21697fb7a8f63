#include "scheduler/agents.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/capacity.h"
#include "scheduler/controller.h"
#include "scheduler/observation.h"
#include "scheduler/publication.h"
#include "scheduler/subnets.h"

#define AGE_MAX_MS (UINT64_C(100) * 365 * 24 * 3600 * 1000)

static void refuse(struct http_request *request, enum error_code code, const char *message)
{
    struct error error;
    error_set(&error, code, "%s", message);
    http_request_respond_error(request, &error);
}

static int decode(struct http_request *request, const struct json_record *record, void *ret_value,
                  const char *(*node_of)(const void *value))
{
    struct error error = ERROR_INIT;
    size_t length;
    const char *body = http_request_body(request, &length);
    if (json_parse_record(record, body, length, JSON_LENIENT, ret_value, &error) < 0) {
        http_request_respond_error(request, &error);
        return -1;
    }
    if (strcmp(node_of(ret_value), http_request_parameter(request, "node")) != 0) {
        json_record_release(record, ret_value);
        refuse(request, ERROR_INVALID, "the body names another node than the path");
        return -1;
    }
    return 0;
}

static void respond(struct http_request *request, const struct json_record *record,
                    const void *value)
{
    AUTO_FREE char *text = json_record_text(record, value);
    http_request_respond(request, 200, "application/json", text, strlen(text));
}

/* --- join --- */

struct joining {
    struct core *core;
    struct api_join join;
    char subnet[24];
    agents_joined *joined;
    void *data;
};

static const char *node_of_join(const void *value)
{
    return ((const struct api_join *)value)->node;
}

/* Moves the lists of the join into the document. */
static void fill_node(struct document_node *node, struct api_join *join)
{
    text_copy(node->name, sizeof node->name, join->node);
    text_copy(node->epoch, sizeof node->epoch, join->epoch);
    text_copy(node->address, sizeof node->address, join->address);
    node->machines = TAKE_POINTER(join->machines);
    node->machine_count = join->machine_count;
    join->machine_count = 0;
    text_copy(node->hypervisor, sizeof node->hypervisor, join->hypervisor);
    text_copy(node->hypervisor_uri, sizeof node->hypervisor_uri, join->hypervisor_uri);
    node->memory = join->memory;
    node->vcpus = join->vcpus;
    node->overhead = join->overhead;
    node->volumes = join->volumes;
    node->labels = join->labels;
    join->labels = (struct json_map){0};
    node->features = join->features;
    join->features = (struct json_strings){0};
}

/* What was decided about the node is not the agent's to change. */
static void keep_decisions(const struct document_node *known, struct document_node *node)
{
    node->joined_ms = known->joined_ms;
    node->eligibility = known->eligibility;
    memcpy(node->eligibility_reason, known->eligibility_reason, sizeof node->eligibility_reason);
    node->drain_deadline_ms = known->drain_deadline_ms;
    node->lost = known->lost;
}

/* What runs there goes on: only people can say what is to go. */
static void tell_over_committed(struct core *core, struct change *change,
                                const struct model_node *known, const struct document_node *node)
{
    uint64_t memory;
    uint32_t vcpus, instances;
    char promised[TEXT_SIZE_MAX], has[TEXT_SIZE_MAX];
    capacity_used(known, &memory, &vcpus, &instances);
    if (memory <= node->memory && vcpus <= node->vcpus)
        return;
    text_format_size(memory >> 20 << 20, promised, sizeof promised);
    text_format_size(node->memory >> 20 << 20, has, sizeof has);
    changes_event(core->changes, change, "node", "", node->name, NULL, "over_committed",
                  "less_capacity",
                  "%u instances were promised %s and %u vcpus, it has %s and %u now: they stay, "
                  "nothing new goes there",
                  instances, promised, vcpus, has, node->vcpus);
}

static int decide_join(struct change *change, void *data, struct error *error)
{
    struct joining *joining = data;
    struct core *core = joining->core;
    const struct model_node *known = model_node(&core->model, joining->join.node);
    const struct model_removed_node *removed = model_removed_node(&core->model, joining->join.node);
    if (removed != NULL && strcmp(removed->document->epoch, joining->join.epoch) == 0)
        return error_set(error, ERROR_DENIED,
                         "node %s was removed from the cluster: start its agent anew to let it "
                         "join again, or stop it with `shoal-agent --clean`",
                         joining->join.node);
    const char *claimed = joining->join.cluster[0] != '\0' ? joining->join.subnet : "";
    if (subnets_lease(&core->model, change, core->options->network, joining->join.node, claimed,
                      joining->subnet, sizeof joining->subnet, error) < 0)
        return -1;
    struct document_node *node = document_create(DOCUMENT_NODE);
    fill_node(node, &joining->join);
    text_copy(node->subnet, sizeof node->subnet, joining->subnet);
    node->joined_ms = core_wall(core);
    if (known != NULL)
        keep_decisions(known->document, node);
    change_put(change, DOCUMENT_NODE, node);
    if (removed != NULL)
        change_remove(change, DOCUMENT_REMOVED_NODE, removed->document);
    changes_event(core->changes, change, "node", "", node->name, NULL,
                  known != NULL ? "rejoined" : "joined", NULL, "subnet %s, agent at %s",
                  node->subnet, node->address);
    if (known != NULL)
        tell_over_committed(core, change, known, node);
    return 0;
}

static void on_joined(const struct error *error, void *data)
{
    struct joining *joining = data;
    struct core *core = joining->core;
    struct model_node *node = model_node(&core->model, joining->join.node);
    /* A silent one is back when it has said how its instances do. */
    if (error == NULL && node != NULL && !node->silent)
        model_hear_node(&core->model, node, core_now(core));
    struct api_join_answer answer = {.term = store_identity(core->store)->term,
                                     .heartbeat_ms = core_heartbeat_ms(core),
                                     .lease_ms = core->options->lease_ms,
                                     .takes_changes = true};
    text_copy(answer.cluster, sizeof answer.cluster, store_identity(core->store)->cluster);
    text_copy(answer.subnet, sizeof answer.subnet, joining->subnet);
    joining->joined(error, error == NULL ? &answer : NULL, joining->data);
    json_record_release(&api_join_record, &joining->join);
    free(joining);
}

void agents_join(struct core *core, struct api_join *join, agents_joined *joined, void *data)
{
    const char *cluster = store_identity(core->store)->cluster;
    if (join->cluster[0] != '\0' && strcmp(join->cluster, cluster) != 0) {
        struct error error = ERROR_INIT;
        error_set(&error, ERROR_CONFLICT,
                  "node %s belongs to cluster %s, this is %s: let it join its own, or remove its "
                  "state to give it to this one",
                  join->node, join->cluster, cluster);
        joined(&error, NULL, data);
        json_record_release(&api_join_record, join);
        return;
    }
    struct joining *joining = xcalloc(1, sizeof *joining);
    *joining = (struct joining){.core = core, .join = *join, .joined = joined, .data = data};
    *join = (struct api_join){0};
    changes_decide_together(core->changes, decide_join, on_joined, joining);
}

/* A request to join; the agent may go away while it is written. */
struct join_request {
    struct http_request *request; /* NULL once the agent is gone */
};

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct join_request *)data)->request = NULL;
}

static void answer_join(const struct error *error, const struct api_join_answer *answer, void *data)
{
    struct join_request *waiting = data;
    if (waiting->request != NULL && answer == NULL)
        http_request_respond_error(waiting->request, error);
    else if (waiting->request != NULL)
        http_request_respond_json(waiting->request, 200,
                                  json_encode(&api_join_answer_record, answer));
    free(waiting);
}

void agents_handle_join(struct http_request *request, void *data)
{
    struct api_join join = {0};
    if (decode(request, &api_join_record, &join, node_of_join) < 0)
        return;
    struct join_request *waiting = xcalloc(1, sizeof *waiting);
    waiting->request = request;
    http_request_on_abandoned(request, on_abandoned, waiting);
    agents_join(data, &join, answer_join, waiting);
}

/* --- status --- */

static const char *node_of_status(const void *value)
{
    return ((const struct api_status *)value)->node;
}

/* What no agent can have seen. */
static int check_instances(const struct api_status *status, struct error *error)
{
    for (size_t i = 0; i < status->instance_count; i++) {
        const struct api_observed_instance *seen = &status->instances[i];
        if (seen->state == INSTANCE_UNKNOWN)
            return error_set(error, ERROR_INVALID,
                             "instance %s: an agent knows the state of what it runs", seen->id);
        if (seen->state_age_ms > AGE_MAX_MS || seen->uptime_ms > AGE_MAX_MS ||
            seen->boot_ms > AGE_MAX_MS)
            return error_set(error, ERROR_INVALID,
                             "instance %s: nothing is older than a hundred years", seen->id);
    }
    return 0;
}

static int check_status(const struct core *core, const struct model_node *node,
                        const struct api_status *status, struct error *error)
{
    const char *cluster = store_identity(core->store)->cluster;
    if (strcmp(status->cluster, cluster) != 0)
        return error_set(error, ERROR_CONFLICT, "node %s is of cluster %s, this is cluster %s",
                         status->node, status->cluster, cluster);
    if (status->instance_count > STATUS_ENTRIES_MAX ||
        status->frontend_count > STATUS_ENTRIES_MAX || status->draining_count > STATUS_ENTRIES_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "a status has at most %d instances, frontends and draining servers",
                         STATUS_ENTRIES_MAX);
    if (check_instances(status, error) < 0)
        return -1;
    if (node == NULL)
        return error_set(error, ERROR_NOT_FOUND, "node %s has not joined", status->node);
    if (strcmp(status->epoch, node->document->epoch) != 0)
        return error_set(error, ERROR_STALE, "node %s has joined anew since: join again",
                         status->node);
    if (status->base >= status->sequence)
        return error_set_at(error, ERROR_INVALID, "/base",
                            "a status changes one before it: its base is below its sequence, %llu",
                            (unsigned long long)status->sequence);
    if (status->sequence < node->sequence)
        return error_set(error, ERROR_STALE, "status %llu of node %s is older than %llu",
                         (unsigned long long)status->sequence, status->node,
                         (unsigned long long)node->sequence);
    return 0;
}

int agents_take_status(struct core *core, struct api_status *status,
                       struct api_status_answer *ret_answer, struct error *error)
{
    struct model_node *node = model_node(&core->model, status->node);
    if (check_status(core, node, status, error) < 0)
        return -1;
    *ret_answer = (struct api_status_answer){.heartbeat_ms = core_heartbeat_ms(core)};
    /* The same one again is its repetition after a lost answer. */
    if (status->sequence == node->sequence && node->reported)
        return 0;
    if (observation_knows_base(node, status)) {
        observation_take(core, node, status);
        return 0;
    }
    ret_answer->whole = true;
    if (!node->silent)
        model_hear_node(&core->model, node, core_now(core));
    return 0;
}

void agents_handle_status(struct http_request *request, void *data)
{
    struct api_status status = {0};
    struct error error = ERROR_INIT;
    if (decode(request, &api_status_record, &status, node_of_status) < 0)
        return;
    struct api_status_answer answer;
    if (agents_take_status(data, &status, &answer, &error) < 0)
        http_request_respond_error(request, &error);
    else
        respond(request, &api_status_answer_record, &answer);
    json_record_release(&api_status_record, &status);
}

/* --- polls --- */

static void handle_poll(struct http_request *request, struct core *core, enum publication_kind kind)
{
    struct model_node *node = model_node(&core->model, http_request_parameter(request, "node"));
    if (node == NULL)
        refuse(request, ERROR_NOT_FOUND, "this node has not joined");
    else
        publication_poll_request(core, request, node, kind);
}

void agents_handle_assignment(struct http_request *request, void *data)
{
    handle_poll(request, data, PUBLICATION_ASSIGNMENT);
}

void agents_handle_endpoints(struct http_request *request, void *data)
{
    handle_poll(request, data, PUBLICATION_ENDPOINTS);
}

void agents_handle_trust(struct http_request *request, void *data)
{
    handle_poll(request, data, PUBLICATION_TRUST);
}
