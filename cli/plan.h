/* What `deploy --plan` and `diff` tell of a manifest, and `status` of places. */
#pragma once

#include "cli/cli.h"
#include "lib/api/plan.h"

/* Prints the plans of a manifest and takes the list's reference. -1 with ERROR_NO_CAPACITY when
 * something would find no place. */
int plan_print(struct cli *cli, struct json_object *plans, struct error *error);
/* Prints only what differs from what the cluster has, and takes the list's reference. */
int plan_print_differences(struct cli *cli, struct json_object *plans, struct error *error);
/* "  resources.memory: "32Mi" -> "64Mi"". */
void plan_print_change(const struct api_plan_change *change);
/* "/resources/memory" as resources.memory. */
void plan_append_path(struct buffer *text, const struct api_plan_change *change);
/* A line for each reason, behind `indent`. */
void plan_print_obstacles(const char *indent, const struct api_obstacles *obstacles);
