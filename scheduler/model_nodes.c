/* Nodes in the model: their states and the lists that are in order of time, their documents. */
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "scheduler/model.h"
#include "scheduler/subnets.h"

/* Above every priority: what somebody gave up is replaced even while rescheduling is frozen. */
#define GIVEN_UP_FIRST 1000

/* --- states --- */

enum node_state model_node_state(const struct model_node *node)
{
    if (node->lost)
        return NODE_LOST;
    return node->silent ? NODE_SUSPECT : NODE_READY;
}

void model_move_node(struct model *model, struct model_node *node, enum node_state state,
                     uint64_t now_ms)
{
    enum node_state before = model_node_state(node);
    if (before != NODE_LOST)
        TAILQ_REMOVE(before == NODE_READY ? &model->heard : &model->suspects, node, lease_link);
    node->silent = state != NODE_READY;
    node->lost = state == NODE_LOST;
    if (state == NODE_READY) {
        node->heard_ms = now_ms;
        TAILQ_INSERT_TAIL(&model->heard, node, lease_link);
    } else if (state == NODE_SUSPECT) {
        node->silent_since_ms = now_ms;
        TAILQ_INSERT_TAIL(&model->suspects, node, lease_link);
    }
    if (state == before)
        return;
    usage_touch(node, false);
    if (before == NODE_READY)
        confirmation_forget(node);
    else if (state == NODE_READY)
        confirmation_add(node);
    model->node_states_changed = true;
    model->endpoints_dirty = true;
    model_mark_services_of(node);
}

/* What was replaced meanwhile, or was draining, leaves the load balancers of all nodes first. */
static void resume_instances(struct model_node *node)
{
    for (size_t i = 0; i < node->instances.count; i++) {
        struct model_instance *instance = node->instances.items[i];
        instance->released = false;
        if (instance->document->wish == WISH_DRAIN)
            instance->drain_since_ms = 0;
    }
}

void model_hear_node(struct model *model, struct model_node *node, uint64_t now_ms)
{
    bool was_silent = node->silent;
    if (node->lost)
        resume_instances(node);
    model_move_node(model, node, NODE_READY, now_ms);
    node->given_up = false;
    if ((!was_silent && !node->document->lost) || node->is_back)
        return;
    node->is_back = true;
    TAILQ_INSERT_TAIL(&model->returned, node, returned_link);
}

static uint32_t priority_of(const struct model_instance *instance)
{
    const struct model_service *service = instance->service;
    uint32_t priority = service != NULL && service->document != NULL
                            ? service->document->spec.priority
                            : API_PRIORITY;
    return instance->node->given_up ? priority + GIVEN_UP_FIRST : priority;
}

void model_queue_instances(struct model_node *node)
{
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        if (!model_instance_has_ended(instance) && !instance->released &&
            instance->document->wish == WISH_RUN)
            rescheduling_add(&node->model->rescheduling, instance->name, priority_of(instance));
    }
}

void model_give_up_node(struct model *model, struct model_node *node)
{
    enum node_state state = model_node_state(node);
    if (state == NODE_READY || node->given_up)
        return;
    node->given_up = true;
    model->node_states_changed = true;
    if (state == NODE_SUSPECT) {
        TAILQ_REMOVE(&model->suspects, node, lease_link);
        TAILQ_INSERT_HEAD(&model->suspects, node, lease_link);
    } else {
        model_queue_instances(node); /* in front of where they stand */
    }
}

void model_mark_services_of(struct model_node *node)
{
    for (size_t i = 0; i < node->instances.count; i++) {
        struct model_instance *instance = node->instances.items[i];
        if (instance->service != NULL && !model_instance_has_ended(instance))
            model_touch_service(instance->service);
    }
}

void model_touch_draining(struct model *model)
{
    for (size_t i = 0; i < model->services.count && model->draining > 0; i++) {
        struct model_service *service = model->services.items[i];
        if (service->draining > 0)
            model_touch_service(service);
    }
}

void model_mark_waiting(struct model *model)
{
    for (size_t i = 0; i < model->services.count; i++) {
        struct model_service *service = model->services.items[i];
        bool moves = service->document != NULL && service->document->spec.placement.rebalance;
        if (service->no_capacity != NULL || moves)
            model_touch_service(service);
    }
}

uint32_t model_node_leaving(const struct model_node *node)
{
    uint32_t count = 0;
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        bool given_up = node->lost && instance->document->wish == WISH_STOP;
        count += !model_instance_has_ended(instance) && !given_up &&
                 !instance_state_is_over(instance->observed.state);
    }
    return count;
}

/* --- making and unmaking --- */

void model_free_node(struct model_node *node)
{
    usage_forget_node(node);
    sorted_finish(&node->instances);
    document_free(DOCUMENT_NODE, node->document);
    free(node->draining);
    free(node->frontends);
    for (struct model_waiter *waiter; (waiter = LIST_FIRST(&node->waiters)) != NULL;) {
        LIST_REMOVE(waiter, link);
        waiter->node = NULL;
    }
    model_leave_touched(node);
    if (node->is_told)
        TAILQ_REMOVE(&node->model->told_nodes, node, told);
    json_strings_release(&node->orphans);
    json_strings_release(&node->strangers);
    free(node);
}

/* A node that was removed comes again before all that it ran was replaced: the rest is there. */
static void take_home(struct model *model, struct model_node *node)
{
    for (size_t i = 0; model->has_homeless && i < model->instances.count; i++) {
        struct model_instance *instance = model->instances.items[i];
        if (instance->node != NULL || model_instance_has_ended(instance) ||
            strcmp(instance->document->node, node->name) != 0)
            continue;
        instance->node = node;
        sorted_insert(&node->instances, instance);
        usage_follow(instance);
        model_touch_assignment(instance);
    }
}

static struct model_node *add_node(struct model *model, const char *name, uint64_t now_ms)
{
    struct model_node *node = xcalloc(1, sizeof *node);
    node->name = name;
    node->model = model;
    LIST_INIT(&node->waiters);
    model_touch_node(node);
    node->heard_ms = now_ms;
    TAILQ_INSERT_TAIL(&model->heard, node, lease_link);
    sorted_insert(&model->nodes, node);
    confirmation_add(node);
    /* What its guests were given before it was removed may still be theirs. */
    for (size_t i = 0; model_removed_node(model, name) != NULL && i < SUBNET_ADDRESSES; i++)
        node->freed_ms[i] = now_ms;
    take_home(model, node);
    usage_count_volumes(node);
    return node;
}

/* Its instances stay, to be replaced. */
static void remove_node(struct model *model, struct model_node *node)
{
    enum node_state state = model_node_state(node);
    model_mark_services_of(node);
    if (state == NODE_READY)
        confirmation_forget(node);
    for (size_t i = 0; i < node->instances.count; i++) {
        struct model_instance *instance = node->instances.items[i];
        usage_release(instance);
        instance->node = NULL;
        model->has_homeless = true;
    }
    if (state != NODE_LOST)
        TAILQ_REMOVE(state == NODE_READY ? &model->heard : &model->suspects, node, lease_link);
    if (node->is_back)
        TAILQ_REMOVE(&model->returned, node, returned_link);
    sorted_remove(&model->draining_nodes, node);
    sorted_remove(&model->nodes, node);
    model->node_states_changed = true;
    model->endpoints_dirty = true;
    if (node->assignment_revision > model->removed_revision)
        model->removed_revision = node->assignment_revision;
    model_free_node(node);
}

/* --- documents --- */

/* `before` is NULL for a new one. */
static void note_eligibility(struct model *model, struct model_node *node,
                             const struct document_node *before, uint64_t now_ms)
{
    const struct document_node *document = node->document;
    bool drained = before != NULL && before->eligibility == NODE_DRAINING;
    bool drains = document->eligibility == NODE_DRAINING;
    if (drains && (!drained || before->drain_deadline_ms != document->drain_deadline_ms))
        node->drain_since_ms = now_ms;
    if (drains && !drained)
        sorted_insert(&model->draining_nodes, node);
    if (before == NULL || before->eligibility != document->eligibility)
        model_mark_services_of(node);
    model_mark_waiting(model);
}

void model_apply_node(struct model *model, struct document_node *document, bool removed,
                      uint64_t now_ms)
{
    struct model_node *node = model_node(model, document->name);
    if (removed) {
        if (node != NULL)
            remove_node(model, node);
        document_free(DOCUMENT_NODE, document);
        return;
    }
    struct document_node *before = NULL;
    if (node == NULL) {
        node = add_node(model, document->name, now_ms);
    } else {
        before = node->document;
        if (strcmp(before->epoch, document->epoch) != 0)
            node->sequence = 0;
        if (before->eligibility == NODE_DRAINING && document->eligibility != NODE_DRAINING)
            sorted_remove(&model->draining_nodes, node);
        node->name = document->name;
    }
    node->document = document;
    node->subnet = subnets_number(document->subnet);
    usage_touch(node, true);
    model->node_states_changed = true;
    note_eligibility(model, node, before, now_ms);
    document_free(DOCUMENT_NODE, before);
}

struct model_removed_node *model_removed_node(const struct model *model, const char *name)
{
    return sorted_find(&model->removed_nodes, name);
}

static void free_removed_node(struct model_removed_node *removed)
{
    document_free(DOCUMENT_REMOVED_NODE, removed->document);
    free(removed);
}

void model_free_removed_nodes(struct model *model)
{
    for (size_t i = 0; i < model->removed_nodes.count; i++)
        free_removed_node(model->removed_nodes.items[i]);
    sorted_finish(&model->removed_nodes);
}

void model_apply_removed_node(struct model *model, struct document_removed_node *document,
                              bool removed, uint64_t now_ms)
{
    struct model_removed_node *known = model_removed_node(model, document->name);
    if (known != NULL) {
        sorted_remove(&model->removed_nodes, known);
        free_removed_node(known);
    }
    if (removed) {
        document_free(DOCUMENT_REMOVED_NODE, document);
        return;
    }
    known = xcalloc(1, sizeof *known);
    *known = (struct model_removed_node){document->name, document, now_ms};
    sorted_insert(&model->removed_nodes, known);
}
