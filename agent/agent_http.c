#include "agent/agent_http.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/console_sessions.h"
#include "agent/debug_requests.h"
#include "agent/log_requests.h"
#include "agent/stats.h"
#include "agent/volume_routes.h"
#include "lib/api/protocol.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/http_server.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct agent_http {
    struct agent_http_options options;
    struct http_server *http;
    struct console_sessions *consoles;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

/* True when it is answered: what needs the host half would wait for one that says nothing. */
static bool refuse_silent(const struct agent_http *server, struct http_request *request)
{
    struct error error = ERROR_INIT;
    if (host_client_check(server->options.host, server->options.node, &error) == 0)
        return false;
    http_request_respond_error(request, &error);
    return true;
}

static void handle_logs(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    struct log_source source = {.loop = server->options.loop,
                                .folder = server->options.console_folder,
                                .node = server->options.node,
                                .instances = server->options.instances};
    log_requests_handle(request, &source);
}

static void handle_console(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    if (!refuse_silent(server, request))
        console_sessions_attach(server->consoles, request);
}

static void handle_console_input(struct http_request *request, void *data)
{
    console_sessions_write(((struct agent_http *)data)->consoles, request);
}

static void handle_debug(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    struct debug_target target = {.host = server->options.host,
                                  .instances = server->options.instances,
                                  .node = server->options.node,
                                  .run_directory = server->options.run_directory};
    if (!refuse_silent(server, request))
        debug_requests_handle(request, &target);
}

/* --- volumes --- */

static void handle_volumes(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    if (!refuse_silent(server, request))
        volume_routes_list(request, server->options.host);
}

static void change_volume(struct http_request *request, const struct agent_http *server,
                          enum host_volume_operation operation)
{
    if (!refuse_silent(server, request))
        volume_routes_change(request, server->options.host, server->options.instances, operation);
}

static void handle_snapshot(struct http_request *request, void *data)
{
    change_volume(request, data, HOST_VOLUME_SNAPSHOT);
}

static void handle_restore(struct http_request *request, void *data)
{
    change_volume(request, data, HOST_VOLUME_RESTORE);
}

static void handle_remove(struct http_request *request, void *data)
{
    change_volume(request, data, HOST_VOLUME_REMOVE);
}

/* --- numbers --- */

static struct stats_sources sources_of(const struct agent_http *server)
{
    return (struct stats_sources){.node = server->options.node,
                                  .instances = server->options.instances,
                                  .figures = server->options.figures,
                                  .images = server->options.images,
                                  .joined = server->options.is_joined(server->options.data)};
}

static void handle_stats(struct http_request *request, void *data)
{
    struct stats_sources sources = sources_of(data);
    struct stats_query query = {.namespace_name = http_request_query(request, "namespace"),
                                .service = http_request_query(request, "service")};
    struct error error = ERROR_INIT;
    if (api_stats_read_of(http_request_query(request, "of"), &query.of, &error) < 0)
        http_request_respond_error(request, &error);
    else
        http_request_respond_json(request, 200, stats_document(&sources, &query));
}

static void handle_instance_stats(struct http_request *request, void *data)
{
    struct stats_sources sources = sources_of(data);
    struct json_object *document;
    struct error error = ERROR_INIT;
    if (stats_instance_document(&sources, http_request_parameter(request, "id"), &document,
                                &error) < 0)
        http_request_respond_error(request, &error);
    else
        http_request_respond_json(request, 200, document);
}

static void handle_images(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    struct api_node_images images;
    image_cache_list(server->options.images, &images);
    snprintf(images.node, sizeof images.node, "%s", server->options.node);
    http_request_respond_json(request, 200, json_encode(&api_node_images_record, &images));
    json_record_release(&api_node_images_record, &images);
}

static void handle_metrics(struct http_request *request, void *data)
{
    struct stats_sources sources = sources_of(data);
    AUTO_BUFFER struct buffer text = {0};
    stats_append_metrics(&sources, &text);
    http_request_respond(request, 200, "text/plain; version=0.0.4", buffer_text(&text),
                         text.length);
}

static void handle_health(struct http_request *request, void *data)
{
    if (!refuse_silent(data, request))
        http_request_respond(request, 200, "text/plain", "ok\n", 3);
}

static void handle_version(struct http_request *request, void *data)
{
    (void)data;
    struct json_object *version = json_object_new_object();
    json_object_object_add(version, "version", json_object_new_string(SHOAL_VERSION));
    json_object_object_add(version, "protocol", json_object_new_int(SHOAL_PROTOCOL));
    http_request_respond_json(request, 200, version);
}

#define VOLUME "/v1/volumes/{namespace}/{service}/{slot}/{volume}"

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/v1/volumes", .handler = handle_volumes},
    {.method = "DELETE", .pattern = VOLUME, .handler = handle_remove},
    {.method = "POST", .pattern = VOLUME "/snapshots/{snapshot}", .handler = handle_snapshot},
    {.method = "DELETE", .pattern = VOLUME "/snapshots/{snapshot}", .handler = handle_remove},
    {.method = "POST", .pattern = VOLUME "/restore/{snapshot}", .handler = handle_restore},
    {.method = "GET", .pattern = "/v1/instances/{id}/logs", .handler = handle_logs},
    {.method = "GET", .pattern = "/v1/instances/{id}/stats", .handler = handle_instance_stats},
    {.method = "POST", .pattern = "/v1/instances/{id}/debug", .handler = handle_debug},
    {.method = "GET", .pattern = "/v1/instances/{id}/console", .handler = handle_console},
    {.method = "POST",
     .pattern = "/v1/instances/{id}/console",
     .handler = handle_console_input,
     .body_limit = CONSOLE_POST_MAX},
    {.method = "GET", .pattern = "/v1/stats", .handler = handle_stats},
    {.method = "GET", .pattern = "/v1/images", .handler = handle_images},
    {.method = "GET", .pattern = "/healthz", .handler = handle_health},
    {.method = "GET", .pattern = "/metrics", .handler = handle_metrics},
    {.method = "GET", .pattern = "/version", .handler = handle_version},
};

/* --- life --- */

int agent_http_create(const struct agent_http_options *options, struct agent_http **ret_server,
                      struct error *error)
{
    struct agent_http *server = xcalloc(1, sizeof *server);
    server->options = *options;
    struct http_server_options http = {
        .mode = HTTP_SERVER_LOOP,
        .loop = options->loop,
        .address = options->address,
        .port = options->port,
        .routes = routes,
        .route_count = ARRAY_LENGTH(routes),
        .data = server,
        .protocol = SHOAL_PROTOCOL,
    };
    if (http_server_create(&http, &server->http, error) < 0) {
        free(server);
        return -1;
    }
    server->consoles =
        console_sessions_create(options->loop, options->host, options->instances, options->node);
    *ret_server = server;
    return 0;
}

uint16_t agent_http_port(const struct agent_http *server)
{
    return http_server_port(server->http);
}

static void on_http_closed(void *data)
{
    struct agent_http *server = data;
    void (*on_closed)(void *) = server->on_closed;
    void *on_closed_data = server->on_closed_data;
    console_sessions_destroy(server->consoles);
    free(server);
    if (on_closed != NULL)
        on_closed(on_closed_data);
}

void agent_http_destroy(struct agent_http *server, void (*on_closed)(void *data), void *data)
{
    if (server == NULL)
        return;
    server->on_closed = on_closed;
    server->on_closed_data = data;
    http_server_destroy(server->http, on_http_closed, server);
}
