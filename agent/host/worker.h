/* A few threads that take blocking work from one queue, so that the loop never waits for it.
 *
 * Jobs start in the order they were submitted; with several threads they overlap. */
#pragma once

#include <stddef.h>

#include "agent/host/loop_queue.h"

struct worker_job {
    struct loop_queue_item item;
    void (*run)(struct worker_job *job);  /* on one of the threads */
    void (*done)(struct worker_job *job); /* afterwards, on the loop; frees the job */
    struct worker_job *next;
};

struct worker;

/* `prepare` runs once in each thread before its first job; may be NULL. `queue` must outlive it. */
struct worker *worker_create(struct loop_queue *queue, size_t threads, void (*prepare)(void));
/* Loop thread. After worker_stop the job's `done` is called at once, without `run`. */
void worker_submit(struct worker *worker, struct worker_job *job);
/* Loop thread. Waits for the jobs that run; those not begun have `done` called without `run`. */
void worker_stop(struct worker *worker);
/* Of a stopped one. NULL is fine. */
void worker_destroy(struct worker *worker);
