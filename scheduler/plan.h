/* What applying a spec would do, without doing it: the real decisions, reconcile and placement, on
 * a copy of the service, with every new instance healthy and every old one gone as soon as asked.
 * Loop thread only. */
#pragma once

#include "lib/api/plan.h"
#include "scheduler/service_changes.h"

/* Fills the plan, which the caller releases by api_plan_record. What service_changes_apply refuses
 * is refused. */
int plan_make(struct core *core, const struct service_apply *apply, struct api_plan *ret_plan,
              struct error *error);
