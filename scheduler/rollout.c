#include "scheduler/rollout.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/text.h"

/* A node that reports does so more often than this. */
#define ROLLOUT_NEWS_MS 1000

uint32_t rollout_target(enum rollout_phase phase, uint32_t from, uint32_t to)
{
    return phase == ROLLOUT_ROLLING_BACK || phase == ROLLOUT_ROLLED_BACK ? from : to;
}

enum reconcile_mode rollout_mode(enum rollout_phase phase, uint32_t canary)
{
    if (phase == ROLLOUT_FAILED)
        return RECONCILE_HOLD;
    if (phase == ROLLOUT_PAUSED)
        return RECONCILE_PAUSED;
    if (canary > 0 && (phase == ROLLOUT_PROGRESSING || phase == ROLLOUT_AWAITING_PROMOTION))
        return RECONCILE_CANARY;
    return rollout_phase_is_over(phase) ? RECONCILE_STEADY : RECONCILE_ROLLOUT;
}

static void move_clock(const struct rollout_input *input, struct rollout_clock *clock)
{
    uint64_t told = input->counts.told_ms, now = input->now_ms;
    uint64_t known = told != 0 && told < now ? told : now;
    bool was_running = clock->running;
    if (was_running && known > clock->last_ms)
        clock->used_ms += known - clock->last_ms;
    clock->running = input->counts.trying && input->phase != ROLLOUT_PAUSED &&
                     input->phase != ROLLOUT_AWAITING_PROMOTION;
    if (!clock->begun || input->became_healthy)
        clock->used_ms = 0;
    /* What is not known yet is counted once it is. */
    if (!clock->running || !was_running || input->became_healthy)
        clock->last_ms = now;
    else if (known > clock->last_ms)
        clock->last_ms = known;
    clock->begun = true;
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

/* On the way back there are none to judge. */
static uint32_t canaries(const struct rollout_input *input)
{
    return input->phase == ROLLOUT_ROLLING_BACK ? 0 : input->canary;
}

static bool is_complete(const struct rollout_input *input)
{
    return canaries(input) == 0 && input->counts.healthy >= input->replicas &&
           input->counts.old == 0 && input->counts.updated == input->replicas;
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
        decide(decision, ROLLOUT_FAILED,
               "%s; there is nothing else to return to, instances are kept", why);
    else if (!input->settings.auto_rollback)
        decide(decision, ROLLOUT_FAILED, "%s; auto_rollback is off, instances are kept", why);
    else
        decide(decision, ROLLOUT_ROLLING_BACK, "%s; back to revision %u", why, input->from);
}

static void report_progress(const struct rollout_input *input, struct rollout_decision *decision)
{
    uint32_t judged = canaries(input), healthy = input->counts.healthy;
    const char *silence = input->silence != NULL ? input->silence : "";
    const char *separator = silence[0] != '\0' ? "; " : "";
    const char *waits = input->phase == ROLLOUT_PAUSED ? ": waits for `resume` or `abort`" : "";
    if (input->no_capacity != NULL)
        decide(decision, input->phase, "%s", input->no_capacity);
    else if (judged == 0 && healthy >= input->replicas)
        decide(decision, input->phase, "%u of %u healthy, %u old to end%s%s%s", healthy,
               input->replicas, input->counts.old, waits, separator, silence);
    else
        decide(decision, input->phase, "%u of %u %shealthy%s%s%s", healthy,
               judged > 0 ? judged : input->replicas, judged > 0 ? "canaries " : "", waits,
               separator, silence);
}

/* The new revision has failed so often, or for so long, that it is given up. */
static bool has_failed(const struct rollout_input *input, const struct rollout_clock *clock,
                       char why[REASON_MAX])
{
    const char *separator = input->last_failure[0] != '\0' ? ": " : "";
    const char *silence = input->silence != NULL ? input->silence : "";
    if (input->phase != ROLLOUT_ROLLING_BACK && input->slot_failures >= ROLLOUT_FAILURES_MAX) {
        snprintf(why, REASON_MAX, "slot %u failed %u times%s%.300s", input->worst_slot,
                 input->slot_failures, separator, input->last_failure);
        return true;
    }
    uint64_t deadline = input->settings.progress_deadline_ms;
    if (clock->used_ms < deadline || !clock->running)
        return false;
    char limit[TEXT_DURATION_MAX];
    text_format_duration(deadline, limit, sizeof limit);
    snprintf(why, REASON_MAX, "no instance became healthy within %s (%u of %u are)%s%.300s%s%s",
             limit, input->counts.healthy, canaries(input) > 0 ? canaries(input) : input->replicas,
             separator, input->last_failure, silence[0] != '\0' ? "; " : "", silence);
    return true;
}

/* Canaries were judged, or there are none to judge any more. True when the phase changes. */
static bool judge_canaries(const struct rollout_input *input, struct rollout_decision *decision)
{
    bool awaiting = input->phase == ROLLOUT_AWAITING_PROMOTION;
    uint32_t healthy = input->counts.healthy;
    if (input->phase != ROLLOUT_PROGRESSING && !awaiting)
        return false;
    if (input->canary == 0) {
        if (!awaiting)
            return false;
        decide(decision, ROLLOUT_PROGRESSING, "no canary is wanted any more: it goes on");
        decision->promotes = true;
        return true;
    }
    if (healthy < input->canary) {
        if (awaiting)
            decide(decision, ROLLOUT_PROGRESSING, "%u of %u canaries healthy", healthy,
                   input->canary);
        return awaiting;
    }
    if (!awaiting) {
        decide(decision, ROLLOUT_AWAITING_PROMOTION, "%u of %u canaries healthy", healthy,
               input->canary);
        return true;
    }
    uint64_t due = input->counts.all_ready_since_ms + input->settings.canary_time_ms;
    if (!input->settings.auto_promote)
        return false;
    if (input->now_ms < due) {
        decision->next_ms = due;
        return false;
    }
    decide(decision, ROLLOUT_PROGRESSING, "%u of %u canaries healthy: promoted by itself", healthy,
           input->canary);
    decision->promotes = true;
    return true;
}

static void report_waiting(const struct rollout_input *input, struct rollout_decision *decision)
{
    decide(decision, input->phase, "%u of %u canaries healthy: %s", input->counts.healthy,
           input->canary,
           input->settings.auto_promote ? "promoted by itself when they have stayed so"
                                        : "waits for `promote` or `abort`");
}

/* When the deadline passes; where the last report is older than that, when there is a newer one. */
static uint64_t next_look(const struct rollout_input *input, const struct rollout_clock *clock)
{
    uint64_t deadline = clock->last_ms + (input->settings.progress_deadline_ms - clock->used_ms);
    return deadline > input->now_ms ? deadline : input->now_ms + ROLLOUT_NEWS_MS;
}

void rollout_decide(const struct rollout_input *input, struct rollout_clock *clock,
                    struct rollout_decision *ret_decision)
{
    char why[REASON_MAX];
    move_clock(input, clock);
    *ret_decision = (struct rollout_decision){.phase = input->phase, .next_ms = UINT64_MAX};
    if (input->revoked != NULL && !is_complete(input)) {
        fail(input, input->revoked, ret_decision);
        return;
    }
    /* It is over, or goes on, when a person says so. */
    if (input->phase == ROLLOUT_PAUSED) {
        report_progress(input, ret_decision);
        return;
    }
    if (is_complete(input) && input->phase != ROLLOUT_AWAITING_PROMOTION) {
        bool back = input->phase == ROLLOUT_ROLLING_BACK;
        /* Why it went back is already known, and stays the reason. */
        decide(ret_decision, back ? ROLLOUT_ROLLED_BACK : ROLLOUT_SUCCEEDED, "%u of %u healthy",
               input->counts.healthy, input->replicas);
        return;
    }
    if (has_failed(input, clock, why)) {
        fail(input, why, ret_decision);
        return;
    }
    if (judge_canaries(input, ret_decision))
        return;
    if (input->phase == ROLLOUT_AWAITING_PROMOTION) {
        report_waiting(input, ret_decision);
        return;
    }
    report_progress(input, ret_decision);
    if (clock->running)
        ret_decision->next_ms = next_look(input, clock);
}
