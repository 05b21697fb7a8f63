/* How runs of jobs begin and end: what people ask for, deploys and schedules, as decisions. Each
 * fills a change from the model as it is at its turn. Loop thread only; no HTTP. */
#pragma once

#include "scheduler/core.h"

/* Runs of one job at a time, whatever its `concurrency`. */
#define JOB_RUNS_MAX 32

/* Begins a run of `document->spec` beside what runs, as its `concurrency` says: what it replaces is
 * stopped. `document` is the copy of the service that this change writes; `service` is NULL for a
 * new one. ERROR_CONFLICT, and nothing is written, when it may not run now. The number goes to
 * `ret_run`. */
int job_begin_run(struct core *core, struct change *change, const struct model_service *service,
                  struct document_service *document, uint32_t revision, const char *kind,
                  uint64_t scheduled_ms, uint32_t *ret_run, struct error *error);
/* Moves a run on to its end. */
void job_end_run(struct core *core, struct change *change, const struct document_run *run,
                 enum run_phase phase, const char *reason);

/* --- what people ask for --- */

int job_changes_run(struct core *core, struct change *change, const char *namespace_name,
                    const char *service, struct api_change_answer *ret_answer, struct error *error);
/* `run` 0: all that run. */
int job_changes_stop(struct core *core, struct change *change, const char *namespace_name,
                     const char *service, uint32_t run, struct api_change_answer *ret_answer,
                     struct error *error);
