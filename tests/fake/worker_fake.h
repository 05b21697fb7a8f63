/* Workers without threads: the test says when a job's step happens, so that every order that
 * threads could give can be tried, and tried again. Stands in for agent/host/worker.c. One thread.
 *
 * A job is first waiting, then `run` does its work, then it is posted, and then `done` is told. */
#pragma once

#include <stdbool.h>

#include "agent/host/worker.h"

/* With so many jobs under way at a time. `post` hands a job that has run to the loop, in order with
 * what else comes from other threads; the test then calls job->done(job). */
struct worker *worker_fake_create(size_t threads,
                                  void (*post)(void *context, struct worker_job *job),
                                  void *context);
/* Jobs that could run next, at most as many as threads are free; and those that have run. */
size_t worker_fake_count_waiting(const struct worker *worker);
size_t worker_fake_count_run(const struct worker *worker);
/* Runs the first that waits. */
void worker_fake_run(struct worker *worker);
/* Posts one that has run. */
void worker_fake_post(struct worker *worker, size_t index);
