/* Instances that move to better places once there are some: nodes joined, came back or were
 * uncordoned. Opt-in (`placement.rebalance`). One at a time, as in a rollout: its replacement is
 * ready elsewhere before it goes. */
#include "scheduler/look.h"

/* Between two moves of a service. */
#define MOVE_EVERY_MS 10000

static bool is_settled(const struct look *look, const struct reconcile_result *result)
{
    return look->mode == RECONCILE_STEADY && result->action_count == 0 && !look->no_room &&
           look->service->no_capacity == NULL && result->counts.healthy == look->replicas &&
           result->counts.not_stopped == look->replicas && !look->pass->core->model.frozen;
}

/* What finds no better place after all stays where it is. */
static void call_off(struct look *look)
{
    for (size_t i = 0; i < look->count; i++)
        look->owners[i]->is_moving = false;
}

static void begin_move(struct look *look, struct model_instance *instance)
{
    instance->is_moving = true;
    look->service->moved_ms = look->pass->now_ms;
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, instance->name,
                  "rebalanced", "rebalance",
                  "there is a better place than node %s: it is replaced there first",
                  instance->document->node);
    model_touch_service(look->service);
}

void look_rebalance(struct look *look, const struct reconcile_result *result)
{
    bool is_wanted = look->document->spec.placement.rebalance && !look->document->deleting;
    uint64_t next_ms = look->service->moved_ms + MOVE_EVERY_MS;
    if (look->no_room || !is_wanted)
        call_off(look);
    /* Volumes stay where they are. */
    if (!is_wanted || look->target == NULL || look->target->template.volume_count > 0 ||
        !is_settled(look, result))
        return;
    if (look->service->moved_ms != 0 && look->pass->now_ms < next_ms) {
        look_again(look, next_ms);
        return;
    }
    struct capacity_search *search =
        capacity_search_begin(&look->pass->capacity, look->service, look->target, 0);
    struct model_instance *misplaced = capacity_search_misplaced(search, look->owners, look->count);
    capacity_search_end(search);
    if (misplaced != NULL)
        begin_move(look, misplaced);
}
