#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/core.h"
#include "scheduler/routes.h"
#include "scheduler/service_changes.h"
#include "scheduler/views.h"

/* --- reading --- */

static const struct model_service *find(struct http_request *request, const struct core *core)
{
    const char *namespace_name = http_request_parameter(request, "namespace");
    const char *name = http_request_parameter(request, "service");
    const struct model_service *service = model_service(&core->model, namespace_name, name);
    if (service != NULL && service->document != NULL)
        return service;
    struct error error;
    error_set(&error, ERROR_NOT_FOUND, "there is no service %.63s in namespace %.63s", name,
              namespace_name);
    http_request_respond_error(request, &error);
    return NULL;
}

void routes_list_services(struct http_request *request, void *data)
{
    http_request_respond_json(request, 200,
                              views_services(data, http_request_parameter(request, "namespace")));
}

void routes_get_service(struct http_request *request, void *data)
{
    const struct model_service *service = find(request, data);
    if (service != NULL)
        http_request_respond_json(request, 200, views_service(data, service, true));
}

void routes_list_revisions(struct http_request *request, void *data)
{
    const struct model_service *service = find(request, data);
    if (service != NULL)
        http_request_respond_json(request, 200, views_revisions(data, service));
}

void routes_list_rollouts(struct http_request *request, void *data)
{
    const struct model_service *service = find(request, data);
    if (service != NULL)
        http_request_respond_json(request, 200, views_rollouts(data, service));
}

/* --- changing --- */

enum change_kind { CHANGE_SCALE, CHANGE_ROLLBACK, CHANGE_RESTART, CHANGE_REMOVE };

struct service_request {
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    enum change_kind kind;
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t number; /* replicas, or the revision to go back to */
    struct api_change_answer answer;
};

static int decide(struct change *change, void *data, struct error *error)
{
    struct service_request *asked = data;
    const char *namespace_name = asked->namespace_name, *service = asked->service;
    switch (asked->kind) {
    case CHANGE_SCALE:
        return service_changes_scale(asked->core, change, namespace_name, service, asked->number,
                                     &asked->answer, error);
    case CHANGE_ROLLBACK:
        return service_changes_rollback(asked->core, change, namespace_name, service, asked->number,
                                        &asked->answer, error);
    case CHANGE_RESTART:
        return service_changes_restart(asked->core, change, namespace_name, service, &asked->answer,
                                       error);
    case CHANGE_REMOVE:
        break;
    }
    return service_changes_remove(asked->core, change, namespace_name, service, &asked->answer,
                                  error);
}

static void on_decided(const struct error *error, void *data)
{
    struct service_request *asked = data;
    if (asked->request != NULL && error != NULL)
        http_request_respond_error(asked->request, error);
    else if (asked->request != NULL)
        http_request_respond_json(asked->request, 200,
                                  json_encode(&api_change_answer_record, &asked->answer));
    free(asked);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct service_request *)data)->request = NULL;
}

static void change(struct http_request *request, struct core *core, enum change_kind kind,
                   uint32_t number)
{
    struct service_request *asked = xcalloc(1, sizeof *asked);
    *asked =
        (struct service_request){.core = core, .request = request, .kind = kind, .number = number};
    /* What does not fit is no name, and is not found. */
    text_copy(asked->namespace_name, NAME_MAX_TEXT, http_request_parameter(request, "namespace"));
    text_copy(asked->service, NAME_MAX_TEXT, http_request_parameter(request, "service"));
    http_request_on_abandoned(request, on_abandoned, asked);
    changes_decide(core->changes, decide, on_decided, asked);
}

static int read_body(struct http_request *request, const struct json_record *record,
                     void *ret_value)
{
    struct error error = ERROR_INIT;
    size_t length;
    const char *body = http_request_body(request, &length);
    if (json_parse_record(record, body, length, JSON_STRICT, ret_value, &error) == 0)
        return 0;
    http_request_respond_error(request, &error);
    return -1;
}

void routes_scale(struct http_request *request, void *data)
{
    struct api_scale_request body = {0};
    if (read_body(request, &api_scale_request_record, &body) == 0)
        change(request, data, CHANGE_SCALE, body.replicas);
}

void routes_rollback(struct http_request *request, void *data)
{
    struct api_rollback_request body = {0};
    size_t length;
    http_request_body(request, &length);
    if (length == 0 || read_body(request, &api_rollback_request_record, &body) == 0)
        change(request, data, CHANGE_ROLLBACK, body.to);
}

void routes_restart(struct http_request *request, void *data)
{
    change(request, data, CHANGE_RESTART, 0);
}

void routes_delete_service(struct http_request *request, void *data)
{
    change(request, data, CHANGE_REMOVE, 0);
}
