#include "cli/scheduler.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/xalloc.h"

void view_list_release(struct view_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        json_record_release(list->record, (char *)list->items + i * list->record->size);
    free(list->items);
    json_object_put(list->document);
    *list = (struct view_list){0};
}

char *scheduler_service_path(const char *namespace_name, const char *service, const char *rest)
{
    AUTO_FREE char *space = http_encode_segment(namespace_name);
    AUTO_FREE char *name = http_encode_segment(service);
    return xasprintf("/v1/namespaces/%s/services/%s%s", space, name, rest);
}

static int decode_items(struct view_list *list, struct json_object *items, struct error *error)
{
    size_t count = json_object_array_length(items);
    list->items = xcalloc(count > 0 ? count : 1, list->record->size);
    for (size_t i = 0; i < count; i++) {
        if (json_decode(list->record, json_object_array_get_idx(items, i), JSON_LENIENT,
                        (char *)list->items + i * list->record->size, error) < 0)
            return error_wrap(error, "the scheduler's answer");
        list->count++;
    }
    return 0;
}

int scheduler_list(struct cli *cli, const char *path, const char *key,
                   const struct json_record *record, struct view_list *ret_list,
                   struct error *error)
{
    struct view_list list = {.record = record};
    struct json_object *items;
    if (session_get(cli_session(cli), path, &list.document, error) < 0)
        return -1;
    int result;
    if (!json_object_object_get_ex(list.document, key, &items) ||
        !json_object_is_type(items, json_type_array))
        result = error_set(error, ERROR_PROTOCOL, "the scheduler's answer has no list \"%s\"", key);
    else
        result = decode_items(&list, items, error);
    if (result < 0) {
        view_list_release(&list);
        return -1;
    }
    *ret_list = list;
    return 0;
}

int scheduler_nodes(struct cli *cli, struct view_list *ret_list, struct error *error)
{
    return scheduler_list(cli, "/v1/nodes", "nodes", &api_node_view_record, ret_list, error);
}

int scheduler_keys(struct cli *cli, struct view_list *ret_list, struct error *error)
{
    return scheduler_list(cli, "/v1/keys", "keys", &api_key_record, ret_list, error);
}

int scheduler_instances(struct cli *cli, const char *namespace_name, const char *service,
                        struct view_list *ret_list, struct error *error)
{
    AUTO_FREE char *path = NULL;
    if (service != NULL)
        path = xasprintf("/v1/instances?namespace=%s&service=%s", namespace_name, service);
    else if (namespace_name != NULL)
        path = xasprintf("/v1/instances?namespace=%s", namespace_name);
    else
        path = xstrdup("/v1/instances");
    return scheduler_list(cli, path, "instances", &api_instance_view_record, ret_list, error);
}

int scheduler_rollouts(struct cli *cli, const char *namespace_name, const char *service,
                       struct view_list *ret_list, struct error *error)
{
    AUTO_FREE char *path = scheduler_service_path(namespace_name, service, "/rollouts");
    return scheduler_list(cli, path, "rollouts", &api_rollout_view_record, ret_list, error);
}

int scheduler_revisions(struct cli *cli, const char *namespace_name, const char *service,
                        struct view_list *ret_list, struct error *error)
{
    AUTO_FREE char *path = scheduler_service_path(namespace_name, service, "/revisions");
    return scheduler_list(cli, path, "revisions", &api_revision_view_record, ret_list, error);
}

int scheduler_service(struct cli *cli, const char *namespace_name, const char *service,
                      struct api_service_view *ret_view, struct json_object **ret_document,
                      struct error *error)
{
    AUTO_FREE char *path = scheduler_service_path(namespace_name, service, "");
    AUTO_JSON struct json_object *document = NULL;
    struct api_service_view view = {0};
    if (session_get(cli_session(cli), path, &document, error) < 0)
        return -1;
    if (json_decode(&api_service_view_record, document, JSON_LENIENT, &view, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    *ret_view = view;
    if (ret_document != NULL)
        *ret_document = TAKE_POINTER(document);
    return 0;
}

char *scheduler_node_path(const char *node, const char *rest)
{
    AUTO_FREE char *name = http_encode_segment(node);
    return xasprintf("/v1/nodes/%s%s", name, rest);
}

int scheduler_node(struct cli *cli, const char *node, struct api_node_view *ret_view,
                   struct error *error)
{
    AUTO_FREE char *path = scheduler_node_path(node, "");
    AUTO_JSON struct json_object *document = NULL;
    struct api_node_view view = {0};
    if (session_get(cli_session(cli), path, &document, error) < 0)
        return -1;
    if (json_decode(&api_node_view_record, document, JSON_LENIENT, &view, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    *ret_view = view;
    return 0;
}
