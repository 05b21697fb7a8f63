/* What people see of jobs and their runs (lib/api/views.h). Loop thread only. */
#pragma once

#include "scheduler/core.h"

/* Fills what only a job's view has. */
void views_fill_job(const struct core *core, const struct model_service *service,
                    struct api_service_view *view);
/* {"runs": [...]}, the oldest first; the caller owns it. */
struct json_object *views_runs(const struct core *core, const struct model_service *service);
