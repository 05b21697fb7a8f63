/* What `deploy --plan` and `status` tell of places. */
#pragma once

#include "cli/cli.h"
#include "lib/api/plan.h"

/* Prints the plans of a manifest and takes the list's reference. -1 with ERROR_NO_CAPACITY when
 * something would find no place. */
int plan_print(struct cli *cli, struct json_object *plans, struct error *error);
/* A line for each reason, behind `indent`. */
void plan_print_obstacles(const char *indent, const struct api_obstacles *obstacles);
