/* Tables that several commands print. */
#pragma once

#include "cli/cli.h"
#include "cli/scheduler.h"
#include "cli/table.h"

/* Prints the table and destroys it. */
void lists_print_table(const struct cli *cli, struct table *table);
/* Without `all`, instances that were stopped and are over are left out. */
void lists_print_instances(const struct cli *cli, const struct view_list *instances, bool all);
