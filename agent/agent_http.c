#include "agent/agent_http.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/console_log.h"
#include "agent/stats.h"
#include "agent/volume_routes.h"
#include "lib/api/protocol.h"
#include "lib/cleanup.h"
#include "lib/http_server.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define FOLLOW_MS    100
#define TAIL_DEFAULT 100
#define TAIL_MOST    1000000

struct agent_http {
    struct agent_http_options options;
    struct http_server *http;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

/* A reader who stays. */
struct follower {
    uv_timer_t timer; /* first: the close callback frees by it */
    struct agent_http *server;
    struct http_request *request;
    struct console_log log;
    char id[INSTANCE_ID_MAX];
};

/* --- logs --- */

static void on_follower_closed(uv_handle_t *handle)
{
    struct follower *follower = (struct follower *)handle;
    console_log_close(&follower->log);
    free(follower);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct follower *follower = data;
    uv_close((uv_handle_t *)&follower->timer, on_follower_closed);
}

static void on_follow(uv_timer_t *timer)
{
    struct follower *follower = timer->data;
    AUTO_BUFFER struct buffer text = {0};
    console_log_read(&follower->log, &text);
    bool is_gone = !instance_table_has(follower->server->options.instances, follower->id);
    if ((text.length > 0 &&
         http_request_stream_write(follower->request, text.data, text.length) < 0) ||
        is_gone) {
        http_request_stream_end(follower->request);
        uv_close((uv_handle_t *)&follower->timer, on_follower_closed);
    }
}

static void follow(struct agent_http *server, struct http_request *request, const char *id,
                   struct console_log *log, const struct buffer *past)
{
    struct follower *follower = xcalloc(1, sizeof *follower);
    follower->server = server;
    follower->request = request;
    follower->log = *log;
    memcpy(follower->id, id, sizeof follower->id);
    uv_timer_init(server->options.loop, &follower->timer);
    follower->timer.data = follower;
    http_request_on_abandoned(request, on_abandoned, follower);
    http_request_stream_begin(request, "text/plain; charset=utf-8");
    if (past->length > 0)
        http_request_stream_write(request, past->data, past->length);
    uv_timer_start(&follower->timer, on_follow, 0, FOLLOW_MS);
}

static int read_tail_query(struct http_request *request, uint64_t *ret_lines, struct error *error)
{
    const char *text = http_request_query(request, "tail");
    *ret_lines = TAIL_DEFAULT;
    if (text != NULL && !text_parse_u64(text, TAIL_MOST, ret_lines))
        return error_set(error, ERROR_INVALID, "tail=%s: a number up to %d is allowed", text,
                         TAIL_MOST);
    return 0;
}

static void handle_logs(struct http_request *request, void *data)
{
    struct agent_http *server = data;
    struct error error = ERROR_INIT;
    const char *id = http_request_parameter(request, "id");
    const char *follow_text = http_request_query(request, "follow");
    uint64_t lines;
    struct console_log log;
    AUTO_BUFFER struct buffer past = {0};
    char known[INSTANCE_ID_MAX];
    if (api_check_instance_id(id) != NULL || !text_copy(known, sizeof known, id) ||
        (!instance_table_has(server->options.instances, id) &&
         !console_log_is_kept(server->options.console_folder, known))) {
        error_set(&error, ERROR_NOT_FOUND, "no instance %.32s on node %s", id,
                  server->options.node);
        http_request_respond_error(request, &error);
        return;
    }
    if (read_tail_query(request, &lines, &error) < 0 ||
        console_log_open(&log, server->options.console_folder, known, lines, &past, &error) < 0) {
        http_request_respond_error(request, &error);
        return;
    }
    if (follow_text != NULL && strcmp(follow_text, "0") != 0) {
        follow(server, request, known, &log, &past);
        return;
    }
    http_request_respond(request, 200, "text/plain; charset=utf-8", buffer_text(&past),
                         past.length);
    console_log_close(&log);
}

/* --- volumes --- */

static void handle_volumes(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    volume_routes_list(request, server->options.host);
}

static void handle_snapshot(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    volume_routes_change(request, server->options.host, HOST_VOLUME_SNAPSHOT);
}

static void handle_restore(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    volume_routes_change(request, server->options.host, HOST_VOLUME_RESTORE);
}

static void handle_remove(struct http_request *request, void *data)
{
    const struct agent_http *server = data;
    volume_routes_change(request, server->options.host, HOST_VOLUME_REMOVE);
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
    (void)data;
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
    {.method = "GET", .pattern = "/v1/stats", .handler = handle_stats},
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
