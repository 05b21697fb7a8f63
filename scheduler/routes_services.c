#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/core.h"
#include "scheduler/job_changes.h"
#include "scheduler/routes.h"
#include "scheduler/service_changes.h"
#include "scheduler/views.h"
#include "scheduler/views_jobs.h"

/* --- reading --- */

static const struct model_service *find(struct http_request *request, const struct core *core)
{
    const char *namespace_name = http_request_parameter(request, "namespace");
    const char *name = http_request_parameter(request, "service");
    struct error error;
    const struct model_service *service =
        model_find_service(&core->model, namespace_name, name, &error);
    if (service == NULL)
        http_request_respond_error(request, &error);
    return service;
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

void routes_list_runs(struct http_request *request, void *data)
{
    const struct model_service *service = find(request, data);
    if (service != NULL)
        http_request_respond_json(request, 200, views_runs(data, service));
}

/* --- changing --- */

/* A change that needs nothing but the service's name. */
typedef int plain_change(struct core *core, struct change *change, const char *namespace_name,
                         const char *service, struct api_change_answer *ret_answer,
                         struct error *error);
/* One with a number: replicas, or the revision to go back to. */
typedef int numbered_change(struct core *core, struct change *change, const char *namespace_name,
                            const char *service, uint32_t number,
                            struct api_change_answer *ret_answer, struct error *error);

struct service_request {
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    plain_change *plain;          /* one of the two */
    numbered_change *numbered;
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t number;
    struct api_change_answer answer;
};

static int decide(struct change *change, void *data, struct error *error)
{
    struct service_request *asked = data;
    if (asked->plain != NULL)
        return asked->plain(asked->core, change, asked->namespace_name, asked->service,
                            &asked->answer, error);
    return asked->numbered(asked->core, change, asked->namespace_name, asked->service,
                           asked->number, &asked->answer, error);
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

static void change(struct http_request *request, struct core *core, plain_change *plain,
                   numbered_change *numbered, uint32_t number)
{
    struct service_request *asked = xcalloc(1, sizeof *asked);
    *asked = (struct service_request){
        .core = core, .request = request, .plain = plain, .numbered = numbered, .number = number};
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
        change(request, data, NULL, service_changes_scale, body.replicas);
}

void routes_wake(struct http_request *request, void *data)
{
    struct api_wake_request body = {.count = 1};
    size_t length;
    http_request_body(request, &length);
    if (length == 0 || read_body(request, &api_wake_request_record, &body) == 0)
        change(request, data, NULL, service_changes_wake, body.count);
}

void routes_rollback(struct http_request *request, void *data)
{
    struct api_rollback_request body = {0};
    size_t length;
    http_request_body(request, &length);
    if (length == 0 || read_body(request, &api_rollback_request_record, &body) == 0)
        change(request, data, NULL, service_changes_rollback, body.to);
}

void routes_restart(struct http_request *request, void *data)
{
    change(request, data, service_changes_restart, NULL, 0);
}

void routes_pause(struct http_request *request, void *data)
{
    change(request, data, service_changes_pause, NULL, 0);
}

void routes_resume(struct http_request *request, void *data)
{
    change(request, data, service_changes_resume, NULL, 0);
}

void routes_promote(struct http_request *request, void *data)
{
    change(request, data, service_changes_promote, NULL, 0);
}

void routes_abort(struct http_request *request, void *data)
{
    change(request, data, service_changes_abort, NULL, 0);
}

void routes_run(struct http_request *request, void *data)
{
    change(request, data, job_changes_run, NULL, 0);
}

void routes_stop_runs(struct http_request *request, void *data)
{
    struct api_stop_request body = {0};
    size_t length;
    http_request_body(request, &length);
    if (length == 0 || read_body(request, &api_stop_request_record, &body) == 0)
        change(request, data, NULL, job_changes_stop, body.run);
}

void routes_delete_service(struct http_request *request, void *data)
{
    change(request, data, service_changes_remove, NULL, 0);
}
