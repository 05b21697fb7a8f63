#include "agent/host/proxy_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/daemon_process.h"
#include "lib/xalloc.h"

struct proxy_model *proxy_model_create(void)
{
    return xcalloc(1, sizeof(struct proxy_model));
}

void proxy_model_destroy(struct proxy_model *model)
{
    if (model == NULL)
        return;
    for (size_t i = 0; i < model->frontend_count; i++)
        free(model->frontends[i].servers);
    free(model->frontends);
    free(model);
}

const struct proxy_frontend *proxy_model_find(const struct proxy_model *model, uint32_t publish)
{
    for (size_t i = 0; i < model->frontend_count; i++) {
        if (model->frontends[i].publish == publish)
            return &model->frontends[i];
    }
    return NULL;
}

int proxy_model_add_frontend(struct proxy_model *model, const struct host_proxy_frontend *message,
                             struct error *error)
{
    if (model->frontend_count >= PROXY_FRONTENDS_MAX)
        return error_set(error, ERROR_TOO_LARGE, "more than %d published ports",
                         PROXY_FRONTENDS_MAX);
    if (proxy_model_find(model, message->publish) != NULL)
        return error_set(error, ERROR_INVALID, "port %" PRIu32 " is published twice",
                         message->publish);
    model->frontends =
        xreallocarray(model->frontends, model->frontend_count + 1, sizeof *model->frontends);
    struct proxy_frontend *frontend = &model->frontends[model->frontend_count++];
    *frontend = (struct proxy_frontend){.publish = message->publish,
                                        .http = message->mode == API_PORT_HTTP};
    memcpy(frontend->name, message->name, sizeof frontend->name);
    return 0;
}

int proxy_model_add_server(struct proxy_model *model, const struct host_proxy_server *message,
                           struct error *error)
{
    if (model->frontend_count == 0)
        return error_set(error, ERROR_INVALID, "a server without a published port before it");
    struct proxy_frontend *frontend = &model->frontends[model->frontend_count - 1];
    if (frontend->server_count >= PROXY_SERVERS_MAX)
        return error_set(error, ERROR_TOO_LARGE, "more than %d servers behind port %" PRIu32,
                         PROXY_SERVERS_MAX, frontend->publish);
    for (size_t i = 0; i < frontend->server_count; i++) {
        if (strcmp(frontend->servers[i].id, message->id) == 0)
            return error_set(error, ERROR_INVALID, "instance %s is twice behind port %" PRIu32,
                             message->id, frontend->publish);
    }
    frontend->servers =
        xreallocarray(frontend->servers, frontend->server_count + 1, sizeof *frontend->servers);
    struct proxy_server *server = &frontend->servers[frontend->server_count++];
    *server = (struct proxy_server){.port = message->port,
                                    .weight = message->weight,
                                    .drain = message->state == API_SERVER_DRAIN};
    memcpy(server->id, message->id, sizeof server->id);
    memcpy(server->address, message->address, sizeof server->address);
    return 0;
}

/* hard-stop-after bounds the life of a HAProxy that was told to end but still has connections. */
static const char global_section[] = "global\n"
                                     "    hard-stop-after 60s\n"
                                     "    quiet\n"
                                     "    stats timeout 10s\n";

/* A connection that is refused goes to another server, for every method; an answer that never
 * began is asked for again only where that cannot do a thing twice. */
static const char http_section[] =
    "    mode http\n"
    "    option http-keep-alive\n"
    "    option forwardfor\n"
    "    option idle-close-on-response\n"
    "    timeout http-request 10s\n"
    "    timeout http-keep-alive 30s\n"
    "    timeout client 60s\n"
    "    timeout server 60s\n"
    "    timeout tunnel 1h\n"
    "    balance roundrobin\n"
    "    http-reuse safe\n"
    "    retry-on conn-failure empty-response\n"
    "    http-request disable-l7-retry unless { method GET HEAD OPTIONS }\n";

static const char tcp_section[] = "    mode tcp\n"
                                  "    timeout client 1h\n"
                                  "    timeout server 1h\n"
                                  "    balance leastconn\n";

void proxy_config_render(const struct proxy_frontend *frontend, const struct proxy_config *config,
                         struct buffer *buffer)
{
    buffer_append_text(buffer, global_section);
    buffer_printf(buffer,
                  "    maxconn %" PRIu32 "\n"
                  "    nbthread %" PRIu32 "\n"
                  "    stats socket %s mode 600 level admin\n",
                  config->connections_max, config->threads, config->stats_socket);
    buffer_printf(buffer,
                  "listen port\n"
                  "    description %s\n"
                  "    bind fd@%d\n",
                  frontend->name, DAEMON_LISTEN_DESCRIPTOR);
    buffer_append_text(buffer, frontend->http ? http_section : tcp_section);
    buffer_append_text(buffer, "    timeout connect 2s\n"
                               "    timeout queue 5s\n"
                               "    option redispatch 1\n"
                               "    retries 3\n");
    for (size_t i = 0; i < frontend->server_count; i++) {
        const struct proxy_server *server = &frontend->servers[i];
        if (!server->drain)
            buffer_printf(buffer, "    server i%s %s:%" PRIu32 " weight %" PRIu32 "\n", server->id,
                          server->address, server->port, server->weight);
    }
}
