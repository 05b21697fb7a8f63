/* What of a status has changed since one that the scheduler took. Pure: values in, values out. */
#pragma once

#include "lib/api/agent.h"

/* The lists and the sequence of `status` into `ret_kept`; release it by api_status_record. */
void status_changes_keep(const struct api_status *status, struct api_status *ret_kept);
/* Makes `status` say only what differs from `base`, and of which sequence that is. Where an
 * instance came or went, or nothing is known of a base (sequence 0), it stays whole. */
void status_changes_reduce(struct api_status *status, const struct api_status *base);
