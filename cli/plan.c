#include "cli/plan.h"

#include <stdio.h>
#include <string.h>

#include "cli/lists.h"
#include "cli/table.h"
#include "lib/cleanup.h"

/* A person reads some; -o json has them all. */
#define ROWS_MAX    40
#define CHANGES_MAX 40

static const struct table_column columns[] = {{.title = "SLOT", .right = true},
                                              {.title = "ACTION"},
                                              {.title = "INSTANCE"},
                                              {.title = "FROM"},
                                              {.title = "TO"},
                                              {.title = NULL}};

static void print_safe(const char *text)
{
    struct buffer AUTO_BUFFER safe = {0};
    text_append_safe(&safe, text);
    fputs(buffer_text(&safe), stdout);
}

void plan_print_obstacles(const char *indent, const struct api_obstacles *obstacles)
{
    for (size_t i = 0; i < obstacles->count; i++) {
        const struct api_obstacle *obstacle = &obstacles->items[i];
        struct buffer AUTO_BUFFER text = {0};
        buffer_printf(&text, "%s%u node%s: %s (", indent, obstacle->nodes,
                      obstacle->nodes == 1 ? "" : "s", obstacle->message);
        for (size_t n = 0; n < obstacle->names.count; n++)
            buffer_printf(&text, "%s%s", n > 0 ? ", " : "", obstacle->names.items[n]);
        if (obstacle->nodes > obstacle->names.count)
            buffer_printf(&text, " and %zu more", (size_t)obstacle->nodes - obstacle->names.count);
        buffer_append_text(&text, ")");
        print_safe(buffer_text(&text));
        putchar('\n');
    }
}

static void print_head(const struct api_plan *plan)
{
    struct buffer AUTO_BUFFER text = {0};
    buffer_printf(&text, "%s/%s: %s%s", plan->namespace_name, plan->service,
                  plan->is_new ? "a new service, " : "", plan->message);
    if (!plan->is_new && plan->replicas != plan->replicas_before)
        buffer_printf(&text, ", from %u to %u replicas", plan->replicas_before, plan->replicas);
    if (plan->kept > 0)
        buffer_printf(&text, "; %u instance%s stay%s", plan->kept, plan->kept == 1 ? "" : "s",
                      plan->kept == 1 ? "s" : "");
    print_safe(buffer_text(&text));
    putchar('\n');
}

void plan_append_path(struct buffer *text, const struct api_plan_change *change)
{
    for (const char *at = change->path[0] == '/' ? change->path + 1 : change->path; *at != '\0';
         at++)
        buffer_append(text, *at == '/' ? "." : at, 1);
}

void plan_print_change(const struct api_plan_change *change)
{
    struct buffer AUTO_BUFFER text = {0};
    buffer_append_text(&text, "  ");
    plan_append_path(&text, change);
    buffer_printf(&text, ": %.200s -> %.200s", change->before != NULL ? change->before : "(none)",
                  change->after != NULL ? change->after : "(none)");
    print_safe(buffer_text(&text));
    putchar('\n');
}

static void print_instances(const struct cli *cli, const struct api_plan *plan)
{
    struct table *table = table_create(columns);
    for (size_t i = 0; i < plan->instance_count && i < ROWS_MAX; i++) {
        const struct api_plan_instance *instance = &plan->instances[i];
        table_cell(table, "%u", instance->slot);
        table_cell_toned(table, instance->action == API_PLAN_WAIT ? TONE_BAD : TONE_PLAIN,
                         api_plan_action_names[instance->action]);
        table_cell(table, "%s", instance->id);
        table_cell(table, "%s", instance->from);
        table_cell(table, "%s", instance->node);
    }
    lists_print_table(cli, table);
    if (plan->instance_count > ROWS_MAX)
        printf("and %zu more: -o json tells them all\n", plan->instance_count - ROWS_MAX);
}

static void print_plan(const struct cli *cli, const struct api_plan *plan)
{
    print_head(plan);
    for (size_t i = 0; i < plan->change_count && i < CHANGES_MAX && !plan->is_new; i++)
        plan_print_change(&plan->changes[i]);
    if (plan->change_count > CHANGES_MAX && !plan->is_new)
        printf("  and %zu more: -o json tells them all\n", plan->change_count - CHANGES_MAX);
    if (plan->instance_count > 0)
        print_instances(cli, plan);
    if (plan->is_cut)
        puts("This is a long rollout: what comes later was not looked at.");
    if (plan->waiting > 0) {
        printf("%u instance%s would find no node:\n", plan->waiting, plan->waiting == 1 ? "" : "s");
        plan_print_obstacles("  ", &plan->obstacles);
    }
}

static int print_one(const struct cli *cli, struct json_object *document, uint32_t *waiting,
                     struct error *error)
{
    struct api_plan plan = {0};
    if (json_decode(&api_plan_record, document, JSON_LENIENT, &plan, error) < 0)
        return error_wrap(error, "the scheduler's plan");
    *waiting += plan.waiting;
    if (!cli_wants_document(cli))
        print_plan(cli, &plan);
    json_record_release(&api_plan_record, &plan);
    return 0;
}

int plan_print(struct cli *cli, struct json_object *plans, struct error *error)
{
    uint32_t waiting = 0;
    int result = 0;
    for (size_t i = 0; i < json_object_array_length(plans) && result == 0; i++)
        result = print_one(cli, json_object_array_get_idx(plans, i), &waiting, error);
    if (result == 0 && cli_wants_document(cli)) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "plans", json_object_get(plans));
        cli_print_document(cli, document);
    }
    json_object_put(plans);
    if (result == 0 && waiting > 0)
        return error_set(error, ERROR_NO_CAPACITY,
                         "%u instance%s would find no node; nothing was changed", waiting,
                         waiting == 1 ? "" : "s");
    return result;
}

/* --- differences --- */

static struct json_object *difference_document(const struct api_plan *plan)
{
    struct json_object *document = json_object_new_object(), *changes = json_object_new_array();
    json_object_object_add(document, "namespace", json_object_new_string(plan->namespace_name));
    json_object_object_add(document, "service", json_object_new_string(plan->service));
    json_object_object_add(document, "new", json_object_new_boolean(plan->is_new));
    json_object_object_add(document, "rolls", json_object_new_boolean(plan->rolls));
    for (size_t i = 0; i < plan->change_count; i++)
        json_object_array_add(changes, json_encode(&api_plan_change_record, &plan->changes[i]));
    json_object_object_add(document, "changes", changes);
    return document;
}

static void print_difference(const struct api_plan *plan)
{
    bool scaled = !plan->is_new && plan->replicas != plan->replicas_before;
    const char *what = plan->is_new                              ? "a new service"
                       : plan->rolls                             ? "a new rollout"
                       : plan->change_count > 0 || plan->changed ? "applies in place"
                                                                 : "no difference";
    printf("%s/%s: %s\n", plan->namespace_name, plan->service, what);
    for (size_t i = 0; i < plan->change_count && !plan->is_new; i++)
        plan_print_change(&plan->changes[i]);
    if (scaled && plan->change_count == 0)
        printf("  replicas: %u -> %u\n", plan->replicas_before, plan->replicas);
}

int plan_print_differences(struct cli *cli, struct json_object *plans, struct error *error)
{
    struct json_object *differences = json_object_new_array();
    int result = 0;
    for (size_t i = 0; i < json_object_array_length(plans) && result == 0; i++) {
        struct api_plan plan = {0};
        if (json_decode(&api_plan_record, json_object_array_get_idx(plans, i), JSON_LENIENT, &plan,
                        error) < 0) {
            result = error_wrap(error, "the scheduler's plan");
            break;
        }
        if (cli_wants_document(cli))
            json_object_array_add(differences, difference_document(&plan));
        else
            print_difference(&plan);
        json_record_release(&api_plan_record, &plan);
    }
    json_object_put(plans);
    if (result < 0 || !cli_wants_document(cli)) {
        json_object_put(differences);
        return result;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "services", differences);
    cli_print_document(cli, document);
    return 0;
}
