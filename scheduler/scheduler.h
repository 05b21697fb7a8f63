/* The scheduler: owns the store, the model and everything that works on them, and serves its HTTP
 * interface. Loop thread only. */
#pragma once

#include "scheduler/core.h"

struct scheduler;

/* Opens the store and reads it (running the loop meanwhile), then listens. */
int scheduler_create(uv_loop_t *loop, const struct scheduler_options *options,
                     struct scheduler **ret_scheduler, struct error *error);
uint16_t scheduler_port(const struct scheduler *scheduler);
/* Answers who waits, finishes what is being written, then closes all it has on the loop. */
void scheduler_stop(struct scheduler *scheduler);
/* After the loop has ended. */
void scheduler_destroy(struct scheduler *scheduler);
