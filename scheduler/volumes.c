#include "scheduler/volumes.h"

#include <stdlib.h>
#include <string.h>

#include "lib/api/volumes.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/agent_survey.h"
#include "scheduler/capacity.h"
#include "scheduler/changes.h"
#include "scheduler/observation.h"
#include "scheduler/volume_rules.h"

#define DEADLINE_MS 10000
#define ANSWERS_MAX ((size_t)32 << 20)
#define FEATURE     "volumes"

_Static_assert(API_NODE_VOLUMES_LIMIT <= AGENT_ANSWER_MAX, "what an agent may send is taken");

/* One list in the making. */
struct gathering {
    struct core *core;
    struct http_request *request;
    struct agent_survey *survey;
    char namespace_name[NAME_MAX_TEXT]; /* "": all */
    char service[NAME_MAX_TEXT];        /* "": all */
    struct api_volumes list;
    size_t volume_capacity;
};

static void gathering_free(struct gathering *gathering)
{
    json_record_release(&api_volumes_record, &gathering->list);
    free(gathering);
}

static bool attaches_volumes(const struct model_node *node)
{
    for (size_t i = 0; node->document != NULL && i < node->document->features.count; i++) {
        if (strcmp(node->document->features.items[i], FEATURE) == 0)
            return true;
    }
    return false;
}

static bool is_wanted(const struct gathering *gathering, const struct api_volume_view *view)
{
    return (gathering->namespace_name[0] == '\0' ||
            strcmp(gathering->namespace_name, view->namespace_name) == 0) &&
           (gathering->service[0] == '\0' || strcmp(gathering->service, view->service) == 0);
}

/* Takes the view over. */
static void add_volume(struct gathering *gathering, const char *node, struct api_volume_view *view)
{
    struct api_volumes *list = &gathering->list;
    if (list->volume_count == gathering->volume_capacity) {
        gathering->volume_capacity = 2 * gathering->volume_capacity + 16;
        list->volumes =
            xreallocarray(list->volumes, gathering->volume_capacity, sizeof *list->volumes);
    }
    struct api_volume_view *kept = &list->volumes[list->volume_count++];
    *kept = *view;
    *view = (struct api_volume_view){0};
    text_copy(kept->node, sizeof kept->node, node);
    volume_rules_judge(&gathering->core->model, kept);
}

static int compare_views(const void *one_pointer, const void *other_pointer)
{
    const struct api_volume_view *one = one_pointer, *other = other_pointer;
    int order = strcmp(one->namespace_name, other->namespace_name);
    if (order == 0)
        order = strcmp(one->service, other->service);
    if (order == 0 && one->slot != other->slot)
        order = one->slot < other->slot ? -1 : 1;
    if (order == 0)
        order = strcmp(one->name, other->name);
    return order != 0 ? order : strcmp(one->node, other->node);
}

static int compare_nodes(const void *one_pointer, const void *other_pointer)
{
    const struct api_volume_node *one = one_pointer, *other = other_pointer;
    return strcmp(one->node, other->node);
}

static uint64_t snapshots_of(const struct api_node_volumes *answer)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < answer->volume_count; i++) {
        for (size_t j = 0; j < answer->volumes[i].snapshot_count; j++)
            bytes += answer->volumes[i].snapshots[j].used;
    }
    return bytes;
}

/* `answer` NULL: it gave none. */
static void tell_promises(const struct model *model, const struct api_node_volumes *answer,
                          struct api_volume_node *view)
{
    struct model_node *node = model_node(model, view->node);
    if (node == NULL)
        return;
    if (answer != NULL) /* sooner than by its next status */
        observation_take_volumes(node, answer->used, view->snapshots);
    uint64_t used = capacity_volumes_used(node);
    view->promised = node->used.volumes;
    view->limit = node->document->volumes;
    view->left = view->limit > used ? view->limit - used : 0;
}

static void on_answer(const char *name, const char *body, size_t length, const struct error *error,
                      void *data)
{
    struct gathering *gathering = data;
    struct api_volume_node *node = &gathering->list.nodes[gathering->list.node_count++];
    struct api_node_volumes answer = {0};
    struct error reason = ERROR_INIT;
    text_copy(node->node, sizeof node->node, name);
    if (error != NULL || json_parse_record(&api_node_volumes_record, body, length, JSON_LENIENT,
                                           &answer, &reason) < 0) {
        text_copy(node->reason, sizeof node->reason,
                  error != NULL ? error->message : (const char *)reason.message);
        tell_promises(&gathering->core->model, NULL, node);
        return;
    }
    node->used = answer.used;
    node->snapshots = snapshots_of(&answer);
    tell_promises(&gathering->core->model, &answer, node);
    for (size_t i = 0; i < answer.volume_count; i++) {
        if (is_wanted(gathering, &answer.volumes[i]))
            add_volume(gathering, name, &answer.volumes[i]);
    }
    json_record_release(&api_node_volumes_record, &answer);
}

/* ---- records of what is not there ---- */

static bool is_in_scope(const struct gathering *gathering, const struct model_service *service)
{
    const struct document_volume *record = service->volume_count > 0 ? service->volumes[0] : NULL;
    return record != NULL &&
           (gathering->namespace_name[0] == '\0' ||
            strcmp(gathering->namespace_name, record->namespace_name) == 0) &&
           (gathering->service[0] == '\0' || strcmp(gathering->service, record->service) == 0);
}

/* A slot that never booted has a record and no volume, for which its node would keep room for ever.
 * The list that was made anyway shows which. */
static int forget_void_records(struct change *change, void *data, struct error *error)
{
    (void)error;
    const struct gathering *gathering = data;
    struct model *model = &gathering->core->model;
    for (size_t i = 0; i < model->services.count; i++) {
        const struct model_service *service = model->services.items[i];
        for (size_t j = 0; is_in_scope(gathering, service) && j < service->volume_count; j++) {
            if (!volume_rules_is_void(model, service->volumes[j], &gathering->list))
                continue;
            change_may_split(change);
            change_remove(change, DOCUMENT_VOLUME, service->volumes[j]);
        }
    }
    return 0;
}

static void on_forgotten(const struct error *error, void *data)
{
    (void)error; /* the next list does it */
    gathering_free(data);
}

static void on_done(void *data)
{
    struct gathering *gathering = data;
    struct api_volumes *list = &gathering->list;
    if (list->volume_count > 0)
        qsort(list->volumes, list->volume_count, sizeof *list->volumes, compare_views);
    if (list->node_count > 0)
        qsort(list->nodes, list->node_count, sizeof *list->nodes, compare_nodes);
    http_request_respond_json(gathering->request, 200, json_encode(&api_volumes_record, list));
    changes_decide(gathering->core->changes, forget_void_records, on_forgotten, gathering);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct gathering *gathering = data;
    agent_survey_cancel(gathering->survey);
    gathering_free(gathering);
}

static void copy_query(const struct http_request *request, const char *key, char *ret_name)
{
    const char *text = http_request_query(request, key);
    if (text != NULL)
        text_copy(ret_name, NAME_MAX_TEXT, text);
}

void volumes_handle_list(struct http_request *request, void *data)
{
    struct core *core = data;
    struct gathering *gathering = xcalloc(1, sizeof *gathering);
    gathering->core = core;
    gathering->request = request;
    copy_query(request, "namespace", gathering->namespace_name);
    copy_query(request, "service", gathering->service);
    struct agent_survey_options options = {
        .core = core,
        .path = xstrdup("/v1/volumes"),
        .names = xcalloc(core->model.nodes.count + 1, sizeof *options.names),
        .deadline_ms = DEADLINE_MS,
        .limit = ANSWERS_MAX,
        .on_answer = on_answer,
        .on_done = on_done,
        .data = gathering,
    };
    for (size_t i = 0; i < core->model.nodes.count; i++) {
        const struct model_node *node = core->model.nodes.items[i];
        if (attaches_volumes(node))
            text_copy(options.names[options.count++], NAME_MAX_TEXT, node->name);
    }
    gathering->list.nodes = xcalloc(options.count + 1, sizeof *gathering->list.nodes);
    gathering->survey = agent_survey_create(&options);
    http_request_on_abandoned(request, on_abandoned, gathering);
    agent_survey_begin(gathering->survey);
}
