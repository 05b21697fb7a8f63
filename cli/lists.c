/* Lists: instances, services, history. */
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/jobs.h"
#include "cli/lists.h"
#include "cli/plan.h"
#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/api/causes.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

void lists_print_table(const struct cli *cli, struct table *table)
{
    struct buffer AUTO_BUFFER text = {0};
    table_render(table, cli->format == OUTPUT_WIDE, cli->colored, &text);
    fputs(buffer_text(&text), stdout);
    table_destroy(table);
}

static void cell_age(struct table *table, uint64_t ms)
{
    char text[FORMAT_MAX];
    format_age_or_nothing(ms, text);
    table_cell(table, "%s", text);
}

void lists_cell_span(struct table *table, uint64_t ms)
{
    char text[FORMAT_MAX] = "";
    if (ms > 0)
        format_span(ms, text);
    table_cell(table, "%s", text);
}

static void instance_row(struct table *table, const struct api_instance_view *view)
{
    table_cell(table, "%s", view->id);
    table_cell(table, "%s", view->namespace_name);
    table_cell(table, "%s", view->service);
    /* A standby has no slot before it is resumed. */
    if (view->wanted == API_WANTED_STANDBY)
        table_cell(table, "%s", "");
    else
        table_cell(table, "%u", view->slot);
    if (view->run != 0)
        table_cell(table, "%u", view->run);
    else
        table_cell(table, "%s", "");
    table_cell(table, "%u", view->revision);
    table_cell(table, "%s", view->node);
    table_cell(table, "%s", view->address);
    table_cell(table, "%s", api_wanted_names[view->wanted]);
    table_cell_toned(table, format_state_tone(view->state), instance_state_names[view->state]);
    table_cell(table, "%s", view->healthy ? "yes" : "no");
    table_cell(table, "%u", view->restarts);
    cell_age(table, view->age_ms);
    lists_cell_span(table, view->uptime_ms);
    lists_cell_span(table, view->boot_ms);
    table_cell(table, "%s", view->accel);
    table_cell(table, "%s", view->cause);
    table_cell(table, "%s", view->message);
}

bool lists_is_chosen(const struct api_instance_view *view, enum lists_choice choice)
{
    bool told = view->cause[0] != '\0' && strcmp(view->cause, INSTANCE_CAUSE_STOPPED) != 0;
    if (choice == LISTS_WHOLE || (choice == LISTS_TOLD && told))
        return true;
    return !instance_state_is_over(view->state) || view->wanted == API_WANTED_RUN;
}

void lists_print_instances(const struct cli *cli, const struct view_list *instances,
                           enum lists_choice choice)
{
    static const struct table_column columns[] = {
        {"ID", .right = false},    {"NAMESPACE", .wide = true}, {"SERVICE", .right = false},
        {"SLOT", .right = true},   {"RUN", true, true},         {"REV", .right = true},
        {"NODE", .right = false},  {"ADDRESS", .wide = true},   {"WANTED", .wide = true},
        {"STATE", .right = false}, {"HEALTHY", .wide = true},   {"RESTARTS", .right = true},
        {"AGE", .right = true},    {"UPTIME", true, true},      {"BOOT", true, true},
        {"ACCEL", .wide = true},   {"CAUSE", .right = false},   {"MESSAGE", .wide = true},
        {NULL, false, false},
    };
    const struct api_instance_view *views = instances->items;
    struct table *table = table_create(columns);
    for (size_t i = 0; i < instances->count; i++) {
        if (lists_is_chosen(&views[i], choice))
            instance_row(table, &views[i]);
    }
    lists_print_table(cli, table);
}

/* Takes over the list's document. */
static void print_list_document(struct cli *cli, struct view_list *list)
{
    cli_print_document(cli, json_object_get(list->document));
}

/* Drops those that are over from the document, as the table does. */
static void keep_live(struct json_object *document)
{
    struct json_object *items;
    json_object_object_get_ex(document, "instances", &items);
    for (size_t i = json_object_array_length(items); i > 0; i--) {
        struct api_instance_view view = {0};
        struct json_object *item = json_object_array_get_idx(items, i - 1);
        if (json_decode(&api_instance_view_record, item, JSON_LENIENT, &view, NULL) == 0 &&
            !lists_is_chosen(&view, LISTS_LIVE))
            json_object_array_del_idx(items, i - 1, 1);
    }
}

int ps_run(struct cli *cli, struct error *error)
{
    struct view_list AUTO_VIEWS instances = {0};
    const char *service = NULL;
    if (cli_argument(cli, 0) != NULL && (service = cli_service_argument(cli, error)) == NULL)
        return -1;
    bool one_namespace = service != NULL || invocation_has(cli->invocation, "namespace");
    if (scheduler_instances(cli, one_namespace ? cli->settings.namespace_name : NULL, service,
                            &instances, error) < 0)
        return -1;
    /* Nothing to list is no answer to a name that was mistyped. */
    struct api_service_view view = {0};
    if (service != NULL && instances.count == 0) {
        if (scheduler_service(cli, cli->settings.namespace_name, service, &view, NULL, error) < 0)
            return -1;
        json_record_release(&api_service_view_record, &view);
    }
    bool all = invocation_has(cli->invocation, "all");
    if (!cli_wants_document(cli)) {
        lists_print_instances(cli, &instances, all ? LISTS_WHOLE : LISTS_LIVE);
        return 0;
    }
    if (!all)
        keep_live(instances.document);
    print_list_document(cli, &instances);
    return 0;
}

static void service_row(struct table *table, const struct api_service_view *view)
{
    char digest[FORMAT_MAX];
    format_digest(view->image_digest, digest);
    table_cell(table, "%s", view->namespace_name);
    table_cell(table, "%s", view->service);
    table_cell(table, "%u/%u", view->ready, view->replicas);
    table_cell(table, "%u", view->revision);
    table_cell(table, "%s", view->image);
    table_cell(table, "%s", digest);
    if (view->has_rollout)
        table_cell_toned(table, format_phase_tone(view->rollout.phase),
                         rollout_phase_names[view->rollout.phase]);
    else
        table_cell(table, "%s", "");
    cell_age(table, view->age_ms);
}

int service_list_run(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {
        {"NAMESPACE", .right = false}, {"SERVICE", .right = false}, {"READY", .right = true},
        {"REV", .right = true},        {"IMAGE", .right = false},   {"DIGEST", .wide = true},
        {"ROLLOUT", .right = false},   {"AGE", .right = true},      {NULL, false, false},
    };
    struct view_list AUTO_VIEWS services = {0};
    AUTO_FREE char *path = xasprintf("/v1/namespaces/%s/services", cli->settings.namespace_name);
    if (scheduler_list(cli, path, "services", &api_service_view_record, &services, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        print_list_document(cli, &services);
        return 0;
    }
    struct table *table = table_create(columns);
    const struct api_service_view *views = services.items;
    for (size_t i = 0; i < services.count; i++) {
        if (views[i].type == API_TYPE_SERVICE) /* `job list` has the others */
            service_row(table, &views[i]);
    }
    lists_print_table(cli, table);
    return 0;
}

static void rollout_row(struct table *table, const struct api_rollout_view *view)
{
    table_cell(table, "%u", view->number);
    table_cell(table, "%s", view->kind);
    if (view->from > 0)
        table_cell(table, "%u", view->from);
    else
        table_cell(table, "%s", "");
    table_cell(table, "%u", view->to);
    table_cell_toned(table, format_phase_tone(view->phase), rollout_phase_names[view->phase]);
    cell_age(table, view->age_ms);
    lists_cell_span(table, view->duration_ms);
    table_cell(table, "%s", view->reason);
}

static void print_rollouts(const struct cli *cli, const struct view_list *rollouts)
{
    static const struct table_column columns[] = {
        {"ROLLOUT", .right = true}, {"KIND", .right = false},   {"FROM", .right = true},
        {"TO", .right = true},      {"PHASE", .right = false},  {"AGE", .right = true},
        {"TOOK", .right = true},    {"REASON", .right = false}, {NULL, false, false},
    };
    struct table *table = table_create(columns);
    for (size_t i = 0; i < rollouts->count; i++)
        rollout_row(table, (const struct api_rollout_view *)rollouts->items + i);
    lists_print_table(cli, table);
}

/* "env.LOG, image": what became different. */
static void cell_changes(struct table *table, const struct api_revision_view *view)
{
    struct buffer AUTO_BUFFER text = {0};
    for (size_t i = 0; i < view->change_count; i++) {
        buffer_append_text(&text, i > 0 ? ", " : "");
        plan_append_path(&text, &view->changes[i]);
    }
    table_cell(table, "%s", buffer_text(&text));
}

static void print_differences(const struct view_list *revisions)
{
    const struct api_revision_view *views = revisions->items;
    for (size_t i = 0; i < revisions->count; i++) {
        if (views[i].before == 0)
            printf("revision %u: the oldest that is kept\n", views[i].number);
        else
            printf("revision %u, from revision %u:\n", views[i].number, views[i].before);
        for (size_t j = 0; j < views[i].change_count; j++)
            plan_print_change(&views[i].changes[j]);
    }
}

static void print_revisions(const struct cli *cli, const struct view_list *revisions)
{
    static const struct table_column columns[] = {
        {"REVISION", .right = true}, {"CURRENT", .right = false}, {"IMAGE", .right = false},
        {"DIGEST", .right = false},  {"TEMPLATE", .wide = true},  {"SIGNED BY", .right = false},
        {"AGE", .right = true},      {"CHANGED", .right = false}, {NULL, false, false},
    };
    struct table *table = table_create(columns);
    const struct api_revision_view *views = revisions->items;
    for (size_t i = 0; i < revisions->count; i++) {
        char digest[FORMAT_MAX], template_digest[FORMAT_MAX];
        format_digest(views[i].image_digest, digest);
        format_digest(views[i].template_digest, template_digest);
        table_cell(table, "%u", views[i].number);
        table_cell(table, "%s", views[i].current ? "yes" : "");
        table_cell(table, "%s", views[i].image);
        table_cell(table, "%s",
                   cli->format == OUTPUT_WIDE ? views[i].image_digest : (const char *)digest);
        table_cell(table, "%s", template_digest);
        table_cell(table, "%s", views[i].signed_by);
        cell_age(table, views[i].age_ms);
        cell_changes(table, &views[i]);
    }
    lists_print_table(cli, table);
}

static void add_member(struct json_object *document, const char *key, const struct view_list *list)
{
    struct json_object *items;
    json_object_object_get_ex(list->document, key, &items);
    json_object_object_add(document, key, json_object_get(items));
}

int history_run(struct cli *cli, struct error *error)
{
    const char *namespace_name = cli->settings.namespace_name;
    const char *service = cli_service_argument(cli, error);
    struct view_list AUTO_VIEWS rollouts = {0};
    struct view_list AUTO_VIEWS revisions = {0};
    struct view_list AUTO_VIEWS runs = {0};
    AUTO_JSON struct json_object *service_document = NULL;
    struct api_service_view view = {0};
    if (service == NULL ||
        scheduler_service(cli, namespace_name, service, &view, &service_document, error) < 0)
        return -1;
    bool is_job = view.type == API_TYPE_JOB;
    json_record_release(&api_service_view_record, &view);
    if (is_job && jobs_fetch_runs(cli, namespace_name, service, &runs, error) < 0)
        return -1;
    if (scheduler_rollouts(cli, namespace_name, service, &rollouts, error) < 0 ||
        scheduler_revisions(cli, namespace_name, service, &revisions, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "service", TAKE_POINTER(service_document));
        if (is_job)
            add_member(document, "runs", &runs);
        add_member(document, "rollouts", &rollouts);
        add_member(document, "revisions", &revisions);
        cli_print_document(cli, document);
        return 0;
    }
    if (is_job)
        jobs_print_runs(cli, &runs);
    else if (invocation_has(cli->invocation, "diff")) {
        print_differences(&revisions);
        return 0;
    }
    print_rollouts(cli, &rollouts);
    putchar('\n');
    print_revisions(cli, &revisions);
    return 0;
}
