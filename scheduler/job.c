#include "scheduler/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/reconcile.h"

const char *const job_outcome_names[] = {"", "succeeded", "failed", "lost", "stopped", NULL};

enum job_outcome job_outcome_of(enum instance_state state, const char *cause, bool wanted,
                                bool lost)
{
    if (state == INSTANCE_STOPPED && strcmp(cause, INSTANCE_CAUSE_COMPLETED) == 0)
        return JOB_OUTCOME_SUCCEEDED;
    if (instance_state_is_over(state)) {
        bool by_us = !wanted || strcmp(cause, INSTANCE_CAUSE_NODE_RESTARTED) == 0;
        return by_us ? JOB_OUTCOME_LOST : JOB_OUTCOME_FAILED;
    }
    return lost ? JOB_OUTCOME_LOST : JOB_OUTCOME_NONE;
}

/* One index of the run. */
struct index {
    bool done;
    bool active;
    uint32_t failures;
    uint64_t failed_ms; /* the last time */
};

struct pass {
    const struct job_input *input;
    struct job_result *result;
    struct index *indexes;
};

static void count_one(struct pass *pass, const struct job_instance *instance)
{
    struct job_counts *counts = &pass->result->counts;
    struct index *index = &pass->indexes[instance->index];
    switch (instance->outcome) {
    case JOB_OUTCOME_NONE:
        index->active = true;
        counts->active++;
        break;
    case JOB_OUTCOME_SUCCEEDED:
        counts->succeeded += !index->done;
        index->done = true;
        break;
    case JOB_OUTCOME_FAILED:
        counts->failed++;
        index->failures++;
        if (instance->ended_ms > index->failed_ms)
            index->failed_ms = instance->ended_ms;
        break;
    case JOB_OUTCOME_LOST:
        counts->lost++;
        break;
    case JOB_OUTCOME_STOPPED:
        break;
    }
}

static void count(struct pass *pass)
{
    for (size_t i = 0; i < pass->input->instance_count; i++) {
        const struct job_instance *instance = &pass->input->instances[i];
        if (instance->index < pass->input->completions)
            count_one(pass, instance);
    }
}

static void move(struct pass *pass, enum run_phase phase)
{
    const struct job_input *input = pass->input;
    struct job_result *result = pass->result;
    const struct job_counts *counts = &result->counts;
    char deadline[TEXT_DURATION_MAX];
    result->phase = phase;
    if (phase == RUN_SUCCEEDED) {
        snprintf(result->reason, sizeof result->reason, "%u of %u succeeded", counts->succeeded,
                 input->completions);
    } else if (input->revoked != NULL) {
        snprintf(result->reason, sizeof result->reason, "its revision may not run: %.400s",
                 input->revoked);
    } else if (counts->failed > input->retries) {
        snprintf(result->reason, sizeof result->reason,
                 "%u failed, %u retries are allowed; the last: %.400s", counts->failed,
                 input->retries, input->last_failure);
    } else {
        text_format_duration(input->deadline_ms, deadline, sizeof deadline);
        snprintf(result->reason, sizeof result->reason,
                 "deadline %s passed with %u of %u succeeded", deadline, counts->succeeded,
                 input->completions);
    }
}

static void look_again(struct pass *pass, uint64_t at_ms)
{
    if (at_ms < pass->result->next_ms)
        pass->result->next_ms = at_ms;
}

static void decide_phase(struct pass *pass)
{
    const struct job_input *input = pass->input;
    const struct job_counts *counts = &pass->result->counts;
    uint64_t deadline = input->begun_ms + input->deadline_ms;
    if (run_phase_is_over(input->phase))
        return;
    if (counts->succeeded == input->completions)
        move(pass, RUN_SUCCEEDED);
    else if (input->revoked != NULL || counts->failed > input->retries ||
             (input->deadline_ms > 0 && input->now_ms >= deadline))
        move(pass, RUN_FAILED);
    else if (input->deadline_ms > 0)
        look_again(pass, deadline);
}

static void add(struct pass *pass, const struct job_action *action)
{
    pass->result->actions[pass->result->action_count++] = *action;
}

/* What is over needs nothing any more; nor does an index that is done, or beyond the last. */
static void stop_needless(struct pass *pass)
{
    const struct job_input *input = pass->input;
    for (size_t i = 0; i < input->instance_count; i++) {
        const struct job_instance *instance = &input->instances[i];
        bool needed = !run_phase_is_over(pass->result->phase) &&
                      instance->index < input->completions && !pass->indexes[instance->index].done;
        if (instance->outcome == JOB_OUTCOME_NONE && !instance->stopping && !needed)
            add(pass,
                &(struct job_action){.kind = JOB_STOP, .index = instance->index, .instance = i});
    }
}

/* When the index may be tried again; 0: at once. */
static uint64_t earliest(const struct pass *pass, const struct index *index)
{
    if (index->failures == 0)
        return 0;
    return index->failed_ms + reconcile_backoff(&pass->input->backoff, index->failures - 1);
}

static void start_missing(struct pass *pass)
{
    const struct job_input *input = pass->input;
    uint32_t active = pass->result->counts.active;
    if (run_phase_is_over(pass->result->phase) || input->waits)
        return;
    for (uint32_t i = 0; i < input->completions && active < input->parallelism; i++) {
        const struct index *index = &pass->indexes[i];
        if (index->done || index->active)
            continue;
        uint64_t at = earliest(pass, index);
        if (input->now_ms < at) {
            look_again(pass, at);
            continue;
        }
        active++;
        add(pass, &(struct job_action){.kind = JOB_START, .index = i, .attempt = index->failures});
    }
}

void job_decide(const struct job_input *input, struct job_result *ret_result)
{
    struct pass pass = {.input = input, .result = ret_result};
    *ret_result = (struct job_result){.phase = input->phase, .next_ms = UINT64_MAX};
    pass.indexes = xcalloc((size_t)input->completions + 1, sizeof *pass.indexes);
    size_t room = input->instance_count + input->completions + 1;
    ret_result->actions = xcalloc(room, sizeof *ret_result->actions);
    count(&pass);
    decide_phase(&pass);
    stop_needless(&pass);
    start_missing(&pass);
    free(pass.indexes);
}

void job_result_release(struct job_result *result)
{
    free(result->actions);
    *result = (struct job_result){0};
}

/* --- schedules --- */

enum job_due job_schedule_look(const struct cron *cron, uint64_t last_ms, uint64_t now_ms,
                               uint64_t *ret_at_ms)
{
    if (last_ms > now_ms && last_ms - now_ms > JOB_CLOCK_REPAIR_MS) {
        *ret_at_ms = cron_next(cron, now_ms);
        return JOB_CLOCK_REPAIRED;
    }
    *ret_at_ms = cron_next(cron, last_ms);
    return *ret_at_ms <= now_ms ? JOB_DUE : JOB_NOT_DUE;
}
