/* node list, cordon, uncordon, drain, rm, give-up. */
#include <stdio.h>
#include <string.h>

#include "cli/follow.h"
#include "cli/format.h"
#include "cli/lists.h"
#include "cli/scheduler.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/xalloc.h"

/* --- list --- */

static void cell_machines(struct table *table, const struct api_node_view *node)
{
    struct buffer AUTO_BUFFER text = {0};
    for (size_t i = 0; i < node->machine_count; i++)
        buffer_printf(&text, "%s%s/%s", i > 0 ? "," : "", node->machines[i].arch,
                      node->machines[i].accel);
    table_cell(table, "%s", buffer_text(&text));
}

/* Of the processor's own architecture; others are translated in any case. */
static void cell_accelerator(struct table *table, const struct api_node_view *node)
{
    const struct api_machine *own = node->machine_count > 0 ? &node->machines[0] : NULL;
    table_cell(table, "%s%s%s", own != NULL ? own->accel : "",
               own != NULL && own->why != NULL ? ": " : "",
               own != NULL && own->why != NULL ? own->why : "");
}

/* "libvirt qemu:///system": each node has its own. */
static void cell_hypervisor(struct table *table, const struct api_node_view *node)
{
    table_cell(table, "%s%s%s", node->hypervisor, node->hypervisor_uri[0] != '\0' ? " " : "",
               node->hypervisor_uri);
}

static void cell_state(struct table *table, const struct api_node_view *node)
{
    char text[96];
    bool eligible = node->eligibility == NODE_ELIGIBLE;
    bool over = node->memory_used > node->memory || node->vcpus_used > node->vcpus;
    bool half = node->state == NODE_READY && node->host_silent_ms > 0;
    snprintf(text, sizeof text, "%s%s%s%s%s", node_state_names[node->state], eligible ? "" : ",",
             eligible ? "" : node_eligibility_names[node->eligibility],
             over ? ",over-committed" : "", half ? ",host-half-silent" : "");
    enum tone tone = eligible && !over ? TONE_GOOD : TONE_BUSY;
    table_cell_toned(table, node->state == NODE_READY && !half ? tone : TONE_BAD, text);
}

static void node_row(struct table *table, const struct api_node_view *node)
{
    char available[FORMAT_MAX], memory[FORMAT_MAX];
    struct buffer AUTO_BUFFER labels = {0};
    uint64_t used = node->memory_used < node->memory ? node->memory_used : node->memory;
    format_bytes(node->memory - used, available);
    format_bytes(node->memory, memory);
    for (size_t i = 0; i < node->labels.count; i++)
        buffer_printf(&labels, "%s%s=%s", i > 0 ? "," : "", node->labels.items[i].key,
                      node->labels.items[i].value);
    table_cell(table, "%s", node->name);
    cell_state(table, node);
    cell_machines(table, node);
    table_cell(table, "%u", node->instances);
    table_cell(table, "%s/%s", available, memory);
    table_cell(table, "%u/%u", node->vcpus > node->vcpus_used ? node->vcpus - node->vcpus_used : 0,
               node->vcpus);
    table_cell(table, "%s", node->address);
    table_cell(table, "%s", node->subnet);
    table_cell(table, "%s", buffer_text(&labels));
    cell_hypervisor(table, node);
    cell_accelerator(table, node);
    table_cell(table, "%s", node->reason);
    lists_cell_span(table, node->heartbeat_age_ms);
}

void nodes_print_rescheduling(const struct view_list *nodes)
{
    struct api_rescheduling_view view = {0};
    struct json_object *object;
    if (!json_object_object_get_ex(nodes->document, "rescheduling", &object) ||
        json_decode(&api_rescheduling_view_record, object, JSON_LENIENT, &view, NULL) < 0)
        return;
    if (view.frozen)
        printf("\nRescheduling is frozen: %u of %u eligible nodes are silent, rather they are cut "
               "off than gone.\nIt goes on when they are back; `shoal node give-up NODE` says that "
               "one is gone.\n",
               view.suspect, view.eligible);
    else if (view.waiting > 0)
        printf("\n%u instance%s of lost nodes wait%s to be replaced, %u a second.\n", view.waiting,
               view.waiting == 1 ? "" : "s", view.waiting == 1 ? "s" : "", view.rate);
}

int node_list_run(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {
        {"NAME", .right = false},     {"STATE", .right = false},      {"MACHINES", .right = false},
        {"INSTANCES", .right = true}, {"FREE MEMORY", .right = true}, {"FREE VCPUS", .right = true},
        {"ADDRESS", .wide = true},    {"SUBNET", .wide = true},       {"LABELS", .wide = true},
        {"HYPERVISOR", .wide = true}, {"ACCELERATOR", .wide = true},  {"REASON", .wide = true},
        {"HEARTBEAT", .right = true}, {NULL, false, false},
    };
    struct view_list AUTO_VIEWS nodes = {0};
    if (scheduler_nodes(cli, &nodes, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, json_object_get(nodes.document));
        return 0;
    }
    struct table *table = table_create(columns);
    for (size_t i = 0; i < nodes.count; i++)
        node_row(table, (const struct api_node_view *)nodes.items + i);
    lists_print_table(cli, table);
    nodes_print_rescheduling(&nodes);
    return 0;
}

/* --- changing --- */

/* POST .../nodes/NAME/VERB with what the options say. Release nothing. */
static int change_node(struct cli *cli, const char *verb, struct api_node_view *ret_view,
                       struct json_object **ret_document, struct error *error)
{
    AUTO_FREE char *path = scheduler_node_path(cli_argument(cli, 0), verb);
    AUTO_JSON struct json_object *answer = NULL;
    struct api_node_request request = {.deadline_ms =
                                           invocation_duration(cli->invocation, "deadline", 0)};
    const char *reason = invocation_text(cli->invocation, "reason");
    if (reason != NULL && strlen(reason) >= sizeof request.reason)
        return cli_refuse_usage(cli, error, "--reason takes at most %zu bytes",
                                sizeof request.reason - 1);
    snprintf(request.reason, sizeof request.reason, "%s", reason != NULL ? reason : "");
    AUTO_JSON struct json_object *body = json_encode(&api_node_request_record, &request);
    if (session_call(cli_session(cli), "POST", path, body, &answer, error) < 0)
        return -1;
    if (json_decode(&api_node_view_record, answer, JSON_LENIENT, ret_view, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    *ret_document = TAKE_POINTER(answer);
    return 0;
}

static int set_eligibility(struct cli *cli, const char *verb, const char *meaning,
                           struct error *error)
{
    struct api_node_view view = {0};
    struct json_object *document;
    if (change_node(cli, verb, &view, &document, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, document);
    } else {
        printf("%s: %s, %s\n", view.name, node_eligibility_names[view.eligibility], meaning);
        json_object_put(document);
    }
    json_record_release(&api_node_view_record, &view);
    return 0;
}

int node_cordon_run(struct cli *cli, struct error *error)
{
    return set_eligibility(cli, "/cordon", "nothing is placed there any more", error);
}

int node_uncordon_run(struct cli *cli, struct error *error)
{
    return set_eligibility(cli, "/uncordon", "instances may be placed there", error);
}

int node_remove_run(struct cli *cli, struct error *error)
{
    const char *name = cli_argument(cli, 0);
    bool force = invocation_has(cli->invocation, "force");
    AUTO_FREE char *path = scheduler_node_path(name, force ? "?force=1" : "");
    if (session_call(cli_session(cli), "DELETE", path, NULL, NULL, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "node", json_object_new_string(name));
        json_object_object_add(document, "result", json_object_new_string("removed"));
        cli_print_document(cli, document);
    } else {
        printf("%s: removed\n", name);
    }
    return 0;
}

int node_give_up_run(struct cli *cli, struct error *error)
{
    struct api_node_view view = {0};
    struct json_object *document;
    if (change_node(cli, "/give-up", &view, &document, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, document);
    } else {
        printf("%s: given up, what it ran is replaced elsewhere\n", view.name);
        json_object_put(document);
    }
    json_record_release(&api_node_view_record, &view);
    return 0;
}

/* --- drain --- */

static void print_drain(struct cli *cli, const struct follow *follow, bool waited)
{
    const char *name = cli_argument(cli, 0);
    bool drained = waited && !follow->detached;
    if (cli_wants_document(cli)) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "node", json_object_new_string(name));
        json_object_object_add(document, "result",
                               json_object_new_string(drained ? "drained" : "detached"));
        if (drained)
            json_object_object_add(document, "volume_slots",
                                   json_object_new_uint64(follow->volume_slots));
        cli_print_document(cli, document);
    } else if (drained) {
        printf("%s: drained, it stays cordoned until `shoal node uncordon %s`\n", name, name);
        if (follow->volume_slots > 0)
            printf("%u slot%s wait%s for that: volumes do not move, and theirs are there (`shoal "
                   "volume list`)\n",
                   follow->volume_slots, follow->volume_slots == 1 ? "" : "s",
                   follow->volume_slots == 1 ? "s" : "");
    } else if (!waited) {
        printf("%s: draining; see `shoal node list`\n", name);
    }
}

int node_drain_run(struct cli *cli, struct error *error)
{
    struct api_node_view view = {0};
    struct json_object *document;
    struct follow follow = {0};
    if (change_node(cli, "/drain", &view, &document, error) < 0)
        return -1;
    json_record_release(&api_node_view_record, &view);
    json_object_put(document);
    bool waited = !invocation_has(cli->invocation, "detach");
    if (waited) {
        follow_init(&follow, cli, NULL, cli_argument(cli, 0));
        if (follow_drain(&follow, error) < 0)
            return -1;
    }
    print_drain(cli, &follow, waited);
    return 0;
}
