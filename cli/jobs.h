/* What several commands show of jobs. */
#pragma once

#include "cli/cli.h"
#include "cli/scheduler.h"

/* Release the list with view_list_release. */
int jobs_fetch_runs(struct cli *cli, const char *namespace_name, const char *job,
                    struct view_list *ret_list, struct error *error);
/* "3 of 5 succeeded, 1 failed" */
void jobs_describe_run(const struct api_run_view *run, char *ret_text, size_t size);
void jobs_print_runs(const struct cli *cli, const struct view_list *runs);
/* Local time of the next run, or nothing. */
void jobs_describe_next(const struct api_service_view *job, char *ret_text, size_t size);
