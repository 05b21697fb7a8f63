#include "scheduler/standby.h"

#include <stdlib.h>

#include "lib/xalloc.h"

struct pass {
    const struct standby_input *input;
    struct standby_result *result;
    uint32_t kept; /* that stay, those that failed and are not replaced yet included */
};

static void act(struct pass *pass, enum standby_kind kind, size_t instance)
{
    pass->result->actions[pass->result->action_count++] = (struct standby_action){kind, instance};
}

/* One that failed holds its place until it is tried again, or until somebody has looked. */
static void judge_failed(struct pass *pass, size_t index)
{
    const struct standby_instance *instance = &pass->input->instances[index];
    const struct api_reschedule *reschedule = &pass->input->reschedule;
    uint64_t due = instance->over_ms + reconcile_backoff(reschedule, instance->attempt);
    if (instance->given_up) {
        pass->kept++;
        return;
    }
    if (instance->attempt >= reschedule->attempts) {
        pass->kept++;
        act(pass, STANDBY_GIVE_UP, index);
        return;
    }
    if (pass->input->now_ms < due) {
        pass->kept++;
        if (due < pass->result->next_ms)
            pass->result->next_ms = due;
        return;
    }
    act(pass, STANDBY_STOP, index);
}

static void judge(struct pass *pass, size_t index)
{
    const struct standby_instance *instance = &pass->input->instances[index];
    if (instance->stopping)
        return;
    bool over = instance_state_is_over(instance->state);
    bool is_useless = instance->is_worn && instance->state == INSTANCE_STANDBY;
    if (!instance->matches || instance->lost || is_useless || (instance->leaving && !over) ||
        pass->kept >= pass->input->wanted)
        act(pass, STANDBY_STOP, index);
    else if (over)
        judge_failed(pass, index);
    else
        pass->kept++;
}

void standby_decide(const struct standby_input *input, struct standby_result *ret_result)
{
    *ret_result = (struct standby_result){.next_ms = UINT64_MAX};
    /* Each instance is stopped or given up at most, and each place filled. */
    ret_result->actions =
        xcalloc(input->instance_count + input->wanted + 1, sizeof *ret_result->actions);
    struct pass pass = {.input = input, .result = ret_result};
    /* The oldest stay: they are most likely paused already. */
    for (size_t i = 0; i < input->instance_count; i++)
        judge(&pass, i);
    for (; input->may_start && pass.kept < input->wanted; pass.kept++)
        act(&pass, STANDBY_CREATE, 0);
}

void standby_result_release(struct standby_result *result)
{
    free(result->actions);
}
