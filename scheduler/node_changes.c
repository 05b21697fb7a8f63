#include "scheduler/node_changes.h"

#include <stdio.h>
#include <string.h>

#include "lib/text.h"
#include "scheduler/controller.h"

static struct model_node *find(const struct core *core, const char *name, struct error *error)
{
    struct model_node *node = model_node(&core->model, name);
    if (node == NULL)
        error_set(error, ERROR_NOT_FOUND, "there is no node %s: `shoal node list` shows them",
                  name);
    return node;
}

static const char *event_of(enum node_eligibility eligibility)
{
    return eligibility == NODE_ELIGIBLE ? "uncordoned" : node_eligibility_names[eligibility];
}

static const char *meaning_of(enum node_eligibility eligibility)
{
    switch (eligibility) {
    case NODE_ELIGIBLE:
        return "instances may be placed there";
    case NODE_CORDONED:
        return "nothing is placed there any more, what runs there goes on";
    case NODE_DRAINING:
        break;
    }
    return "what runs there is replaced elsewhere, then it ends";
}

static void tell(struct core *core, struct change *change, const struct document_node *node)
{
    char deadline[TEXT_DURATION_MAX] = "";
    if (node->drain_deadline_ms > 0)
        text_format_duration(node->drain_deadline_ms, deadline, sizeof deadline);
    changes_event(core->changes, change, "node", "", node->name, NULL, event_of(node->eligibility),
                  NULL, "%s%s%s%s%s", meaning_of(node->eligibility),
                  deadline[0] != '\0' ? "; stopped after " : "", deadline,
                  node->eligibility_reason[0] != '\0' ? ": " : "", node->eligibility_reason);
}

static bool is_set(const struct document_node *node, enum node_eligibility eligibility,
                   const struct api_node_request *request)
{
    return node->eligibility == eligibility && node->drain_deadline_ms == request->deadline_ms &&
           strcmp(node->eligibility_reason, request->reason) == 0;
}

int node_changes_set_eligibility(struct core *core, struct change *change, const char *name,
                                 enum node_eligibility eligibility,
                                 const struct api_node_request *request, struct error *error)
{
    const struct model_node *known = find(core, name, error);
    if (known == NULL)
        return -1;
    if (is_set(known->document, eligibility, request))
        return 0;
    struct document_node *node = change_edit(change, DOCUMENT_NODE, known->document);
    node->eligibility = eligibility;
    node->drain_deadline_ms = eligibility == NODE_DRAINING ? request->deadline_ms : 0;
    text_copy(node->eligibility_reason, sizeof node->eligibility_reason, request->reason);
    tell(core, change, node);
    return 0;
}

/* Whoever drains a node to replace it may not know that data is there. */
static int check_volumes(const struct model_node *node, struct error *error)
{
    uint32_t slots = model_node_volume_slots(node);
    if (slots == 0)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "node %s has the volumes of %u slot%s, which would begin anew elsewhere, with "
                     "empty ones: --force does so (`shoal volume list` shows them, `shoal node "
                     "uncordon %s` lets them run there)",
                     node->name, slots, slots == 1 ? "" : "s", node->name);
}

static int check_removal(const struct core *core, const struct model_node *node, bool force,
                         struct error *error)
{
    bool drained = node->document->eligibility != NODE_ELIGIBLE && model_node_leaving(node) == 0;
    if (force)
        return 0;
    if (drained || model_node_state(node) != NODE_READY)
        return check_volumes(node, error);
    char heard[TEXT_DURATION_MAX], lease[TEXT_DURATION_MAX];
    uint64_t now_ms = core_now(core);
    text_format_duration(now_ms > node->heard_ms ? now_ms - node->heard_ms : 0, heard,
                         sizeof heard);
    text_format_duration(core->options->lease_ms, lease, sizeof lease);
    return error_set(error, ERROR_CONFLICT,
                     "node %s reports, and is not drained: `shoal node drain %s` first, or give "
                     "up what runs there with --force (its last status came %s ago; it counts as "
                     "silent, and can be removed, %s after that)",
                     node->name, node->name, heard, lease);
}

int node_changes_remove(struct core *core, struct change *change, const char *name, bool force,
                        struct error *error)
{
    const struct model_node *known = find(core, name, error);
    char hold[TEXT_DURATION_MAX];
    if (known == NULL || check_removal(core, known, force, error) < 0)
        return -1;
    struct document_removed_node *removed = document_create(DOCUMENT_REMOVED_NODE);
    text_copy(removed->name, sizeof removed->name, name);
    text_copy(removed->epoch, sizeof removed->epoch, known->document->epoch);
    text_copy(removed->subnet, sizeof removed->subnet, known->document->subnet);
    removed->removed_ms = core_wall(core);
    text_format_duration(NODE_SUBNET_HOLD_MS, hold, sizeof hold);
    changes_event(core->changes, change, "node", "", name, NULL, "removed", NULL,
                  "%u instances there are replaced elsewhere; its subnet %s is given to nobody for "
                  "%s",
                  model_node_leaving(known), removed->subnet, hold);
    change_put(change, DOCUMENT_REMOVED_NODE, removed);
    change_remove(change, DOCUMENT_NODE, known->document);
    return 0;
}

int node_changes_give_up(struct core *core, const char *name, struct error *error)
{
    struct model_node *node = find(core, name, error);
    if (node == NULL)
        return -1;
    if (model_node_state(node) == NODE_READY)
        return error_set(error, ERROR_CONFLICT,
                         "node %s reports: move what it runs with `shoal node drain %s`", name,
                         name);
    model_give_up_node(&core->model, node);
    controller_wake(core->controller);
    return 0;
}
