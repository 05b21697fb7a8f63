#include "registry/upkeep/control.h"

#include <string.h>
#include <sys/un.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* One works, others ask how far it is. */
#define CONNECTIONS_MAX 8

static bool is_set(struct http_request *request, const char *key)
{
    const char *value = http_request_query(request, key);
    return value != NULL && strcmp(value, "1") == 0;
}

static int read_options(struct http_request *request, struct upkeep_options *ret_options,
                        struct error *error)
{
    const char *rate = http_request_query(request, "rate");
    *ret_options = (struct upkeep_options){
        .dry_run = is_set(request, "dry_run"),
        .untagged = is_set(request, "untagged"),
        .target = http_request_query(request, "target"),
    };
    if (rate != NULL && !text_parse_size(rate, &ret_options->rate))
        return error_set(error, ERROR_INVALID, "rate=%.40s is no size such as 50Mi", rate);
    return 0;
}

static void serve_task(struct http_request *request, void *data)
{
    struct upkeep *upkeep = data;
    struct error error = ERROR_INIT;
    struct upkeep_options options;
    struct json_object *report = NULL;
    enum upkeep_task task;
    const char *name = http_request_parameter(request, "task");
    int result = 0;
    if (!upkeep_task_parse(name, &task))
        result = error_set(&error, ERROR_NOT_FOUND, "there is no task \"%.40s\"", name);
    if (result == 0)
        result = read_options(request, &options, &error);
    if (result == 0)
        log_info("task started", "task", name, "dry_run", options.dry_run ? "yes" : "no");
    if (result == 0)
        result = upkeep_run(upkeep, task, &options, &report, &error);
    if (result == 0) {
        log_info("task ended", "task", name);
        http_request_respond_json(request, 200, report);
        return;
    }
    log_warn("task not done", "task", name, "error", error.message);
    http_request_respond_error(request, &error);
}

static void serve_status(struct http_request *request, void *data)
{
    http_request_respond_json(request, 200, upkeep_status(data));
}

static void serve_cancel(struct http_request *request, void *data)
{
    upkeep_cancel(data);
    http_request_respond_json(request, 200, upkeep_status(data));
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/tasks", .handler = serve_status},
    {.method = "DELETE", .pattern = "/tasks", .handler = serve_cancel},
    {.method = "POST", .pattern = "/tasks/{task}", .handler = serve_task},
};

char *control_path(const char *state)
{
    return xasprintf("%s/control.sock", state);
}

bool control_is_possible(const char *state)
{
    AUTO_FREE char *path = control_path(state);
    return strlen(path) < sizeof((struct sockaddr_un *)NULL)->sun_path;
}

int control_listen(const char *state, struct upkeep *upkeep, struct http_server **ret_server,
                   struct error *error)
{
    AUTO_FREE char *path = control_path(state);
    const struct http_server_options options = {
        .mode = HTTP_SERVER_THREADS,
        .listen_unix = path,
        .routes = routes,
        .route_count = ARRAY_LENGTH(routes),
        .data = upkeep,
        .max_connections = CONNECTIONS_MAX,
    };
    return http_server_create(&options, ret_server, error);
}
