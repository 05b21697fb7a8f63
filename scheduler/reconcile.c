#include "scheduler/reconcile.h"

#include <stdlib.h>

#include "lib/xalloc.h"

const char *const instance_wish_names[] = {"run", "drain", "stop", NULL};

/* One pass over a service. `retired` marks instances that an action of this pass ends. */
struct pass {
    const struct reconcile_input *input; /* without a second one of a slot, see one_a_slot */
    struct reconcile_result *result;
    bool *retired;
    int64_t available;   /* ready ones to count on: matching ones only when healthy */
    int64_t not_stopped; /* as the bound counts them */
    /* Instances that cannot start for want of the bound, and for want of room, beyond those for
     * whom something is ending already. */
    int64_t wanted;
    int64_t roomless;
};

static bool is_over(const struct reconcile_instance *instance)
{
    return instance_state_is_over(instance->state);
}

bool reconcile_is_ready(const struct reconcile_instance *instance)
{
    return instance->wish == WISH_RUN && instance->state == INSTANCE_READY && !instance->silent;
}

bool reconcile_is_healthy(const struct reconcile_instance *instance, uint64_t min_healthy_time_ms,
                          uint64_t now_ms)
{
    return reconcile_is_ready(instance) && now_ms >= instance->ready_since_ms + min_healthy_time_ms;
}

uint64_t reconcile_backoff(const struct api_reschedule *reschedule, uint32_t attempt)
{
    uint64_t backoff = reschedule->backoff_ms;
    for (uint32_t i = 0; i < attempt && backoff < reschedule->max_backoff_ms; i++)
        backoff *= 2;
    return backoff < reschedule->max_backoff_ms ? backoff : reschedule->max_backoff_ms;
}

static bool healthy(const struct pass *pass, const struct reconcile_instance *instance)
{
    return reconcile_is_healthy(instance, pass->input->min_healthy_time_ms, pass->input->now_ms);
}

static void look_again(struct pass *pass, uint64_t at_ms)
{
    if (at_ms > pass->input->now_ms && at_ms < pass->result->next_ms)
        pass->result->next_ms = at_ms;
}

static void act(struct pass *pass, enum reconcile_kind kind, uint32_t slot, uint32_t attempt,
                size_t instance)
{
    struct reconcile_result *result = pass->result;
    result->actions =
        xreallocarray(result->actions, result->action_count + 1, sizeof *result->actions);
    result->actions[result->action_count++] =
        (struct reconcile_action){kind, slot, attempt, instance};
}

/* What an instance adds to the ready ones that may be counted on. */
static bool counts_as_available(const struct pass *pass, const struct reconcile_instance *instance)
{
    return instance->matches ? healthy(pass, instance) : reconcile_is_ready(instance);
}

/* A guest that ended as it should is not started again unless its service says always. */
static bool may_replace(const struct reconcile_input *input,
                        const struct reconcile_instance *instance)
{
    if (input->mode == RECONCILE_HOLD && !instance->replaceable)
        return false;
    if (instance->state == INSTANCE_STOPPED && input->restart != API_RESTART_ALWAYS)
        return false;
    return !instance->given_up;
}

/* When a failed instance is replaced; UINT64_MAX: never. */
static uint64_t replacement_due_ms(const struct reconcile_input *input,
                                   const struct reconcile_instance *instance)
{
    if (!may_replace(input, instance) || instance->attempt >= input->reschedule.attempts)
        return UINT64_MAX;
    return instance->failed_ms + reconcile_backoff(&input->reschedule, instance->attempt);
}

/* Something is in the making besides room: it boots, is checked, or waits to be tried again. */
static bool is_trying(const struct pass *pass, const struct reconcile_instance *instance)
{
    if (instance->wish != WISH_RUN || !instance->matches || instance->lost ||
        instance->slot >= pass->input->replicas || healthy(pass, instance))
        return false;
    return !is_over(instance) || pass->input->now_ms < replacement_due_ms(pass->input, instance);
}

static void count(struct pass *pass)
{
    struct reconcile_counts *counts = &pass->result->counts;
    for (size_t i = 0; i < pass->input->instance_count; i++) {
        const struct reconcile_instance *instance = &pass->input->instances[i];
        bool live = !is_over(instance) && !instance->silent;
        bool running = instance->wish == WISH_RUN;
        counts->ready += reconcile_is_ready(instance);
        counts->not_stopped += live;
        counts->old += live && !(instance->matches && running);
        counts->updated += instance->matches && running && !is_over(instance);
        counts->healthy +=
            instance->matches && instance->slot < pass->input->replicas && healthy(pass, instance);
        counts->trying = counts->trying || is_trying(pass, instance);
        if (reconcile_is_ready(instance))
            look_again(pass, instance->ready_since_ms + pass->input->min_healthy_time_ms);
        pass->available += counts_as_available(pass, instance);
        pass->wanted -= live && !running;
    }
    pass->roomless = pass->wanted;
    pass->not_stopped = counts->not_stopped;
}

/* --- starting --- */

static bool holds_slot(const struct pass *pass, const struct reconcile_instance *instance)
{
    if (instance->wish != WISH_RUN || instance->leaving)
        return false;
    return instance->matches || pass->input->mode == RECONCILE_HOLD;
}

/* Whether a failed instance is to be replaced now; if later, the pass looks again then. */
static bool is_due(struct pass *pass, size_t index)
{
    const struct reconcile_input *input = pass->input;
    const struct reconcile_instance *instance = &input->instances[index];
    if (may_replace(input, instance) && instance->attempt >= input->reschedule.attempts) {
        act(pass, RECONCILE_GIVE_UP, instance->slot, instance->attempt, index);
        return false;
    }
    look_again(pass, replacement_due_ms(input, instance));
    return input->now_ms >= replacement_due_ms(input, instance);
}

struct slot_need {
    bool needed;
    uint32_t attempt;
    size_t replaces;
};

static struct slot_need slot_need(struct pass *pass, uint32_t slot)
{
    struct slot_need need = {true, 0, RECONCILE_NONE};
    for (size_t i = 0; i < pass->input->instance_count; i++) {
        const struct reconcile_instance *instance = &pass->input->instances[i];
        if (instance->slot != slot || !holds_slot(pass, instance))
            continue;
        if (!is_over(instance) && !instance->lost)
            return (struct slot_need){false, 0, RECONCILE_NONE};
        if (is_over(instance) && !is_due(pass, i))
            return (struct slot_need){false, 0, RECONCILE_NONE};
        /* A silent node is not the instance's fault: its attempts are not counted up. */
        need.attempt = is_over(instance) ? instance->attempt + 1 : instance->attempt;
        need.replaces = i;
    }
    return need;
}

static void start_missing(struct pass *pass)
{
    const struct reconcile_input *input = pass->input;
    for (uint32_t slot = 0; slot < input->replicas; slot++) {
        struct slot_need need = slot_need(pass, slot);
        if (!need.needed)
            continue;
        if (pass->not_stopped >= (int64_t)input->replicas + input->max_surge) {
            pass->wanted++;
            continue;
        }
        act(pass, RECONCILE_CREATE, slot, need.attempt, need.replaces);
        if (need.replaces != RECONCILE_NONE)
            pass->retired[need.replaces] = true;
        pass->not_stopped++;
        pass->roomless += input->no_room;
    }
}

/* --- ending --- */

static bool is_excess(const struct pass *pass, size_t index)
{
    const struct reconcile_instance *instance = &pass->input->instances[index];
    if (instance->wish != WISH_RUN || pass->retired[index])
        return false;
    if (instance->slot >= pass->input->replicas)
        return true;
    return instance->leaving || (!instance->matches && pass->input->mode != RECONCILE_HOLD);
}

static void retire(struct pass *pass, size_t index, enum reconcile_kind kind)
{
    const struct reconcile_instance *instance = &pass->input->instances[index];
    act(pass, kind, instance->slot, 0, index);
    pass->retired[index] = true;
    pass->available -= counts_as_available(pass, instance);
}

/* Those that are over, or on a node that went away, hold nothing. */
static void retire_dead(struct pass *pass)
{
    for (size_t i = 0; i < pass->input->instance_count; i++) {
        const struct reconcile_instance *instance = &pass->input->instances[i];
        if (is_excess(pass, i) && (is_over(instance) || instance->lost))
            retire(pass, i, RECONCILE_STOP);
    }
}

/* An old instance that is not ready may yet come back: it goes when the new ones carry the load,
 * or when its place is what a new one waits for. For its room alone only one goes that is not of
 * the revision that worked last: what it makes room for might not fit either. */
static void retire_unready(struct pass *pass)
{
    const struct reconcile_input *input = pass->input;
    int64_t old = 0;
    for (size_t i = 0; i < input->instance_count; i++)
        old += is_excess(pass, i);
    for (size_t i = input->instance_count; i-- > 0;) {
        const struct reconcile_instance *instance = &input->instances[i];
        if (!is_excess(pass, i) || reconcile_is_ready(instance) || instance->silent)
            continue;
        bool beyond = instance->slot >= input->replicas;
        bool carried = old + pass->result->counts.healthy > input->replicas;
        int64_t *waiting =
            pass->wanted > 0 || instance->replaceable ? &pass->wanted : &pass->roomless;
        if (!beyond && !carried && *waiting <= 0)
            continue;
        if (!beyond && !carried)
            (*waiting)--;
        retire(pass, i, RECONCILE_DRAIN);
        old--;
    }
}

static void retire_ready(struct pass *pass)
{
    const struct reconcile_input *input = pass->input;
    int64_t floor = (int64_t)input->replicas - input->max_unavailable;
    for (size_t i = 0; i < input->instance_count; i++) {
        const struct reconcile_instance *instance = &input->instances[i];
        if (!is_excess(pass, i) || !reconcile_is_ready(instance))
            continue;
        if (pass->available - counts_as_available(pass, instance) >= floor)
            retire(pass, i, RECONCILE_DRAIN);
    }
}

static void stop_drained(struct pass *pass)
{
    for (size_t i = 0; i < pass->input->instance_count; i++) {
        const struct reconcile_instance *instance = &pass->input->instances[i];
        if (instance->wish == WISH_DRAIN && (instance->drained || is_over(instance)))
            act(pass, RECONCILE_STOP, instance->slot, 0, i);
    }
}

/* --- one instance a slot --- */

static unsigned rank(const struct reconcile_input *input, const struct reconcile_instance *instance)
{
    if (is_over(instance) || instance->lost)
        return 0;
    if (!reconcile_is_ready(instance))
        return instance->silent ? 1 : 2;
    return reconcile_is_healthy(instance, input->min_healthy_time_ms, input->now_ms) ? 4 : 3;
}

/* A restart that was cut short leaves two that match in one slot: the better one, or the older of
 * equals, is kept, and the other one counts as old. */
static struct reconcile_instance *one_a_slot(const struct reconcile_input *input)
{
    size_t count = input->instance_count;
    struct reconcile_instance *instances = xcalloc(count + 1, sizeof *instances);
    struct reconcile_instance **kept = xcalloc((size_t)input->replicas + 1, sizeof *kept);
    for (size_t i = 0; i < count; i++) {
        struct reconcile_instance *instance = &instances[i];
        *instance = input->instances[i];
        instance->matches = instance->matches && !instance->leaving;
        if (input->mode == RECONCILE_HOLD || instance->wish != WISH_RUN || !instance->matches ||
            instance->slot >= input->replicas)
            continue;
        struct reconcile_instance **keeper = &kept[instance->slot];
        bool better = *keeper == NULL || rank(input, instance) > rank(input, *keeper);
        struct reconcile_instance *other = better ? *keeper : instance;
        if (other != NULL)
            other->matches = false;
        if (better)
            *keeper = instance;
    }
    free(kept);
    return instances;
}

void reconcile_decide(const struct reconcile_input *input, struct reconcile_result *ret_result)
{
    *ret_result = (struct reconcile_result){.next_ms = UINT64_MAX};
    struct reconcile_instance *instances = one_a_slot(input);
    struct reconcile_input single = *input;
    single.instances = instances;
    struct pass pass = {.input = &single, .result = ret_result};
    pass.retired = xcalloc(input->instance_count + 1, sizeof *pass.retired);
    count(&pass);
    start_missing(&pass);
    stop_drained(&pass);
    retire_dead(&pass);
    retire_unready(&pass);
    retire_ready(&pass);
    free(pass.retired);
    free(instances);
}

void reconcile_result_release(struct reconcile_result *result)
{
    free(result->actions);
    *result = (struct reconcile_result){0};
}
