#include "scheduler/look.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "scheduler/publication.h"

void look_again(struct look *look, uint64_t at_ms)
{
    if (at_ms > look->pass->now_ms && at_ms < look->service->next_ms)
        look->service->next_ms = at_ms;
}

bool look_is_restarting(const struct look *look)
{
    return look->rollout != NULL && strcmp(look->rollout->kind, "restart") == 0 &&
           (look->rollout->phase == ROLLOUT_PROGRESSING || look->rollout->phase == ROLLOUT_PAUSED);
}

static bool matches(const struct look *look, const struct model_instance *instance)
{
    if (look->mode == RECONCILE_HOLD)
        return true;
    bool of_rollout = look->rollout != NULL && instance->document->rollout == look->rollout->number;
    if (look_is_restarting(look) && !of_rollout)
        return false;
    /* What failed, or was given up, before this rollout began is not waited for. */
    bool running = look->mode == RECONCILE_ROLLOUT || look->mode == RECONCILE_CANARY;
    if (running && !of_rollout && instance_state_is_over(instance->observed.state))
        return false;
    return model_same_template(look->service, instance->document->revision, look->target);
}

static bool is_of_good(const struct look *look, const struct model_instance *instance)
{
    /* One that was given up before the canaries came is tried again with them. */
    if (look->mode == RECONCILE_CANARY && instance->document->given_up &&
        instance->document->rollout != look->rollout->number)
        return false;
    return model_same_template(look->service, instance->document->revision, look->good);
}

uint32_t look_attempt_of(const struct look *look, const struct model_instance *instance)
{
    uint64_t lived = instance->observed.since_ms > instance->document->created_ms
                         ? instance->observed.since_ms - instance->document->created_ms
                         : 0;
    bool row_ended = instance_state_is_over(instance->observed.state) &&
                     lived >= look->document->spec.restart.reset_after_ms;
    return row_ended ? 0 : instance->document->attempt;
}

static bool is_drained(struct look *look, struct model_instance *instance)
{
    const struct document_revision *revision =
        model_revision(look->service, instance->document->revision);
    if (instance->document->wish != WISH_DRAIN || instance->drain_since_ms == 0)
        return false;
    /* It is given time when its node is back. */
    if (instance->node != NULL && instance->node->lost)
        return false;
    uint64_t deadline =
        instance->drain_since_ms + (revision != NULL ? revision->template.stop.drain_ms : 0);
    look_again(look, deadline);
    return look->pass->now_ms >= deadline ||
           publication_is_drained(look->pass->core->publication, instance);
}

static void add_value(struct look *look, struct model_instance *instance)
{
    const struct model_node *node = instance->node;
    struct reconcile_instance *value = &look->values[look->count];
    *value = (struct reconcile_instance){
        .slot = instance->document->slot,
        .matches = matches(look, instance),
        .wish = instance->document->wish,
        .state = instance->observed.state,
        .silent = node == NULL || node->silent,
        .lost = model_instance_is_lost(instance),
        .told_ms = node != NULL ? node->heard_ms : 0,
        .ready_since_ms = instance->ready_since_ms,
        .failed_ms = instance->over_since_ms,
        .attempt = look_attempt_of(look, instance),
        .given_up = instance->document->given_up,
        .replaceable = is_of_good(look, instance),
        .drained = is_drained(look, instance),
        /* One that is over is not there any more. */
        .leaving = node != NULL &&
                   (node->document->eligibility == NODE_DRAINING || instance->is_moving) &&
                   !instance_state_is_over(instance->observed.state),
    };
    look->owners[look->count++] = instance;
    uint64_t min_healthy = look->document->spec.rollout.min_healthy_time_ms;
    if (!instance->was_healthy && value->matches &&
        reconcile_is_healthy(value, min_healthy, look->pass->now_ms)) {
        instance->was_healthy = true;
        look->service->became_healthy = true;
    }
}

bool look_is_frozen(struct look *look)
{
    bool frozen = false;
    for (size_t i = 0; i < look->service->instances.count; i++) {
        const struct model_instance *instance = look->service->instances.items[i];
        const struct model_node *node = instance->node;
        if (model_instance_has_ended(instance) || node == NULL || node->reported || node->silent)
            continue;
        frozen = true;
        look_again(look, node->heard_ms + look->pass->core->options->lease_ms);
    }
    return frozen;
}

void look_collect(struct look *look)
{
    size_t room = look->service->instances.count;
    look->values = xcalloc(room + 1, sizeof *look->values);
    look->owners = xcalloc(room + 1, sizeof *look->owners);
    for (size_t i = 0; i < room; i++) {
        struct model_instance *instance = look->service->instances.items[i];
        if (!model_instance_has_ended(instance) && !instance->document->standby)
            add_value(look, instance);
    }
}
