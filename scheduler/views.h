/* What people see of the model, made for each answer (lib/api/views.h). Loop thread only. */
#pragma once

#include "scheduler/core.h"

/* Each returns an object that the caller owns. */
struct json_object *views_service(const struct core *core, const struct model_service *service,
                                  bool with_spec);
struct json_object *views_services(const struct core *core, const char *namespace_name);
/* What a revision is, for comparing: its template, and the image as the user wrote it. */
struct json_object *views_comparable_revision(const struct document_revision *revision);
struct json_object *views_revisions(const struct core *core, const struct model_service *service);
struct json_object *views_rollouts(const struct core *core, const struct model_service *service);
/* Which instances: NULL and 0 ask for all. */
struct views_page {
    const char *namespace_name;
    const char *service;
    const char *after; /* only those with a higher id */
    size_t limit;      /* at most so many */
};
/* Both as text, which the caller frees: there may be a million. Slots that wait for room are
 * shown too, as pending, without an id, behind all that have one. */
char *views_instances(const struct core *core, const struct views_page *asked);
char *views_instance(const struct core *core, const struct model_instance *instance);
struct json_object *views_node(const struct core *core, const struct model_node *node);
struct json_object *views_nodes(const struct core *core);
struct json_object *views_keys(const struct core *core);
struct json_object *views_policies(const struct core *core);
