/* volume list, inspect, rm, snapshot, restore. */
#include "cli/volumes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/lists.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define SLOT_MAX 1000000

/* --- names --- */

static bool take_name(const char *text, size_t length, char *ret_name)
{
    char name[NAME_MAX_TEXT] = "";
    if (length >= sizeof name)
        return false;
    memcpy(name, text, length);
    if (!text_is_name(name))
        return false;
    memcpy(ret_name, name, sizeof name);
    return true;
}

bool volume_name_parse(const char *text, struct volume_name *ret_name)
{
    struct volume_name name = {0};
    const char *first = strchr(text, '/');
    const char *second = first != NULL ? strchr(first + 1, '/') : NULL;
    char slot_text[16] = "";
    uint64_t slot;
    if (second == NULL || (size_t)(second - first - 1) >= sizeof slot_text)
        return false;
    memcpy(slot_text, first + 1, (size_t)(second - first - 1));
    const char *mark = strchrnul(second, '@');
    /* One way to write each. */
    bool is_padded = slot_text[0] == '0' && slot_text[1] != '\0';
    if (is_padded || !take_name(text, (size_t)(first - text), name.service) ||
        !text_parse_u64(slot_text, SLOT_MAX, &slot) ||
        !take_name(second + 1, (size_t)(mark - second - 1), name.name) ||
        (*mark == '@' && !take_name(mark + 1, strlen(mark + 1), name.snapshot)))
        return false;
    name.slot = (uint32_t)slot;
    *ret_name = name;
    return true;
}

/* --- asking --- */

static void release_volumes(struct api_volumes *volumes)
{
    json_record_release(&api_volumes_record, volumes);
}
#define AUTO_VOLUMES __attribute__((cleanup(release_volumes)))

/* `service` NULL: of all; `namespace_name` NULL: of every namespace. `ret_document` may be NULL. */
static int fetch(struct cli *cli, const char *namespace_name, const char *service,
                 struct api_volumes *ret_volumes, struct json_object **ret_document,
                 struct error *error)
{
    AUTO_FREE char *path =
        xasprintf("/v1/volumes%s%s%s%s", namespace_name != NULL ? "?namespace=" : "",
                  namespace_name != NULL ? namespace_name : "", service != NULL ? "&service=" : "",
                  service != NULL ? service : "");
    AUTO_JSON struct json_object *answer = NULL;
    if (session_get(cli_session(cli), path, &answer, error) < 0)
        return -1;
    if (json_decode(&api_volumes_record, answer, JSON_LENIENT, ret_volumes, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    if (ret_document != NULL)
        *ret_document = TAKE_POINTER(answer);
    return 0;
}

/* What could not be asked may have more; how many those are. */
static size_t tell_silent_nodes(const struct api_volumes *volumes)
{
    size_t count = 0;
    for (size_t i = 0; i < volumes->node_count; i++) {
        AUTO_BUFFER struct buffer reason = {0};
        if (volumes->nodes[i].reason[0] == '\0')
            continue;
        text_append_safe(&reason, volumes->nodes[i].reason);
        fprintf(stderr, "the volumes of node %s are not known: %s\n", volumes->nodes[i].node,
                buffer_text(&reason));
        count++;
    }
    return count;
}

/* `node` NULL: any. */
static bool may_be_silent(const struct api_volumes *volumes, const char *node)
{
    for (size_t i = 0; i < volumes->node_count; i++) {
        if (volumes->nodes[i].reason[0] != '\0' &&
            (node == NULL || strcmp(volumes->nodes[i].node, node) == 0))
            return true;
    }
    return false;
}

/* Of several nodes with files of that name, the one whose files the service uses. */
static int choose(const struct api_volumes *volumes, const struct volume_name *name,
                  const char *node, const struct api_volume_view **ret_view, struct error *error)
{
    const struct api_volume_view *found = NULL;
    size_t count = 0, needed = 0;
    for (size_t i = 0; i < volumes->volume_count; i++) {
        const struct api_volume_view *view = &volumes->volumes[i];
        if (view->slot != name->slot || strcmp(view->name, name->name) != 0 ||
            (node != NULL && strcmp(view->node, node) != 0))
            continue;
        bool is_needed = view->state != VOLUME_UNUSED;
        if (found == NULL || is_needed)
            found = view;
        count++;
        needed += is_needed;
    }
    if (found == NULL && may_be_silent(volumes, node))
        return error_set(error, ERROR_UNAVAILABLE,
                         "volume %s/%" PRIu32 "/%s is on no node that answers: it may be on one "
                         "that does not (`shoal node list` shows them)",
                         name->service, name->slot, name->name);
    if (found == NULL)
        return error_set(error, ERROR_NOT_FOUND,
                         "there is no volume %s/%" PRIu32 "/%s%s%s: `shoal volume list` shows them",
                         name->service, name->slot, name->name, node != NULL ? " on node " : "",
                         node != NULL ? node : "");
    if (count > 1 && needed != 1)
        return error_set(error, ERROR_CONFLICT,
                         "%zu nodes have a volume %s/%" PRIu32
                         "/%s: --node says which (`shoal volume list` shows them)",
                         count, name->service, name->slot, name->name);
    *ret_view = found;
    return 0;
}

/* What the first argument names: a volume, and a snapshot of it where `with_snapshot` says so. */
static int find(struct cli *cli, bool with_snapshot, struct volume_name *ret_name,
                struct api_volumes *ret_volumes, const struct api_volume_view **ret_view,
                struct error *error)
{
    const char *text = cli_argument(cli, 0);
    if (!volume_name_parse(text, ret_name) || (with_snapshot && ret_name->snapshot[0] == '\0'))
        return cli_refuse_usage(cli, error,
                                "\"%s\": expected SERVICE/SLOT/NAME%s, as in %s; SLOT is a number, "
                                "the others 1 to 63 of a-z, 0-9 and -, with a letter or digit at "
                                "both ends",
                                text, with_snapshot ? "@SNAPSHOT" : "",
                                with_snapshot ? "counter/0/data@before" : "counter/0/data");
    if (fetch(cli, cli->settings.namespace_name, ret_name->service, ret_volumes, NULL, error) < 0)
        return -1;
    tell_silent_nodes(ret_volumes);
    return choose(ret_volumes, ret_name, invocation_text(cli->invocation, "node"), ret_view, error);
}

/* --- list --- */

static void volume_row(struct table *table, const struct api_volume_view *view)
{
    static const enum tone tones[] = {
        [VOLUME_IN_USE] = TONE_GOOD, [VOLUME_KEPT] = TONE_PLAIN, [VOLUME_UNUSED] = TONE_BUSY};
    char size[FORMAT_MAX], used[FORMAT_MAX];
    format_bytes(view->size, size);
    format_bytes(view->used, used);
    table_cell(table, "%s/%" PRIu32 "/%s", view->service, view->slot, view->name);
    table_cell(table, "%s", view->namespace_name);
    table_cell(table, "%s", view->node);
    table_cell_toned(table, tones[view->state], volume_state_names[view->state]);
    table_cell(table, "%s", size);
    table_cell(table, "%s", used);
    table_cell(table, "%zu", view->snapshot_count);
    table_cell(table, "%s", view->instance);
}

static void node_row(struct table *table, const struct api_volume_node *node)
{
    const uint64_t bytes[] = {node->promised, node->snapshots, node->left, node->limit};
    table_cell(table, "%s", node->node);
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        char text[FORMAT_MAX];
        format_bytes(bytes[i], text);
        table_cell(table, "%s", i == 1 && node->reason[0] != '\0' ? "" : text);
    }
}

static void print_nodes(struct cli *cli, const struct api_volumes *volumes)
{
    static const struct table_column columns[] = {
        {"NODE", .right = false}, {"PROMISED", .right = true}, {"SNAPSHOTS", .right = true},
        {"LEFT", .right = true},  {"LIMIT", .right = true},    {NULL, false, false}};
    struct table *table = table_create(columns);
    for (size_t i = 0; i < volumes->node_count; i++)
        node_row(table, &volumes->nodes[i]);
    putchar('\n');
    lists_print_table(cli, table);
}

int volume_list_run(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {
        {"VOLUME", .right = false},   {"NAMESPACE", .wide = true},  {"NODE", .right = false},
        {"STATE", .right = false},    {"SIZE", .right = true},      {"USED", .right = true},
        {"SNAPSHOTS", .right = true}, {"INSTANCE", .right = false}, {NULL, false, false},
    };
    struct api_volumes AUTO_VOLUMES volumes = {0};
    AUTO_JSON struct json_object *document = NULL;
    const char *service = NULL;
    if (cli_argument(cli, 0) != NULL && (service = cli_service_argument(cli, error)) == NULL)
        return -1;
    bool one_namespace = service != NULL || invocation_has(cli->invocation, "namespace");
    if (fetch(cli, one_namespace ? cli->settings.namespace_name : NULL, service, &volumes,
              &document, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, TAKE_POINTER(document));
    } else {
        struct table *table = table_create(columns);
        for (size_t i = 0; i < volumes.volume_count; i++)
            volume_row(table, &volumes.volumes[i]);
        lists_print_table(cli, table);
        if (service != NULL && volumes.volume_count == 0)
            fprintf(stderr, "there are no volumes of service %s in namespace %s\n", service,
                    cli->settings.namespace_name);
        if (cli->format == OUTPUT_WIDE)
            print_nodes(cli, &volumes);
    }
    size_t silent = tell_silent_nodes(&volumes);
    if (silent == 0)
        return 0;
    return error_set(error, ERROR_UNAVAILABLE,
                     "not all is shown: the volumes of %zu node%s are not known. `shoal node list` "
                     "shows them; `shoal node rm` forgets one that will not come back.",
                     silent, silent == 1 ? "" : "s");
}

/* --- inspect --- */

static void print_snapshots(struct cli *cli, const struct api_volume_view *view)
{
    static const struct table_column columns[] = {{"SNAPSHOT", .right = false},
                                                  {"AGE", .right = true},
                                                  {"USED", .right = true},
                                                  {NULL, false, false}};
    struct table *table = table_create(columns);
    for (size_t i = 0; i < view->snapshot_count; i++) {
        char age[FORMAT_MAX], used[FORMAT_MAX];
        format_age_or_nothing(view->snapshots[i].age_ms, age);
        format_bytes(view->snapshots[i].used, used);
        table_cell(table, "%s", view->snapshots[i].name);
        table_cell(table, "%s", age);
        table_cell(table, "%s", used);
    }
    lists_print_table(cli, table);
}

int volume_inspect_run(struct cli *cli, struct error *error)
{
    struct api_volumes AUTO_VOLUMES volumes = {0};
    const struct api_volume_view *view;
    struct volume_name name;
    char size[FORMAT_MAX], used[FORMAT_MAX];
    if (find(cli, false, &name, &volumes, &view, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, json_encode(&api_volume_view_record, view));
        return 0;
    }
    format_bytes(view->size, size);
    format_bytes(view->used, used);
    printf("%s/%" PRIu32 "/%s of namespace %s\nnode      %s\nstate     %s%s%s\nsize      %s, %s on "
           "the disk\n",
           view->service, view->slot, view->name, view->namespace_name, view->node,
           volume_state_names[view->state], view->instance[0] != '\0' ? ", instance " : "",
           view->instance, size, used);
    if (view->snapshot_count == 0)
        return 0;
    putchar('\n');
    print_snapshots(cli, view);
    return 0;
}

/* --- changing --- */

/* "" or "/snapshots/NAME" or "/restore/NAME" behind the volume's own path. */
static int call(struct cli *cli, const char *method, const struct api_volume_view *view,
                const char *rest, bool force, struct error *error)
{
    AUTO_FREE char *path =
        xasprintf("/v1/volumes/%s/%s/%" PRIu32 "/%s%s?node=%s%s", view->namespace_name,
                  view->service, view->slot, view->name, rest, view->node, force ? "&force=1" : "");
    return session_call(cli_session(cli), method, path, NULL, NULL, error);
}

static void print_result(struct cli *cli, const struct api_volume_view *view, const char *snapshot,
                         const char *result, const char *sentence)
{
    if (!cli_wants_document(cli)) {
        printf("%s: %s\n", cli_argument(cli, 0), sentence);
        return;
    }
    AUTO_FREE char *volume = xasprintf("%s/%" PRIu32 "/%s", view->service, view->slot, view->name);
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "namespace", json_object_new_string(view->namespace_name));
    json_object_object_add(document, "volume", json_object_new_string(volume));
    if (snapshot[0] != '\0')
        json_object_object_add(document, "snapshot", json_object_new_string(snapshot));
    json_object_object_add(document, "node", json_object_new_string(view->node));
    json_object_object_add(document, "result", json_object_new_string(result));
    cli_print_document(cli, document);
}

int volume_snapshot_run(struct cli *cli, struct error *error)
{
    struct api_volumes AUTO_VOLUMES volumes = {0};
    const struct api_volume_view *view;
    struct volume_name name;
    if (find(cli, true, &name, &volumes, &view, error) < 0)
        return -1;
    AUTO_FREE char *rest = xasprintf("/snapshots/%s", name.snapshot);
    if (call(cli, "POST", view, rest, false, error) < 0)
        return -1;
    print_result(cli, view, name.snapshot, "taken",
                 view->state == VOLUME_IN_USE
                     ? "taken, as a power cut would have left it: its guest was paused meanwhile"
                     : "taken");
    return 0;
}

int volume_restore_run(struct cli *cli, struct error *error)
{
    struct api_volumes AUTO_VOLUMES volumes = {0};
    const struct api_volume_view *view;
    struct volume_name name;
    if (find(cli, true, &name, &volumes, &view, error) < 0)
        return -1;
    if (view->state == VOLUME_IN_USE)
        return error_set(error, ERROR_CONFLICT,
                         "instance %s has the volume: `shoal scale %s=%" PRIu32
                         "` ends it, and scaling up again starts one from what was restored",
                         view->instance, view->service, view->slot);
    AUTO_FREE char *rest = xasprintf("/restore/%s", name.snapshot);
    if (call(cli, "POST", view, rest, false, error) < 0)
        return -1;
    print_result(cli, view, name.snapshot, "restored", "restored");
    return 0;
}

int volume_remove_run(struct cli *cli, struct error *error)
{
    struct api_volumes AUTO_VOLUMES volumes = {0};
    const struct api_volume_view *view;
    struct volume_name name;
    bool force = invocation_has(cli->invocation, "force");
    if (find(cli, false, &name, &volumes, &view, error) < 0)
        return -1;
    bool is_snapshot = name.snapshot[0] != '\0';
    AUTO_FREE char *rest = is_snapshot ? xasprintf("/snapshots/%s", name.snapshot) : xstrdup("");
    if (call(cli, "DELETE", view, rest, force, error) < 0)
        return -1;
    bool has_more = !is_snapshot && view->snapshot_count > 0;
    print_result(cli, view, name.snapshot, "removed",
                 has_more ? "removed, with its snapshots" : "removed");
    return 0;
}

/* --- what is left of a service --- */

static void add_up(const struct api_volumes *volumes, struct volumes_left *ret_left)
{
    struct volumes_left left = {.count = volumes->volume_count};
    for (size_t i = 0; i < volumes->volume_count; i++) {
        const struct api_volume_view *view = &volumes->volumes[i];
        left.used += view->used;
        for (size_t j = 0; j < view->snapshot_count; j++)
            left.used += view->snapshots[j].used;
    }
    *ret_left = left;
}

int volumes_remove_left(struct cli *cli, const char *service, struct volumes_left *ret_removed,
                        struct error *error)
{
    struct api_volumes AUTO_VOLUMES volumes = {0};
    if (fetch(cli, cli->settings.namespace_name, service, &volumes, NULL, error) < 0)
        return -1;
    size_t silent = tell_silent_nodes(&volumes);
    for (size_t i = 0; i < volumes.volume_count; i++) {
        if (call(cli, "DELETE", &volumes.volumes[i], "", true, error) < 0)
            return -1;
    }
    add_up(&volumes, ret_removed);
    ret_removed->silent_nodes = silent;
    return 0;
}

void volumes_count_left(struct cli *cli, const char *service, struct volumes_left *ret_left)
{
    struct api_volumes AUTO_VOLUMES volumes = {0};
    struct error error = ERROR_INIT;
    if (fetch(cli, cli->settings.namespace_name, service, &volumes, NULL, &error) < 0) {
        fprintf(stderr, "which of its volumes stay is not known: %s\n", error.message);
        return;
    }
    tell_silent_nodes(&volumes);
    add_up(&volumes, ret_left);
}
