/* How a rollout reads: one wording for `status` and for the commands that follow one. Pure. */
#pragma once

#include "lib/api/views.h"
#include "lib/buffer.h"

/* "rolling back" */
void rollout_text_phase(const struct api_rollout_view *view, struct buffer *text);
/* "1 of 2 healthy, 1 old; node a is silent: ...": the counts, and what the scheduler says beyond
 * them. Why one went wrong is not told here: that is its end. */
void rollout_text_progress(const struct api_rollout_view *view, struct buffer *text);
/* "progressing, 1 of 2 healthy" or, once it is over, "succeeded 3m ago: 2 of 2 healthy": what was
 * then, for its counts are not those of now. */
void rollout_text_describe(const struct api_rollout_view *view, struct buffer *text);
