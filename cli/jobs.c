/* job list, run, stop; tables of runs. */
#include "cli/jobs.h"

#include <stdio.h>
#include <string.h>

#include "cli/change.h"
#include "cli/format.h"
#include "cli/lists.h"
#include "cli/table.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

int jobs_fetch_runs(struct cli *cli, const char *namespace_name, const char *job,
                    struct view_list *ret_list, struct error *error)
{
    AUTO_FREE char *path = scheduler_service_path(namespace_name, job, "/runs");
    return scheduler_list(cli, path, "runs", &api_run_view_record, ret_list, error);
}

void jobs_describe_run(const struct api_run_view *run, char *ret_text, size_t size)
{
    char failed[32] = "", lost[32] = "", active[32] = "", unknown[48] = "";
    if (run->failed > 0)
        snprintf(failed, sizeof failed, ", %u failed", run->failed);
    if (run->lost > 0)
        snprintf(lost, sizeof lost, ", %u lost", run->lost);
    if (run->active > run->unknown)
        snprintf(active, sizeof active, ", %u running", run->active - run->unknown);
    if (run->unknown > 0)
        snprintf(unknown, sizeof unknown, ", %u unknown on silent nodes", run->unknown);
    snprintf(ret_text, size, "%u of %u succeeded%s%s%s%s", run->succeeded, run->completions, active,
             unknown, failed, lost);
}

void jobs_describe_next(const struct api_service_view *job, char *ret_text, size_t size)
{
    char at[FORMAT_MAX] = "";
    if (job->next_run_ms != 0)
        format_time(job->next_run_ms, true, at);
    snprintf(ret_text, size, "%s", at);
}

static enum tone tone_of(enum run_phase phase)
{
    switch (phase) {
    case RUN_SUCCEEDED:
        return TONE_GOOD;
    case RUN_FAILED:
        return TONE_BAD;
    case RUN_STOPPED:
        return TONE_PLAIN;
    case RUN_RUNNING:
        break;
    }
    return TONE_BUSY;
}

static void age_cell(struct table *table, uint64_t ms)
{
    char text[FORMAT_MAX];
    format_age_or_nothing(ms, text);
    table_cell(table, "%s", text);
}

static void run_row(struct table *table, const struct api_run_view *view)
{
    char due[FORMAT_MAX] = "";
    if (view->scheduled_ms != 0)
        format_time(view->scheduled_ms, true, due);
    table_cell(table, "%u", view->number);
    table_cell(table, "%s", view->kind);
    table_cell(table, "%s", due);
    table_cell(table, "%u", view->revision);
    table_cell_toned(table, tone_of(view->phase), run_phase_names[view->phase]);
    table_cell(table, "%u/%u", view->succeeded, view->completions);
    table_cell(table, "%u", view->failed);
    table_cell(table, "%u", view->lost);
    age_cell(table, view->age_ms);
    lists_cell_span(table, view->duration_ms);
    table_cell(table, "%s", view->reason);
}

void jobs_print_runs(const struct cli *cli, const struct view_list *runs)
{
    static const struct table_column columns[] = {
        {"RUN", .right = true},    {"KIND", .right = false},   {"DUE", .wide = true},
        {"REV", .right = true},    {"PHASE", .right = false},  {"DONE", .right = true},
        {"FAILED", .right = true}, {"LOST", true, true},       {"AGE", .right = true},
        {"TOOK", .right = true},   {"REASON", .right = false}, {NULL, false, false},
    };
    struct table *table = table_create(columns);
    for (size_t i = 0; i < runs->count; i++)
        run_row(table, (const struct api_run_view *)runs->items + i);
    lists_print_table(cli, table);
}

/* --- job list --- */

static void job_row(struct table *table, const struct api_service_view *view)
{
    char next[FORMAT_MAX];
    jobs_describe_next(view, next, sizeof next);
    table_cell(table, "%s", view->namespace_name);
    table_cell(table, "%s", view->service);
    table_cell(table, "%u", view->revision);
    table_cell(table, "%s", view->image);
    table_cell(table, "%s", view->schedule);
    table_cell(table, "%s", next);
    if (view->has_run) {
        table_cell(table, "%u", view->run.number);
        table_cell_toned(table, tone_of(view->run.phase), run_phase_names[view->run.phase]);
        table_cell(table, "%u/%u", view->run.succeeded, view->run.completions);
        age_cell(table, view->run.age_ms);
    } else {
        for (int i = 0; i < 4; i++)
            table_cell(table, "%s", "");
    }
    age_cell(table, view->age_ms);
}

/* {"jobs": [...]}: those of the services that are jobs. */
static struct json_object *document_of_jobs(const struct view_list *services)
{
    struct json_object *document = json_object_new_object(), *jobs = json_object_new_array();
    struct json_object *items = NULL;
    json_object_object_get_ex(services->document, "services", &items);
    const struct api_service_view *views = services->items;
    for (size_t i = 0; i < services->count; i++) {
        if (views[i].type == API_TYPE_JOB)
            json_object_array_add(jobs, json_object_get(json_object_array_get_idx(items, i)));
    }
    json_object_object_add(document, "jobs", jobs);
    return document;
}

int job_list_run(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {
        {"NAMESPACE", .right = false}, {"JOB", .right = false},      {"REV", .right = true},
        {"IMAGE", .wide = true},       {"SCHEDULE", .right = false}, {"NEXT", .right = false},
        {"RUN", .right = true},        {"PHASE", .right = false},    {"DONE", .right = true},
        {"BEGAN", .right = true},      {"AGE", .right = true},       {NULL, false, false},
    };
    struct view_list AUTO_VIEWS services = {0};
    AUTO_FREE char *path = xasprintf("/v1/namespaces/%s/services", cli->settings.namespace_name);
    if (scheduler_list(cli, path, "services", &api_service_view_record, &services, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, document_of_jobs(&services));
        return 0;
    }
    struct table *table = table_create(columns);
    const struct api_service_view *views = services.items;
    for (size_t i = 0; i < services.count; i++) {
        if (views[i].type == API_TYPE_JOB)
            job_row(table, &views[i]);
    }
    lists_print_table(cli, table);
    return 0;
}

/* --- run, stop --- */

static int change_job(struct cli *cli, const char *rest, struct json_object *body, bool waits,
                      struct error *error)
{
    const char *job = cli_service_argument(cli, error);
    if (job == NULL)
        return -1;
    AUTO_FREE char *path = scheduler_service_path(cli->settings.namespace_name, job, rest);
    AUTO_JSON struct json_object *answer = NULL;
    struct change change;
    if (session_call(cli_session(cli), "POST", path, body, &answer, error) < 0 ||
        change_begin(&change, cli, cli->settings.namespace_name, job, answer, error) < 0)
        return -1;
    change.succeeded = !waits && change.answer.changed;
    int result = waits ? change_wait(&change, error) : 0;
    if (cli_wants_document(cli))
        cli_print_document(cli, change_document(&change));
    else if (!waits)
        printf("%s: %s\n", job, change.answer.message);
    else if (result == 0)
        change_print(&change);
    return result;
}

int job_run_run(struct cli *cli, struct error *error)
{
    AUTO_JSON struct json_object *body = json_object_new_object();
    return change_job(cli, "/runs", body, true, error);
}

int job_stop_run(struct cli *cli, struct error *error)
{
    struct api_stop_request request = {.run =
                                           (uint32_t)invocation_number(cli->invocation, "run", 0)};
    AUTO_JSON struct json_object *body = json_encode(&api_stop_request_record, &request);
    return change_job(cli, "/runs/stop", body, false, error);
}
