/* What to do about one run of a job: which completions to start, to try again, to stop; and when it
 * has succeeded or failed. Pure: values and a time in, actions out (docs/scheduling.md, "Jobs").
 *
 * A run has `completions` indexes from 0. One that is not done and has no instance is started, the
 * lowest first, while fewer than `parallelism` run. A failure is tried again after a back-off that
 * doubles with the failures of its index; the failures of all indexes together may be `retries`. An
 * instance that was lost with its node, or had to make room, is started again and not counted. */
#pragma once

#include "lib/api/service_spec.h"
#include "lib/api/states.h"

/* How an instance of a job ended. */
enum job_outcome {
    JOB_OUTCOME_NONE, /* it has not */
    JOB_OUTCOME_SUCCEEDED,
    JOB_OUTCOME_FAILED,
    JOB_OUTCOME_LOST,    /* with its node, or it had to make room */
    JOB_OUTCOME_STOPPED, /* the run was over before it was */
};
extern const char *const job_outcome_names[]; /* ends with NULL; the first is "" */

/* What an agent's last word on an instance means. `lost`: its node has been silent for so long that
 * it is given up. `wanted`: nobody asked it to end. */
enum job_outcome job_outcome_of(enum instance_state state, const char *cause, bool wanted,
                                bool lost);

struct job_instance {
    uint32_t index;
    enum job_outcome outcome;
    bool stopping;     /* it was asked to end, and has not */
    uint64_t ended_ms; /* with an outcome */
};

struct job_input {
    enum run_phase phase;
    uint32_t completions;
    uint32_t parallelism;
    uint32_t retries;
    uint64_t begun_ms;
    uint64_t deadline_ms; /* of the whole run; 0: none */
    struct api_reschedule backoff;
    const struct job_instance *instances; /* all of the run; those below `completions` count */
    size_t instance_count;
    const char *last_failure; /* for people; "" when nothing failed */
    const char *revoked;      /* why its revision may not run any more; NULL: it may */
    bool waits;               /* what it replaces has not ended: nothing is started yet */
    uint64_t now_ms;
};

struct job_counts {
    uint32_t succeeded; /* indexes */
    uint32_t failed;    /* instances; likewise below */
    uint32_t lost;
    uint32_t active;
};

enum job_action_kind { JOB_START, JOB_STOP };
struct job_action {
    enum job_action_kind kind;
    uint32_t index;
    uint32_t attempt; /* JOB_START: failures of the index so far */
    size_t instance;  /* JOB_STOP */
};

struct job_result {
    enum run_phase phase; /* where it is now */
    char reason[512];     /* when that is new */
    struct job_action *actions;
    size_t action_count;
    struct job_counts counts;
    uint64_t next_ms; /* look again then at the latest; UINT64_MAX: no need */
};

void job_decide(const struct job_input *input, struct job_result *ret_result);
void job_result_release(struct job_result *result);

/* --- schedules --- */

/* A clock that was set back by more than this had been wrong before. */
#define JOB_CLOCK_REPAIR_MS UINT64_C(86400000)

enum job_due { JOB_NOT_DUE, JOB_DUE, JOB_CLOCK_REPAIRED };

/* Whether a run is due. `last_ms` is when the schedule was last looked at with something due, or
 * when it was set; all times are wall clock. With JOB_DUE, `ret_at_ms` is the time that was missed
 * or met first, and `last_ms` becomes `now_ms`: however many were missed, they are one run; with
 * JOB_CLOCK_REPAIRED too, and nothing runs. Else it is when the next one is due. */
enum job_due job_schedule_look(const struct cron *cron, uint64_t last_ms, uint64_t now_ms,
                               uint64_t *ret_at_ms);
