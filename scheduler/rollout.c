#include "scheduler/rollout.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/text.h"

uint32_t rollout_target(enum rollout_phase phase, uint32_t from, uint32_t to)
{
    return phase == ROLLOUT_ROLLING_BACK || phase == ROLLOUT_ROLLED_BACK ? from : to;
}

enum reconcile_mode rollout_mode(enum rollout_phase phase)
{
    if (phase == ROLLOUT_FAILED)
        return RECONCILE_HOLD;
    return rollout_phase_is_over(phase) ? RECONCILE_STEADY : RECONCILE_ROLLOUT;
}

static void move_clock(const struct rollout_input *input, struct rollout_clock *clock)
{
    if (clock->begun && clock->running && input->now_ms > clock->last_ms)
        clock->used_ms += input->now_ms - clock->last_ms;
    if (!clock->begun || input->became_healthy)
        clock->used_ms = 0;
    clock->begun = true;
    clock->last_ms = input->now_ms;
    clock->running = input->counts.trying;
}

__attribute__((format(printf, 3, 4))) static void decide(struct rollout_decision *decision,
                                                         enum rollout_phase phase,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(decision->reason, sizeof decision->reason, format, arguments);
    va_end(arguments);
    decision->phase = phase;
}

static bool is_complete(const struct rollout_input *input)
{
    return input->counts.healthy >= input->replicas && input->counts.old == 0 &&
           input->counts.updated == input->replicas;
}

/* The rollout cannot go on: back to `from` where there is one to go back to. */
static void fail(const struct rollout_input *input, const char *why,
                 struct rollout_decision *decision)
{
    if (input->phase == ROLLOUT_ROLLING_BACK)
        decide(decision, ROLLOUT_FAILED, "revision %u did not come back: %s; instances are kept",
               input->from, why);
    else if (input->from == 0)
        decide(decision, ROLLOUT_FAILED,
               "%s; a first deploy has nothing to return to, its instances are kept to look at",
               why);
    else if (input->from == input->to)
        decide(decision, ROLLOUT_FAILED, "%s; the rest was not restarted", why);
    else if (!input->settings.auto_rollback)
        decide(decision, ROLLOUT_FAILED, "%s; auto_rollback is off, instances are kept", why);
    else
        decide(decision, ROLLOUT_ROLLING_BACK, "%s; back to revision %u", why, input->from);
}

static void report_progress(const struct rollout_input *input, struct rollout_decision *decision)
{
    if (input->no_capacity != NULL)
        decide(decision, input->phase, "%s", input->no_capacity);
    else if (input->counts.healthy < input->replicas)
        decide(decision, input->phase, "%u of %u healthy", input->counts.healthy, input->replicas);
    else
        decide(decision, input->phase, "%u of %u healthy, %u old to end", input->counts.healthy,
               input->replicas, input->counts.old);
}

void rollout_decide(const struct rollout_input *input, struct rollout_clock *clock,
                    struct rollout_decision *ret_decision)
{
    char why[REASON_MAX];
    move_clock(input, clock);
    *ret_decision = (struct rollout_decision){.phase = input->phase, .next_ms = UINT64_MAX};
    if (is_complete(input)) {
        bool back = input->phase == ROLLOUT_ROLLING_BACK;
        /* Why it went back is already known, and stays the reason. */
        decide(ret_decision, back ? ROLLOUT_ROLLED_BACK : ROLLOUT_SUCCEEDED, "%u of %u healthy",
               input->counts.healthy, input->replicas);
        return;
    }
    if (input->revoked != NULL) {
        fail(input, input->revoked, ret_decision);
        return;
    }
    if (input->phase == ROLLOUT_PROGRESSING && input->slot_failures >= ROLLOUT_FAILURES_MAX) {
        snprintf(why, sizeof why, "slot %u failed %u times%s%.300s", input->worst_slot,
                 input->slot_failures, input->last_failure[0] != '\0' ? ": " : "",
                 input->last_failure);
        fail(input, why, ret_decision);
        return;
    }
    uint64_t deadline = input->settings.progress_deadline_ms;
    if (clock->used_ms >= deadline && clock->running) {
        char limit[TEXT_DURATION_MAX];
        text_format_duration(deadline, limit, sizeof limit);
        snprintf(why, sizeof why, "no instance became healthy within %s (%u of %u are)%s%.300s",
                 limit, input->counts.healthy, input->replicas,
                 input->last_failure[0] != '\0' ? ": " : "", input->last_failure);
        fail(input, why, ret_decision);
        return;
    }
    report_progress(input, ret_decision);
    if (clock->running)
        ret_decision->next_ms = input->now_ms + (deadline - clock->used_ms);
}
