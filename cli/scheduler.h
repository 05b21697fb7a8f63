/* The scheduler's answers as structs: one function a question. */
#pragma once

#include <json-c/json.h>

#include "cli/cli.h"
#include "lib/api/views.h"

/* A list of views with the document it came from. Zeroed: empty. */
struct view_list {
    const struct json_record *record;
    void *items;
    size_t count;
    struct json_object *document;
};
void view_list_release(struct view_list *list);
#define AUTO_VIEWS __attribute__((cleanup(view_list_release)))

/* "/v1/namespaces/NS/services/NAME<rest>"; the caller frees it. */
char *scheduler_service_path(const char *namespace_name, const char *service, const char *rest);
/* {"<key>": [...]} of `path`. */
int scheduler_list(struct cli *cli, const char *path, const char *key,
                   const struct json_record *record, struct view_list *ret_list,
                   struct error *error);
int scheduler_nodes(struct cli *cli, struct view_list *ret_list, struct error *error);
int scheduler_keys(struct cli *cli, struct view_list *ret_list, struct error *error);
/* Of one service, or of all with `service` NULL; `namespace_name` NULL: of every namespace. */
int scheduler_instances(struct cli *cli, const char *namespace_name, const char *service,
                        struct view_list *ret_list, struct error *error);
int scheduler_rollouts(struct cli *cli, const char *namespace_name, const char *service,
                       struct view_list *ret_list, struct error *error);
int scheduler_revisions(struct cli *cli, const char *namespace_name, const char *service,
                        struct view_list *ret_list, struct error *error);
/* "/v1/nodes/NAME" and `rest`. */
char *scheduler_node_path(const char *node, const char *rest);
/* Release the view by api_node_view_record. */
int scheduler_node(struct cli *cli, const char *node, struct api_node_view *ret_view,
                   struct error *error);
/* Release the view by api_service_view_record. `ret_document` may be NULL. */
int scheduler_service(struct cli *cli, const char *namespace_name, const char *service,
                      struct api_service_view *ret_view, struct json_object **ret_document,
                      struct error *error);
