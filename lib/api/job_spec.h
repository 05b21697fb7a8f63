/* What a spec of `type: job` may have, and what only it may have. For lib/api/service_spec.c; pure,
 * any thread. */
#pragma once

#include "lib/api/service_spec.h"

/* Refuses keys that make no sense for the spec's type, as `object` has them, with their place; then
 * fills in a job's defaults. `spec` was decoded from `object`. */
int api_job_complete(struct json_object *object, struct api_service_spec *spec,
                     struct error *error);
/* Takes the keys that a job does not have out of an encoded spec. */
void api_job_strip(struct json_object *object);
