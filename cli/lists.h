/* Tables that several commands print. */
#pragma once

#include "cli/cli.h"
#include "cli/scheduler.h"
#include "cli/table.h"

/* Prints the table and destroys it. */
void lists_print_table(const struct cli *cli, struct table *table);
/* A cell "3.2s"; empty for 0. */
void lists_cell_span(struct table *table, uint64_t ms);
enum lists_choice {
    LISTS_LIVE,  /* without those that were stopped and are over */
    LISTS_TOLD,  /* those too that ended by another cause */
    LISTS_WHOLE, /* all that are kept */
};
/* nodes.c: what the list of nodes says of rescheduling, when it is worth a line. */
void nodes_print_rescheduling(const struct view_list *nodes);
bool lists_is_chosen(const struct api_instance_view *view, enum lists_choice choice);
void lists_print_instances(const struct cli *cli, const struct view_list *instances,
                           enum lists_choice choice);
