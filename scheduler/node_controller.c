/* Nodes over time: leases that pass, drains that end or run out of time. */
#include <stdio.h>

#include "scheduler/controller.h"

/* Writes that one node, or one instance that is to stop, may take. */
#define ROOM_NEEDED          12
#define CAUSE_DRAIN_DEADLINE "drain_deadline"

static void look_again(struct controller_pass *pass, uint64_t at_ms)
{
    if (at_ms > pass->now_ms && at_ms < pass->next_ms)
        pass->next_ms = at_ms;
}

static void node_event(struct controller_pass *pass, const struct model_node *node,
                       const char *what, const char *cause, const char *message)
{
    changes_event(pass->core->changes, pass->change, "node", "", node->name, NULL, what, cause,
                  "%s", message);
}

/* --- leases --- */

static void look_at_lease(struct controller_pass *pass, struct model_node *node)
{
    const struct scheduler_options *options = pass->core->options;
    uint64_t lease_end = node->heard_ms + options->lease_ms;
    if (node->silent) {
        uint64_t lost = node->silent_since_ms + options->replace_after_ms;
        look_again(pass, lost);
        if (pass->now_ms >= lost && !node->lost) {
            node->lost = true;
            model_mark_services_of(node);
        }
        return;
    }
    if (pass->now_ms < lease_end) {
        look_again(pass, lease_end);
        return;
    }
    node->silent = true;
    node->silent_since_ms = pass->now_ms;
    model_mark_services_of(node);
    pass->next_ms = pass->now_ms + 1;
    changes_event(pass->core->changes, pass->change, "node", "", node->name, NULL, "silent", NULL,
                  "no status for %llu ms: its instances are unknown, and replaced elsewhere after "
                  "%llu ms more",
                  (unsigned long long)(pass->now_ms - node->heard_ms),
                  (unsigned long long)options->replace_after_ms);
}

/* --- drains --- */

static void stop_left(struct controller_pass *pass, const struct model_instance *instance)
{
    struct document_instance *document =
        change_edit(pass->change, DOCUMENT_INSTANCE, instance->document);
    document->wish = WISH_STOP;
    document_set_text(&document->why, "its node is drained, and the time for that is over");
    document_set_text(&document->cause, CAUSE_DRAIN_DEADLINE);
    changes_event(pass->core->changes, pass->change, "instance", document->namespace_name,
                  document->service, document->id, "stopping", CAUSE_DRAIN_DEADLINE,
                  "node %s is drained, and the time for that is over", document->node);
}

/* False when the change has no room left for all of them. */
static bool stop_all_left(struct controller_pass *pass, const struct model_node *node)
{
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        if (model_instance_has_ended(instance) || instance->document->wish == WISH_STOP ||
            instance_state_is_over(instance->observed.state))
            continue;
        change_may_split(pass->change);
        if (!change_has_room(pass->change, ROOM_NEEDED))
            return false;
        stop_left(pass, instance);
    }
    return true;
}

static void end_drain(struct controller_pass *pass, const struct model_node *node)
{
    struct document_node *document = change_edit(pass->change, DOCUMENT_NODE, node->document);
    document->eligibility = NODE_CORDONED;
    document->drain_deadline_ms = 0;
    node_event(pass, node, "drained", NULL,
               "nothing runs there any more; it stays cordoned until `shoal node uncordon`");
}

static bool look_at_drain(struct controller_pass *pass, const struct model_node *node)
{
    uint64_t deadline_ms = node->document->drain_deadline_ms;
    change_may_split(pass->change);
    if (!change_has_room(pass->change, ROOM_NEEDED))
        return false;
    if (model_node_leaving(node) == 0) {
        /* What it runs is not known before it has said so, or is given up. */
        if (node->reported || node->lost)
            end_drain(pass, node);
        return true;
    }
    if (deadline_ms == 0)
        return true;
    look_again(pass, node->drain_since_ms + deadline_ms);
    return pass->now_ms < node->drain_since_ms + deadline_ms || stop_all_left(pass, node);
}

bool controller_look_at_nodes(struct controller_pass *pass)
{
    struct model *model = &pass->core->model;
    bool complete = true;
    for (size_t i = 0; i < model->nodes.count && complete; i++) {
        change_may_split(pass->change);
        complete = change_has_room(pass->change, ROOM_NEEDED);
        if (complete)
            look_at_lease(pass, model->nodes.items[i]);
    }
    for (size_t i = 0; i < model->draining_nodes.count && complete; i++)
        complete = look_at_drain(pass, model->draining_nodes.items[i]);
    return complete;
}
