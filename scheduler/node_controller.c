/* Nodes over time: leases that pass, nodes that are lost and come back, the freeze when most of
 * them are silent, the rate at which what they ran is replaced; drains. */
#include <stdio.h>

#include "lib/log.h"
#include "lib/text.h"
#include "scheduler/controller.h"
#include "scheduler/node_changes.h"
#include "scheduler/node_health.h"

/* Writes that one node, or one instance that is to stop, may take. */
#define ROOM_NEEDED          12
#define CAUSE_DRAIN_DEADLINE "drain_deadline"
#define CAUSE_SILENT         "silent"

static void look_again(struct controller_pass *pass, uint64_t at_ms)
{
    if (at_ms > pass->now_ms && at_ms < pass->next_ms)
        pass->next_ms = at_ms;
}

/* What was decided so far stands by itself: the change may be cut here. */
static bool has_room(struct controller_pass *pass)
{
    change_may_split(pass->change);
    return change_has_room(pass->change, ROOM_NEEDED);
}

static void node_event(struct controller_pass *pass, const struct model_node *node,
                       const char *what, const char *cause, const char *message)
{
    changes_event(pass->core->changes, pass->change, "node", "", node->name, NULL, what, cause,
                  "%s", message);
}

/* --- from one state to another --- */

static void move_node(struct controller_pass *pass, struct model_node *node, enum node_state state)
{
    enum node_state before = model_node_state(node);
    if (!node_state_may_move(before, state))
        log_error("a node may not move so", "node", node->name, "from", node_state_names[before],
                  "to", node_state_names[state]);
    log_info("node moves", "node", node->name, "from", node_state_names[before], "to",
             node_state_names[state]);
    model_move_node(&pass->core->model, node, state, pass->now_ms);
}

static void suspect(struct controller_pass *pass, struct model_node *node)
{
    char silence[TEXT_DURATION_MAX], left[TEXT_DURATION_MAX];
    text_format_duration(pass->now_ms - node->heard_ms, silence, sizeof silence);
    text_format_duration(pass->core->options->replace_after_ms, left, sizeof left);
    /* What was lost when the scheduler started is not told again. */
    if (!node->document->lost)
        changes_event(pass->core->changes, pass->change, "node", "", node->name, NULL, "suspect",
                      CAUSE_SILENT,
                      "no status for %s: its instances are unknown, and replaced elsewhere after "
                      "%s more",
                      silence, left);
    move_node(pass, node, NODE_SUSPECT);
}

static void lose(struct controller_pass *pass, struct model_node *node)
{
    char silence[TEXT_DURATION_MAX];
    text_format_duration(pass->now_ms - node->heard_ms, silence, sizeof silence);
    if (!node->document->lost) {
        struct document_node *document = change_edit(pass->change, DOCUMENT_NODE, node->document);
        document->lost = true;
        changes_event(pass->core->changes, pass->change, "node", "", node->name, NULL, "lost",
                      node->given_up ? "given_up" : CAUSE_SILENT,
                      "no status for %s%s: its instances are replaced elsewhere", silence,
                      node->given_up ? ", and somebody gave it up" : "");
    }
    move_node(pass, node, NODE_LOST);
    model_queue_instances(node);
}

/* Nodes that were silent and report again. */
static bool look_at_returned(struct controller_pass *pass)
{
    struct model *model = &pass->core->model;
    struct model_node *node;
    while ((node = TAILQ_FIRST(&model->returned)) != NULL) {
        if (!has_room(pass))
            return false;
        TAILQ_REMOVE(&model->returned, node, returned_link);
        node->is_back = false;
        bool was_lost = node->document->lost;
        if (was_lost)
            ((struct document_node *)change_edit(pass->change, DOCUMENT_NODE, node->document))
                ->lost = false;
        log_info("node moves", "node", node->name, "from",
                 node_state_names[was_lost ? NODE_LOST : NODE_SUSPECT], "to",
                 node_state_names[NODE_READY]);
        node_event(pass, node, "back", NULL,
                   was_lost ? "it reports again: what was not replaced yet stays, the rest ends"
                            : "it reports again");
    }
    return true;
}

/* --- leases --- */

static struct node_health_settings settings_of(const struct core *core)
{
    return (struct node_health_settings){core->options->lease_ms, core->options->replace_after_ms,
                                         core->options->freeze_percent};
}

static enum node_state judge(const struct controller_pass *pass, const struct model_node *node,
                             uint64_t *ret_next_ms)
{
    struct node_health_settings settings = settings_of(pass->core);
    struct node_health_input input = {.state = model_node_state(node),
                                      .heard_ms = node->heard_ms,
                                      .suspect_ms = node->silent_since_ms,
                                      .given_up = node->given_up || node->document->lost};
    return node_health_judge(&settings, &input, pass->core->model.frozen, pass->now_ms,
                             ret_next_ms);
}

/* The lists are in order of time: what comes behind the first that stays as it is stays too. */
static bool look_at_leases(struct controller_pass *pass)
{
    struct model_node *node;
    while ((node = TAILQ_FIRST(&pass->core->model.heard)) != NULL) {
        uint64_t next_ms;
        if (judge(pass, node, &next_ms) == NODE_READY) {
            look_again(pass, next_ms);
            return true;
        }
        if (!has_room(pass))
            return false;
        suspect(pass, node);
        /* It was lost before this process began: it has had its lease. */
        if (node->document->lost)
            lose(pass, node);
    }
    return true;
}

static bool look_at_suspects(struct controller_pass *pass)
{
    struct model_node *node;
    while ((node = TAILQ_FIRST(&pass->core->model.suspects)) != NULL) {
        uint64_t next_ms;
        if (judge(pass, node, &next_ms) == NODE_SUSPECT) {
            look_again(pass, next_ms);
            return true;
        }
        if (!has_room(pass))
            return false;
        lose(pass, node);
    }
    return true;
}

/* --- the freeze --- */

static struct node_health_counts count_nodes(struct model *model)
{
    struct node_health_counts counts = {0};
    for (size_t i = 0; i < model->nodes.count; i++) {
        const struct model_node *node = model->nodes.items[i];
        if (node->document->eligibility != NODE_ELIGIBLE || node->lost)
            continue;
        counts.ready += !node->silent;
        counts.suspect += node->silent && !node->given_up && !node->document->lost;
    }
    model->ready_nodes = counts.ready;
    model->suspect_nodes = counts.suspect;
    return counts;
}

/* Nodes that come back one by one are not to find the rest given up at once. */
static void thaw(struct controller_pass *pass)
{
    struct model_node *node;
    TAILQ_FOREACH(node, &pass->core->model.suspects, lease_link)
    node->silent_since_ms = pass->now_ms;
}

static void look_at_freeze(struct controller_pass *pass)
{
    struct model *model = &pass->core->model;
    if (!model->node_states_changed)
        return;
    model->node_states_changed = false;
    model_touch_draining(model);
    struct node_health_settings settings = settings_of(pass->core);
    struct node_health_counts counts = count_nodes(model);
    bool frozen = node_health_is_split(&settings, &counts);
    if (frozen == model->frozen)
        return;
    model->frozen = frozen;
    if (!frozen)
        thaw(pass);
    changes_event(pass->core->changes, pass->change, "cluster", "", "rescheduling", NULL,
                  frozen ? "frozen" : "thawed", frozen ? "split" : NULL,
                  frozen ? "%u of %u eligible nodes are silent: rather we are cut off than they "
                           "are gone, so nothing is replaced until they are back, or `shoal node "
                           "give-up` says that they are gone"
                         : "%u of %u eligible nodes are silent: instances of lost nodes are "
                           "replaced again",
                  counts.suspect, counts.ready + counts.suspect);
}

/* --- replacing --- */

static bool is_to_be_replaced(const struct model_instance *instance)
{
    return instance != NULL && instance->node != NULL && instance->node->lost &&
           !instance->released && !model_instance_has_ended(instance) &&
           instance->document->wish == WISH_RUN;
}

static void release_instances(struct controller_pass *pass)
{
    struct model *model = &pass->core->model;
    uint32_t rate = rescheduling_rate(pass->core->options->reschedule_rate, model->ready_nodes);
    const char *id;
    while ((id = rescheduling_next(&model->rescheduling)) != NULL) {
        struct model_instance *instance = model_instance(model, id);
        uint64_t next_ms;
        bool wanted = is_to_be_replaced(instance);
        if (wanted && model->frozen && !instance->node->given_up)
            return;
        if (wanted && !rescheduling_may_go(&model->rescheduling, rate, pass->now_ms, &next_ms)) {
            look_again(pass, next_ms);
            return;
        }
        rescheduling_drop(&model->rescheduling);
        if (!wanted)
            continue;
        instance->released = true;
        if (instance->service != NULL)
            model_touch_service(instance->service);
    }
}

/* --- drains --- */

static void stop_left(struct controller_pass *pass, const struct model_instance *instance)
{
    struct document_instance *document =
        change_edit(pass->change, DOCUMENT_INSTANCE, instance->document);
    pass->ends = true;
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
        if (!has_room(pass))
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
    uint32_t slots = model_node_volume_slots(node);
    char message[REASON_MAX] =
        "nothing runs there any more; it stays cordoned until `shoal node uncordon`";
    if (slots > 0)
        snprintf(
            message, sizeof message,
            "nothing runs there any more; %u slot%s whose volumes are there wait%s until `shoal "
            "node uncordon`",
            slots, slots == 1 ? "" : "s", slots == 1 ? "s" : "");
    node_event(pass, node, "drained", NULL, message);
}

static bool look_at_drain(struct controller_pass *pass, const struct model_node *node)
{
    uint64_t deadline_ms = node->document->drain_deadline_ms;
    if (!has_room(pass))
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

/* --- removed nodes --- */

static bool look_at_removed(struct controller_pass *pass)
{
    const struct sorted *removed = &pass->core->model.removed_nodes;
    for (size_t i = 0; i < removed->count; i++) {
        const struct model_removed_node *node = removed->items[i];
        look_again(pass, node->since_ms + NODE_SUBNET_HOLD_MS);
        if (pass->now_ms < node->since_ms + NODE_SUBNET_HOLD_MS)
            continue;
        if (!has_room(pass))
            return false;
        change_remove(pass->change, DOCUMENT_REMOVED_NODE, node->document);
    }
    return true;
}

bool controller_look_at_nodes(struct controller_pass *pass)
{
    struct model *model = &pass->core->model;
    bool complete = look_at_returned(pass) && look_at_leases(pass);
    if (complete && has_room(pass)) {
        look_at_freeze(pass);
        complete = look_at_suspects(pass);
    }
    release_instances(pass);
    for (size_t i = 0; i < model->draining_nodes.count && complete; i++)
        complete = look_at_drain(pass, model->draining_nodes.items[i]);
    return complete && look_at_removed(pass);
}
