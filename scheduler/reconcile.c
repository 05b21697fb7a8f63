#include "scheduler/reconcile.h"

#include <stdlib.h>

#include "lib/xalloc.h"

const char *const instance_wish_names[] = {"run", "drain", "stop", NULL};

/* What an instance is for the decision at hand. */
enum role {
    ROLE_WANTED, /* of the wanted revision */
    ROLE_GOOD,   /* of the one that worked last, where that is another one */
    ROLE_OTHER,  /* neither, or the second one of its kind in a slot, or its node is left */
    ROLES,
};

/* One pass over a service. `retired` marks instances that an action of this pass ends. */
struct pass {
    const struct reconcile_input *input;
    struct reconcile_result *result;
    enum role *roles;
    bool *retired;
    /* Those that are to run, slot by slot, in order of their ids: the first of each slot below
     * replicas, and behind each instance the next one. RECONCILE_NONE ends a chain. */
    size_t *first;
    size_t *next;
    bool *occupied; /* slots where a guest may be, whatever is wished of it */
    size_t action_room;
    int64_t available;   /* ready ones to count on: wanted ones only when healthy */
    int64_t carrying;    /* healthy ones of the revision that is to carry the service */
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

static struct reconcile_action *act(struct pass *pass, enum reconcile_kind kind, uint32_t slot,
                                    uint32_t attempt, size_t instance)
{
    struct reconcile_result *result = pass->result;
    if (result->action_count == pass->action_room) {
        pass->action_room = pass->action_room == 0 ? 8 : pass->action_room * 2;
        result->actions =
            xreallocarray(result->actions, pass->action_room, sizeof *result->actions);
    }
    struct reconcile_action *action = &result->actions[result->action_count++];
    *action = (struct reconcile_action){kind, slot, attempt, instance, false};
    return action;
}

/* Canaries stand beside what carries the service. */
static bool has_canaries(const struct reconcile_input *input)
{
    return input->mode == RECONCILE_CANARY ||
           (input->mode == RECONCILE_PAUSED && input->canary > 0);
}

/* What an instance adds to the ready ones that may be counted on. Canaries get a part of the
 * traffic only, and stand for nobody. */
static bool counts_as_available(const struct pass *pass, size_t index)
{
    const struct reconcile_instance *instance = &pass->input->instances[index];
    enum role role = pass->roles[index];
    if (has_canaries(pass->input))
        return role == ROLE_GOOD    ? healthy(pass, instance)
               : role == ROLE_OTHER ? reconcile_is_ready(instance)
                                    : false;
    return role == ROLE_WANTED ? healthy(pass, instance) : reconcile_is_ready(instance);
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

/* Slots that one of the wanted revision is to have. */
static uint32_t wanted_slots(const struct reconcile_input *input)
{
    return input->mode == RECONCILE_CANARY ? input->canary : input->replicas;
}

/* It is to become healthy, and is not yet. */
static bool is_awaited(const struct pass *pass, size_t index)
{
    const struct reconcile_instance *instance = &pass->input->instances[index];
    enum role role = pass->roles[index];
    bool good = pass->input->mode == RECONCILE_CANARY && role == ROLE_GOOD;
    uint32_t slots = good ? pass->input->replicas : wanted_slots(pass->input);
    return instance->wish == WISH_RUN && (role == ROLE_WANTED || good) && !instance->lost &&
           instance->slot < slots && !healthy(pass, instance);
}

/* Whether something is in the making besides room: it boots, is checked, or waits to be tried
 * again. */
static void count_trying(struct pass *pass, size_t index)
{
    struct reconcile_counts *counts = &pass->result->counts;
    const struct reconcile_instance *instance = &pass->input->instances[index];
    uint64_t now = pass->input->now_ms;
    if (!is_awaited(pass, index))
        return;
    bool waits = is_over(instance) && now < replacement_due_ms(pass->input, instance);
    /* How one on a silent node does is not known: it may be us who are cut off. */
    counts->trying = counts->trying || waits || (!is_over(instance) && !instance->silent);
    uint64_t told = waits ? now : is_over(instance) ? 0 : instance->told_ms;
    if (told > counts->told_ms)
        counts->told_ms = told;
}

static void count_one(struct pass *pass, size_t index)
{
    struct reconcile_counts *counts = &pass->result->counts;
    const struct reconcile_input *input = pass->input;
    const struct reconcile_instance *instance = &input->instances[index];
    bool live = !is_over(instance) && !instance->silent;
    bool running = instance->wish == WISH_RUN;
    bool wanted = pass->roles[index] == ROLE_WANTED;
    enum role carries = has_canaries(input) ? ROLE_GOOD : ROLE_WANTED;
    bool carries_well = instance->slot < input->replicas && healthy(pass, instance);
    counts->ready += reconcile_is_ready(instance);
    counts->not_stopped += live;
    counts->old += live && !(wanted && running);
    counts->updated += wanted && running && !is_over(instance);
    counts->unknown += running && instance->silent && !is_over(instance);
    if (wanted && instance->slot < wanted_slots(input) && healthy(pass, instance)) {
        counts->healthy++;
        if (instance->ready_since_ms > counts->all_ready_since_ms)
            counts->all_ready_since_ms = instance->ready_since_ms;
    }
    count_trying(pass, index);
    if (reconcile_is_ready(instance))
        look_again(pass, instance->ready_since_ms + input->min_healthy_time_ms);
    pass->available += counts_as_available(pass, index);
    pass->carrying += pass->roles[index] == carries && carries_well;
    pass->wanted -= live && !running;
}

static void count(struct pass *pass)
{
    for (size_t i = 0; i < pass->input->instance_count; i++)
        count_one(pass, i);
    pass->roomless = pass->wanted;
    pass->not_stopped = pass->result->counts.not_stopped;
}

/* --- starting --- */

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

/* What a slot lacks to have one of that role. */
static struct slot_need slot_need(struct pass *pass, uint32_t slot, enum role role)
{
    struct slot_need need = {true, 0, RECONCILE_NONE};
    for (size_t i = pass->first[slot]; i != RECONCILE_NONE; i = pass->next[i]) {
        const struct reconcile_instance *instance = &pass->input->instances[i];
        if (pass->roles[i] != role || instance->leaving)
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

static int64_t surge(const struct reconcile_input *input)
{
    if (input->stop_first)
        return 0;
    return (int64_t)input->max_surge + (has_canaries(input) ? input->canary : 0);
}

static void start(struct pass *pass, uint32_t slot, struct slot_need need, bool of_good)
{
    const struct reconcile_input *input = pass->input;
    if (!need.needed)
        return;
    if ((input->stop_first && pass->occupied[slot]) ||
        pass->not_stopped >= (int64_t)input->replicas + surge(input)) {
        pass->wanted++;
        return;
    }
    act(pass, RECONCILE_CREATE, slot, need.attempt, need.replaces)->of_good = of_good;
    if (need.replaces != RECONCILE_NONE)
        pass->retired[need.replaces] = true;
    if (input->stop_first)
        pass->occupied[slot] = true;
    pass->not_stopped++;
    pass->roomless += input->no_room;
}

/* Who is in a paused slot. */
struct slot_holders {
    bool live;
    bool held[ROLES]; /* by one of the role, or by what leaves and is replaced by one */
};

static struct slot_holders slot_holders(const struct pass *pass, uint32_t slot)
{
    struct slot_holders holders = {0};
    for (size_t i = pass->first[slot]; i != RECONCILE_NONE; i = pass->next[i]) {
        const struct reconcile_instance *instance = &pass->input->instances[i];
        enum role role = instance->matches ? ROLE_WANTED : ROLE_GOOD;
        holders.held[instance->leaving ? role : pass->roles[i]] = true;
        if (!instance->leaving && !is_over(instance) && !instance->lost)
            holders.live = true;
    }
    return holders;
}

/* A paused slot: what failed or leaves is replaced by its like as long as somebody depends on it,
 * and one that nobody holds is filled with what is known to work. */
static void keep_slot(struct pass *pass, uint32_t slot)
{
    struct slot_holders holders = slot_holders(pass, slot);
    const bool *held = holders.held;
    bool beside = pass->input->canary > 0;
    if (held[ROLE_WANTED] && (beside || !holders.live))
        start(pass, slot, slot_need(pass, slot, ROLE_WANTED), false);
    if (held[ROLE_GOOD] && (beside || (!holders.live && !held[ROLE_WANTED])))
        start(pass, slot, slot_need(pass, slot, ROLE_GOOD), true);
    if (!holders.live && !held[ROLE_WANTED] && !held[ROLE_GOOD])
        start(pass, slot, slot_need(pass, slot, ROLE_OTHER), true);
}

static void start_missing(struct pass *pass)
{
    const struct reconcile_input *input = pass->input;
    bool of_good = input->mode == RECONCILE_HOLD;
    for (uint32_t slot = 0; slot < input->replicas && input->mode == RECONCILE_PAUSED; slot++)
        keep_slot(pass, slot);
    for (uint32_t slot = 0; slot < input->replicas && input->mode == RECONCILE_CANARY; slot++)
        start(pass, slot, slot_need(pass, slot, ROLE_GOOD), true);
    for (uint32_t slot = 0; slot < wanted_slots(input) && input->mode != RECONCILE_PAUSED; slot++)
        start(pass, slot, slot_need(pass, slot, ROLE_WANTED), of_good);
}

/* --- ending --- */

static bool is_excess(const struct pass *pass, size_t index)
{
    const struct reconcile_input *input = pass->input;
    const struct reconcile_instance *instance = &input->instances[index];
    if (instance->wish != WISH_RUN || pass->retired[index])
        return false;
    if (instance->slot >= input->replicas || instance->leaving)
        return true;
    if (input->mode == RECONCILE_PAUSED)
        return false;
    if (input->mode == RECONCILE_CANARY && pass->roles[index] == ROLE_GOOD)
        return false;
    return pass->roles[index] != ROLE_WANTED || instance->slot >= wanted_slots(input);
}

static void retire(struct pass *pass, size_t index, enum reconcile_kind kind)
{
    act(pass, kind, pass->input->instances[index].slot, 0, index);
    pass->retired[index] = true;
    pass->available -= counts_as_available(pass, index);
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

/* Somebody is in its slot to stay, ready or not; a canary stands for nobody but a canary. */
static bool is_replaced(const struct pass *pass, const struct reconcile_instance *instance)
{
    for (size_t i = pass->first[instance->slot]; i != RECONCILE_NONE; i = pass->next[i]) {
        const struct reconcile_instance *other = &pass->input->instances[i];
        bool alike = other->matches == instance->matches || !has_canaries(pass->input);
        if (alike && !is_excess(pass, i) && !is_over(other) && !other->lost)
            return true;
    }
    return false;
}

/* An old instance that is not ready may yet come back: it goes when the new ones carry the load,
 * or when its place is what a new one waits for; from a node that drains, when another one is in
 * its slot. For its room alone only one goes that is not of
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
        bool carried = old + pass->carrying > input->replicas ||
                       (!beyond && instance->leaving && is_replaced(pass, instance));
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
    int64_t floor = (int64_t)input->replicas - (input->stop_first ? 1 : input->max_unavailable);
    for (size_t i = 0; i < input->instance_count; i++) {
        if (!is_excess(pass, i) || !reconcile_is_ready(&input->instances[i]))
            continue;
        if (pass->available - counts_as_available(pass, i) >= floor)
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

/* A rollout that was cut short leaves two of a kind in one slot: the better one, or the older of
 * equals, is kept, and the other one counts as old. */
static void keep_better(struct pass *pass, size_t *keeper, size_t index)
{
    const struct reconcile_instance *instances = pass->input->instances;
    bool better = *keeper == RECONCILE_NONE ||
                  rank(pass->input, &instances[index]) > rank(pass->input, &instances[*keeper]);
    size_t other = better ? *keeper : index;
    if (other != RECONCILE_NONE)
        pass->roles[other] = ROLE_OTHER;
    if (better)
        *keeper = index;
}

static void assign_roles(struct pass *pass)
{
    const struct reconcile_input *input = pass->input;
    bool single = input->mode != RECONCILE_HOLD && input->mode != RECONCILE_PAUSED;
    size_t *kept = xcalloc((size_t)input->replicas * ROLES + 1, sizeof *kept);
    for (size_t i = 0; i < (size_t)input->replicas * ROLES; i++)
        kept[i] = RECONCILE_NONE;
    for (size_t i = 0; i < input->instance_count; i++) {
        const struct reconcile_instance *instance = &input->instances[i];
        bool wanted = instance->matches || input->mode == RECONCILE_HOLD;
        pass->roles[i] = instance->leaving       ? ROLE_OTHER
                         : wanted                ? ROLE_WANTED
                         : instance->replaceable ? ROLE_GOOD
                                                 : ROLE_OTHER;
        if (single && instance->wish == WISH_RUN && instance->slot < input->replicas &&
            pass->roles[i] != ROLE_OTHER)
            keep_better(pass, &kept[(size_t)instance->slot * ROLES + pass->roles[i]], i);
    }
    free(kept);
}

static void chain_slots(struct pass *pass)
{
    const struct reconcile_input *input = pass->input;
    for (uint32_t slot = 0; slot < input->replicas; slot++)
        pass->first[slot] = RECONCILE_NONE;
    for (size_t i = input->instance_count; i-- > 0;) {
        const struct reconcile_instance *instance = &input->instances[i];
        if (instance->slot >= input->replicas)
            continue;
        if (!is_over(instance) && !instance->lost)
            pass->occupied[instance->slot] = true;
        if (instance->wish != WISH_RUN)
            continue;
        pass->next[i] = pass->first[instance->slot];
        pass->first[instance->slot] = i;
    }
}

void reconcile_decide(const struct reconcile_input *input, struct reconcile_result *ret_result)
{
    *ret_result = (struct reconcile_result){.next_ms = UINT64_MAX};
    struct pass pass = {.input = input, .result = ret_result};
    pass.roles = xcalloc(input->instance_count + 1, sizeof *pass.roles);
    pass.retired = xcalloc(input->instance_count + 1, sizeof *pass.retired);
    pass.next = xcalloc(input->instance_count + 1, sizeof *pass.next);
    pass.first = xcalloc((size_t)input->replicas + 1, sizeof *pass.first);
    pass.occupied = xcalloc((size_t)input->replicas + 1, sizeof *pass.occupied);
    assign_roles(&pass);
    chain_slots(&pass);
    count(&pass);
    start_missing(&pass);
    stop_drained(&pass);
    retire_dead(&pass);
    retire_unready(&pass);
    retire_ready(&pass);
    free(pass.roles);
    free(pass.retired);
    free(pass.next);
    free(pass.first);
    free(pass.occupied);
}

void reconcile_result_release(struct reconcile_result *result)
{
    free(result->actions);
    *result = (struct reconcile_result){0};
}
